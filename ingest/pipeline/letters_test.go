package pipeline_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/pipeline"
)

// givenUp runs a file of 1,000 records into a target that refuses 50 and never
// answers for the batches with 120 and 777, until those are given up.
func givenUp(t *testing.T, tg *target) *bench {
	tg.answer = func(r *ingest.Request, ids []string) (ingest.Answer, error) {
		if slices.Contains(ids, "120") || slices.Contains(ids, "777") {
			return down(r, ids)
		}
		return refuse(422, "50")(r, ids)
	}
	b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg, RetryInitial: time.Second, RetryMax: time.Minute, GiveUpAfter: 10 * time.Minute})
	begun := time.Now()
	e, stop := b.daemon()
	b.accept(e, b.file("a.csv", numbers(0, 1000)))
	b.ended(1)
	if took := time.Since(begun); took < 10*time.Minute || took > 15*time.Minute {
		t.Errorf("given up after %s", took)
	}
	stop()
	b.is(1, ingest.Done, ingest.Counts{Records: 1000, Delivered: 799, Dead: 201})
	b.audit()
	letters := b.letters()
	if len(letters) != 201 {
		t.Fatalf("%d letters", len(letters))
	}
	for _, d := range letters {
		id := fmt.Sprint(d.Pos.Record - 1)
		if want := id + ",n" + id; string(d.Raw) != want || d.Pos.Line != d.Pos.Record+1 {
			t.Errorf("letter of record %d, line %d: %q, want %q", d.Pos.Record, d.Pos.Line, d.Raw, want)
		}
		if uncertain := id != "50"; d.Uncertain != uncertain || uncertain && !strings.HasPrefix(d.Reason, "given up: ") {
			t.Errorf("record %s: uncertain %t, %q", id, d.Uncertain, d.Reason)
		}
	}
	return b
}

func TestGivenUpAndReplayed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tg := newTarget()
		b := givenUp(t, tg)
		sent := len(tg.keys)
		tg.set(nil)
		b.reopen()
		e, stop := b.daemon()
		dry, err := e.ReplayLetters(t.Context(), 1, b.letters(), true)
		if err != nil || dry != (pipeline.Replayed{Sent: 201, AsWere: 200}) {
			t.Errorf("dry: %+v, %v", dry, err)
		}
		out, err := e.ReplayLetters(t.Context(), 1, b.letters(), false)
		if err != nil || out != dry {
			t.Errorf("%+v, %v", out, err)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		// Those that were given up under their old keys, the refused one under a new one.
		if n := len(tg.keys) - sent; n != 1 {
			t.Errorf("%d new keys", n)
		}
		tg.has(t, upTo(1000), false)
		if left := b.letters(); len(left) != 0 {
			t.Errorf("%d letters are left", len(left))
		}
		b.is(1, ingest.Done, ingest.Counts{Records: 1000, Delivered: 1000})
		b.audit()
		b.empty()
		// Their keys are known now.
		if err := b.once(b.file("b.csv", "id,name\n50,x\n120,x\n777,x\n1000,x\n")); err != nil {
			t.Fatal(err)
		}
		b.is(2, ingest.Done, ingest.Counts{Records: 4, Delivered: 1, Duplicate: 3})
	})
}

