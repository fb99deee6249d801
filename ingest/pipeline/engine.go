package pipeline

import (
	"bytes"
	"context"
	"crypto/sha256"
	"slices"
	"time"

	"ingestd/ingest"
)

const (
	// activeRuns is how many arrivals of a pipeline are read at the same time:
	// a large one does not keep the small ones behind it waiting.
	activeRuns = 4
	// look is how often a Once run looks whether it can end.
	look = 100 * time.Millisecond
	// pause is how long nothing may have moved for a Once run to give up on
	// sinks that are down, standstill, at least, for one that waits for others.
	pause      = 500 * time.Millisecond
	standstill = 10 * time.Second
	// lastWords is how long the ledger may take to write what is queued when
	// the engine stops.
	lastWords = time.Second
)

// Run runs the pipeline until ctx ends: then nothing more is taken up, what is
// in flight may finish within StopTimeout, and Run returns nil. A Once run ends
// by itself: nil where all is done, ErrUnfinished where something is left. Any
// other error is the ledger's; the engine cannot be used again.
func (e *Engine) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { e.stop(context.Cause(ctx)) })()
	defer e.kill()
	err := e.resume(e.soft)
	if err == nil {
		e.start1()
		err = e.dispatch(e.soft)
	}
	e.stop(err)
	e.rest()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fatal != nil {
		return e.fatal
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// start1 lets everything run that dispatch does not.
func (e *Engine) start1() {
	e.mu.Lock()
	e.running = true
	e.mu.Unlock()
	e.wg.Go(func() { e.notice(e.soft) })
	e.wg.Go(func() { e.reports(e.soft) })
	for _, q := range e.allQueues() {
		e.staff(q) // a replay may have come before
	}
}

// stop lets nothing more begin.
func (e *Engine) stop(cause error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stopped = true
	e.cancel(cause)
}

// rest waits for what is in flight, breaks it off when it takes too long, and
// gives back what was not sent.
func (e *Engine) rest() {
	done := make(chan struct{})
	go func() {
		e.sending.Wait()
		e.wg.Wait()
		close(done)
	}()
	timer := time.NewTimer(e.o.StopTimeout)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		e.log.Warn("requests are in flight after the time to stop; they are broken off and sent again under the same key", "after", e.o.StopTimeout)
		e.kill()
		<-done
	}
	e.kill()
	// What the ledger was given last is answered before the next engine begins.
	ctx, cancel := context.WithTimeout(context.Background(), lastWords)
	defer cancel()
	if err := e.o.Ledger.Barrier(ctx); err != nil {
		e.log.Warn("the ledger has not written all that happened", "error", err)
	}
	for _, q := range e.allQueues() {
		q.end()
	}
}

// resume finds what an earlier process left.
func (e *Engine) resume(ctx context.Context) error {
	list, err := e.o.Ledger.Unfinished(ctx, e.o.Pipeline)
	if err != nil {
		return err
	}
	stored, err := e.o.Outbox.List()
	if err != nil {
		return err
	}
	e.mu.Lock()
	for _, id := range stored {
		e.stored[id] = true
	}
	e.mu.Unlock()
	settings := sha256.Sum256(e.o.Plan.Snapshot)
	for i := range list {
		a := &list[i]
		switch {
		case a.State.Ended():
			if a.PutAway {
				continue // it is here for its replayed letters
			}
			if err := e.putAway(a); err != nil {
				return err
			}
		case a.State != ingest.Held:
			laned := e.o.Plan.laned()
			for _, c := range e.o.Ledger.OpenClaims(a.ID) {
				e.heed(c.Batches)
				laned = laned || slices.ContainsFunc(c.Batches, func(b *ingest.Batch) bool { return b.Lane > 0 })
			}
			if laned && a.Snapshot != nil && !bytes.Equal(a.Snapshot, settings[:]) {
				e.mu.Lock()
				e.foreign[a.ID] = true
				e.mu.Unlock()
			}
			e.enqueue(a.ID)
		}
	}
	if e.oldReceipts(ctx) != nil {
		e.retryReceipts()
	}
	return e.resumeReplays(ctx)
}

// heed keeps queues quiet for as long as an earlier process was told. A batch
// that was put off by itself waits by itself.
func (e *Engine) heed(batches []*ingest.Batch) {
	for _, b := range batches {
		if q := e.queue(b.Sink); q != nil && b.Silence {
			q.quiet(b)
		}
	}
}

