package pipeline_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/pipeline"
)

// A key that one sink has and another refused: the mended record goes only to
// the other.
func TestMendedRecordGoesToTheRest(t *testing.T) {
	t.Parallel()
	one, two := newTarget(), newTarget()
	two.answer = refuse(422, "5")
	b := newBench(t, "id", pipeline.SinkOptions{Name: "one", Sink: one}, pipeline.SinkOptions{Name: "two", Sink: two})
	if err := b.once(b.file("a.csv", numbers(0, 10))); err != nil {
		t.Fatal(err)
	}
	b.is(1, ingest.Done, ingest.Counts{Records: 10, Delivered: 9, Dead: 1})
	two.set(nil)
	b.reopen()
	if err := b.once(b.file("b.csv", "id,name\n4,b\n5,mended\n10,b\n")); err != nil {
		t.Fatal(err)
	}
	b.is(2, ingest.Done, ingest.Counts{Records: 3, Delivered: 2, Duplicate: 1})
	if err := b.once(b.file("c.csv", "id,name\n5,again\n")); err != nil {
		t.Fatal(err)
	}
	b.is(3, ingest.Done, ingest.Counts{Records: 1, Duplicate: 1})
	one.has(t, upTo(11), false)
	two.has(t, upTo(11), false)
	b.audit()
}

// A key that all of today's sinks have, since the one that refused it was taken
// out of the config: there is nobody left to send the record to.
func TestKeyThatAllSinksHave(t *testing.T) {
	t.Parallel()
	one, two := newTarget(), newTarget()
	two.answer = refuse(422, "5")
	b := newBench(t, "id", pipeline.SinkOptions{Name: "one", Sink: one}, pipeline.SinkOptions{Name: "two", Sink: two})
	if err := b.once(b.file("a.csv", numbers(0, 10))); err != nil {
		t.Fatal(err)
	}
	b.plan.Sinks = b.plan.Sinks[:1]
	if err := b.once(b.file("b.csv", "id,name\n4,b\n5,mended\n5,again\n10,b\n")); err != nil {
		t.Fatal(err)
	}
	b.is(2, ingest.Done, ingest.Counts{Records: 4, Delivered: 1, Duplicate: 3})
	one.has(t, upTo(11), false)
	b.audit()
}

// The same by a replay of its dead letter.
func TestReplayGoesToTheRest(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"id", ""} {
		one, two, three := newTarget(), newTarget(), newTarget()
		one.answer, three.answer = refuse(422, "5"), refuse(422, "5")
		b := newBench(t, key, pipeline.SinkOptions{Name: "one", Sink: one}, pipeline.SinkOptions{Name: "two", Sink: two}, pipeline.SinkOptions{Name: "three", Sink: three})
		if err := b.once(b.file("a.csv", numbers(0, 10))); err != nil {
			t.Fatal(err)
		}
		b.is(1, ingest.Done, ingest.Counts{Records: 10, Delivered: 9, Dead: 1})
		if n := len(b.letters()); n != 2 {
			t.Errorf("%d letters", n)
		}
		one.set(nil)
		three.set(nil)
		e, stop := b.daemon()
		if out, err := e.ReplayLetters(t.Context(), 1, b.letters(), false); err != nil || out != (pipeline.Replayed{Sent: 1}) {
			t.Errorf("%+v, %v", out, err)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		for _, tg := range []*target{one, two, three} {
			tg.has(t, upTo(10), false)
		}
		if n := len(b.letters()); n != 0 {
			t.Errorf("%d letters are left", n)
		}
		b.is(1, ingest.Done, ingest.Counts{Records: 10, Delivered: 10})
		b.audit()
	}
}

// What is claimed together may be larger than the pool, and than a pipeline's
// share of it.
func TestClaimLargerThanThePool(t *testing.T) {
	t.Parallel()
	one, two := newTarget(), newTarget()
	b := newBench(t, "id", pipeline.SinkOptions{Name: "one", Sink: one}, pipeline.SinkOptions{Name: "two", Sink: two})
	b.plan.Sinks[1].Body.PerRecord = true
	b.mod = func(o *pipeline.Options) { o.Pool = pipeline.NewPool(4000) }
	if err := b.once(b.file("a.csv", numbers(0, 300)), b.file("b.csv", numbers(300, 600))); err != nil {
		t.Fatal(err)
	}
	one.has(t, upTo(600), false)
	two.has(t, upTo(600), false)
	if two.sends != 600 {
		t.Errorf("%d requests with one record each", two.sends)
	}
	b.audit()
}

// Many records that wait for others make the pass wait for what is claimed; that
// must not wait for a sink which gets its share only after the pass.
func TestManyFollowersBesideASlowSink(t *testing.T) {
	t.Parallel()
	one, two := newTarget(), newTarget()
	back := make(chan struct{})
	var once sync.Once
	one.answer = func(*ingest.Request, []string) (ingest.Answer, error) {
		if len(one.ids) >= 700 { // more than two has places for
			once.Do(func() { close(back) })
		}
		return ingest.Answer{}, nil
	}
	two.answer = func(r *ingest.Request, ids []string) (ingest.Answer, error) {
		select {
		case <-back:
			return ingest.Answer{}, nil
		default:
			return down(r, ids)
		}
	}
	b := newBench(t, "id", pipeline.SinkOptions{Name: "one", Sink: one}, pipeline.SinkOptions{Name: "two", Sink: two})
	b.plan.Sinks[0].MaxRecords, b.plan.Sinks[1].MaxRecords = 50, 50
	// Every key stands ten times in a row, then all of them again.
	text := rows(30000, func(i int) string { return fmt.Sprint(i / 10 % 2500) })
	if err := b.once(b.file("a.csv", text)); err != nil {
		t.Fatal(err)
	}
	one.has(t, upTo(2500), false)
	two.has(t, upTo(2500), false)
	b.is(1, ingest.Done, ingest.Counts{Records: 30000, Delivered: 2500, Duplicate: 27500})
	b.audit()
}

