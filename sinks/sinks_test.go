package sinks_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"ingestd/ingest"
	"ingestd/sinks"
)

// script is a sink that answers in sequence; the last answer stays.
type script struct {
	mu      sync.Mutex
	answers []error
	at      []time.Time // when it was asked
}

func (s *script) Send(context.Context, *ingest.Request) (ingest.Answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = append(s.at, time.Now())
	err := s.answers[0]
	if len(s.answers) > 1 {
		s.answers = s.answers[1:]
	}
	if err != nil {
		return ingest.Answer{}, err
	}
	return ingest.Answer{Status: 200}, nil
}

func (s *script) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.at)
}

var errReset = errors.New("connection reset")

func later(d time.Duration) error {
	return &ingest.RetryAfter{At: time.Now().Add(d), Reason: "503", Answer: ingest.Answer{Status: 503}}
}

func orders() *ingest.Request { return &ingest.Request{Pipeline: "orders", Body: []byte("abc")} }

// slow takes its time for each try.
type slow struct {
	ingest.Sink
	d time.Duration
}

func (s slow) Send(ctx context.Context, r *ingest.Request) (ingest.Answer, error) {
	time.Sleep(s.d)
	return s.Sink.Send(ctx, r)
}

func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []error{nil}}
		l := rate.NewLimiter(10, 1)
		a, b := sinks.Limit(s, l), sinks.Limit(s, l) // two pipelines, one rate
		began := time.Now()
		var all sync.WaitGroup
		for i := range 21 {
			all.Go(func() {
				if _, err := []ingest.Sink{a, b}[i%2].Send(t.Context(), orders()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if took := time.Since(began); took < 1999*time.Millisecond || took > 2001*time.Millisecond {
			t.Errorf("21 requests at 10/s took %v, want 2 s", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := a.Send(ctx, orders()); err == nil || s.asked() != 21 {
			t.Errorf("sent after the end: %v", err)
		}
	})
	s := &script{answers: []error{nil}}
	if got := sinks.Limit(s, nil); got != ingest.Sink(s) {
		t.Error("no limit is not the sink itself")
	}
}

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gates := sinks.NewGates()
		crm := &script{answers: []error{later(time.Minute), nil}}
		a := sinks.Gate(crm, gates, "crm.example:443")
		b := sinks.Gate(crm, gates, "crm.example:443") // another sink of the same host
		other := sinks.Gate(crm, gates, "erp.example:443")
		if _, err := a.Send(t.Context(), orders()); err == nil {
			t.Fatal("no verdict")
		}
		// The same pipeline and host: told at once, nothing goes out.
		for range 3 {
			var ra *ingest.RetryAfter
			began := time.Now()
			if _, err := b.Send(t.Context(), orders()); !errors.As(err, &ra) || time.Until(ra.At) != time.Minute || ra.Answer.Status != 503 {
				t.Errorf("%v", err)
			}
			if time.Since(began) != 0 || crm.asked() != 1 {
				t.Errorf("%d requests, waited %v", crm.asked(), time.Since(began))
			}
		}
		// Another pipeline, another host: not concerned.
		if _, err := a.Send(t.Context(), &ingest.Request{Pipeline: "stock"}); err != nil {
			t.Error(err)
		}
		if _, err := other.Send(t.Context(), orders()); err != nil {
			t.Error(err)
		}
		// Less than 2 s before its end: waited out, by all.
		time.Sleep(58500 * time.Millisecond)
		began := time.Now()
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if _, err := b.Send(t.Context(), orders()); err != nil {
					t.Error(err)
				}
				if wait := time.Since(began); wait != 1500*time.Millisecond {
					t.Errorf("went out after %v", wait)
				}
			})
		}
		all.Wait()
	})
}

func TestGateKeepsTheLongestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gates := sinks.NewGates()
		s := &script{answers: []error{later(time.Hour), later(time.Minute), nil}}
		a := sinks.Gate(slow{s, time.Second}, gates, "h:1")
		// Both are on their way when the first verdict comes.
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() { a.Send(t.Context(), orders()) })
		}
		all.Wait()
		time.Sleep(2 * time.Minute)
		if _, err := a.Send(t.Context(), orders()); err == nil {
			t.Error("went out before the longer pause was over")
		}
		time.Sleep(time.Hour)
		if _, err := a.Send(t.Context(), orders()); err != nil {
			t.Error(err)
		}
	})
}