// A batch that was given up may be refused clearly when it is replayed: then it
// is halved, and the good records are delivered. A kill between loses none: the
// halves' bytes are in those of the whole.
func TestReplayedBatchIsHalved(t *testing.T) {
	t.Parallel()
	for _, interrupted := range []bool{false, true} {
		t.Run(fmt.Sprint(interrupted), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tg := newTarget()
				b := givenUp(t, tg)
				no := refuse(422, "133", "50")
				before := tg.requests()
				sends := 0
				tg.set(func(r *ingest.Request, ids []string) (ingest.Answer, error) {
					if sends++; interrupted && sends > 3 {
						return down(r, ids) // in the middle of halving, until the stop
					}
					return no(r, ids)
				})
				b.reopen()
				b.plan.Sinks[0].Body = ingest.Body{ContentType: "application/x-ndjson", Between: []byte("\n"), Close: []byte("\n")}
				e, stop := b.daemon()
				replayed := make(chan error, 1)
				go func() {
					_, err := e.ReplayLetters(t.Context(), 1, b.letters(), false)
					replayed <- err
				}()
				if interrupted {
					until(t, "halves", func() bool { return tg.requests() > before+4 })
					stop()
					b.reopen()
					tg.set(no)
					_, stop = b.daemon()
				}
				if err := <-replayed; err != nil && !interrupted {
					t.Fatal(err)
				}
				until(t, "the end of the replay", func() bool { return len(b.letters()) == 2 })
				if err := stop(); err != nil {
					t.Fatal(err)
				}
				want := upTo(1000)
				delete(want, "50")
				delete(want, "133")
				tg.has(t, want, false)
				b.is(1, ingest.Done, ingest.Counts{Records: 1000, Delivered: 998, Dead: 2})
				b.audit()
				b.empty()
			})
		})
	}
}

// A replay that was asked for before the engine runs, or while its target is
// down, is sent all the same.
func TestReplayBeforeRun(t *testing.T) {
	t.Parallel()
	tg := newTarget()
	tg.answer = refuse(422, "3")
	b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
	if err := b.once(b.file("a.csv", numbers(0, 5))); err != nil {
		t.Fatal(err)
	}
	tg.set(nil)
	e := b.engine()
	replayed := make(chan error, 1)
	go func() {
		_, err := e.ReplayLetters(t.Context(), 1, b.letters(), false)
		replayed <- err
	}()
	for len(b.ledger.OpenClaims(1)) == 0 && len(b.letters()) > 0 {
		if err := b.ledger.Barrier(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-replayed; err != nil {
		t.Fatal(err)
	}
	tg.has(t, upTo(5), false)
	b.is(1, ingest.Done, ingest.Counts{Records: 5, Delivered: 5})
	b.audit()
}

// Letters of a replay whose bytes are lost go back on the list.
func TestReplayWhoseBytesAreLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tg := newTarget()
		b := givenUp(t, tg)
		tg.set(down)
		e, stop := b.daemon()
		go e.ReplayLetters(t.Context(), 1, b.letters(), false)
		until(t, "the replay", func() bool { return len(b.letters()) == 0 })
		stop()
		list, err := b.outbox.List()
		if err != nil || len(list) != 3 {
			t.Fatal(list, err)
		}
		for _, id := range list {
			if err := b.outbox.Remove(id); err != nil {
				t.Fatal(err)
			}
		}
		b.reopen()
		tg.set(nil)
		if err := b.once(); err != nil {
			t.Fatal(err)
		}
		if left := b.letters(); len(left) != 201 {
			t.Errorf("%d letters", len(left))
		}
		b.is(1, ingest.Done, ingest.Counts{Records: 1000, Delivered: 799, Dead: 201})
		b.audit()
	})
}

func TestReplayIsRefused(t *testing.T) {
	t.Parallel()
	tg := newTarget()
	tg.answer = refuse(422, "3")
	b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
	if err := b.once(b.file("a.csv", numbers(0, 5))); err != nil {
		t.Fatal(err)
	}
	// Refused again: a letter of its own, and the books balance.
	e, stop := b.daemon()
	old := b.letters()
	if out, err := e.ReplayLetters(t.Context(), 1, old, false); err != nil || out.Sent != 1 {
		t.Errorf("%+v, %v", out, err)
	}
	if _, err := e.ReplayLetters(t.Context(), 99, nil, false); !errors.Is(err, ingest.ErrNotFound) {
		t.Errorf("no such arrival: %v", err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if d := b.letters(); len(d) != 1 || d[0].ID == old[0].ID || string(d[0].Raw) != "3,n3" {
		t.Errorf("letters %+v", d)
	}
	b.is(1, ingest.Done, ingest.Counts{Records: 5, Delivered: 4, Dead: 1})
	b.audit()
}
