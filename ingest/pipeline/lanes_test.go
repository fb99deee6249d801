package pipeline_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/pipeline"
)

// customers is how many values order is asked for.
const customers = 23

func customer(id int) int { return id * 7919 % customers }

// orders is a CSV of the ids from a to b-1, each with its customer.
func orders(a, b int) string {
	text := "id,customer\n"
	for id := a; id < b; id++ {
		if c := customer(id); c > 0 {
			text += fmt.Sprintf("%d,c%d\n", id, c)
		} else {
			text += fmt.Sprintf("%d,\n", id)
		}
	}
	return text
}

// inOrder checks that no customer's order came after a later one: what counts is
// when an id was taken first.
func (t *target) inOrder(tb testing.TB) {
	tb.Helper()
	t.mu.Lock()
	defer t.mu.Unlock()
	last, seen := map[int]int{}, map[string]bool{}
	for _, s := range t.order {
		if seen[s] {
			continue
		}
		seen[s] = true
		id, _ := strconv.Atoi(s)
		if was := last[customer(id)]; was > id {
			tb.Fatalf("customer %d: %d came after %d", customer(id), id, was)
		}
		last[customer(id)] = id
	}
}

func ordered(b *bench, sink, lanes int) {
	b.plan.Sinks[sink].OrderBy, b.plan.Sinks[sink].Lanes = []string{"customer"}, lanes
}

// moody refuses some ids for good, and fails at random: before a request was
// taken, or after.
func moody(tg *target, seed uint64, dead ...string) func(*ingest.Request, []string) (ingest.Answer, error) {
	rng := rand.New(rand.NewPCG(seed, 7))
	return func(r *ingest.Request, ids []string) (ingest.Answer, error) {
		switch n := rng.IntN(20); {
		case n < 3:
			return down(r, ids)
		case n == 3:
			return ingest.Answer{}, &ingest.RetryAfter{At: time.Now().Add(10 * time.Millisecond), Reason: "429", Answer: ingest.Answer{Status: 429}}
		}
		ans, err := refuse(422, dead...)(r, ids)
		if err == nil && ans.Status == 0 && rng.IntN(20) == 0 {
			tg.took(r.Key, ids) // taken, and the answer is lost
			tg.note(r.Key, join(ids), string(r.Body))
			return down(r, ids)
		}
		return ans, err
	}
}

func join(ids []string) (s string) {
	for i, id := range ids {
		if i > 0 {
			s += ","
		}
		s += id
	}
	return s
}

// Whatever a target answers, and however often the process is another one, the
// records of a value are taken in order: within a file and over files.
func TestLanesKeepOrder(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			const all = 4000
			dead := []string{"17", "18", "400", "1999", "2000", "3999"}
			laned, plain := newTarget(), newTarget()
			laned.answer = moody(laned, seed, dead...)
			plain.answer = moody(plain, seed+100)
			b := newBench(t, "id",
				pipeline.SinkOptions{Name: "laned", Sink: laned, RetryInitial: time.Millisecond, RetryMax: 20 * time.Millisecond},
				pipeline.SinkOptions{Name: "plain", Sink: plain, RetryInitial: time.Millisecond, RetryMax: 20 * time.Millisecond})
			ordered(b, 0, 3+int(seed))
			b.plan.Sinks[0].MaxRecords = 20
			e, stop := b.daemon()
			rng := rand.New(rand.NewPCG(seed, 1))
			var ids []int64
			for i, at := 0, 0; at < all; i++ {
				n := min(1+rng.IntN(700), all-at)
				ids = append(ids, b.accept(e, b.file(fmt.Sprintf("%03d.csv", i), orders(at, at+n)))...)
				at += n
				if rng.IntN(3) == 0 {
					if err := stop(); err != nil {
						t.Fatal(err)
					}
					b.reopen()
					e, stop = b.daemon()
				}
			}
			b.ended(ids...)
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			laned.inOrder(t)
			want := upTo(all)
			plain.has(t, want, true)
			for _, id := range dead {
				delete(want, id)
			}
			laned.has(t, want, true)
			b.audit()
			b.empty()
		})
	}
}

