package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"

	"ingestd/ingest"
)

// A run is one arrival's life in this process.
type run struct {
	e       *Engine
	a       ingest.Arrival
	plan    *Plan
	begun   *ingest.Begun
	subject *subject
	ctx     context.Context
	stop    context.CancelCauseFunc
	details ingest.Details
	sum     []byte
	given   []ingest.Range // a replay: delivered before

	claimed   bool // all of it; the engine's mu guards it
	refused   bool // reject_file: bad records are dead letters, the others filtered
	followers int  // given to the ledger since it was last calm

	summing sync.Mutex
	content []byte // its SHA-256, where another asked for it

	mu       sync.Mutex
	left     map[string]bool // sinks that fell behind
	loosened map[int64]bool  // batches that an earlier run claimed and no queue has
	reported ingest.Counts
}

// judges reports whether the ledger is asked about keys.
func (r *run) judges() bool {
	return r.plan.Dedupe && (r.a.Replay == nil || !r.a.Replay.Force)
}

// outside reports whether a replay was not asked for this record.
func (r *run) outside(n int64) bool {
	rp := r.a.Replay
	return rp != nil && rp.First > 0 && (n < rp.First || n > rp.Last)
}

// sink is the plan for one of the arrival's sinks, and its queue.
func (r *run) sink(name string) (*SinkPlan, *queue) {
	q := r.e.queue(name)
	for i := range r.plan.Sinks {
		if r.plan.Sinks[i].Name == name && q != nil {
			return &r.plan.Sinks[i], q
		}
	}
	return nil, nil
}

// loosen notes the batches that are to be made again.
func (r *run) loosen(open []*ingest.OpenClaim) {
	r.loosened = map[int64]bool{}
	for _, c := range open {
		for _, b := range c.Batches {
			r.loosened[b.ID] = true
		}
	}
}

// loose reports whether a batch is to be made again.
func (r *run) loose(b *ingest.Batch) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.loosened[b.ID]
}

// mine takes a batch that is to be made again; false where a queue has it.
func (r *run) mine(b *ingest.Batch) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	ok := r.loosened[b.ID]
	delete(r.loosened, b.ID)
	return ok
}

// giveBack undoes mine.
func (r *run) giveBack(l *load) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.loosened[l.ID] = true
}

// behind notes that a sink is left behind: it is fed by a pass of its own. It
// is no news where the sink makes no deliveries now.
func (r *run) behind(sink string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left[sink] {
		return
	}
	if r.left == nil {
		r.left = map[string]bool{}
	}
	r.left[sink] = true
	q := r.e.queue(sink)
	q.owe(r.subject)
	if !q.asleep(r.subject.arrived).IsZero() {
		return
	}
	r.e.log.Info("a sink is behind; the others go on", "sink", sink, "arrival", r.a.ID)
}

// caughtUp notes that a sink has all that is claimed.
func (r *run) caughtUp(sink string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left[sink] {
		delete(r.left, sink)
		r.e.queue(sink).paid(r.a.ID)
	}
}

func (r *run) isBehind(sink string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.left[sink]
}

// lagging lists the sinks that were left behind.
func (r *run) lagging() (sinks []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for s := range r.left {
		sinks = append(sinks, s)
	}
	slices.Sort(sinks)
	return sinks
}

// over ends the run.
func (r *run) over() {
	r.stop(nil)
	for _, s := range r.lagging() {
		r.caughtUp(s)
	}
}

// reserve takes memory for loads that are about to be claimed or queued.
func (r *run) reserve(ctx context.Context, loads ...*load) error {
	var n int64
	for _, l := range loads {
		if l.env != nil {
			n += int64(cap(l.env.Body))
		}
	}
	if n == 0 {
		return nil
	}
	pool, name := r.e.o.Pool, r.e.o.Pipeline
	if ok, _ := pool.try(name, n); !ok {
		awake := r.e.rests()
		err := pool.take(ctx, name, n)
		awake()
		if err != nil {
			return brokenOff{context.Cause(ctx)}
		}
	}
	for _, l := range loads {
		if l.env != nil {
			l.held = int64(cap(l.env.Body))
		}
	}
	return nil
}

