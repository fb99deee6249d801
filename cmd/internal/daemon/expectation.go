package daemon

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"ingestd/config"
	"ingestd/ingest"
	"ingestd/ingest/alert"
	"ingestd/ingest/schedule"
)

// An expectation is what a pipeline's `expect` says, and what is known of it.
type expectation struct {
	alert.Expectation

	mu    sync.Mutex
	since time.Time // watched since; zero: not asked yet
	met   time.Time // the deadline that something has come for
}

// newExpectation is nil where nothing is expected.
func newExpectation(p *config.Pipeline) *expectation {
	x := p.Expect
	if x == nil {
		return nil
	}
	daily := schedule.Daily{Days: schedule.Weekdays(x.Days), Minute: x.By.Minute, Zone: x.Zone.Location()}
	by := x.By.String() + " " + x.Zone.String()
	if daily.Days != schedule.Every {
		by += " (" + shortDays(daily.Days) + ")"
	}
	return &expectation{Expectation: alert.Expectation{
		Pipeline: p.Name, By: by, MinRecords: int64(x.MinRecords), Next: daily.Next, Last: daily.Last,
	}}
}

func shortDays(d schedule.Weekdays) string {
	s := d.String()
	return strings.Replace(s, "mon,tue,wed,thu,fri", "mon-fri", 1)
}

// next is the next deadline, or nil.
func (e *expectation) next(now time.Time) *time.Time {
	if e == nil {
		return nil
	}
	return moment(e.Next(now))
}

// A watcher is what the ledger knows for an expectation.
type watcher interface {
	ingest.Query
	ingest.AlertBook
}

// fact says what is late or missing now.
func (e *expectation) fact(ctx context.Context, l watcher, last, now time.Time) (f alert.Fact, ok bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.Due(now)
	if e.since.IsZero() {
		if e.since, err = l.WatchedSince(ctx, e.Pipeline, e.By, now); err != nil {
			return f, false, err
		}
	}
	if p.Deadline.Before(e.since) || e.met.Equal(p.Deadline) {
		return f, false, nil
	}
	if !last.Before(p.From) {
		for a, err := range l.Arrivals(ctx, ingest.ArrivalFilter{Pipeline: e.Pipeline, Since: p.From}) {
			if err != nil {
				return f, false, fmt.Errorf("what arrived in %s: %w", e.Pipeline, err)
			}
			if alert.Counts(&a) {
				e.met = p.Deadline
				return f, false, nil
			}
		}
	}
	return e.Absent(p, last, now), true, nil
}
