package webhook_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/source/webhook"
)

// A desk answers as a test says.
type desk struct {
	reply chan ingest.Reply
	asked chan asked
	err   error
}

func (d *desk) Await(ctx context.Context, r ingest.Ref) (ingest.Reply, bool, error) {
	if d.err != nil {
		return ingest.Reply{}, false, d.err
	}
	select {
	case got := <-d.reply:
		return got, true, nil
	case <-ctx.Done():
		return ingest.Reply{}, false, nil
	}
}

func (d *desk) Ask(ctx context.Context, method, suffix, query string, header http.Header) (ingest.Reply, error) {
	if d.err != nil {
		return ingest.Reply{}, d.err
	}
	d.asked <- asked{method: method, path: suffix + "?" + query, header: header}
	select {
	case got := <-d.reply:
		return got, nil
	case <-ctx.Done():
		return ingest.Reply{}, ctx.Err()
	}
}

func syncHook() (webhook.HookOptions, *desk) {
	d := &desk{reply: make(chan ingest.Reply, 1), asked: make(chan asked, 1)}
	h := githubHook()
	h.Sync, h.Desk, h.Methods, h.Timeout = true, d, []string{"POST", "GET"}, 10*time.Second
	h.Location = func(r ingest.Ref) string { return "https://in.example.com" + webhook.ResultsPath + "t-" + r.String() }
	return h, d
}

func TestSync(t *testing.T) {
	h, d := syncHook()
	s := open(t, h, webhook.ServerOptions{BodyTimeout: 50 * time.Millisecond})
	for i, c := range []struct {
		reply  ingest.Reply
		status int
		kind   string
		body   string
	}{
		{ingest.Reply{Status: 201, ContentType: "application/vnd.x+json", Body: []byte(`{"id":1}`)}, 201, "application/vnd.x+json", `{"id":1}`},
		{ingest.Reply{Status: 422, ContentType: "text/plain", Body: []byte("no")}, 422, "text/plain", "no"},
		{ingest.Reply{Status: 204}, 204, "", ""},
		{ingest.Reply{Status: 200, Body: []byte("<b>")}, 200, "", "<b>"},
		{ingest.Reply{Status: 0}, 502, "", ""},
	} {
		d.reply <- c.reply
		a := signed(strconv.Itoa(i), "")
		a.header.Set("Accept", "application/xml") // it is the target's own answer
		got := s.send(t, a)
		if got.status != c.status || got.header.Get("Content-Type") != c.kind || got.body != c.body {
			t.Errorf("%+v: %+v", c.reply, got)
		}
	}
	if !s.shelf.events[0].Alone {
		t.Error("a sync event shares its bundle")
	}
	// The target takes longer than a body may.
	go func() {
		time.Sleep(200 * time.Millisecond)
		d.reply <- ingest.Reply{Status: 200, Body: []byte("late")}
	}()
	if got := s.send(t, signed(`{"late":1}`, "")); got.body != "late" {
		t.Errorf("%+v", got)
	}
	// A repeat is told what the first was.
	d.reply <- ingest.Reply{Status: 200, Body: []byte("same")}
	n := len(s.shelf.bodies())
	if got := s.send(t, signed(`{"late":1}`, "")); got.body != "same" || len(s.shelf.bodies()) != n {
		t.Errorf("%+v", got)
	}
	d.err = errors.New("the ledger is gone")
	if got := s.send(t, signed(`{"lost":1}`, "")); got.status != 503 || strings.Contains(got.body, "ledger") {
		t.Errorf("%+v", got)
	}
}

func TestSyncPastItsTimeout(t *testing.T) {
	h, _ := syncHook()
	h.Timeout = 20 * time.Millisecond
	s := open(t, h, webhook.ServerOptions{})
	if got := s.send(t, signed("{}", "")); got.status != 202 || got.header.Get("Location") != "https://in.example.com/.results/t-7.1" || got.body != `{"arrival":"7.1"}`+"\n" {
		t.Errorf("%+v", got)
	}
	// The daemon stops: who waits is told where it will be.
	h, _ = syncHook()
	h.Timeout = time.Hour
	s = open(t, h, webhook.ServerOptions{})
	got := make(chan told, 1)
	go func() {
		a, err := s.try(signed("{}", ""))
		if err != nil {
			t.Error(err)
		}
		got <- a
	}()
	for len(s.shelf.bodies()) == 0 {
		time.Sleep(time.Millisecond)
	}
	s.stop()
	if a := <-got; a.status != 202 || a.header.Get("Location") == "" {
		t.Errorf("%+v", a)
	}
}

func TestAsk(t *testing.T) {
	h, d := syncHook()
	s := open(t, h, webhook.ServerOptions{})
	for _, method := range []string{"GET", "HEAD"} {
		d.reply <- ingest.Reply{Status: 200, ContentType: "text/csv", Body: []byte("a;b")}
		a := signed("", "")
		a.method, a.path = method, "/hooks/orders/42/lines?x=%20&y"
		a.header.Set("Accept", "text/csv")
		a.header.Set("Authorization", "Bearer hush")
		got := s.send(t, a)
		if want := map[string]string{"GET": "a;b", "HEAD": ""}[method]; got.status != 200 || got.body != want || got.header.Get("Content-Type") != "text/csv" {
			t.Errorf("%+v", got)
		}
		q := <-d.asked
		if q.method != "GET" || q.path != "/42/lines?x=%20&y" || q.header.Get("Accept") != "text/csv" || q.header.Get("Authorization") != "" || len(q.header) != 1 {
			t.Errorf("%+v", q)
		}
	}
	if len(s.shelf.bodies()) > 0 {
		t.Error("a question was stored")
	}
	if got := s.send(t, asked{method: "GET"}); got.status != 401 {
		t.Errorf("unsigned: %+v", got)
	}
	d.err = errors.New("connection refused by 10.0.0.1")
	a := signed("", "")
	a.method = "GET"
	if got := s.send(t, a); got.status != 502 || strings.Contains(got.body, "10.0.0.1") {
		t.Errorf("%+v", got)
	}
	h, _ = syncHook()
	h.Timeout = time.Millisecond
	if got := open(t, h, webhook.ServerOptions{}).send(t, a); got.status != 504 {
		t.Errorf("%+v", got)
	}
}

