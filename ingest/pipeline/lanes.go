package pipeline

import (
	"cmp"
	"slices"
	"time"

	"ingestd/ingest"
)

// MaxLanes is the most lanes that a sink can have.
const MaxLanes = 64

// maxParked bounds the loads of a queue that wait in the outbox behind a batch
// which holds up its lane, so that the other lanes go on.
const maxParked = 1024

// laneOf is the lane of a record: it follows from the values of the sink's
// fields alone, in every arrival and every process. A field is looked for in
// the record as it goes out, then as it came; one that is absent counts as
// null. Values are compared as texts, as keys are: "1" is 1.
func (s *SinkPlan) laneOf(it *item) int {
	// FNV-1a, with each value's length before it.
	const prime = 1099511628211
	h := uint64(14695981039346656037)
	for _, name := range s.OrderBy {
		text, ok := valueOf(it.fields, name)
		if !ok {
			text, ok = valueOf(it.source, name)
		}
		if !ok || text == nil {
			h = (h ^ 0xff) * prime
			continue
		}
		for n := uint64(len(text)); ; n >>= 7 {
			h = (h ^ n&0x7f) * prime
			if n < 0x80 {
				break
			}
		}
		for _, b := range text {
			h = (h ^ uint64(b)) * prime
		}
	}
	h ^= h >> 32 // the low bits alone mix badly
	return 1 + int(h*0x9e3779b97f4a7c15>>33%uint64(s.Lanes))
}

// valueOf is a field's text: nil where it is null.
func valueOf(fields []ingest.Field, name string) (text []byte, ok bool) {
	for i := range fields {
		if f := &fields[i]; f.Name == name {
			if f.Kind == ingest.Null {
				return nil, true
			}
			if f.Raw == nil {
				return []byte{}, true
			}
			return f.Raw, true
		}
	}
	return nil, false
}

// A lane is a row of loads that go out one after the other. Whatever becomes of
// one is on disk before the next goes.
type lane struct {
	loads []*load // by seq and first record
	busy  int     // of its loads: in flight, being settled, or moved to the outbox
	stuck bool    // its first load failed again and again
	why   string
	since time.Time // that it is stuck
}

// lane returns a lane, from 1. q.mu is held.
func (q *queue) lane(n int) *lane {
	for len(q.lanes) < n {
		q.lanes = append(q.lanes, &lane{})
	}
	return q.lanes[n-1]
}

// file puts a load into its lane, at its place. q.mu is held.
func (q *queue) file(l *load) {
	ln := q.lane(l.Lane)
	at, _ := slices.BinarySearchFunc(ln.loads, l, func(a, b *load) int {
		return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.First, b.First))
	})
	ln.loads = slices.Insert(ln.loads, at, l)
}

// pick takes the next load out of the lanes, of each in its turn, or says when
// to ask again; alone, the one that failed least: it finds out whether the sink
// is back. q.mu is held.
func (q *queue) pick(now time.Time, alone bool) (best *load, at time.Time) {
	turn := 0
	for i := range q.lanes {
		n := (q.turn + i) % len(q.lanes)
		ln := q.lanes[n]
		if ln.busy > 0 || len(ln.loads) == 0 {
			continue
		}
		l := ln.loads[0]
		if l.due.After(now) {
			if at.IsZero() || l.due.Before(at) {
				at = l.due
			}
			continue
		}
		if best == nil || l.fails < best.fails {
			best, turn = l, n
		}
		if !alone {
			break
		}
	}
	if best == nil {
		return nil, at
	}
	ln := q.lanes[turn]
	ln.loads = slices.Delete(ln.loads, 0, 1)
	ln.busy++
	q.turn = turn + 1
	return best, time.Time{}
}

// passed lets a lane go on after one of its loads: that is settled.
func (q *queue) passed(l *load) {
	if l.Lane == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	ln := q.lane(l.Lane)
	ln.busy--
	ln.stuck = false
	q.wake()
}

// rests notes that a load, or its halves, go back to the head of their lane.
// q.mu is held.
func (q *queue) rests(l *load) {
	if l.Lane == 0 {
		return
	}
	ln := q.lane(l.Lane)
	ln.busy--
	ln.stuck = l.fails > 1
}

// blame notes why a load of a lane failed. q.mu is held.
func (q *queue) blame(l *load, reason string, now time.Time) {
	if l.Lane == 0 {
		return
	}
	ln := q.lane(l.Lane)
	ln.why = reason
	if l.fails == 2 {
		ln.since = now
		q.e.log.Warn("a batch is not taken; what comes after it in its lane waits", "sink", q.o.Name, "batch", l.Number, "arrival", l.subject.id, "reason", reason)
	}
}

// jammed is how many lanes wait for a load that fails again and again, since
// when, and why. q.mu is held.
func (q *queue) jammed() (n int, since time.Time, why string) {
	for _, ln := range q.lanes {
		if !ln.stuck {
			continue
		}
		if n++; n == 1 || ln.since.Before(since) {
			since, why = ln.since, ln.why
		}
	}
	return n, since, why
}

// inLanes counts the loads that wait in lanes. q.mu is held.
func (q *queue) inLanes() (n int) {
	for _, ln := range q.lanes {
		n += len(ln.loads)
	}
	return n
}

// jam is a load behind one that holds up its lane. It takes room from other
// lanes, so the caller parks it. q.mu is held.
func (q *queue) jam() *load {
	if q.full || q.spilling || q.state != "" || q.parked.Load() >= maxParked {
		return nil
	}
	for _, ln := range q.lanes {
		if !ln.stuck {
			continue
		}
		for i, l := range ln.loads {
			if l.fails == 0 && l.env != nil && l.replay == nil {
				ln.loads = slices.Delete(ln.loads, i, i+1)
				ln.busy++
				q.aloft[l.subject.id]++
				return l
			}
		}
	}
	return nil
}

