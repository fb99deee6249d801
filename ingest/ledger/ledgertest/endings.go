package ledgertest

import (
	"slices"
	"time"

	"ingestd/ingest"
)

func (m *lives) cutOne() {
	list, of := m.opens(func(c *modelClaim) bool { return len(c.uncut) > 0 })
	c, ok := pick(m, list, "cut")
	if ok {
		sink, _ := pick(m, c.uncut, "for")
		m.cutFor(of[c], c, sink)
	}
}

func (m *lives) cutFor(l *life, c *modelClaim, sink string) {
	var fresh []*record
	var judged []ingest.Judged
	for i, r := range c.recs {
		if c.verdicts[i] == ingest.New {
			fresh = append(fresh, r)
			judged = append(judged, ingest.Judged{Pos: position(r.n), Verdict: ingest.New})
		}
	}
	batches := m.divide([]*ingest.Batch{batch(sink, judged)}, judged)
	m.cut(&m.open(l, c).Claim, sink, batches...)
	c.uncut = slices.DeleteFunc(c.uncut, func(s string) bool { return s == sink })
	m.sent(c, batches, fresh)
}

func (m *lives) feedOne() {
	list, of := m.opens(func(c *modelClaim) bool { return c.unfed })
	if c, ok := pick(m, list, "feed"); ok {
		m.feed(of[c], c)
	}
}

func (m *lives) feed(l *life, c *modelClaim) {
	var fs []ingest.Judged
	for i, r := range c.recs {
		if c.verdicts[i] != ingest.Follow {
			continue
		}
		fs = append(fs, ingest.Judged{Pos: position(r.n), Key: key(r.key)})
		switch k := m.key(l.scope, r.key); {
		case k.leader != 0:
			r.leader = k.leader
		case k.known:
			r.fate = ingest.Duplicate
		}
	}
	m.follow(c.id, fs...)
	c.unfed = false
	m.settled(l, c)
}

func (m *lives) endOne() {
	l, ok := pick(m, m.those(func(l *life) bool { return l.begun && !l.ended }), "end")
	switch {
	case !ok:
	case len(l.claims) > 0 || len(l.waiting) > 0:
		if _, err := m.End(m.ctx(), l.id, ingest.Ending{State: ingest.Done}); err == nil {
			m.rt.Fatalf("arrival %d ended with %d open claims and %d waiting records", l.id, len(l.claims), len(l.waiting))
		}
	case l.next > int64(len(l.recs)):
		m.endLife(l, ingest.Done)
	case m.chance(20, "unreadable"):
		m.endLife(l, ingest.Failed)
	}
}

func (m *lives) endLife(l *life, state ingest.State) {
	m.rt.Logf("arrival %d ends %s", l.id, state)
	a := m.endAs(l.id, ingest.Ending{State: state})
	l.ended, l.begun = true, false
	m.counts(a.Counts, l.counts)
	for _, o := range m.arrivals {
		for _, r := range o.waiting {
			if k := m.key(o.scope, r.key); r.leader == l.id && k.leader != 0 {
				r.leader = k.leader
			}
		}
		o.release(ingest.Dead, func(r *record) bool { return r.leader == l.id })
	}
	m.balanced()
}

// crashAll goes on in the next process, now or days later.
func (m *lives) crashAll() {
	days, _ := pick(m, []int{0, 0, 0, 15, 25}, "days later")
	m.rt.Logf("crash, and %d days later", days)
	m.crashFor(time.Duration(days) * day)
	m.forgetMemory()
}

// forgetMemory is what a crash does to those that live in memory.
func (m *lives) forgetMemory() {
	for _, keys := range m.scopes {
		for _, k := range keys {
			k.leader = 0
		}
	}
	for _, l := range m.arrivals {
		l.begun, l.done = false, nil
		for _, c := range l.claims {
			for i, r := range c.recs {
				switch c.verdicts[i] {
				case ingest.New:
					if r.key != "" {
						m.key(l.scope, r.key).leader = l.id
					}
				case ingest.Follow:
					c.unfed, r.fate = true, 0
				}
			}
		}
	}
	m.expire()
	m.compare()
	m.balanced()
}

