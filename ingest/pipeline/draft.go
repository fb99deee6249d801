package pipeline

import (
	"bytes"
	"context"
	"slices"
	"time"

	"ingestd/ingest"
)

// A draft is the claim that a pass is building: verdicts in the order of the
// file, and for each sink the loads that the new records go into.
type draft struct {
	p       *pass
	first   int64
	last    int64
	verdict ingest.VerdictList
	keys    []ingest.Key
	dead    []ingest.ClaimFault
	follow  []ingest.Follower
	lines   []*line
	lead    *line // whose batch decides where the claim ends; nil where all sinks are left behind
	records int
	bytes   int // of what is in no load
	sent    int // bytes of what is in loads
}

// A line is one sink's part of a draft.
type line struct {
	plan     *SinkPlan
	q        *queue
	cur      *load
	done     []*load
	detached bool // was left behind: is fed by a later pass of its own
	token    bool // room that was taken for the next load

	lanes []*load // of a sink with lanes: of each its load; cur is that of lane at
	at    int     // the lane of the record that is added; 0 where there are none
	in    []byte  // the lane of each new record of the claim
}

const (
	// claimRecords bounds the judged records of a claim, claimBytes the bytes
	// of one that has no new ones; perRecordClaim the requests of one claim
	// where each carries one record.
	claimRecords   = 1 << 16
	claimBytes     = 4 << 20
	perRecordClaim = 256
	// maxFollowers bounds the records that wait for others with their bytes in
	// memory: past it the pass lets their leaders settle first.
	maxFollowers = 8192
	// patience is how long a sink may keep the others of its pipeline waiting
	// before it is left behind.
	patience = 250 * time.Millisecond
)

func newDraft(p *pass) *draft {
	d := &draft{p: p}
	for i := range p.r.plan.Sinks {
		s := &p.r.plan.Sinks[i]
		d.lines = append(d.lines, &line{plan: s, q: p.r.e.queue(s.Name)})
	}
	return d
}

// attach looks which sinks take part in the claim that begins.
func (d *draft) attach() {
	d.lead = nil
	for _, ln := range d.lines {
		ln.detached = ln.cur == nil && d.p.r.isBehind(ln.plan.Name)
		if !ln.detached && (d.lead == nil || ln.size() > d.lead.size()) {
			d.lead = ln
		}
	}
}

// size is how many records one request carries.
func (ln *line) size() int {
	if ln.plan.Body.PerRecord {
		return 1
	}
	return ln.plan.MaxRecords * max(ln.plan.Lanes, 1)
}

// full reports whether a claim ends before the next record: its verdicts, or
// the batch of the sink with the largest ones, have no place for it.
func (d *draft) full(it *item, json []byte) bool {
	switch {
	case d.verdict.Len() >= claimRecords || d.bytes >= claimBytes:
		return true
	case it.Verdict != ingest.New || d.lead == nil:
		return false
	case d.lead.plan.Body.PerRecord:
		return d.records >= perRecordClaim
	}
	full := d.lead.cur != nil && !d.lead.cur.fits(len(json))
	return full && (d.lead.plan.Lanes == 0 || d.overflows(d.lead))
}

