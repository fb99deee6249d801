package pipeline

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A queue brings a pipeline's batches to one sink. Batches go out in the order
// of their claims, as many at once as the sink allows; one that failed waits
// for its time in memory for seconds, in the outbox and the ledger for longer.
// After some failures in a row, or where the sink says so, the whole queue
// waits and then tries one batch alone.
//
// With one request in flight at a time, order is strict: nothing overtakes a
// batch that waits, and nothing goes out while what became of the last one is
// being written.
type queue struct {
	e       *Engine
	o       SinkOptions
	room    chan struct{} // a token for each batch that is built and not settled
	feeding chan struct{} // a token for each pass that feeds what was left behind

	staffed bool // its workers were started; the engine's mu guards it

	mu       sync.Mutex
	ready    []*load // in order
	waiting  []*load // failed, each due at a time of its own; unused where order is strict
	flying   int
	storing  int           // put off or halved, and not on disk yet
	lanes    []*lane       // of a sink with order_by; its loads are in none of the above
	turn     int           // the lane that is looked at first
	seq      int64         // of the last load in lanes
	ailing   map[ail]bool  // whose loads failed since one was taken
	parked   atomic.Int32  // loads that gave their room back
	aloft    map[int64]int // in workers' hands, by arrival
	owing    []debt        // arrivals that left it behind, rising
	rest     rest          // a person's pause
	fails    int           // in a row
	shut     time.Time     // nothing is sent before, unless something was taken
	silence  time.Time     // the target asked for silence until then
	hushed   Health        // how the sink does while it is only known that an earlier process was told to wait
	probing  bool          // one batch alone finds out whether the sink is back
	state    string        // "" = well, "retrying", "stopped"
	reason   string
	since    time.Time
	long     bool // the next try is as far away as tries get
	spilling bool // somebody moves what is ready to the outbox
	full     bool // the outbox took no more
	ended    bool // nothing is sent any more
	changed  chan struct{}
}

const (
	// memoryWait is how long a failed batch may wait in memory.
	memoryWait = 3 * time.Second
	// haltWait is how long a stopped sink is left alone: first, and at most.
	haltWait    = 15 * time.Second
	haltWaitMax = 5 * time.Minute
	// feeders is how many arrivals feed one sink at the same time what it was
	// left behind with.
	feeders = 4
)

func newQueue(e *Engine, o SinkOptions) *queue {
	o.Concurrency = max(o.Concurrency, 1)
	if o.RetryInitial <= 0 {
		o.RetryInitial = 500 * time.Millisecond
	}
	if o.RetryMax <= 0 {
		o.RetryMax = time.Minute
	}
	room := 2*o.Concurrency + 2
	for i := range e.o.Plan.Sinks {
		if s := &e.o.Plan.Sinks[i]; s.Name == o.Name && s.Body.PerRecord {
			room = max(room, perRecordClaim)
		}
	}
	q := &queue{
		e: e, o: o, room: make(chan struct{}, room), feeding: make(chan struct{}, feeders),
		changed: make(chan struct{}), aloft: map[int64]int{},
	}
	if q.strict() {
		q.feeding = make(chan struct{}, 1)
	}
	return q
}

// strict reports whether batches go out in order, one after the other.
func (q *queue) strict() bool { return q.o.Concurrency == 1 }

// work sends one load after the other until ctx ends.
func (q *queue) work(ctx context.Context) {
	for {
		l := q.take(ctx)
		if l == nil {
			return
		}
		id := l.subject.id
		q.send(l)
		q.mu.Lock()
		q.grounded(id)
		q.wake()
		q.mu.Unlock()
	}
}

// wake tells takers that something changed. q.mu is held.
func (q *queue) wake() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// put queues loads whose claim is on disk, behind all others.
func (q *queue) put(loads ...*load) {
	q.e.staff(q)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended {
		for _, l := range loads {
			q.leave(l)
		}
		return
	}
	for _, l := range loads {
		l.due = q.meant(l.due)
		if l.Lane > 0 {
			q.seq++
			l.seq = q.seq
			q.file(l)
			continue
		}
		if l.due.IsZero() || q.strict() {
			q.ready = append(q.ready, l)
		} else {
			q.wait(l)
		}
	}
	q.wake()
}

// again queues a load that is to be sent again, or part of one, before all
// others: at its due time where it has one. q.mu is held.
func (q *queue) again(l *load) {
	if l.Lane > 0 {
		q.file(l)
		return
	}
	if q.strict() || l.due.IsZero() {
		q.ready = slices.Insert(q.ready, 0, l)
	} else {
		q.wait(l)
	}
}

