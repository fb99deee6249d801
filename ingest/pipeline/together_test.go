package pipeline_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/pipeline"
)

// notOne does not take the batch with an id, and takes all others.
func notOne(bad string) func(*ingest.Request, []string) (ingest.Answer, error) {
	return func(r *ingest.Request, ids []string) (ingest.Answer, error) {
		if slices.Contains(ids, bad) {
			return down(r, ids)
		}
		return ingest.Answer{}, nil
	}
}

// A batch that is never taken keeps nobody waiting, however long it waits
// itself: neither in the process that tried it, nor in the next one.
func TestOneBatchShutsNobodyOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tg := newTarget()
		tg.answer = notOne("100")
		b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg, Concurrency: 2, RetryInitial: 20 * time.Minute, RetryMax: time.Hour})
		e, stop := b.daemon()
		b.accept(e, b.file("a.csv", numbers(0, 150)))
		until(t, "the other batch", func() bool { return tg.count() == 100 })
		time.Sleep(10 * time.Minute) // the bad one alone is left
		start := time.Now()
		for i := range 20 {
			b.accept(e, b.file("b.csv", numbers(1000+i*100, 1100+i*100)))
			until(t, "the others", func() bool { return tg.count() == 200+i*100 })
			time.Sleep(7 * time.Minute)
		}
		if took := time.Since(start); took > 20*7*time.Minute+time.Minute {
			t.Errorf("the others waited: %s", took)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		b.reopen()
		e, stop = b.daemon()
		start = time.Now()
		id := b.accept(e, b.file("c.csv", numbers(5000, 5100)))
		b.ended(id...)
		if took := time.Since(start); took > time.Minute {
			t.Errorf("after a restart others waited for %s", took)
		}
		tg.set(nil)
		b.ended(1)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		b.audit()
		b.empty()
	})
}

// A sink that is down is left alone all the same: not every batch tries it.
func TestManyBatchesLeaveASinkAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tg := newTarget()
		tg.answer = down
		b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg, RetryInitial: 10 * time.Minute, RetryMax: time.Hour})
		e, stop := b.daemon()
		b.accept(e, b.file("a.csv", numbers(0, 3000)))
		time.Sleep(24 * time.Hour)
		if n := tg.requests(); n > 24*7+10 {
			t.Errorf("it was asked %d times in a day", n)
		}
		if h := e.Health()[0]; h.State != "retrying" || !h.Next.After(time.Now()) {
			t.Errorf("health %+v", h)
		}
		tg.set(nil)
		b.ended(1)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		tg.has(t, upTo(3000), true)
		b.audit()
		b.empty()
	})
}

// A once run gives up on one batch that is not taken, and on a record of which a
// target says "not now" for ever, however short the waits are.
func TestOnceLeavesOneBehind(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		max    time.Duration
		lanes  int
		answer func(tg *target) func(*ingest.Request, []string) (ingest.Answer, error)
	}{
		"a batch":              {time.Minute, 0, func(*target) func(*ingest.Request, []string) (ingest.Answer, error) { return notOne("100") }},
		"a batch, soon":        {200 * time.Millisecond, 0, func(*target) func(*ingest.Request, []string) (ingest.Answer, error) { return notOne("100") }},
		"a batch of a lane":    {time.Minute, 4, func(*target) func(*ingest.Request, []string) (ingest.Answer, error) { return notOne("100") }},
		"a record":             {time.Minute, 0, notNow},
		"a record, soon":       {200 * time.Millisecond, 0, notNow},
		"a record of a lane":   {time.Minute, 4, notNow},
		"one of a lane, soon":  {200 * time.Millisecond, 4, notNow},
		"a batch, lanes, soon": {200 * time.Millisecond, 4, func(*target) func(*ingest.Request, []string) (ingest.Answer, error) { return notOne("100") }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tg := newTarget()
				tg.answer = c.answer(tg)
				b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg, RetryInitial: 100 * time.Millisecond, RetryMax: c.max})
				if c.lanes > 0 {
					ordered(b, 0, c.lanes)
				}
				if err := b.once2(t, 20*time.Minute, b.file("a.csv", orders(0, 1000))); !errors.Is(err, pipeline.ErrUnfinished) {
					t.Fatal(err)
				}
				tg.set(nil)
				if err := b.once2(t, time.Hour); err != nil {
					t.Fatal(err)
				}
				tg.has(t, upTo(1000), false)
				b.audit()
				b.empty()
			})
		})
	}
}

