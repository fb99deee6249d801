package ledgertest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"ingestd/ingest"
)

// A Clerk follows the events of bundles and what was answered to them.
type Clerk interface {
	ingest.Events
	Reply(ctx context.Context, r ingest.Ref) (*ingest.Reply, error)
	StoreReply(ctx context.Context, r ingest.Ref, reply *ingest.Reply) error
	PruneReplies(ctx context.Context, before time.Time) (int64, error)
	Once(ctx context.Context, name string, fresh func() []byte) ([]byte, error)
}

// bundle takes a bundle up under a number that was reserved for it, and begins
// it.
func (w *world) bundle(name string) int64 {
	w.Helper()
	id, err := w.ReserveArrivals(w.ctx(), 1)
	w.check(err)
	w.acceptBundle(id, name)
	w.begin(id)
	return id
}

func (w *world) acceptBundle(id int64, name string) {
	w.Helper()
	ids, err := w.Accept(w.ctx(), "p", "p", []ingest.Found{{
		ID: id, Source: ingest.SourceWebhook, Name: name, Path: "/events/" + name, Size: 100, ModTime: time.Unix(1700000000, 5), FoundAt: w.now,
	}})
	w.check(err)
	if !slices.Equal(ids, []int64{id}) {
		w.Errorf("accepted as %v, want %d", ids, id)
	}
}

// spans are events of so many records each.
func (w *world) spans(records ...int64) []ingest.Span {
	out := make([]ingest.Span, len(records))
	var last int64
	for i, n := range records {
		out[i] = ingest.Span{
			Index: i + 1, Event: &ingest.Event{At: w.now.Add(time.Duration(i) * time.Second), ID: "evt-" + strings.Repeat("x", i)},
			Size: 10 * n, SHA256: [32]byte{byte(i)}, First: last + 1, Last: last + n,
		}
		last += n
	}
	return out
}

// reservedNumbers: a number that was reserved is given to nothing else, before
// and after a crash, and what was accepted under it is accepted once.
func reservedNumbers(t *testing.T, d Driver) {
	w := newWorld(t, d)
	first, err := w.ReserveArrivals(w.ctx(), 3)
	w.check(err)
	file := w.accept("f")
	if file < first+3 {
		t.Errorf("%d was given to a file, %d to %d are reserved", file, first, first+2)
	}
	w.acceptBundle(first+1, "b")
	w.crash()
	w.acceptBundle(first+1, "b")
	w.acceptBundle(first, "a")
	next, err := w.ReserveArrivals(w.ctx(), 2)
	w.check(err)
	if again := w.accept("g"); next <= file || again <= next+1 {
		t.Errorf("reserved %d after file %d, then a file was given %d", next, file, again)
	}
	list, err := w.Unfinished(w.ctx(), "p")
	w.check(err)
	if len(list) != 4 {
		t.Errorf("%d arrivals, want 4", len(list))
	}
}

