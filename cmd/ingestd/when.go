package main

import (
	"strconv"
	"strings"
	"time"
)

// parseWhen reads a moment as people say it: RFC 3339, a date with or without
// a time in the local zone, a time of today, or how long ago: 90s, 15m, 2h,
// 3d, 2w.
func parseWhen(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, nil
		}
	}
	for _, layout := range []string{"15:04", "15:04:05"} {
		if t, err := time.Parse(layout, s); err == nil {
			y, m, d := now.Date()
			return time.Date(y, m, d, t.Hour(), t.Minute(), t.Second(), 0, now.Location()), nil
		}
	}
	switch s {
	case "now":
		return now, nil
	case "today":
		y, m, d := now.Date()
		return time.Date(y, m, d, 0, 0, 0, 0, now.Location()), nil
	case "yesterday":
		y, m, d := now.Date()
		return time.Date(y, m, d-1, 0, 0, 0, 0, now.Location()), nil
	}
	if d, ok := ago(s); ok {
		return now.Add(-d), nil
	}
	return time.Time{}, usage("%q is no time: say 2026-03-05, \"2026-03-05 06:00\", 06:00, 2h, 3d, or RFC 3339", s)
}

func ago(s string) (time.Duration, bool) {
	if d, err := time.ParseDuration(s); err == nil {
		return d, d >= 0
	}
	for unit, length := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if n, found := strings.CutSuffix(s, unit); found {
			if v, err := strconv.ParseUint(n, 10, 16); err == nil {
				return time.Duration(v) * length, true
			}
		}
	}
	return 0, false
}

// until reads a moment that lies ahead: a duration counts from now on.
func parseUntil(s string, now time.Time) (time.Time, error) {
	if d, ok := ago(s); ok && s != "" {
		return now.Add(d), nil
	}
	return parseWhen(s, now)
}
