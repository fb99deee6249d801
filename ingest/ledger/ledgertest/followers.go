package ledgertest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"ingestd/ingest"
)

// followerInOneArrival: the same key twice in a file.
func followerInOneArrival(t *testing.T, d Driver) {
	for _, crash := range []bool{false, true} {
		for _, dead := range []bool{false, true} {
			t.Run(fmt.Sprintf("crash=%v/dead=%v", crash, dead), func(t *testing.T) {
				w := newWorld(t, d)
				id := w.begun("f")
				recs := w.judge(id, 1, "a", "a", "b", "a")
				w.expect(recs, "NFNF")
				if recs[1].Leader != id {
					t.Errorf("it follows arrival %d", recs[1].Leader)
				}
				c := w.claim(id, recs[:2])
				w.claim(id, recs[2:])
				if crash {
					w.crash()
					b := w.begin(id)
					// The claim is not done before its follower is here again.
					for i, o := range b.Open {
						w.follow(o.ID, recs[3-2*(1-i)])
					}
					c = &b.Open[0].Claim
					w.settleOne(c.Batches[0], dead)
					w.delivered(b.Open[1].Batches[0])
				} else {
					w.settleOne(c.Batches[0], dead)
					w.delivered(w.OpenClaims(id)[0].Batches[0])
				}
				want := ingest.Counts{Records: 4, Delivered: 2, Duplicate: 2}
				if dead {
					want = ingest.Counts{Records: 4, Delivered: 1, Dead: 3}
				}
				w.counts(w.settled(id), want)
				w.counts(w.end(id).Counts, want)
				w.balanced()
				for _, l := range w.letters(ingest.LetterFilter{}) {
					if l.Pos.Record > 1 && (!strings.Contains(l.Reason, "same key as line 2, which is dead: refused") || string(l.Raw) != string(raw(l.Pos.Record))) {
						t.Errorf("letter %+v", l)
					}
				}
			})
		}
	}
}

// settleOne delivers a batch of one record, or has it refused.
func (w *world) settleOne(b *ingest.Batch, dead bool) {
	w.Helper()
	if dead {
		w.refused(b, "refused", b.First)
	} else {
		w.delivered(b)
	}
}

// follow gives followers their bytes again, as a pass after a crash does: it
// does not know whom they follow.
func (w *world) follow(claim int64, recs ...ingest.Judged) {
	w.Helper()
	var fs []ingest.Follower
	for _, r := range recs {
		fs = append(fs, ingest.Follower{Pos: r.Pos, Key: r.Key, Raw: raw(r.Pos.Record)})
	}
	w.check(wait(func(done func(error)) { w.Follow(claim, fs, done) }))
}

// followerOfAnother: a record whose key another arrival has under way waits for
// it, holds no batch back, and its arrival ends late.
func followerOfAnother(t *testing.T, d Driver) {
	for _, crash := range []bool{false, true} {
		for _, dead := range []bool{false, true} {
			t.Run(fmt.Sprintf("crash=%v/dead=%v", crash, dead), func(t *testing.T) {
				w := newWorld(t, d)
				first, second, third := w.begun("f"), w.begun("g"), w.begun("h")
				lead := w.claim(first, w.judge(first, 1, "a")).Batches[0]
				recs := w.judge(second, 1, "a", "b", "a")
				w.expect(recs, "FNF")
				w.delivered(w.claim(second, recs).Batches[0])
				w.claim(third, w.judge(third, 1, "a")) // follows, and nothing else
				if len(w.OpenClaims(second))+len(w.OpenClaims(third)) != 0 {
					t.Error("a claim of which only followers are left is open")
				}
				if crash {
					w.crash()
					lead = w.begin(first).Open[0].Batches[0]
					w.begin(second)
					w.begin(third)
				}
				w.balanced()
				ctx, cancel := context.WithCancel(w.ctx())
				cancel()
				if _, err := w.Settled(ctx, second); !errors.Is(err, context.Canceled) {
					t.Errorf("an arrival with waiting records is settled: %v", err)
				}
				if _, err := w.End(w.ctx(), second, ingest.Ending{State: ingest.Done}); err == nil {
					t.Error("an arrival with waiting records ended")
				}
				w.settleOne(lead, dead)
				want, alone := ingest.Counts{Records: 3, Delivered: 1, Duplicate: 2}, ingest.Counts{Records: 1, Duplicate: 1}
				if dead {
					want, alone = ingest.Counts{Records: 3, Delivered: 1, Dead: 2}, ingest.Counts{Records: 1, Dead: 1}
				}
				w.counts(w.settled(second), want)
				w.counts(w.settled(third), alone)
				for _, id := range []int64{first, third, second} {
					w.end(id)
				}
				w.crash()
				w.balanced()
				for _, l := range w.letters(ingest.LetterFilter{Arrival: second}) {
					if want := fmt.Sprintf("same key as line 2 of arrival %d, which is dead: refused", first); l.Reason != want || string(l.Raw) != string(raw(l.Pos.Record)) || l.Key != key("a") {
						t.Errorf("letter %+v, want %s", l, want)
					}
				}
			})
		}
	}
}

