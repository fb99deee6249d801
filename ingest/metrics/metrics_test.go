package metrics

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"ingestd/ingest"
)

// scrape asks the handler over real HTTP and returns the lines of our own.
func scrape(t *testing.T, m *Metrics) map[string]string {
	t.Helper()
	srv := httptest.NewServer(m.Handler())
	defer srv.Close()
	resp, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d: %s", resp.StatusCode, body)
	}
	problems, err := promlint.New(strings.NewReader(string(body))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, namespace) {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	out := map[string]string{}
	for line := range strings.Lines(string(body)) {
		if i := strings.LastIndexByte(line, ' '); !strings.HasPrefix(line, "#") && i > 0 {
			out[line[:i]] = strings.TrimSpace(line[i:])
		}
	}
	return out
}

func expect(t *testing.T, got map[string]string, want map[string]string) {
	t.Helper()
	for series, value := range want {
		if got[series] != value {
			t.Errorf("%s = %q, want %q", series, got[series], value)
		}
	}
}

func TestSeriesExistAtZero(t *testing.T) {
	expect(t, scrape(t, New([]string{"orders"}, []string{"crm"})), map[string]string{
		`ingestd_records_total{outcome="delivered",pipeline="orders"}`: "0",
		`ingestd_records_total{outcome="duplicate",pipeline="orders"}`: "0",
		`ingestd_records_total{outcome="filtered",pipeline="orders"}`:  "0",
		`ingestd_records_total{outcome="dead",pipeline="orders"}`:      "0",
		`ingestd_arrivals_total{pipeline="orders",state="failed"}`:     "0",
		`ingestd_arrivals_found_total{pipeline="orders"}`:              "0",
		`ingestd_arrival_bytes_total{pipeline="orders"}`:               "0",
		`ingestd_source_up{pipeline="orders"}`:                         "1",
		`ingestd_source_errors_total{pipeline="orders"}`:               "0",
	})
}

func TestObserver(t *testing.T) {
	m := New([]string{"orders", "stock"}, []string{"crm"})
	found := time.Date(2026, 3, 5, 6, 0, 0, 0, time.UTC)

	m.ArrivalFound("orders", 1000)
	m.ArrivalFound("orders", 24)
	m.ArrivalEnded(&ingest.Arrival{
		Pipeline: "orders", State: ingest.Done, FinishedAt: found.Add(20 * time.Second), Found: ingest.Found{FoundAt: found},
	})
	m.ArrivalEnded(&ingest.Arrival{Pipeline: "orders", State: ingest.Failed})
	m.ArrivalEnded(&ingest.Arrival{Pipeline: "orders", State: ingest.Held}) // has not ended
	m.Settled("orders", "delivered", 500)
	m.Settled("orders", "delivered", 7)
	m.Settled("orders", "duplicate", 3)
	m.Settled("orders", "filtered", 2)
	m.Settled("orders", "dead", 1)
	m.Settled("orders", "dead", -1)
	m.Settled("orders", "vanished", 1)
	m.Sent("orders", "crm", "delivered", 201, 4096, 30*time.Millisecond)
	m.Sent("orders", "crm", "retry", 503, 4096, time.Second)
	m.Sent("orders", "crm", "retry", 0, 4096, time.Second)
	m.SourceError("stock", errors.New("no such directory"))
	m.SourceError("stock", errors.New("no such directory"))
	m.SourceError("orders", errors.New("no such directory"))
	m.SourceError("orders", nil)

	got := scrape(t, m)
	expect(t, got, map[string]string{
		`ingestd_arrivals_found_total{pipeline="orders"}`:                                     "2",
		`ingestd_arrival_bytes_total{pipeline="orders"}`:                                      "1024",
		`ingestd_arrivals_total{pipeline="orders",state="done"}`:                              "1",
		`ingestd_arrivals_total{pipeline="orders",state="failed"}`:                            "1",
		`ingestd_arrival_duration_seconds_sum{pipeline="orders"}`:                             "20",
		`ingestd_records_total{outcome="delivered",pipeline="orders"}`:                        "507",
		`ingestd_records_total{outcome="duplicate",pipeline="orders"}`:                        "3",
		`ingestd_records_total{outcome="filtered",pipeline="orders"}`:                         "2",
		`ingestd_records_total{outcome="dead",pipeline="orders"}`:                             "1",
		`ingestd_records_total{outcome="delivered",pipeline="stock"}`:                         "0",
		`ingestd_requests_total{class="delivered",pipeline="orders",sink="crm",status="2xx"}`: "1",
		`ingestd_requests_total{class="retry",pipeline="orders",sink="crm",status="5xx"}`:     "1",
		`ingestd_requests_total{class="retry",pipeline="orders",sink="crm",status="none"}`:    "1",
		`ingestd_request_bytes_total{pipeline="orders",sink="crm"}`:                           "12288",
		`ingestd_request_duration_seconds_count{pipeline="orders",sink="crm"}`:                "3",
		`ingestd_request_duration_seconds_bucket{pipeline="orders",sink="crm",le="0.05"}`:     "1",
		`ingestd_source_up{pipeline="stock"}`:                                                 "0",
		`ingestd_source_errors_total{pipeline="stock"}`:                                       "2",
		`ingestd_source_up{pipeline="orders"}`:                                                "1",
		`ingestd_source_errors_total{pipeline="orders"}`:                                      "1",
	})
	if _, ok := got[`ingestd_arrivals_total{pipeline="orders",state="held"}`]; ok {
		t.Error("a held arrival was counted as ended")
	}
	for _, name := range []string{"go_goroutines", "process_resident_memory_bytes"} {
		if got[name] == "" {
			t.Errorf("no %s", name)
		}
	}
	build := ""
	for series := range got {
		if strings.HasPrefix(series, "ingestd_build_info{") {
			build = series
		}
	}
	if !strings.Contains(build, `goversion="go1.`) || got[build] != "1" {
		t.Errorf("build info: %q", build)
	}
}

