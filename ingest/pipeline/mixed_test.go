package pipeline_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/pipeline"
)

// each makes a target answer record by record, as say says of an id.
func each(tg *target, say func(id string) ingest.RecordAnswer) func(*ingest.Request, []string) (ingest.Answer, error) {
	return func(r *ingest.Request, ids []string) (ingest.Answer, error) {
		m := &ingest.Mixed{Answer: ingest.Answer{Status: 207, Body: "each"}}
		var taken []string
		for _, id := range ids {
			a := say(id)
			m.Records = append(m.Records, a)
			if a.Fate == ingest.FateDelivered {
				taken = append(taken, id)
			}
		}
		if len(taken) > 0 {
			tg.took(r.Key, taken)
			tg.note(r.Key, strings.Join(taken, ","), string(r.Body))
		}
		return ingest.Answer{}, m
	}
}

func fate(f ingest.Fate, status int) ingest.RecordAnswer {
	reasons := []string{"no result", "", "", "the target answered 422", "the target answered 503"}
	return ingest.RecordAnswer{Fate: f, Status: status, Reason: reasons[f], Body: fmt.Sprint("body ", status)}
}

// fates answers by id: bad ones refused, unknown and known ones as they are,
// busy ones to be sent again the first n times.
func fates(n int) func(id string) ingest.RecordAnswer {
	asked := map[string]int{}
	return func(id string) ingest.RecordAnswer {
		asked[id]++
		switch {
		case slices.Contains([]string{"3", "50", "51"}, id):
			return fate(ingest.FateRefused, 422)
		case id == "60":
			return fate(ingest.FateUnknown, 0)
		case id == "7" || id == "8":
			return fate(ingest.FateHad, 409)
		case slices.Contains([]string{"0", "2", "4", "52", "99", "249"}, id) && asked[id] <= n:
			return fate(ingest.FateAgain, 503)
		}
		return fate(ingest.FateDelivered, 201)
	}
}

// Each record ends by its own status; those to be sent again go on alone, under
// other keys, and nothing that was taken is sent again.
func TestAnswersPerRecord(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		concurrency int
		key         string
	}{{4, "id"}, {1, "id"}, {4, ""}} {
		t.Run(fmt.Sprint(c.concurrency, c.key), func(t *testing.T) {
			tg := newTarget()
			tg.answer = each(tg, fates(3))
			b := newBench(t, c.key, pipeline.SinkOptions{Name: "s", Sink: tg, Concurrency: c.concurrency})
			b.plan.SkipFiles = false
			f := b.file("a.csv", numbers(0, 250))
			if err := b.once(f); err != nil {
				t.Fatal(err)
			}
			want := upTo(250)
			for _, id := range []string{"3", "50", "51", "60", "7", "8"} {
				delete(want, id)
			}
			tg.has(t, want, false)
			b.is(1, ingest.Done, ingest.Counts{Records: 250, Delivered: 246, Dead: 4, Had: 2})
			b.audit()
			b.empty()
			// Three batches, and the rests of two of them three times each.
			if tg.sends != 9 {
				t.Errorf("%d requests, want 9", tg.sends)
			}
			var lines []int64
			for _, d := range b.letters() {
				lines = append(lines, d.Pos.Line)
				if d.Uncertain != (d.Pos.Line == 62) || d.Batch != 0 || d.Status == 0 != d.Uncertain {
					t.Errorf("letter %+v", d)
				}
			}
			slices.Sort(lines)
			if !slices.Equal(lines, []int64{5, 52, 53, 62}) {
				t.Errorf("letters of lines %v", lines)
			}
			if c.concurrency == 1 {
				// The rest of a batch goes before the next batch.
				if at := slices.Index(tg.order, "100"); slices.Index(tg.order, "0") > at || slices.Index(tg.order, "99") > at {
					t.Error("a rest was overtaken")
				}
			}
			a, err := b.ledger.Arrival(t.Context(), 1)
			if err != nil {
				t.Fatal(err)
			}
			first := a.Batches[slices.IndexFunc(a.Batches, func(i ingest.BatchInfo) bool { return i.First == 1 && i.Records == 100 })]
			if first.State != ingest.BatchMixed || first.Delivered != 91 || first.Dead != 4 || first.Again != 5 {
				t.Errorf("batch %+v", first)
			}
			if c.key == "" {
				return
			}
			// The same records again: dead ones go through, the others are known.
			b.reopen()
			tg.set(nil)
			if err := b.once(b.file("b.csv", numbers(0, 250))); err != nil {
				t.Fatal(err)
			}
			b.is(2, ingest.Done, ingest.Counts{Records: 250, Delivered: 4, Duplicate: 246})
		})
	}
}