// add takes one judged item.
func (d *draft) add(ctx context.Context, it *item) error {
	if it.Verdict == ingest.New && it.have != nil {
		return d.addPartial(ctx, it)
	}
	var json []byte
	if it.Verdict == ingest.New {
		json = d.p.encode(it.fields)
		for _, ln := range d.lines {
			ln.turn(it)
		}
	}
	if d.full(it, json) {
		if err := d.close(ctx); err != nil {
			return err
		}
	}
	if d.verdict.Len() == 0 {
		d.attach()
	}
	if it.Verdict == ingest.New {
		if err := d.room(ctx, len(json)); err != nil {
			return err
		}
		for _, ln := range d.lines {
			if ln.cur != nil {
				if err := d.p.append(ln.cur, it.pos, it, json); err != nil {
					return err
				}
				ln.note()
			}
		}
		d.sent += len(json)
	}
	if d.verdict.Len() == 0 {
		d.first = it.pos.Record
	}
	d.last = it.pos.Record
	d.verdict.Add(it.Verdict)
	switch it.Verdict {
	case ingest.New:
		d.records++
		if d.lead == nil {
			d.bytes += len(json) // nothing else bounds it
		}
		if it.key != (ingest.Key{}) && d.p.r.judges() {
			if d.keys == nil && d.lead != nil {
				d.keys = make([]ingest.Key, 0, min(d.lead.size(), claimRecords))
			}
			d.keys = append(d.keys, it.key)
		}
	case ingest.Dead:
		d.bytes += len(it.raw)
		d.dead = append(d.dead, ingest.ClaimFault{
			Fault: ingest.Fault{Pos: it.pos, Stage: it.stage, Reason: it.fault, Raw: bytes.Clone(it.raw)}, Key: it.key,
		})
	case ingest.Follow:
		d.bytes += len(it.raw)
		d.follow = append(d.follow, ingest.Follower{Pos: it.pos, Key: it.key, Raw: bytes.Clone(it.raw), Leader: it.leader})
	}
	return nil
}

// vars picks the values that a sink's URL needs.
func vars(names []string, fields []ingest.Field) []ingest.Var {
	out := make([]ingest.Var, 0, len(names))
	for _, n := range names {
		v := ingest.Var{Name: n}
		for i := range fields {
			if fields[i].Name == n {
				v.Value = string(fields[i].Text())
				break
			}
		}
		out = append(out, v)
	}
	return out
}

// room makes sure that every attached sink has a load that the next record
// fits in. Where a sink has no room, what the draft holds is claimed first, so
// that it goes out and makes some.
func (d *draft) room(ctx context.Context, n int) error {
	for _, ln := range d.lines {
		if ln.cur != nil && !ln.cur.fits(n) {
			ln.shut()
		}
	}
	if d.enter() {
		return nil
	}
	if d.verdict.Len() > 0 {
		if err := d.close(ctx); err != nil {
			return err
		}
		d.attach()
	}
	return d.wait(ctx)
}

// enter starts loads where there is room, and reports whether every attached
// sink has one.
func (d *draft) enter() bool {
	all := true
	for _, ln := range d.lines {
		if ln.cur != nil || ln.detached {
			continue
		}
		if token := spare(ln.q); token || ln.open() {
			ln.begin(d.p.r.subject)
			ln.cur.free = !token
		} else {
			all = false
		}
	}
	return all
}

// wait waits for room, between two claims. A sink that keeps another waiting
// for longer than patience is left behind: a later pass feeds it.
func (d *draft) wait(ctx context.Context) error {
	defer d.p.r.e.rests()()
	var late <-chan time.Time
	for !d.enter() {
		var missing []*line
		some := false
		for _, ln := range d.lines {
			if ln.cur != nil {
				some = true
			} else if !ln.detached && !ln.q.asleep(d.p.r.subject.arrived).IsZero() {
				d.p.r.behind(ln.plan.Name)
				ln.detached = true
			} else if !ln.detached {
				missing = append(missing, ln)
			}
		}
		if len(missing) == 0 {
			d.attach()
			continue
		}
		if some && late == nil {
			timer := time.NewTimer(patience)
			defer timer.Stop()
			late = timer.C
		}
		var again <-chan time.Time
		if len(missing) > 1 {
			again = time.After(20 * time.Millisecond)
		}
		select {
		case missing[0].q.room <- struct{}{}:
			missing[0].begin(d.p.r.subject)
		case <-late:
			for _, ln := range missing {
				d.p.r.behind(ln.plan.Name)
			}
			d.attach()
		case <-again:
		case <-ctx.Done():
			return brokenOff{context.Cause(ctx)}
		}
	}
	return nil
}

