package ledgertest

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"ingestd/ingest"
	"pgregory.net/rapid"
)

// model goes through random lives of arrivals, with crashes and time passing,
// and compares what the ledger says with plain maps: no key that was delivered
// is new again while it is remembered, no dead key is remembered, each waiting
// record ends, books balance, and the audit agrees.
func model(t *testing.T, d Driver) {
	// A check opens and crashes several databases: a hundred take a minute.
	if f := flag.Lookup("rapid.checks"); f != nil && f.Value.String() == f.DefValue {
		if err := f.Value.Set("6"); err != nil {
			t.Fatal(err)
		}
	}
	root, n := t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		dir := filepath.Join(root, strconv.Itoa(n))
		defer os.RemoveAll(dir)
		m := &lives{world: worldIn(rt, d, dir, modelKeep), rt: rt, scopes: map[string]map[string]*knowledge{"p": {}, "q": {}}}
		defer func() { m.Close() }()
		for i := range 30 + m.draw(60, "steps") {
			m.step()
			if i%4 == 0 {
				m.compare()
			}
		}
		m.finishAll()
	})
}

const modelKeep = 80 * day

var (
	modelSinks = []string{"one", "two"}
	modelKeys  = []string{"a", "b", "c", "d", "e"}
)

// lives is a world with what must be true in it.
type lives struct {
	*world
	rt       *rapid.T
	scopes   map[string]map[string]*knowledge
	arrivals []*life
}

// knowledge is what is true of one key.
type knowledge struct {
	leader  int64           // the arrival that leads it, while it is pending
	known   bool            // delivered
	seen    time.Time       // last, as it is on disk
	maybe   time.Time       // seen later, which the next claim stores
	partial []string        // sinks that have it, while it is not known
	got     map[string]bool // sinks that acknowledged it, while that is remembered
	by      map[int64]bool  // arrivals whose rows have it, expired or not
}

// life is what is true of an arrival.
type life struct {
	id      int64
	scope   string
	recs    []*record
	next    int64 // first record that is not claimed
	begun   bool  // in this process
	ended   bool
	dead    map[string]bool // keys of dead records
	claims  []*modelClaim   // open
	waiting []*record
	counts  ingest.Counts
	done    func() // ends a replay's reopening
}

type record struct {
	life   *life
	n      int64
	key    string
	bad    bool
	leader int64          // whom it follows
	fate   ingest.Verdict // of a follower: 0 while it waits

	// Its dead letters: on the list, being replayed, dropped.
	letters, taken, dropped int
}

func (r *record) dead() bool { return r.letters+r.taken+r.dropped > 0 }

type modelClaim struct {
	id       int64
	recs     []*record
	verdicts []ingest.Verdict
	sinks    []string
	uncut    []string
	batches  map[int64][]*record
	deadAt   map[*record][]string
	unfed    bool
	replay   bool
}

func (m *lives) key(scope, name string) *knowledge {
	k := m.scopes[scope][name]
	if k == nil {
		k = &knowledge{got: map[string]bool{}, by: map[int64]bool{}}
		m.scopes[scope][name] = k
	}
	return k
}

func era(t time.Time) int64 { return t.UnixMicro() / (modelKeep / 8).Microseconds() }

// expire is what a start forgets.
func (m *lives) expire() {
	oldest := era(m.now.Add(-modelKeep))
	for _, keys := range m.scopes {
		for _, k := range keys {
			k.maybe = time.Time{}
			if k.known && era(k.seen) < oldest {
				k.known = false
				clear(k.got)
			}
		}
	}
}