// followersBytesAgain: an open claim waits for followers whose bytes a crash
// has lost, and takes each once, whatever became of its leader meanwhile.
func followersBytesAgain(t *testing.T, d Driver) {
	w := newWorld(t, d)
	first, second := w.begun("f"), w.begun("g")
	lives := w.claim(first, w.judge(first, 1, "lives")).Batches[0]
	dies := w.claim(first, w.judge(first, 2, "dies")).Batches[0] // its follower has the same ordinal
	w.claim(first, w.judge(first, 3, "waits"))
	recs := w.judge(second, 1, "own", "dies", "lives", "waits", "own")
	w.expect(recs, "NFFFF")
	w.claim(second, recs)
	w.refused(dies, "refused", 2)
	w.delivered(lives)
	w.crash()

	w.begin(first)
	b := w.begin(second)
	w.delivered(b.Open[0].Batches[0])
	if len(w.OpenClaims(second)) != 1 {
		t.Fatal("the claim is settled without its followers")
	}
	w.follow(b.Open[0].ID, recs[1], recs[4])
	w.follow(b.Open[0].ID, recs[0], recs[1], recs[4]) // the leader is no follower; the others are known
	if len(w.OpenClaims(second)) != 1 {
		t.Fatal("the claim is settled before all its followers are here")
	}
	w.follow(b.Open[0].ID, recs[2:]...)
	if len(w.OpenClaims(second)) != 0 {
		t.Error("the claim is still open")
	}
	w.follow(b.Open[0].ID, recs[3]) // too late, and no harm
	w.delivered(w.OpenClaims(first)[0].Batches[0])
	w.counts(w.settled(second), ingest.Counts{Records: 5, Delivered: 1, Duplicate: 3, Dead: 1})
	w.end(first)
	w.end(second)
	w.balanced()
}

// leaderGivesUp: a pass that broke off takes back what it judged. Who followed
// that waits on, for the pass that comes again or whoever is faster.
func leaderGivesUp(t *testing.T, d Driver) {
	for _, crash := range []bool{false, true} {
		for _, faster := range []bool{false, true} {
			t.Run(fmt.Sprintf("crash=%v/faster=%v", crash, faster), func(t *testing.T) {
				w := newWorld(t, d)
				first, second := w.begun("f"), w.begun("g")
				w.judge(first, 1, "a")
				follow := w.judge(second, 1, "a", "b")
				w.expect(follow, "FN")
				c := w.claim(second, follow)
				if crash {
					w.crash()
					w.begin(second)
					w.follow(c.ID, follow[0])
				} else {
					w.Unjudge(first, "p", []ingest.Key{key("a")})
				}
				w.delivered(w.OpenClaims(second)[0].Batches[0])
				w.balanced()
				next := first
				if faster {
					next = w.begun("h")
				} else {
					w.begin(first)
				}
				recs := w.judge(next, 1, "a")
				w.expect(recs, "N")
				lead := w.claim(next, recs).Batches[0]
				if faster {
					// The old leader ends without that record: it waits for the new one.
					w.begin(first)
					w.endAs(first, ingest.Ending{State: ingest.Failed, Error: "unreadable"})
					w.crash()
					w.begin(second)
					lead = w.begin(next).Open[0].Batches[0]
				}
				w.delivered(lead)
				w.counts(w.settled(second), ingest.Counts{Records: 2, Delivered: 1, Duplicate: 1})
				w.end(next)
				w.end(second)
				w.balanced()
			})
		}
	}
}

