package ledgertest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"ingestd/ingest"
)

// dead makes an arrival that ended with one dead record for each key.
func (w *world) dead(name string, keys ...string) (int64, []ingest.Letter) {
	w.Helper()
	id := w.begun(name)
	for i, k := range keys {
		w.refused(w.claim(id, w.judge(id, int64(i)+1, k)).Batches[0], "refused", int64(i)+1)
	}
	w.end(id)
	return id, w.letters(ingest.LetterFilter{Arrival: id})
}

// replay claims letters of one record again for sinks.
func replay(arrival int64, letters []ingest.Letter, verdict ingest.Verdict, sinks ...string) *ingest.Claim {
	d := letters[0]
	c := &ingest.Claim{Arrival: arrival, Scope: "p", First: d.Pos.Record, Last: d.Pos.Record}
	var v ingest.VerdictList
	v.Add(verdict)
	c.Verdicts = v.Take()
	for _, l := range letters {
		c.Letters = append(c.Letters, l.ID)
	}
	if verdict == ingest.New {
		c.Keys = []ingest.Key{d.Key}
		for _, s := range sinks {
			c.Sinks = append(c.Sinks, s)
			c.Batches = append(c.Batches, batch(s, []ingest.Judged{{Pos: d.Pos}}))
		}
	}
	return c
}

// reopen makes an ended arrival ready for a replay.
func (w *world) reopen(id int64) {
	w.Helper()
	_, done, err := w.Reopen(w.ctx(), id)
	w.check(err)
	w.Cleanup(done)
}

// uncertain: a batch that was given up with its fate unknown is replayed as it
// was, and what becomes of it moves its records in the books.
func uncertain(t *testing.T, d Driver) {
	w := newWorld(t, d)
	id := w.begun("f")
	recs := w.judge(id, 1, "a", "b", "c")
	old := w.claim(id, recs).Batches[0]
	up := letters("a", "given up: timeout", 1, 2, 3)
	for i := range up {
		up[i].Uncertain = true
	}
	w.settle(ingest.Settlement{Batch: old, State: ingest.BatchGivenUp, Attempts: 9, Status: 504, Uncertain: true, Dead: up})
	w.counts(w.end(id).Counts, ingest.Counts{Records: 3, Dead: 3})
	// One is dropped; meanwhile another arrival brings one of the keys.
	list := w.letters(ingest.LetterFilter{})
	if n, err := w.Drop(w.ctx(), []int64{list[1].ID}); n != 1 || err != nil {
		t.Fatalf("dropped %d: %v", n, err)
	}
	mended := w.begun("g")
	w.delivered(w.claim(mended, w.judge(mended, 1, "c")).Batches[0])
	w.end(mended)
	w.crash()

	b, left, err := w.GivenUp(w.ctx(), old.ID)
	w.check(err)
	if b.Key != old.Key || b.BodyHash != old.BodyHash || b.Sink != "a" || len(left) != 2 || !left[0].Uncertain {
		t.Errorf("given up: %+v with %d letters", b, len(left))
	}
	w.reopen(id)
	again := batch("a", []ingest.Judged{recs[0], recs[2]})
	again.Key, again.BodyHash, again.Uncertain = b.Key, b.BodyHash, true
	c := &ingest.Claim{
		Arrival: id, Scope: "p", First: 1, Last: 3, Verdicts: packed("N?N"), Sinks: []string{"a"}, Batches: []*ingest.Batch{again},
		Keys: []ingest.Key{left[0].Key, left[1].Key}, Letters: []int64{left[0].ID, left[1].ID},
	}
	w.commit(c)
	look := w.begun("h")
	w.expect(w.judge(look, 1, "a", "c"), "FD") // under way; delivered before
	w.crash()
	w.begin(look)
	w.expect(w.judge(look, 1, "a", "c"), "FD")
	by, err := w.Replays(w.ctx(), "p")
	w.check(err)
	if other, err := w.Replays(w.ctx(), "q"); len(other) != 0 || err != nil {
		t.Errorf("another pipeline's replays: %v, %v", other, err)
	}
	if len(by[id]) != 1 || by[id][0].Batches[0].Key != old.Key || by[id][0].Batches[0].Number != 2 {
		t.Fatalf("replays %+v", by)
	}
	w.reopen(id)
	// The dropped record's bytes are in that batch too: its letter comes to nothing.
	dead := letters("a", "refused", 1, 2, 3)
	w.settle(ingest.Settlement{Batch: by[id][0].Batches[0], State: ingest.BatchDead, Dead: dead})
	w.counts(w.arrival(id).Counts, ingest.Counts{Records: 3, Dead: 3})
	if n := len(w.letters(ingest.LetterFilter{Arrival: id})); n != 2 {
		t.Errorf("%d letters", n)
	}
	w.balanced()
	w.crash()
	w.expect(w.judge(w.begun("i"), 1, "a", "b", "c"), "NND") // what was delivered is still known
}