// Followers end as their leaders do, whatever the rest of the batch does.
func TestFollowersOfMixed(t *testing.T) {
	t.Parallel()
	tg := newTarget()
	tg.answer = each(tg, fates(2))
	b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
	text := numbers(0, 100) + "0,again\n3,again\n5,again\n60,again\n"
	if err := b.once(b.file("a.csv", text)); err != nil {
		t.Fatal(err)
	}
	b.is(1, ingest.Done, ingest.Counts{Records: 104, Delivered: 96, Duplicate: 2, Dead: 6, Had: 2})
	b.audit()
}

// A rest that is refused whole is halved, like any batch; one with all of its
// records to be sent again too.
func TestRestIsHalved(t *testing.T) {
	t.Parallel()
	tg := newTarget()
	mixed := each(tg, func(id string) ingest.RecordAnswer {
		if n := len(id); id[n-1]%2 == 1 {
			return fate(ingest.FateAgain, 503)
		}
		return fate(ingest.FateDelivered, 200)
	})
	no := refuse(422, "13", "77")
	tg.answer = func(r *ingest.Request, ids []string) (ingest.Answer, error) {
		if len(ids) == 100 {
			return mixed(r, ids)
		}
		return no(r, ids)
	}
	b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
	if err := b.once(b.file("a.csv", numbers(0, 100))); err != nil {
		t.Fatal(err)
	}
	want := upTo(100)
	delete(want, "13")
	delete(want, "77")
	tg.has(t, want, false)
	b.is(1, ingest.Done, ingest.Counts{Records: 100, Delivered: 98, Dead: 2})
	b.audit()
}

// One sink answers record by record, another as a whole: each has its own
// progress, and a mended record goes to the one that lacks it.
func TestMixedAtOneOfTwoSinks(t *testing.T) {
	t.Parallel()
	one, two := newTarget(), newTarget()
	one.answer = each(one, fates(1))
	two.answer = refuse(422, "3", "200")
	b := newBench(t, "id", pipeline.SinkOptions{Name: "one", Sink: one}, pipeline.SinkOptions{Name: "two", Sink: two})
	if err := b.once(b.file("a.csv", numbers(0, 250))); err != nil {
		t.Fatal(err)
	}
	b.is(1, ingest.Done, ingest.Counts{Records: 250, Delivered: 245, Dead: 5, Had: 2})
	b.audit()
	one.set(nil)
	two.set(nil)
	e, stop := b.daemon()
	r, err := e.ReplayLetters(t.Context(), 1, b.letters(), false)
	if err != nil || r.Sent != 5 {
		t.Fatalf("%+v, %v", r, err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	want := upTo(250)
	two.has(t, want, false)
	delete(want, "7")
	delete(want, "8")
	one.has(t, want, false)
	b.is(1, ingest.Done, ingest.Counts{Records: 250, Delivered: 250, Had: 2})
	b.audit()
	b.empty()
}

// A replay may be answered record by record, too: of refused letters, and of a
// batch that was given up, of which a letter was dropped.
func TestReplayIsMixed(t *testing.T) {
	t.Parallel()
	tg := newTarget()
	tg.answer = down
	b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg, GiveUpAfter: 1})
	if err := b.once(b.file("a.csv", numbers(0, 100))); err != nil {
		t.Fatal(err)
	}
	b.is(1, ingest.Done, ingest.Counts{Records: 100, Dead: 100})
	for _, d := range b.letters() {
		if d.Pos.Record == 100 || d.Pos.Record == 10 {
			if _, err := b.ledger.Drop(t.Context(), []int64{d.ID}); err != nil {
				t.Fatal(err)
			}
		}
	}
	tg.set(each(tg, fates(1)))
	e, stop := b.daemon()
	if _, err := e.ReplayLetters(t.Context(), 1, b.letters(), false); err != nil {
		t.Fatal(err)
	}
	b.is(1, ingest.Done, ingest.Counts{Records: 100, Delivered: 94, Dead: 6, Had: 2})
	b.audit()
	tg.set(nil)
	if r, err := e.ReplayLetters(t.Context(), 1, b.letters(), false); err != nil || r.Sent != 4 {
		t.Fatalf("%+v, %v", r, err)
	}
	b.is(1, ingest.Done, ingest.Counts{Records: 100, Delivered: 98, Dead: 2, Had: 2})
	b.audit()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	b.empty()
}

