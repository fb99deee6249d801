package ledgertest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"ingestd/ingest"
)

// claimBeforeSend: what was claimed is known to the next process, with members,
// bytes and key of each request; what was not, is not.
func claimBeforeSend(t *testing.T, d Driver) {
	w := newWorld(t, d)
	id := w.begun("f")
	recs := w.judge(id, 1, "a", "", "a", "b")
	recs[3].Verdict = ingest.Filtered
	w.Unjudge(id, "p", []ingest.Key{key("b")})
	w.expect(recs, "NNFf")
	c := w.claim(id, recs)
	w.judge(id, 5, "c") // and is not claimed
	w.crash()

	b := w.begin(id)
	if len(b.Settled) != 0 || len(b.Open) != 1 {
		t.Fatalf("settled %v, %d open claims", b.Settled, len(b.Open))
	}
	o := b.Open[0]
	if o.ID != c.ID || o.First != 1 || o.Last != 4 || string(o.Verdicts) != string(c.Verdicts) || !slices.Equal(o.Sinks, []string{"a"}) || o.Uncut != nil {
		t.Errorf("open claim %+v, want %+v", o, c)
	}
	if len(o.Batches) != 1 {
		t.Fatalf("%d batches", len(o.Batches))
	}
	got, want := o.Batches[0], c.Batches[0]
	if got.ID != want.ID || got.Number != 1 || got.BodyHash != want.BodyHash || got.Key != want.Key || got.Sink != "a" ||
		got.First != 1 || got.Last != 2 || got.Records != 2 || got.State != ingest.BatchOpen {
		t.Errorf("batch %+v, want %+v", got, want)
	}
	other := w.begun("g")
	w.expect(w.judge(other, 1, "c", "b"), "NN")
	w.balanced()
}

// claimsAreWhole: a claim or settlement that says nothing of one of its records
// would lose it, and is refused.
func claimsAreWhole(t *testing.T, d Driver) {
	w := newWorld(t, d)
	id := w.begun("f")
	for name, spoil := range map[string]func(c *ingest.Claim){
		"verdicts":  func(c *ingest.Claim) { c.Last++ },
		"range":     func(c *ingest.Claim) { c.First, c.Last = 0, 3 },
		"keys":      func(c *ingest.Claim) { c.Keys = c.Keys[:1] },
		"records":   func(c *ingest.Claim) { c.Batches[0].Records-- },
		"sink":      func(c *ingest.Claim) { c.Batches[0].Sink = "else" },
		"no sink":   func(c *ingest.Claim) { c.Sinks, c.Batches = nil, nil },
		"followers": func(c *ingest.Claim) { c.Followers = nil },
		"dead":      func(c *ingest.Claim) { c.Dead = nil },
		"absent": func(c *ingest.Claim) {
			var v ingest.VerdictList
			v.AddRun(ingest.Absent, 4)
			c.Verdicts, c.Keys, c.Batches, c.Dead, c.Followers = v.Take(), nil, nil, nil, nil
		},
	} {
		recs := w.judge(id, 1, "a", "b", "a", "")
		w.expect(recs, "NNFN")
		recs[3].Verdict, recs[3].Reason = ingest.Dead, "bad"
		c := draft(id, "p", recs, []string{"a"}, nil)
		spoil(c)
		if err := wait(func(done func(error)) { w.Claim(c, done) }); err == nil {
			t.Errorf("a claim with other %s was taken", name)
		}
		w.Unjudge(id, "p", []ingest.Key{key("a"), key("b")})
	}
	if open := w.OpenClaims(id); len(open) != 0 {
		t.Errorf("refused claims are open: %+v", open[0])
	}

	c := w.claim(id, w.judge(id, 1, "a", "b"))
	for _, s := range []ingest.Settlement{
		{State: ingest.BatchDead, Dead: letters("a", "no", 1)},
		{State: ingest.BatchGivenUp, Dead: letters("a", "no", 1, 3)},
		{State: ingest.BatchSplit, Halves: [2]*ingest.Batch{{Sink: "a", Records: 1}, {Sink: "a"}}},
	} {
		s.Batch = c.Batches[0]
		if err := wait(func(done func(error)) { w.Settle(&s, done) }); err == nil {
			t.Errorf("a settlement as %s was taken that leaves a record out", s.State)
		}
	}
	w.delivered(c.Batches[0])
	w.counts(w.settled(id), ingest.Counts{Records: 2, Delivered: 2})
}

