package ledgertest

import (
	"slices"
	"testing"
	"time"

	"ingestd/ingest"
)

// lane is a batch of some of a claim's records, which lie in the ranges of
// others too.
func lane(sink string, n int, recs ...ingest.Judged) *ingest.Batch {
	b := batch(sink, recs)
	b.Lane = n
	return b
}

// lanes: what belongs to which lane outlives crashes, halves and a sink's being
// left behind, so that a held arrival that a person gives up has as dead what
// was not delivered, and nothing else.
func lanes(t *testing.T, d Driver) {
	w := newWorld(t, d)
	id := w.begun("f")
	recs := w.judge(id, 1, "a", "b", "c", "d", "e", "f")
	c := draft(id, "p", recs, []string{"one", "two"}, []string{"one", "two"})
	c.Lanes = map[string][]byte{"one": {1, 2, 1, 2, 1, 2}}
	c.Batches = []*ingest.Batch{lane("one", 1, recs[0], recs[2], recs[4]), lane("one", 2, recs[1], recs[3], recs[5])}
	w.commit(c)
	w.delivered(c.Batches[1])
	w.crash()
	o := w.begin(id).Open[0]
	if len(o.Batches) != 1 || o.Batches[0].Lane != 1 || !slices.Equal(o.Uncut, []string{"two"}) {
		t.Fatalf("after a crash: %+v, uncut %v", o.Batches, o.Uncut)
	}
	left, right := lane("one", 1, recs[0], recs[2]), lane("one", 1, recs[4])
	w.settle(ingest.Settlement{Batch: o.Batches[0], State: ingest.BatchSplit, Halves: [2]*ingest.Batch{left, right}})
	w.delivered(right)
	o.Lanes = map[string][]byte{"two": {3, 3, 3, 4, 4, 4}}
	cut := []*ingest.Batch{lane("two", 3, recs[0], recs[1], recs[2]), lane("two", 4, recs[3], recs[4], recs[5])}
	w.check(wait(func(done func(error)) { w.Cut(&o.Claim, "two", cut, done) }))
	w.delivered(cut[0])
	w.crash()
	o = w.begin(id).Open[0]
	if len(o.Batches) != 2 || o.Batches[0].Lane+o.Batches[1].Lane != 5 {
		t.Fatalf("after the second: %+v", o.Batches)
	}
	w.check(w.Hold(w.ctx(), id, "its file has changed"))
	w.crash()
	// Left of lane 1 of sink one: a and c. Of lane 4 of sink two: d, e, f.
	w.counts(w.endAs(id, ingest.Ending{State: ingest.Failed, Error: "rejected"}).Counts, ingest.Counts{Records: 6, Delivered: 1, Dead: 5})
	var dead []int64
	for _, l := range w.letters(ingest.LetterFilter{Arrival: id}) {
		if l.Uncertain {
			dead = append(dead, l.Pos.Record)
		}
	}
	slices.Sort(dead)
	if !slices.Equal(dead, []int64{1, 3, 4, 5, 6}) {
		t.Errorf("dead records %v", dead)
	}
	w.balanced()
	w.crash()
	w.expect(w.judge(w.begun("g"), 1, "b"), "D")
}

// lanesAreWhole: a claim whose batches are of lanes says which records are in
// which.
func lanesAreWhole(t *testing.T, d Driver) {
	w := newWorld(t, d)
	id := w.begun("f")
	recs := w.judge(id, 1, "a", "b")
	for what, bad := range map[string]func(c *ingest.Claim){
		"no lanes":      func(c *ingest.Claim) { c.Lanes = nil },
		"too few lanes": func(c *ingest.Claim) { c.Lanes["one"] = []byte{1} },
		"no lane":       func(c *ingest.Claim) { c.Batches[0].Lane = 0 },
		"a lane of 256": func(c *ingest.Claim) { c.Batches[0].Lane = 256 },
	} {
		c := draft(id, "p", recs, []string{"one"}, []string{"one"})
		c.Lanes = map[string][]byte{"one": {1, 2}}
		c.Batches = []*ingest.Batch{lane("one", 1, recs[0]), lane("one", 2, recs[1])}
		bad(c)
		if err := wait(func(done func(error)) { w.Claim(c, done) }); err == nil {
			t.Errorf("a claim with %s was taken", what)
		}
	}
	c := draft(id, "p", recs, []string{"one"}, []string{"one"})
	c.Lanes = map[string][]byte{"one": {1, 1}}
	c.Batches = []*ingest.Batch{lane("one", 1, recs...)}
	w.commit(c)
	halves := [2]*ingest.Batch{lane("one", 1, recs[0]), lane("one", 2, recs[1])}
	if err := wait(func(done func(error)) {
		w.Settle(&ingest.Settlement{Batch: c.Batches[0], State: ingest.BatchSplit, Halves: halves}, done)
	}); err == nil {
		t.Error("a half went to another lane")
	}
	w.delivered(c.Batches[0])
	w.end(id)
	w.balanced()
}

