package pipeline

import (
	"testing"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/spool"
)

func spanAt(index int, first, last int64) ingest.Span {
	return ingest.Span{Index: index, First: first, Last: last, Event: &ingest.Event{At: time.Unix(1, 0), Header: map[string]string{"x": "y"}}}
}

// TestIndex: which event records are of, also where events hold none and where
// one goes on over several chunks.
func TestIndex(t *testing.T) {
	x := &index{}
	x.add([]ingest.Span{spanAt(1, 1, 2), spanAt(2, 3, 2), spanAt(3, 3, 4)})
	x.add([]ingest.Span{spanAt(3, 3, 9), spanAt(4, 10, 10)})
	x.add([]ingest.Span{spanAt(3, 3, 5), spanAt(4, 10, 10)}) // a later pass over the same
	for _, want := range []struct {
		first, last int64
		event       int
	}{{1, 1, 1}, {1, 2, 1}, {2, 3, 0}, {3, 9, 3}, {4, 8, 3}, {9, 10, 0}, {10, 10, 4}, {11, 11, 0}} {
		if got := x.of(want.first, want.last); got != want.event {
			t.Errorf("records %d to %d are of event %d, want %d", want.first, want.last, got, want.event)
		}
	}
	all := x.all()
	if len(all) != 4 || all[2].Last != 9 || all[0].Event.Header != nil {
		t.Errorf("%+v", all)
	}
}

// TestRequestOfEvents: a request says whose its records are where they are of
// one event, and of no arrival where they are of several.
func TestRequestOfEvents(t *testing.T) {
	x := &index{}
	x.add([]ingest.Span{spanAt(1, 1, 2), spanAt(2, 3, 4)})
	for _, want := range []struct {
		first, last int64
		events      *index
		arrival     int64
		event       int
	}{{1, 2, x, 7, 1}, {4, 4, x, 7, 2}, {2, 3, x, 0, 0}, {2, 3, nil, 7, 0}} {
		l := &load{
			Batch: &ingest.Batch{First: want.first, Last: want.last}, env: &spool.Envelope{},
			subject: &subject{id: 7, events: want.events},
		}
		if r := l.request("p"); r.Arrival != want.arrival || r.Event != want.event {
			t.Errorf("records %d to %d: arrival %d, event %d", want.first, want.last, r.Arrival, r.Event)
		}
	}
}
