package config

import (
	"fmt"
	"testing"
	"time"
)

func TestDurations(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "500ms": 500 * time.Millisecond, "2s": 2 * time.Second, "5m": 5 * time.Minute, "1.5h": 90 * time.Minute,
		"1h30m": 90 * time.Minute, "90d": 90 * day, "2w": 14 * day, "1d12h": 36 * time.Hour, "1w1d1h1m1s1ms": 8*day + time.Hour + time.Minute + time.Second + time.Millisecond,
		"15250w": 15250 * 7 * day,
	} {
		got, err := parseDuration(text)
		if err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
		if back, err := parseDuration(formatDuration(got)); err != nil || back != got {
			t.Errorf("%s is written %s and read %v, %v", text, formatDuration(got), back, err)
		}
	}
	for _, text := range []string{"", "2", "s", "2 s", "-2s", "2S", "2sec", "1m1h", "1s1s", ".5s", "1.s", "1e3s", "15251w", "99999999999999999999999999999999s", "1h30", "１s", "1mo", "2µs"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1048576": 1 << 20, "64KiB": 64 << 10, "10MB": 10_000_000, "1MiB": 1 << 20, "10GiB": 10 << 30, "1.5GiB": 3 << 29, "2kB": 2000, "2KB": 2000,
		"1TiB": 1 << 40, "1TB": 1e12, "7B": 7, "1 MiB": 1 << 20,
	} {
		got, err := parseSize(text)
		if err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
		if back, err := parseSize(formatSize(got)); err != nil || back != got {
			t.Errorf("%s is written %s and read %v, %v", text, formatSize(got), back, err)
		}
	}
	for _, text := range []string{"", "-1", "1mb", "1M", "1.0001KB", "KB", "1e3", "99999999TiB", "1  MiB", "0x10"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}

func TestOtherUnits(t *testing.T) {
	read := func(v fmt.Stringer, err error) string {
		if err != nil {
			return "error"
		}
		return v.String()
	}
	for _, x := range []struct{ got, want string }{
		{read(parseRate("50/s")), "50/s"},
		{read(parseRate("100/m")), "100/m"},
		{read(parseRate("0/s")), "error"},
		{read(parseRate("1.5/s")), "error"},
		{read(parseRate("5/d")), "error"},
		{read(parseStatus("2xx")), "2xx"},
		{read(parseStatus("2XX")), "2xx"},
		{read(parseStatus("200")), "200"},
		{read(parseStatus("200-204")), "200-204"},
		{read(parseStatus("600")), "error"},
		{read(parseStatus("20x")), "error"},
		{read(parseStatus("204-200")), "error"},
		{read(parseMinFree("2%")), "2%"},
		{read(parseMinFree("0.5%")), "0.5%"},
		{read(parseMinFree("10GiB")), "10GiB"},
		{read(parseMinFree("101%")), "error"},
		{read(parseMinFree("half")), "error"},
		{read(parseClock("6:05")), "06:05"},
		{read(parseClock("24:00")), "error"},
		{read(parseClock("+6:00")), "error"},
		{read(parseWindow("22:00-05:00")), "22:00-05:00"},
		{read(parseWindow("22:00")), "error"},
		{read(parseWeekdays("mon-fri")), "mon,tue,wed,thu,fri"},
		{read(parseWeekdays("Saturday-mon")), "mon,sat,sun"},
		{read(parseWeekdays("sun, wed")), "wed,sun"},
		{read(parseWeekdays("mon-")), "error"},
		{read(parseZone("Europe/Berlin")), "Europe/Berlin"},
		{read(parseZone("Local")), "error"},
		{read(parseZone("../../etc/passwd")), "error"},
		{read(parseInterval("2 weeks")), "2 weeks"},
		{read(parseInterval("1 day")), "1 days"},
		{read(parseInterval("90m")), "1h30m"},
		{read(parseInterval("0 days")), "error"},
		{read(parseWhen("mon 06:00")), "mon 06:00"},
		{read(parseWhen("06:00")), "06:00"},
		{read(parseWhen("06:00 mon")), "error"},
	} {
		if x.got != x.want {
			t.Errorf("%s, want %s", x.got, x.want)
		}
	}
	if got := (Rate{100, time.Minute}).PerSecond(); got < 1.66 || got > 1.67 {
		t.Errorf("100/m is %v a second", got)
	}
	if got := (Rate{}).PerSecond(); got != 0 {
		t.Errorf("no rate is %v a second", got)
	}
	if got := (MinFree{Bytes: 7}).Of(1 << 40); got != 7 {
		t.Errorf("7 bytes are %d", got)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"type", "settle", "concurrency", "max_records", "max_bytes", "key", "to"}
	for name, want := range map[string]string{
		"setle": "settle", "Settle": "settle", "concurency": "concurrency", "max-records": "max_records", "maxrecords": "max_records",
		"kye": "key", "x": "", "": "", "ot": "to", "url": "", "conc": "concurrency", "max": "", "typo": "type",
		"maximum_number_of_records_that_one_single_request_may_ever_carry_": "",
	} {
		if got := nearest(name, names); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func TestOverlap(t *testing.T) {
	steps := maxSteps
	for _, x := range []struct {
		a, b string
		want bool
	}{
		{"*.csv", "*.xml", false},
		{"*.csv", "*.CSV", true},
		{"*.csv", "orders*", true},
		{"orders*.csv", "invoices*.csv", false},
		{"*.csv", "*.csv.gz", false},
		{"*.csv*", "*.csv.gz", true},
		{"{a,b}*.csv", "[c-z]*.csv", false},
		{"{a,b}*.csv", "[!c-z]*.csv", true},
		{"[^a]*", "a*", false},
		{"?.csv", "ab.csv", false},
		{"?.csv", "a.csv", true},
		{"**/*.csv", "a/b/c.csv", true},
		{"**/*.csv", "c.csv", true},
		{"*.csv", "a/b.csv", false},
		{"a/**", "b/**", false},
		{"a/**", "**/x", true},
		{`\*.csv`, "a.csv", false},
		{`\*.csv`, "*.csv", true},
		{"{a,{b,c}}.x", "c.x", true},
		{"[]]x", "]x", true},
		{"", "", true},
		{"*", "", true},
		{"{" + "a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a" + "}", "b", true},
	} {
		if got := overlap(x.a, x.b, &steps); got != x.want {
			t.Errorf("%s and %s: %v", x.a, x.b, got)
		}
		if got := overlap(x.b, x.a, &steps); got != x.want {
			t.Errorf("%s and %s: %v", x.b, x.a, got)
		}
	}
}