// wait files a load under its due time; equal ones keep their order.
func (q *queue) wait(l *load) {
	at, _ := slices.BinarySearchFunc(q.waiting, l, byDue)
	q.waiting = slices.Insert(q.waiting, at, l)
}

func byDue(a, b *load) int { return cmp.Or(a.due.Compare(b.due), cmp.Compare(a.ID, b.ID)) }

// take returns the next load to send, or nil when ctx has ended.
func (q *queue) take(ctx context.Context) *load {
	for {
		if ctx.Err() != nil {
			return nil
		}
		q.mu.Lock()
		now := time.Now()
		l, at := q.next(now)
		var fat, jam *load
		if l == nil {
			if fat = q.fat(now); fat == nil {
				jam = q.jam()
			}
		}
		changed := q.changed
		q.mu.Unlock()
		if l != nil {
			return l
		}
		if fat != nil {
			q.spill(fat)
			continue
		}
		if jam != nil {
			q.park(jam)
			continue
		}
		var timer *time.Timer
		var due <-chan time.Time
		if !at.IsZero() {
			timer = time.NewTimer(min(time.Until(at), lookAgain))
			due = timer.C
		}
		select {
		case <-changed:
		case <-due:
		case <-ctx.Done():
		}
		if timer != nil {
			timer.Stop()
		}
	}
}

// opens is when something may be sent again. q.mu is held.
func (q *queue) opens(now time.Time) time.Time {
	at := q.shut
	if q.silence.After(at) {
		at = q.silence
	}
	if closed := q.closed(time.Time{}, now); closed.After(at) && closed.After(now) {
		at = closed
	}
	return at
}

// next picks what may be sent now, or says when to ask again. q.mu is held.
func (q *queue) next(now time.Time) (l *load, at time.Time) {
	if q.probing || q.spilling || q.storing > 0 && q.strict() || len(q.ready)+len(q.waiting)+q.inLanes() == 0 {
		return nil, time.Time{}
	}
	if at := q.opens(now); at.After(now) {
		return nil, at
	}
	alone := q.state != ""
	if alone && q.flying > 0 {
		return nil, time.Time{}
	}
	l, at = q.pick(now, alone)
	switch {
	case l != nil:
	case len(q.ready)+len(q.waiting) == 0:
		return nil, at
	case alone && !q.strict() && len(q.ready) > 0 && !q.ready[0].due.After(now):
		// One that did not fail yet finds out more: a sink that fails on the same
		// batch again and again may be well.
		l = q.ready[0]
		q.ready = slices.Delete(q.ready, 0, 1)
	case len(q.waiting) > 0 && !q.waiting[0].due.After(now):
		l = q.waiting[0]
		q.waiting = slices.Delete(q.waiting, 0, 1)
	case len(q.ready) == 0:
		return nil, sooner(at, q.waiting[0].due)
	case q.ready[0].due.After(now):
		return nil, sooner(at, q.ready[0].due)
	default:
		l = q.ready[0]
		q.ready = slices.Delete(q.ready, 0, 1)
	}
	q.flying++
	q.aloft[l.subject.id]++
	q.probing = alone
	return l, time.Time{}
}

// sooner is the earlier of two times that are set.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// grounded notes that somebody is done with one of the arrival's loads: what
// became of it is with the ledger or back in the queue. q.mu is held.
func (q *queue) grounded(arrival int64) {
	if q.aloft[arrival]--; q.aloft[arrival] <= 0 {
		delete(q.aloft, arrival)
	}
}

// owe notes that an arrival left the sink behind.
func (q *queue) owe(s *subject) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if at, there := q.debt(s.id); !there {
		q.owing = slices.Insert(q.owing, at, debt{s.id, s.arrived})
	}
}

// A debt is an arrival that left a sink behind.
type debt struct {
	arrival int64
	arrived time.Time
}

func (q *queue) debt(arrival int64) (at int, there bool) {
	return slices.BinarySearchFunc(q.owing, arrival, func(d debt, id int64) int { return cmp.Compare(d.arrival, id) })
}

// due is when the first of the arrivals that left the sink behind may go out;
// now, where there are none. q.mu is held.
func (q *queue) due(now time.Time) (first time.Time) {
	for _, d := range q.owing {
		if at := q.closed(d.arrived, now); first.IsZero() || at.Before(first) {
			first = at
		}
	}
	if first.IsZero() {
		return now
	}
	return first
}

// paid notes that an arrival has given the sink its share.
func (q *queue) paid(arrival int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if at, there := q.debt(arrival); there {
		q.owing = slices.Delete(q.owing, at, at+1)
		q.wake()
	}
}

