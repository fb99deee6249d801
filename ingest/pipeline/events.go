package pipeline

import (
	"context"
	"log/slog"
	"slices"
	"sort"
	"sync"

	"ingestd/ingest"
)

// An index knows which records of a bundle came out of which event. Batches ask
// it, passes fill it: an event is there before its records are in a batch.
type index struct {
	mu    sync.Mutex
	spans []ingest.Span
}

// add notes what a chunk holds.
func (x *index) add(spans []ingest.Span) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, s := range spans {
		switch n := len(x.spans); {
		case s.Index == n+1:
			// A bundle may hold thousands: their headers are not kept.
			s.Event = &ingest.Event{At: s.Event.At, ID: s.Event.ID, Name: s.Event.Name}
			x.spans = append(x.spans, s)
		case s.Index <= n && s.Last > x.spans[s.Index-1].Last:
			x.spans[s.Index-1].Last = s.Last // it went on
		}
	}
}

// of is the place in the bundle of the one event that these records are of; 0
// where they are of several.
func (x *index) of(first, last int64) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	i := sort.Search(len(x.spans), func(i int) bool { return x.spans[i].Last >= first })
	if i == len(x.spans) || x.spans[i].First > first || x.spans[i].Last < last {
		return 0
	}
	return x.spans[i].Index
}

// all are the events that were read.
func (x *index) all() []ingest.Span {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.spans)
}

// bundled reports whether an arrival holds events: it is read as such, and what
// is asked of a file is not asked of it (is its content known, are its first
// records bad).
func bundled(a *ingest.Arrival) bool { return a.Source == ingest.SourceWebhook }

// usual is how loudly the log tells of an arrival with which all is well:
// events come by the thousand.
func usual(a *ingest.Arrival) slog.Level {
	if bundled(a) {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// open reads an arrival.
func (p *Plan) open(ctx context.Context, a *ingest.Arrival, in ingest.Input) (ingest.Reader, error) {
	if bundled(a) {
		return p.OpenBundle(ctx, in)
	}
	return p.Open(ctx, in)
}

// storeSpans keeps where a bundle's events stand, once all of it was read.
func (r *run) storeSpans() error {
	if r.subject.events == nil {
		return nil
	}
	return r.e.o.Ledger.StoreSpans(context.WithoutCancel(r.ctx), r.a.ID, r.subject.events.all())
}

// awaited reports whether somebody waits for what a sink answers to a load.
func (e *Engine) awaited(l *load) bool {
	return e.o.Replies != nil && l.subject.events != nil && l.replay == nil && l.Sink == e.o.Replies.Sink
}

// reply is what a sender that waits is told once a load is settled; nil where
// nobody waits.
func (e *Engine) reply(l *load, ans ingest.Answer) *ingest.Reply {
	if !e.awaited(l) {
		return nil
	}
	return ans.Reply
}

// replied tells who waits that the load is settled.
func (e *Engine) replied(l *load, reply *ingest.Reply) {
	if reply != nil {
		e.o.Replies.Settled(l.subject.id, reply)
	}
}
