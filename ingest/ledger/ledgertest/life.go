package ledgertest

import (
	"fmt"
	"slices"
	"time"

	"ingestd/ingest"
	"pgregory.net/rapid"
)

// step does something that can be done now.
func (m *lives) step() {
	steps := []func(){
		m.arrive, m.arrive, m.beginOne, m.beginOne, m.read, m.read, m.read, m.read, m.settleOne, m.settleOne,
		m.settleOne, m.settleOne, m.cutOne, m.cutOne, m.feedOne, m.feedOne, m.endOne, m.endOne, m.crashAll, m.replayOne, m.dropOne, m.forgetOne,
	}
	do, _ := pick(m, steps, "step")
	do()
}

// draw is a number below n. Rapid prefers small ones, which makes for dull
// lives: they are spread evenly.
func (m *lives) draw(n int, what string) int {
	x := rapid.Uint64().Draw(m.rt, what)
	x = (x ^ x>>31) * 0x9e3779b97f4a7c15
	return int((x ^ x>>29) % uint64(n))
}

// pick draws one of a list; false where it is empty.
func pick[T any](m *lives, list []T, what string) (one T, ok bool) {
	if len(list) == 0 {
		return one, false
	}
	return list[m.draw(len(list), what)], true
}

func (m *lives) those(which func(*life) bool) (out []*life) {
	for _, l := range m.arrivals {
		if which(l) {
			out = append(out, l)
		}
	}
	return out
}

func (m *lives) chance(percent int, what string) bool {
	return m.draw(100, what) < percent
}

func (m *lives) arrive() {
	if len(m.arrivals) >= 6 {
		return
	}
	l := &life{scope: "p", next: 1, dead: map[string]bool{}}
	if m.chance(20, "other scope") {
		l.scope = "q"
	}
	for i := range 1 + m.draw(9, "records") {
		r := &record{life: l, n: int64(i) + 1, bad: m.chance(8, "bad")}
		if !m.chance(8, "no key") {
			r.key, _ = pick(m, modelKeys, "key")
		}
		l.recs = append(l.recs, r)
	}
	l.id = m.acceptFor("p", l.scope, fmt.Sprint("f", len(m.arrivals)), 100)
	m.arrivals = append(m.arrivals, l)
}

func (m *lives) beginOne() {
	l, ok := pick(m, m.those(func(l *life) bool { return !l.begun && !l.ended }), "begin")
	if ok {
		m.beginLife(l)
	}
}

// beginLife begins an arrival, for the first time or again, and compares what
// the ledger knows of it.
func (m *lives) beginLife(l *life) {
	m.rt.Logf("arrival %d begins", l.id)
	b := m.begin(l.id)
	l.begun = true
	var open []int64
	for _, o := range b.Open {
		open = append(open, o.ID)
	}
	var want []int64
	settled := l.next - 1
	for _, c := range l.claims {
		want = append(want, c.id)
		settled -= int64(len(c.recs))
	}
	for _, r := range b.Settled {
		settled -= r.Last - r.First + 1
	}
	slices.Sort(want)
	slices.Sort(open)
	if !slices.Equal(open, want) || settled != 0 {
		m.rt.Fatalf("arrival %d: open claims %v, want %v; %d records more are settled", l.id, open, want, -settled)
	}
}

// read judges the next records and claims them, or breaks off.
func (m *lives) read() {
	l, ok := pick(m, m.those(func(l *life) bool { return l.begun && !l.ended && l.next <= int64(len(l.recs)) }), "read")
	if !ok {
		return
	}
	left := l.recs[l.next-1:]
	m.readSome(l, left[:min(1+m.draw(4, "chunk"), len(left))], m.chance(10, "broken off"))
}