// A record that is never taken keeps nobody waiting, and ends after
// give_up_after; its rest survives restarts with the patience that is left.
func TestRestIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tg := newTarget()
		tg.answer = each(tg, func(id string) ingest.RecordAnswer {
			if id == "5" {
				return fate(ingest.FateAgain, 503)
			}
			return fate(ingest.FateDelivered, 200)
		})
		b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg, RetryInitial: time.Second, RetryMax: 20 * time.Minute, GiveUpAfter: 6 * time.Hour})
		began := time.Now()
		_, stop := b.daemon(b.file("a.csv", numbers(0, 1000)))
		until(t, "the others", func() bool { return tg.count() == 999 })
		if took := time.Since(began); took > time.Minute {
			t.Errorf("the others took %s", took)
		}
		time.Sleep(3 * time.Hour)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		b.reopen()
		_, stop = b.daemon()
		b.ended(1)
		if took := time.Since(began); took < 6*time.Hour || took > 7*time.Hour {
			t.Errorf("given up after %s", took)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		b.is(1, ingest.Done, ingest.Counts{Records: 1000, Delivered: 999, Dead: 1})
		if d := b.letters(); len(d) != 1 || !d[0].Uncertain || d[0].Status != 503 || !strings.HasPrefix(d[0].Reason, "given up: ") {
			t.Errorf("letters %+v", d)
		}
		b.audit()
		b.empty()
	})
}

// A target that asks for silence in the answer is left alone until then.
func TestMixedKeepsSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tg := newTarget()
		var at []time.Time
		began := time.Now()
		mixed := each(tg, fates(1))
		tg.answer = func(r *ingest.Request, ids []string) (ingest.Answer, error) {
			at = append(at, time.Now())
			_, err := mixed(r, ids)
			m := err.(*ingest.Mixed)
			if slices.ContainsFunc(m.Records, func(a ingest.RecordAnswer) bool { return a.Fate == ingest.FateAgain }) {
				m.Later = &ingest.RetryAfter{At: began.Add(40 * time.Minute), Reason: "busy"}
			}
			return ingest.Answer{}, m
		}
		b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg, Concurrency: 1})
		_, stop := b.daemon(b.file("a.csv", numbers(0, 250)))
		b.ended(1)
		stop()
		if len(at) < 2 || at[1].Sub(began) < 40*time.Minute {
			t.Errorf("asked at %v, from %v", at, began)
		}
		b.is(1, ingest.Done, ingest.Counts{Records: 250, Delivered: 246, Dead: 4, Had: 2})
	})
}

// A replay of refused letters is under new keys, halves included: a target that
// remembers its answers would refuse mended records for ever.
func TestReplayedHalvesHaveNewKeys(t *testing.T) {
	t.Parallel()
	tg := newTarget()
	tg.answer = refuse(422, "1", "2", "3")
	b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
	if err := b.once(b.file("a.csv", numbers(0, 8))); err != nil {
		t.Fatal(err)
	}
	old := map[string]bool{}
	for key := range tg.keys {
		old[key] = true
	}
	no := refuse(422, "2")
	tg.set(func(r *ingest.Request, ids []string) (ingest.Answer, error) {
		if old[r.Key] {
			t.Errorf("%v are sent under a key that they were refused under", ids)
		}
		return no(r, ids)
	})
	e, stop := b.daemon()
	if _, err := e.ReplayLetters(t.Context(), 1, b.letters(), false); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	b.is(1, ingest.Done, ingest.Counts{Records: 8, Delivered: 7, Dead: 1})
	b.audit()
}
