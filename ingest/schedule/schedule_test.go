package schedule

import (
	"strings"
	"testing"
	"time"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	l, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func at(t testing.TB, s string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestNext(t *testing.T) {
	berlin, monday := zone(t, "Europe/Berlin"), time.Monday
	date := func(s string) time.Time { return at(t, s+"T00:00:00Z") }
	for name, c := range map[string]struct {
		o     Options
		after string
		want  []string // one after the other
	}{
		"two weeks from a Monday": {
			Options{Days: 14, Minute: 360, Weekday: &monday, From: date("2026-01-05"), Zone: berlin},
			"2026-01-01T00:00:00Z",
			[]string{"2026-01-05T06:00:00+01:00", "2026-01-19T06:00:00+01:00"},
		},
		"two weeks over the change of clocks": {
			Options{Days: 14, Minute: 360, Weekday: &monday, From: date("2026-01-05"), Zone: berlin},
			"2026-03-20T00:00:00Z",
			[]string{"2026-03-30T06:00:00+02:00", "2026-04-13T06:00:00+02:00"},
		},
		"the first Monday after a Wednesday": {
			Options{Days: 7, Minute: 0, Weekday: &monday, From: date("2026-01-07"), Zone: time.UTC},
			"2025-01-01T00:00:00Z",
			[]string{"2026-01-12T00:00:00Z", "2026-01-19T00:00:00Z"},
		},
		"daily without a first day, long ago": {
			Options{Days: 1, Minute: 30}, "2001-02-03T00:30:00Z", []string{"2001-02-04T00:30:00Z"},
		},
		"a time that spring skips": {
			Options{Days: 1, Minute: 150, Zone: berlin},
			"2026-03-28T12:00:00Z",
			[]string{"2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"},
		},
		"a time that autumn shows twice": {
			Options{Days: 1, Minute: 150, Zone: berlin},
			"2026-10-24T12:00:00Z",
			[]string{"2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"},
		},
		"a day that was left out": { // Samoa went over the date line
			Options{Days: 1, Minute: 360, Zone: zone(t, "Pacific/Apia")},
			"2011-12-29T20:00:00Z",
			[]string{"2011-12-30T10:00:00Z", "2011-12-30T16:00:00Z", "2011-12-31T16:00:00Z"},
		},
		"90 minutes, exactly": {
			Options{Span: 90 * time.Minute, From: date("2026-03-29"), Zone: berlin},
			"2026-03-01T00:00:00Z",
			[]string{"2026-03-29T00:00:00+01:00", "2026-03-29T01:30:00+01:00", "2026-03-29T04:00:00+02:00"},
		},
		"a span without a first day": {
			Options{Span: time.Hour, Minute: 5}, "2026-03-01T00:05:00Z", []string{"2026-03-01T01:05:00Z", "2026-03-01T02:05:00Z"},
		},
		"a span before the day it counts from": {
			Options{Span: time.Hour, Minute: 5}, "2020-03-01T00:05:00Z", []string{"2020-03-01T01:05:00Z", "2020-03-01T02:05:00Z"},
		},
		"cron, every five minutes, also twice in autumn": {
			Options{Cron: "*/30 * * * *", Zone: berlin},
			"2026-10-25T00:15:00Z",
			[]string{"2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"},
		},
		"cron, a time that spring skips": {
			Options{Cron: "*/20 2 * * *", Zone: berlin},
			"2026-03-28T12:00:00Z",
			[]string{"2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"},
		},
		"cron, a time that autumn shows twice": {
			Options{Cron: "30 2 * * *", Zone: berlin},
			"2026-10-24T12:00:00Z",
			[]string{"2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"},
		},
		"cron, either of two days": {
			Options{Cron: "0 0 13 * fri"},
			"2026-11-01T00:00:00Z",
			[]string{"2026-11-06T00:00:00Z", "2026-11-13T00:00:00Z", "2026-11-20T00:00:00Z"},
		},
		"cron from a day": {
			Options{Cron: "@daily", From: date("2026-05-05"), Zone: berlin},
			"2026-01-01T00:00:00Z",
			[]string{"2026-05-05T00:00:00+02:00", "2026-05-06T00:00:00+02:00"},
		},
		"cron, a leap day": {
			Options{Cron: "0 12 29 2 *"}, "2026-01-01T00:00:00Z", []string{"2028-02-29T12:00:00Z", "2032-02-29T12:00:00Z"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := New(c.o)
			if err != nil {
				t.Fatal(err)
			}
			now := at(t, c.after)
			for _, want := range c.want {
				got := s.Next(now)
				if !got.Equal(at(t, want)) {
					t.Fatalf("after %v comes %v, want %s", now, got, want)
				}
				now = got
			}
		})
	}
}

func TestErrors(t *testing.T) {
	monday := time.Monday
	for name, c := range map[string]struct {
		o    Options
		want string
	}{
		"nothing":       {Options{}, "needs `every` or `cron`"},
		"both":          {Options{Cron: "@daily", Days: 1}, "not both"},
		"weekday":       {Options{Days: 1, Weekday: &monday}, "at: names a weekday"},
		"span, weekday": {Options{Span: time.Hour, Weekday: &monday}, "at: names a weekday"},
		"short":         {Options{Span: time.Millisecond}, "every: is too short"},
		"negative":      {Options{Span: -time.Hour}, "every: is too short"},
		"time of day":   {Options{Days: 1, Minute: 1440}, "at: is no time"},
		"cron":          {Options{Cron: "61 * * * *"}, "cron: is no cron expression"},
		"six fields":    {Options{Cron: "0 0 * * * *"}, "cron: is no cron expression"},
		"every":         {Options{Cron: "@every 1h"}, "cron: is an interval"},
		"zone in cron":  {Options{Cron: "TZ=UTC 0 0 * * *"}, "cron: names a zone"},
		"reboot":        {Options{Cron: "@reboot"}, "cron: is no cron expression"},
		"never":         {Options{Cron: "0 0 30 2 *"}, "cron: never comes"},
		"long":          {Options{Cron: strings.Repeat("0", 300)}, "cron: is longer"},
	} {
		if _, err := New(c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestDaily(t *testing.T) {
	weekdays := Weekdays(0b0111110)
	if weekdays.String() != "mon,tue,wed,thu,fri" {
		t.Fatal(weekdays)
	}
	d := Daily{Days: weekdays, Minute: 360, Zone: zone(t, "Europe/Berlin")}
	saturday := at(t, "2026-03-28T12:00:00Z")
	if got := d.Last(saturday); !got.Equal(at(t, "2026-03-27T06:00:00+01:00")) {
		t.Error("last:", got)
	}
	if got := d.Next(saturday); !got.Equal(at(t, "2026-03-30T06:00:00+02:00")) {
		t.Error("next:", got)
	}
	on := at(t, "2026-03-30T04:00:00Z")
	if got := d.Last(on); !got.Equal(on) {
		t.Error("last, on the dot:", got)
	}
	if got := d.Next(on); !got.Equal(at(t, "2026-03-31T04:00:00Z")) {
		t.Error("next, on the dot:", got)
	}
	if got := (Daily{Minute: 1}).Next(saturday); !got.Equal(at(t, "2026-03-29T00:01:00Z")) {
		t.Error("every day:", got)
	}
}

// What comes next lies ahead, and nothing lies between: any zone, any year.
func FuzzCron(f *testing.F) {
	for _, s := range []string{"*/5 * * * *", "30 2 * * *", "0 0 13 * fri", "@weekly", "0 6 * * 1-5", "0 0 L * *", "5-1 * * * *"} {
		f.Add(s, int64(1774746000))
	}
	berlin := zone(f, "Europe/Berlin")
	f.Fuzz(func(t *testing.T, spec string, unix int64) {
		s, err := New(Options{Cron: spec, Zone: berlin})
		if err != nil {
			return
		}
		now := time.Unix(unix%4102444800, 0)
		for range 5 {
			next := s.Next(now)
			if next.IsZero() {
				return
			}
			if !next.After(now) {
				t.Fatalf("%q: %v after %v", spec, next, now)
			}
			now = next
		}
	})
}
