package schedule

import (
	"strings"
	"time"
)

// Weekdays is a set of days of the week, bit 0 is Sunday, as in time.Weekday.
type Weekdays uint8

// Every is all days.
const Every Weekdays = 1<<7 - 1

// Has reports whether d is in the set.
func (w Weekdays) Has(d time.Weekday) bool { return w&(1<<d) != 0 }

func (w Weekdays) String() string {
	var days []string
	for i := range 7 {
		if d := time.Weekday((i + 1) % 7); w.Has(d) {
			days = append(days, strings.ToLower(d.String()[:3]))
		}
	}
	return strings.Join(days, ",")
}

// Daily is a time of day on some days of the week.
type Daily struct {
	Days   Weekdays // zero: every day
	Minute int      // of the day, 0 to 1,439
	Zone   *time.Location
}

// Next is the first such time after after.
func (d Daily) Next(after time.Time) time.Time { return d.look(after, 1) }

// Last is the last such time at or before now.
func (d Daily) Last(now time.Time) time.Time { return d.look(now, -1) }

func (d Daily) look(at time.Time, step int) time.Time {
	days, zone := d.Days&Every, d.Zone
	if days == 0 {
		days = Every
	}
	if zone == nil {
		zone = time.UTC
	}
	for n := dayNumber(at.In(zone)) - step; ; n += step {
		day := time.Unix(int64(n)*86400, 0).UTC()
		if !days.Has(day.Weekday()) {
			continue
		}
		t := wall(day.Year(), day.Month(), day.Day(), d.Minute/60, d.Minute%60, zone)
		if step > 0 && t.After(at) || step < 0 && !t.After(at) {
			return t
		}
	}
}