func (m *lives) readSome(l *life, recs []*record, breakOff bool) {
	judged := m.judgeAll(l, recs)
	n := len(recs)
	sinks := modelSinks
	for i := range judged {
		if judged[i].Have != nil {
			// Alone, and for the rest of the sinks.
			if n = i; i == 0 {
				n, sinks = 1, slices.DeleteFunc(slices.Clone(modelSinks), func(s string) bool { return slices.Contains(judged[0].Have, s) })
			}
			break
		}
	}
	if breakOff {
		n = 0
		l.begun = false
	}
	if len(sinks) == 0 && n > 0 {
		m.hadByAll(l, recs[0], &judged[0])
	}
	var back []ingest.Key
	for i := n; i < len(recs); i++ {
		if judged[i].Verdict == ingest.New && recs[i].key != "" {
			back = append(back, judged[i].Key)
			m.free(l, recs[i].key)
		}
		if recs[i].bad && !l.diedWith(&record{key: recs[i].key}) {
			delete(l.dead, recs[i].key)
		}
	}
	m.rt.Logf("arrival %d takes %d keys back", l.id, len(back))
	m.Unjudge(l.id, l.scope, back)
	if n == 0 {
		if breakOff {
			m.beginLife(l)
		}
		return
	}
	var later []string
	if len(sinks) > 1 && m.chance(25, "behind") {
		one, _ := pick(m, sinks, "which is behind")
		later = []string{one}
	}
	c := draft(l.id, l.scope, judged[:n], sinks, later)
	c.Batches = m.divide(c.Batches, judged[:n])
	m.commit(c)
	l.next += int64(n)
	m.claimed(l, c, recs[:n], judged[:n])
	if n < len(recs) {
		m.beginLife(l) // what was judged bad beyond is forgotten with the pass
	}
}

// divide cuts some batches in two.
func (m *lives) divide(whole []*ingest.Batch, judged []ingest.Judged) (out []*ingest.Batch) {
	var fresh []ingest.Judged
	for _, j := range judged {
		if j.Verdict == ingest.New {
			fresh = append(fresh, j)
		}
	}
	for _, b := range whole {
		if len(fresh) < 2 || !m.chance(40, "divide") {
			out = append(out, b)
			continue
		}
		at := 1 + m.draw(len(fresh)-1, "divide at")
		out = append(out, batch(b.Sink, fresh[:at]), batch(b.Sink, fresh[at:]))
	}
	return out
}

func (m *lives) judgeAll(l *life, recs []*record) []ingest.Judged {
	judged := make([]ingest.Judged, len(recs))
	for i, r := range recs {
		judged[i] = ingest.Judged{Pos: position(r.n), Key: key(r.key), Verdict: ingest.New}
		if r.bad {
			judged[i].Verdict, judged[i].Reason = ingest.Dead, "bad"
		}
	}
	m.check(m.Judge(m.ctx(), l.id, l.scope, judged))
	for i, r := range recs {
		m.judged(l, r, &judged[i], false)
	}
	return judged
}

// opens are claims that work can be done on: of arrivals that are begun, and of
// replays.
func (m *lives) opens(which func(*modelClaim) bool) (out []*modelClaim, of map[*modelClaim]*life) {
	of = map[*modelClaim]*life{}
	for _, l := range m.arrivals {
		for _, c := range l.claims {
			if (l.begun || c.replay) && which(c) {
				out = append(out, c)
				of[c] = l
			}
		}
	}
	return out, of
}

// open is a claim as the ledger has it.
func (m *lives) open(l *life, c *modelClaim) *ingest.OpenClaim {
	list := m.OpenClaims(l.id)
	if c.replay {
		by, err := m.Replays(m.ctx(), "p")
		m.check(err)
		list = by[l.id]
	}
	for _, o := range list {
		if o.ID == c.id {
			if len(o.Batches) != len(c.batches) || !slices.Equal(o.Uncut, c.uncut) {
				m.rt.Fatalf("claim %d: %d open batches, uncut %v; want %d, %v", c.id, len(o.Batches), o.Uncut, len(c.batches), c.uncut)
			}
			return o
		}
	}
	m.rt.Fatalf("claim %d of arrival %d is not open", c.id, l.id)
	return nil
}

