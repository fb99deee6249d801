package ledgertest

import (
	"slices"
	"testing"
	"time"

	"ingestd/ingest"
)

// rest is a batch of some records of another.
func rest(sink string, recs ...ingest.Judged) *ingest.Batch {
	b := batch(sink, recs)
	var v ingest.VerdictList
	for i := range recs {
		v.AddRun(ingest.Absent, recs[i].Pos.Record-b.First-v.Len())
		v.Add(ingest.New)
	}
	b.Members = v.Take()
	b.Key[0] = 0x5e
	return b
}

// answersPerRecord: one request notes what became of each record of a batch;
// what is to be sent again goes on as a batch of its own, across crashes, and
// the keys end with the records.
func answersPerRecord(t *testing.T, d Driver) {
	w := newWorld(t, d)
	id := w.begun("f")
	recs := w.judge(id, 1, "a", "b", "c", "d", "b", "e", "f")
	w.expect(recs, "NNNNFNN")
	whole := w.claim(id, recs).Batches[0]
	follower := w.begun("g")
	w.claim(follower, w.judge(follower, 1, "a", "c"))
	created := time.UnixMicro(1_700_000_000_000_000)
	left := rest("a", recs[2], recs[5])
	left.Attempts, left.Uncertain, left.CreatedAt = 3, true, created
	w.settle(ingest.Settlement{
		Batch: whole, State: ingest.BatchMixed, Attempts: 3, Status: 207, Answer: "each", Outcomes: packed("NXFD?FN"),
		Dead: letters("a", "no b", 2), Rest: left,
	})
	if left.ID <= whole.ID || left.Number != 2 {
		t.Errorf("the rest is batch %d, number %d", left.ID, left.Number)
	}
	for _, state := range []ingest.BatchState{ingest.BatchOpen, ingest.BatchDue} {
		w.crash()
		b := w.begin(id)
		w.begin(follower)
		if len(b.Open) != 1 || len(b.Open[0].Batches) != 1 {
			t.Fatalf("open %+v", b.Open)
		}
		got := b.Open[0].Batches[0]
		if got.ID != left.ID || got.Key != left.Key || got.BodyHash != left.BodyHash || got.Records != 2 || !slices.Equal(got.Members, left.Members) ||
			got.State != state || got.Attempts != 3 || !got.Uncertain || !got.CreatedAt.Equal(created) {
			t.Errorf("the rest after a crash: %+v", got)
		}
		left = got
		var holds []int64
		has := got.Holds()
		for record := int64(1); record <= 8; record++ {
			if has(record) {
				holds = append(holds, record)
			}
		}
		if !slices.Equal(holds, []int64{3, 6}) {
			t.Errorf("the rest holds %v", holds)
		}
		look := w.begun("look " + string(state))
		w.expect(w.judge(look, 1, "a", "b", "c", "d", "e", "f", "g"), "FFFFFFN") // all wait for the claim
		w.Unjudge(look, "p", []ingest.Key{key("g")})
		w.settle(ingest.Settlement{Batch: left, State: ingest.BatchDue, Attempts: 3, DueAt: w.now.Add(time.Hour), Uncertain: true})
	}
	w.begin(id)
	// The bytes of its follower were lost with the crash.
	w.check(wait(func(done func(error)) {
		w.Follow(w.OpenClaims(id)[0].ID, []ingest.Follower{{Pos: position(5), Key: key("b"), Raw: raw(5)}}, done)
	}))
	up := letters("a", "no result", 3)
	up[0].Uncertain = true
	w.settle(ingest.Settlement{Batch: left, State: ingest.BatchMixed, Attempts: 4, Status: 200, Outcomes: packed("X??N"), Dead: up})
	w.counts(w.settled(id), ingest.Counts{Records: 7, Delivered: 4, Dead: 3, Had: 1})
	w.balanced()
	w.counts(w.end(id).Counts, ingest.Counts{Records: 7, Delivered: 4, Dead: 3, Had: 1})
	w.counts(w.end(follower).Counts, ingest.Counts{Records: 2, Duplicate: 1, Dead: 1})
	w.balanced()
	a := w.arrival(id)
	if got := a.Batches[0]; got.State != ingest.BatchMixed || got.Delivered != 3 || got.Dead != 1 || got.Again != 2 || got.Status != 207 || got.Answer != "each" {
		t.Errorf("batch %+v", got)
	}
	if got := a.Batches[1]; got.State != ingest.BatchMixed || got.Delivered != 1 || got.Dead != 1 || got.Again != 0 {
		t.Errorf("batch %+v", got)
	}
	w.crash()
	w.balanced()
	last := w.begun("h")
	w.expect(w.judge(last, 1, "a", "b", "c", "d", "e", "f"), "DNNDDD")
	// Their letters are replayed by themselves: there is no batch to be sent as
	// it was.
	for _, d := range w.letters(ingest.LetterFilter{Arrival: id}) {
		if d.Batch != 0 || d.Uncertain != (d.Pos.Record == 3) {
			t.Errorf("letter %+v", d)
		}
	}
}