// lanesDie runs until it is killed at a random request, or comes to its end.
func lanesDie(t testing.TB) {
	dir := t.TempDir()
	seed, _ := strconv.ParseUint(os.Getenv("INGESTD_TEST_SEED"), 10, 64)
	rng := rand.New(rand.NewPCG(seed, 3))
	tg := recallTarget(t, "laned", journal(dir))
	mood, left := moody(tg, seed, "30", "31", "900"), 10+rng.IntN(40)
	tg.answer = func(r *ingest.Request, ids []string) (ingest.Answer, error) {
		ans, err := mood(r, ids)
		if left--; left == 0 {
			if err == nil && ans.Status == 0 && rng.IntN(2) == 0 {
				tg.note(r.Key, join(ids), string(r.Body)) // taken, and nobody knows
			}
			die()
		}
		return ans, err
	}
	b := lanesBench(t, dir, tg)
	var files []ingest.Found
	if len(b.arrivals()) == 0 {
		for i := range 4 {
			files = append(files, b.file(fmt.Sprintf("%d.csv", i), orders(i*500, i*500+500)))
		}
	}
	b.once(files...)
}

func lanesBench(t testing.TB, dir string, tg *target) *bench {
	b := atDir(t, dir, "id", pipeline.SinkOptions{Name: "laned", Sink: tg, RetryInitial: time.Millisecond, RetryMax: 20 * time.Millisecond})
	ordered(b, 0, 4)
	b.plan.Sinks[0].MaxRecords = 12
	return b
}

// Order outlives kill -9 at any request.
func TestLanesSurviveKills(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for seed := range 4 {
		crashSeed(t, dir, "lanes", seed)
	}
	tg := recallTarget(t, "laned", journal(dir))
	if n := tg.count(); n == 0 || n >= 1997 {
		t.Fatalf("%d records before the last start", n)
	}
	tg.answer = refuse(422, "30", "31", "900")
	b := lanesBench(t, dir, tg)
	if err := b.once(); err != nil {
		t.Fatal(err)
	}
	tg.inOrder(t)
	want := upTo(2000)
	for _, id := range []string{"30", "31", "900"} {
		delete(want, id)
	}
	tg.has(t, want, true)
	b.audit()
}

// A batch that is never taken holds up its own lane, and no other; nor does the
// memory of what waits behind it. In the end it is given up, and its lane goes on.
func TestStuckLane(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tg := newTarget()
		tg.answer = func(r *ingest.Request, ids []string) (ingest.Answer, error) {
			if slices.Contains(ids, "100") {
				return down(r, ids)
			}
			return ingest.Answer{}, nil
		}
		b := newBench(t, "id", pipeline.SinkOptions{
			Name: "s", Sink: tg, RetryInitial: 500 * time.Millisecond, RetryMax: time.Minute, GiveUpAfter: time.Hour,
		})
		ordered(b, 0, 4)
		b.plan.Sinks[0].MaxRecords = 50
		e, stop := b.daemon()
		ids := b.accept(e, b.file("a.csv", orders(0, 6000)), b.file("b.csv", orders(6000, 7000)))
		lane := func(id int) bool { return tg.lane(b.plan, id) == tg.lane(b.plan, 100) }
		others := 0
		for id := range 7000 {
			if !lane(id) {
				others++
			}
		}
		start := time.Now()
		until(t, "the other lanes", func() bool { return tg.count() >= others })
		if took := time.Since(start); took > 10*time.Minute {
			t.Errorf("the other lanes took %s", took)
		}
		if h := e.Health()[0]; h.State != "retrying" || h.Reason == "" {
			t.Errorf("health %+v", h)
		}
		got := tg.count()
		b.ended(ids...)
		if tg.count() <= got {
			t.Error("nothing of the lane came after its batch was given up")
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		tg.inOrder(t)
		for _, d := range b.letters() {
			if !d.Uncertain || !lane(int(d.Pos.Record-1)) {
				t.Errorf("letter %+v", d)
			}
		}
		b.audit()
	})
}

// lane is the lane of an id, as the engine sees it.
func (t *target) lane(p *pipeline.Plan, id int) int {
	value := ingest.Field{Name: "customer", Kind: ingest.String, Raw: fmt.Appendf(nil, "c%d", customer(id))}
	if customer(id) == 0 {
		value.Raw = nil
	}
	return pipeline.LaneOf(&p.Sinks[0], value)
}

