package daemon

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/alert"
)

const (
	// newsKept is how long what passed by and has no end of its own counts as
	// being the case: a file that failed, one that was empty.
	newsKept = 24 * time.Hour
	// maxFailed bounds the failed arrivals that are remembered by name.
	maxFailed = 100
	// recalled bounds the arrivals of a pipeline that are looked at at start.
	recalled = 200
)

// news stands before the metrics and keeps what passes by and people are to be
// told of.
type news struct {
	ingest.Observer

	mu        sync.Mutex
	pipelines map[string]*paper
	reached   map[string]bool // sinks that were tried since the start
}

// A paper is the news of one pipeline.
type paper struct {
	expect  *expectation
	usual   alert.Usual
	failed  []ingest.Arrival // those that nothing has made good yet, oldest first
	more    int64            // besides them
	odd     *alert.Fact      // about the last arrival, where it was strange
	deadAt  time.Time        // when a record died last
	dead1st time.Time        // and first
	deadIn  *ingest.Arrival  // the last that ended with dead records
}

func newNews(next ingest.Observer) *news {
	return &news{Observer: next, pipelines: map[string]*paper{}, reached: map[string]bool{}}
}

// of is the paper of a pipeline. n.mu is held.
func (n *news) of(pipeline string) *paper {
	p := n.pipelines[pipeline]
	if p == nil {
		p = &paper{}
		n.pipelines[pipeline] = p
	}
	return p
}

// expects says what a pipeline is to be judged by from now on.
func (n *news) expects(pipeline string, e *expectation) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.of(pipeline).expect = e
}

// recall reads what the last arrivals were like, where this process has not
// seen them.
func (n *news) recall(ctx context.Context, q ingest.Query, pipeline string, e *expectation) error {
	var list []ingest.Arrival
	for a, err := range q.Arrivals(ctx, ingest.ArrivalFilter{Pipeline: pipeline, Limit: recalled}) {
		if err != nil {
			return err
		}
		if a.State.Ended() {
			list = append(list, a)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.of(pipeline)
	p.expect = e
	for i := range slices.Backward(list) {
		if a := &list[i]; !a.FinishedAt.IsZero() {
			p.ended(a, time.Now())
		}
	}
	return nil
}

// ArrivalEnded implements ingest.Observer.
func (n *news) ArrivalEnded(a *ingest.Arrival) {
	n.mu.Lock()
	n.of(a.Pipeline).ended(a, time.Now())
	n.mu.Unlock()
	n.Observer.ArrivalEnded(a)
}

func (p *paper) ended(a *ingest.Arrival, now time.Time) {
	fresh := now.Sub(a.FinishedAt) < newsKept
	if a.Counts.Dead > 0 {
		p.deadIn = copied(a)
	}
	switch a.State {
	case ingest.Failed:
		if !fresh || strings.HasPrefix(a.Error, "rejected by a person") {
			return
		}
		p.mended(a)
		if len(p.failed) == maxFailed {
			p.failed = slices.Delete(p.failed, 0, 1)
			p.more++
		}
		p.failed = append(p.failed, *copied(a))
	case ingest.Done:
		p.mended(a)
		if p.expect != nil && alert.Counts(a) {
			p.judge(a, fresh)
		}
	case ingest.DuplicateState:
		p.mended(a)
	}
}

// mended forgets failures that a makes good: it has their name, or is another
// try of them.
func (p *paper) mended(a *ingest.Arrival) {
	p.failed = slices.DeleteFunc(p.failed, func(f ingest.Arrival) bool {
		return f.Name == a.Name || a.Replay != nil && a.Replay.Of == f.ID
	})
	if len(p.failed) == 0 {
		p.more = 0
	}
}

// judge looks whether an arrival that ended well is as it usually is.
func (p *paper) judge(a *ingest.Arrival, fresh bool) {
	p.odd = nil
	f, odd := p.expect.EmptyFact(a)
	if !odd {
		f, odd = p.usual.Judge(a)
		p.usual.Add(a.Counts.Records)
	}
	if odd && fresh {
		p.odd = &f
	}
}

// copied is what facts need of an arrival: who gave it goes on using it.
func copied(a *ingest.Arrival) *ingest.Arrival {
	return &ingest.Arrival{
		ID: a.ID, Pipeline: a.Pipeline, State: a.State, Error: a.Error, Counts: a.Counts, FinishedAt: a.FinishedAt,
		Found: ingest.Found{Name: a.Name, FoundAt: a.FoundAt},
	}
}

// Settled implements ingest.Observer.
func (n *news) Settled(pipeline, outcome string, records int64) {
	if outcome == "dead" && records > 0 {
		n.mu.Lock()
		p := n.of(pipeline)
		p.deadAt = time.Now()
		if p.dead1st.IsZero() {
			p.dead1st = p.deadAt
		}
		n.mu.Unlock()
	}
	n.Observer.Settled(pipeline, outcome, records)
}

// Sent implements ingest.Observer.
func (n *news) Sent(pipeline, sink, class string, status, bytes int, took time.Duration) {
	n.mu.Lock()
	n.reached[sink] = true
	n.mu.Unlock()
	n.Observer.Sent(pipeline, sink, class, status, bytes, took)
}

// tried reports whether a sink was tried since the start.
func (n *news) tried(sink string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.reached[sink]
}

// facts is what the news of a pipeline come to. dead is how many letters are on
// its list now.
func (n *news) facts(pipeline string, dead int64, now time.Time) []alert.Fact {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.of(pipeline)
	var out []alert.Fact
	p.failed = slices.DeleteFunc(p.failed, func(a ingest.Arrival) bool { return now.Sub(a.FinishedAt) >= newsKept })
	if len(p.failed) > 0 {
		last := &p.failed[len(p.failed)-1]
		out = append(out, alert.FailedFact(last, int64(len(p.failed))+p.more, p.failed[0].FinishedAt))
	}
	if p.odd != nil {
		if now.Sub(p.odd.Since) < newsKept {
			out = append(out, *p.odd)
		} else {
			p.odd = nil
		}
	}
	switch {
	case dead > 0:
		mark := int64(0)
		if !p.deadAt.IsZero() {
			mark = p.deadAt.UnixMicro()
		}
		out = append(out, alert.DeadFact(pipeline, dead, p.deadIn, p.dead1st, mark))
	default:
		p.dead1st, p.deadIn = time.Time{}, nil
	}
	return out
}
