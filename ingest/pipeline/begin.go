package pipeline

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"ingestd/ingest"
)

// start takes an arrival up to the point where its records are read. It
// returns nil where the arrival's life ended or stopped before that.
func (e *Engine) start(ctx context.Context, a ingest.Arrival, slot *slot) (r *run, err error) {
	if a.Snapshot == nil && e.o.Plan.SkipFiles && a.Replay == nil && a.Size > 0 && !bundled(&a) {
		sum, dup, err := e.seenBefore(ctx, &a, slot)
		switch {
		case gone(err):
			return nil, e.end(ctx, &a, ingest.Ending{State: ingest.Failed, Error: err.Error()})
		case err != nil:
			return nil, err
		case dup:
			e.log.Info("the arrival's content was delivered before", "arrival", a.ID, "name", a.Name)
			return nil, e.end(ctx, &a, ingest.Ending{State: ingest.DuplicateState, SHA256: sum})
		}
		a.SHA256 = sum
	}
	begun, err := e.o.Ledger.Begin(ctx, a.ID, e.o.Plan.Snapshot)
	e.mark(a.ID, nil)
	if err != nil {
		return nil, err
	}
	sum := a.SHA256
	a = begun.Arrival
	if a.SHA256 == nil {
		a.SHA256 = sum
	}
	plan := e.o.Plan
	if !bytes.Equal(begun.Snapshot, plan.Snapshot) {
		if plan, err = e.o.Compile(begun.Snapshot); err != nil {
			return nil, e.hold(ctx, &a, fmt.Sprintf("the settings it began under cannot be used any more: %v", err))
		}
	}
	for i := range plan.Sinks {
		if e.queue(plan.Sinks[i].Name) == nil {
			return nil, e.hold(ctx, &a, fmt.Sprintf("it began with sink %q, which the config does not have any more: put it back, then release it", plan.Sinks[i].Name))
		}
	}
	r = &run{
		e: e, a: a, plan: plan, begun: begun, sum: a.SHA256,
		subject: &subject{id: a.ID, name: a.Name, arrived: a.FoundAt.UTC()}, content: a.SHA256,
	}
	if bundled(&a) {
		r.subject.events = &index{}
	}
	of, err := e.takenUpBefore(ctx, &a, plan)
	if err == nil && of != 0 {
		r.given, err = e.o.Ledger.Delivered(ctx, of)
	}
	if err != nil {
		return nil, err
	}
	r.loosen(begun.Open)
	r.reported, _ = e.o.Ledger.Progress(a.ID)
	r.ctx, r.stop = context.WithCancelCause(ctx)
	for i := range plan.Sinks {
		s := &plan.Sinks[i]
		if q := e.queue(s.Name); (s.Lanes > 0 || q.strict()) && q.owed() {
			r.behind(s.Name) // its order is strict, and an earlier arrival comes first
		} else if !q.asleep(r.subject.arrived).IsZero() {
			r.behind(s.Name) // what is claimed waits on disk
		}
	}
	msg, attrs := "arrival begun", []any{"arrival", a.ID, "name", a.Name, "size", a.Size}
	if a.Starts > 1 || len(begun.Settled)+len(begun.Open) > 0 {
		msg, attrs = "arrival goes on", []any{"arrival", a.ID, "name", a.Name, "start", a.Starts}
	}
	e.log.Log(ctx, usual(&a), msg, attrs...)
	return r, nil
}

// seenBefore compares the arrival's content with earlier ones of its size. One
// under way with the same content is waited for, since it may yet fail; others
// are read meanwhile.
func (e *Engine) seenBefore(ctx context.Context, a *ingest.Arrival, slot *slot) (sum []byte, dup bool, err error) {
	scope := e.o.Plan.Scope
	for {
		rivals, err := e.rivals(ctx, a)
		if err != nil {
			return sum, false, err
		}
		some, running, err := e.o.Ledger.SameSize(ctx, scope, a.Size, a.ID)
		if err != nil || !some && len(running)+len(rivals) == 0 {
			return sum, false, err
		}
		if sum == nil {
			if sum, err = hashOf(ctx, a); err != nil {
				return nil, false, err
			}
			e.mark(a.ID, &outset{size: a.Size, sum: sum})
		}
		if dup, err := e.o.Ledger.SameContent(ctx, scope, a.Size, sum); err != nil || dup {
			return sum, dup, err
		}
		if i := slices.IndexFunc(rivals, func(r rival) bool { return bytes.Equal(r.sum, sum) }); i >= 0 {
			if err := slot.aside(ctx, func() error { return e.set(ctx, rivals[i].id) }); err != nil {
				return sum, false, err
			}
			continue
		}
		twin, err := e.twin(ctx, sum, running)
		if err != nil || twin == 0 {
			return sum, false, err
		}
		if other, err := e.o.Ledger.Find(ctx, twin); err == nil && other.State != ingest.Running {
			continue // it stopped meanwhile: no other arrival goes before this one for that
		}
		if err := slot.aside(ctx, func() error { return e.o.Ledger.Ended(ctx, twin) }); err != nil {
			return sum, false, err
		}
	}
}

