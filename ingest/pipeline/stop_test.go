package pipeline_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/pipeline"

	"go.uber.org/goleak"
)

// never keeps every request for good.
func never(*ingest.Request, []string) <-chan struct{} { return make(chan struct{}) }

func TestStopBreaksOffWhatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tg := newTarget()
		tg.hang = never
		b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
		pool := pipeline.NewPool(0)
		b.mod = func(o *pipeline.Options) { o.Pool = pool }
		_, stop := b.daemon(b.file("a.csv", numbers(0, 3000)))
		until(t, "requests", func() bool { return tg.requests() == 4 })
		asked := time.Now()
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(asked); took > 10*time.Second {
			t.Errorf("the stop took %s", took)
		}
		if n := pool.Used(); n != 0 {
			t.Errorf("%d bytes are still taken from the pool", n)
		}
		tg.hang = nil
		b.reopen()
		if err := b.once(); err != nil {
			t.Fatal(err)
		}
		tg.has(t, upTo(3000), false) // and no key with two bodies, no id under two keys
		if tg.sends != 30+4 {
			t.Errorf("%d requests; the four that hung go out again", tg.sends)
		}
		b.is(1, ingest.Done, ingest.Counts{Records: 3000, Delivered: 3000})
		b.audit()
	})
}

// Requests that come back in time are settled: nothing is sent again.
func TestStopWaitsForWhatIsInFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tg := newTarget()
		tg.hang = func(*ingest.Request, []string) <-chan struct{} {
			c := make(chan struct{})
			time.AfterFunc(5*time.Second, func() { close(c) })
			return c
		}
		b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
		_, stop := b.daemon(b.file("a.csv", numbers(0, 3000)))
		until(t, "requests", func() bool { return tg.requests() == 4 })
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if tg.count() != 400 || tg.sends != 4 {
			t.Errorf("%d records in %d requests", tg.count(), tg.sends)
		}
		tg.hang = nil
		if err := b.once(); err != nil {
			t.Fatal(err)
		}
		if tg.sends != 30 {
			t.Errorf("%d requests", tg.sends)
		}
		tg.has(t, upTo(3000), false)
	})
}

// A replay whose target is down, and a file that cannot be put away, do not
// hold up the stop; the next engine goes on with both.
func TestStopWhileOthersWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tg := newTarget()
		tg.answer = refuse(422, "7")
		b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg, RetryInitial: time.Second, RetryMax: time.Minute})
		src := &shelf{}
		src.broken.Store(true)
		b.mod = func(o *pipeline.Options) { o.Source = src }
		f := b.file("a.csv", numbers(0, 10))
		f.Keep = false
		e, stop := b.daemon(f)
		b.ended(1)
		tg.set(down)
		before := tg.requests()
		replayed := make(chan error, 1)
		go func() {
			_, err := e.ReplayLetters(t.Context(), 1, b.letters(), false)
			replayed <- err
		}()
		until(t, "the replay", func() bool { return tg.requests() > before })
		asked := time.Now()
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(asked); took > 10*time.Second {
			t.Errorf("the stop took %s", took)
		}
		if err := <-replayed; !errors.Is(err, pipeline.ErrUnfinished) {
			t.Errorf("the replay: %v", err)
		}
		if src.away.Load() != 0 {
			t.Error("it was put away")
		}
		if _, err := e.ReplayLetters(t.Context(), 1, nil, false); err == nil {
			t.Error("an engine that has ended takes letters")
		}
		tg.set(nil)
		src.broken.Store(false)
		if err := b.once(); err != nil {
			t.Fatal(err)
		}
		if src.away.Load() != 1 || len(b.letters()) != 0 {
			t.Errorf("put away %d times, %d letters are left", src.away.Load(), len(b.letters()))
		}
		tg.has(t, upTo(10), false)
		b.is(1, ingest.Done, ingest.Counts{Records: 10, Delivered: 10})
		b.audit()
		b.empty()
	})
}

// shelf is a source that puts away, where it is not broken.
type shelf struct {
	broken atomic.Bool
	away   atomic.Int32
}

func (s *shelf) Run(ctx context.Context, _ ingest.Acceptor) error {
	<-ctx.Done()
	return ctx.Err()
}
func (s *shelf) Sweep(context.Context, ingest.Acceptor) error { return nil }
func (s *shelf) Dispose(context.Context, *ingest.Arrival) (ingest.Disposition, error) {
	return ingest.Disposition{Action: "delete"}, nil
}

func (s *shelf) PutAway(context.Context, *ingest.Arrival) error {
	if s.broken.Load() {
		return errors.New("read-only file system")
	}
	s.away.Add(1)
	return nil
}

func TestLeavesNoGoroutine(t *testing.T) {
	before := goleak.IgnoreCurrent()
	tg := newTarget()
	tg.answer = refuse(422, "7", "950")
	two := newTarget()
	two.answer = down
	b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg}, pipeline.SinkOptions{Name: "two", Sink: two})
	if err := b.once(b.file("a.csv", numbers(0, 2000))); !errors.Is(err, pipeline.ErrUnfinished) {
		t.Fatal(err)
	}
	_, stop := b.daemon(b.file("b.csv", numbers(2000, 2100)))
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if err := b.ledger.Close(); err != nil {
		t.Fatal(err)
	}
	goleak.VerifyNone(t, before)
}
