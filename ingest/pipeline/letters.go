package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"ingestd/ingest"
	"ingestd/ingest/shape"
	"ingestd/ingest/spool"
)

// A Replayed says what became of dead letters that were taken up again.
type Replayed struct {
	Sent      int64 // are on their way or delivered
	AsWere    int64 // of them, those under their old keys and bytes
	Duplicate int64 // their key was delivered meanwhile
	Filtered  int64
	Dead      int64 // are bad still
	Waiting   int64 // another record with their key is under way: try later
}

// ReplayLetters takes dead letters of one ended arrival up again: refused ones
// through the settings of now, under new keys; those with an unknown fate
// together with all of their batch, under its old key and bytes. It returns
// once they are settled or ctx ends; what is sent is finished in any case.
func (e *Engine) ReplayLetters(ctx context.Context, id int64, letters []ingest.Letter, dry bool) (out Replayed, err error) {
	return e.replayLetters(ctx, id, letters, dry, false)
}

// ForceLetters is ReplayLetters for a person who knows that the target does not
// have what its fate is unknown of, or may have it twice: those letters, too, go
// through the settings of now under new keys, all of a batch together.
func (e *Engine) ForceLetters(ctx context.Context, id int64, letters []ingest.Letter, dry bool) (out Replayed, err error) {
	return e.replayLetters(ctx, id, letters, dry, true)
}

func (e *Engine) replayLetters(ctx context.Context, id int64, letters []ingest.Letter, dry, force bool) (out Replayed, err error) {
	leave, err := e.enter()
	if err != nil {
		return out, err
	}
	defer leave()
	var refused []ingest.Letter
	var given []int64
	for _, d := range letters {
		if !d.Uncertain || d.Batch == 0 {
			refused = append(refused, d)
		} else if !slices.Contains(given, d.Batch) {
			given = append(given, d.Batch)
		}
	}
	var forced []int64
	if force {
		forced, given = given, nil
		for _, batch := range forced {
			_, all, err := e.o.Ledger.GivenUp(ctx, batch)
			if errors.Is(err, ingest.ErrNotFound) { // it was settled in parts: its letters stand for themselves
				all, err = slices.DeleteFunc(slices.Clone(letters), func(d ingest.Letter) bool { return d.Batch != batch || !d.Uncertain }), nil
			}
			if err != nil {
				return out, err
			}
			refused = append(refused, all...)
		}
	}
	slices.SortFunc(refused, func(x, y ingest.Letter) int {
		return cmp.Or(cmp.Compare(x.Pos.Record, y.Pos.Record), cmp.Compare(x.ID, y.ID))
	})
	if dry {
		a, err := e.o.Ledger.Find(ctx, id)
		if err != nil {
			return out, err
		}
		return out, e.replay(ctx, a, given, refused, &replaying{dry: true, out: &out})
	}
	a, done, err := e.o.Ledger.Reopen(ctx, id)
	if err != nil {
		return out, err
	}
	awake := e.works()
	settled := e.follow(id, done, func() {
		err = e.replay(ctx, a, given, refused, &replaying{out: &out, forced: len(forced) > 0})
		for _, batch := range forced {
			if err == nil {
				e.remove(batch) // nobody sends it as it was any more
			}
		}
	})
	awake()
	if err != nil {
		return out, err
	}
	select {
	case err = <-settled:
	case <-ctx.Done():
		err = ErrUnfinished
	}
	return out, err
}

// follow notes that an arrival's letters are being replayed, until what claim
// claims is settled.
func (e *Engine) follow(id int64, done, claim func()) <-chan error {
	e.mu.Lock()
	e.replays[id] = true
	e.mu.Unlock()
	claim()
	settled := make(chan error, 1)
	e.wg.Go(func() {
		_, err := e.o.Ledger.Settled(e.soft, id)
		if err != nil && e.soft.Err() != nil {
			err = ErrUnfinished
		}
		done()
		if e.o.Receipts != nil && e.o.Ledger.Barrier(e.hard) == nil {
			e.receipt(e.hard, id)
		}
		e.mu.Lock()
		delete(e.replays, id)
		e.moves++
		e.wake()
		e.mu.Unlock()
		settled <- err
	})
	return settled
}

// A replaying is how letters are taken up again, and what came of them.
type replaying struct {
	dry    bool
	forced bool // some of them may have reached the target
	out    *Replayed
}