// owed reports whether arrivals are to be fed that left the sink behind.
func (q *queue) owed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.owing) > 0
}

// inTurn waits until no earlier arrival is owed its share.
func (q *queue) inTurn(ctx context.Context, arrival int64) error {
	for {
		q.mu.Lock()
		first, changed := len(q.owing) == 0 || q.owing[0].arrival >= arrival, q.changed
		q.mu.Unlock()
		if first {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return brokenOff{context.Cause(ctx)}
		}
	}
}

// maxAsked is the longest pause that a target may ask for.
const maxAsked = time.Hour

// meant is a due time as it can have been meant: an earlier process may have
// written it while its clock was years ahead.
func (q *queue) meant(due time.Time) time.Time {
	if due.IsZero() {
		return due
	}
	if latest := time.Now().Add(max(q.o.RetryMax, maxAsked)); due.After(latest) {
		return latest
	}
	return due
}

// fat is a load that waits in memory for a sink that is away for long; the
// caller spills it. q.mu is held.
func (q *queue) fat(now time.Time) *load {
	if q.spilling || q.full || q.opens(now).Sub(now) <= memoryWait {
		return nil
	}
	for _, list := range q.lists() {
		if i := slices.IndexFunc(*list, func(l *load) bool { return l.env != nil }); i >= 0 {
			q.spilling = true
			return (*list)[i]
		}
	}
	return nil
}

// spill moves a load to the outbox at its place in the queue. Meanwhile nothing
// is sent, and nobody touches what is queued.
func (q *queue) spill(l *load) {
	err := q.e.pack(l)
	if err != nil {
		q.e.log.Warn("batches that wait for a sink stay in memory", "sink", q.o.Name, "error", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.spilling, q.full = false, err != nil
	q.wake()
}

// A lull is what a queue does for a Once run that may have to give up.
type lull uint8

const (
	busy  lull = iota
	idle       // it has nothing to send
	stuck      // nothing of what it has will go out soon
)

// lull looks at the queue.
func (q *queue) lull(now time.Time) lull {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := q.opens(now)
	switch {
	case q.flying > 0 || q.storing > 0:
		return busy
	case len(q.ready)+len(q.waiting)+q.inLanes() == 0:
		if due := q.due(now); due.Sub(now) > q.o.RetryMax {
			return stuck
		} else if due.After(now) {
			return busy
		}
		return idle
	case q.state != "" && q.long && at.After(now):
		return stuck
	case len(q.ready) > 0 && q.ready[0].due.After(at):
		at = q.ready[0].due
	case len(q.ready) == 0 && len(q.waiting) > 0 && q.waiting[0].due.After(at):
		if at = q.waiting[0].due; q.state != "" && q.long && q.inLanes() == 0 {
			return stuck
		}
	}
	if first, hopeless := q.laneLull(); hopeless && first.After(now) && len(q.ready)+len(q.waiting) == 0 {
		return stuck
	} else if first.After(at) {
		at = first
	}
	if at.Sub(now) > q.o.RetryMax {
		return stuck
	}
	return busy
}

// drop takes an arrival's loads out of the queue, because its run is begun
// anew, and waits for those in flight. It reports whether there were any.
func (q *queue) drop(ctx context.Context, id int64) (some bool, err error) {
	mine := func(l *load) bool { return l.subject.id == id }
	for {
		q.mu.Lock()
		for _, list := range q.lists() {
			if q.spilling {
				break
			}
			for _, l := range *list {
				if mine(l) {
					some = true
					q.leave(l)
				}
			}
			*list = slices.DeleteFunc(*list, mine)
		}
		over, changed := q.aloft[id] == 0 && !q.spilling, q.changed
		q.mu.Unlock()
		if over {
			return some, nil
		}
		some = true
		select {
		case <-changed:
		case <-ctx.Done():
			return some, ctx.Err()
		}
	}
}

// lists are all loads that are queued. q.mu is held.
func (q *queue) lists() []*[]*load {
	all := []*[]*load{&q.ready, &q.waiting}
	for _, ln := range q.lanes {
		all = append(all, &ln.loads)
	}
	return all
}

// end gives back what loads hold that will not be sent by this engine.
func (q *queue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = true
	for _, list := range q.lists() {
		for _, l := range *list {
			q.leave(l)
		}
		*list = nil
	}
}

// leave gives back what a load held that is out of the queue.
func (q *queue) leave(l *load) {
	q.e.shed(l)
	if l.parked {
		q.parked.Add(-1)
	}
	if !l.free {
		<-q.room
	}
	q.e.moving()
}