// severalLetters: a record that died at two sinks stays dead until both letters
// are replayed, and goes to each sink once.
func severalLetters(t *testing.T, d Driver) {
	w := newWorld(t, d)
	id := w.begun("f")
	c := w.claim(id, w.judge(id, 1, "a"), "one", "two", "three")
	w.refused(c.Batches[0], "refused", 1)
	w.refused(c.Batches[1], "refused", 1)
	w.delivered(c.Batches[2])
	w.counts(w.end(id).Counts, ingest.Counts{Records: 1, Dead: 1})
	list := w.letters(ingest.LetterFilter{Arrival: id})
	if len(list) != 2 {
		t.Fatalf("%d letters", len(list))
	}
	for i, sink := range []string{"one", "two"} {
		w.crash()
		w.reopen(id)
		got := w.judge(id, 1, "a")
		w.expect(got, "N")
		want := []string{"three", "one"}[:i+1]
		if !slices.Equal(got[0].Have, want) {
			t.Errorf("before %s: sinks that have it: %v, want %v", sink, got[0].Have, want)
		}
		r := replay(id, list[i:i+1], ingest.New, sink)
		w.commit(r)
		w.delivered(r.Batches[0])
		w.counts(w.arrival(id).Counts, []ingest.Counts{{Records: 1, Dead: 1}, {Records: 1, Delivered: 1}}[i])
		w.balanced()
	}
	w.crash()
	w.expect(w.judge(w.begun("g"), 1, "a"), "D")

	// Both in one claim.
	id = w.begun("h")
	c = w.claim(id, w.judge(id, 1, "b"), "one", "two")
	w.refused(c.Batches[0], "refused", 1)
	w.refused(c.Batches[1], "refused", 1)
	w.end(id)
	w.reopen(id)
	w.judge(id, 1, "b")
	r := replay(id, w.letters(ingest.LetterFilter{Arrival: id}), ingest.New, "one", "two")
	w.commit(r)
	w.delivered(r.Batches[0])
	w.refused(r.Batches[1], "refused again", 1)
	w.counts(w.arrival(id).Counts, ingest.Counts{Records: 1, Dead: 1})
	if l := w.letters(ingest.LetterFilter{Arrival: id}); len(l) != 1 || l[0].Sink != "two" || l[0].Reason != "refused again" {
		t.Errorf("letters %+v", l)
	}
	w.balanced()
}

