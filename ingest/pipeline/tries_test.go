package pipeline_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/pipeline"
)

func TestTooLargeIsHalvedBySize(t *testing.T) {
	t.Parallel()
	const most = 4000
	tg := newTarget()
	tg.answer = func(r *ingest.Request, ids []string) (ingest.Answer, error) {
		if len(r.Body) > most {
			return ingest.Answer{}, &ingest.Reject{Reason: "too large", TooLarge: true, Answer: ingest.Answer{Status: 413}}
		}
		return ingest.Answer{}, nil
	}
	b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
	// One record is most of a batch, another is too large by itself.
	text := "id,name\n"
	for i := range 100 {
		n := 100
		switch i {
		case 7:
			n = 3800
		case 60:
			n = 5000
		}
		text += fmt.Sprintf("%d,%s\n", i, strings.Repeat("x", n))
	}
	if err := b.once(b.file("a.csv", text)); err != nil {
		t.Fatal(err)
	}
	want := upTo(100)
	delete(want, "60")
	tg.has(t, want, false)
	b.is(1, ingest.Done, ingest.Counts{Records: 100, Delivered: 99, Dead: 1})
	if d := b.letters(); len(d) != 1 || d[0].Pos.Line != 62 || d[0].Status != 413 {
		t.Errorf("letters %+v", d)
	}
	if tg.sends > 40 {
		t.Errorf("%d requests for 20 KB in pieces of 4", tg.sends)
	}
	b.audit()
}

// With one request at a time nothing overtakes: halves of a refused batch go
// before the next batch, and so does one that failed.
func TestStrictOrderThroughRefusals(t *testing.T) {
	t.Parallel()
	tg := newTarget()
	n := 0
	tg.answer = func(r *ingest.Request, ids []string) (ingest.Answer, error) {
		if n++; n%5 == 0 {
			return down(r, ids)
		}
		return refuse(422, "50", "51", "350", "777")(r, ids)
	}
	b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg, Concurrency: 1})
	if err := b.once(b.file("a.csv", numbers(0, 1000)), b.file("b.csv", numbers(1000, 1500))); err != nil {
		t.Fatal(err)
	}
	want := upTo(1500)
	for _, id := range []string{"50", "51", "350", "777"} {
		delete(want, id)
	}
	tg.has(t, want, false)
	last := -1
	for _, id := range tg.order {
		var k int
		fmt.Sscan(id, &k)
		if k < last {
			t.Fatalf("%d came after %d", k, last)
		}
		last = k
	}
	b.audit()
}

// moments notes when requests were made.
type moments struct {
	ingest.Sink
	mu sync.Mutex
	at []time.Time
}

func (m *moments) Send(ctx context.Context, r *ingest.Request) (ingest.Answer, error) {
	m.mu.Lock()
	m.at = append(m.at, time.Now())
	m.mu.Unlock()
	return m.Sink.Send(ctx, r)
}

// Retry-After keeps the whole queue quiet, though other requests that were in
// flight were taken, and though the process is another one by then.
func TestRetryAfterKeepsTheQueueQuiet(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		wait    time.Duration
		restart bool
	}{{2 * time.Second, false}, {50 * time.Minute, false}, {50 * time.Minute, true}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { retryAfter(t, c.wait, c.restart) })
		})
	}
}

func retryAfter(t *testing.T, wait time.Duration, restart bool) {
	tg := newTarget()
	var at time.Time
	tg.hang = func(_ *ingest.Request, ids []string) <-chan struct{} {
		c := make(chan struct{})
		delay := time.Second
		if slices.Contains(ids, "0") {
			delay = 500 * time.Millisecond // the refusal comes first
		}
		time.AfterFunc(delay, func() { close(c) })
		return c
	}
	tg.answer = func(_ *ingest.Request, ids []string) (ingest.Answer, error) {
		if slices.Contains(ids, "0") && at.IsZero() {
			at = time.Now().Add(wait)
			return ingest.Answer{}, &ingest.RetryAfter{At: at, Reason: "429"}
		}
		return ingest.Answer{}, nil
	}
	m := &moments{Sink: tg}
	b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: m, RetryInitial: time.Second, RetryMax: time.Minute})
	_, stop := b.daemon(b.file("a.csv", numbers(0, 2000)))
	until(t, "what was in flight", func() bool { return tg.count() >= 300 })
	if restart {
		stop()
		b.reopen()
		var e *pipeline.Engine
		e, stop = b.daemon(b.file("b.csv", numbers(2000, 2500)))
		time.Sleep(time.Minute)
		if h := e.Health()[0]; h.State != "retrying" || h.Reason != "the last answer before the restart: 429" || h.Next.Before(at) {
			t.Errorf("health %+v", h)
		}
		b.ended(2)
	}
	b.ended(1)
	stop()
	for i, when := range m.at[4:] {
		if when.Before(at) {
			t.Fatalf("request %d came %s too early", 5+i, at.Sub(when))
		}
	}
	b.is(1, ingest.Done, ingest.Counts{Records: 2000, Delivered: 2000})
	b.audit()
	b.empty()
}

