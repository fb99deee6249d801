package sinktest

import (
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
)

// Stats count what a target did since it was made.
type Stats struct {
	Requests    int64            `json:"requests"`
	Accepted    int64            `json:"accepted"` // each key once
	IDs         int64            `json:"ids"`      // in them
	Repeated    int64            `json:"repeated"` // requests whose key it had accepted
	Refused     int64            `json:"refused"`  // clear refusals, by id or size
	Early       int64            `json:"early"`    // requests of a pipeline before its Retry-After was over
	Bytes       int64            `json:"bytes"`    // of bodies, unpacked
	Connections int64            `json:"connections"`
	Peak        int64            `json:"peak"`    // most requests at once that had no answer yet
	Answers     map[string]int64 `json:"answers"` // "status 503", "reset", … → how many
}

type counters struct {
	requests, accepted, ids, repeated, refused, early, bytes, connections, now, peak atomic.Int64

	answers sync.Map // string → *atomic.Int64
}

// enter counts a request in; the function it returns counts it out.
func (c *counters) enter() func() {
	c.requests.Add(1)
	n := c.now.Add(1)
	for p := c.peak.Load(); n > p && !c.peak.CompareAndSwap(p, n); p = c.peak.Load() {
	}
	return func() { c.now.Add(-1) }
}

// tell counts an answer.
func (c *counters) tell(what string) {
	n, ok := c.answers.Load(what)
	if !ok {
		n, _ = c.answers.LoadOrStore(strings.Clone(what), new(atomic.Int64))
	}
	n.(*atomic.Int64).Add(1)
}

func (c *counters) connState(_ net.Conn, s http.ConnState) {
	if s == http.StateNew {
		c.connections.Add(1)
	}
}

// Stats returns the counts so far.
func (t *Target) Stats() Stats {
	c := &t.count
	s := Stats{
		Requests: c.requests.Load(), Accepted: c.accepted.Load(), IDs: c.ids.Load(), Repeated: c.repeated.Load(),
		Refused: c.refused.Load(), Early: c.early.Load(), Bytes: c.bytes.Load(), Connections: c.connections.Load(),
		Peak: c.peak.Load(), Answers: make(map[string]int64),
	}
	c.answers.Range(func(k, v any) bool {
		s.Answers[k.(string)] = v.(*atomic.Int64).Load()
		return true
	})
	return s
}
