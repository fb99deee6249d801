package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"

	"ingestd/ingest"
	"ingestd/ingest/shape"
)

// A pass reads an arrival once, from its beginning: it skips what is settled,
// makes the batches of open claims again, and judges and claims the rest.
type pass struct {
	*desk
	r      *run
	in     *input
	reader ingest.Reader
	bind   *shape.Binding
	block  *block

	settled []ingest.Range      // what is left of it
	open    []*ingest.OpenClaim // the same
	reviver *reviver            // the open claim that is being made again
	only    string              // the one sink that is fed; "" in the first pass
	given   []ingest.Range      // a replay's records that were delivered before
	draft   *draft              // nil in a feeding pass
	judged  []item              // of the chunk, not in the draft yet
	read    int64               // ordinal of the last record
	opened  func()              // told once, after the first read
}

// A desk is the memory that a pass works in. It is used again: a folder of
// small files would make more garbage than bodies.
type desk struct {
	chunk ingest.Chunk
	items []item
	recs  []ingest.Judged
	enc   ingest.Encoder
	json  []byte
}

var desks = sync.Pool{New: func() any { return new(desk) }}

// clear gives the desk back. Nothing points into it any more.
func (d *desk) clear() {
	d.chunk.Reset()
	clear(d.chunk.Records[:cap(d.chunk.Records)])
	clear(d.chunk.Faults[:cap(d.chunk.Faults)])
	clear(d.chunk.Fields[:cap(d.chunk.Fields)])
	clear(d.items[:cap(d.items)])
	clear(d.recs[:cap(d.recs)])
	if cap(d.json) > keepBody {
		d.json = nil
	}
	desks.Put(d)
}

// An item is one record or fault with what is known of it.
type item struct {
	pos    ingest.Position
	raw    []byte
	fields []ingest.Field
	source []ingest.Field // as they came
	key    ingest.Key
	fault  string
	stage  ingest.Stage
	ingest.Verdict
	leader int64
	have   []string
}

// A brokenOff error ends a pass without harm: it is begun again later.
type brokenOff struct{ error }

func (b brokenOff) Unwrap() error { return b.error }

// run reads to the end. A *ingest.ReadError means that the arrival is
// unreadable from there on; what was whole before it is claimed.
func (p *pass) run(ctx context.Context) (err error) {
	over := false
	defer func() {
		if !over || err != nil {
			p.abandon()
		}
	}()
	var ended error
	for ended == nil {
		if ctx.Err() != nil {
			return brokenOff{context.Cause(ctx)}
		}
		p.block = takeBlock()
		p.chunk.Buf = p.block.buf
		ended = p.reader.Read(ctx, &p.chunk)
		p.block.buf = p.chunk.Buf
		if p.opened != nil {
			p.opened()
			p.opened = nil
		}
		err := p.take(ctx)
		p.chunk.Buf = nil
		p.block.drop()
		p.block = nil
		if err != nil {
			return err
		}
		if ended != nil && ctx.Err() != nil {
			return brokenOff{context.Cause(ctx)}
		}
	}
	if err := p.revived(ctx, math.MaxInt64); err != nil {
		return err
	}
	if p.draft != nil {
		if err := p.draft.close(ctx); err != nil {
			return err
		}
	}
	if len(p.open) > 0 || len(p.settled) > 0 {
		var re *ingest.ReadError
		if !errors.As(ended, &re) {
			return fmt.Errorf("arrival %d ends at record %d, but later ones were claimed: %w", p.r.a.ID, p.read, ingest.ErrBodyChanged)
		}
	}
	over = true
	if ended == io.EOF {
		return nil
	}
	return ended
}

// abandon takes back what was judged and will not be claimed, and what is held
// for it.
func (p *pass) abandon() {
	p.unjudge(p.judged)
	p.judged = nil
	if p.draft != nil {
		p.draft.abandon()
	}
	if p.reviver != nil {
		p.reviver.abandon()
		p.reviver = nil
	}
}

// take handles one chunk: its records and faults in the order of the file.
func (p *pass) take(ctx context.Context) error {
	if p.r.subject.events != nil {
		p.r.subject.events.add(p.chunk.Spans)
	}
	p.items = p.items[:0]
	p.bind.Reset()
	recs, faults := p.chunk.Records, p.chunk.Faults
	for len(recs)+len(faults) > 0 {
		var rec *ingest.Record
		var fault *ingest.Fault
		if len(faults) == 0 || len(recs) > 0 && recs[0].Pos.Record < faults[0].Pos.Record {
			rec, recs = &recs[0], recs[1:]
		} else {
			fault, faults = &faults[0], faults[1:]
		}
		pos := ingest.Position{}
		if rec != nil {
			pos = rec.Pos
		} else {
			pos = fault.Pos
		}
		if pos.Record != p.read+1 {
			return fmt.Errorf("arrival %d: record %d follows record %d", p.r.a.ID, pos.Record, p.read)
		}
		p.read = pos.Record
		if err := p.revived(ctx, pos.Record); err != nil {
			return err
		}
		if p.known(pos.Record) {
			continue
		}
		handled, err := p.revive(ctx, pos, rec)
		if err != nil {
			return err
		}
		if handled || p.draft == nil {
			continue
		}
		p.items = append(p.items, item{pos: pos})
		it := &p.items[len(p.items)-1]
		if fault != nil {
			it.raw, it.fault, it.stage, it.Verdict = fault.Raw, fault.Reason, fault.Stage, ingest.Dead
			if p.r.outside(pos.Record) {
				it.Verdict = ingest.Filtered
			}
			continue
		}
		p.shape(it, rec)
	}
	if len(p.items) == 0 {
		return nil
	}
	if p.r.followers > maxFollowers {
		// Those that they wait for are all claimed by now, or lead elsewhere.
		p.r.followers = 0
		if err := p.r.calm(ctx); err != nil {
			return err
		}
	}
	if err := p.judge(ctx); err != nil {
		return err
	}
	for p.judged = p.items; len(p.judged) > 0; p.judged = p.judged[1:] {
		if err := p.draft.add(ctx, &p.judged[0]); err != nil {
			return err
		}
	}
	return nil
}