// replayOne takes all letters of one dead record up again.
func (m *lives) replayOne() {
	l, ok := pick(m, m.those(func(l *life) bool {
		return l.ended && len(l.claims) == 0 && slices.ContainsFunc(l.recs, func(r *record) bool { return r.letters > 0 })
	}), "replay of")
	if !ok {
		return
	}
	var dead []*record
	for _, r := range l.recs {
		if r.letters > 0 {
			dead = append(dead, r)
		}
	}
	r, _ := pick(m, dead, "replay")
	var list []ingest.Letter
	for _, d := range m.letters(ingest.LetterFilter{Arrival: l.id}) {
		if d.Pos.Record == r.n {
			list = append(list, d)
		}
	}
	_, done, err := m.Reopen(m.ctx(), l.id)
	m.check(err)
	judged := []ingest.Judged{{Pos: position(r.n), Key: key(r.key), Verdict: ingest.New}}
	m.check(m.Judge(m.ctx(), l.id, l.scope, judged))
	m.judged(l, r, &judged[0], true)
	verdict := judged[0].Verdict
	if verdict == ingest.Follow {
		done()
		return
	}
	var sinks []string
	for _, s := range modelSinks {
		if !slices.Contains(judged[0].Have, s) {
			sinks = append(sinks, s)
		}
	}
	if len(sinks) == 0 {
		verdict = m.hadByAll(l, r, &judged[0])
	}
	c := replay(l.id, list, verdict, sinks...)
	c.Scope = l.scope
	if c.Keys != nil && r.key == "" {
		c.Keys = nil
	} else if c.Keys != nil {
		c.Keys[0] = key(r.key)
	}
	m.commit(c)
	r.taken, r.letters = r.letters, 0
	l.done = done
	m.claimed(l, c, []*record{r}, judged)
}

// hadByAll makes a duplicate of a record that is new, and that all its sinks
// have.
func (m *lives) hadByAll(l *life, r *record, j *ingest.Judged) ingest.Verdict {
	m.Unjudge(l.id, l.scope, []ingest.Key{j.Key})
	m.free(l, r.key)
	j.Verdict = ingest.Duplicate
	return j.Verdict
}

func (m *lives) dropOne() {
	list := m.letters(ingest.LetterFilter{})
	d, ok := pick(m, list, "drop")
	if !ok {
		return
	}
	n, err := m.Drop(m.ctx(), []int64{d.ID})
	m.check(err)
	r := m.life(d.Arrival).recs[d.Pos.Record-1]
	if n != 1 || r.letters == 0 {
		m.rt.Fatalf("dropped %d letters of record %d of arrival %d, which has %d", n, r.n, d.Arrival, r.letters)
	}
	r.letters--
	r.dropped++
}

func (m *lives) forgetOne() {
	name, _ := pick(m, modelKeys, "forget")
	for _, l := range m.arrivals {
		for _, c := range l.claims {
			for i, r := range c.recs {
				if l.scope == "p" && r.key == name && c.verdicts[i] == ingest.Follow {
					return // a crash would lose what became of its leader
				}
			}
		}
	}
	n, err := m.Forget(m.ctx(), "p", []ingest.Key{key(name)})
	m.check(err)
	k := m.key("p", name)
	want := 0
	if k.known {
		want = 1
		clear(k.got)
	}
	for _, s := range k.partial {
		want = 1
		delete(k.got, s)
	}
	if want > 0 {
		clear(k.by)
	}
	k.known, k.partial = false, nil
	if n != want {
		m.rt.Fatalf("forgot %d of key %q, want %d", n, name, want)
	}
}

// compare looks at all that the ledger says in passing.
func (m *lives) compare() {
	for _, l := range m.arrivals {
		a := m.arrival(l.id)
		if (l.begun || l.ended) && a.Counts != l.counts {
			m.rt.Fatalf("arrival %d (%s): books %+v, want %+v", l.id, a.State, a.Counts, l.counts)
		}
		want := 0
		for _, r := range l.recs {
			want += r.letters
		}
		if got := len(m.letters(ingest.LetterFilter{Arrival: l.id})); got != want {
			m.rt.Fatalf("arrival %d: %d letters, want %d", l.id, got, want)
		}
	}
}

// finishAll brings every arrival to its end: none may wait for ever.
func (m *lives) finishAll() {
	for round := 0; ; round++ {
		var left []int64
		for _, l := range m.arrivals {
			if l.ended && len(l.claims) == 0 {
				continue
			}
			m.advance(l)
			if !l.ended || len(l.claims) > 0 {
				left = append(left, l.id)
			}
		}
		if len(left) == 0 {
			break
		}
		if round > 40 {
			m.rt.Fatalf("arrivals %v never end", left)
		}
	}
	m.compare()
	m.balanced()
	m.crash()
	m.balanced()
}

// advance does all that can be done for one arrival.
func (m *lives) advance(l *life) {
	if !l.begun && !l.ended {
		m.beginLife(l)
	}
	for _, c := range slices.Clone(l.claims) {
		if c.unfed {
			m.feed(l, c)
		}
		for _, s := range slices.Clone(c.uncut) {
			m.cutFor(l, c, s)
		}
		for len(c.batches) > 0 {
			m.settleBatch(l, c, m.open(l, c).Batches[0], 9)
		}
	}
	if l.ended {
		return
	}
	if l.next <= int64(len(l.recs)) {
		m.readSome(l, l.recs[l.next-1:l.next], false)
		return
	}
	if len(l.claims) == 0 && len(l.waiting) == 0 {
		m.endLife(l, ingest.Done)
	}
}
