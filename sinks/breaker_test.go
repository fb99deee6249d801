package sinks_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/ingest"
	"ingestd/sinks"
)

// host is a target that is up or down and counts.
type host struct {
	down   atomic.Bool
	asked  atomic.Int64
	flying atomic.Int64
	most   atomic.Int64
	takes  time.Duration
	err    atomic.Pointer[error] // in place of the failure
}

func (h *host) Send(ctx context.Context, _ *ingest.Request) (ingest.Answer, error) {
	h.asked.Add(1)
	n := h.flying.Add(1)
	defer h.flying.Add(-1)
	for {
		m := h.most.Load()
		if n <= m || h.most.CompareAndSwap(m, n) {
			break
		}
	}
	time.Sleep(h.takes)
	if err := h.err.Load(); err != nil {
		return ingest.Answer{}, *err
	}
	if h.down.Load() {
		return ingest.Answer{}, &ingest.Unanswered{Err: errors.New("connection refused")}
	}
	return ingest.Answer{Status: 200}, nil
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

var wait = sinks.Backoff{Initial: 500 * time.Millisecond, Max: time.Minute}

// Forty pipelines with four senders each, on one host that is down for an hour:
// a handful of requests, not forty an interval, and slowly at first when it is
// back.
func TestDeadHostIsAskedByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &host{takes: 100 * time.Millisecond}
		h.down.Store(true)
		b := sinks.NewBreakers(quiet())
		ctx, stop := context.WithCancel(t.Context())
		var all sync.WaitGroup
		var delivered atomic.Int64
		for p := range 40 {
			s := sinks.Break(h, b, "crm:443", wait)
			for range 4 {
				all.Go(func() {
					r := &ingest.Request{Pipeline: fmt.Sprint(p)}
					for ctx.Err() == nil {
						_, err := s.Send(ctx, r)
						var us *ingest.Unsent
						switch {
						case err == nil:
							delivered.Add(1)
						case errors.As(err, &us):
							if d := time.Until(us.At); d <= 0 || d > wait.Max {
								t.Errorf("Unsent for %v", d)
							}
							if !strings.Contains(us.Reason, "crm:443 is down since") || !strings.Contains(us.Reason, "connection refused") {
								t.Errorf("%q", us.Reason)
							}
							time.Sleep(time.Until(us.At))
						default:
							time.Sleep(time.Second)
						}
					}
				})
			}
		}
		time.Sleep(time.Second)
		first := h.asked.Load() // all at once: nobody knew
		time.Sleep(time.Hour - time.Second)
		if n := h.asked.Load() - first; n > 75 || n < 40 {
			t.Errorf("%d requests in an hour after the first %d; want one a minute", n, first)
		}
		h.down.Store(false)
		h.most.Store(0)
		for delivered.Load() == 0 {
			time.Sleep(50 * time.Millisecond)
		}
		if m := h.most.Load(); m != 1 {
			t.Errorf("%d at once found out that it is back", m)
		}
		time.Sleep(350 * time.Millisecond)
		if m := h.most.Load(); m > 8 {
			t.Errorf("%d at once, a moment after it came back", m)
		}
		time.Sleep(2 * time.Minute)
		if m := h.most.Load(); m != 160 {
			t.Errorf("at most %d at once in the end, want all 160", m)
		}
		stop()
		all.Wait()
	})
}

func TestBreakerLooksAtTheHostOnly(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		dead bool
	}{
		"reset":        {&ingest.Unanswered{Err: errReset}, true},
		"500":          {&ingest.Unanswered{Err: errReset, Answer: ingest.Answer{Status: 500}}, true},
		"503 for long": {later(time.Hour), true},
		"429":          {&ingest.RetryAfter{At: time.Now(), Answer: ingest.Answer{Status: 429}}, false},
		"408":          {&ingest.Unanswered{Err: errReset, Answer: ingest.Answer{Status: 408}}, false},
		"refusal":      {&ingest.Reject{Answer: ingest.Answer{Status: 422}}, false},
		"halt":         {&ingest.Halt{Answer: ingest.Answer{Status: 401}}, false},
		"no token":     {&ingest.Unsent{}, false},
		"no client":    {errors.New("compress: no"), false},
		"unreadable":   {&ingest.Unanswered{Err: errReset, Answer: ingest.Answer{Status: 200}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := &host{}
			h.err.Store(&c.err)
			s := sinks.Break(h, sinks.NewBreakers(quiet()), "crm:443", wait)
			for range 20 {
				_, _ = s.Send(t.Context(), orders())
			}
			if n := h.asked.Load(); (n < 20) != c.dead {
				t.Errorf("asked %d times", n)
			}
		})
	}
}

