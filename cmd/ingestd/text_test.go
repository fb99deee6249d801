package main

import (
	"log/slog"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"orders.csv":        "orders.csv",
		"Müller 注文.csv":     "Müller 注文.csv",
		"a\nb\tc":           `a\nb\tc`,
		"\x1b[2Jx":          `\x1b[2Jx`,
		"bad\xff\xfename":   `bad\xff\xfename`,
		"gpj.\u202eevil":    `gpj.\u202eevil`,
		"\u009bcsi":         `\u009bcsi`,
		"real \uFFFD stays": "real \uFFFD stays",
	} {
		if got := printable(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for got, want := range map[string]string{
		thousands(0): "0", thousands(999): "999", thousands(1000): "1,000", thousands(-1234567): "-1,234,567",
		bytesText(1023): "1023 B", bytesText(1 << 20): "1.0 MiB", bytesText(1 << 62): "4096.0 PiB",
		some(1, "record"): "1 record", some(2000, "record"): "2,000 records",
		cut("äöü", 3): "äöü", cut("äöüß", 3): "äö…",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestParseWhen(t *testing.T) {
	zone := time.FixedZone("here", 2*3600)
	now := time.Date(2026, 3, 5, 14, 30, 15, 0, zone)
	for in, want := range map[string]time.Time{
		"":                     {},
		"2026-03-05T06:00:00Z": time.Date(2026, 3, 5, 6, 0, 0, 0, time.UTC),
		"2026-03-04":           time.Date(2026, 3, 4, 0, 0, 0, 0, zone),
		"2026-03-04 06:00":     time.Date(2026, 3, 4, 6, 0, 0, 0, zone),
		"06:05":                time.Date(2026, 3, 5, 6, 5, 0, 0, zone),
		"now":                  now,
		"today":                time.Date(2026, 3, 5, 0, 0, 0, 0, zone),
		"yesterday":            time.Date(2026, 3, 4, 0, 0, 0, 0, zone),
		"90m":                  now.Add(-90 * time.Minute),
		"2d":                   now.Add(-48 * time.Hour),
		"1w":                   now.Add(-7 * 24 * time.Hour),
	} {
		got, err := parseWhen(in, now)
		if err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"soon", "-5m", "5", "2026-13-01", "1.5d", "99999999w"} {
		if got, err := parseWhen(in, now); err == nil {
			t.Errorf("%q: %v", in, got)
		}
	}
	if got, err := parseUntil("2h", now); err != nil || !got.Equal(now.Add(2*time.Hour)) {
		t.Errorf("until 2h: %v, %v", got, err)
	}
}

func TestParseFields(t *testing.T) {
	for in, want := range map[string]map[string]string{
		"order_id=1":                   {"order_id": "1"},
		"a=1,b=":                       {"a": "1", "b": ""},
		"a=x=y":                        {"a": "x=y"},
		`"name=Smith, John",day=3`:     {"name": "Smith, John", "day": "3"},
		`"q=say ""hi""",Artikel-Nr.=7`: {"q": `say "hi"`, "Artikel-Nr.": "7"},
	} {
		got, err := parseFields(in)
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "a", "=1", "a=1,a=2", "a=1,b"} {
		if got, err := parseFields(in); err == nil {
			t.Errorf("%q: %v", in, got)
		}
	}
}

func TestQuietLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		log := slog.New(newQuiet(slog.NewTextHandler(&out, nil)))
		lines := func() int {
			defer out.Reset()
			return strings.Count(out.String(), "\n")
		}
		for range 25 {
			log.Warn("target down", "pipeline", "orders")
		}
		if n := lines(); n != 10 {
			t.Errorf("%d lines of one kind", n)
		}
		log.Warn("target down", "pipeline", "stock")
		log.With("pipeline", "prices").Warn("target down")
		log.Warn("source unreachable", "pipeline", "orders")
		if n := lines(); n != 3 {
			t.Errorf("%d lines of three other kinds", n)
		}
		for range 25 {
			log.Info("arrival ended", "pipeline", "orders")
		}
		if n := lines(); n != 25 {
			t.Errorf("%d lines of what is no trouble", n)
		}
		time.Sleep(time.Minute) // synctest's clock
		log.Warn("target down", "pipeline", "orders")
		if got := out.String(); !strings.Contains(got, "repeated=15") {
			t.Errorf("the rest was not counted: %s", got)
		}
	})
}

// stuck is a log that nobody reads.
type stuck struct{ wait chan struct{} }

func (s stuck) Write(b []byte) (int, error) {
	<-s.wait
	return len(b), nil
}

func TestSpoutNeverBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipe := stuck{make(chan struct{})}
		s := newSpout(pipe)
		for range 2 * logQueue {
			if n, err := s.Write([]byte("line\n")); n != 5 || err != nil {
				t.Fatal(n, err)
			}
		}
		if s.dropped.Load() == 0 {
			t.Error("nothing was counted as dropped")
		}
		s.Close() // returns though the reader is stuck
		close(pipe.wait)
	})
}