// eventBooks: the books of an event are those of its records, whatever became of
// its neighbours, and letters say whose they are.
func eventBooks(t *testing.T, d Driver) {
	w := newWorld(t, d)
	id := w.bundle("b")
	spans := w.spans(1, 0, 3, 1)
	if _, err := w.SpanOf(w.ctx(), ingest.Ref{Arrival: id, Event: 1}); !errors.Is(err, ingest.ErrNotFound) {
		t.Errorf("where an event stands before it was read: %v", err)
	}
	w.claim(id, w.judge(id, 1, "a", "b", "c", "d"))
	w.claim(id, w.judge(id, 5, "e"))
	w.check(w.StoreSpans(w.ctx(), id, spans))
	w.check(w.StoreSpans(w.ctx(), id, w.spans(5))) // a later reading changes nothing
	w.crash()
	running, err := w.Event(w.ctx(), ingest.Ref{Arrival: id, Event: 3})
	w.check(err)
	if running.State != ingest.Running || running.Counts != (ingest.Counts{Records: 3}) {
		t.Errorf("under way: %s %+v", running.State, running.Counts)
	}
	b := w.begin(id)
	w.delivered(b.Open[0].Batches[0])
	w.refused(b.Open[1].Batches[0], "refused", 5)
	w.endAs(id, ingest.Ending{State: ingest.Done})
	for _, want := range []struct {
		event int
		n     ingest.Counts
		died  bool
	}{
		{1, ingest.Counts{Records: 1, Delivered: 1}, false},
		{2, ingest.Counts{}, false},
		{3, ingest.Counts{Records: 3, Delivered: 3}, false},
		{4, ingest.Counts{Records: 1, Dead: 1}, true},
	} {
		r := ingest.Ref{Arrival: id, Event: want.event}
		got, err := w.Event(w.ctx(), r)
		w.check(err)
		if got.Counts != want.n || got.State != ingest.Done || got.Event != want.event {
			t.Errorf("%s: %s %+v, want %+v", r, got.State, got.Counts, want.n)
		}
		died, err := w.EventDied(w.ctx(), r)
		w.check(err)
		if died != want.died {
			t.Errorf("%s died: %t", r, died)
		}
		n := int64(0)
		for l, err := range w.Letters(w.ctx(), ingest.LetterFilter{Arrival: id, Event: want.event}) {
			w.check(err)
			if n++; l.Event != want.event {
				t.Errorf("a letter of %s says %d", r, l.Event)
			}
		}
		if n != want.n.Dead {
			t.Errorf("%s has %d letters, want %d", r, n, want.n.Dead)
		}
	}
	if _, err := w.Event(w.ctx(), ingest.Ref{Arrival: id, Event: 5}); !errors.Is(err, ingest.ErrNotFound) {
		t.Errorf("an event that there is not: %v", err)
	}
	var listed []int
	for a, err := range w.Arrivals(w.ctx(), ingest.ArrivalFilter{Events: true, Limit: 3}) {
		w.check(err)
		listed = append(listed, a.Event)
	}
	if !slices.Equal(listed, []int{4, 3, 2}) {
		t.Errorf("listed %v", listed)
	}
	for row, err := range w.Audit(w.ctx(), "p", id) {
		w.check(err)
		if !row.Balanced {
			t.Errorf("audit: %s", row.Why)
		}
	}
}

// replies: what a target answered is there after a crash, the first one stays,
// and it is forgotten in time. What is kept once stays.
func replies(t *testing.T, d Driver) {
	w := newWorld(t, d)
	id := w.bundle("b")
	r := ingest.Ref{Arrival: id, Event: 1}
	if got, err := w.Reply(w.ctx(), r); got != nil || err != nil {
		t.Errorf("before an answer: %+v, %v", got, err)
	}
	c := w.claim(id, w.judge(id, 1, "a"))
	w.settle(ingest.Settlement{
		Batch: c.Batches[0], State: ingest.BatchDelivered, Attempts: 1, Status: 201,
		Reply: &ingest.Reply{Status: 201, ContentType: "text/plain", Body: []byte("made")},
	})
	w.check(w.StoreReply(w.ctx(), r, &ingest.Reply{Status: 200}))
	key, err := w.Once(w.ctx(), "key", func() []byte { return []byte("one") })
	w.check(err)
	w.crash()
	got, err := w.Reply(w.ctx(), r)
	w.check(err)
	if got == nil || got.Status != 201 || got.ContentType != "text/plain" || string(got.Body) != "made" {
		t.Errorf("after a crash: %+v", got)
	}
	again, err := w.Once(w.ctx(), "key", func() []byte { return []byte("two") })
	w.check(err)
	if string(key) != "one" || string(again) != "one" {
		t.Errorf("kept %q, then %q", key, again)
	}
	for _, x := range []struct {
		before time.Duration
		n      int64
	}{{-time.Hour, 0}, {time.Hour, 1}} {
		n, err := w.PruneReplies(w.ctx(), w.now.Add(x.before))
		w.check(err)
		if n != x.n {
			t.Errorf("pruned %d, want %d", n, x.n)
		}
	}
	if got, err := w.Reply(w.ctx(), r); got != nil || err != nil {
		t.Errorf("after its time: %+v, %v", got, err)
	}
}