// pauses: what a person paused is so after a crash; the last word counts.
func pauses(t *testing.T, d Driver) {
	w := newWorld(t, d)
	now := time.UnixMicro(1_700_000_000_000_000)
	list := []ingest.Pause{
		{Name: "crm", Since: now, Until: now.Add(time.Hour)},
		{Sink: true, Name: "crm", Since: now},
	}
	w.check(w.SetPause(w.ctx(), ingest.Pause{Sink: true, Name: "crm", Since: now.Add(-time.Hour), Ended: now}))
	for _, p := range list {
		w.check(w.SetPause(w.ctx(), p))
	}
	w.crash()
	got, err := w.Pauses(w.ctx())
	w.check(err)
	if len(got) != 2 || got[0] != list[0] || got[1] != list[1] {
		t.Errorf("%+v, want %+v", got, list)
	}
	for at, want := range map[time.Time]bool{now: true, now.Add(time.Hour): false} {
		if got[0].Lasts(at) != want || !got[1].Lasts(at) {
			t.Errorf("at %s: %v, %v", at, got[0].Lasts(at), got[1].Lasts(at))
		}
	}
}

// restOfALane: what is left of a lane's batch that was answered record by record
// stays in its lane, and is all of it that a person gives up.
func restOfALane(t *testing.T, d Driver) {
	w := newWorld(t, d)
	id := w.begun("f")
	recs := w.judge(id, 1, "a", "b", "c", "d", "e", "f")
	c := draft(id, "p", recs, []string{"one"}, []string{"one"})
	c.Lanes = map[string][]byte{"one": {1, 2, 1, 2, 1, 1}}
	c.Batches = []*ingest.Batch{lane("one", 1, recs[0], recs[2], recs[4], recs[5]), lane("one", 2, recs[1], recs[3])}
	w.commit(c)
	mixed := func(to int) error {
		left := rest("one", recs[0], recs[4])
		left.Lane = to
		s := &ingest.Settlement{
			Batch: c.Batches[0], State: ingest.BatchMixed, Attempts: 1, Status: 207, Rest: left,
			Outcomes: packed("F?X?FD"),
			Dead:     []ingest.Letter{{Pos: recs[2].Pos, Stage: ingest.StageDeliver, Sink: "one", Reason: "no", Status: 422}},
		}
		return wait(func(done func(error)) { w.Settle(s, done) })
	}
	if mixed(2) == nil {
		t.Error("a rest went to another lane")
	}
	w.check(mixed(1))
	w.crash()
	o := w.begin(id).Open[0]
	if len(o.Batches) != 2 || o.Batches[1].Lane != 1 || o.Batches[1].Records != 2 || o.Batches[1].Members.Count(ingest.New) != 2 {
		t.Fatalf("after a crash: %+v", o.Batches)
	}
	w.delivered(o.Batches[0])
	w.check(w.Hold(w.ctx(), id, "its file has changed"))
	w.crash()
	w.counts(w.endAs(id, ingest.Ending{State: ingest.Failed, Error: "rejected"}).Counts, ingest.Counts{Records: 6, Delivered: 3, Dead: 3, Had: 1})
	var dead []int64
	for _, l := range w.letters(ingest.LetterFilter{Arrival: id}) {
		if l.Uncertain {
			dead = append(dead, l.Pos.Record)
		}
	}
	slices.Sort(dead)
	if !slices.Equal(dead, []int64{1, 5}) {
		t.Errorf("given up: %v", dead)
	}
	w.balanced()
	w.crash()
	w.expect(w.judge(w.begun("g"), 1, "a", "b", "c", "f"), "NDND")
}
