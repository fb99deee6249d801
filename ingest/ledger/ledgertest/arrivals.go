package ledgertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ingestd/ingest"
)

const day = 24 * time.Hour

// keep: a key is remembered for as long since it was last seen, and up to an
// eighth longer; a pending one however old it is.
func keep(t *testing.T, d Driver) {
	w := worldIn(t, d, t.TempDir(), 80*day)
	id := w.begun("f")
	c := w.claim(id, w.judge(id, 1, "old", "seen", "slow", "part"), "one", "two")
	w.delivered(c.Batches[0])
	w.restart(20 * day)
	w.begin(id)
	w.refusedOf(w.OpenClaims(id)[0].Batches[0], 4)
	w.claim(id, w.judge(id, 5, "led"))
	w.restart(20 * day)
	next := w.begun("g")
	w.expect(w.judge(next, 1, "seen"), "D")
	w.claim(next, w.judge(next, 1, "seen"))
	w.end(next)

	for at := 40; at <= 120; at += 20 {
		if at > 40 {
			w.crash()
			w.restart(20 * day)
		}
		// Settled on day 20: keys live to day 100, at most to day 110.
		look := w.begun(fmt.Sprint(at))
		got := verdicts(w.judge(look, 1, "old", "seen", "led"))
		w.Unjudge(look, "p", []ingest.Key{key("old"), key("seen")})
		w.endAs(look, ingest.Ending{State: ingest.Failed, Error: "only looked"})
		want := "DDF"
		if at > 100 {
			want = "NDF" // what was seen again on day 40 is known to day 120
		}
		if got != want {
			t.Errorf("day %d: %s, want %s", at, got, want)
		}
	}
	w.restart(20 * day)
	look := w.begun("last")
	w.expect(w.judge(look, 1, "old", "seen", "led"), "NNF") // who only looks has not seen it
	w.begin(id)
	w.delivered(w.OpenClaims(id)[0].Batches[0])
	w.expect(w.judge(look, 4, "led"), "D")
	w.crash()
	w.restart(29 * day)
	w.expect(w.judge(w.begun("h"), 1, "led"), "D") // known since it was delivered, 140 days after its claim
}

// refusedOf halves a batch until one record of it stands alone, and refuses
// that; the rest is delivered.
func (w *world) refusedOf(b *ingest.Batch, record int64) {
	w.Helper()
	one := []ingest.Judged{{Pos: position(record)}}
	rest := make([]ingest.Judged, b.Records-1)
	for i := range rest {
		rest[i].Pos = position(b.First)
	}
	left, right := batch(b.Sink, rest), batch(b.Sink, one)
	w.settle(ingest.Settlement{Batch: b, State: ingest.BatchSplit, Halves: [2]*ingest.Batch{left, right}})
	w.delivered(left)
	w.refused(right, "refused", record)
}

// expiredMeanwhile: two files wait for records of each other that were
// delivered; after a crash, and long after their keys have expired, each still
// learns so.
func expiredMeanwhile(t *testing.T, d Driver) {
	w := worldIn(t, d, t.TempDir(), 80*day)
	ids := []int64{w.begun("f"), w.begun("g")}
	var follow [2][]ingest.Judged
	var claims [2]*ingest.Claim
	var leads [2]*ingest.Batch
	for i, id := range ids {
		leads[i] = w.claim(id, w.judge(id, 1, fmt.Sprint("lead", i))).Batches[0]
	}
	for i, id := range ids {
		follow[i] = w.judge(id, 2, fmt.Sprint("lead", 1-i), fmt.Sprint("slow", i))
		w.expect(follow[i], "FN")
		claims[i] = w.claim(id, follow[i])
	}
	w.delivered(leads[0])
	w.delivered(leads[1])
	w.crash()
	for range 5 {
		w.restart(25 * day)
	}
	w.expect(w.judge(w.begun("h"), 1, "lead0"), "N")
	for i, id := range ids {
		w.begin(id)
		w.follow(claims[i].ID, follow[i][0])
		w.delivered(w.OpenClaims(id)[0].Batches[0])
	}
	// One key is led again by a third file: that record follows it now.
	w.counts(w.end(ids[0]).Counts, ingest.Counts{Records: 3, Delivered: 2, Duplicate: 1})
	w.Unjudge(3, "p", []ingest.Key{key("lead0")})
	w.endAs(3, ingest.Ending{State: ingest.Failed, Error: "only looked"})
	w.counts(w.settled(ids[1]), ingest.Counts{Records: 3, Delivered: 2, Dead: 1})
	w.end(ids[1])
	w.balanced()
}