// park moves a load to the outbox and gives its room back. Its lane waits
// meanwhile; nobody else does.
func (q *queue) park(l *load) {
	err := q.e.pack(l)
	if err != nil {
		q.e.log.Warn("batches that wait behind another stay in memory", "sink", q.o.Name, "error", err)
	} else {
		if l.parked = true; !l.free {
			l.free = true
			<-q.room
		}
		q.parked.Add(1)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.full = err != nil
	q.lane(l.Lane).busy--
	q.grounded(l.subject.id)
	if q.ended {
		q.leave(l)
	} else {
		q.file(l)
	}
	q.wake()
}

// An ail is what failed: a lane, or, without one, the batch that begins with a
// record, or what is left of it.
type ail struct {
	lane           int
	arrival, first int64
}

// failing reports whether several lanes or batches failed since one was taken: a
// single one that is stuck is no reason to leave the sink alone. q.mu is held.
func (q *queue) failing(l *load) bool {
	if q.ailing == nil {
		q.ailing = map[ail]bool{}
	}
	if len(q.ailing) < 2 {
		a := ail{lane: l.Lane}
		if l.Lane == 0 {
			a.arrival, a.first = l.subject.id, l.First
		}
		q.ailing[a] = true
	}
	return len(q.ailing) > 1
}

// laneLull looks at the lanes for a Once run: when the first of them gets on,
// and whether none will soon. q.mu is held.
func (q *queue) laneLull() (at time.Time, hopeless bool) {
	hopeless = true
	for _, ln := range q.lanes {
		if len(ln.loads) == 0 {
			continue
		}
		l := ln.loads[0]
		if at.IsZero() || l.due.Before(at) {
			at = l.due
		}
		if !l.here || q.ceiling(l.fails-1) < q.o.RetryMax {
			hopeless = false
		}
	}
	return at, hopeless && !at.IsZero()
}

// turn makes ready for a record: the line's load is that of its lane.
func (ln *line) turn(it *item) {
	if ln.plan.Lanes == 0 {
		return
	}
	if ln.lanes == nil {
		ln.lanes = make([]*load, ln.plan.Lanes+1)
	}
	ln.lanes[ln.at] = ln.cur
	ln.at = ln.plan.laneOf(it)
	ln.cur = ln.lanes[ln.at]
}

// note writes down which lane the record went to.
func (ln *line) note() {
	if ln.plan.Lanes > 0 {
		ln.in = append(ln.in, byte(ln.at))
	}
}

// begin starts a load for the line, of the lane whose turn it is.
func (ln *line) begin(sub *subject) {
	ln.cur = newLoad(ln.plan, sub)
	ln.cur.Lane = ln.at
}

// open reports whether the claim has loads of other lanes. Further ones come
// along without room of their own: claims that end with each place that is taken
// would make tiny batches.
func (ln *line) open() bool {
	return len(ln.done) > 0 || slices.ContainsFunc(ln.lanes, func(l *load) bool { return l != nil })
}

// shutAll ends all loads of the line.
func (ln *line) shutAll() {
	ln.shut()
	for i := range ln.lanes {
		if i != ln.at {
			ln.cur = ln.lanes[i]
			ln.shut()
		}
		ln.lanes[i] = nil
	}
}

// lanesOf are the lanes of a claim's new records, for its sinks that have some.
func lanesOf(lines ...*line) (out map[string][]byte) {
	for _, ln := range lines {
		if len(ln.in) == 0 {
			continue
		}
		if out == nil {
			out = map[string][]byte{}
		}
		out[ln.plan.Name] = ln.in
		ln.in = nil
	}
	return out
}

// overflows reports whether a claim ends with a full load of the line, though
// other lanes' loads have room: those are large enough.
func (d *draft) overflows(ln *line) bool {
	const enough = 4 << 20
	half := ln.plan.Lanes * ln.plan.MaxRecords / 2
	return d.records >= half || d.sent >= min(ln.plan.Lanes*ln.plan.MaxBytes/2, enough)
}

// laned reports whether one of the plan's sinks has lanes.
func (p *Plan) laned() bool {
	for i := range p.Sinks {
		if p.Sinks[i].Lanes > 0 {
			return true
		}
	}
	return false
}

// sortTodo brings arrivals back into their order where some sink asks for it:
// those that were left, or broke off, come before what came after them. e.mu
// is held.
func (e *Engine) sortTodo() {
	if e.o.Plan.laned() {
		slices.Sort(e.todo)
	}
}

// overtakes reports whether an arrival would begin before an earlier one that
// broke off and waits to be begun again, though order is asked for. e.mu is held.
func (e *Engine) overtakes(id int64) bool {
	return len(e.later) > 0 && e.o.Plan.laned() &&
		slices.ContainsFunc(e.later, func(l later) bool { return l.first && l.id < id })
}

// mixes reports whether an arrival has to wait because others under way have
// other settings: a value's lane may be another one under them. e.mu is held.
func (e *Engine) mixes(id int64) bool {
	switch {
	case len(e.foreign) == 0:
		return false
	case e.foreign[id]:
		return e.sends()
	}
	return e.o.Plan.laned()
}

// sends reports whether arrivals under way have, or may have, more to send than
// what waits for records of others: those may be in the one that is to begin.
// e.mu is held.
func (e *Engine) sends() bool {
	for id, r := range e.runs {
		if r == nil || !r.claimed || len(e.o.Ledger.OpenClaims(id)) > 0 {
			return true
		}
	}
	return false
}
