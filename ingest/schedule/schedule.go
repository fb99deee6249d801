package schedule

import (
	"errors"
	"fmt"
	"time"
)

// Options says when something is due: every so many days at a time of day,
// every span, or by a cron expression.
type Options struct {
	Days    int           // every so many calendar days; with Weekday, a multiple of 7
	Span    time.Duration // or every so much exact time, at least a second
	Minute  int           // of the day, 0 to 1,439; where Span counts from, too
	Weekday *time.Weekday // nil: the weekday of From
	From    time.Time     // the first day; only its date counts. Zero: since ever, counted from Monday, 2024-01-01
	Cron    string        // or five fields, or @daily and the like, in place of Days and Span
	Zone    *time.Location
}

// A Schedule says when something is due. It does not change; it is safe for
// concurrent use.
type Schedule struct {
	next func(after time.Time) time.Time
}

// leastSpan is the shortest Span.
const leastSpan = time.Second

// New makes a schedule. Errors begin with the config key that is wrong.
func New(o Options) (*Schedule, error) {
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	if o.Minute < 0 || o.Minute >= 24*60 {
		return nil, errors.New("at: is no time of day")
	}
	switch {
	case o.Cron != "":
		if o.Days != 0 || o.Span != 0 {
			return nil, errors.New("cron: a schedule has `every` or `cron`, not both")
		}
		next, err := parseCron(o.Cron, o.Zone)
		if err != nil {
			return nil, fmt.Errorf("cron: %w", err)
		}
		return &Schedule{next: from(o, next)}, nil
	case o.Days > 0:
		if o.Weekday != nil && o.Days%7 != 0 {
			return nil, errors.New("at: names a weekday, which needs `every` in weeks")
		}
		return &Schedule{next: days(o)}, nil
	case o.Span != 0:
		if o.Span < leastSpan {
			return nil, fmt.Errorf("every: is too short; the least is %v", leastSpan)
		}
		if o.Weekday != nil {
			return nil, errors.New("at: names a weekday, which needs `every` in weeks")
		}
		return &Schedule{next: spans(o)}, nil
	}
	return nil, errors.New("a schedule needs `every` or `cron`")
}

// Next is the first time after after at which it is due; the zero time where
// there is none.
func (s *Schedule) Next(after time.Time) time.Time { return s.next(after) }

// epoch is a Monday, from which intervals count that name no first day.
func epoch() time.Time { return time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC) }

// days is every o.Days days.
func days(o Options) func(time.Time) time.Time {
	first := o.From
	if first.IsZero() {
		first = epoch()
	}
	anchor := dayNumber(first)
	if o.Weekday != nil {
		anchor += (int(*o.Weekday) - int(first.Weekday()) + 7) % 7
	}
	return func(after time.Time) time.Time {
		n := floorDiv(dayNumber(after.In(o.Zone))-anchor, o.Days) - 1
		if !o.From.IsZero() {
			n = max(n, 0)
		}
		for ; ; n++ {
			d := time.Unix(int64(anchor+n*o.Days)*86400, 0).UTC()
			if t := wall(d.Year(), d.Month(), d.Day(), o.Minute/60, o.Minute%60, o.Zone); t.After(after) {
				return t
			}
		}
	}
}

// spans is every o.Span of exact time.
func spans(o Options) func(time.Time) time.Time {
	first := o.From
	if first.IsZero() {
		first = epoch()
	}
	anchor := wall(first.Year(), first.Month(), first.Day(), o.Minute/60, o.Minute%60, o.Zone)
	return func(after time.Time) time.Time {
		gone := after.Sub(anchor) // at most some 292 years either way
		n := gone / o.Span
		if gone%o.Span < 0 {
			n--
		}
		if n < 0 && !o.From.IsZero() {
			return anchor
		}
		return anchor.Add(n * o.Span).Add(o.Span)
	}
}

// from lets nothing be due before the day that o names.
func from(o Options, next func(time.Time) time.Time) func(time.Time) time.Time {
	if o.From.IsZero() {
		return next
	}
	first := wall(o.From.Year(), o.From.Month(), o.From.Day(), 0, 0, o.Zone).Add(-1)
	return func(after time.Time) time.Time {
		if after.Before(first) {
			after = first
		}
		return next(after)
	}
}

func floorDiv(a, b int) int {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
