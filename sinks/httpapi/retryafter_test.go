package httpapi

import (
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 3, 5, 12, 0, 0, 0, time.UTC)
	const date = "Thu, 05 Mar 2026 12:00:00 GMT"
	for _, c := range []struct {
		value, date string
		want        time.Duration
	}{
		{"", "", 0},
		{"0", "", 0},
		{"1", "", time.Second},
		{" 120 ", "", 2 * time.Minute},
		{"3599", "", 3599 * time.Second},
		{"3600", "", time.Hour},
		{"3601", "", time.Hour},
		{"1000000000", "", time.Hour},
		{"99999999999999999999999999", "", time.Hour},
		{"-1", "", 0},
		{"+5", "", 0},
		{"1.5", "", 0},
		{"5 s", "", 0},
		{"soon", "", 0},
		{"Thu, 05 Mar 2026 12:00:30 GMT", "", 30 * time.Second},
		{"Thu, 05 Mar 2026 12:00:30 GMT", date, 30 * time.Second},
		{"Thursday, 05-Mar-26 12:00:30 GMT", date, 30 * time.Second}, // RFC 850
		{"Thu Mar  5 12:00:30 2026", date, 30 * time.Second},         // asctime
		{"Thu, 05 Mar 2026 13:00:30 GMT", date, time.Hour},
		{"Fri, 05 Mar 2126 12:00:00 GMT", date, time.Hour},
		{"Thu, 05 Mar 2026 11:59:59 GMT", date, 0},
		{"Thu, 01 Jan 1970 00:00:00 GMT", date, 0},
		{"Thu, 05 Mar 2026 12:00:30 GMT", "nonsense", 30 * time.Second},
		{"Thu, 05 Mar 2026 09:00:30 GMT", "Thu, 05 Mar 2026 09:00:00 GMT", 30 * time.Second}, // a clock three hours behind
		{"2026-03-05T12:00:30Z", date, 0},
	} {
		if got := retryAfter(c.value, c.date, now); got != c.want {
			t.Errorf("%q at %q: %v, want %v", c.value, c.date, got, c.want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("120", "")
	f.Add("Thu, 05 Mar 2026 12:00:30 GMT", "Thu, 05 Mar 2026 12:00:00 GMT")
	f.Fuzz(func(t *testing.T, value, date string) {
		if d := retryAfter(value, date, time.Unix(1772712000, 0)); d < 0 || d > maxRetryAfter {
			t.Fatalf("%q, %q: %v", value, date, d)
		}
	})
}