// lettersTakenOnce: a letter is replayed by one claim at a time, and not once it
// is off the list.
func lettersTakenOnce(t *testing.T, d Driver) {
	w := newWorld(t, d)
	id, list := w.dead("f", "a", "b", "c", "d")
	if _, _, err := w.Reopen(w.ctx(), 999); !errors.Is(err, ingest.ErrNotFound) {
		t.Errorf("reopened what is not there: %v", err)
	}
	if _, _, err := w.Reopen(w.ctx(), w.begun("g")); err == nil {
		t.Error("reopened what has not ended")
	}
	_, done, err := w.Reopen(w.ctx(), id)
	w.check(err)
	if _, _, err := w.Reopen(w.ctx(), id); err == nil {
		t.Error("reopened twice")
	}
	w.judge(id, 1, "a")
	first := replay(id, list[:1], ingest.New, "a")
	w.commit(first)
	// It can still be seen, and not be taken.
	if n := len(w.letters(ingest.LetterFilter{Arrival: id})); n != 3 {
		t.Errorf("%d letters are dead", n)
	}
	if l := w.letters(ingest.LetterFilter{Arrival: id, Replaying: true}); len(l) != 4 || !l[0].Replaying || l[1].Replaying {
		t.Errorf("with those that are replayed: %+v", l)
	}
	if _, err := w.Drop(w.ctx(), []int64{list[1].ID}); err != nil {
		t.Fatal(err)
	}
	refused := func(c *ingest.Claim) {
		t.Helper()
		if err := wait(func(done func(error)) { w.Claim(c, done) }); !errors.Is(err, ingest.ErrNotFound) {
			t.Errorf("a letter that is not dead was taken: %v", err)
		}
	}
	refused(replay(id, list[:1], ingest.New, "a"))
	w.expect(w.judge(id, 2, "b"), "N")
	refused(replay(id, list[1:2], ingest.New, "a"))
	w.expect(w.judge(id, 2, "b"), "N") // the refused claim leads nothing
	w.Unjudge(id, "p", []ingest.Key{key("b")})
	failed := errors.New("no room")
	c := replay(id, list[2:3], ingest.New, "a")
	w.judge(id, 3, "c")
	c.OnNumbered = func() error {
		if c.Batches[0].ID == 0 {
			t.Error("the batch has no number")
		}
		return failed
	}
	if err := wait(func(done func(error)) { w.Claim(c, done) }); !errors.Is(err, failed) {
		t.Errorf("a claim whose bytes could not be stored: %v", err)
	}
	w.expect(w.judge(id, 3, "c"), "N")
	w.Unjudge(id, "p", []ingest.Key{key("c")})
	w.delivered(first.Batches[0])
	if l := w.letters(ingest.LetterFilter{Arrival: id, Replaying: true}); len(l) != 2 {
		t.Errorf("after it was delivered: %+v", l)
	}
	refused(replay(id, list[:1], ingest.New, "a"))
	w.counts(w.settled(id), w.settled(id))
	// The last one's key was delivered meanwhile: it leaves the list.
	other := w.begun("h")
	w.delivered(w.claim(other, w.judge(other, 1, "d")).Batches[0])
	w.end(other)
	w.expect(w.judge(id, 4, "d"), "D")
	w.commit(replay(id, list[3:], ingest.Duplicate))
	done()
	w.crash()
	w.counts(w.arrival(id).Counts, ingest.Counts{Records: 4, Delivered: 1, Duplicate: 1, Dead: 2})
	w.balanced()
	if l := w.letters(ingest.LetterFilter{Arrival: id}); len(l) != 1 || l[0].ID != list[2].ID {
		t.Errorf("on the list: %+v", l)
	}
	got, err := w.Delivered(w.ctx(), id)
	w.check(err)
	if want := []ingest.Range{{First: 1, Last: 1}, {First: 4, Last: 4}}; !slices.Equal(got, want) {
		t.Errorf("delivered %v, want %v", got, want)
	}
}

// dryRun: a replay that was only tried leads keys for a moment. Who followed
// them in it does not wait for ever.
func dryRun(t *testing.T, d Driver) {
	w := newWorld(t, d)
	id, _ := w.dead("f", "a")
	_, done, err := w.Reopen(w.ctx(), id)
	w.check(err)
	w.expect(w.judge(id, 1, "a"), "N")
	other := w.begun("g")
	w.claim(other, w.judge(other, 1, "a"))
	w.Unjudge(id, "p", []ingest.Key{key("a")})
	done()
	w.counts(w.settled(other), ingest.Counts{Records: 1, Dead: 1})
	w.end(other)
	w.balanced()
}

