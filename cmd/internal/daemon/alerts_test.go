package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ingestd/config"
	"ingestd/ingest"
	"ingestd/ingest/alert"
	"ingestd/samples"
)

func TestKindsOfTheConfigAreThoseOfAlerts(t *testing.T) {
	if got, want := config.AlertKinds(), append([]string{"all"}, alert.Kinds()...); !slices.Equal(got, want) {
		t.Errorf("config knows %q,\nalerts %q", got, want)
	}
}

// The shipped snippets are right, tell, and what they send is JSON.
func TestSampleAlerts(t *testing.T) {
	names, err := fs.Glob(samples.FS(), "alerts/*.yaml")
	if err != nil || len(names) < 3 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			var got []byte
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var v any
				if err := json.NewDecoder(r.Body).Decode(&v); err != nil || r.Header.Get("Content-Type") != "application/json" {
					t.Errorf("%s: %v", r.Header.Get("Content-Type"), err)
				}
				got, _ = json.Marshal(v)
			}))
			defer srv.Close()
			dir := t.TempDir()
			write := func(name, text string) {
				if err := os.MkdirAll(filepath.Join(dir, "conf.d"), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			text, err := fs.ReadFile(samples.FS(), name)
			if err != nil {
				t.Fatal(err)
			}
			write("conf.d/alerts.yaml", strings.ReplaceAll(string(text), "https://api.sendgrid.com", srv.URL))
			for _, f := range []string{"slack_url", "teams_url", "mail_token"} {
				write(f, srv.URL+"/hook\n")
				write("conf.d/"+f, srv.URL+"/hook\n")
			}
			write("c.yaml", "include: [conf.d/*.yaml]\nstate_dir: state\nsinks: {out: {type: stdout}}\n"+
				"pipelines: {p: {source: {type: dir, path: drop}, sinks: [out]}}\n")
			cfg, problems := Load(filepath.Join(dir, "c.yaml"))
			if cfg == nil {
				t.Fatal(problems)
			}
			d, err := New(t.Context(), Options{Config: cfg, Logger: slog.New(slog.DiscardHandler), Stdout: io.Discard})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			for _, r := range must(d.TestAlerts(t.Context()))(t) {
				if r.Error != "" {
					t.Errorf("%+v", r)
				}
			}
			if !strings.Contains(string(got), "this is a test: alerts of ingestd arrive here") {
				t.Errorf("sent: %s", got)
			}
		})
	}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// What is wrong with a template or a heartbeat is said at check, with its place.
