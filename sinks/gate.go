package sinks

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"ingestd/ingest"
)

// Gates remembers which targets asked for a pause. One serves the whole
// process. Its size is bounded by the pipelines and hosts of the config.
type Gates struct {
	mu   sync.RWMutex
	shut map[way]*ingest.RetryAfter
}

// way is what a Retry-After is about: one pipeline's requests to one host.
type way struct{ pipeline, host string }

// NewGates returns Gates that are all open.
func NewGates() *Gates {
	return &Gates{shut: make(map[way]*ingest.RetryAfter)}
}

// state returns the verdict that keeps w shut, or nil.
func (g *Gates) state(w way) *ingest.RetryAfter {
	g.mu.RLock()
	ra := g.shut[w]
	g.mu.RUnlock()
	if ra == nil || time.Until(ra.At) > 0 {
		return ra
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut[w] == ra {
		delete(g.shut, w)
		return nil
	}
	return g.shut[w]
}

// close keeps w shut until ra.At, or longer where it was asked to before.
func (g *Gates) close(w way, ra *ingest.RetryAfter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if old := g.shut[w]; old == nil || ra.At.After(old.At) {
		g.shut[w] = ra
	}
}

type gate struct {
	next  ingest.Sink
	gates *Gates
	host  string
}

// Gate keeps the pauses that host (host and port) asks for: after a RetryAfter
// no request of that pipeline goes to it before At. Requests that would have to
// wait more than 2 s get the same verdict at once; the others wait.
func Gate(next ingest.Sink, g *Gates, host string) ingest.Sink {
	return decorate(&gate{next: next, gates: g, host: host}, next)
}

func (s *gate) Send(ctx context.Context, r *ingest.Request) (ingest.Answer, error) {
	w := way{r.Pipeline, s.host}
	for {
		ra := s.gates.state(w)
		if ra == nil {
			break
		}
		wait := time.Until(ra.At)
		if wait > patience {
			v := *ra
			return ingest.Answer{}, &v
		}
		if !sleep(ctx, wait) {
			return ingest.Answer{}, fmt.Errorf("wait until %s may be asked again: %w", s.host, context.Cause(ctx))
		}
	}
	a, err := s.next.Send(ctx, r)
	var ra *ingest.RetryAfter
	if errors.As(err, &ra) {
		v := *ra
		s.gates.close(w, &v)
	}
	return a, err
}