// replay claims dead letters again: batches that were given up, and refused
// records.
func (e *Engine) replay(ctx context.Context, a *ingest.Arrival, given []int64, refused []ingest.Letter, how *replaying) error {
	sub := &subject{id: a.ID, name: a.Name, arrived: a.FoundAt.UTC()}
	for _, batch := range given {
		n, err := e.again(ctx, a, sub, batch, how.dry)
		if err != nil {
			return err
		}
		how.out.Sent += n
		how.out.AsWere += n
	}
	if len(refused) == 0 {
		return nil
	}
	return e.anew(ctx, a, sub, refused, how)
}

// again sends a batch that was given up as it was: the same records, key and
// bytes.
func (e *Engine) again(ctx context.Context, a *ingest.Arrival, sub *subject, batch int64, dry bool) (int64, error) {
	old, letters, err := e.o.Ledger.GivenUp(ctx, batch)
	if err != nil {
		return 0, err
	}
	if dry || len(letters) == 0 { // dropped meanwhile
		return int64(len(letters)), nil
	}
	q := e.queue(old.Sink)
	if q == nil {
		return 0, fmt.Errorf("replay batch %d: the config has no sink %s any more", batch, old.Sink)
	}
	env, err := e.o.Outbox.Get(batch)
	if err != nil {
		return 0, fmt.Errorf("%w: its fate is unknown, so it can only be sent as it was; replay its records with --force to send them anew", err)
	}
	var v ingest.VerdictList
	var ids []int64
	var keys []ingest.Key
	next := old.First
	for _, d := range letters {
		v.AddRun(ingest.Absent, d.Pos.Record-next)
		v.Add(ingest.New)
		next = d.Pos.Record + 1
		ids = append(ids, d.ID)
		if d.Key != (ingest.Key{}) {
			keys = append(keys, d.Key)
		}
	}
	if len(keys) != len(letters) {
		keys = nil
	}
	b := &ingest.Batch{
		Sink: old.Sink, First: old.First, Last: next - 1, Records: len(letters), BodyHash: old.BodyHash, Key: old.Key, Uncertain: true,
		PlacePath: old.PlacePath, Place: old.Place, PlaceEnd: old.PlaceEnd, Lane: old.Lane,
	}
	l := &load{Batch: b, sink: &SinkPlan{Name: old.Sink}, subject: sub, env: env, uncertain: true}
	c := &ingest.Claim{
		Arrival: a.ID, Scope: a.Scope, First: old.First, Last: next - 1, Verdicts: v.Take(), Keys: keys,
		Batches: []*ingest.Batch{b}, Sinks: []string{old.Sink}, Letters: ids,
	}
	if err := e.claimReplay(ctx, c, []*load{l}); err != nil {
		return 0, err
	}
	e.remove(batch) // its bytes are in the outbox under the new batch's number
	return int64(len(letters)), nil
}