// dispatch begins arrivals in order until ctx ends, or a Once run has no more
// to do.
func (e *Engine) dispatch(ctx context.Context) error {
	limit := activeRuns
	for i := range e.o.Plan.Sinks {
		if s := &e.o.Plan.Sinks[i]; s.Lanes > 0 || e.queue(s.Name).strict() {
			limit = 1 // one arrival after the other
		}
	}
	e.mu.Lock()
	e.limit = limit
	e.mu.Unlock()
	var watch watch
	for {
		next, changed := e.begin(ctx)
		if ctx.Err() != nil {
			return nil
		}
		var timer <-chan time.Time
		switch {
		case e.o.Once:
			if over, err := watch.over(e); over {
				return err
			}
			timer = time.After(look)
		case !next.IsZero():
			timer = time.After(min(time.Until(next), lookAgain))
		}
		select {
		case <-changed:
		case <-timer:
		case <-ctx.Done():
			return nil
		}
	}
}

// begin begins the arrivals whose turn it is. It returns when another's time
// comes, and what tells of changes from here on.
func (e *Engine) begin(ctx context.Context) (next time.Time, changed <-chan struct{}) {
	asleep := e.asleep()
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	e.later = slices.DeleteFunc(e.later, func(l later) bool {
		if !l.at.After(now) {
			e.todo = append(e.todo, l.id)
			e.sortTodo()
			return true
		}
		if next.IsZero() || l.at.Before(next) {
			next = l.at
		}
		return false
	})
	if len(e.runs) >= asleepMost && !asleep.IsZero() {
		return sooner(next, asleep), e.changed
	}
	for i := 0; i < len(e.todo) && e.reading < e.limit && ctx.Err() == nil; {
		id := e.todo[i]
		if e.overtakes(id) {
			break
		}
		if e.mixes(id) {
			i++ // the one that it waits for may come behind it
			continue
		}
		if _, on := e.runs[id]; on {
			i++ // its last run is about to end
			continue
		}
		e.todo = slices.Delete(e.todo, i, i+1)
		e.reading++
		e.runs[id] = nil
		e.starting[id] = &outset{size: -1}
		e.wg.Go(func() { e.live(ctx, id) })
	}
	return next, e.changed
}

// A watch finds out when a Once run can end.
type watch struct {
	moves  int64
	counts ingest.Counts
	since  time.Time // nothing has moved
}

// over reports whether the run is over: all is done, or nothing will be soon.
func (w *watch) over(e *Engine) (bool, error) {
	e.mu.Lock()
	swept, working, moves := e.swept, e.working, e.moves
	work := len(e.todo) + len(e.runs) + len(e.replays)
	left := len(e.later) > 0 || e.source != nil || e.unfinished
	runs := make([]int64, 0, len(e.runs))
	for id := range e.runs {
		runs = append(runs, id)
	}
	e.mu.Unlock()
	switch {
	case !swept:
		return false, nil
	case work == 0 && left:
		return true, e.leftOver()
	case work == 0:
		return true, nil
	}
	var longest time.Duration
	lull := idle
	for _, q := range e.allQueues() {
		longest = max(longest, q.o.RetryMax)
		switch q.lull(time.Now()) {
		case busy:
			working++
		case stuck:
			lull = stuck
		}
	}
	var counts ingest.Counts
	for _, id := range runs {
		n, _ := e.o.Ledger.Progress(id)
		counts.Add(n)
	}
	if working > 0 || moves != w.moves || counts != w.counts || w.since.IsZero() {
		*w = watch{moves: moves, counts: counts, since: time.Now()}
		return false, nil
	}
	// What is left waits for sinks, or for arrivals that somebody else has.
	if lull == stuck {
		longest = pause
	} else {
		longest = max(longest, standstill)
	}
	if time.Since(w.since) < longest {
		return false, nil
	}
	if err := e.o.Ledger.Barrier(e.soft); err != nil {
		return true, err
	}
	e.mu.Lock()
	moved := e.moves != moves
	e.mu.Unlock()
	if moved {
		return false, nil
	}
	return true, e.leftOver()
}

// reports tells the observer how books move while arrivals run.
func (e *Engine) reports(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		e.mu.Lock()
		list := make([]*run, 0, len(e.runs))
		for _, r := range e.runs {
			if r != nil {
				list = append(list, r)
			}
		}
		e.mu.Unlock()
		for _, r := range list {
			if n, ok := e.o.Ledger.Progress(r.a.ID); ok {
				r.report(n)
			}
		}
	}
}