func TestAlertProblems(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	text := `state_dir: state
sinks:
  chat: {type: http, url: "https://chat.example.com/", body: template, template: '{"text": {message}'}
  out: {type: file, path: out.ndjson}
  who: {type: http, url: "https://chat.example.com/{who}/{severity}", body: object}
alerts: [{sink: chat}, {sink: out}, {sink: who}]
heartbeat: {url: "hunter2"}
pipelines:
  p: {source: {type: dir, path: drop}, sinks: [out]}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, problems := Load(path)
	var b strings.Builder
	if err := problems.Render(&b, false); err != nil || cfg != nil {
		t.Fatal(cfg, err)
	}
	for _, want := range []string{"c.yaml:3:82: does not make valid JSON", "c.yaml:4:", "a file has one writer", "c.yaml:5:26: `alerts` use this sink, and {who} is no field of an alert", "c.yaml:7:18: is no absolute URL"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
	if strings.Contains(b.String(), "hunter2") {
		t.Errorf("a secret shows:\n%s", &b)
	}
}

func ended(id int64, name string, state ingest.State, records int64, at time.Time) *ingest.Arrival {
	return &ingest.Arrival{
		ID: id, Pipeline: "orders", State: state, FinishedAt: at, Counts: ingest.Counts{Records: records, Delivered: records},
		Found: ingest.Found{Name: name, FoundAt: at},
	}
}

func TestNews(t *testing.T) {
	n := newNews(quietObserver{})
	now := time.Now()
	kinds := func(dead int64, at time.Time) (out []string) {
		for _, f := range n.facts("orders", dead, at) {
			out = append(out, string(f.Kind)+": "+f.Message)
		}
		return out
	}
	n.expects("orders", &expectation{Expectation: alert.Expectation{Pipeline: "orders", MinRecords: 1}})
	n.ArrivalEnded(ended(1, "a.csv", ingest.Failed, 0, now))
	n.ArrivalEnded(ended(2, "b.csv", ingest.Failed, 0, now))
	rejected := ended(3, "c.csv", ingest.Failed, 0, now)
	rejected.Error = "rejected by a person; it was held because …"
	n.ArrivalEnded(rejected)
	if got := kinds(0, now); len(got) != 1 || !strings.Contains(got[0], "2 files failed") {
		t.Errorf("%q", got)
	}
	n.ArrivalEnded(ended(4, "a.csv", ingest.Done, 5, now))
	again := ended(5, "again", ingest.Done, 5, now)
	again.Replay = &ingest.Replay{Of: 2}
	n.ArrivalEnded(again)
	if got := kinds(0, now); len(got) != 0 {
		t.Errorf("made good: %q", got)
	}
	n.ArrivalEnded(ended(6, "d.csv", ingest.Done, 0, now))
	if got := kinds(0, now); len(got) != 1 || !strings.HasPrefix(got[0], "empty: ") {
		t.Errorf("%q", got)
	}
	for i := range int64(5) {
		n.ArrivalEnded(ended(7+i, "e.csv", ingest.Done, 100, now))
	}
	if got := kinds(0, now); len(got) != 0 {
		t.Errorf("as usual: %q", got)
	}
	n.ArrivalEnded(ended(20, "f.csv", ingest.Done, 5000, now))
	if got := kinds(0, now); len(got) != 1 || !strings.HasPrefix(got[0], "size: ") {
		t.Errorf("%q", got)
	}
	if got := kinds(0, now.Add(newsKept)); len(got) != 0 {
		t.Errorf("a day later: %q", got)
	}
	dead := ended(21, "g.csv", ingest.Done, 100, now)
	dead.Counts.Dead = 7
	n.Settled("orders", "dead", 7)
	n.ArrivalEnded(dead)
	if got := kinds(7, now); len(got) != 1 || !strings.Contains(got[0], "7 records could not be delivered and are kept as dead letters; the newest are of g.csv") {
		t.Errorf("%q", got)
	}
}

// A ledger for expectations: what arrived, and since when it is watched.
type arrivals struct {
	ingest.Query
	ingest.AlertBook
	list  []ingest.Arrival
	since time.Time
}

func (l *arrivals) Arrivals(_ context.Context, f ingest.ArrivalFilter) iter.Seq2[ingest.Arrival, error] {
	return func(yield func(ingest.Arrival, error) bool) {
		for _, a := range l.list {
			if !a.FoundAt.Before(f.Since) && !yield(a, nil) {
				return
			}
		}
	}
}

func (l *arrivals) WatchedSince(context.Context, string, string, time.Time) (time.Time, error) {
	if l.since.IsZero() {
		return l.since, errors.New("not known")
	}
	return l.since, nil
}

// Nothing on Monday; the file comes late; on Tuesday only the old one comes
// again; over the weekend nobody waits.
func TestExpectationOverDays(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at := func(day, hour, minute int) time.Time { return time.Date(2026, 3, day, hour, minute, 0, 0, berlin) } // the 2nd is a Monday
	dir := t.TempDir()
	path := filepath.Join(dir, "c.yaml")
	if err := os.WriteFile(path, []byte("sinks: {out: {type: stdout}}\npipelines:\n  orders: {source: {type: dir, path: d}, sinks: [out], "+
		"expect: {by: \"06:00\", days: mon-fri, zone: Europe/Berlin}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, problems := Load(path)
	if cfg == nil {
		t.Fatal(problems)
	}
	e := newExpectation(cfg.Pipeline("orders"))
	l := &arrivals{since: at(2, 5, 0)}
	come := func(state ingest.State, when time.Time) {
		l.list = append(l.list, ingest.Arrival{State: state, Found: ingest.Found{FoundAt: when}})
	}
	check := func(now time.Time, want alert.Kind) {
		t.Helper()
		var last time.Time
		for _, a := range l.list {
			last = a.FoundAt
		}
		f, ok, err := e.fact(t.Context(), l, last, now)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Kind; ok != (want != "") || got != want {
			t.Errorf("%v: %q, want %q: %s", now, got, want, f.Message)
		}
	}
	check(at(2, 5, 30), "") // that of Friday is none of ours
	check(at(2, 6, 0), alert.Late)
	come(ingest.Running, at(2, 7, 0))
	check(at(2, 7, 1), "")
	check(at(3, 5, 59), "")
	check(at(3, 6, 0), alert.Late)
	come(ingest.DuplicateState, at(3, 6, 30))
	check(at(3, 7, 0), alert.Late)
	check(at(3, 18, 0), alert.Missing)
	check(at(4, 5, 0), alert.Missing)
	come(ingest.Done, at(4, 5, 30))
	check(at(4, 5, 31), "")
	check(at(4, 6, 0), "")
	come(ingest.Done, at(5, 5, 0))
	come(ingest.Done, at(6, 5, 0))
	check(at(8, 12, 0), "") // a Sunday
	check(at(9, 6, 0), alert.Late)
	if next := e.next(at(7, 12, 0)); next == nil || !next.Equal(at(9, 6, 0)) {
		t.Error("next:", next)
	}
}

func TestAdminURL(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:8081": "http://127.0.0.1:8081/v1/status", "unix:/run/x.sock": "", "[::1]:80": "http://[::1]:80/v1/status",
	} {
		if got := adminURL(listen); got != want {
			t.Errorf("%s: %s", listen, got)
		}
	}
}

// After a restart a target counts as before until it was tried again.
func TestTargetThatWasDownBefore(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "c.yaml")
	if err := os.WriteFile(path, []byte("state_dir: state\nsinks: {api: {type: http, url: \"http://127.0.0.1:1/\"}, chat: {type: stdout}}\nalerts: [{sink: chat}]\n"+
		"pipelines: {orders: {source: {type: dir, path: drop}, sinks: [api]}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, problems := Load(path)
	if cfg == nil {
		t.Fatal(problems)
	}
	d, err := New(t.Context(), Options{Config: cfg, Logger: slog.New(slog.DiscardHandler), Stdout: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	was := ingest.OpenAlert{Kind: "target", Severity: "critical", Pipeline: "orders", Message: "it is down", Action: "wait", Since: time.Unix(1, 0)}
	told := map[string]ingest.OpenAlert{"target//api": was}
	waits := map[string]ingest.Backlog{"orders": {Waiting: 2}}
	got := d.current().targetFacts(waits, told)
	if len(got) != 1 || got[0].Subject != "api" || got[0].Message != was.Message || !got[0].Since.Equal(was.Since) {
		t.Errorf("%+v", got)
	}
	if got := d.current().targetFacts(nil, told); len(got) != 0 {
		t.Errorf("nothing waits for it: %+v", got)
	}
	d.meter.Sent("orders", "api", "delivered", 200, 1, 0)
	if got := d.current().targetFacts(waits, told); len(got) != 0 {
		t.Errorf("it was tried: %+v", got)
	}
	// All of it hangs together: nothing is wrong, and one sink tells.
	facts, err := d.facts(t.Context())
	if err != nil || len(facts) != 0 {
		t.Errorf("%+v, %v", facts, err)
	}
	if err := d.well(t.Context()); err != nil {
		t.Error(err)
	}
}