// drop takes a letter off the list. Its record stays dead, also where the claim
// it died in is open yet.
func drop(t *testing.T, d Driver) {
	w := newWorld(t, d)
	id := w.begun("f")
	c := w.claim(id, w.judge(id, 1, "a"), "one", "two")
	w.refused(c.Batches[0], "refused", 1)
	l := w.letters(ingest.LetterFilter{})
	if n, err := w.Drop(w.ctx(), []int64{l[0].ID, l[0].ID, 999}); n != 1 || err != nil {
		t.Errorf("dropped %d, %v", n, err)
	}
	w.crash()
	w.begin(id)
	w.delivered(w.OpenClaims(id)[0].Batches[0])
	w.counts(w.end(id).Counts, ingest.Counts{Records: 1, Dead: 1})
	w.balanced()
	w.crash()
	got := w.judge(w.begun("g"), 1, "a")
	w.expect(got, "N")
	if !slices.Equal(got[0].Have, []string{"two"}) {
		t.Errorf("sinks that have it: %v", got[0].Have)
	}
}

// forget: a key that a person drops is new again, to all sinks; one that is
// under way stays.
func forget(t *testing.T, d Driver) {
	w := worldIn(t, d, t.TempDir(), 80*day)
	id := w.begun("f")
	c := w.claim(id, w.judge(id, 1, "a", "b", "part"), "one", "two")
	w.delivered(c.Batches[0])
	w.refusedOf(c.Batches[1], 3)
	w.claim(id, w.judge(id, 4, "led"))
	w.restart(20 * day)
	w.begin(id)
	w.expect(w.judge(id, 5, "a"), "D") // seen again, and that not yet stored
	n, err := w.Forget(w.ctx(), "p", []ingest.Key{key("a"), key("part"), key("led"), key("unknown")})
	if n != 2 || err != nil {
		t.Errorf("forgot %d: %v", n, err)
	}
	for range 2 {
		look := w.begun("g")
		got := w.judge(look, 1, "a", "b", "part", "led")
		w.expect(got, "NDNF")
		if got[2].Have != nil {
			t.Errorf("sinks still have it: %v", got[2].Have)
		}
		w.Unjudge(look, "p", []ingest.Key{key("a"), key("part")})
		w.claim(look, w.judge(look, 1, "b"))
		w.crash()
	}
	if n, err := w.Forget(w.ctx(), "nowhere", []ingest.Key{key("b")}); n != 0 || err != nil {
		t.Errorf("forgot %d of no scope: %v", n, err)
	}
	w.begin(id)
	w.delivered(w.OpenClaims(id)[0].Batches[0])
	w.expect(w.judge(id, 5, "led"), "D")
}

