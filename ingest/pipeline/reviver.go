package pipeline

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"ingestd/ingest"
)

// A reviver makes the unsettled batches of a claim again from its records, and
// cuts those of sinks that were left behind. Records are in the claim or not by
// its verdicts; nothing is judged anew.
type reviver struct {
	p     *pass
	claim *ingest.OpenClaim
	loads []*load // batches that were committed, by First; those without bytes are in the outbox
	feeds []*line // sinks that are still to be cut
	runs  []ingest.Range
	foll  []ingest.Range
	fs    []ingest.Follower
}

// errBehind says that a sink has no room and is left behind.
var errBehind = errors.New("left behind")

func newReviver(ctx context.Context, p *pass, c *ingest.OpenClaim) (*reviver, error) {
	v := &reviver{p: p, claim: c}
	r := p.r
	c.Verdicts.All(func(at, n int64, verdict ingest.Verdict) bool {
		run := ingest.Range{First: c.First + at, Last: c.First + at + n - 1}
		switch verdict {
		case ingest.New:
			v.runs = append(v.runs, run)
		case ingest.Follow:
			v.foll = append(v.foll, run)
		}
		return true
	})
	for _, s := range c.Sinks {
		err := v.take(ctx, s)
		if errors.Is(err, errBehind) {
			r.behind(s)
		} else if err != nil {
			v.abandon()
			return nil, err
		}
	}
	slices.SortStableFunc(v.loads, func(a, b *load) int { return cmp.Compare(a.First, b.First) })
	return v, nil
}

// take starts what a sink lacks of the claim.
func (v *reviver) take(ctx context.Context, sink string) error {
	p, r := v.p, v.p.r
	if p.only != "" && sink != p.only || p.only == "" && r.isBehind(sink) {
		return nil
	}
	uncut := slices.Contains(v.claim.Uncut, sink)
	if !uncut && !slices.ContainsFunc(v.claim.Batches, func(b *ingest.Batch) bool { return b.Sink == sink && r.loose(b) }) {
		return nil // all of it is in the queue or settled
	}
	s, q := r.sink(sink)
	if s == nil {
		return fmt.Errorf("claim %d of arrival %d is for sink %s, which its settings do not have", v.claim.ID, r.a.ID, sink)
	}
	token, err := v.enter(ctx, q)
	if err != nil {
		return err
	}
	if uncut {
		v.feeds = append(v.feeds, &line{plan: s, q: q, token: token})
		return nil
	}
	for _, b := range v.claim.Batches {
		if b.Sink != sink || !r.mine(b) {
			continue
		}
		l := oldLoad(b, s, r.subject)
		l.free = !token
		if l.stored = r.e.isStored(b.ID); !l.stored {
			l.open(&s.Body)
		}
		v.loads = append(v.loads, l)
		token = spare(q)
	}
	return nil
}

// enter takes room in a queue for the first load of a claim: it waits for that,
// but lets a sink that keeps others waiting fall behind. The claim's other loads
// come along without, since nothing of it goes out before they are all made.
func (v *reviver) enter(ctx context.Context, q *queue) (token bool, err error) {
	if spare(q) {
		return true, nil
	}
	var late <-chan time.Time
	if v.p.only == "" && len(v.p.r.plan.Sinks) > 1 {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		late = timer.C
	}
	defer v.p.r.e.rests()()
	select {
	case q.room <- struct{}{}:
		return true, nil
	case <-late:
		return false, errBehind
	case <-ctx.Done():
		return false, brokenOff{context.Cause(ctx)}
	}
}

// spare takes room in a queue where there is some.
func spare(q *queue) bool {
	select {
	case q.room <- struct{}{}:
		return true
	default:
		return false
	}
}

func in(runs *[]ingest.Range, n int64) bool {
	for len(*runs) > 0 && (*runs)[0].Last < n {
		*runs = (*runs)[1:]
	}
	return len(*runs) > 0 && (*runs)[0].First <= n
}

