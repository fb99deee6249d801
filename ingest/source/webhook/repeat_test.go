package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/source/webhook"
)

// TestSameMillisecond: 32 times the same event at once is stored once, and all
// are told of it, none before it is on disk.
func TestSameMillisecond(t *testing.T) {
	h := githubHook()
	h.Store = &shelf{slow: make(chan struct{})}
	s := open(t, h, webhook.ServerOptions{})
	got := make(chan told)
	for range 32 {
		go func() {
			a, err := s.try(signed(`{"a":1}`, "d-1"))
			if err != nil {
				t.Error(err)
			}
			got <- a
		}()
	}
	select {
	case a := <-got:
		t.Errorf("answered before it was stored: %+v", a)
	case s.shelf.slow <- struct{}{}:
	}
	fresh := 0
	for range 32 {
		a := <-got
		if a.status == 202 {
			fresh++
		}
		if a.status != 202 && a.status != 200 || a.body != `{"arrival":"7.1"}`+"\n" {
			t.Errorf("%+v", a)
		}
	}
	if n := len(s.shelf.bodies()); fresh != 1 || n != 1 {
		t.Errorf("%d times 202, %d events", fresh, n)
	}
}

func TestRepeats(t *testing.T) {
	s := open(t, githubHook(), webhook.ServerOptions{})
	for _, c := range []struct {
		body, id string
		status   int
		arrival  string
	}{
		{`{"a":1}`, "d-1", 202, "7.1"},
		{`{"a":1}`, "d-1", 200, "7.1"},
		{`{"a":1}`, "d-2", 200, "7.1"}, // the id is not signed: the bytes count
		{`{"a":2}`, "d-1", 200, "7.1"}, // and so does the id
		{`{"a":2}`, "d-3", 202, "7.2"},
		{`{"a":2}`, "", 200, "7.2"},
		{`{"a":3}`, "", 202, "7.3"},
	} {
		if got := s.send(t, signed(c.body, c.id)); got.status != c.status || got.body != fmt.Sprintf("{\"arrival\":%q}\n", c.arrival) {
			t.Errorf("%s %s: %+v", c.body, c.id, got)
		}
	}
	// An event whose records died is taken again, and is the one from then on.
	s.shelf.die(ingest.Ref{Arrival: 7, Event: 1})
	if got := s.send(t, signed(`{"a":1}`, "d-1")); got.status != 202 || !strings.Contains(got.body, "7.4") {
		t.Errorf("died: %+v", got)
	}
	if got := s.send(t, signed(`{"a":1}`, "d-1")); got.status != 200 || !strings.Contains(got.body, "7.4") {
		t.Errorf("again: %+v", got)
	}
}

// TestNotSigned: none, basic and bearer know a repeat by event_id only.
func TestNotSigned(t *testing.T) {
	for _, o := range []webhook.VerifyOptions{
		{Scheme: "none"},
		{Scheme: "basic", User: "me", Password: ingest.NewSecret("pw")},
		{Scheme: "bearer", Token: ingest.NewSecret("tok")},
	} {
		h := webhook.HookOptions{Verifier: must(webhook.NewVerifier(o)), EventID: webhook.IDPlace{Header: "X-Id"}}
		s := open(t, h, webhook.ServerOptions{})
		send := func(id string) told {
			a := asked{body: `{"id":5}`, header: header("Content-Type", "application/json", "X-Id", id)}
			switch o.Scheme {
			case "basic":
				a.header.Set("Authorization", "Basic bWU6cHc=")
			case "bearer":
				a.header.Set("Authorization", "Bearer tok")
			}
			return s.send(t, a)
		}
		for i, c := range []struct {
			id     string
			status int
		}{{"", 202}, {"", 202}, {"a", 202}, {"a", 200}, {"b", 202}, {"a b", 202}, {"a b", 202}} {
			if got := send(c.id); got.status != c.status {
				t.Errorf("%s, request %d: %+v", o.Scheme, i, got)
			}
		}
		if o.Scheme != "none" {
			if got := s.send(t, asked{body: "{}"}); got.status != 401 || !strings.HasPrefix(strings.ToLower(got.header.Get("WWW-Authenticate")), o.Scheme) {
				t.Errorf("%s: %+v", o.Scheme, got)
			}
		}
	}
	h := noneHook()
	h.EventID = webhook.IDPlace{Path: "meta.id"}
	s := open(t, h, webhook.ServerOptions{})
	for body, want := range map[string]int{`{"meta":{"id":5},"a":2}`: 200, `{"meta":{"id":"6"}}`: 202, `{"meta":5}`: 202, `[1]`: 202} {
		s.send(t, asked{body: `{"meta":{"id":5}}`})
		if got := s.send(t, asked{body: body}); got.status != want {
			t.Errorf("%s: %+v", body, got)
		}
	}
}