// restGivenUp: a rest may be halved and given up as any batch, and a rejected
// arrival's rest takes its own records along and no others.
func restGivenUp(t *testing.T, d Driver) {
	w := newWorld(t, d)
	id := w.begun("f")
	recs := w.judge(id, 1, "a", "b", "c", "d", "e", "f")
	whole := w.claim(id, recs).Batches[0]
	left := rest("a", recs[0], recs[2], recs[3], recs[5])
	w.settle(ingest.Settlement{Batch: whole, State: ingest.BatchMixed, Outcomes: packed("FNFFNF"), Rest: left})
	one, two := rest("a", recs[0], recs[2]), rest("a", recs[3], recs[5])
	w.settle(ingest.Settlement{Batch: left, State: ingest.BatchSplit, Halves: [2]*ingest.Batch{one, two}})
	w.crash()
	b := w.begin(id).Open[0].Batches
	if len(b) != 2 || !slices.Equal(b[0].Members, packed("N?N")) || !slices.Equal(b[1].Members, packed("N?N")) {
		t.Fatalf("halves %+v", b)
	}
	up := letters("a", "given up", 1, 3)
	up[0].Uncertain, up[1].Uncertain = true, true
	w.settle(ingest.Settlement{Batch: b[0], State: ingest.BatchGivenUp, Uncertain: true, Dead: up})
	w.check(w.Hold(w.ctx(), id, "odd"))
	got, err := w.End(w.ctx(), id, ingest.Ending{State: ingest.Failed, Error: "rejected"})
	w.check(err)
	w.counts(got.Counts, ingest.Counts{Records: 6, Delivered: 2, Dead: 4})
	w.balanced()
	g, list, err := w.GivenUp(w.ctx(), one.ID)
	w.check(err)
	if len(list) != 2 || list[0].Batch != one.ID || list[1].Pos.Record != 3 || !slices.Equal(g.Members, packed("N?N")) {
		t.Errorf("given up: %+v, %+v", g, list)
	}
	w.crash()
	w.expect(w.judge(w.begun("g"), 1, "a", "b", "c", "d", "e", "f"), "NDNNDN")
}

// outcomesAreWhole: a settlement record by record that leaves one out, or takes
// one twice, is refused.
func outcomesAreWhole(t *testing.T, d Driver) {
	w := newWorld(t, d)
	id := w.begun("f")
	recs := w.judge(id, 1, "a", "b", "a", "c", "d")
	w.expect(recs, "NNFNN")
	b := w.claim(id, recs).Batches[0]
	for name, s := range map[string]ingest.Settlement{
		"none":                     {},
		"too few":                  {Outcomes: packed("NN?N")},
		"too many":                 {Outcomes: packed("NN?NNN")},
		"one left out":             {Outcomes: packed("NN??N")},
		"one that is not in it":    {Outcomes: packed("NNNNN")},
		"filtered":                 {Outcomes: packed("NN?fN")},
		"a verdict that is none":   {Outcomes: ingest.Verdicts{4<<3 | 7, 1<<3 | 1}},
		"death without a letter":   {Outcomes: packed("NN?NX")},
		"another's letter":         {Outcomes: packed("NN?NX"), Dead: letters("a", "no", 4)},
		"a letter too many":        {Outcomes: packed("NN?NX"), Dead: letters("a", "no", 5, 5)},
		"a letter of a living one": {Outcomes: packed("NN?NN"), Dead: letters("a", "no", 5)},
		"no rest":                  {Outcomes: packed("NN?NF")},
		"a rest of another":        {Outcomes: packed("NN?NF"), Rest: rest("a", recs[3])},
		"a rest too large":         {Outcomes: packed("NN?NF"), Rest: rest("a", recs[3], recs[4])},
		"a rest of nothing":        {Outcomes: packed("NN?NN"), Rest: rest("a", recs[4])},
	} {
		s.Batch, s.State = b, ingest.BatchMixed
		if err := wait(func(done func(error)) { w.Settle(&s, done) }); err == nil {
			t.Errorf("a settlement with %s was taken", name)
		}
	}
	// It can be settled once.
	ok := ingest.Settlement{Batch: b, State: ingest.BatchMixed, Outcomes: packed("NN?NF"), Rest: rest("a", recs[4])}
	again := ingest.Settlement{Batch: b, State: ingest.BatchMixed, Outcomes: packed("NN?NF"), Rest: rest("a", recs[4])}
	first, second := make(chan error, 1), make(chan error, 1)
	w.Settle(&ok, func(err error) { first <- err })
	w.Settle(&again, func(err error) { second <- err })
	w.check(<-first)
	if err := <-second; err == nil {
		t.Error("it was settled twice")
	}
	if open := w.OpenClaims(id)[0].Batches; len(open) != 1 || open[0].ID != ok.Rest.ID {
		t.Fatalf("open %+v", open)
	}
	w.delivered(ok.Rest)
	w.counts(w.end(id).Counts, ingest.Counts{Records: 5, Delivered: 4, Duplicate: 1})
	w.balanced()
}
