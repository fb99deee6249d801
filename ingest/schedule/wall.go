// Package schedule says when something is due, by calendars of people: every
// two weeks on Monday at six in Berlin, mon-fri by 06:00, a cron expression.
//
// Times of day are those of a clock on the wall in the schedule's zone. A time
// that the clock skips in spring counts at the instant after the gap; one that
// it shows twice in autumn counts once, the first time. Exact spans (every 90m)
// and cron expressions for every hour follow real time and know neither.
package schedule

import "time"

// wall is the instant at which a clock on the wall of zone shows this minute of
// this day. The day is any time.Time's date; its zone does not matter.
func wall(year int, month time.Month, day, hour, minute int, zone *time.Location) time.Time {
	t := time.Date(year, month, day, hour, minute, 0, 0, zone)
	want := time.Date(year, month, day, hour, minute, 0, 0, time.UTC)
	// time.Date does not say which of two instants it takes, nor which side of
	// a gap. The stretches of constant offset around t tell.
	start, end := t.ZoneBounds()
	inside := []time.Time{t}
	if !start.IsZero() {
		inside = append([]time.Time{start.Add(-1)}, inside...)
	}
	if !end.IsZero() {
		inside = append(inside, end)
	}
	for _, in := range inside { // the earliest first
		_, offset := in.Zone()
		at := want.Add(-time.Duration(offset) * time.Second)
		from, to := in.ZoneBounds()
		if (from.IsZero() || !at.Before(from)) && (to.IsZero() || at.Before(to)) {
			return at.In(zone)
		}
	}
	if asUTC(t).After(want) {
		return start.In(zone)
	}
	return end.In(zone)
}

// asUTC is what t's clock shows, as if it were UTC: a time to calculate with in
// days and hours that all are equally long.
func asUTC(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// dayNumber counts days on the calendar.
func dayNumber(t time.Time) int {
	return int(time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC).Unix() / 86400)
}
