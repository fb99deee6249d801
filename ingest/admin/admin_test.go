package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/admin"

	"github.com/google/go-cmp/cmp"
)

func handler(b *books, d *desk) http.Handler {
	return admin.Handler(admin.Options{
		Query:   b,
		Actions: admin.Actions{Status: d, Holds: d, Replays: d, Letters: d, Keys: d, Control: d, Ledger: d, Sinks: d},
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ingestd_up 1\n") }),
		Log:     slog.New(slog.DiscardHandler),
	})
}

// clients are the two doors: a socket, and this process.
func clients(t *testing.T, h http.Handler) map[string]*admin.Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "control.sock")
	ln, err := admin.ListenUnix(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- admin.Serve(ctx, ln, h, time.Second, slog.New(slog.DiscardHandler)) }()
	remote, err := admin.Dial(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		remote.Close()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return map[string]*admin.Client{"socket": remote, "local": admin.Local(h)}
}

func TestListings(t *testing.T) {
	for door, c := range clients(t, handler(sample(), &desk{})) {
		t.Run(door, func(t *testing.T) {
			got := must(t, c.Arrivals(t.Context(), ingest.ArrivalFilter{}))
			if len(got) != 2 || got[0].ID != "2" || got[1].ID != "1" {
				t.Fatalf("arrivals: %+v", got)
			}
			if got[0].Name != "b\uFFFD.csv" || got[0].NameBase64 != "Yv8uY3N2" || got[0].FinishedAt != nil {
				t.Errorf("a name that is no UTF-8: %+v", got[0])
			}
			if got[1].SHA256 != "0102" || got[1].FinishedAt == nil || got[1].Records != 10 {
				t.Errorf("a finished arrival: %+v", got[1])
			}
			if got := must(t, c.Arrivals(t.Context(), ingest.ArrivalFilter{State: ingest.Held})); len(got) != 1 || got[0].State != "held" {
				t.Errorf("held ones: %+v", got)
			}
			since := time.Date(2026, 3, 5, 6, 30, 0, 0, time.FixedZone("x", 0))
			if got := must(t, c.Arrivals(t.Context(), ingest.ArrivalFilter{Since: since})); len(got) != 1 || got[0].ID != "2" {
				t.Errorf("since: %+v", got)
			}
			if got := must(t, c.Arrivals(t.Context(), ingest.ArrivalFilter{Limit: 1})); len(got) != 1 {
				t.Errorf("limit: %+v", got)
			}

			d, err := c.Arrival(t.Context(), 1)
			if err != nil || len(d.Batches) != 1 || d.Batches[0].IdempotencyKey != "00112233445566778899aabbccddeeff" || len(d.Timeline) != 1 {
				t.Errorf("show: %+v, %v", d, err)
			}

			letters := must(t, c.Letters(t.Context(), ingest.LetterFilter{IDs: []int64{1, 2}}))
			if len(letters) != 2 || string(letters[0].Bytes()) != `7,"<x>"` || string(letters[1].Bytes()) != "9,\xff" || letters[1].Raw != nil {
				t.Errorf("letters: %+v", letters)
			}
			l, err := c.Letter(t.Context(), 2)
			if err != nil || !l.Uncertain || l.Line != 10 {
				t.Errorf("letter: %+v, %v", l, err)
			}
			audits := must(t, c.Audit(t.Context(), "other", ingest.Ref{}))
			if len(audits) != 1 || audits[0].Balanced || audits[0].Why == "" {
				t.Errorf("audit: %+v", audits)
			}
		})
	}
}