// prune: what ended long ago goes, with all that belongs to it; what must not
// be forgotten stays.
func prune(t *testing.T, d Driver) {
	w := newWorld(t, d)
	end := func(id int64, away string) {
		w.Helper()
		w.endAs(id, ingest.Ending{State: ingest.Done, Away: ingest.Disposition{Action: away}})
	}
	plain := w.begun("plain")
	w.delivered(w.claim(plain, w.judge(plain, 1, "a")).Batches[0])
	end(plain, "move")
	dead, list := w.dead("dead", "b", "c")
	standing := w.begun("standing")
	end(standing, "keep")
	older := w.begun("twice")
	end(older, "keep")
	newer := w.begun("twice")
	end(newer, "keep")
	running := w.begun("running")
	last := w.claim(running, w.judge(running, 1, "d"))
	replays := w.begun("source")
	end(replays, "move")
	again, err := w.Accept(w.ctx(), "p", "p", []ingest.Found{{Name: "again", Replay: &ingest.Replay{Of: replays}, FoundAt: w.now}})
	w.check(err)

	exists := func(want bool, ids ...int64) {
		t.Helper()
		for _, id := range ids {
			if _, err := w.Arrival(w.ctx(), id); errors.Is(err, ingest.ErrNotFound) == want {
				t.Errorf("arrival %d: %v", id, err)
			}
		}
	}
	none, all := w.now.Add(-day), w.now.Add(day)
	for _, before := range []time.Time{none, {}} {
		if arrivals, letters, err := w.Prune(w.ctx(), before, before); arrivals != 0 || letters != 0 || err != nil {
			t.Errorf("pruned %d arrivals, %d letters before %v: %v", arrivals, letters, before, err)
		}
	}
	arrivals, letters, err := w.Prune(w.ctx(), all, none)
	if arrivals != 2 || letters != 0 || err != nil {
		t.Errorf("pruned %d arrivals and %d letters: %v", arrivals, letters, err)
	}
	exists(false, plain, older)
	exists(true, dead, standing, newer, running, replays, again[0])
	if n := len(w.letters(ingest.LetterFilter{})); n != len(list) {
		t.Errorf("%d letters are left of %d", n, len(list))
	}
	w.crash()
	w.balanced()
	if _, letters, err := w.Prune(w.ctx(), none, all); letters != 2 || err != nil {
		t.Errorf("pruned %d letters: %v", letters, err)
	}
	if n := len(w.letters(ingest.LetterFilter{})); n != 0 {
		t.Errorf("%d letters are left", n)
	}
	w.counts(w.arrival(dead).Counts, ingest.Counts{Records: 2, Dead: 2})
	w.balanced()
	if arrivals, _, err := w.Prune(w.ctx(), all, all); arrivals != 1 || err != nil {
		t.Errorf("pruned %d arrivals: %v", arrivals, err)
	}
	exists(false, dead)
	// Memory is not a row of what was pruned, and numbers are not used again.
	w.crash()
	w.begin(running)
	w.expect(w.judge(running, 2, "a", "b", "d"), "DNF")
	w.Unjudge(running, "p", []ingest.Key{key("b")})
	w.delivered(w.OpenClaims(running)[0].Batches[0])
	end(running, "delete")
	if arrivals, _, err = w.Prune(w.ctx(), all, all); arrivals != 1 || err != nil {
		t.Errorf("pruned %d arrivals: %v", arrivals, err)
	}
	w.crash()
	next := w.begun("next")
	c := w.claim(next, w.judge(next, 1, "e"))
	if c.ID <= last.ID || c.Batches[0].ID <= last.Batches[0].ID || next <= again[0] {
		t.Errorf("numbers are used again: claim %d after %d, batch %d after %d", c.ID, last.ID, c.Batches[0].ID, last.Batches[0].ID)
	}
	w.delivered(c.Batches[0])
	w.end(next)
	w.balanced()
}