// Lanes go out at the same time, up to the sink's concurrency.
func TestLanesAreParallel(t *testing.T) {
	t.Parallel()
	tg := newTarget()
	var mu sync.Mutex
	flying := map[int]bool{}
	all := make(chan struct{})
	b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
	ordered(b, 0, 4)
	tg.hang = func(_ *ingest.Request, ids []string) <-chan struct{} {
		mu.Lock()
		defer mu.Unlock()
		id, _ := strconv.Atoi(ids[0])
		flying[tg.lane(b.plan, id)] = true
		if len(flying) == 4 {
			select {
			case <-all:
			default:
				close(all)
			}
		}
		return all // nobody is answered until all four are there
	}
	if err := b.once(b.file("a.csv", orders(0, 2000))); err != nil {
		t.Fatal(err)
	}
	tg.inOrder(t)
	tg.has(t, upTo(2000), false)
	// 23 values fall unevenly into lanes; batches are large all the same.
	if tg.sends > 2*2000/100 {
		t.Errorf("%d requests for 2,000 records, at most 100 in each", tg.sends)
	}
}

// A sink that is left behind, and fed later, gets its lanes in order.
func TestLanesOfASinkLeftBehind(t *testing.T) {
	t.Parallel()
	one, two := newTarget(), newTarget()
	two.answer = func(r *ingest.Request, ids []string) (ingest.Answer, error) {
		if one.count() < 3000 {
			return down(r, ids)
		}
		return ingest.Answer{}, nil
	}
	b := newBench(t, "id", pipeline.SinkOptions{Name: "one", Sink: one}, pipeline.SinkOptions{Name: "two", Sink: two})
	ordered(b, 1, 4)
	if err := b.once(b.file("a.csv", orders(0, 2000)), b.file("b.csv", orders(2000, 4000)), b.file("c.csv", orders(4000, 4100))); err != nil {
		t.Fatal(err)
	}
	two.inOrder(t)
	one.has(t, upTo(4100), false)
	two.has(t, upTo(4100), false)
	b.audit()
}

// A held arrival with lanes that a person gives up: only what was not delivered
// is dead, though batches of several lanes lie in the same range.
func TestDesertedLanes(t *testing.T) {
	t.Parallel()
	tg := newTarget()
	b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
	ordered(b, 0, 4)
	stuck := tg.lane(b.plan, 1)
	tg.answer = func(r *ingest.Request, ids []string) (ingest.Answer, error) {
		if id, _ := strconv.Atoi(ids[0]); tg.lane(b.plan, id) == stuck {
			return down(r, ids)
		}
		return ingest.Answer{}, nil
	}
	e, stop := b.daemon()
	ids := b.accept(e, b.file("a.csv", orders(0, 100)))
	var lost int64
	for id := range 100 {
		if tg.lane(b.plan, id) == stuck {
			lost++
		}
	}
	for tg.count() < 100-int(lost) {
		time.Sleep(time.Millisecond)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	b.reopen()
	if err := b.ledger.Hold(context.WithoutCancel(t.Context()), ids[0], "a test"); err != nil {
		t.Fatal(err)
	}
	e, stop = b.daemon()
	if err := e.Reject(t.Context(), ids[0]); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	a := b.ended(ids...)[0]
	if a.Counts.Delivered != 100-lost || a.Counts.Dead != lost {
		t.Errorf("%+v, want %d dead", a.Counts, lost)
	}
	b.audit()
}

// Under other settings a value is in another lane: what began before ends first.
func TestLanesChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tg := newTarget()
		tg.answer = func(r *ingest.Request, ids []string) (ingest.Answer, error) {
			if id, _ := strconv.Atoi(ids[0]); customer(id)%3 == 0 {
				return down(r, ids)
			}
			return ingest.Answer{}, nil
		}
		b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg, RetryInitial: time.Second, RetryMax: time.Minute})
		old := *b.plan
		old.Sinks = slices.Clone(b.plan.Sinks)
		old.Sinks[0].OrderBy, old.Sinks[0].Lanes = []string{"customer"}, 7
		now := b.plan
		b.plan = &old
		e, stop := b.daemon()
		ids := b.accept(e, b.file("a.csv", orders(0, 500)))
		time.Sleep(10 * time.Minute)
		if n := tg.count(); n == 0 || n == 500 {
			t.Fatalf("%d records before the change", n)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		b.reopen()
		b.plan, now.Snapshot = now, []byte("v2")
		ordered(b, 0, 3)
		b.mod = func(o *pipeline.Options) { o.Compile = func([]byte) (*pipeline.Plan, error) { return &old, nil } }
		e, stop = b.daemon()
		ids = append(ids, b.accept(e, b.file("b.csv", orders(500, 1000)), b.file("c.csv", orders(1000, 1100)))...)
		time.Sleep(10 * time.Minute)
		tg.set(nil)
		b.ended(ids...)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		tg.inOrder(t)
		tg.has(t, upTo(1100), true)
		b.audit()
		b.empty()
	})
}