// TestGateStandsInsideLimit: a request that waited for its rate meets a gate
// that closed meanwhile.
func TestGateStandsInsideLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []error{later(time.Minute), nil}}
		sink := sinks.Limit(sinks.Gate(s, sinks.NewGates(), "h:1"), rate.NewLimiter(1, 1))
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() { sink.Send(t.Context(), orders()) })
		}
		all.Wait()
		if s.asked() != 1 {
			t.Errorf("%d requests went out, one of them before its time", s.asked())
		}
	})
}

func TestGateEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: []error{later(time.Second), nil}}
		sink := sinks.Gate(s, sinks.NewGates(), "h:1")
		sink.Send(t.Context(), orders())
		ctx, cancel := context.WithCancel(t.Context())
		go cancel()
		if _, err := sink.Send(ctx, orders()); !errors.Is(err, context.Canceled) || s.asked() != 1 {
			t.Errorf("%v after %d tries", err, s.asked())
		}
	})
}

// observer keeps what Sent was told.
type observer struct {
	ingest.Observer
	got []string
}

func (o *observer) Sent(pipeline, sink, class string, status, bytes int, took time.Duration) {
	o.got = append(o.got, fmt.Sprint(pipeline, " ", sink, " ", class, " ", status, " ", bytes, " ", took))
}

func TestObserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := new(observer)
		for _, c := range []struct {
			err  error
			want string
		}{
			{nil, "orders crm delivered 200 3 1s"},
			{&ingest.Reject{Answer: ingest.Answer{Status: 422}}, "orders crm rejected 422 3 1s"},
			{&ingest.Halt{Answer: ingest.Answer{Status: 401}}, "orders crm halted 401 3 1s"},
			{later(time.Hour), "orders crm retry 503 3 1s"},
			{&ingest.Unanswered{Err: errReset, Answer: ingest.Answer{Status: 500}}, "orders crm retry 500 3 1s"},
			{errReset, "orders crm retry 0 3 1s"},
		} {
			_, err := sinks.Observe(slow{&script{answers: []error{c.err}}, time.Second}, o, "crm").Send(t.Context(), orders())
			if err != c.err {
				t.Errorf("%v became %v", c.err, err)
			}
			if got := o.got[len(o.got)-1]; got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		}
	})
}

// placing is a sink with places.
type placing struct{ script }

func (*placing) Place(context.Context, *ingest.Request, int64) (string, int64, error) {
	return "p", 7, nil
}

func TestDecoratorsKeepThePlacer(t *testing.T) {
	wrap := func(s ingest.Sink) ingest.Sink {
		return sinks.Limit(sinks.Gate(sinks.Observe(s, new(observer), "x"), sinks.NewGates(), "h"), rate.NewLimiter(1, 1))
	}
	p, ok := wrap(&placing{script{answers: []error{nil}}}).(ingest.Placer)
	if !ok {
		t.Fatal("the Placer is lost")
	}
	if _, at, _ := p.Place(t.Context(), orders(), 1); at != 7 {
		t.Error("another Placer")
	}
	if _, ok := wrap(&script{answers: []error{nil}}).(ingest.Placer); ok {
		t.Error("a Placer out of nothing")
	}
}

// An answer record by record passes as it is, and the silence in it is kept.
func TestMixedPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &ingest.Mixed{
			Answer: ingest.Answer{Status: 207}, Records: make([]ingest.RecordAnswer, 2),
			Later: &ingest.RetryAfter{At: time.Now().Add(time.Hour), Reason: "busy"},
		}
		next := &script{answers: []error{m, nil}}
		s := sinks.Gate(next, sinks.NewGates(), "host")
		var got *ingest.Mixed
		if _, err := s.Send(t.Context(), orders()); !errors.As(err, &got) || got != m || ingest.AnswerOf(err).Status != 207 {
			t.Errorf("%v", err)
		}
		var ra *ingest.RetryAfter
		if _, err := s.Send(t.Context(), orders()); !errors.As(err, &ra) || next.asked() != 1 {
			t.Errorf("within the silence: %v, asked %d times", err, next.asked())
		}
		time.Sleep(time.Hour)
		if _, err := s.Send(t.Context(), orders()); err != nil {
			t.Errorf("after it: %v", err)
		}
	})
}
