package ledgertest

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"ingestd/ingest"
)

// cut gives a sink its batches of a claim that was made without them.
func (w *world) cut(c *ingest.Claim, sink string, batches ...*ingest.Batch) {
	w.Helper()
	w.check(wait(func(done func(error)) { w.Cut(c, sink, batches, done) }))
}

// sinksApart: each sink keeps its own progress; a record is delivered when all
// of its sinks have it, and dead when one refused it.
func sinksApart(t *testing.T, d Driver) {
	w := newWorld(t, d)
	id := w.begun("f")
	recs := w.judge(id, 1, "a", "b")
	c := w.claim(id, recs, "one", "two")
	one, two := c.Batches[0], c.Batches[1]
	w.settle(ingest.Settlement{Batch: one, State: ingest.BatchDelivered, Had: true})
	w.crash()
	b := w.begin(id)
	if n := b.Open[0].Batches; len(n) != 1 || n[0].ID != two.ID {
		t.Fatalf("open batches %+v", n)
	}
	w.expect(w.judge(id, 3, "a", "c"), "FN") // not known before both have it
	w.Unjudge(id, "p", []ingest.Key{key("c")})
	left, right := batch("two", recs[:1]), batch("two", recs[1:])
	w.settle(ingest.Settlement{Batch: b.Open[0].Batches[0], State: ingest.BatchSplit, Halves: [2]*ingest.Batch{left, right}})
	w.refused(left, "refused", 1)
	w.crash()
	w.begin(id)
	w.delivered(w.OpenClaims(id)[0].Batches[0])
	w.counts(w.end(id).Counts, ingest.Counts{Records: 2, Delivered: 1, Dead: 1, Had: 1})
	w.balanced()
	if l := w.letters(ingest.LetterFilter{}); len(l) != 1 || l[0].Sink != "two" || l[0].Key != key("a") {
		t.Errorf("letters %+v", l)
	}
}

// uncutAcrossCrashes: a sink that was left behind gets each record once, however
// its batches and crashes fall.
func uncutAcrossCrashes(t *testing.T, d Driver) {
	w := newWorld(t, d)
	id := w.begun("f")
	recs := w.judge(id, 1, "a", "b", "a")
	c := draft(id, "p", recs, []string{"one", "two", "three"}, []string{"two", "three"})
	w.commit(c)
	w.delivered(c.Batches[0])
	w.crash()
	b := w.begin(id)
	o := b.Open[0]
	w.follow(o.ID, recs[2])
	if !slices.Equal(o.Uncut, []string{"two", "three"}) || len(o.Batches) != 0 {
		t.Fatalf("uncut %v, batches %+v", o.Uncut, o.Batches)
	}
	bad := func(what, sink string, batches ...*ingest.Batch) {
		t.Helper()
		if err := wait(func(done func(error)) { w.Cut(&o.Claim, sink, batches, done) }); err == nil {
			t.Errorf("batches were cut %s", what)
		}
	}
	bad("that hold one of two records", "two", batch("two", recs[:1]))
	bad("that are none", "two")
	bad("for a sink that has its own", "one", batch("one", recs[:2]))
	// Both at once: what is on disk must know of both.
	var wg sync.WaitGroup
	for _, sink := range []string{"two", "three"} {
		wg.Go(func() { w.cut(&o.Claim, sink, batch(sink, recs[:1]), batch(sink, recs[1:2])) })
	}
	wg.Wait()
	bad("again", "two", batch("two", recs[:2]))
	w.crash()
	b = w.begin(id)
	if o = b.Open[0]; o.Uncut != nil || len(o.Batches) != 4 {
		t.Fatalf("after both were cut: uncut %v, %d batches", o.Uncut, len(o.Batches))
	}
	w.follow(o.ID, recs[2])
	for _, b := range o.Batches {
		w.delivered(b)
	}
	w.counts(w.settled(id), ingest.Counts{Records: 3, Delivered: 2, Duplicate: 1})
	w.end(id)
	w.crash()
	w.balanced()
	w.expect(w.judge(w.begun("g"), 1, "a", "b"), "DD")
}