// pendingAtStart: keys of unsettled claims are pending before anything begins.
func pendingAtStart(t *testing.T, d Driver) {
	w := newWorld(t, d)
	first := w.begun("f")
	c := w.claim(first, w.judge(first, 1, "a", "b"))
	half := w.claim(first, w.judge(first, 3, "c"), "a", "b") // delivered to one of its sinks
	w.delivered(half.Batches[0])
	w.crash()

	other := w.begun("g")
	recs := w.judge(other, 1, "a", "b", "c", "d")
	w.expect(recs, "FFFN")
	for _, r := range recs[:3] {
		if r.Leader != first {
			t.Errorf("record %d follows arrival %d, want %d", r.Pos.Record, r.Leader, first)
		}
	}
	w.Unjudge(other, "p", []ingest.Key{key("a")}) // is not its to give
	w.expect(w.judge(other, 1, "a"), "F")
	w.claim(other, recs)
	b := w.begin(first)
	w.delivered(b.Open[0].Batches[0])
	w.delivered(b.Open[1].Batches[0])
	w.counts(w.end(first).Counts, ingest.Counts{Records: 3, Delivered: 3})
	w.delivered(w.OpenClaims(other)[0].Batches[0])
	w.counts(w.end(other).Counts, ingest.Counts{Records: 4, Delivered: 1, Duplicate: 3})
	if w.balanced(); c.ID == 0 {
		t.Error("the claim has no number")
	}
}

// settledIsASet: claims are settled in any order, and are so after a crash.
func settledIsASet(t *testing.T, d Driver) {
	w := newWorld(t, d)
	id := w.begun("f")
	var claims []*ingest.Claim
	for i := range int64(4) {
		claims = append(claims, w.claim(id, w.judge(id, 10*i+1, keys(10, int(10*i))...)))
	}
	w.delivered(claims[3].Batches[0])
	w.delivered(claims[0].Batches[0])
	w.delivered(claims[1].Batches[0])
	w.balanced()
	w.crash()

	b := w.begin(id)
	if want := []ingest.Range{{First: 1, Last: 20}, {First: 31, Last: 40}}; !slices.Equal(b.Settled, want) {
		t.Errorf("settled %v, want %v", b.Settled, want)
	}
	if len(b.Open) != 1 || b.Open[0].First != 21 {
		t.Fatalf("open %+v", b.Open)
	}
	if n, ok := w.Ledger.(interface {
		Progress(int64) (ingest.Counts, bool)
	}); ok {
		if got, _ := n.Progress(id); got.Delivered != 30 {
			t.Errorf("progress %+v", got)
		}
	}
	w.balanced()
	if _, err := w.End(w.ctx(), id, ingest.Ending{State: ingest.Done}); err == nil {
		t.Error("an arrival with an open claim ended")
	}
	w.delivered(b.Open[0].Batches[0])
	w.counts(w.end(id).Counts, ingest.Counts{Records: 40, Delivered: 40})
	w.balanced()
}

// keys names n keys that no others have.
func keys(n, from int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = "k" + string(rune('A'+(from+i)/26)) + string(rune('a'+(from+i)%26))
	}
	return out
}

// settledOnce: a batch that is settled is never settled again, nor known as
// unsettled.
func settledOnce(t *testing.T, d Driver) {
	w := newWorld(t, d)
	id := w.begun("f")
	c := w.claim(id, w.judge(id, 1, "a"), "a", "b")
	a, b := c.Batches[0], c.Batches[1]
	w.delivered(a)
	for _, s := range []ingest.Settlement{
		{Batch: a, State: ingest.BatchDelivered, Had: true},
		{Batch: a, State: ingest.BatchDead, Dead: letters("a", "no", 1)},
	} {
		if err := wait(func(done func(error)) { w.Settle(&s, done) }); !errors.Is(err, ingest.ErrNotFound) {
			t.Errorf("a settled batch was settled again: %v", err)
		}
	}
	// Two in one commit: the second comes to nothing.
	errs := make(chan error, 2)
	for range 2 {
		w.Settle(&ingest.Settlement{Batch: b, State: ingest.BatchDelivered, Had: true}, func(err error) { errs <- err })
	}
	if one, two := <-errs, <-errs; one != nil || !errors.Is(two, ingest.ErrNotFound) {
		t.Errorf("settled twice: %v, then %v", one, two)
	}
	w.counts(w.settled(id), ingest.Counts{Records: 1, Delivered: 1, Had: 1})
	w.end(id)
	w.crash()
	w.balanced()
	if n := len(w.arrival(id).Batches); n != 2 {
		t.Errorf("%d batches", n)
	}
}