// TestLabelsAreBounded: whatever names and numbers come in, they make no series.
func TestLabelsAreBounded(t *testing.T) {
	m := New([]string{"orders"}, []string{"crm"})
	for i := range 500 {
		name := strings.Repeat("x", i)
		m.ArrivalFound(name, -5)
		m.ArrivalEnded(&ingest.Arrival{Pipeline: name, State: ingest.Done})
		m.Settled(name, "dead", 1)
		m.Settled("orders", name, 1)
		m.Sent(name, name, name, i*17-300, -1, time.Duration(i))
		m.SourceError(name, io.EOF)
	}
	got := scrape(t, m)
	n := 0
	for series := range got {
		if strings.HasPrefix(series, "ingestd_") {
			n++
		}
	}
	if n > 100 {
		t.Errorf("%d series", n)
	}
	expect(t, got, map[string]string{
		`ingestd_records_total{outcome="dead",pipeline="(unknown)"}`:         "500",
		`ingestd_arrival_bytes_total{pipeline="(unknown)"}`:                  "0",
		`ingestd_request_bytes_total{pipeline="(unknown)",sink="(unknown)"}`: "0",
	})
}

func TestConfigureKeepsCounts(t *testing.T) {
	m := New([]string{"orders", "stock"}, []string{"crm"})
	m.Settled("orders", "delivered", 5)
	m.SourceError("orders", io.EOF)
	m.Settled("stock", "delivered", 5)
	m.Configure([]string{"orders", "prices"}, nil)
	m.Settled("orders", "delivered", 5)
	m.Settled("stock", "delivered", 1)
	m.Sent("orders", "crm", "delivered", 200, 1, time.Second)
	got := scrape(t, m)
	expect(t, got, map[string]string{
		`ingestd_records_total{outcome="delivered",pipeline="orders"}`:                              "10",
		`ingestd_records_total{outcome="delivered",pipeline="stock"}`:                               "5",
		`ingestd_records_total{outcome="delivered",pipeline="prices"}`:                              "0",
		`ingestd_records_total{outcome="delivered",pipeline="(unknown)"}`:                           "1",
		`ingestd_requests_total{class="delivered",pipeline="orders",sink="(unknown)",status="2xx"}`: "1",
		`ingestd_source_up{pipeline="orders"}`:                                                      "0",
		`ingestd_source_up{pipeline="prices"}`:                                                      "1",
	})
	if _, ok := got[`ingestd_source_up{pipeline="stock"}`]; ok {
		t.Error("a source that is gone is still shown")
	}
}

func TestBacklog(t *testing.T) {
	m := New([]string{"orders", "stock"}, nil)
	var fail error
	m.WatchBacklog(func(ctx context.Context) ([]ingest.Backlog, error) {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("a query without an end")
		}
		return []ingest.Backlog{
			{Pipeline: "orders", Waiting: 3, Held: 2, Dead: 1},
			{Pipeline: "gone", Waiting: 1, Dead: 4},
			{Pipeline: "gone too", Dead: 5},
		}, fail
	})
	expect(t, scrape(t, m), map[string]string{
		`ingestd_arrivals_waiting{pipeline="orders"}`:    "3",
		`ingestd_arrivals_held{pipeline="orders"}`:       "2",
		`ingestd_dead_letters{pipeline="orders"}`:        "1",
		`ingestd_arrivals_waiting{pipeline="stock"}`:     "0",
		`ingestd_arrivals_waiting{pipeline="(unknown)"}`: "1",
		`ingestd_dead_letters{pipeline="(unknown)"}`:     "9",
	})

	fail = errors.New("the ledger is busy")
	got := scrape(t, m)
	if _, ok := got[`ingestd_dead_letters{pipeline="orders"}`]; ok {
		t.Error("a failed query was shown")
	}
	expect(t, got, map[string]string{`ingestd_source_up{pipeline="orders"}`: "1"})
}

func TestObserveWhileConfigured(t *testing.T) {
	m := New([]string{"orders"}, []string{"crm"})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 200 {
				m.Settled("orders", "delivered", 1)
				m.Sent("orders", "crm", "delivered", 200, 1, time.Millisecond)
				if i%50 == 0 {
					m.Configure([]string{"orders"}, []string{"crm"})
				}
			}
		})
	}
	wg.Wait()
	expect(t, scrape(t, m), map[string]string{`ingestd_records_total{outcome="delivered",pipeline="orders"}`: "800"})
}

func BenchmarkSettled(b *testing.B) {
	m := New([]string{"orders"}, []string{"crm"})
	b.ReportAllocs()
	for b.Loop() {
		m.Settled("orders", "delivered", 500)
	}
}

func BenchmarkSent(b *testing.B) {
	m := New([]string{"orders"}, []string{"crm"})
	b.ReportAllocs()
	for b.Loop() {
		m.Sent("orders", "crm", "delivered", 200, 70_000, time.Millisecond)
	}
}