// judged says what the ledger must answer for a record, and follows it.
func (m *lives) judged(l *life, r *record, got *ingest.Judged, reopened bool) {
	m.rt.Helper()
	want, leader := ingest.New, int64(0)
	k := m.key(l.scope, r.key)
	switch {
	case r.bad && !reopened:
		want = ingest.Dead
		if r.key != "" {
			l.dead[r.key] = true
		}
	case r.key == "":
	case k.leader != 0:
		want, leader = ingest.Follow, k.leader
	case k.known:
		want = ingest.Duplicate
		last := k.seen
		if k.maybe.After(last) {
			last = k.maybe
		}
		if era(last) != era(m.now) {
			k.maybe = m.now
		}
	case l.dead[r.key] && !reopened:
		want = ingest.Dead
	default:
		k.leader = l.id
	}
	m.rt.Logf("arrival %d record %d key %q is judged %s", l.id, r.n, r.key, verdicts([]ingest.Judged{*got}))
	if got.Verdict != want || got.Leader != leader {
		m.rt.Fatalf("arrival %d record %d key %q: verdict %d of arrival %d, want %d of %d", l.id, r.n, r.key, got.Verdict, got.Leader, want, leader)
	}
	if want == ingest.New && r.key != "" && !slices.Equal(got.Have, k.partial) {
		m.rt.Fatalf("arrival %d record %d key %q: %v have it, want %v", l.id, r.n, r.key, got.Have, k.partial)
	}
	r.leader = got.Leader
}

// free takes a lead back.
func (m *lives) free(l *life, name string) {
	if k := m.key(l.scope, name); name != "" && k.leader == l.id {
		k.leader = 0
	}
}

// claimed follows a claim.
func (m *lives) claimed(l *life, c *ingest.Claim, recs []*record, judged []ingest.Judged) {
	mc := &modelClaim{id: c.ID, recs: recs, sinks: c.Sinks, batches: map[int64][]*record{}, deadAt: map[*record][]string{}, replay: c.Letters != nil}
	var fresh []*record
	for i, r := range recs {
		mc.verdicts = append(mc.verdicts, judged[i].Verdict)
		k := m.key(l.scope, r.key)
		switch judged[i].Verdict {
		case ingest.New:
			fresh = append(fresh, r)
			for _, s := range c.Sinks {
				if k.got[s] && r.key != "" {
					m.rt.Fatalf("key %q goes to sink %s again, which acknowledged it", r.key, s)
				}
			}
		case ingest.Follow:
			r.fate = 0
			if k.known {
				r.fate = ingest.Duplicate
			}
		case ingest.Dead:
			r.dies()
		}
	}
	for _, s := range c.Sinks {
		if len(fresh) > 0 && !slices.ContainsFunc(c.Batches, func(b *ingest.Batch) bool { return b.Sink == s }) {
			mc.uncut = append(mc.uncut, s)
		}
	}
	m.sent(mc, c.Batches, fresh)
	for _, k := range m.scopes[l.scope] {
		if !k.maybe.IsZero() {
			k.seen, k.maybe = k.maybe, time.Time{}
		}
	}
	l.claims = append(l.claims, mc)
	m.rt.Logf("arrival %d claims records %d to %d as %s for %v in claim %d", l.id, c.First, c.Last, verdicts(judged), c.Sinks, c.ID)
	m.settled(l, mc)
}

func (r *record) dies() {
	r.letters++
	if r.key != "" {
		r.life.dead[r.key] = true
	}
}

// sent deals the new records out to batches, in order, sink by sink.
func (m *lives) sent(mc *modelClaim, batches []*ingest.Batch, fresh []*record) {
	at := map[string]int{}
	for _, b := range batches {
		mc.batches[b.ID] = fresh[at[b.Sink] : at[b.Sink]+b.Records]
		at[b.Sink] += b.Records
	}
}