// TestFailedIsForgotten: those who waited for an event that could not be stored
// store it themselves.
func TestFailedIsForgotten(t *testing.T) {
	h := githubHook()
	slow := make(chan struct{})
	h.Store = &shelf{slow: slow, err: errors.New("the disk is gone")}
	s := open(t, h, webhook.ServerOptions{})
	got := make(chan told)
	for range 8 {
		go func() {
			a, err := s.try(signed(`{"a":1}`, "d-1"))
			if err != nil {
				t.Error(err)
			}
			got <- a
		}()
	}
	slow <- struct{}{}
	if a := <-got; a.status != 503 {
		t.Errorf("%+v", a)
	}
	s.shelf.fail(nil)
	slow <- struct{}{}
	for i := range 7 {
		if a := <-got; a.status != 200 && a.status != 202 || !strings.Contains(a.body, "7.1") {
			t.Errorf("%d: %+v", i, a)
		}
	}
	if n := len(s.shelf.bodies()); n != 1 {
		t.Errorf("%d events", n)
	}
}

// recorded sends a request to a server without a network, as clocks in a bubble
// want it.
func recorded(s *webhook.Server, a asked) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "/hooks/orders", strings.NewReader(a.body))
	for name, vs := range a.header {
		r.Header[name] = vs
	}
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func closed(h webhook.HookOptions) (*webhook.Hook, *webhook.Server) {
	h.Path = "/hooks/orders"
	return closedAt(h)
}

func closedAt(h webhook.HookOptions) (*webhook.Hook, *webhook.Server) {
	h.Pipeline, h.Methods, h.Logger = "orders", []string{"POST"}, slog.New(slog.DiscardHandler)
	hook := webhook.NewHook(h)
	s := webhook.NewServer(webhook.ServerOptions{Logger: h.Logger})
	s.Route(webhook.Routes{Hooks: []*webhook.Hook{hook}})
	return hook, s
}

// TestReplayWindow: an event is a repeat to the end of the window and no longer.
func TestReplayWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := githubHook()
		h.Store, h.ReplayWindow = &shelf{}, time.Hour
		_, s := closed(h)
		for _, c := range []struct {
			wait   time.Duration
			status int
		}{{0, 202}, {time.Hour, 200}, {time.Second, 202}, {30 * time.Minute, 200}, {30 * time.Minute, 200}, {time.Nanosecond, 202}} {
			time.Sleep(c.wait)
			if got := recorded(s, signed("{}", "d-1")); got.Code != c.status {
				t.Errorf("after %v: %d", c.wait, got.Code)
			}
		}
	})
}

// TestRestart: what an earlier process stored is known from the heads, for the
// rest of the window.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &shelf{}
		h := githubHook()
		h.Store, h.ReplayWindow = store, time.Hour
		_, s := closed(h)
		if got := recorded(s, signed("{}", "d-1")); got.Code != 202 {
			t.Fatal(got.Code)
		}
		time.Sleep(40 * time.Minute)
		if got := recorded(s, signed("[]", "d-2")); got.Code != 202 {
			t.Fatal(got.Code)
		}
		hook, s := closed(h)
		for i, e := range store.events {
			var head ingest.Event
			if err := json.Unmarshal(e.Head, &head); err != nil {
				t.Fatal(err)
			}
			hook.Restore(&head, ingest.Ref{Arrival: 7, Event: i + 1}, time.Now())
		}
		for _, c := range []struct {
			body, id string
			status   int
			arrival  string
		}{{"{}", "x", 200, "7.1"}, {"null", "d-1", 200, "7.1"}, {"[]", "d-2", 200, "7.2"}, {"1", "d-3", 202, "7.3"}} {
			if got := recorded(s, signed(c.body, c.id)); got.Code != c.status || !strings.Contains(got.Body.String(), c.arrival) {
				t.Errorf("%s %s: %d %s", c.body, c.id, got.Code, got.Body)
			}
		}
		time.Sleep(21 * time.Minute)
		if got := recorded(s, signed("{}", "d-1")); got.Code != 202 {
			t.Errorf("past the window: %d", got.Code)
		}
		if got := recorded(s, signed("[]", "d-2")); got.Code != 200 {
			t.Errorf("within it: %d", got.Code)
		}
		time.Sleep(2 * time.Hour)
		hook, _ = closed(h)
		hook.Restore(&ingest.Event{At: time.Now().Add(-61 * time.Minute), Marks: [][]byte{make([]byte, 16)}}, ingest.Ref{Arrival: 1, Event: 1}, time.Now())
		hook.Restore(&ingest.Event{At: time.Now(), Marks: [][]byte{make([]byte, 15)}}, ingest.Ref{Arrival: 1, Event: 1}, time.Now())
		if n := webhook.Remembered(hook); n != 0 {
			t.Errorf("%d marks are remembered that are too old, or none", n)
		}
	})
}