// mendedGoesToTheRest: a key that some sinks have is kept with their names; a
// record with it goes to the others alone.
func mendedGoesToTheRest(t *testing.T, d Driver) {
	w := worldIn(t, d, t.TempDir(), 80*day)
	id := w.begun("f")
	recs := w.judge(id, 1, "a", "b")
	c := draft(id, "p", recs, []string{"one", "two"}, []string{"two"})
	w.commit(c)
	w.delivered(c.Batches[0])
	late := batch("two", recs)
	w.cut(c, "two", late)
	w.refused(late, "refused", 1, 2)
	w.counts(w.end(id).Counts, ingest.Counts{Records: 2, Dead: 2})
	for _, l := range w.letters(ingest.LetterFilter{}) {
		if l.Key != key([]string{"", "a", "b"}[l.Pos.Record]) {
			t.Errorf("letter %d has another key", l.Pos.Record)
		}
	}
	for range 2 {
		w.crash()
		next := w.begun("g")
		got := w.judge(next, 1, "a")
		w.expect(got, "N")
		if !slices.Equal(got[0].Have, []string{"one"}) {
			t.Fatalf("sinks that have it: %v", got[0].Have)
		}
		w.refused(w.claim(next, got, "two").Batches[0], "refused", 1) // again
		w.end(next)
	}
	w.crash()
	next := w.begun("h")
	got := w.judge(next, 1, "a")
	w.delivered(w.claim(next, got, "two").Batches[0])
	w.end(next)
	w.crash()
	got = w.judge(w.begun("i"), 1, "a", "b")
	w.expect(got, "DN")
	if got[0].Have != nil || !slices.Equal(got[1].Have, []string{"one"}) {
		t.Errorf("sinks that have them: %v, %v", got[0].Have, got[1].Have)
	}
	w.balanced()
	// Once all had it, nothing is left of who had it first.
	for range 5 {
		w.restart(20 * day)
	}
	got = w.judge(w.begun("j"), 1, "a")
	w.expect(got, "N")
	if got[0].Have != nil {
		t.Errorf("sinks that have it: %v", got[0].Have)
	}
}

// sharedScope: pipelines that share a scope share its memory; scopes apart do
// not. Only the arrival of a record that waits ends late.
func sharedScope(t *testing.T, d Driver) {
	w := newWorld(t, d)
	orders := w.acceptFor("orders", "shared", "f", 100)
	returns := w.acceptFor("returns", "shared", "g", 100)
	other := w.acceptFor("other", "other", "h", 100)
	for _, id := range []int64{orders, returns, other} {
		w.begin(id)
	}
	commit := func(scope string, id, first int64, keys ...string) *ingest.Claim {
		t.Helper()
		c := draft(id, scope, w.judgeIn(scope, id, first, keys...), []string{"a"}, nil)
		w.commit(c)
		return c
	}
	lead := commit("shared", orders, 1, "a")
	follow := commit("shared", returns, 1, "a", "b")
	if string(follow.Verdicts) != string((&ingest.Claim{Verdicts: packed("FN")}).Verdicts) {
		t.Errorf("verdicts %v", follow.Verdicts)
	}
	w.delivered(commit("other", other, 1, "a").Batches[0])
	w.end(other)
	w.delivered(follow.Batches[0])
	// A third arrival of that scope ends though the second waits.
	third := w.acceptFor("returns", "shared", "i", 100)
	w.begin(third)
	w.delivered(commit("shared", third, 1, "c").Batches[0])
	w.end(third)
	w.crash()
	w.begin(returns)
	b := w.begin(orders)
	if len(b.Open) != 1 || b.Open[0].ID != lead.ID || b.Open[0].Scope != "shared" {
		t.Fatalf("open %+v", b.Open)
	}
	w.delivered(b.Open[0].Batches[0])
	w.counts(w.end(orders).Counts, ingest.Counts{Records: 1, Delivered: 1})
	w.counts(w.end(returns).Counts, ingest.Counts{Records: 2, Delivered: 1, Duplicate: 1})
	w.balanced()
}

