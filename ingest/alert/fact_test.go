package alert

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"

	"ingestd/ingest"
)

func arrival(id int64, name string) *ingest.Arrival {
	return &ingest.Arrival{ID: id, Pipeline: "orders", Found: ingest.Found{Name: name, FoundAt: time.Unix(1e9, 0)}, FinishedAt: time.Unix(1e9+60, 0)}
}

// Every fact says what, where, since when, and which command comes next.
func TestFactsSayWhatToDo(t *testing.T) {
	now := time.Unix(1e9, 0)
	held, failed := arrival(7, "a.csv"), arrival(8, "b.csv")
	held.Error, failed.Error, failed.Counts.Delivered = "the header lacks `id`; nearest: `nr`.", "cut short in line 9", 12
	changed := *held
	changed.Error = ingest.ErrBodyChanged.Error() + ": …"
	cert, ok := CertificateFact("crm", "the certificate of crm:443, the target of sink crm,", "tell them: ingestd", nil, now.Add(5*24*time.Hour), now)
	if !ok {
		t.Fatal("a certificate that ends in five days")
	}
	for name, c := range map[string]struct {
		f                    Fact
		kind                 Kind
		severity             Severity
		message, action, key string
	}{
		"held": {
			HeldFact("orders", []ingest.Arrival{*held}), Held, Warning,
			"orders: the file a.csv is held and nothing of it was sent: the header lacks `id`; nearest: `nr`", "ingestd release 7", "held/orders/",
		},
		"several held": {
			HeldFact("orders", []ingest.Arrival{*held, *failed}), Held, Warning,
			"2 files are held", "ingestd arrivals -p orders --state held", "held/orders/",
		},
		"rebuilt": {HeldFact("orders", []ingest.Arrival{changed}), Rebuilt, Critical, "is not what was claimed before", "ingestd show 7", "body/orders/"},
		"failed":  {FailedFact(failed, 1, now), Failed, Warning, "orders: the file b.csv failed: cut short in line 9; 12 records were delivered before that, and count", "ingestd replay 8", "failed/orders/"},
		"dead":    {DeadFact("orders", 1, failed, now, 1), Dead, Warning, "1 record could not be delivered and is kept as a dead letter; the newest is of b.csv", "ingestd dead list -p orders", "dead/orders/"},
		"target":  {TargetFact("crm", "503", false, []string{"a", "b"}, 1, now), Target, Critical, "the target of sink crm does not take records: 503; 1 file waits", "ingestd sink test crm", "target//crm"},
		"refused": {TargetFact("crm", "401", true, []string{"a"}, 2, now), Refused, Critical, "the target of sink crm refuses everything: 401; 2 files wait", "ingestd reload", "target//crm"},
		"stuck": {
			StuckFact("orders", errors.New("2 delivered or failed files could not be put away"), now), Source, Warning,
			"could not be put away", "ingestd check --connect", "source/orders/put away",
		},
		"source": {SourceFact("orders", errors.New("no route to host"), now), Source, Critical, "cannot be read", "ingestd check --connect", "source/orders/"},
		"host key": {
			SourceFact("orders", fmt.Errorf("list: %w", &ingest.Trouble{Kind: ingest.TroubleHostKey, Err: errors.New("SHA256:abc")}), now), HostKey, Critical,
			"another host key", "ingestd sftp trust HOST", "host_key/orders/",
		},
		"disk":        {DiskFact("/srv", 1<<30, 2<<30, true, now), Disk, Critical, "1024 MiB are free", "df -h /srv", "disk//" + "/srv"},
		"certificate": {cert, Certificate, Warning, "ends on 2001-09-14, in 5 days", "ingestd", "certificate//crm"},
		"crash":       {CrashFact(held), CrashLoop, Critical, "was begun 0 times", "ingestd show 7", "crash_loop/orders/7"},
		"alerts":      {alertsFact("chat", "down", now), Alerts, Critical, "through sink chat: down", "ingestd alert test", "alerts//chat"},
	} {
		f := c.f
		if f.Kind != c.kind || f.Severity != c.severity || f.key() != c.key || !strings.Contains(f.Message, c.message) || !strings.Contains(f.Action, c.action) {
			t.Errorf("%s: %s %s %s\n%s\n%s", name, f.Kind, f.Severity, f.key(), f.Message, f.Action)
		}
	}
	for _, far := range []time.Duration{22 * 24 * time.Hour, 0} {
		ends := now.Add(far)
		if far == 0 {
			ends = time.Time{}
		}
		if _, ok := CertificateFact("crm", "x", "y", nil, ends, now); ok {
			t.Error("told of a certificate that ends on", ends)
		}
	}
	if f, _ := CertificateFact("crm", "x", "y", nil, now.Add(-time.Hour), now); f.Severity != Critical || !strings.Contains(f.Message, "ended on") {
		t.Errorf("one that has ended: %+v", f)
	}
}