// TestWire holds the keys that scripts rely on.
func TestWire(t *testing.T) {
	h := handler(sample(), &desk{})
	for path, want := range map[string]string{
		"/v1/arrivals?limit=5":     `id pipeline name source state size sha256 found_at finished_at records delivered duplicate filtered dead error`,
		"/v1/arrivals/1":           `id pipeline name source state size sha256 found_at finished_at records delivered duplicate filtered dead error batches timeline`,
		"/v1/dead?id=1":            `id arrival pipeline name record line column stage sink reason status answer raw uncertain`,
		"/v1/dead/2":               `id arrival pipeline name record line column stage sink reason status answer raw_base64 uncertain`,
		"/v1/audit?arrival=1":      `pipeline arrival balanced records delivered duplicate filtered dead`,
		"/v1/status":               `pipelines sinks`,
		"/v1/arrivals?state=done":  `id finished_at`,
		"/v1/audit?pipeline=other": `arrival balanced`,
	} {
		w := request(h, "GET", path, "")
		if w.code != 200 {
			t.Errorf("%s: %d %s", path, w.code, w.body)
			continue
		}
		line, _, _ := strings.Cut(w.body, "\n")
		var got map[string]any
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Errorf("%s: %v in %s", path, err, line)
		}
		for key := range strings.FieldsSeq(want) {
			if _, ok := got[key]; !ok {
				t.Errorf("%s: no key %q in %s", path, key, line)
			}
		}
	}
	if w := request(h, "GET", "/v1/dead?id=1", ""); !strings.Contains(w.body, `"raw":"7,\"<x>\""`) {
		t.Errorf("raw is escaped more than JSON asks: %s", w.body)
	}
}

