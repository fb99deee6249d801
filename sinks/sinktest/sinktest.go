// Package sinktest is a scripted, faulty HTTP target that remembers what it was
// sent, and a judge of what it saw: whether ids are missing, were accepted
// under two keys, or a key came with two bodies.
//
// A Target is an http.Handler. It behaves as its Script says, which may change
// at any time: weather (answers by probability, from a seed), steps (answers in
// sequence), refusals of chosen ids. A fault may strike before a request is
// taken or after it (the target has it, the sender cannot know). An
// accepted key is remembered: the same request again is answered as delivered
// and not counted twice.
//
// It runs in the process of a test, or, where the sender is to be killed, in a
// process of its own: the test binary run again (MainIfAsked, Spawn). Its
// journal, an append-only file, is written before each answer, so that a judge
// can read it whatever was killed (ReadJournal).
//
// Under /_control/ and /_stats it is asked and told by HTTP:
//
//	GET  /_stats             Stats
//	GET  /_control/script    the Script
//	PUT  /_control/script    a new one
//	POST /_control/release   lets requests go that hang
//	POST /_control/judge     expected ids, one a line → Verdict
package sinktest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Options describe a target.
type Options struct {
	Seed    uint64
	ID      string // the field that tells records apart; default "id"
	Exact   bool   // parse bodies as JSON and keep them, instead of scanning for the field
	Journal string // a file that accepted requests are appended to; default: none
	Script  Script
}

// A Target takes requests and remembers them. It is safe for concurrent use.
type Target struct {
	o     Options
	find  finder
	book  *book
	count counters
	bufs  sync.Pool // of *bytes.Buffer

	mu      sync.Mutex
	script  *compiled
	release chan struct{}
	told    map[string]int       // id → how often it had a status of its own
	early   map[string]time.Time // pipeline → when its Retry-After is over

	ordinal atomic.Uint64
	steps   atomic.Int64 // of the script's steps, taken
	srv     *http.Server
	serving chan error
	url     string
}

// New returns a target that does not listen yet. Where the journal exists, the
// target goes on from what it says.
func New(o Options) (*Target, error) {
	if o.ID == "" {
		o.ID = "id"
	}
	t := &Target{o: o, find: newFinder(o.ID, o.Exact), release: make(chan struct{}), early: make(map[string]time.Time)}
	if err := t.Set(o.Script); err != nil {
		return nil, err
	}
	var err error
	if t.book, err = openBook(o.Journal); err != nil {
		return nil, err
	}
	return t, nil
}

// Listen serves on addr (host:port, port 0 for any) until Close.
func (t *Target) Listen(addr string) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	t.url = "http://" + ln.Addr().String()
	t.srv = &http.Server{Handler: t, ReadHeaderTimeout: 10 * time.Second, ConnState: t.count.connState}
	t.serving = make(chan error, 1)
	go func() { t.serving <- t.srv.Serve(ln) }()
	return nil
}

// URL is where it listens: http://host:port.
func (t *Target) URL() string { return t.url }

// Close stops it: requests that hang are let go, connections cut.
func (t *Target) Close() error {
	t.Release()
	var errs []error
	if t.srv != nil {
		errs = append(errs, t.srv.Close())
		if err := <-t.serving; !errors.Is(err, http.ErrServerClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, t.book.close())...)
}

// Set changes the script; its steps begin anew.
func (t *Target) Set(s Script) error {
	c, err := s.compile()
	if err != nil {
		return fmt.Errorf("script: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.script = c
	t.steps.Store(0)
	return nil
}

// Script is what it does now.
func (t *Target) Script() Script {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.script.Script
}

// Release lets requests go on that hang now; they are answered with 503.
func (t *Target) Release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	close(t.release)
	t.release = make(chan struct{})
}

// hang waits for Release or the client's patience.
func (t *Target) hang(ctx context.Context) {
	t.mu.Lock()
	c := t.release
	t.mu.Unlock()
	select {
	case <-c:
	case <-ctx.Done():
	}
}

// next is the script and what it says about the next request.
func (t *Target) next() (*compiled, Step) {
	n := t.ordinal.Add(1)
	t.mu.Lock()
	s := t.script
	t.mu.Unlock()
	if s.Always != nil {
		return s, *s.Always
	}
	if len(s.Steps) > 0 {
		if i := t.steps.Add(1) - 1; i < int64(len(s.Steps)) {
			return s, s.Steps[i]
		}
	}
	return s, s.weather(t.o.Seed, n)
}

// asked notes that pipeline was told to wait d; was reports whether a request
// comes before its time.
func (t *Target) asked(pipeline string, d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.early[pipeline] = time.Now().Add(d)
}

func (t *Target) tooEarly(pipeline string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, ok := t.early[pipeline]
	return ok && time.Until(at) > 0
}