// An outset is what is known of an arrival that is about to begin. Two of the
// same content that came together must not both find that there is no other.
type outset struct {
	size int64  // -1 until it was looked at
	sum  []byte // nil until it was needed
}

// A rival is an earlier arrival of the same size that is about to begin.
type rival struct {
	id  int64
	sum []byte
}

// rivals lists the arrival's, once their hashes are known. They have slots and
// are at it, so that is soon; those that have begun meanwhile are none any more.
func (e *Engine) rivals(ctx context.Context, a *ingest.Arrival) (out []rival, err error) {
	for {
		out = out[:0]
		ready := true
		e.mu.Lock()
		for id, o := range e.starting {
			if id < a.ID && (o.size == a.Size || o.size < 0) {
				ready = ready && o.sum != nil
				out = append(out, rival{id, o.sum})
			}
		}
		changed := e.changed
		e.mu.Unlock()
		if ready {
			return out, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, brokenOff{context.Cause(ctx)}
		}
	}
}

// set waits until an arrival has begun, or will not.
func (e *Engine) set(ctx context.Context, id int64) error {
	for {
		e.mu.Lock()
		o, changed := e.starting[id], e.changed
		e.mu.Unlock()
		if o == nil {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return brokenOff{context.Cause(ctx)}
		}
	}
}

// mark notes what is known of an arrival that is about to begin; nil that it
// has begun or will not.
func (e *Engine) mark(id int64, o *outset) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.starting[id] = o; o == nil {
		delete(e.starting, id)
	}
	e.wake()
}

// takenUpBefore returns the arrival whose delivered records are not to be sent
// again with this one, or 0: the one that is replayed, or, where records have
// no keys, one with the same content that has dead letters.
func (e *Engine) takenUpBefore(ctx context.Context, a *ingest.Arrival, plan *Plan) (int64, error) {
	if a.Replay != nil {
		if a.Replay.Force {
			return 0, nil
		}
		return a.Replay.Of, nil
	}
	if plan.Dedupe || !plan.SkipFiles || a.Size == 0 || bundled(a) {
		return 0, nil
	}
	some, _, err := e.o.Ledger.SameSize(ctx, plan.Scope, a.Size, a.ID)
	if err != nil || !some {
		return 0, err
	}
	if a.SHA256 == nil {
		switch a.SHA256, err = hashOf(ctx, a); {
		case gone(err):
			return 0, nil // reading it says so
		case err != nil:
			return 0, err
		}
	}
	return e.o.Ledger.Partly(ctx, plan.Scope, a.Size, a.SHA256)
}

// twin returns the arrival under way whose content has this hash, or 0. One
// whose file cannot be read any more is about to end: it counts as one.
func (e *Engine) twin(ctx context.Context, sum []byte, running []int64) (int64, error) {
	for _, id := range running {
		other, err := e.o.Ledger.Find(ctx, id)
		if err != nil {
			return 0, err
		}
		if other.State != ingest.Running {
			return id, nil
		}
		theirs, err := e.sumOf(ctx, other)
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if err != nil || bytes.Equal(theirs, sum) {
			return id, nil
		}
	}
	return 0, nil
}

// sumOf is the SHA-256 of an arrival under way. That of one of ours is computed
// once, however many of its size come after it.
func (e *Engine) sumOf(ctx context.Context, a *ingest.Arrival) ([]byte, error) {
	e.mu.Lock()
	r := e.runs[a.ID]
	e.mu.Unlock()
	if r == nil {
		return hashOf(ctx, a)
	}
	r.summing.Lock()
	defer r.summing.Unlock()
	if r.content == nil {
		sum, err := hashOf(ctx, a)
		if err != nil {
			return nil, err
		}
		r.content = sum
	}
	return r.content, nil
}