// packed is a word of verdicts as a claim has them.
func packed(word string) ingest.Verdicts {
	var l ingest.VerdictList
	for _, c := range word {
		for v, name := range "?NDfXF" {
			if name == c {
				l.Add(ingest.Verdict(v))
			}
		}
	}
	return l.Take()
}

// otherScopeAtBegin: settings may name another scope when an arrival begins than
// when it was accepted, and a scope that was only asked for leaves no trace.
func otherScopeAtBegin(t *testing.T, d Driver) {
	w := newWorld(t, d)
	id := w.accept("f")
	w.begin(id)
	recs := w.judgeIn("asked", id, 1, "x")
	w.Unjudge(id, "asked", []ingest.Key{recs[0].Key})
	recs = w.judgeIn("new", id, 1, "a", "b", "a")
	c := draft(id, "new", recs, []string{"a"}, nil)
	w.commit(c)
	w.acceptFor("later", "later", "g", 1)
	w.crash()

	next := w.acceptFor("q", "new", "h", 100)
	w.begin(next)
	got := w.judgeIn("new", next, 1, "a", "b", "c")
	w.expect(got, "FFN")
	follow := draft(next, "new", got, []string{"a"}, nil)
	w.commit(follow)
	w.delivered(follow.Batches[0])
	b := w.begin(id)
	if b.Open[0].Scope != "new" {
		t.Errorf("the claim is of scope %q", b.Open[0].Scope)
	}
	w.follow(b.Open[0].ID, recs[2])
	w.delivered(b.Open[0].Batches[0])
	w.counts(w.end(id).Counts, ingest.Counts{Records: 3, Delivered: 2, Duplicate: 1})
	w.counts(w.end(next).Counts, ingest.Counts{Records: 3, Delivered: 1, Duplicate: 2})
	w.balanced()
}

// snapshot: an arrival ends under the settings it began with, reload or upgrade.
func snapshot(t *testing.T, d Driver) {
	w := newWorld(t, d)
	id := w.accept("f")
	for i := range 3 {
		b, err := w.Begin(w.ctx(), id, fmt.Appendf(nil, "settings %d", i))
		w.check(err)
		if string(b.Snapshot) != "settings 0" || b.Arrival.Snapshot == nil || b.Arrival.State != ingest.Running {
			t.Errorf("begun with %q, %s", b.Snapshot, b.Arrival.State)
		}
		if i == 1 {
			w.crash()
		}
	}
	if a := w.arrival(id); a.StartedAt.IsZero() || !a.StartedAt.Before(w.now.Add(1e9)) {
		t.Errorf("started at %v", a.StartedAt)
	}
	other := w.accept("g")
	b, err := w.Begin(w.ctx(), other, []byte("settings 9"))
	w.check(err)
	if string(b.Snapshot) != "settings 9" {
		t.Errorf("begun with %q", b.Snapshot)
	}
}

// starts counts how often an arrival was begun without a settled batch since.
func starts(t *testing.T, d Driver) {
	w := newWorld(t, d)
	id := w.accept("f")
	for i := 1; i <= 3; i++ {
		if b := w.begin(id); b.Arrival.Starts != i {
			t.Errorf("start %d is counted as %d", i, b.Arrival.Starts)
		}
		w.crash()
	}
	w.begin(id)
	b := w.claim(id, w.judge(id, 1, "a", "b")).Batches[0]
	w.settle(ingest.Settlement{Batch: b, State: ingest.BatchDue, DueAt: w.now, Attempts: 1})
	if a := w.arrival(id); a.Starts != 4 {
		t.Errorf("%d starts after a batch was put off", a.Starts)
	}
	w.delivered(b)
	if a := w.arrival(id); a.Starts != 0 {
		t.Errorf("%d starts after a batch was settled", a.Starts)
	}
	w.crash()
	if b := w.begin(id); b.Arrival.Starts != 1 {
		t.Errorf("%d starts after that", b.Arrival.Starts)
	}
}