// TestReload: the hook that replaces another knows what that one knew.
func TestReload(t *testing.T) {
	h := githubHook()
	h.Store = &shelf{}
	old, s := closed(h)
	recorded(s, signed("{}", "d-1"))
	h.Replaces = old
	_, s = closed(h)
	if got := recorded(s, signed("{}", "d-1")); got.Code != 200 {
		t.Errorf("%d", got.Code)
	}
}

// TestMemoryIsBounded: the oldest are forgotten first, an eighth at a time.
func TestMemoryIsBounded(t *testing.T) {
	h := githubHook()
	h.Store, h.MaxMarks = &shelf{}, 800
	hook, s := closed(h)
	const events = 1500 // two marks each
	for i := range events {
		if got := recorded(s, signed(fmt.Sprint(i), fmt.Sprint("d-", i))); got.Code != 202 {
			t.Fatal(got.Code)
		}
		if n := webhook.Remembered(hook); n > 800 {
			t.Fatalf("%d marks after %d events", n, i)
		}
	}
	for i, want := range map[int]int{events - 1: 200, events - 349: 200, 0: 202} {
		if got := recorded(s, signed(fmt.Sprint(i), fmt.Sprint("d-", i))); got.Code != want {
			t.Errorf("event %d: %d", i, got.Code)
		}
	}
}

// TestPanicOfAStore: an event whose storing ended in a panic blocks no other.
func TestPanicOfAStore(t *testing.T) {
	h := githubHook()
	h.Store = fallen{}
	_, s := closed(h)
	for range 2 {
		func() {
			defer func() { _ = recover() }()
			recorded(s, signed("{}", "d-1"))
			t.Error("no panic")
		}()
	}
}

// TestSenderLeaves: who leaves while another's same event is being stored is
// not answered, least of all with 200.
func TestSenderLeaves(t *testing.T) {
	h := githubHook()
	slow := make(chan struct{})
	h.Store = &shelf{slow: slow}
	hook, s := closed(h)
	first := make(chan int)
	go func() { first <- recorded(s, signed("{}", "d-1")).Code }()
	for webhook.Remembered(hook) == 0 {
		runtime.Gosched()
	}
	ctx, leave := context.WithCancel(t.Context())
	leave()
	a := signed("{}", "d-1")
	r := httptest.NewRequest("POST", "/hooks/orders", strings.NewReader(a.body)).WithContext(ctx)
	r.Header = a.header
	r.Header.Set("Content-Type", "application/json")
	func() {
		defer func() {
			if p := recover(); p != http.ErrAbortHandler {
				t.Errorf("it ended with %v", p)
			}
		}()
		s.ServeHTTP(httptest.NewRecorder(), r)
	}()
	slow <- struct{}{}
	if got := <-first; got != 202 {
		t.Errorf("the first: %d", got)
	}
}

type fallen struct{}

func (fallen) Append(context.Context, []webhook.Stored) (ingest.Ref, error) { panic("fallen") }
func (fallen) Died(context.Context, ingest.Ref) (bool, error)               { return false, nil }

// TestLogIsBounded: who sends nonsense does not fill the log, nor write it.
func TestLogIsBounded(t *testing.T) {
	s := open(t, githubHook(), webhook.ServerOptions{})
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			a := signed("{}", fmt.Sprint("d-", i))
			a.header["X-Hub-Signature-256"] = []string{"sha256=\tlevel=ERROR msg=forged"}
			a.path = "/hooks/orders/%0alevel=ERROR"
			if i%2 == 0 {
				a.path = "/hooks/orders"
			}
			s.try(a)
		})
	}
	wg.Wait()
	if n := strings.Count(s.log.String(), "\n"); n > 10 || n == 0 {
		t.Errorf("%d lines", n)
	}
	if strings.Contains(s.log.String(), "level=ERROR") {
		t.Errorf("forged: %s", s.log)
	}
}