// listings: what people are shown.
func listings(t *testing.T, d Driver) {
	w := newWorld(t, d)
	const n = 520 // more than a page
	found := make([]ingest.Found, n)
	for i := range found {
		found[i] = ingest.Found{Source: "dir", Name: fmt.Sprintf("f\xff%d\n", i), Origin: "/drop/x", Path: fmt.Sprintf("/w/%d", i), Size: 1, FoundAt: w.now.Add(-n * 1e9).Add(1e9)}
	}
	found[7].FoundAt = w.now
	ids, err := w.Accept(w.ctx(), "p", "p", found)
	w.check(err)
	other := w.acceptFor("q", "p", "o", 5)
	list := func(f ingest.ArrivalFilter) (out []int64) {
		for a, err := range w.Arrivals(w.ctx(), f) {
			w.check(err)
			out = append(out, a.ID)
		}
		return out
	}
	got := list(ingest.ArrivalFilter{Pipeline: "p"})
	slices.Reverse(got)
	if !slices.Equal(got, ids) {
		t.Errorf("%d arrivals, want %d in order", len(got), len(ids))
	}
	if got := list(ingest.ArrivalFilter{Limit: 511}); len(got) != 511 || got[0] != other {
		t.Errorf("%d arrivals", len(got))
	}
	if got := list(ingest.ArrivalFilter{Since: w.now.Add(-1e9)}); !slices.Equal(got, []int64{other, ids[7]}) {
		t.Errorf("since: %v", got)
	}
	if got := list(ingest.ArrivalFilter{Pipeline: "q", State: ingest.Waiting}); !slices.Equal(got, []int64{other}) {
		t.Errorf("waiting of q: %v", got)
	}
	if a := w.arrival(ids[3]); a.Name != found[3].Name || !a.FoundAt.Equal(found[3].FoundAt) || a.Path != "/w/3" {
		t.Errorf("arrival %+v", a.Found)
	}
	if _, err := w.Arrival(w.ctx(), 99999); !errors.Is(err, ingest.ErrNotFound) {
		t.Errorf("an arrival that is not there: %v", err)
	}
	unfinished, err := w.Unfinished(w.ctx(), "p")
	w.check(err)
	if len(unfinished) != n || unfinished[0].ID != ids[0] {
		t.Errorf("%d unfinished", len(unfinished))
	}

	w.begin(ids[0])
	keys := make([]string, n)
	records := make([]int64, n)
	for i := range keys {
		keys[i], records[i] = fmt.Sprint("k", i), int64(i+1)
	}
	w.refused(w.claim(ids[0], w.judge(ids[0], 1, keys...)).Batches[0], "Größe zu GROSS", records...)
	if a := w.arrival(ids[0]); a.Counts.Dead != n || a.State != ingest.Running {
		t.Errorf("under way: %+v", a.Counts)
	}
	w.end(ids[0])
	w.begin(ids[1])
	w.check(w.Hold(w.ctx(), ids[1], "look at it"))
	all := w.letters(ingest.LetterFilter{Pipeline: "p"})
	var odd []int64
	for i, l := range all {
		if i%2 == 1 {
			odd = append(odd, l.ID)
		}
	}
	for name, c := range map[string]struct {
		f    ingest.LetterFilter
		want int
	}{
		"all": {ingest.LetterFilter{}, n}, "limit": {ingest.LetterFilter{Limit: 501}, 501}, "ids": {ingest.LetterFilter{IDs: odd}, n / 2},
		"reason": {ingest.LetterFilter{Reason: "zu gross"}, n}, "no reason": {ingest.LetterFilter{Reason: "%"}, 0},
		"pipeline": {ingest.LetterFilter{Pipeline: "q"}, 0}, "since": {ingest.LetterFilter{Since: w.now.Add(day)}, 0},
	} {
		if got := w.letters(c.f); len(got) != c.want {
			t.Errorf("letters by %s: %d, want %d", name, len(got), c.want)
		}
	}
	rows, err := w.Backlog(w.ctx())
	w.check(err)
	if len(rows) != 2 || rows[0].Pipeline != "p" || rows[1].Pipeline != "q" {
		t.Fatalf("backlog %+v", rows)
	}
	if p := rows[0]; p.LastName == "" || p.LastState == "" {
		t.Errorf("backlog names no last arrival: %+v", p)
	}
	if p := rows[0]; p.Waiting != n-2 || p.Held != 1 || p.Dead != n || p.LastError != "look at it" || !p.LastArrival.Equal(w.now) {
		t.Errorf("backlog %+v", p)
	}
	if q := rows[1]; q.Waiting != 1 || q.LastError != "" || q.LastArrival.IsZero() {
		t.Errorf("backlog %+v", q)
	}
}