// anew sends the records of refused letters through the settings of now.
func (e *Engine) anew(ctx context.Context, a *ingest.Arrival, sub *subject, letters []ingest.Letter, how *replaying) error {
	dry, out := how.dry, how.out
	details, err := e.o.Ledger.Details(ctx, a.ID)
	if err != nil {
		return err
	}
	plan := e.o.Plan
	bind := plan.Shape.Bind(e.seed(), a.Scope)
	var enc ingest.Encoder
	var v ingest.VerdictList
	c := &ingest.Claim{Arrival: a.ID, Scope: a.Scope, Forced: how.forced}
	lines := map[string]*line{}
	var loads []*load
	seen := map[ingest.Key]bool{} // dry: keys of the records before
	// What was judged and is not claimed is nobody's again.
	defer func() {
		if len(c.Keys) > 0 {
			e.o.Ledger.Unjudge(a.ID, a.Scope, c.Keys)
		}
	}()
	flush := func() error {
		for i := range plan.Sinks {
			if ln := lines[plan.Sinks[i].Name]; ln != nil {
				ln.shutAll()
				loads = append(loads, ln.done...)
			}
		}
		lines = map[string]*line{}
		if v.Len() == 0 {
			return nil
		}
		c.Verdicts = v.Take()
		for _, l := range loads {
			// Others of the claim may go to another sink, or be in another lane.
			l.Members = members(l.env.Records)
			l.mint(e.seed(), c.Letters[0])
			if err := e.place(ctx, l); err != nil {
				return err
			}
			c.Batches = append(c.Batches, l.Batch)
			if !slices.Contains(c.Sinks, l.Sink) {
				c.Sinks = append(c.Sinks, l.Sink)
			}
		}
		err := e.claimReplay(ctx, c, loads)
		c, loads = &ingest.Claim{Arrival: a.ID, Scope: a.Scope, Forced: how.forced}, nil
		return err
	}
	for i, d := range letters {
		if i > 0 && letters[i-1].Pos.Record == d.Pos.Record {
			// The same record died at several sinks: its letters go together.
			if n := len(c.Letters); n > 0 && c.Last == d.Pos.Record {
				c.Letters = append(c.Letters, d.ID)
			}
			continue
		}
		bind.Reset()
		rec, fault, err := e.fragment(ctx, plan, details, d.Raw)
		if err != nil {
			return fmt.Errorf("replay dead letter %d: %w", d.ID, err)
		}
		var res shape.Result
		if fault == "" {
			bind.Apply(rec, &res)
			fault = res.Fault
		}
		if fault != "" {
			out.Dead++
			continue
		}
		j := []ingest.Judged{{Pos: d.Pos, Key: res.Key, Verdict: ingest.New}}
		if res.Filtered {
			j[0].Verdict = ingest.Filtered
		} else if plan.Dedupe && dry {
			if e.o.Ledger.Peek(a.Scope, j); j[0].Verdict == ingest.New && res.Key != (ingest.Key{}) {
				if seen[res.Key] {
					j[0].Verdict = ingest.Follow // as it would with the first one led
				}
				seen[res.Key] = true
			}
		} else if plan.Dedupe {
			if err := e.o.Ledger.Judge(ctx, a.ID, a.Scope, j); err != nil {
				return err
			}
		}
		verdict := j[0].Verdict
		var to []*SinkPlan
		if verdict == ingest.New {
			if to = lacking(plan, letters, &d, j[0].Have); len(to) == 0 {
				verdict = ingest.Duplicate
			}
			if !dry && len(to) == 0 {
				e.o.Ledger.Unjudge(a.ID, a.Scope, []ingest.Key{res.Key})
			}
		}
		switch verdict {
		case ingest.New:
			out.Sent++
		case ingest.Duplicate:
			out.Duplicate++
		case ingest.Filtered:
			out.Filtered++
		default:
			out.Waiting++
			continue
		}
		if dry {
			continue
		}
		if len(c.Letters) >= perRecordClaim {
			if err := flush(); err != nil {
				return err
			}
		}
		if v.Len() == 0 {
			c.First = d.Pos.Record
		}
		v.AddRun(ingest.Absent, d.Pos.Record-c.First-v.Len())
		v.Add(verdict)
		c.Last = d.Pos.Record
		c.Letters = append(c.Letters, d.ID)
		if verdict != ingest.New {
			continue
		}
		if res.Key != (ingest.Key{}) && plan.Dedupe {
			c.Keys = append(c.Keys, res.Key)
		}
		json := enc.Append(nil, res.Fields)
		for _, s := range to {
			ln := lines[s.Name]
			if ln == nil {
				ln = &line{plan: s, q: e.queue(s.Name)}
				lines[s.Name] = ln
			}
			ln.turn(&item{fields: res.Fields, source: rec.Fields})
			if ln.cur != nil && !ln.cur.fits(len(json)) {
				ln.shut()
			}
			if ln.cur == nil {
				ln.begin(sub)
			}
			if len(s.Vars) > 0 {
				ln.cur.env.Vars = vars(s.Vars, res.Fields)
			}
			ln.cur.add(d.Pos, d.Raw, json)
		}
	}
	return flush()
}

// lacking lists the sinks that a dead record goes to: those that refused it, or
// where they are gone, or it was bad by itself, all that do not have it.
func lacking(plan *Plan, letters []ingest.Letter, d *ingest.Letter, have []string) (to []*SinkPlan) {
	var rest []*SinkPlan
	for i := range plan.Sinks {
		s := &plan.Sinks[i]
		if slices.Contains(have, s.Name) {
			continue
		}
		rest = append(rest, s)
		if slices.ContainsFunc(letters, func(o ingest.Letter) bool { return o.Pos.Record == d.Pos.Record && o.Sink == s.Name }) {
			to = append(to, s)
		}
	}
	if len(to) == 0 {
		return rest
	}
	return to
}