// shut ends the line's load; the claim may go on with another. One that was
// given room and no record gives it back.
func (ln *line) shut() {
	if ln.cur == nil {
		return
	}
	if len(ln.cur.env.Records) == 0 {
		ln.q.leave(ln.cur)
	} else {
		ln.cur.seal()
		ln.done = append(ln.done, ln.cur)
	}
	ln.cur = nil
}

// abandon gives back what the line's loads hold.
func (ln *line) abandon() {
	if ln.token {
		<-ln.q.room
	}
	if ln.cur != nil {
		ln.q.leave(ln.cur)
	}
	for i, l := range ln.lanes {
		if l != nil && i != ln.at {
			ln.q.leave(l)
		}
	}
	for _, l := range ln.done {
		ln.q.leave(l)
	}
	ln.cur, ln.done, ln.lanes, ln.in, ln.token = nil, nil, nil, nil, false
}

// addPartial claims a record alone that some sinks have already: it goes to
// the rest.
func (d *draft) addPartial(ctx context.Context, it *item) error {
	if err := d.close(ctx); err != nil {
		return err
	}
	one := *it
	one.have = nil
	all := d.lines
	rest := slices.DeleteFunc(slices.Clone(all), func(ln *line) bool { return slices.Contains(it.have, ln.plan.Name) })
	if len(rest) == 0 {
		// Its sinks have changed since: all that it goes to now have it.
		r := d.p.r
		r.e.o.Ledger.Unjudge(r.a.ID, r.plan.Scope, []ingest.Key{it.key})
		one.Verdict = ingest.Duplicate
		return d.add(ctx, &one)
	}
	d.lines = rest
	defer func() { d.lines = all }()
	if err := d.add(ctx, &one); err != nil {
		return err
	}
	return d.close(ctx)
}

// close commits the draft as a claim and starts the next. The pass goes on
// while the commit is under way; its loads go out once it is on disk.
func (d *draft) close(ctx context.Context) error {
	if d.verdict.Len() == 0 {
		return nil
	}
	r := d.p.r
	var loads []*load
	for _, ln := range d.lines {
		ln.shutAll()
		loads = append(loads, ln.done...)
	}
	if err := r.reserve(ctx, loads...); err != nil {
		return err
	}
	for _, l := range loads {
		l.mint(r.e.seed(), 0)
		if err := r.e.place(ctx, l); err != nil {
			return err
		}
	}
	c := &ingest.Claim{
		Arrival: r.a.ID, Scope: r.plan.Scope, First: d.first, Last: d.last, Verdicts: d.verdict.Take(),
		Keys: d.keys, Dead: d.dead, Followers: d.follow, Sinks: make([]string, 0, len(d.lines)),
		Batches: make([]*ingest.Batch, len(loads)), Lanes: lanesOf(d.lines...),
	}
	for _, ln := range d.lines {
		c.Sinks = append(c.Sinks, ln.plan.Name)
		ln.done = nil
	}
	for i, l := range loads {
		c.Batches[i] = l.Batch
	}
	r.followers += len(d.follow)
	d.keys, d.dead, d.follow, d.records, d.bytes, d.sent = nil, nil, nil, 0, 0, 0
	r.e.o.Ledger.Claim(c, func(err error) {
		if err != nil {
			r.e.broke(err)
			return
		}
		r.e.reach(AfterClaim)
		r.e.moving()
		for _, l := range loads {
			r.e.queue(l.Sink).put(l)
		}
	})
	return nil
}

// abandon gives back what an unfinished draft holds.
func (d *draft) abandon() {
	r := d.p.r
	if len(d.keys) > 0 {
		r.e.o.Ledger.Unjudge(r.a.ID, r.plan.Scope, d.keys)
		d.keys = nil
	}
	for _, ln := range d.lines {
		ln.abandon()
	}
}