func TestForeignTextIsOneLine(t *testing.T) {
	a := arrival(7, "evil\n\x1b[31m\u202ename\xff"+strings.Repeat("x", 1000))
	a.Error = strings.Repeat("bad\r\n", 1000)
	f := HeldFact("orders", []ingest.Arrival{*a})
	if len(f.Message) > 1000 || strings.ContainsFunc(f.Message, func(r rune) bool { return unicode.IsControl(r) || r == '\u202e' }) {
		t.Errorf("%d bytes: %q", len(f.Message), f.Message)
	}
}

func TestExpectations(t *testing.T) {
	e := Expectation{
		Pipeline: "orders", By: "06:00 UTC", MinRecords: 2,
		Next: func(after time.Time) time.Time {
			d := after.Truncate(24 * time.Hour).Add(6 * time.Hour)
			if !d.After(after) {
				d = d.Add(24 * time.Hour)
			}
			return d
		},
		Last: func(now time.Time) time.Time {
			d := now.Truncate(24 * time.Hour).Add(6 * time.Hour)
			if d.After(now) {
				d = d.Add(-24 * time.Hour)
			}
			return d
		},
	}
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	now := at("2026-03-05T07:00:00Z")
	p := e.Due(now)
	if p.From != at("2026-03-04T18:00:00Z") || p.Deadline != at("2026-03-05T06:00:00Z") || p.To != at("2026-03-05T18:00:00Z") {
		t.Fatalf("%+v", p)
	}
	f := e.Absent(p, at("2026-03-04T05:58:00Z"), now)
	if f.Kind != Late || f.Message != "orders: nothing has arrived that was expected by 06:00 UTC; the last file came on 2026-03-04 05:58 UTC" {
		t.Errorf("%+v", f)
	}
	if f = e.Absent(p, time.Time{}, at("2026-03-06T05:00:00Z")); f.Kind != Missing || f.key() != "late/orders/" || !strings.Contains(f.Message, "never came") {
		t.Errorf("%+v", f)
	}
	a := arrival(7, "a.csv")
	a.Counts.Records = 1
	if f, ok := e.EmptyFact(a); !ok || !strings.Contains(f.Message, "holds 1 record; at least 2 are expected") {
		t.Error(f.Message)
	}
	a.Counts.Records = 2
	if _, ok := e.EmptyFact(a); ok {
		t.Error("two are enough")
	}
}

func TestUsual(t *testing.T) {
	for name, c := range map[string]struct {
		before []int64
		n      int64
		odd    bool
	}{
		"too few to know":         {[]int64{100, 100, 100, 100}, 1, false},
		"as ever":                 {[]int64{100, 90, 110, 105, 95}, 120, false},
		"a fifth":                 {[]int64{100, 90, 110, 105, 95}, 20, false},
		"less than a fifth":       {[]int64{100, 90, 110, 105, 95}, 19, true},
		"five times":              {[]int64{100, 90, 110, 105, 95}, 500, false},
		"more":                    {[]int64{100, 90, 110, 105, 95}, 501, true},
		"one that was odd before": {[]int64{100, 90, 1_000_000, 105, 95}, 120, false},
		"small numbers":           {[]int64{1, 1, 1, 1, 1}, 9, false},
		"nothing, usually":        {[]int64{0, 0, 0, 0, 0}, 100, true},
	} {
		var u Usual
		for _, n := range c.before {
			u.Add(n)
		}
		a := arrival(7, "a.csv")
		a.Counts.Records = c.n
		if f, odd := u.Judge(a); odd != c.odd {
			t.Errorf("%s: %v %s", name, odd, f.Message)
		}
	}
}