// settled ends a claim of which nothing is open.
func (m *lives) settled(l *life, mc *modelClaim) {
	if len(mc.batches) > 0 || len(mc.uncut) > 0 || mc.unfed {
		return
	}
	m.rt.Logf("claim %d of arrival %d is settled", mc.id, l.id)
	l.claims = slices.DeleteFunc(l.claims, func(c *modelClaim) bool { return c == mc })
	for i, r := range mc.recs {
		if mc.verdicts[i] == ingest.Follow && r.fate == 0 {
			m.orphan(l, r)
		}
	}
	for i, r := range mc.recs {
		if mc.replay {
			r.taken = 0
		}
		if mc.verdicts[i] == ingest.New {
			m.reckon(l, mc, r)
		}
	}
	for i, r := range mc.recs {
		if !mc.replay {
			l.counts.Records++
		}
		switch v := mc.verdicts[i]; {
		case mc.replay && r.dead():
		case mc.replay:
			l.counts.Dead--
			l.count(v)
		case v == ingest.New && len(mc.deadAt[r]) > 0:
			l.counts.Dead++
		case v != ingest.Follow:
			l.count(v)
		case r.fate == 0:
			l.waiting = append(l.waiting, r)
		default:
			if r.fate == ingest.Dead {
				r.dies()
			}
			l.count(r.fate)
		}
	}
	if mc.replay && l.done != nil && len(l.claims) == 0 {
		l.done()
		l.done = nil
	}
}

func (l *life) count(v ingest.Verdict) {
	switch v {
	case ingest.New:
		l.counts.Delivered++
	case ingest.Duplicate:
		l.counts.Duplicate++
	case ingest.Dead:
		l.counts.Dead++
	}
}

// orphan decides on a follower at its claim's end.
func (m *lives) orphan(l *life, r *record) {
	k := m.key(l.scope, r.key)
	leader := m.life(r.leader)
	switch {
	case k.leader != 0:
		r.leader = k.leader
	case k.known:
		r.fate = ingest.Duplicate
	case leader.diedWith(r):
		r.fate = ingest.Dead
	case leader == l, k.by[leader.id]: // the key was forgotten or has expired
		r.fate = ingest.Duplicate
	case leader.ended:
		r.fate = ingest.Dead
	}
}

// diedWith reports whether another record with the key is a dead letter.
func (l *life) diedWith(r *record) bool {
	return slices.ContainsFunc(l.recs, func(o *record) bool { return o != r && o.key == r.key && o.dead() })
}

// reckon ends a new record, and who followed it.
func (m *lives) reckon(l *life, mc *modelClaim, r *record) {
	if r.key == "" {
		return
	}
	k := m.key(l.scope, r.key)
	dead := len(mc.deadAt[r]) > 0
	if k.leader == l.id {
		k.leader = 0
	}
	if dead || r.dead() {
		have := slices.Clone(k.partial)
		for _, s := range mc.sinks {
			if !slices.Contains(mc.deadAt[r], s) && !slices.Contains(have, s) {
				have = append(have, s)
			}
		}
		if k.partial = have; len(have) == 0 {
			k.partial = nil
		}
	} else {
		k.known, k.seen, k.partial = true, m.now, nil
		k.by[l.id] = true
	}
	fate := ingest.Duplicate
	if dead {
		fate = ingest.Dead
	}
	m.resolve(mc, r.key, fate)
	for _, o := range m.arrivals {
		if o.scope != l.scope {
			continue
		}
		for _, c := range o.claims {
			m.resolve(c, r.key, fate)
		}
		o.release(fate, func(f *record) bool { return f.key == r.key })
	}
}

func (m *lives) resolve(c *modelClaim, key string, fate ingest.Verdict) {
	if c.unfed {
		return // their bytes are not here: it is decided when they are
	}
	for i, f := range c.recs {
		if c.verdicts[i] == ingest.Follow && f.key == key && f.fate == 0 {
			f.fate = fate
		}
	}
}

// release ends waiting records.
func (l *life) release(fate ingest.Verdict, which func(*record) bool) {
	l.waiting = slices.DeleteFunc(l.waiting, func(f *record) bool {
		if !which(f) {
			return false
		}
		if fate == ingest.Dead {
			f.dies()
		}
		l.count(fate)
		return true
	})
}

func (m *lives) life(id int64) *life {
	i := slices.IndexFunc(m.arrivals, func(l *life) bool { return l.id == id })
	if i < 0 {
		m.rt.Fatalf("there is no arrival %d", id)
	}
	return m.arrivals[i]
}
