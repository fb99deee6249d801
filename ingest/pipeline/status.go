package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ingestd/ingest"
)

// Health is how a sink does.
type Health struct {
	Sink   string
	State  string // "ok", "waiting" (for its hours), "paused", "retrying", "stopped"
	Reason string
	Since  time.Time
	Next   time.Time // the next try
}

func (q *queue) health() Health {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if state, why, at := q.sleeps(now); state != "" {
		return Health{Sink: q.o.Name, State: state, Reason: why, Since: q.rest.since, Next: at}
	}
	if q.state == "" {
		if n, since, reason := q.jammed(); n > 0 {
			return Health{Sink: q.o.Name, State: "retrying", Since: since, Reason: fmt.Sprintf("%d of its lanes wait, the others go on: %s", n, reason)}
		}
		if q.hushed.Next.After(now) {
			return q.hushed
		}
		return Health{Sink: q.o.Name, State: "ok"}
	}
	next := q.opens(now)
	if len(q.ready) == 0 && q.inLanes() == 0 && len(q.waiting) > 0 && q.waiting[0].due.After(next) {
		next = q.waiting[0].due
	}
	return Health{Sink: q.o.Name, State: q.state, Reason: q.reason, Since: q.since, Next: next}
}

// quiet keeps the queue from sending before b is due, as an earlier process was
// told.
func (q *queue) quiet(b *ingest.Batch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := q.meant(b.DueAt)
	if !at.After(q.silence) {
		return
	}
	q.silence = at
	reason := "the last answer before the restart: " + b.Answer
	if b.Status != 0 {
		reason = fmt.Sprintf("the last answer before the restart: %d %s", b.Status, b.Answer)
	}
	q.hushed = Health{Sink: q.o.Name, State: "retrying", Since: time.Now(), Next: at, Reason: reason}
}

// Health lists the pipeline's sinks, by name, and how each does.
func (e *Engine) Health() []Health {
	var out []Health
	for _, q := range e.allQueues() {
		out = append(out, q.health())
	}
	slices.SortFunc(out, func(a, b Health) int { return strings.Compare(a.Sink, b.Sink) })
	return out
}

// Status is what a pipeline is doing.
type Status struct {
	Waiting int    // arrivals accepted and not begun
	Running int    // arrivals begun and not ended
	Paused  string // why its source is paused; "" = it is not
	Source  error  // why its source cannot do its work; nil = it can
	Since   time.Time
	Behind  []int64 // arrivals that went behind the others: begun again and again without getting on
}

// Status says what the pipeline is doing now.
func (e *Engine) Status() Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := Status{Waiting: len(e.todo) + len(e.later), Running: len(e.runs), Paused: e.paused, Source: e.source}
	if s.Source != nil {
		s.Since = e.sourceSince
	}
	for id := range e.behind {
		s.Behind = append(s.Behind, id)
	}
	slices.Sort(s.Behind)
	return s
}
