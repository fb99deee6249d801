package ledgertest

import (
	"context"
	"slices"
	"testing"
	"time"

	"ingestd/ingest"
)

// A Secretary remembers which reports on arrivals are due.
type Secretary interface {
	ReceiptsDue(ctx context.Context, pipeline string, most int) ([]int64, error)
	Receipt(ctx context.Context, arrival int64) (*ingest.Receipt, error)
	ReceiptNamed(ctx context.Context, pipeline, name string) (bool, error)
	StoreReceipt(ctx context.Context, r *ingest.Receipt, what string) error
}

func (w *world) owed(want ...int64) {
	w.Helper()
	got, err := w.ReceiptsDue(w.ctx(), "p", 100)
	w.check(err)
	if !slices.Equal(got, want) {
		w.Errorf("receipts are due of %v, want %v", got, want)
	}
}

func (w *world) receipt(id int64) *ingest.Receipt {
	w.Helper()
	r, err := w.Receipt(w.ctx(), id)
	w.check(err)
	return r
}

// receipts: a report is owed from the commit that ends its arrival, and owed
// again from the commit of a replay that changes the books; its name was stored
// before it is written. A crash at any of these places loses none.
func receipts(t *testing.T, d Driver) {
	w := newWorld(t, d)
	none, _ := w.dead("no receipt", "x")
	if w.receipt(none) != nil {
		t.Error("a receipt that nobody asked for is owed")
	}
	w.owed()
	id := w.begun("f")
	w.refused(w.claim(id, w.judge(id, 1, "a", "b")).Batches[0], "refused", 1, 2)
	w.owed()
	w.endAs(id, ingest.Ending{State: ingest.Done, Receipt: true})
	w.crash()
	w.owed(id)
	if r := w.receipt(id); r.Pipeline != "p" || r.Name != "" || !r.Due() {
		t.Errorf("%+v", r)
	}

	r := w.receipt(id)
	r.Name = "f.csv"
	w.check(w.StoreReceipt(w.ctx(), r, ""))
	w.crash()
	if r = w.receipt(id); r.Name != "f.csv" || !r.Due() {
		t.Errorf("%+v", r)
	}
	for name, want := range map[string]bool{"f.csv": true, "g.csv": false} {
		if taken, err := w.ReceiptNamed(w.ctx(), "p", name); err != nil || taken != want {
			t.Errorf("%s is taken: %t, %v", name, taken, err)
		}
	}
	if taken, err := w.ReceiptNamed(w.ctx(), "q", "f.csv"); err != nil || taken {
		t.Errorf("another pipeline's: %t, %v", taken, err)
	}

	r.Error = "read-only"
	w.check(w.StoreReceipt(w.ctx(), r, "it failed"))
	w.owed(id)
	by, err := w.Backlog(w.ctx())
	w.check(err)
	if i := slices.IndexFunc(by, func(b ingest.Backlog) bool { return b.Pipeline == "p" }); i < 0 || by[i].Receipts != 1 || by[i].NoReceipt != "read-only" {
		t.Errorf("%+v", by)
	}
	r.Written, r.Error = r.Version, ""
	w.check(w.StoreReceipt(w.ctx(), r, "written"))
	w.owed()

	// A replay that is under way has changed nothing yet.
	w.reopen(id)
	c := replay(id, w.letters(ingest.LetterFilter{Arrival: id})[:1], ingest.New, "a")
	w.commit(c)
	w.owed()
	w.delivered(c.Batches[0])
	w.crash()
	w.owed(id)
	if again := w.receipt(id); again.Name != "f.csv" || again.Version <= r.Version || again.Written != r.Written {
		t.Errorf("%+v after %+v", again, r)
	}
	// What was read before the books moved is not what was written last.
	r = w.receipt(id)
	old := *r
	old.Written = r.Version - 1
	w.check(w.StoreReceipt(w.ctx(), &old, ""))
	w.owed(id)
	r.Written = r.Version
	w.check(w.StoreReceipt(w.ctx(), r, "brought up to date"))
	w.owed()
	var steps []string
	for _, e := range w.arrival(id).Timeline {
		steps = append(steps, e.What)
	}
	for _, want := range []string{"it failed", "written", "dead letters sent again: 1", "brought up to date"} {
		if !slices.Contains(steps, want) {
			t.Errorf("the timeline lacks %q: %q", want, steps)
		}
	}

	// It goes with its arrival.
	_, err = w.Drop(w.ctx(), ids(w.letters(ingest.LetterFilter{})))
	w.check(err)
	for _, a := range []int64{none, id} {
		w.check(w.PutAway(w.ctx(), a, ingest.Disposition{Action: "move"}))
	}
	_, _, err = w.Prune(w.ctx(), w.now.Add(time.Hour), time.Time{})
	w.check(err)
	if w.receipt(id) != nil {
		t.Error("a receipt outlives its arrival")
	}
	w.check(w.StoreReceipt(w.ctx(), r, "too late"))
	w.balanced()
}