func (v *reviver) add(pos ingest.Position, rec *ingest.Record) error {
	follows := in(&v.foll, pos.Record)
	if !follows && !in(&v.runs, pos.Record) {
		return nil
	}
	if rec == nil {
		return fmt.Errorf("record %d of arrival %d was read before and is unreadable now: %w", pos.Record, v.p.r.a.ID, ingest.ErrBodyChanged)
	}
	var it item
	switch {
	case follows && v.p.only == "":
		v.p.shape(&it, rec)
		v.fs = append(v.fs, ingest.Follower{Pos: pos, Key: it.key, Raw: bytes.Clone(it.raw)})
		return nil
	case follows || len(v.loads) == 0 && len(v.feeds) == 0:
		return nil
	}
	v.p.shape(&it, rec)
	json := v.p.encode(it.fields)
	for _, l := range v.loads {
		if l.First <= pos.Record && pos.Record <= l.Last && l.env != nil && (l.Lane == 0 || l.Lane == l.sink.laneOf(&it)) && (l.holds == nil || l.holds(pos.Record)) {
			if err := v.p.append(l, pos, &it, json); err != nil {
				return err
			}
		}
	}
	for _, ln := range v.feeds {
		ln.turn(&it)
		if ln.cur != nil && !ln.cur.fits(len(json)) {
			ln.shut()
		}
		if ln.cur == nil {
			ln.begin(v.p.r.subject)
			ln.cur.free = !ln.token && !spare(ln.q)
			ln.token = false
		}
		if err := v.p.append(ln.cur, pos, &it, json); err != nil {
			return err
		}
		ln.note()
	}
	return nil
}

// close checks what was made again against the claim and sends it.
func (v *reviver) close(ctx context.Context) error {
	r := v.p.r
	for _, l := range v.loads {
		if l.env != nil && !l.sealAgain() {
			return fmt.Errorf("batch %d of arrival %d to %s: %w", l.Number, r.a.ID, l.Sink, ingest.ErrBodyChanged)
		}
	}
	for len(v.loads) > 0 {
		l := v.loads[0]
		if err := r.reserve(ctx, l); err != nil {
			return err
		}
		v.loads = v.loads[1:]
		r.e.queue(l.Sink).put(l)
	}
	for len(v.feeds) > 0 {
		if err := v.cut(ctx, v.feeds[0]); err != nil {
			return err
		}
		v.feeds = v.feeds[1:]
	}
	if len(v.fs) > 0 {
		r.e.o.Ledger.Follow(v.claim.ID, v.fs, func(err error) {
			if err != nil {
				r.e.broke(err)
			}
		})
	}
	return nil
}

// cut commits the batches of a sink that was left behind and sends them.
func (v *reviver) cut(ctx context.Context, ln *line) error {
	r := v.p.r
	ln.shutAll()
	loads := slices.Clone(ln.done)
	if len(loads) == 0 {
		return fmt.Errorf("claim %d of arrival %d to %s: %w", v.claim.ID, r.a.ID, ln.plan.Name, ingest.ErrBodyChanged)
	}
	if err := r.reserve(ctx, loads...); err != nil {
		return err
	}
	batches := make([]*ingest.Batch, len(loads))
	for i, l := range loads {
		l.mint(r.e.seed(), 0)
		if err := r.e.place(ctx, l); err != nil {
			return err
		}
		batches[i] = l.Batch
	}
	ln.done = nil
	v.claim.Lanes = lanesOf(ln)
	r.e.o.Ledger.Cut(&v.claim.Claim, ln.plan.Name, batches, func(err error) {
		if err != nil {
			r.e.broke(err)
			return
		}
		r.e.moving()
		ln.q.put(loads...)
	})
	return nil
}

// abandon gives back what a reviver holds that was broken off.
func (v *reviver) abandon() {
	for _, l := range v.loads {
		v.p.r.giveBack(l)
		v.p.r.e.queue(l.Sink).leave(l)
	}
	for _, ln := range v.feeds {
		ln.abandon()
	}
	v.loads, v.feeds = nil, nil
}