// notNow takes all records but one, one by one.
func notNow(tg *target) func(*ingest.Request, []string) (ingest.Answer, error) {
	return each(tg, func(id string) ingest.RecordAnswer {
		if id == "100" {
			return fate(ingest.FateAgain, 503)
		}
		return fate(ingest.FateDelivered, 200)
	})
}

// The time of a pause is not a record's that is to be sent again, either.
func TestPauseIsNoPatience(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tg := newTarget()
		tg.answer = notNow(tg)
		b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg, RetryInitial: time.Second, RetryMax: 10 * time.Minute, GiveUpAfter: time.Hour})
		e, stop := b.daemon(b.file("a.csv", numbers(0, 1000)))
		until(t, "the others", func() bool { return tg.count() == 999 })
		time.Sleep(20 * time.Minute)
		e.PauseSink("s", "paused by hand", time.Now(), time.Time{})
		time.Sleep(5 * time.Hour)
		resumed := time.Now()
		e.ResumeSink("s", resumed)
		b.ended(1)
		if took := time.Since(resumed); took < 30*time.Minute {
			t.Errorf("given up %s after the pause", took)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		b.is(1, ingest.Done, ingest.Counts{Records: 1000, Delivered: 999, Dead: 1})
		b.audit()
	})
}

// What waited for its turn for long before it was tried has all of its time after
// a restart, too.
func TestPatienceBeginsWithTheFirstTry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tg := newTarget()
		tg.answer = unsent(time.Minute, 9)
		b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg, RetryInitial: time.Second, RetryMax: 10 * time.Minute, GiveUpAfter: 10 * time.Hour})
		_, stop := b.daemon(b.file("a.csv", numbers(0, 300)))
		time.Sleep(9 * time.Hour) // the host is known to be down: nothing is sent
		tried := time.Now()
		tg.set(down)
		time.Sleep(2 * time.Hour)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		b.reopen()
		_, stop = b.daemon()
		b.ended(1)
		if took := time.Since(tried); took < 9*time.Hour || took > 12*time.Hour {
			t.Errorf("given up %s after the first try", took)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		b.is(1, ingest.Done, ingest.Counts{Records: 300, Dead: 300})
		b.audit()
	})
}

// Batches that were parked behind a lane's and are answered record by record
// afterwards give their places back.
func TestParkedAndMixed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tg := newTarget()
		tg.answer = notOne("100")
		b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg, RetryInitial: 500 * time.Millisecond, RetryMax: time.Minute})
		ordered(b, 0, 4)
		b.plan.Sinks[0].MaxRecords = 50
		e, stop := b.daemon()
		ids := b.accept(e, b.file("a.csv", orders(0, 6000)))
		until(t, "parked batches", func() bool { return e.Parked("s") > 5 })
		asked := map[string]bool{}
		tg.set(each(tg, func(id string) ingest.RecordAnswer {
			if asked[id] || len(id)%2 == 0 {
				return fate(ingest.FateDelivered, 200)
			}
			asked[id] = true
			return fate(ingest.FateAgain, 503)
		}))
		b.ended(ids...)
		if n := e.Parked("s"); n != 0 {
			t.Errorf("%d are parked for ever", n)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		tg.has(t, upTo(6000), false)
		b.audit()
		b.empty()
	})
}

