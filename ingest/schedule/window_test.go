package schedule_test

import (
	"testing"
	"time"

	"ingestd/ingest/schedule"
)

func clock(h, m int) schedule.TimeOfDay { return schedule.TimeOfDay(60*h + m) }

func berlin(t testing.TB) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

func TestHours(t *testing.T) {
	zone := berlin(t)
	night := schedule.Hours{From: clock(22, 0), To: clock(5, 0), Zone: zone}
	two := schedule.Hours{At: clock(2, 0), HasAt: true, Zone: zone}
	half := schedule.Hours{At: clock(2, 30), HasAt: true, Zone: zone}
	gap := schedule.Hours{From: clock(2, 10), To: clock(2, 40), Zone: zone}
	both := schedule.Hours{At: clock(23, 0), HasAt: true, From: clock(22, 0), To: clock(5, 0), Zone: zone}
	for name, c := range map[string]struct {
		h                  schedule.Hours
		arrived, now, want string
	}{
		"before the window":     {night, "", "2026-03-05T12:00:00+01:00", "2026-03-05T22:00:00+01:00"},
		"at its beginning":      {night, "", "2026-03-05T22:00:00+01:00", "2026-03-05T22:00:00+01:00"},
		"after midnight":        {night, "", "2026-03-05T04:59:59+01:00", "2026-03-05T04:59:59+01:00"},
		"at its end":            {night, "", "2026-03-05T05:00:00+01:00", "2026-03-05T22:00:00+01:00"},
		"asked in another zone": {night, "", "2026-03-05T20:30:00Z", "2026-03-05T21:00:00Z"},
		"was there":             {two, "2026-03-05T01:59:00+01:00", "2026-03-05T09:00:00+01:00", "2026-03-05T09:00:00+01:00"},
		"came on the dot":       {two, "2026-03-05T02:00:00+01:00", "2026-03-05T02:00:00+01:00", "2026-03-05T02:00:00+01:00"},
		"came later":            {two, "2026-03-05T02:00:01+01:00", "2026-03-05T02:00:01+01:00", "2026-03-06T02:00:00+01:00"},
		"the queue as such":     {two, "", "2026-03-05T12:00:00+01:00", "2026-03-05T12:00:00+01:00"},
		"both: before at":       {both, "2026-03-05T12:00:00+01:00", "2026-03-05T22:30:00+01:00", "2026-03-05T23:00:00+01:00"},
		"both: window over":     {both, "2026-03-05T12:00:00+01:00", "2026-03-06T05:00:00+01:00", "2026-03-06T22:00:00+01:00"},

		// Spring: 02:00 → 03:00 on 2026-03-29.
		"at in the skipped hour":     {half, "2026-03-29T01:00:00+01:00", "2026-03-29T01:30:00+01:00", "2026-03-29T03:00:00+02:00"},
		"window in the skipped hour": {gap, "", "2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00"},
		"which opened right after":   {gap, "", "2026-03-29T03:29:59+02:00", "2026-03-29T03:29:59+02:00"},
		"and closed again":           {gap, "", "2026-03-29T03:30:00+02:00", "2026-03-30T02:10:00+02:00"},
		// Autumn: 03:00 → 02:00 on 2026-10-25.
		"at in the doubled hour":      {half, "2026-10-25T01:00:00+02:00", "2026-10-25T01:30:00+02:00", "2026-10-25T02:30:00+02:00"},
		"not twice":                   {half, "2026-10-25T02:31:00+02:00", "2026-10-25T02:10:00+01:00", "2026-10-26T02:30:00+01:00"},
		"window in the doubled hour":  {gap, "", "2026-10-25T02:20:00+02:00", "2026-10-25T02:20:00+02:00"},
		"once":                        {gap, "", "2026-10-25T02:20:00+01:00", "2026-10-26T02:10:00+01:00"},
		"a day of 25 hours in the in": {night, "", "2026-10-25T04:30:00+01:00", "2026-10-25T04:30:00+01:00"},
	} {
		t.Run(name, func(t *testing.T) {
			var arrived time.Time
			if c.arrived != "" {
				arrived = at(t, c.arrived)
			}
			if got := c.h.Opens(arrived, at(t, c.now)); !got.Equal(at(t, c.want)) {
				t.Errorf("opens %s, want %s", got, c.want)
			}
		})
	}
}

func at(t testing.TB, s string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestOpen(t *testing.T) {
	zone := berlin(t)
	night := schedule.Hours{From: clock(22, 0), To: clock(5, 0), Zone: zone}
	for name, c := range map[string]struct {
		h        schedule.Hours
		from, to string
		want     time.Duration
	}{
		"no window":      {schedule.Hours{At: 5, HasAt: true}, "2026-03-05T12:00:00Z", "2026-03-06T12:00:00Z", 24 * time.Hour},
		"by day":         {night, "2026-03-05T06:00:00+01:00", "2026-03-05T20:00:00+01:00", 0},
		"a day":          {night, "2026-03-05T12:00:00+01:00", "2026-03-06T12:00:00+01:00", 7 * time.Hour},
		"from within":    {night, "2026-03-05T23:00:00+01:00", "2026-03-07T01:00:00+01:00", 9 * time.Hour},
		"spring forward": {night, "2026-03-28T12:00:00+01:00", "2026-03-29T12:00:00+02:00", 6 * time.Hour},
		"fall back":      {night, "2026-10-24T12:00:00+02:00", "2026-10-25T12:00:00+01:00", 8 * time.Hour},
		"backwards":      {night, "2026-10-24T12:00:00+02:00", "2026-10-20T12:00:00+01:00", 0},
	} {
		if got := c.h.Open(at(t, c.from), at(t, c.to)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// FuzzHours: whatever the hours, the zone and the time, something opens within
// two days and a bit, never before now, and it is open then.
func FuzzHours(f *testing.F) {
	f.Add(int64(1774746000), 130, 160, 120, true, uint8(0))
	f.Add(int64(1792886400), 1320, 300, 0, false, uint8(1))
	zones := []string{"Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca", "UTC"}
	f.Fuzz(func(t *testing.T, unix int64, from, to, tod int, has bool, z uint8) {
		day := func(n int) schedule.TimeOfDay { return schedule.TimeOfDay((n%1440 + 1440) % 1440) }
		zone, err := time.LoadLocation(zones[int(z)%len(zones)])
		if err != nil {
			t.Fatal(err)
		}
		now := time.Unix(unix%(1<<33), 0)
		h := schedule.Hours{From: day(from), To: day(to), At: day(tod), HasAt: has, Zone: zone}
		opens := h.Opens(now, now)
		if opens.Before(now) || opens.Sub(now) > 75*time.Hour {
			t.Fatalf("%+v at %s opens %s", h, now.In(zone), opens)
		}
		if again := h.Opens(time.Time{}, opens); !again.Equal(opens) {
			t.Fatalf("%+v is not open when it opens: %s, then %s", h, opens, again)
		}
		if sum := h.Open(now, now.Add(72*time.Hour)); sum < 0 || sum > 72*time.Hour {
			t.Fatalf("open for %s", sum)
		}
	})
}
