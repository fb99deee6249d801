package pipeline

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Hours say when deliveries to a sink are made.
type Hours interface {
	// Opens returns when what arrived then may go out, now or later; now itself
	// where that is so already. A zero arrived is long ago.
	Opens(arrived, now time.Time) time.Time
	// Open is how much of the time between two instants deliveries were made in:
	// the rest does not count towards giving up.
	Open(from, to time.Time) time.Duration
}

const (
	// lookAgain is how often what waits for a time of the day looks at the clock,
	// which may be set.
	lookAgain = time.Minute
	// always is how long a pause without an end lasts.
	always = 100 * 365 * 24 * time.Hour
	// asleepMost is how many arrivals of a pipeline none of whose sinks takes
	// anything are claimed meanwhile; the others stay as they came.
	asleepMost = 64
)

// A rest is a person's pause of a queue.
type rest struct {
	reason string
	until  time.Time // zero: until it is resumed
	since  time.Time
	ended  time.Time // the last one's end
}

// lasts reports whether the pause is on.
func (r *rest) lasts(now time.Time) bool {
	return r.reason != "" && (r.until.IsZero() || r.until.After(now))
}

// closed is until when the queue makes no deliveries by a person's will or its
// hours, of what arrived then; now, where it makes them. q.mu is held.
func (q *queue) closed(arrived, now time.Time) time.Time {
	at := now
	if q.rest.lasts(now) {
		if at = q.rest.until; at.IsZero() {
			return now.Add(always)
		}
	}
	if q.o.Hours != nil {
		at = q.o.Hours.Opens(arrived, at)
	}
	return at
}

// asleep is until when the queue makes no deliveries of what arrived then; zero
// where it makes them.
func (q *queue) asleep(arrived time.Time) time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if at := q.closed(arrived, now); at.After(now) {
		return at
	}
	return time.Time{}
}

// awake waits until deliveries of what arrived then are made.
func (q *queue) awake(ctx context.Context, arrived time.Time) error {
	for {
		q.mu.Lock()
		now := time.Now()
		at, changed := q.closed(arrived, now), q.changed
		q.mu.Unlock()
		if !at.After(now) {
			return nil
		}
		timer := time.NewTimer(min(at.Sub(now), lookAgain))
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return brokenOff{context.Cause(ctx)}
		}
	}
}

// tried is for how long a load has been tried that failed first at from: pauses
// and hours without deliveries do not count. q.mu is not held.
func (q *queue) tried(from, now time.Time) time.Duration {
	q.mu.Lock()
	ended := q.rest.ended
	if u := q.rest.until; !u.IsZero() && u.After(ended) && !u.After(now) {
		ended = u
	}
	q.mu.Unlock()
	if ended.After(from) {
		from = ended
	}
	if q.o.Hours != nil {
		return q.o.Hours.Open(from, now)
	}
	return now.Sub(from)
}

// sleeps says why and until when the queue makes no deliveries; "" where it
// makes them. q.mu is held.
func (q *queue) sleeps(now time.Time) (state, why string, at time.Time) {
	at = q.closed(time.Time{}, now)
	switch {
	case !at.After(now):
		return "", "", time.Time{}
	case q.rest.lasts(now):
		why = q.rest.reason
		if !q.rest.until.IsZero() {
			why += " until " + ofDay(q.rest.until, now)
		}
		return "paused", why, at
	}
	return "waiting", "waits until " + ofDay(at, now) + " (deliver)", at
}

// ofDay is a time for people: without its date where that is today's or the
// next time the clock shows it.
func ofDay(at, now time.Time) string {
	if at.Sub(now) < 24*time.Hour {
		return at.Format("15:04")
	}
	return at.Format("2006-01-02 15:04")
}

// PauseSink stops deliveries to a sink until ResumeSink, or until then where
// that is set. Arrivals are taken up meanwhile, other sinks go on, and the time
// does not count towards giving up. What is in flight may finish.
func (e *Engine) PauseSink(sink, reason string, since, until time.Time) {
	q := e.queue(sink)
	if q == nil {
		return
	}
	q.mu.Lock()
	q.rest.reason, q.rest.since, q.rest.until = reason, since, until
	q.wake()
	q.mu.Unlock()
	e.poke()
}

// ResumeSink ends a PauseSink, at a time that may lie back, and lets a sink that
// is left alone after failures try again at once.
func (e *Engine) ResumeSink(sink string, ended time.Time) {
	q := e.queue(sink)
	if q == nil {
		return
	}
	q.mu.Lock()
	q.rest = rest{ended: ended}
	q.shut = time.Time{}
	now := time.Now()
	if !q.silence.After(now) {
		for _, list := range q.lists() {
			for _, l := range *list {
				if l.due.After(now) {
					l.due = now
				}
			}
		}
		slices.SortStableFunc(q.waiting, byDue)
	}
	q.wake()
	q.mu.Unlock()
	e.poke()
}

// asleep is when the first of the pipeline's sinks makes deliveries again; zero
// where one makes them now. Nobody may hold e.mu: who holds a queue's may ask for it.
func (e *Engine) asleep() (first time.Time) {
	for i := range e.o.Plan.Sinks {
		q := e.queue(e.o.Plan.Sinks[i].Name)
		at := q.asleep(time.Time{})
		if at.IsZero() {
			return time.Time{}
		}
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first
}

// leftOver is ErrUnfinished with what people should know of it: each sink that
// keeps records waiting, and why, and the source that cannot be read.
func (e *Engine) leftOver() error {
	now := time.Now()
	var whys []string
	for _, q := range e.allQueues() {
		q.mu.Lock()
		why := ""
		if q.owing != nil || len(q.ready)+len(q.waiting)+q.inLanes() > 0 {
			_, why, _ = q.sleeps(now)
			switch at := q.due(now); {
			case why != "":
			case q.state != "":
				why = "is " + q.state + ": " + strings.TrimPrefix(q.reason, "sink "+q.o.Name+": ")
			case q.hushed.Next.After(now):
				why = "is tried again at " + q.hushed.Next.Format(time.TimeOnly) + "; " + q.hushed.Reason
			case at.After(now):
				why = "waits until " + ofDay(at, now) + " (deliver)"
			}
		}
		q.mu.Unlock()
		if why != "" {
			whys = append(whys, "sink "+q.o.Name+" "+why)
		}
	}
	slices.Sort(whys)
	e.mu.Lock()
	if e.source != nil {
		whys = append(whys, "the source of "+e.o.Pipeline+" cannot be read: "+e.source.Error())
	}
	e.mu.Unlock()
	if len(whys) == 0 {
		return ErrUnfinished
	}
	return fmt.Errorf("%w: %s", ErrUnfinished, strings.Join(whys, "; "))
}