// A replay whose bytes are lost leaves its own letters dead, and no others:
// those of other lanes, and those that another sink refused, are not in it.
func TestLostReplayInLanes(t *testing.T) {
	t.Parallel()
	one, two := newTarget(), newTarget()
	bad := func(a, b int) (ids []string) {
		for id := range between(a, b) {
			ids = append(ids, id)
		}
		return ids
	}
	one.answer, two.answer = refuse(422, bad(10, 20)...), refuse(422, bad(15, 25)...)
	b := newBench(t, "id", pipeline.SinkOptions{Name: "one", Sink: one}, pipeline.SinkOptions{Name: "two", Sink: two})
	ordered(b, 0, 4)
	if err := b.once(b.file("a.csv", orders(0, 100))); err != nil {
		t.Fatal(err)
	}
	b.is(1, ingest.Done, ingest.Counts{Records: 100, Delivered: 85, Dead: 15})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	claimed := func(r *ingest.Request, ids []string) (ingest.Answer, error) {
		cancel() // all of it, by then
		return down(r, ids)
	}
	one.set(claimed)
	two.set(claimed)
	e, stop := b.daemon()
	if _, err := e.ReplayLetters(ctx, 1, b.letters(), false); !errors.Is(err, pipeline.ErrUnfinished) && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	stored, err := b.outbox.List()
	if err != nil || len(stored) < 5 {
		t.Fatalf("%v in the outbox, %v", stored, err)
	}
	for _, id := range stored {
		if err := b.outbox.Remove(id); err != nil {
			t.Fatal(err)
		}
	}
	b.reopen()
	if err := b.once(); err != nil {
		t.Fatal(err)
	}
	if n := len(b.letters()); n != 20 {
		t.Errorf("%d letters, want 20", n)
	}
	b.is(1, ingest.Done, ingest.Counts{Records: 100, Delivered: 85, Dead: 15})
	b.audit()
	b.empty()
	// What the letters hold is not lost with that.
	one.set(nil)
	two.set(nil)
	e, stop = b.daemon()
	if r, err := e.ReplayLetters(t.Context(), 1, b.letters(), false); err != nil || r.Sent != 15 {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	b.is(1, ingest.Done, ingest.Counts{Records: 100, Delivered: 100})
	one.has(t, upTo(100), false)
	two.has(t, upTo(100), false)
	b.audit()
	b.empty()
}

// Two arrivals under older settings, of which the first has a record that waits
// for one of the second, do not wait for each other.
func TestLanesChangeUnderFollowers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tg := newTarget()
		tg.answer = down
		b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg, RetryInitial: time.Second, RetryMax: time.Minute})
		bad := "id,customer\n7,c1\n8,c1\n"
		for range 20 {
			bad += "1,2,3,4\n"
		}
		e, stop := b.daemon()
		ids := b.accept(e, b.file("a.csv", bad))
		until(t, "the first to be held", func() bool { return b.arrivals()[0].State == ingest.Held })
		ids = append(ids, b.accept(e, b.file("b.csv", "id,customer\n7,c1\n9,c1\n"))...)
		until(t, "the second to be tried", func() bool { return tg.requests() > 0 })
		if err := e.Release(t.Context(), ids[0]); err != nil {
			t.Fatal(err)
		}
		tg.set(func(_ *ingest.Request, got []string) (ingest.Answer, error) {
			if slices.Contains(got, "9") {
				return down(nil, nil)
			}
			return ingest.Answer{}, nil
		})
		until(t, "the first to be sent", func() bool { return tg.count() == 1 })
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		b.reopen()
		old := *b.plan
		old.Sinks = slices.Clone(b.plan.Sinks)
		b.plan.Snapshot = []byte("v2")
		ordered(b, 0, 3)
		b.mod = func(o *pipeline.Options) { o.Compile = func([]byte) (*pipeline.Plan, error) { return &old, nil } }
		tg.set(nil)
		if err := b.once2(t, time.Hour); err != nil {
			t.Fatal(err)
		}
		tg.has(t, between(7, 10), false)
		b.audit()
	})
}

// What began under older settings ends first, also where it came after what has
// not begun.
func TestLanesChangeBeforeTheFirst(t *testing.T) {
	t.Parallel()
	tg := newTarget()
	b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
	ids, err := b.ledger.Accept(t.Context(), "p", "p", []ingest.Found{b.file("a.csv", orders(0, 100)), b.file("b.csv", orders(100, 200))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.ledger.Begin(t.Context(), ids[1], b.plan.Snapshot); err != nil {
		t.Fatal(err)
	}
	b.reopen()
	old := *b.plan
	old.Sinks = slices.Clone(b.plan.Sinks)
	b.plan.Snapshot = []byte("v2")
	ordered(b, 0, 3)
	b.mod = func(o *pipeline.Options) { o.Compile = func([]byte) (*pipeline.Plan, error) { return &old, nil } }
	if err := b.once(); err != nil {
		t.Fatal(err)
	}
	tg.has(t, upTo(200), false)
	b.audit()
}
