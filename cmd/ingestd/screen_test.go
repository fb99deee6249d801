package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"ingestd/ingest/admin"

	"github.com/google/go-cmp/cmp"
)

func TestStatusScreen(t *testing.T) {
	now := time.Date(2026, 3, 5, 5, 58, 30, 0, time.UTC)
	at := func(d time.Duration) *time.Time { t := now.Add(d); return &t }
	s := &admin.Status{
		Running: true, Version: "v1.2.0", PID: 4711, StartedAt: at(-50 * time.Hour),
		Alerts: []admin.OpenAlert{{
			Kind: "target", Severity: "critical", Pipeline: "orders", Message: "the target of sink crm does not take records: 503",
			Action: "try it: ingestd sink test crm", Since: at(-17 * time.Minute),
		}},
		Pipelines: []admin.PipelineStatus{
			{
				Name: "orders", State: "running", Waiting: 2, Held: 1, Dead: 12, Rate: 1234.56, LastArrival: at(-3 * time.Minute),
				LastName: "a\x1b[2J.csv", LastState: "running", ExpectedBy: at(90 * time.Second), Waits: "crm is retrying",
			},
			{Name: "stock", State: "paused", Since: at(-time.Hour), LastArrival: at(-30 * time.Hour), LastName: "b.csv", LastState: "done", Error: "paused by a person", ExpectedBy: at(26 * time.Hour)},
			{Name: "new", State: "idle"},
		},
		Sinks: []admin.SinkStatus{
			{Name: "crm", State: "retrying", Since: at(-17 * time.Minute), Error: "answered 503", Next: at(12 * time.Second)},
			{Name: "copy", State: "ok"},
		},
	}
	var b bytes.Buffer
	writeStatus(&b, s, now)
	want := `ingestd v1.2.0 runs as process 4711, up since 2026-03-03 03:58 (2d ago)
critical: the target of sink crm does not take records: 503 (since 05:41:30 (17m ago))
    try it: ingestd sink test crm

PIPELINE  STATE    WAITING  HELD  DEAD  RECORDS/S  LAST ARRIVAL                             NEXT EXPECTED BY
orders    running        2     1    12  1234.6     05:55:30 (3m ago)  a\x1b[2J.csv running  06:00:00 (in 1m)
stock     paused         0     0     0             2026-03-03 23:58 (30h00m ago)  b.csv done  Fri 07:58 (in 26h00m)
new       idle           0     0     0             none yet
orders: 2 arrivals wait: crm is retrying
stock: paused by a person since 04:58:30 (1h00m ago)

SINK  STATE     SINCE               NEXT TRY
crm   retrying  05:41:30 (17m ago)  05:58:42 (in 12s)
copy  ok
crm: answered 503
`
	// The table's columns are as wide as what is in them.
	squeeze := func(s string) string { return strings.Join(strings.Fields(strings.ReplaceAll(s, "\n", " | ")), " ") }
	if diff := cmp.Diff(squeeze(want), squeeze(b.String())); diff != "" {
		t.Errorf("%s\n%s", diff, &b)
	}

	var calm bytes.Buffer
	writeStatus(&calm, &admin.Status{StateDir: "/var/lib/ingestd"}, now)
	if !strings.HasPrefix(calm.String(), "no daemon runs on /var/lib/ingestd\nnothing needs a person\n") {
		t.Errorf("%s", &calm)
	}
}

// A frame is never larger than the terminal, and clears what the last one left.
func TestFrame(t *testing.T) {
	for _, c := range []struct {
		text          string
		width, height int
		want          string
	}{
		{"one\ntwo\n", 80, 24, "\x1b[Hone\x1b[K\r\ntwo\x1b[K\x1b[J"},
		{"a löng line\n\n", 6, 24, "\x1b[Ha löng\x1b[K\r\n line\x1b[K\r\n\x1b[K\x1b[J"},
		{"1\n2\n3\n4\n", 80, 3, "\x1b[H1\x1b[K\r\n2\x1b[K\r\n… 2 lines more: ingestd status\x1b[K\x1b[J"},
		{"", 80, 24, "\x1b[H\x1b[J"},
	} {
		if got := string(frame(c.text, c.width, c.height)); got != c.want {
			t.Errorf("%q in %d×%d: %q, want %q", c.text, c.width, c.height, got, c.want)
		}
	}
}
