// Package admin is how people and scripts ask and steer a daemon: a small HTTP
// API, the client that the command line uses, and the guard in front of it.
//
// The same handler serves three doors: state_dir/control.sock (a unix socket
// of mode 0600: who may open it may do all), the configured admin listener
// (behind Guard: a token, except on loopback) and, where no daemon runs, the
// command that became the owner itself (Local). A command has one way to do
// its work, whoever owns the ledger.
//
//	GET  /healthz /readyz /metrics
//	GET  /v1/status
//	GET  /v1/arrivals?pipeline=&state=&since=&until=&limit=     one object a line
//	GET  /v1/arrivals/{id}
//	POST /v1/arrivals/{id}/release  /v1/arrivals/{id}/reject
//	GET  /v1/dead?id=&arrival=&pipeline=&reason=&since=&limit=  one object a line
//	GET  /v1/dead/{id}
//	POST /v1/dead/replay  /v1/dead/drop
//	GET  /v1/audit?pipeline=&arrival=                           one object a line
//	POST /v1/replay  /v1/forget
//	POST /v1/pause  /v1/resume  /v1/reload  /v1/run-now
//	POST /v1/sinks/test
//	POST /v1/alerts/test                                        one object a sink, in "tests"
//	GET  /v1/hooks
//	GET  /v1/ledger   POST /v1/ledger/prune  /v1/ledger/backup
//
// Objects are those of the command line's --json. An answer of these routes that
// is no success is {"error": {"message": "…", "hint": "…"}}; a listing that
// breaks off ends with such a line.
package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"ingestd/ingest"
)

// maxBody bounds a request's body in bytes: the longest is a list of ids.
const maxBody = 1 << 20

// Options are what a handler stands on.
type Options struct {
	Query   ingest.Query
	Actions Actions
	Metrics http.Handler // nil: no /metrics
	// Ready says why the daemon is not ready, in words that anybody may read,
	// or nil.
	Ready func() error
	Log   *slog.Logger
}

// Actions is all that can be asked for. What a field leaves nil is answered
// 501.
type Actions struct {
	Status  Statuser
	Holds   Holds
	Replays Replays
	Letters Letters
	Keys    Keys
	Control Control
	Ledger  Ledger
	Sinks   Sinks
	Alerts  Alerts
	Hooks   Hooks
}

type api struct {
	Options
}

// Handler returns the API. It asks for no token: see Guard.
func Handler(o Options) http.Handler {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	a := &api{o}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", a.ready)
	if o.Metrics != nil {
		mux.Handle("GET /metrics", o.Metrics)
	}
	mux.HandleFunc("GET /v1/status", a.status)
	mux.HandleFunc("GET /v1/arrivals", a.arrivals)
	mux.HandleFunc("GET /v1/arrivals/{id}", a.arrival)
	mux.HandleFunc("POST /v1/arrivals/{id}/release", a.release)
	mux.HandleFunc("POST /v1/arrivals/{id}/reject", a.reject)
	mux.HandleFunc("GET /v1/dead", a.letters)
	mux.HandleFunc("GET /v1/dead/export", a.exportLetters)
	mux.HandleFunc("GET /v1/dead/{id}", a.letter)
	mux.HandleFunc("POST /v1/dead/replay", a.replayLetters)
	mux.HandleFunc("POST /v1/dead/drop", a.dropLetters)
	mux.HandleFunc("GET /v1/audit", a.audit)
	mux.HandleFunc("POST /v1/replay", a.replay)
	mux.HandleFunc("POST /v1/forget", a.forget)
	mux.HandleFunc("POST /v1/pause", a.pause)
	mux.HandleFunc("POST /v1/resume", a.resume)
	mux.HandleFunc("POST /v1/reload", a.reload)
	mux.HandleFunc("POST /v1/run-now", a.runNow)
	mux.HandleFunc("POST /v1/sinks/test", a.sinkTest)
	mux.HandleFunc("POST /v1/alerts/test", a.testAlerts)
	mux.HandleFunc("GET /v1/hooks", a.hooks)
	mux.HandleFunc("GET /v1/ledger", a.ledgerStats)
	mux.HandleFunc("POST /v1/ledger/prune", a.ledgerPrune)
	mux.HandleFunc("POST /v1/ledger/backup", a.ledgerBackup)
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.fail(w, r, &Error{Status: http.StatusForbidden, Message: "a request from another site was refused"})
	}))
	return protection.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		mux.ServeHTTP(w, r)
	}))
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n")
}

func (a *api) ready(w http.ResponseWriter, _ *http.Request) {
	if a.Ready != nil {
		if err := a.Ready(); err != nil {
			plain(w, http.StatusServiceUnavailable, err.Error())
			return
		}
	}
	plain(w, http.StatusOK, "ready")
}

// answer writes v, or the error.
func (a *api) answer(w http.ResponseWriter, r *http.Request, v any, err error) {
	if err != nil {
		a.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = Encode(w, v)
}

func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := toError(err)
	if e.Status >= 500 && e.Status != http.StatusNotImplemented {
		a.Log.Error("admin request failed", "path", r.URL.Path, "error", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.Status)
	_ = Encode(w, errorBody{e})
}

// Encode writes v as one line of JSON, as all of our JSON for people is
// written: nothing escaped that JSON itself does not ask for.
func Encode(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// body decodes a request's body strictly; no body is the zero value.
func body(r *http.Request, v any) error {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	switch err := dec.Decode(v); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		var big *http.MaxBytesError
		if errors.As(err, &big) {
			return &Error{Status: http.StatusRequestEntityTooLarge, Message: fmt.Sprintf("the body is larger than %d bytes", big.Limit)}
		}
		return Invalid("the body is no JSON object of this request: %v", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Invalid("there is something after the JSON object")
	}
	return nil
}

// params reads typed query parameters and remembers the first mistake.
type params struct {
	r   *http.Request
	err error
}

func (p *params) text(name string) string { return p.r.URL.Query().Get(name) }

func (p *params) number(name string) int64 {
	s := p.text(name)
	if s == "" {
		return 0
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		p.set(Invalid("%s=%q is no number", name, s))
	}
	return n
}

func (p *params) numbers(name string) []int64 {
	var ns []int64
	for _, v := range p.r.URL.Query()[name] {
		for s := range strings.SplitSeq(v, ",") {
			n, err := ParseID(s)
			if err != nil {
				p.set(err)
			}
			ns = append(ns, n)
		}
	}
	return ns
}

func (p *params) time(name string) time.Time {
	s := p.text(name)
	if s == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		p.set(Invalid("%s=%q is no time: RFC 3339 is wanted, as in 2026-03-05T06:00:00Z", name, s))
	}
	return t
}

// ref reads the name of an arrival or event.
func (p *params) ref(name string) ingest.Ref {
	s := p.text(name)
	if s == "" {
		return ingest.Ref{}
	}
	r, err := ParseRef(s)
	p.set(err)
	return r
}

func (p *params) set(err error) {
	if p.err == nil && err != nil {
		p.err = err
	}
}

// ParseID reads the number of an arrival or a dead letter.
func ParseID(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n <= 0 {
		return 0, Invalid("%q is no number of an arrival or dead letter", s)
	}
	return n, nil
}

// ParseRef reads the number of an arrival, or of an event: 4711.3.
func ParseRef(s string) (ingest.Ref, error) {
	r, ok := ingest.ParseRef(s)
	if !ok {
		return r, Invalid("%q is no number of an arrival", s)
	}
	return r, nil
}

func pathID(r *http.Request) (int64, error) { return ParseID(r.PathValue("id")) }