// shape fills an item from its record.
func (p *pass) shape(it *item, rec *ingest.Record) {
	var res shape.Result
	p.bind.Apply(rec, &res)
	it.raw, it.fields, it.source, it.key = rec.Raw, res.Fields, rec.Fields, res.Key
	switch {
	case p.r.outside(rec.Pos.Record):
		it.Verdict = ingest.Filtered
	case p.skip(rec.Pos.Record):
		it.Verdict = ingest.Duplicate
	case res.Fault != "":
		it.Verdict, it.fault, it.stage = ingest.Dead, res.Fault, ingest.StageShape
	case res.Filtered || p.r.refused:
		it.Verdict = ingest.Filtered
	default:
		it.Verdict = ingest.New
	}
}

// known reports whether the record's claim is settled.
func (p *pass) known(n int64) bool {
	for len(p.settled) > 0 && p.settled[0].Last < n {
		p.settled = p.settled[1:]
	}
	if len(p.settled) > 0 && p.settled[0].First <= n {
		if p.settled[0].Last == n {
			p.settled = p.settled[1:]
		}
		return true
	}
	return false
}

// skip reports whether a replay leaves the record out as delivered before.
func (p *pass) skip(n int64) bool {
	for len(p.given) > 0 && p.given[0].Last < n {
		p.given = p.given[1:]
	}
	return len(p.given) > 0 && p.given[0].First <= n
}

// revived sends an open claim's batches once all of its records were read.
func (p *pass) revived(ctx context.Context, n int64) error {
	if p.reviver == nil || n <= p.reviver.claim.Last {
		return nil
	}
	if err := p.reviver.close(ctx); err != nil {
		return err
	}
	p.reviver = nil
	return nil
}

// revive hands a record of an open claim to the one that makes its batches
// again.
func (p *pass) revive(ctx context.Context, pos ingest.Position, rec *ingest.Record) (bool, error) {
	for p.reviver == nil && len(p.open) > 0 && p.open[0].First <= pos.Record {
		v, err := newReviver(ctx, p, p.open[0])
		if err != nil {
			return true, err
		}
		p.open = p.open[1:]
		p.reviver = v
	}
	if p.reviver == nil {
		return false, nil
	}
	return true, p.reviver.add(pos, rec)
}

// judge asks the ledger about all keys of the chunk at once.
func (p *pass) judge(ctx context.Context) error {
	if !p.r.judges() {
		return nil
	}
	p.recs = p.recs[:0]
	for i := range p.items {
		it := &p.items[i]
		if it.Verdict == ingest.New || it.Verdict == ingest.Dead && it.key != (ingest.Key{}) {
			p.recs = append(p.recs, ingest.Judged{Pos: it.pos, Key: it.key, Verdict: it.Verdict, Reason: it.fault})
		}
	}
	if err := p.r.e.o.Ledger.Judge(ctx, p.r.a.ID, p.r.plan.Scope, p.recs); err != nil {
		return err
	}
	k := 0
	for i := range p.items {
		it := &p.items[i]
		if it.Verdict == ingest.New || it.Verdict == ingest.Dead && it.key != (ingest.Key{}) {
			j := &p.recs[k]
			k++
			it.Verdict, it.leader, it.have = j.Verdict, j.Leader, j.Have
			if it.Verdict == ingest.Dead && it.fault == "" {
				it.fault, it.stage = j.Reason, ingest.StageDeliver
			}
		}
	}
	return nil
}

func (p *pass) unjudge(items []item) {
	var keys []ingest.Key
	for i := range items {
		if items[i].Verdict == ingest.New && items[i].key != (ingest.Key{}) {
			keys = append(keys, items[i].key)
		}
	}
	if len(keys) > 0 && p.r.judges() {
		p.r.e.o.Ledger.Unjudge(p.r.a.ID, p.r.plan.Scope, keys)
	}
}

// encode appends a record's JSON to the pass's scratch.
func (p *pass) encode(fields []ingest.Field) []byte {
	p.json = p.enc.Append(p.json[:0], fields)
	return p.json
}

// maxFileBody bounds a file that is sent as it is, in bytes: it is held in
// memory while it is sent.
const maxFileBody = 256 << 20

// append adds a record to a load: its JSON, or the whole file as it is.
func (p *pass) append(l *load, pos ingest.Position, it *item, json []byte) error {
	l.lean(p.block)
	if len(l.sink.Vars) > 0 {
		l.env.Vars = vars(l.sink.Vars, it.fields)
	}
	if !l.sink.Body.File {
		l.add(pos, it.raw, json)
		return nil
	}
	if p.r.subject.events != nil {
		l.add(pos, it.raw, it.raw) // the event as it came
		return nil
	}
	size := p.r.a.Size
	if size > maxFileBody {
		return &ingest.ReadError{Format: "raw", Reason: fmt.Sprintf("%d bytes are too many to be sent in one request, at most %d", size, maxFileBody)}
	}
	if err := l.addFile(pos, it.raw, p.in.f, size); err != nil {
		return fmt.Errorf("read arrival %d: %w", p.r.a.ID, err)
	}
	return nil
}
