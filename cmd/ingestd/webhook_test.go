package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ingestd/ingest/admin"
)

// A clerk is a target that answers each request in words of its own, and can be
// made to wait.
type clerk struct {
	mu    sync.Mutex
	seen  []string // arrival, a space, body
	asked []string // paths with queries
	mild  bool     // refuses nothing
	open  chan struct{}
}

func (c *clerk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	c.mu.Lock()
	open, mild := c.open, c.mild
	if r.Method == http.MethodGet {
		c.asked = append(c.asked, r.URL.RequestURI())
	} else {
		c.seen = append(c.seen, r.Header.Get("X-Ingestd-Arrival")+" "+string(b))
	}
	c.mu.Unlock()
	if bytes.Contains(b, []byte("slow")) {
		select {
		case <-open:
		case <-r.Context().Done():
			return
		}
	}
	w.Header().Set("Content-Type", "application/vnd.clerk+json")
	switch {
	case r.Method == http.MethodGet:
		_, _ = io.WriteString(w, `{"asked": true}`)
	case bytes.Contains(b, []byte("refuse")) && !mild:
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = io.WriteString(w, `{"refused": "for cause"}`)
	default:
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"made": "`+strings.Repeat("x", 5000)+`"}`)
	}
}

// A house is a daemon with webhooks, and its target.
type house struct {
	t      *testing.T
	ctx    context.Context
	dir    string
	addr   string
	target *clerk
	cmd    *exec.Cmd
	out    *strings.Builder
	env    []string
}

func newHouse(t *testing.T, pipelines string) *house {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	h := &house{t: t, ctx: ctx, dir: t.TempDir(), addr: freeAddr(t), target: &clerk{open: make(chan struct{})}}
	srv := httptest.NewServer(h.target)
	t.Cleanup(srv.Close)
	t.Cleanup(func() { h.stop() })
	write(t, h.path("ingestd.yaml"), fmt.Sprintf(`
state_dir: %s
min_free: 0%%
admin: {listen: "unix:%s"}
webhooks: {listen: "%s"}
sinks:
  api: {type: http, url: %s/orders, timeout: 20s, retry: {initial: 5ms, max: 100ms}}
  copy: {type: file, path: "%s"}
pipelines:
%s`, h.path("state"), h.path("admin.sock"), h.addr, srv.URL, h.path("copy.ndjson"), pipelines))
	return h
}

func (h *house) path(name string) string { return filepath.Join(h.dir, name) }

func (h *house) command(args ...string) (*exec.Cmd, *strings.Builder) {
	cmd := exec.CommandContext(h.ctx, os.Args[0], append(args, "-c", h.path("ingestd.yaml"))...)
	cmd.Env = append(os.Environ(), asMain+"=1", "INGESTD_CONFIG=")
	cmd.Env = append(cmd.Env, h.env...)
	out := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = out, out
	return cmd, out
}

// run starts the daemon and waits until it answers.
func (h *house) run() {
	h.t.Helper()
	h.cmd, h.out = h.command("run")
	if err := h.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.await("the daemon answers", func() bool {
		res, err := http.Get("http://" + h.addr + "/nowhere")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusNotFound
	})
}

func (h *house) stop() {
	if h.cmd != nil {
		_ = h.cmd.Process.Signal(os.Interrupt)
		_ = h.cmd.Wait()
		h.cmd = nil
	}
}

func (h *house) await(what string, is func() bool) {
	h.t.Helper()
	for !is() {
		select {
		case <-h.ctx.Done():
			h.t.Fatalf("%s: not in time\n%s", what, h.out)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// says runs a command and returns the objects that it prints.
func (h *house) says(args ...string) (out []map[string]any) {
	h.t.Helper()
	cmd, text := h.command(args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Run(); err != nil {
		h.t.Fatalf("%v: %v\n%s%s", args, err, text, &errs)
	}
	d := json.NewDecoder(strings.NewReader(text.String()))
	for d.More() {
		var v map[string]any
		if err := d.Decode(&v); err != nil {
			h.t.Fatalf("%v: %v\n%s", args, err, text)
		}
		out = append(out, v)
	}
	return out
}

// call sends a request and returns status, headers and body.
func (h *house) call(method, url, body string, header ...string) (int, http.Header, string) {
	h.t.Helper()
	if strings.HasPrefix(url, "/") {
		url = "http://" + h.addr + url
	}
	req, err := http.NewRequestWithContext(h.ctx, method, url, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return res.StatusCode, res.Header, string(b)
}

// arrivalIn is the arrival that an answer names.
func arrivalIn(t *testing.T, body string) string {
	t.Helper()
	var v struct{ Arrival string }
	if err := json.Unmarshal([]byte(body), &v); err != nil || v.Arrival == "" {
		t.Fatalf("the answer names no arrival: %s", body)
	}
	return v.Arrival
}

// TestWebhookEvents: events are answered with the arrival that they are, and go
// the way of a file: delivered, shown, dead where they are bad, replayed.
func TestWebhookEvents(t *testing.T) {
	t.Parallel()
	h := newHouse(t, `
  orders:
    source: {type: webhook, verify: {scheme: bearer, token: t0ken-of-tests}, event_id: {header: X-Id}}
    sinks: [api, copy]
`)
	h.run()
	hooks := h.says("hooks", "--json")
	if len(hooks) != 1 || hooks[0]["pipeline"] != "orders" {
		t.Fatalf("hooks: %v", hooks)
	}
	url := fmt.Sprint(hooks[0]["url"])
	if path, ok := strings.CutPrefix(url, "http://"+h.addr+"/hooks/"); !ok || len(path) < 32 {
		t.Fatalf("the URL %s can be guessed", url)
	}
	auth := []string{"Authorization", "Bearer t0ken-of-tests"}
	if status, _, _ := h.call("POST", url, `{"id": 1}`); status != http.StatusUnauthorized {
		t.Errorf("without a token: %d", status)
	}
	status, _, body := h.call("POST", url, `[{"id": 1}, {"id": "refuse"}]`, append(auth, "X-Id", "evt-1")...)
	if status != http.StatusAccepted {
		t.Fatalf("%d %s", status, body)
	}
	first := arrivalIn(t, body)
	if status, _, body := h.call("POST", url, `{"id": 2, "id": 3}`, auth...); status != http.StatusAccepted {
		t.Errorf("%d %s", status, body)
	}
	h.await("both events end", func() bool {
		list := h.says("arrivals", "--json", "--state", "done")
		return len(list) == 2
	})
	shown := h.says("show", first, "--json")[0]
	for key, want := range map[string]any{
		"id": first, "event_id": "evt-1", "pipeline": "orders", "source": "webhook", "state": "done", "records": 2.0, "delivered": 1.0, "dead": 1.0, "size": 29.0,
	} {
		if shown[key] != want {
			t.Errorf("show: %s is %v, want %v", key, shown[key], want)
		}
	}
	letters := h.says("dead", "list", "--arrival", first, "--json")
	if len(letters) != 1 || letters[0]["arrival"] != first || letters[0]["sink"] != "api" {
		t.Errorf("letters of %s: %v", first, letters)
	}
	if all := h.says("dead", "list", "--json"); len(all) != 2 {
		t.Errorf("letters: %v", all)
	}
	if row := h.says("audit", first, "--json")[0]; row["balanced"] != true || row["arrival"] != first || row["dead"] != 1.0 {
		t.Errorf("audit: %v", row)
	}
	h.target.mu.Lock()
	if len(h.target.seen) < 1 || !strings.HasPrefix(h.target.seen[0], first+" ") {
		t.Errorf("the target saw %q", h.target.seen)
	}
	h.target.mu.Unlock()

	// The event again is taken again: a record of it died.
	if status, _, _ := h.call("POST", url, `[{"id": 1}, {"id": "refuse"}]`, append(auth, "X-Id", "evt-1")...); status != http.StatusAccepted {
		t.Errorf("a repeat of an event with a dead record: %d", status)
	}
	// A letter of an event is sent by itself, once the target takes it.
	h.target.mu.Lock()
	h.target.mild = true
	h.target.mu.Unlock()
	if cmd, out := h.command("dead", "replay", fmt.Sprint(letters[0]["id"])); cmd.Run() != nil {
		t.Errorf("dead replay: %s", out)
	}
	if got := h.says("show", first, "--json")[0]; got["delivered"] != 2.0 || got["dead"] != 0.0 {
		t.Errorf("after a replay of its letter: %v", got)
	}
	// Another is known, also by the next process, under the same URL.
	_, _, body = h.call("POST", url, `{"id": 7}`, append(auth, "X-Id", "evt-7")...)
	seventh := arrivalIn(t, body)
	h.stop()
	h.run()
	if again := fmt.Sprint(h.says("hooks", "--json")[0]["url"]); again != url {
		t.Errorf("the URL was %s, is %s", url, again)
	}
	status, _, body = h.call("POST", url, `{"id": 7}`, append(auth, "X-Id", "evt-7")...)
	if status != http.StatusOK || arrivalIn(t, body) != seventh {
		t.Errorf("a repeat after a restart: %d %s, want 200 with %s", status, body, seventh)
	}

	// While the pipeline is paused events are stored, and seen.
	if cmd, out := h.command("pause", "orders"); cmd.Run() != nil {
		t.Fatal(out)
	}
	_, _, body = h.call("POST", url, `{"id": 8}`, auth...)
	eighth := arrivalIn(t, body)
	if got := h.says("show", eighth, "--json")[0]; got["state"] != "waiting" || got["size"] != 9.0 {
		t.Errorf("an event that waits: %v", got)
	}
	var s admin.Status
	cmd, out := h.command("status", "--json")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(out.String()), &s); err != nil || s.Pipelines[0].Waiting != 1 || s.Pipelines[0].State != "paused" {
		t.Errorf("status while an event waits: %v %s", err, out)
	}
	h.stop()
	cmd, out = h.command("once")
	if err := cmd.Run(); err != nil {
		t.Errorf("once: %v\n%s", err, out)
	}
	if got := h.says("show", eighth, "--json")[0]; got["state"] != "done" || got["delivered"] != 1.0 {
		t.Errorf("once did not finish what was stored: %v", got)
	}
	cmd, out = h.command("audit")
	if err := cmd.Run(); err != nil {
		t.Errorf("audit: %v\n%s", err, out)
	}
}

// TestWebhookSync: a sender gets the target's own answer; past the timeout it
// is told where that will be, which a restart does not change.
// TestWebhookWait: where a sink says so, events wait for others to share a
// request with.
func TestWebhookWait(t *testing.T) {
	t.Parallel()
	h := newHouse(t, `
  orders:
    source: {type: webhook, path: /hooks/orders, verify: {scheme: none}}
    sinks: [api]
defaults: {sink: {batch: {max_wait: 1h, max_records: 20}}}
`)
	h.run()
	for i := range 20 {
		if status, _, body := h.call("POST", "http://"+h.addr+"/hooks/orders", fmt.Sprintf(`{"id": %d}`, i)); status != http.StatusAccepted {
			t.Fatalf("%d %s", status, body)
		}
	}
	h.await("all events end", func() bool { return len(h.says("arrivals", "--json", "--state", "done")) == 20 })
	h.target.mu.Lock()
	defer h.target.mu.Unlock()
	if len(h.target.seen) != 1 || strings.Count(h.target.seen[0], `"id"`) != 20 || !strings.HasPrefix(h.target.seen[0], " ") {
		t.Errorf("the target saw %d requests: %q", len(h.target.seen), h.target.seen)
	}
}

func TestWebhookSync(t *testing.T) {
	t.Parallel()
	h := newHouse(t, `
  ask:
    source: {type: webhook, path: /ask, mode: sync, methods: [GET, POST], timeout: 300ms, respond: api, verify: {scheme: none}}
    sinks: [copy, api]
`)
	h.run()
	status, header, body := h.call("POST", "/ask", `{"id": 1}`)
	if status != http.StatusCreated || header.Get("Content-Type") != "application/vnd.clerk+json" || len(body) != 5012 {
		t.Errorf("answered %d %s, %d bytes", status, header.Get("Content-Type"), len(body))
	}
	if status, _, body := h.call("POST", "/ask", `{"id": "refuse"}`); status != http.StatusUnprocessableEntity || body != `{"refused": "for cause"}` {
		t.Errorf("refused: %d %s", status, body)
	}
	// What no target is asked about has an answer too.
	if status, _, body := h.call("POST", "/ask", `{"id": 1, "id": 2}`); status != http.StatusUnprocessableEntity || !strings.Contains(body, "stands twice") {
		t.Errorf("unreadable: %d %s", status, body)
	}
	if status, _, body := h.call("GET", "/ask/17/items?page=2", ""); status != http.StatusOK || body != `{"asked": true}` {
		t.Errorf("asked: %d %s", status, body)
	}
	h.target.mu.Lock()
	if len(h.target.asked) != 1 || h.target.asked[0] != "/orders/17/items?page=2" {
		t.Errorf("the target was asked %q", h.target.asked)
	}
	h.target.mu.Unlock()

	status, header, body = h.call("POST", "/ask", `{"id": "slow"}`)
	where := header.Get("Location")
	if status != http.StatusAccepted || !strings.HasPrefix(where, "http://"+h.addr+"/") {
		t.Fatalf("past the timeout: %d, Location %q, %s", status, where, body)
	}
	arrival := arrivalIn(t, body)
	if status, _, body := h.call("GET", where, ""); status != http.StatusAccepted || arrivalIn(t, body) != arrival {
		t.Errorf("until it is done: %d %s", status, body)
	}
	if status, _, _ := h.call("GET", where[:len(where)-2]+"AA", ""); status != http.StatusNotFound {
		t.Errorf("a guessed place: %d", status)
	}
	h.stop()
	close(h.target.open)
	h.run()
	h.await("the answer is there", func() bool {
		status, header, body := h.call("GET", where, "")
		return status == http.StatusCreated && header.Get("Content-Type") == "application/vnd.clerk+json" && len(body) == 5012
	})
	h.await("the other sink has it", func() bool {
		b, _ := os.ReadFile(h.path("copy.ndjson"))
		return strings.Count(string(b), "\n") == 3
	})
	if list := h.says("arrivals", "--json"); len(list) != 4 {
		t.Errorf("%d arrivals, want 4: what was asked is none", len(list))
	}
}

// TestWebhookReload: a reload swaps hooks on the listener that there is, and
// forgets no event.
func TestWebhookReload(t *testing.T) {
	t.Parallel()
	const one = `
  a: {source: {type: webhook, path: /a, verify: {scheme: none}, event_id: {header: X-Id}}, sinks: [api]}
`
	h := newHouse(t, one)
	h.run()
	_, _, body := h.call("POST", "/a", `{"id": 1}`, "X-Id", "one")
	first := arrivalIn(t, body)
	text, err := os.ReadFile(h.path("ingestd.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, h.path("ingestd.yaml"), string(text)+"  b: {source: {type: webhook, path: /b, verify: {scheme: none}}, sinks: [api]}\n")
	if cmd, out := h.command("reload"); cmd.Run() != nil {
		t.Fatal(out)
	}
	if status, _, _ := h.call("POST", "/b", `{"id": 2}`); status != http.StatusAccepted {
		t.Errorf("the new hook: %d", status)
	}
	if status, _, body := h.call("POST", "/a", `{"id": 1}`, "X-Id", "one"); status != http.StatusOK || arrivalIn(t, body) != first {
		t.Errorf("a repeat after a reload: %d %s", status, body)
	}
	h.await("both are delivered", func() bool { return len(h.says("arrivals", "--json", "--state", "done")) == 2 })
	// Below min_free nothing is stored, and nothing is promised.
	text, err = os.ReadFile(h.path("ingestd.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, h.path("ingestd.yaml"), strings.Replace(string(text), "min_free: 0%", "min_free: 99.9%", 1))
	if cmd, out := h.command("reload"); cmd.Run() != nil {
		t.Fatal(out)
	}
	if status, header, body := h.call("POST", "/b", `{"id": 3}`); status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("on a full disk: %d %v %s", status, header, body)
	}
	var s admin.Status
	cmd, out := h.command("status", "--json")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(out.String()), &s); err != nil || len(s.Pipelines) != 2 || s.Pipelines[0].LastArrival == nil {
		t.Errorf("status: %v %s", err, out)
	}
}

// TestWebhookRetention: events past their time are removed once their bundle has
// ended; what the ledger knows of them stays, and a replay says what is missing.
func TestWebhookRetention(t *testing.T) {
	t.Parallel()
	h := newHouse(t, `
  a: {source: {type: webhook, path: /a, verify: {scheme: none}}, sinks: [api]}
`)
	h.env = []string{clockBy + "=-800h"}
	h.run()
	_, _, body := h.call("POST", "/a", `{"id": 1}`)
	old := arrivalIn(t, body)
	h.await("it is delivered", func() bool { return len(h.says("arrivals", "--json", "--state", "done")) == 1 })
	h.stop()
	h.env = nil
	segments, err := filepath.Glob(h.path("state/events/a/*.events"))
	if err != nil || len(segments) != 1 {
		t.Fatalf("segments %v, %v", segments, err)
	}
	if err := os.Chtimes(segments[0], time.Time{}, time.Now().Add(-800*time.Hour)); err != nil {
		t.Fatal(err)
	}
	h.run()
	_, _, body = h.call("POST", "/a", `{"id": 2}`)
	arrivalIn(t, body)
	h.says("ledger", "prune", "--json")
	if left, _ := filepath.Glob(h.path("state/events/a/*.events")); len(left) != 1 || left[0] == segments[0] {
		t.Errorf("segments after pruning: %v", left)
	}
	if got := h.says("show", old, "--json")[0]; got["state"] != "done" || got["delivered"] != 1.0 {
		t.Errorf("what is known of a pruned event: %v", got)
	}
	cmd, out := h.command("replay", old)
	if cmd.Run() == nil || !strings.Contains(out.String(), "gone") {
		t.Errorf("a replay of it: %s", out)
	}
}
