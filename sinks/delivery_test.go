package sinks_test

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"ingestd/ingest"
	"ingestd/sinks"
	"ingestd/sinks/httpapi"
	"ingestd/sinks/sinktest"
)

// tally counts tries by class.
type tally struct {
	ingest.Observer
	mu sync.Mutex
	n  map[string]int
}

func (o *tally) Sent(_, _, class string, _, _ int, _ time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.n[class]++
}

// TestDeliveryInBadWeather puts the stages together before a target that
// fails in every way it can, and asks the target's judge.
func TestDeliveryInBadWeather(t *testing.T) {
	const batches, records, senders = 300, 20, 4
	target, err := sinktest.New(sinktest.Options{Seed: 1, Script: sinktest.Script{
		Weather: []sinktest.Chance{
			{P: 0.05, Step: sinktest.Step{Do: sinktest.Status, Status: 500}},
			{P: 0.05, Step: sinktest.Step{Do: sinktest.Status, Status: 503, After: true}},
			{P: 0.02, Step: sinktest.Step{Do: sinktest.Status, Status: 429}},
			{P: 0.05, Step: sinktest.Step{Do: sinktest.Reset, Unread: true}},
			{P: 0.05, Step: sinktest.Step{Do: sinktest.Reset, After: true}},
			{P: 0.05, Step: sinktest.Step{Do: sinktest.Half}},
			{P: 0.05, Step: sinktest.Step{Do: sinktest.Cut}},
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := target.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	client, err := httpapi.New(httpapi.Options{Name: "crm", URL: target.URL() + "/orders", MaxConns: senders, Compress: httpapi.CompressGzip})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if u, _ := url.Parse(target.URL()); client.Host() != u.Host {
		t.Errorf("host %q, want %q", client.Host(), u.Host)
	}
	seen := &tally{n: make(map[string]int)}
	sink := sinks.Limit(
		sinks.Gate(
			sinks.Observe(client, seen, "crm"),
			sinks.NewGates(), client.Host()),
		rate.NewLimiter(rate.Inf, 1))

	body, err := sinks.Body(sinks.BodySpec{Kind: sinks.BodyArray})
	if err != nil {
		t.Fatal(err)
	}
	var expect []string
	work := make(chan *ingest.Request, batches)
	for b := range batches {
		var recs []string
		for i := range records {
			id := fmt.Sprintf("%d-%d", b, i)
			expect = append(expect, id)
			recs = append(recs, `{"id":"`+id+`","text":"`+strings.Repeat("x", 50)+`"}`)
		}
		work <- &ingest.Request{
			Pipeline: "orders", Arrival: 1, Key: fmt.Sprintf("%032x", b), Records: records,
			ContentType: body.ContentType, Body: []byte(build(body, recs...)),
		}
	}
	close(work)
	var all sync.WaitGroup
	for range senders {
		all.Go(func() {
			for r := range work {
				for {
					_, err := sink.Send(t.Context(), r)
					if err == nil {
						break
					}
					var un *ingest.Unanswered
					if !errors.As(err, &un) {
						t.Errorf("a verdict in mere weather: %v", err)
						break
					}
				}
			}
		})
	}
	all.Wait()
	if v := target.Judge(expect); !v.OK() || v.Requests != batches {
		t.Error(v)
	}
	s := target.Stats()
	if s.Peak > senders {
		t.Errorf("%d requests at once from %d senders", s.Peak, senders)
	}
	if seen.n["delivered"] != batches || seen.n["retry"] == 0 {
		t.Errorf("observed: %v", seen.n)
	}
	for _, what := range []string{"status 500", "status 503", "reset", "half", "cut"} {
		if s.Answers[what] == 0 {
			t.Errorf("%s never happened: %v", what, s.Answers)
		}
	}
}

// TestRetryAfterIsKept: the target counts requests that come before their time.
func TestRetryAfterIsKept(t *testing.T) {
	target, err := sinktest.New(sinktest.Options{Script: sinktest.Script{
		Steps: []sinktest.Step{{Do: sinktest.Status, Status: 429, RetryAfter: "1"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := target.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	client, err := httpapi.New(httpapi.Options{URL: target.URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	sink := sinks.Gate(client, sinks.NewGates(), client.Host())
	first := &ingest.Request{Pipeline: "orders", Key: "0", Body: []byte(`{"id":0}`)}
	var after *ingest.RetryAfter
	if _, err := sink.Send(t.Context(), first); !errors.As(err, &after) {
		t.Fatalf("429 with Retry-After: %v", err)
	}
	if _, err := sink.Send(t.Context(), first); err != nil { // waits it out
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			r := &ingest.Request{Pipeline: "orders", Key: fmt.Sprint(i + 1), Body: fmt.Appendf(nil, `{"id":%d}`, i+1)}
			if _, err := sink.Send(t.Context(), r); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if s := target.Stats(); s.Early != 0 || s.Accepted != 9 || s.Requests != 10 {
		t.Errorf("%+v", s)
	}
}
