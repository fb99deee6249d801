package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"ingestd/ingest"
)

const (
	// crashStarts is how often an arrival may be begun without a settled batch
	// before it goes behind the others.
	crashStarts = 3
	retryRun    = 5 * time.Second
	retryRunMax = 10 * time.Minute
)

// errHeld says that the arrival was held, errLater that it waits for a time.
var (
	errHeld  = errors.New("held")
	errLater = errors.New("later")
)

// A slot is an arrival's right to be read: a pipeline has a few.
type slot struct {
	e    *Engine
	held bool
}

// leave gives the slot up, so that another arrival is read.
func (s *slot) leave() {
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	if s.held {
		s.held = false
		s.e.reading--
		s.e.wake()
	}
}

// enter waits for a slot.
func (s *slot) enter(ctx context.Context) error {
	for {
		s.e.mu.Lock()
		if s.e.reading < s.e.limit {
			s.held = true
			s.e.reading++
			s.e.mu.Unlock()
			return nil
		}
		changed := s.e.changed
		s.e.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return brokenOff{context.Cause(ctx)}
		}
	}
}

// aside gives the slot up while the arrival waits for something.
func (s *slot) aside(ctx context.Context, wait func() error) error {
	s.leave()
	defer s.e.rests()()
	if err := wait(); err != nil {
		return err
	}
	return s.enter(ctx)
}

// live is an arrival's life, from its beginning or from where it was left.
func (e *Engine) live(ctx context.Context, id int64) {
	slot := &slot{e: e, held: true}
	awake := e.works()
	err := e.guide(ctx, id, slot)
	slot.leave()
	awake()
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.runs, id)
	delete(e.starting, id)
	e.moves++
	defer e.wake()
	switch {
	case errors.Is(err, errLater):
	case err == nil || errors.Is(err, errHeld):
		delete(e.fails, id)
		delete(e.behind, id)
		delete(e.foreign, id)
	case ctx.Err() != nil:
	default:
		e.fails[id]++
		if e.o.Once {
			e.unfinished = true
			e.log.Error("the arrival cannot go on; it is left for another run", "arrival", id, "error", err)
			return
		}
		wait := min(retryRun<<min(e.fails[id]-1, 10), retryRunMax)
		e.log.Error("the arrival cannot go on; it is tried again", "arrival", id, "in", wait, "error", err)
		e.later = append(e.later, later{id: id, at: time.Now().Add(wait), first: true})
	}
}

func (e *Engine) guide(ctx context.Context, id int64, slot *slot) error {
	a, err := e.o.Ledger.Find(ctx, id)
	if err != nil {
		return err
	}
	if a.State.Ended() || a.State == ingest.Held {
		return nil // it was enqueued twice: accepted while the engine began
	}
	if a.State == ingest.Waiting && a.Error != "" {
		return e.end(ctx, a, ingest.Ending{State: ingest.Failed, Error: a.Error})
	}
	e.mark(id, &outset{size: a.Size})
	if wait := e.crashLoop(a); wait > 0 {
		e.mu.Lock()
		e.later = append(e.later, later{id: id, at: time.Now().Add(wait)})
		e.mu.Unlock()
		e.log.Error("the arrival was begun again and again without getting on: it goes behind the others; look at it, then reject it or let it be",
			"arrival", id, "name", a.Name, "starts", a.Starts, "next_try", wait)
		return errLater
	}
	r, err := e.start(ctx, *a, slot)
	if r == nil || err != nil {
		return err
	}
	defer r.over()
	e.mu.Lock()
	e.runs[id] = r
	e.mu.Unlock()
	err = r.read()
	switch {
	case err == nil || final(err):
		e.mu.Lock()
		r.claimed = true
		e.mu.Unlock()
		slot.leave()
		err = r.finish(err)
	case errors.Is(err, errHeld):
		return err
	}
	if errors.Is(err, ingest.ErrBodyChanged) {
		if err := e.clear(ctx, id); err != nil {
			return err
		}
		return e.hold(ctx, &r.a, fmt.Sprintf("%v: what it would send is not what it claimed before; nothing of that was sent", err))
	}
	if err != nil && ctx.Err() == nil {
		err = errors.Join(err, e.clear(ctx, id))
	}
	return err
}

// clear takes what a broken-off run has in the queues out of them and waits
// for what is in flight, so that another run may begin: no batch is ever in a
// queue twice. What is in flight may come back (halved, put off) once that is
// written; so it is repeated until nothing does.
func (e *Engine) clear(ctx context.Context, id int64) error {
	for some := true; some; {
		if err := e.o.Ledger.Barrier(ctx); err != nil {
			return err
		}
		some = false
		for _, q := range e.allQueues() {
			found, err := q.drop(ctx, id)
			if err != nil {
				return err
			}
			some = some || found
		}
	}
	return nil
}