// clockJumps: a wall clock that is wrong at a start expires nothing.
func clockJumps(t *testing.T, d Driver) {
	for _, jump := range []time.Duration{10 * 365 * day, -10 * 365 * day} {
		w := worldIn(t, d, t.TempDir(), 80*day)
		id := w.begun("f")
		w.delivered(w.claim(id, w.judge(id, 1, "a")).Batches[0])
		for range 3 {
			w.restart(jump)
			w.expect(w.judge(w.begun("g"), 1, "a"), "D")
		}
		w.restart(-3 * jump)
		w.expect(w.judge(w.begun("h"), 1, "a"), "D")
	}
}

// knownContent: content is known by an arrival that ended done with no dead
// letter, and by no other.
func knownContent(t *testing.T, d Driver) {
	w := newWorld(t, d)
	sum := func(s string) []byte { return bytes.Repeat([]byte(s), 32) }
	finish := func(name string, state ingest.State, dead bool) {
		id := w.begun(name)
		b := w.claim(id, w.judge(id, 1, name)).Batches[0]
		w.settleOne(b, dead)
		w.endAs(id, ingest.Ending{State: state, SHA256: sum(name)})
	}
	finish("c", ingest.Done, false)
	finish("d", ingest.Done, true)
	finish("e", ingest.Failed, false)
	w.crash()
	for name, want := range map[string]bool{"c": true, "d": false, "e": false, "f": false} {
		same, err := w.SameContent(w.ctx(), "p", 100, sum(name))
		w.check(err)
		if same != want {
			t.Errorf("content %s: known %v", name, same)
		}
	}
	for scope, size := range map[string]int64{"p": 101, "q": 100} {
		if same, err := w.SameContent(w.ctx(), scope, size, sum("c")); err != nil || same {
			t.Errorf("known in scope %s with size %d: %v, %v", scope, size, same, err)
		}
	}
	running := w.begun("g")
	next := w.accept("h")
	some, list, err := w.SameSize(w.ctx(), "p", 100, next)
	w.check(err)
	if !some || !slices.Equal(list, []int64{running}) {
		t.Errorf("of the same size: ended %v, under way %v", some, list)
	}
	if some, list, err = w.SameSize(w.ctx(), "p", 77, next); some || list != nil || err != nil {
		t.Errorf("of another size: %v, %v, %v", some, list, err)
	}

	known := func(origin string, size int64, at time.Time) bool {
		ok, err := w.Known(w.ctx(), "p", origin, size, at)
		w.check(err)
		return ok
	}
	at := time.Unix(1700000000, 5)
	if !known("/drop/c", 100, at) || known("/drop/c", 99, at) || known("/drop/c", 100, at.Add(1)) || known("/drop/z", 100, at) {
		t.Error("what was taken up before is not told from what was not")
	}
}

// waitForTheEnd: Ended returns when an arrival has ended or was held, also for
// one that is not begun in this process.
func waitForTheEnd(t *testing.T, d Driver) {
	w := newWorld(t, d)
	first, second, third := w.begun("f"), w.begun("g"), w.accept("h")
	w.crash()
	w.begin(second)
	gone, cancel := context.WithCancel(w.ctx())
	cancel()
	for _, id := range []int64{first, second, third} {
		if err := w.Ended(gone, id); !errors.Is(err, context.Canceled) {
			t.Errorf("arrival %d is said to have ended: %v", id, err)
		}
	}
	w.begin(first)
	waits := make(chan error, 3)
	for _, id := range []int64{first, second, third} {
		go func() { waits <- w.Ended(w.ctx(), id) }()
	}
	w.end(first)
	w.check(w.Hold(w.ctx(), second, "look at it"))
	w.endAs(third, ingest.Ending{State: ingest.DuplicateState})
	for range 3 {
		w.check(<-waits)
	}
	w.check(w.Ended(w.ctx(), 999))
}