// A sink of which order is asked gets the arrivals in order though it was left
// behind.
func TestStrictOrderOfASinkLeftBehind(t *testing.T) {
	t.Parallel()
	one, two := newTarget(), newTarget()
	two.answer = func(r *ingest.Request, ids []string) (ingest.Answer, error) {
		if one.count() < 3000 {
			return down(r, ids)
		}
		return ingest.Answer{}, nil
	}
	b := newBench(t, "id", pipeline.SinkOptions{Name: "one", Sink: one}, pipeline.SinkOptions{Name: "two", Sink: two, Concurrency: 1})
	if err := b.once(b.file("a.csv", numbers(0, 2000)), b.file("b.csv", numbers(2000, 4000)), b.file("c.csv", numbers(4000, 4100))); err != nil {
		t.Fatal(err)
	}
	for i, id := range two.order {
		if id != fmt.Sprint(i) {
			t.Fatalf("at %d came %s", i, id)
		}
	}
	one.has(t, upTo(4100), false)
	two.has(t, upTo(4100), false)
	b.audit()
}

// A Once run that has a stopped sink finishes what the other takes, however
// slow that is, and then ends.
func TestOnceFinishesWhatItCan(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow, stopped := newTarget(), newTarget()
		slow.hang = func(*ingest.Request, []string) <-chan struct{} {
			c := make(chan struct{})
			time.AfterFunc(20*time.Second, func() { close(c) })
			return c
		}
		stopped.answer = func(*ingest.Request, []string) (ingest.Answer, error) {
			return ingest.Answer{}, &ingest.Halt{Reason: "401"}
		}
		b := newBench(t, "id", pipeline.SinkOptions{Name: "slow", Sink: slow}, pipeline.SinkOptions{Name: "stopped", Sink: stopped})
		if err := b.once2(t, time.Hour, b.file("a.csv", numbers(0, 3000))); !errors.Is(err, pipeline.ErrUnfinished) {
			t.Fatal(err)
		}
		slow.has(t, upTo(3000), false)
	})
}

// Every sink keeps its own progress: a slow one and one that is down delay
// neither the third nor each other, and get their shares, over a restart too.
func TestSinksKeepTheirOwnProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		quick, slow, away := newTarget(), newTarget(), newTarget()
		slow.hang = func(*ingest.Request, []string) <-chan struct{} {
			c := make(chan struct{})
			time.AfterFunc(10*time.Second, func() { close(c) })
			return c
		}
		away.answer = func(r *ingest.Request, ids []string) (ingest.Answer, error) {
			if time.Since(start) < 30*time.Minute {
				return down(r, ids)
			}
			return ingest.Answer{}, nil
		}
		b := newBench(t, "id", pipeline.SinkOptions{Name: "quick", Sink: quick},
			pipeline.SinkOptions{Name: "slow", Sink: slow, Concurrency: 2},
			pipeline.SinkOptions{Name: "away", Sink: away, RetryInitial: time.Second, RetryMax: time.Minute, GiveUpAfter: 24 * time.Hour})
		b.plan.Sinks[1].MaxRecords = 40
		e, stop := b.daemon()
		ids := b.accept(e, b.file("a.csv", numbers(0, 3000)), b.file("b.csv", numbers(3000, 4000)))
		until(t, "the quick sink", func() bool { return quick.count() == 4000 })
		if took := time.Since(start); took > 5*time.Minute {
			t.Errorf("the quick sink waited %s", took)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if slow.count() == 4000 || away.count() > 0 {
			t.Fatalf("%d and %d before the restart", slow.count(), away.count())
		}
		b.reopen()
		_, stop = b.daemon()
		until(t, "the slow sink", func() bool { return slow.count() == 4000 })
		if away.count() > 0 || time.Since(start) > 30*time.Minute {
			t.Errorf("the slow sink waited for the one that is down, until %s", time.Since(start))
		}
		b.ended(ids...)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		for _, tg := range []*target{quick, slow, away} {
			tg.has(t, upTo(4000), true)
		}
		b.is(ids[0], ingest.Done, ingest.Counts{Records: 3000, Delivered: 3000})
		b.audit()
		b.empty()
	})
}

// A batch that a target fails on, again and again, does not keep it from being
// found well: what comes later is delivered.
func TestOneBadBatchStopsNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tg := newTarget()
		tg.answer = func(r *ingest.Request, ids []string) (ingest.Answer, error) {
			if slices.Contains(ids, "5") {
				return down(r, ids)
			}
			return ingest.Answer{}, nil
		}
		b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg, RetryInitial: 500 * time.Millisecond, RetryMax: time.Minute, GiveUpAfter: time.Hour})
		e, stop := b.daemon()
		bad := b.accept(e, b.file("a.csv", numbers(0, 10)))
		time.Sleep(10 * time.Minute)
		start := time.Now()
		for i := range 5 {
			b.ended(b.accept(e, b.file(fmt.Sprintf("%d.csv", i), numbers(10+i*10, 20+i*10)))...)
		}
		if took := time.Since(start); took > 6*time.Minute {
			t.Errorf("the others took %s", took)
		}
		b.ended(bad...)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		b.audit()
	})
}
