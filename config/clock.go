package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Clock is a time of day. The zero Clock is not set.
type Clock struct {
	Minute int // of the day, 0 to 1,439
	Set    bool
}

func (c Clock) String() string {
	if !c.Set {
		return ""
	}
	return fmt.Sprintf("%02d:%02d", c.Minute/60, c.Minute%60)
}

// Window is a span of the day; To before From goes over midnight.
type Window struct{ From, To Clock }

// Has reports whether the window is open at a time of day.
func (w Window) Has(c Clock) bool {
	if w.From.Minute < w.To.Minute {
		return w.From.Minute <= c.Minute && c.Minute < w.To.Minute
	}
	return w.From.Minute <= c.Minute || c.Minute < w.To.Minute
}

func (w Window) String() string {
	if !w.From.Set {
		return ""
	}
	return w.From.String() + "-" + w.To.String()
}

// Weekdays is a set of days, bit 0 is Sunday, as in time.Weekday.
type Weekdays uint8

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

// Zone is a time zone by its IANA name. The zero Zone is UTC.
type Zone struct{ loc *time.Location }

// Location is the zone for package time; never nil.
func (z Zone) Location() *time.Location {
	if z.loc == nil {
		return time.UTC
	}
	return z.loc
}

func (z Zone) String() string { return z.Location().String() }

func parseClock(s string) (Clock, error) {
	bad := errors.New("no time of day; write one like \"06:00\"")
	h, m, ok := strings.Cut(s, ":")
	if !ok || len(h) < 1 || len(h) > 2 || len(m) != 2 {
		return Clock{}, bad
	}
	hour, err1 := strconv.ParseUint(h, 10, 8)
	minute, err2 := strconv.ParseUint(m, 10, 8)
	if err1 != nil || err2 != nil || hour > 23 || minute > 59 {
		return Clock{}, bad
	}
	return Clock{Minute: int(hour)*60 + int(minute), Set: true}, nil
}

func parseWindow(s string) (Window, error) {
	bad := errors.New("no span of the day; write one like \"22:00-05:00\"")
	from, to, ok := strings.Cut(s, "-")
	if !ok {
		return Window{}, bad
	}
	f, err1 := parseClock(strings.TrimSpace(from))
	t, err2 := parseClock(strings.TrimSpace(to))
	if err1 != nil || err2 != nil {
		return Window{}, bad
	}
	if f == t {
		return Window{}, errors.New("begins and ends at the same time")
	}
	return Window{f, t}, nil
}

func parseWeekday(s string) (time.Weekday, bool) {
	s = strings.ToLower(strings.TrimSpace(s))
	for d := time.Sunday; d <= time.Saturday; d++ {
		if name := strings.ToLower(d.String()); s == name || s == name[:3] {
			return d, true
		}
	}
	return 0, false
}

// parseWeekdays reads mon-fri, "mon,wed,fri", sun.
func parseWeekdays(s string) (Weekdays, error) {
	var days Weekdays
	for part := range strings.SplitSeq(s, ",") {
		from, to, ranged := strings.Cut(part, "-")
		f, ok := parseWeekday(from)
		t := f
		if ok && ranged {
			t, ok = parseWeekday(to)
		}
		if !ok {
			return 0, errors.New("names no days of the week; write them like mon-fri or mon,wed,fri")
		}
		for d := f; ; d = (d + 1) % 7 {
			days |= 1 << d
			if d == t {
				break
			}
		}
	}
	return days, nil
}

func parseZone(s string) (Zone, error) {
	if s == "" || s == "Local" {
		return Zone{}, errors.New("no time zone; write one like Europe/Berlin or UTC")
	}
	loc, err := time.LoadLocation(s)
	if err != nil {
		return Zone{}, errors.New("no known time zone; write one like Europe/Berlin or UTC")
	}
	return Zone{loc}, nil
}

// Interval is every N days or weeks, or every Span.
type Interval struct {
	Days int           // calendar days; 0 where Span is meant
	Span time.Duration // exact time
}

func (i Interval) String() string {
	switch {
	case i.Days > 0 && i.Days%7 == 0:
		return fmt.Sprintf("%d weeks", i.Days/7)
	case i.Days > 0:
		return fmt.Sprintf("%d days", i.Days)
	case i.Span > 0:
		return formatDuration(i.Span)
	}
	return ""
}

// parseInterval reads "2 weeks", "1 day", day, 90m.
func parseInterval(s string) (Interval, error) {
	words := strings.Fields(s)
	n := uint64(1)
	if len(words) == 2 {
		var err error
		if n, err = strconv.ParseUint(words[0], 10, 16); err != nil || n == 0 || n > 3660 {
			return Interval{}, errors.New("no interval; write one like 2 weeks, 1 day or 90m")
		}
		words = words[1:]
	}
	if len(words) == 1 {
		switch words[0] {
		case "day", "days":
			return Interval{Days: int(n)}, nil
		case "week", "weeks":
			return Interval{Days: 7 * int(n)}, nil
		}
	}
	d, err := parseDuration(strings.TrimSpace(s))
	if err != nil || d <= 0 {
		return Interval{}, errors.New("no interval; write one like 2 weeks, 1 day or 90m")
	}
	return Interval{Span: d}, nil
}

// When is a time of day, on one weekday where Weekday is not nil.
type When struct {
	Clock   Clock
	Weekday *time.Weekday
}

func (w When) String() string {
	if w.Weekday == nil {
		return w.Clock.String()
	}
	return strings.ToLower(w.Weekday.String()[:3]) + " " + w.Clock.String()
}

// parseWhen reads "06:00", "mon 06:00".
func parseWhen(s string) (When, error) {
	bad := errors.New("no time; write one like \"06:00\" or \"mon 06:00\"")
	var w When
	words := strings.Fields(s)
	if len(words) == 2 {
		d, ok := parseWeekday(words[0])
		if !ok {
			return When{}, bad
		}
		w.Weekday, words = &d, words[1:]
	}
	if len(words) != 1 {
		return When{}, bad
	}
	var err error
	if w.Clock, err = parseClock(words[0]); err != nil {
		return When{}, bad
	}
	return w, nil
}

func parseDate(s string) (time.Time, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return time.Time{}, errors.New("is no date; write one like 2026-01-05")
	}
	return t, nil
}