// leaderNeverFinishes: an arrival that ends without the record that others wait
// for takes them along.
func leaderNeverFinishes(t *testing.T, d Driver) {
	w := newWorld(t, d)
	first, second, third := w.begun("f"), w.begun("g"), w.begun("h")
	w.judge(first, 1, "a")
	w.claim(second, w.judge(second, 1, "a"))
	open := w.claim(third, w.judge(third, 1, "a", "c"))
	w.Unjudge(first, "p", []ingest.Key{key("a")})
	w.endAs(first, ingest.Ending{State: ingest.Failed, Error: "unreadable"})
	w.counts(w.settled(second), ingest.Counts{Records: 1, Dead: 1})
	w.delivered(open.Batches[0])
	w.counts(w.settled(third), ingest.Counts{Records: 2, Delivered: 1, Dead: 1})
	w.end(second)
	w.end(third)
	w.balanced()
	for _, l := range w.letters(ingest.LetterFilter{}) {
		if !strings.Contains(l.Reason, fmt.Sprintf("arrival %d", first)) || string(l.Raw) != "record 1" {
			t.Errorf("letter %+v", l)
		}
	}
	// The dead ones are not remembered.
	w.crash()
	w.expect(w.judge(w.begun("i"), 1, "a", "c"), "ND")
}

// begunAgain: an arrival that is begun a second time in one process finds what
// it claimed, and does not wait for itself where it took nothing back.
func begunAgain(t *testing.T, d Driver) {
	w := newWorld(t, d)
	id := w.begun("f")
	c := w.claim(id, w.judge(id, 1, "a", "b"))
	w.delivered(c.Batches[0])
	open := w.claim(id, w.judge(id, 3, "c", "c"))
	parked := draft(id, "p", w.judge(id, 5, "d"), []string{"a", "b"}, []string{"b"})
	w.commit(parked)
	w.expect(w.judge(id, 6, "e", "e"), "NF") // judged, and lost
	b := w.begin(id)
	if len(b.Settled) != 1 || len(b.Open) != 2 || b.Arrival.Starts != 0 {
		t.Fatalf("begun again: %+v", b)
	}
	recs := w.judge(id, 6, "e", "e", "a", "c", "d")
	w.expect(recs, "NFDFF")
	if recs[3].Leader != id || recs[4].Leader != id {
		t.Errorf("leaders %d and %d", recs[3].Leader, recs[4].Leader)
	}
	last := w.claim(id, recs)
	w.delivered(open.Batches[0])
	w.delivered(parked.Batches[0])
	late := batch("b", recs[:1])
	w.cut(parked, "b", late)
	w.delivered(late)
	w.delivered(last.Batches[0])
	w.counts(w.end(id).Counts, ingest.Counts{Records: 10, Delivered: 5, Duplicate: 5})
	w.balanced()
}

// manyFollowers: all rows of a file have one key.
func manyFollowers(t *testing.T, d Driver) {
	w := newWorld(t, d)
	first, second := w.begun("f"), w.begun("g")
	w.claim(first, w.judge(first, 1, "same"))
	const n = 1000
	for at := int64(1); at <= n; at += 250 {
		names := make([]string, 250)
		for i := range names {
			names[i] = "same"
		}
		w.claim(second, w.judge(second, at, names...))
	}
	w.crash()
	w.begin(second)
	lead := w.begin(first).Open[0].Batches[0]
	w.refused(lead, "refused", 1)
	w.counts(w.settled(second), ingest.Counts{Records: n, Dead: n})
	w.end(first)
	w.end(second)
	w.balanced()
	if got := w.letters(ingest.LetterFilter{Arrival: second}); len(got) != n || got[n-1].Pos != position(n) {
		t.Errorf("%d letters, the last %+v", len(got), got[len(got)-1].Pos)
	}
}

// manyLeaders: more arrivals under way than any table of leaders has places.
func manyLeaders(t *testing.T, d Driver) {
	w := newWorld(t, d)
	const n = 70
	ids, opens := make([]int64, n), make([]*ingest.Batch, n)
	for i := range ids {
		ids[i] = w.begun(fmt.Sprint("f", i))
		opens[i] = w.claim(ids[i], w.judge(ids[i], 1, fmt.Sprint("k", i))).Batches[0]
	}
	last := w.begun("last")
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint("k", i)
	}
	for _, r := range w.judge(last, 1, names...) {
		if r.Verdict != ingest.Follow || r.Leader != ids[r.Pos.Record-1] {
			t.Fatalf("record %d: verdict %d, leader %d", r.Pos.Record, r.Verdict, r.Leader)
		}
	}
	w.claim(last, w.judge(last, 1, names...))
	for i, b := range opens {
		w.settleOne(b, i%2 == 0)
		w.end(ids[i])
	}
	w.counts(w.settled(last), ingest.Counts{Records: n, Duplicate: n / 2, Dead: n / 2})
	w.end(last)
	w.balanced()
	for i, r := range w.judge(w.begun("again"), 1, names...) {
		if want := []ingest.Verdict{ingest.New, ingest.Duplicate}[i%2]; r.Verdict != want {
			t.Fatalf("key %d: verdict %d", i, r.Verdict)
		}
	}
}