func TestResults(t *testing.T) {
	var known ingest.StoredReply
	var fault error
	h, _ := syncHook()
	s := open(t, h, webhook.ServerOptions{}, func(r *webhook.Routes) {
		r.Results = func(_ context.Context, token string) (ingest.StoredReply, error) {
			if fault != nil {
				return ingest.StoredReply{}, fault
			}
			if token != "t-1" {
				return ingest.StoredReply{}, ingest.ErrNotFound
			}
			return known, nil
		}
	})
	get := func(token string) told { return s.send(t, asked{method: "GET", path: webhook.ResultsPath + token}) }
	known.Ref = ingest.Ref{Arrival: 9, Event: 1}
	if got := get("t-1"); got.status != 202 || got.body != `{"arrival":"9.1"}`+"\n" || got.header.Get("Retry-After") != "1" {
		t.Errorf("%+v", got)
	}
	known.Reply = &ingest.Reply{Status: 409, ContentType: "text/plain", Body: []byte("had it")}
	if got := get("t-1"); got.status != 409 || got.body != "had it" || got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%+v", got)
	}
	if got := get("t-2"); got.status != 404 {
		t.Errorf("%+v", got)
	}
	if got := s.send(t, asked{path: webhook.ResultsPath + "t-1", body: "x"}); got.status != 405 || got.header.Get("Allow") != "GET, HEAD" {
		t.Errorf("%+v", got)
	}
	fault = errors.New("x")
	if got := get("t-1"); got.status != 503 {
		t.Errorf("%+v", got)
	}
}

func TestHandshakes(t *testing.T) {
	meta := githubHook()
	meta.Challenge, meta.Token = "meta", ingest.NewSecret("agreed")
	s := open(t, meta, webhook.ServerOptions{})
	for query, want := range map[string]int{
		"hub.mode=subscribe&hub.verify_token=agreed&hub.challenge=1158201444":                   200,
		"hub.mode=subscribe&hub.verify_token=other&hub.challenge=1":                             401,
		"hub.mode=subscribe&hub.challenge=1":                                                    401,
		"hub.mode=unsubscribe&hub.verify_token=agreed&hub.challenge=1":                          401,
		"hub.mode=subscribe&hub.verify_token=agreed":                                            400,
		"hub.mode=subscribe&hub.verify_token=agreed&hub.challenge=" + strings.Repeat("1", 1025): 400,
		"x=1": 405,
	} {
		got := s.send(t, asked{method: "GET", path: "/hooks/orders?" + query})
		if got.status != want || want == 200 && (got.body != "1158201444" || got.header.Get("Content-Type") != "text/plain; charset=utf-8") {
			t.Errorf("%.80s: %+v", query, got)
		}
	}
	if got := s.send(t, signed("{}", "")); got.status != 202 {
		t.Errorf("an event: %+v", got)
	}
	noToken := githubHook()
	noToken.Challenge = "meta"
	for token, want := range map[string]int{"": 401, "other": 401, url.QueryEscape(secret): 200} {
		if got := open(t, noToken, webhook.ServerOptions{}).send(t, asked{method: "GET", path: "/hooks/orders?hub.mode=subscribe&hub.verify_token=" + token + "&hub.challenge=1"}); got.status != want {
			t.Errorf("without a token of its own, %q: %+v", token, got)
		}
	}

	const call = `{"token":"x","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P","type":"url_verification"}`
	for _, c := range []struct {
		challenge string
		a         asked
		status    int
		body      string
	}{
		{"slack", signed(call, ""), 200, "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"},
		{"slack", asked{body: call}, 401, ""},
		{"slack", signed(`{"type":"event_callback","challenge":"x"}`, ""), 202, ""},
		{"slack", signed(`{"type":"url_verification","challenge":""}`, ""), 400, ""},
		{"generic", signed(`{"challenge":"<b>x</b>"}`, ""), 200, "<b>x</b>"},
		{"generic", signed(`{"a":1}`, ""), 202, ""},
		{"generic", asked{method: "GET", path: "/hooks/orders?challenge=abc"}, 200, "abc"},
		{"generic", asked{path: "/hooks/orders?validationToken=Validation%3A+x"}, 200, "Validation: x"},
		{"generic", asked{method: "GET"}, 405, ""},
		{"", asked{method: "GET", path: "/hooks/orders?challenge=abc"}, 405, ""},
		{"", signed(call, ""), 202, ""},
	} {
		h := githubHook()
		h.Challenge = c.challenge
		s := open(t, h, webhook.ServerOptions{})
		got := s.send(t, c.a)
		if got.status != c.status || c.body != "" && (got.body != c.body || !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain")) {
			t.Errorf("%s, %+v: %+v", c.challenge, c.a, got)
		}
		if c.status != 202 && len(s.shelf.bodies()) > 0 {
			t.Errorf("%s, %+v: it was stored", c.challenge, c.a)
		}
	}
}