// A batch that was put off is sent by a later process as it was, and is not
// made again: here it could not be.
func TestPutOffKeepsItsBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tg := newTarget()
		tg.answer = down
		b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg, RetryInitial: time.Minute, RetryMax: time.Hour})
		_, stop := b.daemon(b.file("a.csv", numbers(0, 900)))
		until(t, "the outbox", func() bool {
			list, err := b.outbox.List()
			return err == nil && len(list) == 9
		})
		stop()
		b.reopen()
		tg.set(nil)
		b.plan.Open = altered(b.plan.Open) // would make other bodies
		before := len(tg.keys)
		_, stop = b.daemon()
		b.ended(1)
		stop()
		tg.has(t, upTo(900), false)
		if before == 0 || before > 4 {
			t.Errorf("%d requests were tried", before)
		}
		b.is(1, ingest.Done, ingest.Counts{Records: 900, Delivered: 900})
		b.audit()
		b.empty()
	})
}

// altered reads records with other names in them.
func altered(open func(context.Context, ingest.Input) (ingest.Reader, error)) func(context.Context, ingest.Input) (ingest.Reader, error) {
	return func(ctx context.Context, in ingest.Input) (ingest.Reader, error) {
		r, err := open(ctx, in)
		return alteredReader{r}, err
	}
}

type alteredReader struct{ ingest.Reader }

func (r alteredReader) Read(ctx context.Context, c *ingest.Chunk) error {
	err := r.Reader.Read(ctx, c)
	for i := range c.Records {
		c.Records[i].Fields[1].Raw = []byte("other")
	}
	return err
}

// A stopped sink is asked again at once by a new process: somebody may have
// mended it.
func TestStoppedSinkIsAskedAtStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tg := newTarget()
		tg.answer = func(*ingest.Request, []string) (ingest.Answer, error) {
			return ingest.Answer{}, &ingest.Halt{Reason: "401"}
		}
		b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg, RetryMax: time.Minute, GiveUpAfter: time.Second})
		e, stop := b.daemon(b.file("a.csv", numbers(0, 900)))
		until(t, "some tries", func() bool { return tg.requests() > 6 })
		if h := e.Health(); h[0].State != "stopped" || h[0].Reason != "401" || time.Until(h[0].Next) > 5*time.Minute {
			t.Errorf("health %+v", h)
		}
		stop()
		b.reopen()
		tg.set(nil)
		begun := time.Now()
		if err := b.once(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("it took %s", took)
		}
		tg.has(t, upTo(900), false)
		b.is(1, ingest.Done, ingest.Counts{Records: 900, Delivered: 900})
		b.empty()
	})
}

// A wall clock that was wrong when a batch was put off, and is set back by
// years, does not hold it up for years.
func TestPutOffUnderAnotherClock(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tg := newTarget()
		tg.answer = down
		// As written by a process whose clock was far ahead.
		b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg, RetryInitial: 20000 * time.Hour, RetryMax: 20000 * time.Hour})
		_, stop := b.daemon(b.file("a.csv", numbers(0, 900)))
		until(t, "the outbox", func() bool {
			list, err := b.outbox.List()
			return err == nil && len(list) == 9
		})
		stop()
		b.reopen()
		tg.set(nil)
		b.sinks[0].RetryInitial, b.sinks[0].RetryMax = time.Second, time.Minute
		begun := time.Now()
		_, stop = b.daemon()
		b.ended(1)
		stop()
		if took := time.Since(begun); took > 2*time.Hour {
			t.Errorf("they waited for %v", took)
		}
		b.is(1, ingest.Done, ingest.Counts{Records: 900, Delivered: 900})
		b.audit()
	})
}