// calm waits until all that was claimed is settled, or waits for records of
// other arrivals. Sinks that were left behind are fed first: what they lack
// would never be settled.
func (r *run) calm(ctx context.Context) error {
	if err := r.feedAll(); err != nil {
		return err
	}
	defer r.e.rests()()
	for {
		moved := r.e.moved()
		if len(r.e.o.Ledger.OpenClaims(r.a.ID)) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return brokenOff{context.Cause(ctx)}
		case <-moved:
		}
	}
}

// read reads the arrival to its end: it is checked first where that is due,
// then claimed. A nil error means that all of it was claimed; a
// *ingest.ReadError that the rest is unreadable.
func (r *run) read() error {
	var rejected *rejectedError
	if !bundled(&r.a) && (len(r.begun.Settled) == 0 && len(r.begun.Open) == 0 || r.plan.RejectFile) {
		if err := r.probe(); err != nil && !errors.As(err, &rejected) {
			return err
		}
	}
	r.refused = rejected != nil
	err := r.pass("", r.begun)
	if err == nil || final(err) {
		err = cmp.Or(r.storeSpans(), err)
	}
	if err != nil || rejected == nil {
		return err
	}
	return rejected
}

// caught turns a panic into the arrival's failure: a bug in a parser must not
// take the other pipelines with it.
func (r *run) caught(err *error) {
	if x := recover(); x != nil {
		r.e.log.Error("the reader failed", "arrival", r.a.ID, "panic", x, "stack", string(debug.Stack()))
		*err = &ingest.ReadError{Format: r.details.Format, Reason: fmt.Sprintf("the reader failed on it (a bug: %v)", x)}
	}
}

// pass reads the arrival once.
func (r *run) pass(only string, from *ingest.Begun) (err error) {
	defer r.caught(&err)
	in, err := openInput(&r.a)
	if err != nil {
		return err
	}
	defer in.f.Close()
	reader, err := r.plan.open(r.ctx, &r.a, ingest.Input{Name: r.a.Name, Size: r.a.Size, ReaderAt: in})
	if err != nil {
		return err
	}
	defer reader.Close()
	p := &pass{
		desk: desks.Get().(*desk),
		r:    r, in: in, reader: reader, bind: r.plan.Shape.Bind(r.e.seed(), r.plan.Scope), only: only, given: r.given,
		settled: slices.Clone(from.Settled), open: slices.Clone(from.Open),
	}
	if only == "" {
		p.draft = newDraft(p)
		p.opened = func() { r.details = reader.Details() }
	}
	if err := p.run(r.ctx); err != nil {
		return err
	}
	p.desk.clear()
	if only != "" {
		return nil
	}
	if err := in.same("while it was read"); err != nil {
		return err
	}
	r.sum, err = in.sum(r.ctx)
	return err
}

// feed gives a sink that fell behind the records that it lacks, by passes of
// their own over the stored claims.
func (r *run) feed(sink string) error {
	s, q := r.sink(sink)
	if err := q.awake(r.ctx, r.subject.arrived); err != nil {
		return err
	}
	if s.Lanes > 0 || q.strict() {
		if err := q.inTurn(r.ctx, r.a.ID); err != nil {
			return err
		}
	}
	select {
	case q.feeding <- struct{}{}:
	case <-r.ctx.Done():
		return brokenOff{context.Cause(r.ctx)}
	}
	defer func() { <-q.feeding }()
	defer r.e.works()()
	for {
		var open []*ingest.OpenClaim
		for _, c := range r.e.o.Ledger.OpenClaims(r.a.ID) {
			if r.lacks(c, sink) {
				open = append(open, c)
			}
		}
		if len(open) == 0 {
			return nil
		}
		b := &ingest.Begun{Arrival: r.a, Open: open}
		if err := r.pass(sink, b); err != nil {
			return err
		}
	}
}

// lacks reports whether a sink was not given all of a claim.
func (r *run) lacks(c *ingest.OpenClaim, sink string) bool {
	return slices.Contains(c.Uncut, sink) ||
		slices.ContainsFunc(c.Batches, func(b *ingest.Batch) bool { return b.Sink == sink && r.loose(b) })
}

