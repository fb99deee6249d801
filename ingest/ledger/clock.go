package ledger

import "time"

// A clock tells the time by which keys expire: it runs with the monotonic
// clock from where the ledger last stood. A wall clock that jumps moves it by
// at most maxGap, and only at a start (machines do stand still for weeks).
type clock struct {
	base  time.Time // wall time, plausible
	start time.Time // with monotonic reading
}

const maxGap = 30 * 24 * time.Hour

func newClock(wall, last time.Time) clock {
	base := wall.Round(0)
	if !last.IsZero() {
		if base.Before(last) {
			base = last
		}
		if base.After(last.Add(maxGap)) {
			base = last
		}
	}
	return clock{base: base, start: time.Now()}
}

func (c clock) now() time.Time { return c.base.Add(time.Since(c.start)) }