// Who broke off a request says nothing about its host.
func TestBreakerIgnoresTheInterrupted(t *testing.T) {
	h := &host{}
	h.down.Store(true)
	s := sinks.Break(h, sinks.NewBreakers(quiet()), "crm:443", wait)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	for range 20 {
		_, _ = s.Send(ctx, orders())
	}
	if h.asked.Load() != 20 {
		t.Errorf("asked %d times", h.asked.Load())
	}
}

// Each sink keeps to its own retry settings, also on a host that it shares.
func TestBreakerKeepsToRetryMax(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &host{}
		h.down.Store(true)
		b := sinks.NewBreakers(quiet())
		patient := sinks.Break(h, b, "crm:443", sinks.Backoff{Initial: time.Second, Max: time.Hour})
		hasty := sinks.Break(h, b, "crm:443", sinks.Backoff{Initial: 10 * time.Millisecond, Max: 2 * time.Second})
		other := sinks.Break(h, b, "crm:8443", wait)
		for range 30 {
			_, err := patient.Send(t.Context(), orders())
			var us *ingest.Unsent
			if errors.As(err, &us) {
				time.Sleep(time.Until(us.At))
			}
		}
		_, err := hasty.Send(t.Context(), orders())
		var us *ingest.Unsent
		if errors.As(err, &us) && time.Until(us.At) > 2*time.Second {
			t.Errorf("told to wait for %v, retry.max is 2s", time.Until(us.At))
		}
		n := h.asked.Load()
		time.Sleep(2 * time.Second)
		if _, _ = hasty.Send(t.Context(), orders()); h.asked.Load() != n+1 {
			t.Error("it may ask after its own retry.max")
		}
		if _, _ = other.Send(t.Context(), orders()); h.asked.Load() != n+2 {
			t.Error("another port is another host")
		}
	})
}

// A slow start that meets failures goes slower, and a probe that nobody waits
// for any more lets the next one go.
func TestSlowStartSlowsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &host{}
		h.down.Store(true)
		s := sinks.Break(h, sinks.NewBreakers(quiet()), "crm:443", wait)
		for range 6 {
			_, _ = s.Send(t.Context(), orders())
		}
		time.Sleep(time.Second)
		ctx, stop := context.WithCancel(t.Context())
		stop()
		_, _ = s.Send(ctx, orders())
		h.down.Store(false)
		if _, err := s.Send(t.Context(), orders()); err != nil {
			t.Fatalf("the probe that was broken off blocks the next: %v", err)
		}
		for range 20 {
			if _, err := s.Send(t.Context(), orders()); err != nil {
				t.Fatal(err)
			}
		}
		h.down.Store(true)
		for range 4 {
			_, _ = s.Send(t.Context(), orders())
		}
		h.down.Store(false)
		h.takes, h.most = time.Second, atomic.Int64{}
		var all sync.WaitGroup
		for range 30 {
			all.Go(func() { _, _ = s.Send(t.Context(), orders()) })
		}
		time.Sleep(500 * time.Millisecond)
		if m := h.most.Load(); m > 3 {
			t.Errorf("%d at once after failures in a slow start", m)
		}
		all.Wait()
	})
}

func BenchmarkBreak(b *testing.B) {
	s := sinks.Break(nothing{}, sinks.NewBreakers(quiet()), "crm:443", wait)
	r := orders()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, _ = s.Send(context.Background(), r)
		}
	})
}

type nothing struct{}

func (nothing) Send(context.Context, *ingest.Request) (ingest.Answer, error) {
	return ingest.Answer{}, nil
}