// halvingIsState: a refusal and both halves are on disk before a half is sent.
func halvingIsState(t *testing.T, d Driver) {
	w := newWorld(t, d)
	id := w.begun("f")
	recs := w.judge(id, 1, "a", "b", "c", "d")
	whole := w.claim(id, recs).Batches[0]
	left, right := batch("a", recs[:2]), batch("a", recs[2:])
	w.settle(ingest.Settlement{Batch: whole, State: ingest.BatchSplit, Attempts: 1, Status: 422, Halves: [2]*ingest.Batch{left, right}})
	if left.ID == 0 || right.ID == left.ID || left.Number != 2 || right.Number != 3 {
		t.Errorf("halves %d (%d) and %d (%d)", left.ID, left.Number, right.ID, right.Number)
	}
	w.crash()

	b := w.begin(id)
	if len(b.Open) != 1 || len(b.Open[0].Batches) != 2 {
		t.Fatalf("open %+v", b.Open)
	}
	l, r := b.Open[0].Batches[0], b.Open[0].Batches[1]
	if l.ID != left.ID || l.Key != left.Key || l.BodyHash != left.BodyHash || r.ID != right.ID {
		t.Errorf("halves after the crash: %+v and %+v", l, r)
	}
	w.delivered(r)
	w.crash()
	b = w.begin(id)
	if n := b.Open[0].Batches; len(n) != 1 || n[0].ID != left.ID {
		t.Fatalf("after one half was delivered: %+v", n)
	}
	one, two := batch("a", recs[:1]), batch("a", recs[1:2])
	w.settle(ingest.Settlement{Batch: b.Open[0].Batches[0], State: ingest.BatchSplit, Attempts: 1, Status: 422, Halves: [2]*ingest.Batch{one, two}})
	w.refused(one, "bad", 1)
	w.crash()
	b = w.begin(id)
	w.delivered(b.Open[0].Batches[0])
	w.counts(w.end(id).Counts, ingest.Counts{Records: 4, Delivered: 3, Dead: 1})
	w.balanced()
	var states []ingest.BatchState
	for _, b := range w.arrival(id).Batches {
		states = append(states, b.State)
	}
	if want := []ingest.BatchState{"split", "split", "delivered", "dead", "delivered"}; !slices.Equal(states, want) {
		t.Errorf("batches %v, want %v", states, want)
	}
	// The dead one is not remembered, the others are.
	w.crash()
	other := w.begun("g")
	w.expect(w.judge(other, 1, "a", "b", "c", "d"), "NDDD")
}

// putOff: a batch that waits for its time does so across crashes, with what is
// known of it.
func putOff(t *testing.T, d Driver) {
	w := newWorld(t, d)
	id := w.begun("f")
	b := w.claim(id, w.judge(id, 1, "a")).Batches[0]
	due := w.now.Add(6 * time.Hour)
	w.settle(ingest.Settlement{Batch: b, State: ingest.BatchDue, Attempts: 7, Status: 503, Answer: "down", DueAt: due, TriedAt: due.Add(-time.Hour), Silence: true, Uncertain: true})
	w.crash()
	got := w.begin(id).Open[0].Batches[0]
	if got.State != ingest.BatchDue || !got.DueAt.Equal(due) || got.Attempts != 7 || got.Status != 503 || got.Answer != "down" || !got.Uncertain || !got.Silence || !got.TriedAt.Equal(due.Add(-time.Hour)) {
		t.Errorf("put off: %+v", got)
	}
	w.check(w.DueNow(w.ctx(), "other"))
	if at := w.arrival(id).Batches[0].DueAt; !at.Equal(due) {
		t.Errorf("due at %v after another pipeline's batches were made due", at)
	}
	w.check(w.DueNow(w.ctx(), "p"))
	if at := w.arrival(id).Batches[0].DueAt; !at.Before(due) {
		t.Errorf("still due at %v", at)
	}
	w.delivered(w.OpenClaims(id)[0].Batches[0])
	w.counts(w.settled(id), ingest.Counts{Records: 1, Delivered: 1})
}