func ids(letters []ingest.Letter) (out []int64) {
	for _, l := range letters {
		out = append(out, l.ID)
	}
	return out
}

// letterFilters: by sink, stage and time, and in the order of the records.
func letterFilters(t *testing.T, d Driver) {
	w := newWorld(t, d)
	id := w.begun("f")
	first, second := w.claim(id, w.judge(id, 1, "a"), "a", "b"), w.claim(id, w.judge(id, 2, "b"), "a", "b")
	w.refused(second.Batches[1], "no", 2)
	w.refused(first.Batches[0], "no", 1)
	w.refused(second.Batches[0], "no", 2)
	w.delivered(first.Batches[1])
	w.end(id)
	w.dead("g", "x")
	for _, x := range []struct {
		f    ingest.LetterFilter
		want []int64 // records
	}{
		{ingest.LetterFilter{}, []int64{2, 1, 2, 1}},
		{ingest.LetterFilter{ByRecord: true}, []int64{1, 2, 2, 1}},
		{ingest.LetterFilter{ByRecord: true, Limit: 2}, []int64{1, 2}},
		{ingest.LetterFilter{ByRecord: true, Arrival: id, Sink: "b"}, []int64{2}},
		{ingest.LetterFilter{Sink: "a", Arrival: id}, []int64{1, 2}},
		{ingest.LetterFilter{Stage: ingest.StageDeliver}, []int64{2, 1, 2, 1}},
		{ingest.LetterFilter{Stage: ingest.StageParse}, nil},
		{ingest.LetterFilter{Until: w.now.Add(-time.Hour)}, nil},
		{ingest.LetterFilter{Since: w.now.Add(-time.Hour), Until: w.now.Add(time.Hour)}, []int64{2, 1, 2, 1}},
	} {
		var got []int64
		for _, l := range w.letters(x.f) {
			got = append(got, l.Pos.Record)
		}
		if !slices.Equal(got, x.want) {
			t.Errorf("%+v: records %v, want %v", x.f, got, x.want)
		}
	}
}

// peek: what Judge would say, and nobody leads or is led by it.
func peek(t *testing.T, d Driver) {
	w := newWorld(t, d)
	p, ok := w.Ledger.(interface {
		Peek(scope string, recs []ingest.Judged)
	})
	if !ok {
		t.Fatal("the ledger has no Peek")
	}
	id := w.begun("f")
	w.delivered(w.claim(id, w.judge(id, 1, "known")).Batches[0])
	w.claim(id, w.judge(id, 2, "under way"))
	for range 2 {
		recs := []ingest.Judged{{Key: key("known")}, {Key: key("under way")}, {Key: key("new")}, {}}
		p.Peek("p", recs)
		w.expect(recs, "DFNN")
		if recs[1].Leader != id {
			t.Errorf("led by %d, want %d", recs[1].Leader, id)
		}
	}
	recs := []ingest.Judged{{Key: key("known")}}
	p.Peek("a scope that nobody has", recs)
	w.expect(recs, "N")
	w.expect(w.judge(id, 3, "new"), "N")
}

// largeLetters: records of any size are listed, and all of them.
func largeLetters(t *testing.T, d Driver) {
	w := newWorld(t, d)
	id := w.begun("f")
	const n = 20
	c := &ingest.Claim{Arrival: id, Scope: "p", First: 1, Last: n}
	var v ingest.VerdictList
	for i := range n {
		v.Add(ingest.Dead)
		c.Dead = append(c.Dead, ingest.ClaimFault{Fault: ingest.Fault{
			Pos: position(int64(i) + 1), Stage: ingest.StageParse, Reason: "large", Raw: make([]byte, ingest.MaxRawFault),
		}})
	}
	c.Verdicts = v.Take()
	w.commit(c)
	w.end(id)
	for _, f := range []ingest.LetterFilter{{}, {ByRecord: true}, {Limit: 19}} {
		got := w.letters(f)
		want := n
		if f.Limit > 0 {
			want = f.Limit
		}
		if len(got) != want {
			t.Errorf("%+v: %d letters, want %d", f, len(got), want)
		}
		for i, l := range got {
			if l.Pos.Record != int64(i)+1 || len(l.Raw) != ingest.MaxRawFault {
				t.Errorf("%+v: the %d. is record %d with %d bytes", f, i, l.Pos.Record, len(l.Raw))
			}
		}
	}
}