// crashLoop is how long an arrival waits that was begun too often in vain.
func (e *Engine) crashLoop(a *ingest.Arrival) time.Duration {
	if a.Starts < crashStarts || e.o.Once {
		return 0
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.behind[a.ID] {
		return 0 // it has waited
	}
	e.behind[a.ID] = true
	return min(10*time.Second<<min(a.Starts-crashStarts, 10), retryRunMax)
}

// hold stops an arrival; a person decides.
func (e *Engine) hold(ctx context.Context, a *ingest.Arrival, reason string) error {
	if err := e.o.Ledger.Hold(context.WithoutCancel(ctx), a.ID, reason); err != nil {
		return err
	}
	if e.o.Held != nil {
		e.o.Held(a.ID)
	}
	e.log.Error("arrival held: release or reject it", "arrival", a.ID, "name", a.Name, "reason", reason)
	return errHeld
}

// end closes an arrival's books and puts its bytes away.
func (e *Engine) end(ctx context.Context, a *ingest.Arrival, end ingest.Ending) (err error) {
	ctx = context.WithoutCancel(ctx)
	probe := *a
	probe.State, probe.FinishedAt = end.State, time.Now()
	end.Away = ingest.Disposition{Action: "keep"}
	if e.o.Source != nil && !a.Keep {
		// Where that cannot be told now, it is told when it is put away.
		if end.Away, err = e.o.Source.Dispose(ctx, &probe); err != nil {
			e.log.Error("where the ended arrival goes cannot be told yet", "arrival", a.ID, "error", err)
			end.Away = ingest.Disposition{}
		}
	}
	end.Receipt = e.o.Receipts != nil
	ended, err := e.o.Ledger.End(ctx, a.ID, end)
	if err != nil {
		return err
	}
	n := ended.Counts
	level, msg := usual(a), "arrival ended"
	if ended.State == ingest.Failed {
		level = slog.LevelError
	} else if n.Dead > 0 || n.Records == 0 && ended.State == ingest.Done {
		level = slog.LevelWarn
	}
	attrs := []any{
		"arrival", a.ID, "name", a.Name, "state", ended.State, "records", n.Records, "delivered", n.Delivered,
		"duplicate", n.Duplicate, "filtered", n.Filtered, "dead", n.Dead,
	}
	if !ended.StartedAt.IsZero() {
		attrs = append(attrs, "took", ended.FinishedAt.Sub(ended.StartedAt).Round(time.Millisecond).String())
	}
	if ended.Error != "" {
		attrs = append(attrs, "error", ended.Error)
	}
	e.log.Log(ctx, level, msg, attrs...)
	e.o.Observer.ArrivalEnded(ended)
	if e.o.Replies != nil && a.Replay == nil {
		e.o.Replies.Ended(ended)
	}
	e.receipt(ctx, a.ID)
	return e.putAway(ended)
}

// putAway moves an ended arrival's bytes where End said. It is safe to repeat,
// and repeated until it works: the delivery is not.
func (e *Engine) putAway(a *ingest.Arrival) error {
	if e.o.Source != nil && !a.Keep {
		e.reach(BeforeMove)
		if err := e.move(a); err != nil {
			e.log.Error("the ended arrival could not be put away; this is tried again", "arrival", a.ID, "error", err)
			e.retryPutAway(a)
			return nil
		}
		e.reach(AfterMove)
	}
	return e.o.Ledger.PutAway(context.WithoutCancel(e.hard), a.ID, a.Away)
}

// move carries out what End stored, or what could not be told then.
func (e *Engine) move(a *ingest.Arrival) error {
	if a.Away.Action == "" {
		away, err := e.o.Source.Dispose(e.hard, a)
		if err != nil {
			return err
		}
		a.Away = away
	}
	return e.o.Source.PutAway(e.hard, a)
}

// retryPutAway tries later to put an ended arrival away.
func (e *Engine) retryPutAway(a *ingest.Arrival) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.unfinished = true
	if e.o.Once {
		return
	}
	e.wg.Go(func() {
		for wait := time.Second; ; wait = min(2*wait, time.Minute) {
			select {
			case <-time.After(wait):
			case <-e.soft.Done():
				return
			}
			if e.move(a) != nil {
				continue
			}
			if err := e.o.Ledger.PutAway(e.hard, a.ID, a.Away); err == nil {
				e.log.Info("the ended arrival was put away", "arrival", a.ID)
			}
			return
		}
	})
}
