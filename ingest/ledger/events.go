package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sort"

	"ingestd/ingest"
)

// The books of an event are those of its range of records. They are not kept:
// they follow from the bundle's claims and dead letters when somebody asks.

// expand is a bundle's events, the newest first, of those that are asked for.
// What is itself a replay, and a bundle that was not read yet, stays as it is.
func (l *Ledger) expand(ctx context.Context, a ingest.Arrival, state ingest.State) ([]ingest.Arrival, error) {
	if a.Source != ingest.SourceWebhook || a.Replay != nil {
		return []ingest.Arrival{a}, nil
	}
	events, err := l.events(ctx, &a)
	if err != nil {
		return nil, err
	}
	if events == nil {
		return []ingest.Arrival{a}, nil
	}
	slices.Reverse(events)
	return slices.DeleteFunc(events, func(e ingest.Arrival) bool { return state != "" && e.State != state }), nil
}

// events are a bundle's, with their books; nil where they are not known (yet).
func (l *Ledger) events(ctx context.Context, a *ingest.Arrival) ([]ingest.Arrival, error) {
	spans, err := l.Spans(ctx, a.ID)
	if err != nil || spans == nil {
		return nil, err
	}
	books, err := l.eventBooks(ctx, a, spans)
	if err != nil {
		return nil, fmt.Errorf("add up the events of arrival %d: %w", a.ID, err)
	}
	out := make([]ingest.Arrival, len(spans))
	for i := range spans {
		out[i] = event(a, &spans[i], books[i])
	}
	return out, nil
}

// event is an event as an arrival.
func event(a *ingest.Arrival, s *ingest.Span, n ingest.Counts) ingest.Arrival {
	e := *a
	e.Event, e.EventID, e.FoundAt, e.Size, e.SHA256, e.Counts = s.Index, s.Event.ID, s.Event.At, s.Size, s.SHA256[:], n
	if s.Event.Name != "" {
		e.Name = s.Event.Name
	}
	switch {
	case n.Balanced():
		if e.State == ingest.Running || e.State == ingest.Failed {
			e.State, e.Error = ingest.Done, ""
		}
		if e.State == ingest.Done && n.Records > 0 {
			e.Error = "" // another event's
		}
	case e.State == ingest.Done:
		e.State = ingest.Running
	}
	return e
}

// eventBooks adds up what became of each event's records. Those without an
// outcome count among Records alone.
func (l *Ledger) eventBooks(ctx context.Context, a *ingest.Arrival, spans []ingest.Span) ([]ingest.Counts, error) {
	books := make([]ingest.Counts, len(spans))
	for i := range spans {
		books[i].Records = spans[i].Last - spans[i].First + 1
	}
	if n := a.Counts; a.State == ingest.Done && n.Delivered == n.Records {
		for i := range books {
			books[i].Delivered = books[i].Records
		}
		return books, nil
	}
	dead, err := l.recordSet(ctx, `SELECT DISTINCT record FROM dead WHERE arrival = ? AND state <> 'replayed' ORDER BY record`, a.ID)
	if err != nil {
		return nil, err
	}
	waiting, err := l.recordSet(ctx, "SELECT record FROM waiting WHERE arrival = ? ORDER BY record", a.ID)
	if err != nil {
		return nil, err
	}
	err = l.scan(ctx, "SELECT first, state, verdicts FROM claims WHERE arrival = ? AND replay = 0 ORDER BY first", func(r *sql.Rows) error {
		var first int64
		var state string
		var verdicts ingest.Verdicts
		if err := r.Scan(&first, &state, &verdicts); err != nil {
			return err
		}
		at := first
		verdicts.All(func(_, run int64, v ingest.Verdict) bool {
			for record := at; record < at+run; record++ {
				i := sort.Search(len(spans), func(i int) bool { return spans[i].Last >= record })
				if i == len(spans) {
					return false
				}
				n := &books[i]
				switch {
				case dead[record]:
					n.Dead++
				case v == ingest.Filtered:
					n.Filtered++
				case v == ingest.Duplicate:
					n.Duplicate++
				case state != "settled" || waiting[record]:
				case v == ingest.Follow:
					n.Duplicate++ // what it waited for was delivered
				default:
					n.Delivered++ // a dead one too, whose letter was replayed
				}
			}
			at += run
			return true
		})
		return nil
	}, a.ID)
	return books, err
}

func (l *Ledger) recordSet(ctx context.Context, query string, arrival int64) (map[int64]bool, error) {
	set := map[int64]bool{}
	return set, l.scan(ctx, query, func(r *sql.Rows) error {
		var record int64
		err := r.Scan(&record)
		set[record] = true
		return err
	}, arrival)
}

// Event implements ingest.Query.
func (l *Ledger) Event(ctx context.Context, r ingest.Ref) (*ingest.ArrivalDetail, error) {
	d, err := l.Arrival(ctx, r.Arrival)
	if err != nil || r.Event == 0 {
		return d, err
	}
	if d.Source != ingest.SourceWebhook || d.Replay != nil {
		return nil, fmt.Errorf("arrival %d holds no events; %s is %w", r.Arrival, r, ingest.ErrNotFound)
	}
	events, err := l.events(ctx, &d.Arrival)
	if err != nil {
		return nil, err
	}
	if events == nil {
		// It was not read yet.
		d.Event, d.Batches = r.Event, nil
		return d, nil
	}
	if r.Event > len(events) {
		return nil, fmt.Errorf("event %s is %w: arrival %d holds %d", r, ingest.ErrNotFound, r.Arrival, len(events))
	}
	span, err := l.SpanOf(ctx, r)
	if err != nil {
		return nil, err
	}
	d.Arrival = events[r.Event-1]
	d.Batches = slices.DeleteFunc(d.Batches, func(b ingest.BatchInfo) bool { return b.Last < span.First || b.First > span.Last })
	d.First, d.Last = span.First, span.Last
	return d, nil
}

// eventsRange narrows a filter of letters to an event's records; false where it
// has none.
func (l *Ledger) eventsRange(ctx context.Context, f *ingest.LetterFilter) (first, last int64, ok bool, err error) {
	if f.Event == 0 {
		return 0, 0, true, nil
	}
	span, err := l.SpanOf(ctx, ingest.Ref{Arrival: f.Arrival, Event: f.Event})
	if errors.Is(err, ingest.ErrNotFound) {
		return 0, 0, false, nil
	}
	return span.First, span.Last, err == nil && span.Last >= span.First, err
}

// namer tells of which event a letter is.
type namer struct {
	l     *Ledger
	spans map[int64][]ingest.Span
}

// maxNamed bounds the bundles that a listing remembers.
const maxNamed = 64

func (n *namer) name(ctx context.Context, d *ingest.Letter) error {
	spans, known := n.spans[d.Arrival]
	if !known {
		var err error
		if spans, err = n.l.Spans(ctx, d.Arrival); err != nil {
			return err
		}
		if n.spans == nil || len(n.spans) == maxNamed {
			n.spans = map[int64][]ingest.Span{}
		}
		n.spans[d.Arrival] = spans
	}
	i := sort.Search(len(spans), func(i int) bool { return spans[i].Last >= d.Pos.Record })
	if i == len(spans) {
		return nil
	}
	d.Event = spans[i].Index
	if name := spans[i].Event.Name; name != "" {
		d.Name = name
	}
	return nil
}
