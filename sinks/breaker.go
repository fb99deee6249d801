package sinks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"ingestd/ingest"
)

const (
	// tripAfter is how many failures in a row say that a host is down.
	tripAfter = 5
	// rampUntil is how many requests at once end a slow start.
	rampUntil = 64
)

// Breakers remembers which hosts are down. One serves the whole process, so
// that all pipelines and sinks together ask a dead host as often as one would.
// Its size is bounded by the hosts of the configs it has served.
type Breakers struct {
	log   *slog.Logger
	mu    sync.Mutex
	hosts map[string]*breaker
}

// NewBreakers returns Breakers that are all closed. It tells log of each host
// that goes down and comes back.
func NewBreakers(log *slog.Logger) *Breakers {
	return &Breakers{log: log, hosts: make(map[string]*breaker)}
}

func (b *Breakers) of(host string) *breaker {
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.hosts[host]
	if h == nil {
		h = &breaker{host: host, log: b.log, changed: make(chan struct{})}
		h.calm.Store(true)
		b.hosts[host] = h
	}
	return h
}

// A Backoff is how long a sink leaves a dead host alone: Initial, doubled with
// each try that failed, up to Max.
type Backoff struct{ Initial, Max time.Duration }

func (b Backoff) after(failures int) time.Duration {
	d := max(b.Initial, time.Millisecond)
	for range failures {
		if d *= 2; d >= b.Max {
			break
		}
	}
	return max(min(d, b.Max), time.Millisecond)
}

// Break stops asking host (host and port) after some failures in a row: a
// broken connection, a timeout, a 5xx. Then requests end at once as
// *ingest.Unsent, except for one at a time that finds out whether host is back,
// as soon as wait allows. When it is, what waited is let through slowly at
// first: each request that succeeds makes room for one more at once. Any answer
// but a 5xx says that a host is alive.
func Break(next ingest.Sink, b *Breakers, host string, wait Backoff) ingest.Sink {
	return decorate(&breaking{next: next, b: b.of(host), wait: wait}, next)
}

type breaking struct {
	next ingest.Sink
	b    *breaker
	wait Backoff
}

func (s *breaking) Send(ctx context.Context, r *ingest.Request) (ingest.Answer, error) {
	if s.b.calm.Load() {
		a, err := s.next.Send(ctx, r)
		if sign := signOf(ctx, err); sign != alive || !s.b.calm.Load() {
			s.b.learn(pass{}, sign, err)
		}
		return a, err
	}
	p, err := s.b.enter(ctx, s.wait)
	if err != nil {
		return ingest.Answer{}, err
	}
	sign := unknown
	defer func() { s.b.learn(p, sign, err) }() // also where Send panics
	var a ingest.Answer
	a, err = s.next.Send(ctx, r)
	sign = signOf(ctx, err)
	return a, err
}

// A sign is what a try says about its host.
type sign uint8

const (
	unknown sign = iota // nothing was sent, or nobody waited for the answer
	alive
	busy // alive, and wants fewer requests
	dead
)

func signOf(ctx context.Context, err error) sign {
	if err == nil {
		return alive
	}
	var (
		unsent     *ingest.Unsent
		unanswered *ingest.Unanswered
	)
	status := ingest.AnswerOf(err).Status
	switch {
	case status >= 500:
		return dead
	case status == 408, status == 425, status == 429:
		return busy
	case status != 0:
		return alive
	case ctx.Err() != nil, errors.As(err, &unsent):
		return unknown
	case errors.As(err, &unanswered):
		return dead
	}
	return unknown
}

// A breaker is what is known of one host.
type breaker struct {
	host string
	log  *slog.Logger
	// calm means that all below is zero, so that the lock is not needed.
	calm atomic.Bool

	mu       sync.Mutex
	failures int // in a row
	open     bool
	opened   time.Time
	last     time.Time // the failure that opened it, or kept it open
	reason   string
	probing  bool
	limit    int // requests at once in a slow start; 0: any number
	flying   int // that entered
	changed  chan struct{}
}

// A pass is how a request entered.
type pass struct{ counted, probe bool }

// enter waits until a request may go out, or says that it may not.
func (b *breaker) enter(ctx context.Context, wait Backoff) (pass, error) {
	for {
		b.mu.Lock()
		if b.open {
			defer b.mu.Unlock()
			return b.probe(wait)
		}
		if b.limit == 0 || b.flying < b.limit {
			b.flying++
			b.mu.Unlock()
			return pass{counted: true}, nil
		}
		changed := b.changed
		b.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return pass{}, fmt.Errorf("wait for %s to take more: %w", b.host, context.Cause(ctx))
		}
	}
}

// probe lets one request through to an open breaker's host when it is time.
// b.mu is held.
func (b *breaker) probe(wait Backoff) (pass, error) {
	now := time.Now()
	failed := b.failures - tripAfter
	pause := wait.after(failed)
	at := b.last.Add(pause)
	if !b.probing && !at.After(now) {
		b.probing = true
		b.flying++
		return pass{counted: true, probe: true}, nil
	}
	if b.probing {
		at = now.Add(pause / 2)
	}
	// Those who wait do not come back together.
	if at = at.Add(rand.N(pause/4 + 1)); at.After(now.Add(pause)) {
		at = now.Add(pause)
	}
	return pass{}, &ingest.Unsent{
		At: at, Failures: failed + 1,
		Reason: fmt.Sprintf("%s is down since %s: %s", b.host, b.opened.UTC().Format(time.RFC3339), b.reason),
	}
}

// learn notes what a try said about the host.
func (b *breaker) learn(p pass, s sign, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.counted {
		b.flying--
	}
	if p.probe {
		b.probing = false
	}
	now := time.Now()
	switch {
	case s == unknown:
	case s != dead && b.open:
		b.open, b.failures, b.limit = false, 0, 1
		b.log.Info("the target is back; deliveries begin slowly", "host", b.host, "after", now.Sub(b.opened).Round(time.Second))
	case s == alive:
		b.failures = 0
		if b.limit > 0 {
			if b.limit++; b.limit >= rampUntil {
				b.limit = 0
			}
		}
	case s == busy:
		b.failures = 0
	case b.open && !p.probe: // it was out before the breaker opened
	default:
		b.failures++
		b.last, b.reason = now, err.Error()
		if b.limit > 1 {
			b.limit /= 2
		}
		if !b.open && b.failures >= tripAfter {
			b.open, b.opened, b.limit = true, now, 0
			b.log.Warn("the target is down; one request at a time will find out when it is back", "host", b.host, "error", b.reason)
		}
	}
	b.calm.Store(!b.open && b.failures == 0 && b.limit == 0)
	close(b.changed)
	b.changed = make(chan struct{})
}
