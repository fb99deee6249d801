package pipeline_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/pipeline"
)

func unsent(after time.Duration, failures int) func(*ingest.Request, []string) (ingest.Answer, error) {
	return func(*ingest.Request, []string) (ingest.Answer, error) {
		return ingest.Answer{}, &ingest.Unsent{At: time.Now().Add(after), Reason: "the host is down", Failures: failures}
	}
}

// What was not sent is no try: a day of it neither gives records up nor counts,
// and they go on by themselves.
func TestUnsentIsNoTry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tg := newTarget()
		tg.answer = unsent(40*time.Second, 3)
		b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg, RetryMax: time.Minute, GiveUpAfter: 10 * time.Minute})
		e, stop := b.daemon()
		b.accept(e, b.file("a.csv", numbers(0, 900)))
		time.Sleep(24 * time.Hour)
		if h := e.Health(); h[0].State != "retrying" || h[0].Reason != "the host is down" {
			t.Errorf("health %+v", h)
		}
		if n := tg.requests(); n > 24*90+10 {
			t.Errorf("the sink was asked %d times in a day", n)
		}
		tg.set(nil)
		b.ended(1)
		stop()
		tg.has(t, upTo(900), false)
		b.is(1, ingest.Done, ingest.Counts{Records: 900, Delivered: 900})
		d, err := b.ledger.Arrival(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, batch := range d.Batches {
			if batch.Attempts != 1 {
				t.Errorf("batch %+v", batch)
			}
		}
		b.audit()
		b.empty()
	})
}

// A batch that was tried keeps its time, whoever asks the host meanwhile.
func TestUnsentAfterATry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tg := newTarget()
		n := 0
		tg.answer = func(r *ingest.Request, ids []string) (ingest.Answer, error) {
			if n++; n == 1 {
				return down(r, ids)
			}
			return unsent(30*time.Second, 9)(r, ids)
		}
		b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg, Concurrency: 1, GiveUpAfter: 10 * time.Minute})
		e, stop := b.daemon()
		b.accept(e, b.file("a.csv", numbers(0, 10)))
		b.ended(1)
		stop()
		b.is(1, ingest.Done, ingest.Counts{Records: 10, Dead: 10})
		// The letters hold the answer to that try, not the silence since.
		if l := b.letters(); len(l) != 10 || !l[0].Uncertain || l[0].Status != 503 {
			t.Errorf("%d letters, %+v", len(l), l[0])
		}
		b.audit()
	})
}

// A once run does not wait for a host that stays down.
func TestOnceLeavesUnsentBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tg := newTarget()
		fails := 0
		tg.answer = func(r *ingest.Request, ids []string) (ingest.Answer, error) {
			fails++
			return unsent(time.Second, fails)(r, ids)
		}
		b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg, RetryMax: 8 * time.Second})
		begun := time.Now()
		if err := b.once(b.file("a.csv", numbers(0, 900))); !errors.Is(err, pipeline.ErrUnfinished) {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > 5*time.Minute {
			t.Errorf("it took %v", took)
		}
		tg.set(nil)
		if err := b.once(); err != nil {
			t.Fatal(err)
		}
		tg.has(t, upTo(900), false)
		b.audit()
	})
}