// deadKeysOfAnArrival: a later row with a dead row's key is dead for the same
// stated reason, with or without a crash between; another arrival's is new.
func deadKeysOfAnArrival(t *testing.T, d Driver) {
	for _, crash := range []bool{false, true} {
		t.Run(fmt.Sprintf("crash=%v", crash), func(t *testing.T) {
			w := newWorld(t, d)
			id := w.begun("f")
			c := w.claim(id, w.judge(id, 1, "a", "a", "b"))
			w.judge(id, 1, "x", "y")
			w.Unjudge(id, "p", []ingest.Key{key("x"), key("y")})
			one, two := batch("a", []ingest.Judged{{Pos: position(1)}}), batch("a", []ingest.Judged{{Pos: position(3)}})
			w.settle(ingest.Settlement{Batch: c.Batches[0], State: ingest.BatchSplit, Halves: [2]*ingest.Batch{one, two}})
			w.refused(one, "no such customer", 1)
			w.delivered(two)
			if crash {
				w.crash()
				w.begin(id)
			}
			recs := w.judge(id, 4, "a", "b")
			w.expect(recs, "XD")
			if recs[0].Reason != "same key as line 2, which is dead: no such customer" {
				t.Errorf("reason %q", recs[0].Reason)
			}
			w.claim(id, recs)
			if crash {
				w.crash()
				w.begin(id)
			}
			recs = w.judge(id, 6, "a")
			w.expect(recs, "X")
			if recs[0].Reason != "same key as line 2, which is dead: no such customer" {
				t.Errorf("reason the second time: %q", recs[0].Reason)
			}
			w.claim(id, recs)
			w.counts(w.end(id).Counts, ingest.Counts{Records: 6, Delivered: 1, Duplicate: 1, Dead: 4})
			w.balanced()

			mended := w.begun("g")
			recs = w.judge(mended, 1, "a", "b", "a")
			w.expect(recs, "NDF")
			w.delivered(w.claim(mended, recs).Batches[0])
			w.counts(w.end(mended).Counts, ingest.Counts{Records: 3, Delivered: 1, Duplicate: 2})
			w.crash()
			w.expect(w.judge(w.begun("h"), 1, "a"), "D")
		})
	}
}

// badByItself: a record that could not be shaped is never sent, and takes later
// ones with its key along, unless another record has that key.
func badByItself(t *testing.T, d Driver) {
	for _, crash := range []bool{false, true} {
		t.Run(fmt.Sprintf("crash=%v", crash), func(t *testing.T) {
			w := newWorld(t, d)
			id := w.begun("f")
			w.delivered(w.claim(id, w.judge(id, 1, "known")).Batches[0])
			w.claim(id, w.judge(id, 2, "led"))
			bad := func(record int64, k string) ingest.Judged {
				return ingest.Judged{Pos: position(record), Key: key(k), Verdict: ingest.Dead, Reason: "no total"}
			}
			recs := []ingest.Judged{bad(3, "fresh"), bad(4, "known"), bad(5, "led"), bad(6, "")}
			w.check(w.Judge(w.ctx(), id, "p", recs))
			w.expect(recs, "XXXX")
			if recs[0].Reason != "no total" {
				t.Errorf("its reason is %q now", recs[0].Reason)
			}
			w.claim(id, recs)
			if crash {
				w.crash()
				w.begin(id)
			}
			recs = w.judge(id, 7, "fresh", "known", "led")
			w.expect(recs, "XDF")
			if recs[0].Reason != "same key as line 4, which is dead: no total" {
				t.Errorf("reason %q", recs[0].Reason)
			}
			w.claim(id, recs)
			w.delivered(w.OpenClaims(id)[0].Batches[0])
			w.counts(w.end(id).Counts, ingest.Counts{Records: 9, Delivered: 2, Duplicate: 2, Dead: 5})
			w.balanced()
			w.expect(w.judge(w.begun("g"), 1, "fresh"), "N")
		})
	}
}