// feedAll feeds all sinks that fell behind.
func (r *run) feedAll() error {
	left := r.lagging()
	errs := make([]error, len(left))
	var wg sync.WaitGroup
	for i, s := range left {
		wg.Go(func() { errs[i] = r.feed(s) })
	}
	awake := r.e.rests()
	wg.Wait()
	awake()
	return errors.Join(errs...)
}

// finish brings an arrival that was read to its end.
func (r *run) finish(readErr error) error {
	e := r.e
	err := r.feedAll()
	if err != nil && (!final(err) || r.ctx.Err() != nil) {
		return err
	}
	if readErr == nil {
		readErr = err // what a sink lacks is unreadable by now
	}
	for _, s := range r.lagging() {
		r.caughtUp(s)
	}
	ctx := context.WithoutCancel(r.ctx)
	end := ingest.Ending{State: ingest.Done, SHA256: r.sum, Details: r.details}
	if readErr != nil {
		end.State, end.Error = ingest.Failed, readErr.Error()
		if lost, err := r.forsake(); err != nil {
			return err
		} else if lost {
			// What nobody can make again is given up with the arrival's end.
			if err := e.o.Ledger.Hold(ctx, r.a.ID, end.Error); err != nil {
				return err
			}
			return e.end(ctx, &r.a, end)
		}
	}
	awake := e.rests()
	counts, err := e.o.Ledger.Settled(r.ctx, r.a.ID)
	awake()
	if err != nil {
		return brokenOff{err}
	}
	r.report(counts)
	if readErr == nil && counts.Records == 0 {
		end.Error = "it holds no records"
	}
	if readErr == nil && counts.Records > 0 {
		notes, err := e.differs(r.ctx, &r.a, r.details)
		if err != nil {
			return brokenOff{err}
		}
		for _, n := range notes {
			e.log.Warn("the file is of another form than the one before it", "arrival", r.a.ID, "name", r.a.Name, "found", n.Value, "before", n.Why)
		}
		end.Details.Notes = append(slices.Clip(end.Details.Notes), notes...)
	}
	return e.end(ctx, &r.a, end)
}

// forsake sends what the outbox still has of an arrival that cannot be read any
// more. It reports whether there is more, once all that can be sent is settled.
func (r *run) forsake() (lost bool, err error) {
	for _, c := range r.begun.Open {
		for _, b := range c.Batches {
			if s, q := r.sink(b.Sink); s != nil && r.e.isStored(b.ID) && r.mine(b) {
				l := oldLoad(b, s, r.subject)
				l.stored, l.free = true, true
				q.put(l)
			}
		}
	}
	if err := r.e.o.Ledger.Barrier(r.ctx); err != nil {
		return false, err
	}
	defer r.e.rests()()
	for {
		moved := r.e.moved()
		lost, busy := false, false
		for _, c := range r.e.o.Ledger.OpenClaims(r.a.ID) {
			stays := len(c.Uncut) > 0 || len(c.Batches) == 0
			for _, b := range c.Batches {
				stays = stays || r.loose(b)
				busy = busy || !r.loose(b)
			}
			lost = lost || stays
		}
		if !busy || !lost {
			return lost, nil
		}
		select {
		case <-moved:
		case <-r.ctx.Done():
			return false, brokenOff{context.Cause(r.ctx)}
		}
	}
}

// report tells the observer what the arrival's books gained.
func (r *run) report(n ingest.Counts) {
	r.mu.Lock()
	defer r.mu.Unlock()
	have := &r.reported
	for _, x := range []struct {
		outcome string
		was     *int64
		is      int64
	}{
		{"delivered", &have.Delivered, n.Delivered},
		{"duplicate", &have.Duplicate, n.Duplicate},
		{"filtered", &have.Filtered, n.Filtered},
		{"dead", &have.Dead, n.Dead},
	} {
		if d := x.is - *x.was; d > 0 {
			r.e.o.Observer.Settled(r.e.o.Pipeline, x.outcome, d)
			*x.was = x.is
		}
	}
}

// final reports whether an error says that the arrival cannot be read (any
// further): it fails, and what was delivered counts.
func final(err error) bool {
	var re *ingest.ReadError
	var rejected *rejectedError
	return errors.As(err, &re) || errors.As(err, &rejected) || gone(err)
}