// fragment reads one record from its raw bytes.
func (e *Engine) fragment(ctx context.Context, plan *Plan, d ingest.Details, raw []byte) (*ingest.Record, string, error) {
	r, err := plan.Fragment(ctx, d, raw)
	if err != nil {
		return nil, "", err
	}
	defer r.Close()
	c := &ingest.Chunk{}
	err = r.Read(ctx, c)
	switch {
	case len(c.Faults) > 0:
		return nil, c.Faults[0].Reason, nil
	case len(c.Records) == 1:
		return &c.Records[0], "", nil
	case err == nil || err == io.EOF:
		return nil, fmt.Sprintf("its bytes hold %d records", len(c.Records)), nil
	}
	var re *ingest.ReadError
	if errors.As(err, &re) {
		return nil, re.Error(), nil
	}
	return nil, "", err
}

// claimReplay stores the loads' bytes, commits their claim and queues them. A
// replay's bytes are in the outbox before its claim is made: settings may
// change before it is settled.
func (e *Engine) claimReplay(ctx context.Context, c *ingest.Claim, loads []*load) error {
	committed := make(chan error, 1)
	c.OnNumbered = func() error {
		for _, l := range loads {
			l.replay, l.free = c, true
			if err := e.pack(l); err != nil {
				return err
			}
		}
		return nil
	}
	e.o.Ledger.Claim(c, func(err error) {
		if err == nil {
			for _, l := range loads {
				e.queue(l.Sink).put(l)
			}
		}
		committed <- err
	})
	select {
	case err := <-committed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// resumeReplays sends what an earlier process had claimed of replayed letters.
func (e *Engine) resumeReplays(ctx context.Context) error {
	by, err := e.o.Ledger.Replays(ctx, e.o.Pipeline)
	if err != nil {
		return err
	}
	for id, claims := range by {
		e.mu.Lock()
		ours := e.replays[id]
		e.mu.Unlock()
		if ours {
			continue // it was asked for before this engine ran
		}
		a, done, err := e.o.Ledger.Reopen(ctx, id)
		if err != nil {
			return err
		}
		sub := &subject{id: a.ID, name: a.Name, arrived: a.FoundAt.UTC()}
		e.follow(id, done, func() {
			for _, c := range claims {
				e.heed(c.Batches)
				e.requeue(c, sub)
			}
		})
	}
	return nil
}

// requeue sends the batches of a replay's claim, whose bytes are in the outbox:
// their own, or, for the halves of one that was refused, in those of the whole.
func (e *Engine) requeue(c *ingest.OpenClaim, sub *subject) {
	wholes := map[int64]*origin{}
	for _, b := range c.Batches {
		q := e.queue(b.Sink)
		if q == nil {
			e.log.Error("a replayed batch waits: the config does not have its sink any more", "arrival", sub.id, "batch", b.Number, "sink", b.Sink)
			continue
		}
		l := oldLoad(b, &SinkPlan{Name: b.Sink}, sub)
		l.free, l.replay, l.stored = true, &c.Claim, e.isStored(b.ID)
		if !l.stored && !e.recut(l, wholes) {
			e.log.Error("the bytes of a replayed batch are gone; its records stay dead", "arrival", sub.id, "batch", b.Number, "sink", b.Sink)
			q.settle(l, unreadable(l, errors.New("the outbox does not have them")))
			continue
		}
		q.put(l)
	}
}

// recut finds the bytes of a load in those of an older batch that it was cut
// from.
func (e *Engine) recut(l *load, wholes map[int64]*origin) bool {
	e.mu.Lock()
	stored := slices.Sorted(maps.Keys(e.stored))
	e.mu.Unlock()
	for _, id := range slices.Backward(stored) {
		if id > l.ID {
			continue
		}
		env, err := e.o.Outbox.Get(id)
		if err != nil {
			continue
		}
		holds := l.Holds()
		recs := slices.DeleteFunc(slices.Clone(env.Records), func(r spool.Enclosed) bool { return !holds(r.Pos.Record) })
		if len(recs) == 0 {
			continue
		}
		whole := &load{Batch: &ingest.Batch{ID: id, Sink: l.Sink}, subject: l.subject, env: env}
		part := whole.cut(recs)
		if part.BodyHash != l.BodyHash {
			part.release()
			continue
		}
		o := wholes[id]
		if o == nil {
			o = &origin{batch: id}
			wholes[id] = o
		}
		o.refs.Add(1)
		l.env, l.origin = part.env, o
		return true
	}
	return false
}