func TestActions(t *testing.T) {
	d := &desk{}
	for door, c := range clients(t, handler(sample(), d)) {
		t.Run(door, func(t *testing.T) {
			ctx := t.Context()
			window := admin.ReplayRequest{Pipeline: "orders", Since: time.Unix(1, 0), Until: time.Unix(2, 0), DryRun: true}
			for _, step := range []struct {
				want string
				do   func() error
			}{
				{"status", func() error { _, err := c.Status(ctx); return err }},
				{"release 2", func() error { return c.Release(ctx, 2) }},
				{"reject 2", func() error { return c.Reject(ctx, 2) }},
				{"replay 1 3-5  dry=false force=true", func() error {
					_, err := c.Replay(ctx, admin.ReplayRequest{Arrival: 1, First: 3, Last: 5, Force: true})
					return err
				}},
				{"replay 0 0-0 orders dry=true force=false", func() error {
					r, err := c.Replay(ctx, window)
					if err == nil && !r.DryRun {
						t.Error("dry run came back as none")
					}
					return err
				}},
				{"replay letters [1 2] 0  \"\" dry=false force=true", func() error {
					r, err := c.ReplayLetters(ctx, admin.LettersRequest{LetterFilter: ingest.LetterFilter{IDs: []int64{1, 2}}, Force: true})
					if err == nil && r.Letters != 2 {
						t.Errorf("letters: %+v", r)
					}
					return err
				}},
				{"drop letters [] 0  \"\"", func() error { _, err := c.DropLetters(ctx, ingest.LetterFilter{}); return err }},
				{"drop letters [] 4 p \"x\"", func() error {
					n, err := c.DropLetters(ctx, ingest.LetterFilter{Arrival: 4, Pipeline: "p", Reason: "x"})
					if n != 3 {
						t.Errorf("dropped %d", n)
					}
					return err
				}},
				{"forget orders map[a:1 b:x,y]", func() error {
					_, err := c.Forget(ctx, "orders", map[string]string{"a": "1", "b": "x,y"})
					return err
				}},
				{"pause crm 1970-01-01T00:00:01Z", func() error { return c.Pause(ctx, "crm", time.Unix(1, 0)) }},
				{"resume crm", func() error { return c.Resume(ctx, "crm") }},
				{"reload", func() error { return c.Reload(ctx) }},
				{"run-now orders", func() error { return c.RunNow(ctx, "orders") }},
				{"stats", func() error { _, err := c.LedgerStats(ctx); return err }},
				{"prune", func() error { _, err := c.LedgerPrune(ctx); return err }},
				{"sink test crm GET", func() error { _, err := c.SinkTest(ctx, "crm", "GET"); return err }},
				{"backup /x/y", func() error { return c.LedgerBackup(ctx, "/x/y") }},
			} {
				if err := step.do(); err != nil {
					t.Errorf("%s: %v", step.want, err)
				}
				if diff := cmp.Diff(step.want, d.last()); diff != "" {
					t.Errorf("asked (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestErrors(t *testing.T) {
	b, d := sample(), &desk{}
	for door, c := range clients(t, handler(b, d)) {
		t.Run(door, func(t *testing.T) {
			_, err := c.Arrival(t.Context(), 99)
			if !errors.Is(err, ingest.ErrNotFound) || err.Error() != "arrival 99: not in the ledger" {
				t.Errorf("missing arrival: %v", err)
			}
			if _, err := c.Letter(t.Context(), 99); !errors.Is(err, ingest.ErrNotFound) {
				t.Errorf("missing letter: %v", err)
			}
			d.err = admin.Conflict("ingestd arrivals --state held", "arrival 1 is not held")
			err = c.Release(t.Context(), 1)
			var e *admin.Error
			if statusOf(t, err) != http.StatusConflict || !errors.As(err, &e) || e.Hint != "ingestd arrivals --state held" {
				t.Errorf("conflict: %#v", err)
			}
			d.err = errors.New("disk I/O error")
			if got := statusOf(t, c.Release(t.Context(), 1)); got != http.StatusInternalServerError {
				t.Errorf("failure: %d", got)
			}
			d.err = nil

			// A listing that breaks off is an error, not a short listing.
			b.breaks = errors.New("disk I/O error")
			n := 0
			var last error
			for _, err := range c.Arrivals(t.Context(), ingest.ArrivalFilter{}) {
				if last = err; err == nil {
					n++
				}
			}
			b.breaks = nil
			if n != 2 || last == nil || last.Error() != "disk I/O error" {
				t.Errorf("broken listing: %d rows, then %v", n, last)
			}
		})
	}
}

func TestRefusedRequests(t *testing.T) {
	h := handler(sample(), &desk{})
	for name, c := range map[string]struct {
		method, path, body string
		want               int
	}{
		"state":              {"GET", "/v1/arrivals?state=odd", "", 400},
		"since":              {"GET", "/v1/arrivals?since=yesterday", "", 400},
		"limit":              {"GET", "/v1/arrivals?limit=-1", "", 400},
		"arrival id":         {"GET", "/v1/arrivals/x", "", 400},
		"arrival id zero":    {"GET", "/v1/arrivals/0", "", 400},
		"letter ids":         {"GET", "/v1/dead?id=1,x", "", 400},
		"method":             {"POST", "/v1/arrivals", "", 405},
		"path":               {"GET", "/v2", "", 404},
		"no JSON":            {"POST", "/v1/replay", "x", 400},
		"unknown key":        {"POST", "/v1/replay", `{"arrivel":1}`, 400},
		"two objects":        {"POST", "/v1/replay", `{"arrival":1}{}`, 400},
		"replay nothing":     {"POST", "/v1/replay", ``, 400},
		"replay both":        {"POST", "/v1/replay", `{"arrival":1,"pipeline":"p"}`, 400},
		"replay half window": {"POST", "/v1/replay", `{"pipeline":"p","since":"2026-01-01T00:00:00Z"}`, 400},
		"replay empty range": {"POST", "/v1/replay", `{"arrival":1,"first":5,"last":4}`, 400},
		"replay half range":  {"POST", "/v1/replay", `{"arrival":1,"first":5}`, 400},
		"drop nothing":       {"POST", "/v1/dead/drop", `{}`, 400},
		"forget nothing":     {"POST", "/v1/forget", `{"pipeline":"p"}`, 400},
		"pause nothing":      {"POST", "/v1/pause", `{}`, 400},
		"backup relative":    {"POST", "/v1/ledger/backup", `{"path":"x"}`, 400},
		"body at the bound":  {"POST", "/v1/pause", `{"name":"` + strings.Repeat("x", 1<<20-11) + `"}`, 200},
		"body past it":       {"POST", "/v1/pause", `{"name":"` + strings.Repeat("x", 1<<20-10) + `"}`, 413},
		"every letter":       {"POST", "/v1/dead/drop", `{"all":true}`, 200},
	} {
		t.Run(name, func(t *testing.T) {
			w := request(h, c.method, c.path, c.body)
			if w.code != c.want {
				t.Fatalf("%d %s, want %d", w.code, w.body, c.want)
			}
			if c.want == 400 {
				var e struct{ Error struct{ Message string } }
				if json.Unmarshal([]byte(w.body), &e) != nil || e.Error.Message == "" {
					t.Errorf("no message: %s", w.body)
				}
			}
		})
	}
}

func TestUnsupported(t *testing.T) {
	c := admin.Local(admin.Handler(admin.Options{Query: sample()}))
	if got := statusOf(t, c.Reload(t.Context())); got != http.StatusNotImplemented {
		t.Errorf("reload where nothing can: %d", got)
	}
	if _, err := c.SinkTest(t.Context(), "crm", ""); statusOf(t, err) != http.StatusNotImplemented {
		t.Errorf("sink test: %v", err)
	}
	if got := statusOf(t, c.Release(t.Context(), 1)); got != http.StatusNotImplemented {
		t.Errorf("release where nothing can: %d", got)
	}
}

func TestHealth(t *testing.T) {
	var why error
	h := admin.Handler(admin.Options{Query: sample(), Ready: func() error { return why }})
	if w := request(h, "GET", "/healthz", ""); w.code != 200 {
		t.Errorf("healthz: %d", w.code)
	}
	if w := request(h, "GET", "/readyz", ""); w.code != 200 {
		t.Errorf("readyz: %d", w.code)
	}
	why = errors.New("1 of 2 sources cannot do its work")
	if w := request(h, "GET", "/readyz", ""); w.code != 503 || !strings.Contains(w.body, why.Error()) {
		t.Errorf("readyz: %d %s", w.code, w.body)
	}
	if w := request(handler(sample(), &desk{}), "GET", "/metrics", ""); w.body != "ingestd_up 1\n" {
		t.Errorf("metrics: %s", w.body)
	}
}

func TestStaleSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.ListenUnix(t.Context(), path); err == nil {
		t.Fatal("a socket that answers was taken over")
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
	fresh, err := admin.ListenUnix(t.Context(), path)
	if err != nil {
		t.Fatalf("a stale socket was not replaced: %v", err)
	}
	defer fresh.Close()
	fi, err := os.Stat(path)
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}

	file := filepath.Join(t.TempDir(), "control.sock")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.ListenUnix(t.Context(), file); err == nil {
		t.Error("a plain file was removed for a socket")
	}
	if b, _ := os.ReadFile(file); !bytes.Equal(b, []byte("mine")) {
		t.Error("the file is gone")
	}
}

// A state directory may lie deeper than a socket's name may be long.
func TestLongSocketPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 120))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "control.sock")
	for range 2 { // the second replaces what the first left
		ln, err := admin.ListenUnix(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- admin.Serve(ctx, ln, handler(sample(), &desk{}), time.Second, slog.New(slog.DiscardHandler))
		}()
		c, err := admin.Dial(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Status(t.Context()); err != nil {
			t.Error(err)
		}
		c.Close()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

func TestDialNobody(t *testing.T) {
	if _, err := admin.Dial(t.Context(), filepath.Join(t.TempDir(), "control.sock")); err == nil {
		t.Error("dialed a socket that is not there")
	}
}

// An export is whole, or the caller hears that it is not.
func TestExportLetters(t *testing.T) {
	for door, c := range clients(t, handler(sample(), &desk{})) {
		t.Run(door, func(t *testing.T) {
			var b strings.Builder
			f := ingest.LetterFilter{Sink: "crm", Stage: ingest.StageDeliver}
			if err := c.ExportLetters(t.Context(), f, &b); err != nil || b.String() != "id\ncrm deliver\n" {
				t.Errorf("%q, %v", b.String(), err)
			}
			for _, sink := range []string{"early", "late"} {
				if err := c.ExportLetters(t.Context(), ingest.LetterFilter{Pipeline: "broken", Sink: sink}, io.Discard); err == nil {
					t.Errorf("%s: no error", sink)
				}
			}
			if err := c.ExportLetters(t.Context(), ingest.LetterFilter{Stage: "eaten"}, io.Discard); err == nil || !strings.Contains(err.Error(), "none of parse") {
				t.Errorf("an unknown stage: %v", err)
			}
		})
	}
}
