package schedule

import "time"

// A TimeOfDay is a time on the wall clock, in minutes since midnight.
type TimeOfDay int

// on is the instant at which a day's clock shows t: the first such, and where it
// shows none, the end of the hour that was skipped.
func (t TimeOfDay) on(year int, month time.Month, day int, zone *time.Location) time.Time {
	return wall(year, month, day, int(t)/60, int(t)%60, zone)
}

// Hours say when deliveries are made: within a window of each day, or from a
// time of each day on what had arrived by then, or both.
type Hours struct {
	// At, where HasAt is set: what arrived before that time of a day goes out
	// from then on; what arrives later waits for the next day's.
	At    TimeOfDay
	HasAt bool
	// From and To bound the window; To before From goes over midnight, the same
	// of both is no bound.
	From, To TimeOfDay
	Zone     *time.Location // nil: UTC
}

func (h Hours) zone() *time.Location {
	if h.Zone == nil {
		return time.UTC
	}
	return h.Zone
}

// Opens returns when something that arrived then may go out, now or later; now
// itself where that is so already. A zero arrived is long ago.
func (h Hours) Opens(arrived, now time.Time) time.Time {
	at := now
	if h.HasAt && !arrived.IsZero() {
		if due := h.next(h.At, arrived); due.After(at) {
			at = due
		}
	}
	if h.From == h.To {
		return at
	}
	// Yesterday's window may reach into today; today's may be over.
	for day := -1; ; day++ {
		from, to := h.window(at, day)
		switch {
		case at.Before(from):
			return from
		case at.Before(to):
			return at
		}
	}
}

// next is the first time at or after t at which a day's clock shows tod.
func (h Hours) next(tod TimeOfDay, t time.Time) time.Time {
	y, m, d := t.In(h.zone()).Date()
	for day := 0; ; day++ {
		if at := tod.on(y, m, d+day, h.zone()); !at.Before(t) {
			return at
		}
	}
}

// window is that of the day so many days after t's.
func (h Hours) window(t time.Time, days int) (from, to time.Time) {
	y, m, d := t.In(h.zone()).Date()
	from = h.From.on(y, m, d+days, h.zone())
	length := h.To - h.From
	if h.To > h.From {
		to = h.To.on(y, m, d+days, h.zone())
	} else {
		to = h.To.on(y, m, d+days+1, h.zone())
		length += 24 * 60
	}
	if !to.After(from) { // all of it was skipped
		to = from.Add(time.Duration(length) * time.Minute)
	}
	return from, to
}

// Open is how much of the time between two instants lies within windows.
func (h Hours) Open(from, to time.Time) (sum time.Duration) {
	if h.From == h.To {
		return max(0, to.Sub(from))
	}
	for day := -1; ; day++ {
		opens, closes := h.window(from, day)
		if !opens.Before(to) {
			return sum
		}
		if opens.Before(from) {
			opens = from
		}
		if closes.After(to) {
			closes = to
		}
		sum += max(0, closes.Sub(opens))
	}
}