// held: an arrival that is held stays so until a person says release or reject.
func held(t *testing.T, d Driver) {
	w := newWorld(t, d)
	id := w.begun("f")
	w.check(w.Hold(w.ctx(), id, "the header lacks id"))
	w.crash()
	if a := w.arrival(id); a.State != ingest.Held || a.Error != "the header lacks id" {
		t.Errorf("%s: %s", a.State, a.Error)
	}
	if _, err := w.Begin(w.ctx(), id, nil); err == nil {
		t.Error("a held arrival was begun")
	}
	w.check(w.Release(w.ctx(), id))
	if err := w.Release(w.ctx(), id); err == nil {
		t.Error("released twice")
	}
	if err := w.Hold(w.ctx(), id, "again"); err == nil {
		t.Error("one that waits was held")
	}
	w.crash()
	b := w.begin(id)
	if !b.Arrival.Released || string(b.Snapshot) != "settings" || b.Arrival.Error != "" {
		t.Errorf("released: %+v", b.Arrival)
	}
	w.check(w.Hold(w.ctx(), id, "again"))
	a := w.endAs(id, ingest.Ending{State: ingest.Failed, Error: "rejected"})
	w.counts(a.Counts, ingest.Counts{})
	again := w.endAs(id, ingest.Ending{State: ingest.Done})
	if again.State != ingest.Failed || !again.FinishedAt.Equal(a.FinishedAt.Truncate(time.Microsecond)) {
		t.Errorf("ended twice: %s at %v, then %s at %v", a.State, a.FinishedAt, again.State, again.FinishedAt)
	}
	w.balanced()
	var what []string
	for _, e := range w.arrival(id).Timeline {
		what = append(what, e.What)
	}
	if got := strings.Join(what, ", "); got != "found, begun, held: the header lacks id, released, held: again, failed: rejected" {
		t.Errorf("timeline %s", got)
	}
}

// rejectedWithWork: a held arrival with work under way can be rejected: its
// books balance, what was delivered counts, the rest is dead.
func rejectedWithWork(t *testing.T, d Driver) {
	for _, crash := range []bool{false, true} {
		t.Run(fmt.Sprintf("crash=%v", crash), func(t *testing.T) {
			w := newWorld(t, d)
			first, second := w.begun("f"), w.begun("g")
			lead := w.claim(first, w.judge(first, 1, "theirs")).Batches[0]
			w.claim(second, w.judge(second, 1, "theirs")) // waits, settled
			w.delivered(w.claim(second, w.judge(second, 2, "done")).Batches[0])
			recs := w.judge(second, 3, "sent", "late", "sent", "theirs")
			w.expect(recs, "NNFF")
			c := draft(second, "p", recs, []string{"one", "two", "three"}, []string{"three"})
			w.commit(c)
			w.delivered(c.Batches[0])
			third := w.begun("h")
			w.claim(third, w.judge(third, 1, "late"))
			w.check(w.Hold(w.ctx(), second, "its file has changed"))
			if crash {
				w.crash()
				w.begin(third)
				lead = w.begin(first).Open[0].Batches[0]
			}
			a := w.endAs(second, ingest.Ending{State: ingest.Failed, Error: "rejected"})
			w.counts(a.Counts, ingest.Counts{Records: 6, Delivered: 1, Dead: 5})
			w.counts(w.settled(third), ingest.Counts{Records: 1, Dead: 1})
			w.delivered(lead)
			w.end(first)
			w.end(third)
			w.balanced()
			uncertain := 0
			for _, l := range w.letters(ingest.LetterFilter{Arrival: second}) {
				if l.Uncertain {
					uncertain++
				}
			}
			if uncertain != 2 {
				t.Errorf("%d letters are uncertain, want the 2 of the open batch", uncertain)
			}
			w.crash()
			got := w.judge(w.begun("i"), 1, "done", "sent", "theirs")
			w.expect(got, "DND")
			if !slices.Equal(got[1].Have, []string{"one"}) {
				t.Errorf("sinks that have it: %v", got[1].Have)
			}
		})
	}
}

// Why a source knows an arrival not to be whole outlives a crash.
func refusedWhole(t *testing.T, d Driver) {
	w := newWorld(t, d)
	ids, err := w.Accept(w.ctx(), "p", "p", []ingest.Found{{Source: "dir", Name: "f", Path: "/work/f", Refused: "another sum"}})
	w.check(err)
	w.crash()
	if a := w.arrival(ids[0]); a.State != ingest.Waiting || a.Error != "another sum" {
		t.Errorf("%s: %s", a.State, a.Error)
	}
	a := w.endAs(ids[0], ingest.Ending{State: ingest.Failed, Error: "another sum"})
	w.counts(a.Counts, ingest.Counts{})
}
