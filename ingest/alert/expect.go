package alert

import (
	"fmt"
	"slices"
	"time"

	"ingestd/ingest"
)

// An Expectation is what should arrive in a pipeline, and by when.
type Expectation struct {
	Pipeline   string
	By         string // the time as people wrote it: "06:00 Europe/Berlin, mon-fri"
	MinRecords int64
	Next       func(after time.Time) time.Time // the first deadline after a time
	Last       func(now time.Time) time.Time   // the last one at or before it
}

// A Period is the time in which an arrival counts for one deadline: from half
// way after the one before to half way to the next. So one that comes at seven
// is the late one of today, and one that comes at eight in the evening is early
// for tomorrow.
type Period struct{ From, Deadline, To time.Time }

func (e *Expectation) period(deadline time.Time) Period {
	before, after := e.Last(deadline.Add(-1)), e.Next(deadline)
	return Period{deadline.Add(-deadline.Sub(before) / 2), deadline, deadline.Add(after.Sub(deadline) / 2)}
}

// Due is the period whose deadline has passed last. It is open until To.
func (e *Expectation) Due(now time.Time) Period { return e.period(e.Last(now)) }

// Counts reports whether an arrival is one that was expected: content that came
// before, or that a person took up again, is none.
func Counts(a *ingest.Arrival) bool { return a.Replay == nil && a.State != ingest.DuplicateState }

// Absent is about a deadline of p that passed with nothing since p.From: late
// while its period lasts, then missing until something comes. last is when something came
// before, and may be zero.
func (e *Expectation) Absent(p Period, last, now time.Time) Fact {
	before := ""
	if !last.IsZero() {
		before = "; the last file came on " + minute(last)
	}
	f := Fact{
		Kind: Late, Severity: Warning, Pipelines: []string{e.Pipeline}, Since: p.Deadline, Mark: p.Deadline.Unix(),
		Message: fmt.Sprintf("%s: nothing has arrived that was expected by %s%s", e.Pipeline, e.By, before),
		Action:  fmt.Sprintf("is it on its way? Ask the partner; look whether the source works: ingestd check --connect; and what came: ingestd arrivals -p %s", e.Pipeline),
	}
	if !now.Before(p.To) {
		f.Kind, f.Severity = Missing, Critical
		f.Message = fmt.Sprintf("%s: the file that was expected by %s on %s never came%s", e.Pipeline, e.By, day(p.Deadline), before)
		f.Action = fmt.Sprintf("ask the partner for the file of %s; what came: ingestd arrivals -p %s", day(p.Deadline), e.Pipeline)
	}
	return f
}

// EmptyFact is about an arrival with fewer records than expected; ok is false
// where it has enough.
func (e *Expectation) EmptyFact(a *ingest.Arrival) (f Fact, ok bool) {
	if a.Counts.Records >= e.MinRecords {
		return Fact{}, false
	}
	return Fact{
		Kind: Empty, Severity: Warning, Pipelines: []string{e.Pipeline}, Arrival: a.ID, Name: a.Name, Since: a.FinishedAt, Mark: a.ID,
		Message: fmt.Sprintf("%s: the file %s holds %s; at least %d %s expected", e.Pipeline, name(a.Name), some(a.Counts.Records, "record", "records"), e.MinRecords,
			map[bool]string{true: "is", false: "are"}[e.MinRecords == 1]),
		Action: fmt.Sprintf("ask the partner whether that is right; what was read: ingestd show %d", a.ID),
	}, true
}

// What counts as usual.
const (
	usualLeast = 5  // earlier arrivals that are needed to know
	usualMost  = 20 // that are looked at
	farOff     = 5  // so many times more, or less, is told
	farBy      = 10 // records that it must differ by besides
)

// A Usual remembers how many records the last arrivals of a pipeline had.
type Usual struct{ records []int64 }

// Add notes an arrival that ended well.
func (u *Usual) Add(records int64) {
	if len(u.records) == usualMost {
		u.records = slices.Delete(u.records, 0, 1)
	}
	u.records = append(u.records, records)
}

// Judge is about an arrival whose number of records is far from the median of
// those before it; ok is false where it is not, or too few are known.
func (u *Usual) Judge(a *ingest.Arrival) (f Fact, ok bool) {
	if len(u.records) < usualLeast {
		return Fact{}, false
	}
	sorted := slices.Sorted(slices.Values(u.records))
	usual, n := sorted[len(sorted)/2], a.Counts.Records
	if n <= usual*farOff && n*farOff >= usual || n-usual < farBy && usual-n < farBy {
		return Fact{}, false
	}
	return Fact{
		Kind: Size, Severity: Warning, Pipelines: []string{a.Pipeline}, Arrival: a.ID, Name: a.Name, Since: a.FinishedAt, Mark: a.ID,
		Message: fmt.Sprintf("%s: the file %s holds %s; the %d before it usually had about %d", a.Pipeline, name(a.Name), some(n, "record", "records"), len(sorted), usual),
		Action:  fmt.Sprintf("ask the partner whether that is right; what was read: ingestd show %d", a.ID),
	}, true
}