func (m *lives) settleOne() {
	list, of := m.opens(func(c *modelClaim) bool { return len(c.batches) > 0 })
	c, ok := pick(m, list, "settle a batch of")
	if !ok {
		return
	}
	o := m.open(of[c], c)
	b, _ := pick(m, o.Batches, "settle")
	m.settleBatch(of[c], c, b, m.draw(10, "outcome"))
}

func (m *lives) settleBatch(l *life, c *modelClaim, b *ingest.Batch, outcome int) {
	m.rt.Logf("batch %d of claim %d, outcome %d", b.ID, c.id, outcome)
	recs := c.batches[b.ID]
	if recs == nil {
		m.rt.Fatalf("batch %d of claim %d should be settled", b.ID, c.id)
	}
	var ordinals []int64
	var judged []ingest.Judged
	for _, r := range recs {
		ordinals = append(ordinals, r.n)
		judged = append(judged, ingest.Judged{Pos: position(r.n)})
	}
	switch {
	case outcome == 0:
		m.settle(ingest.Settlement{Batch: b, State: ingest.BatchDue, Attempts: 1, DueAt: m.now.Add(time.Hour), Uncertain: true})
		return
	case outcome <= 2 && len(recs) > 1:
		at := 1 + m.draw(len(recs)-1, "halve at")
		left, right := batch(b.Sink, judged[:at]), batch(b.Sink, judged[at:])
		m.settle(ingest.Settlement{Batch: b, State: ingest.BatchSplit, Halves: [2]*ingest.Batch{left, right}})
		c.batches[left.ID], c.batches[right.ID] = recs[:at], recs[at:]
	case outcome <= 4:
		state := ingest.BatchDead
		if outcome == 4 {
			state = ingest.BatchGivenUp
		}
		m.settle(ingest.Settlement{Batch: b, State: state, Dead: letters(b.Sink, "refused", ordinals...)})
		for _, r := range recs {
			c.deadAt[r] = append(c.deadAt[r], b.Sink)
			r.dies()
		}
	case outcome <= 6:
		m.settleEach(l, c, b, recs)
	default:
		m.settle(ingest.Settlement{Batch: b, State: ingest.BatchDelivered})
		for _, r := range recs {
			if r.key != "" {
				m.key(l.scope, r.key).got[b.Sink] = true
			}
		}
	}
	delete(c.batches, b.ID)
	m.settled(l, c)
}

// settleEach ends a batch record by record; some go on in one of their own.
func (m *lives) settleEach(l *life, c *modelClaim, b *ingest.Batch, recs []*record) {
	s := ingest.Settlement{Batch: b, State: ingest.BatchMixed}
	var v ingest.VerdictList
	var left []*record
	var judged []ingest.Judged
	var dead []*record
	for _, r := range recs {
		v.AddRun(ingest.Absent, r.n-b.First-v.Len())
		switch m.draw(4, "fate") {
		case 0:
			v.Add(ingest.Dead)
			s.Dead = append(s.Dead, letters(b.Sink, "refused", r.n)...)
			dead = append(dead, r)
		case 1:
			v.Add(ingest.Follow)
			left = append(left, r)
			judged = append(judged, ingest.Judged{Pos: position(r.n)})
		default:
			v.Add(ingest.New)
			if r.key != "" {
				m.key(l.scope, r.key).got[b.Sink] = true
			}
		}
	}
	v.AddRun(ingest.Absent, b.Last-b.First+1-v.Len())
	s.Outcomes = v.Take()
	if len(left) > 0 {
		s.Rest = rest(b.Sink, judged...)
	}
	m.settle(s)
	for _, r := range dead {
		c.deadAt[r] = append(c.deadAt[r], b.Sink)
		r.dies()
	}
	if len(left) > 0 {
		c.batches[s.Rest.ID] = left
	}
}
