package webhook_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/source/webhook"
)

// A shelf is a Store in memory.
type shelf struct {
	mu     sync.Mutex
	events []webhook.Stored
	dead   map[ingest.Ref]bool
	err    error
	slow   chan struct{} // Append waits for it
}

func (s *shelf) Append(_ context.Context, events []webhook.Stored) (ingest.Ref, error) {
	if s.slow != nil {
		<-s.slow
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return ingest.Ref{}, s.err
	}
	first := ingest.Ref{Arrival: 7, Event: len(s.events) + 1}
	s.events = append(s.events, events...)
	return first, nil
}

func (s *shelf) Died(_ context.Context, r ingest.Ref) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dead[r], nil
}

func (s *shelf) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *shelf) die(r ingest.Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = map[ingest.Ref]bool{r: true}
}

func (s *shelf) bodies() (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		out = append(out, string(e.Body))
	}
	return out
}

// head is what is kept of event i beside its body.
func (s *shelf) head(t *testing.T, i int) (e ingest.Event) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if i >= len(s.events) {
		t.Fatalf("%d events are stored", len(s.events))
	}
	d := json.NewDecoder(bytes.NewReader(s.events[i].Head))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		t.Fatalf("head %s: %v", s.events[i].Head, err)
	}
	return e
}

// A site is a server on loopback with one hook.
type site struct {
	*webhook.Server
	hook  *webhook.Hook
	shelf *shelf
	url   string
	log   *lockedBuffer
	stop  func()
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

const secret = "It's a Secret to Everybody"

// github is a hook as GitHub's senders want it.
func githubHook() webhook.HookOptions {
	return webhook.HookOptions{Verifier: must(webhook.NewVerifier(webhook.VerifyOptions{Scheme: "github", Secrets: secrets(secret)}))}
}

func noneHook() webhook.HookOptions {
	return webhook.HookOptions{Verifier: must(webhook.NewVerifier(webhook.VerifyOptions{Scheme: "none"}))}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// open starts a site. What the options leave out is filled in.
func open(t testing.TB, h webhook.HookOptions, o webhook.ServerOptions, routes ...func(*webhook.Routes)) *site {
	t.Helper()
	s := &site{shelf: &shelf{}, log: &lockedBuffer{}}
	if h.Store == nil {
		h.Store = s.shelf
	} else if own, ok := h.Store.(*shelf); ok {
		s.shelf = own
	}
	if h.Path == "" {
		h.Path = "/hooks/orders"
	}
	if h.Methods == nil {
		h.Methods = []string{"POST"}
	}
	h.Pipeline = "orders"
	h.Logger = slog.New(slog.NewTextHandler(s.log, nil))
	o.Logger = h.Logger
	s.hook = webhook.NewHook(h)
	s.Server = webhook.NewServer(o)
	r := webhook.Routes{Hooks: []*webhook.Hook{s.hook}}
	for _, f := range routes {
		f(&r)
	}
	s.Route(r)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.url = "http://" + ln.Addr().String()
	if o.TLS != nil {
		s.url = "https://" + ln.Addr().String()
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, ln, 5*time.Second) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(s.stop)
	return s
}

func (s *site) addr() string { return s.url[strings.LastIndex(s.url, "/")+1:] }

// An asked is a request to send.
type asked struct {
	method string
	path   string
	header http.Header
	body   string
}

// A told is what came back.
type told struct {
	status int
	header http.Header
	body   string
}

func (s *site) send(t testing.TB, a asked) told {
	t.Helper()
	got, err := s.try(a)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func (s *site) try(a asked) (told, error) {
	if a.method == "" {
		a.method = "POST"
	}
	if a.path == "" {
		a.path = "/hooks/orders"
	}
	r, err := http.NewRequest(a.method, s.url+a.path, strings.NewReader(a.body))
	if err != nil {
		return told{}, err
	}
	for name, vs := range a.header {
		r.Header[name] = vs
	}
	if r.Header["Content-Type"] == nil && a.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	res, err := plainClient.Do(r)
	if err != nil {
		return told{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return told{res.StatusCode, res.Header, string(b)}, err
}

// plainClient asks for no compression of its own accord and reuses nothing.
var plainClient = &http.Client{
	Timeout:       20 * time.Second,
	Transport:     &http.Transport{DisableCompression: true, DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// signed is a request as GitHub sends it.
func signed(body, id string) asked {
	h := header("X-Hub-Signature-256", "sha256="+hex.EncodeToString(sign(sha256.New, []byte(secret), body)), "X-Github-Event", "push")
	if id != "" {
		h.Set("X-Github-Delivery", id)
	}
	return asked{header: h, body: body}
}
