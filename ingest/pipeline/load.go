package pipeline

import (
	"crypto/sha256"
	"encoding/binary"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/spool"
)

// A load is a batch with its bytes, on its way to a sink.
type load struct {
	*ingest.Batch
	sink    *SinkPlan
	subject *subject
	env     *spool.Envelope // nil while the bytes are in the outbox alone
	stored  bool            // the outbox has it
	blocks  []*block        // that env's raw bytes point into
	held    int64           // bytes taken from the pool

	tried     time.Time     // first of the tries that failed
	fails     int           // tries that failed in a row
	here      bool          // the last of them in this process
	uncertain bool          // one of them may have reached the target
	last      ingest.Answer // to the last of them: what follows may be no try at all
	due       time.Time     // not before
	free      bool          // holds no room in its queue: half of a load that did
	seq       int64         // its place in the queue, where that has lanes
	parked    bool          // it gave its room back and waits in the outbox

	holds func(record int64) bool // of one that is made again and has Members; asked in rising order

	replay *ingest.Claim // of a replayed load: its bytes are in the outbox alone
	origin *origin       // of halves of such a load
}

// An origin is a batch in the outbox from whose bytes others were cut. It stays
// there until the last of them is settled.
type origin struct {
	batch int64
	refs  atomic.Int32
}

// A subject is what requests say about their arrival.
type subject struct {
	id      int64
	name    string
	arrived time.Time
	events  *index // of a bundle; nil
}

// A block is a chunk's bytes with a count of the loads whose raw records point
// into it.
type block struct {
	buf  []byte
	refs atomic.Int32
}

var blocks = sync.Pool{New: func() any { return new(block) }}

// takeBlock returns an empty block with one reference.
func takeBlock() *block {
	b := blocks.Get().(*block)
	b.refs.Store(1)
	return b
}

func (b *block) drop() {
	if b.refs.Add(-1) == 0 {
		if cap(b.buf) <= 2*ingest.ChunkBytes {
			b.buf = b.buf[:0]
			blocks.Put(b)
		}
	}
}

// lean makes the load keep b alive.
func (l *load) lean(b *block) {
	if n := len(l.blocks); b != nil && (n == 0 || l.blocks[n-1] != b) {
		b.refs.Add(1)
		l.blocks = append(l.blocks, b)
	}
}

// release lets go of the load's memory.
func (l *load) release() {
	for _, b := range l.blocks {
		b.drop()
	}
	if l.env != nil && cap(l.env.Body) <= keepBody {
		clear(l.env.Records)
		envelopes.Put(l.env)
	}
	l.blocks, l.env = nil, nil
}

// newLoad starts a load for a sink.
func newLoad(s *SinkPlan, sub *subject) *load {
	l := &load{Batch: &ingest.Batch{Sink: s.Name}, sink: s, subject: sub}
	l.open(&s.Body)
	return l
}

// oldLoad goes on with a batch that was claimed before: with the patience that
// is left for it.
func oldLoad(b *ingest.Batch, s *SinkPlan, sub *subject) *load {
	l := &load{Batch: b, sink: s, subject: sub, due: b.DueAt, fails: b.Attempts, uncertain: b.Uncertain, last: ingest.Answer{Status: b.Status, Body: b.Answer}}
	if b.Attempts > 0 && b.Uncertain {
		if l.tried = b.TriedAt; l.tried.IsZero() {
			l.tried = b.CreatedAt
		}
	}
	if b.Members != nil {
		l.holds = b.Holds()
	}
	return l
}

// open starts the load's body.
func (l *load) open(b *ingest.Body) {
	env := envelopes.Get().(*spool.Envelope)
	*env = spool.Envelope{ContentType: b.ContentType, Body: append(env.Body[:0], b.Open...), Records: env.Records[:0]}
	l.env = env
}

// envelopes are used again. A sink does not touch a body once Send has
// returned.
var envelopes = sync.Pool{New: func() any { return new(spool.Envelope) }}

// keepBody is the largest body whose memory is used again, in bytes.
const keepBody = 2 << 20

// fits reports whether a record of n bytes may join.
func (l *load) fits(n int) bool {
	k := len(l.env.Records)
	if k == 0 {
		return true
	}
	return !l.sink.Body.PerRecord && k < l.sink.MaxRecords &&
		len(l.env.Body)+len(l.sink.Body.Between)+n+len(l.sink.Body.Close) <= l.sink.MaxBytes
}

// add appends a record's JSON.
func (l *load) add(pos ingest.Position, raw, json []byte) {
	at := l.next()
	l.env.Body = append(l.env.Body, json...)
	l.enclose(pos, raw, at)
}

// addFile appends size bytes of a file, as they are.
func (l *load) addFile(pos ingest.Position, raw []byte, from io.ReaderAt, size int64) error {
	at := l.next()
	e := l.env
	e.Body = slices.Grow(e.Body, int(size)+len(l.sink.Body.Close))[:at+int(size)]
	if n, err := from.ReadAt(e.Body[at:], 0); err != nil && int64(n) < size {
		e.Body = e.Body[:at]
		return err
	}
	l.enclose(pos, raw, at)
	return nil
}

// next is where the next record begins.
func (l *load) next() int {
	if e := l.env; len(e.Records) > 0 {
		e.Body = append(e.Body, l.sink.Body.Between...)
	}
	return len(l.env.Body)
}

func (l *load) enclose(pos ingest.Position, raw []byte, at int) {
	e := l.env
	e.Records = append(e.Records, spool.Enclosed{Pos: pos, At: int32(at), Len: int32(len(e.Body) - at), Raw: raw})
}

// seal ends the body and says what the batch holds.
func (l *load) seal() { l.sealWith(l.sink.Body.Close) }

func (l *load) sealWith(end []byte) {
	recs := l.env.Records
	l.env.Body = append(l.env.Body, end...)
	l.First, l.Last, l.Records = recs[0].Pos.Record, recs[len(recs)-1].Pos.Record, len(recs)
	l.BodyHash = sum(l.env.Body)
}

// sealAgain ends the body of a batch that was claimed before. It reports
// whether it is what was claimed.
func (l *load) sealAgain() bool {
	l.env.Body = append(l.env.Body, l.sink.Body.Close...)
	return len(l.env.Records) == l.Records && sum(l.env.Body) == l.BodyHash
}

func sum(b []byte) [32]byte { return sha256.Sum256(b) }

// mint gives a sealed batch its Idempotency-Key. It follows from the ledger's
// seed, the records' place and the bytes, so that the same batch made again
// from the same ledger has the same key. salt tells replays apart.
func (l *load) mint(seed [16]byte, salt int64) {
	h := sha256.New()
	h.Write([]byte("ingestd batch\x00"))
	h.Write(seed[:])
	var n [32]byte
	binary.BigEndian.PutUint64(n[0:], uint64(l.subject.id))
	binary.BigEndian.PutUint64(n[8:], uint64(l.First))
	binary.BigEndian.PutUint64(n[16:], uint64(l.Last))
	binary.BigEndian.PutUint64(n[24:], uint64(salt))
	h.Write(n[:])
	h.Write([]byte(l.Sink))
	h.Write(l.BodyHash[:])
	copy(l.Key[:], h.Sum(nil))
}

// halve cuts a load of two or more records in two that hold the same records'
// bytes: in the middle by count, or by size.
func (l *load) halve(bySize bool) (left, right *load) {
	recs := l.env.Records
	at := len(recs) / 2
	if bySize {
		half := (recs[0].At + recs[len(recs)-1].At + recs[len(recs)-1].Len) / 2
		for at = 1; at < len(recs)-1 && recs[at].At < half; at++ {
		}
	}
	return l.cut(recs[:at]), l.cut(recs[at:])
}

// cut makes a load of some of a sealed load's records. What stands around and
// between them is taken from the body itself: the settings may be others by now.
func (l *load) cut(recs []spool.Enclosed) *load {
	all, body := l.env.Records, l.env.Body
	first, last := &all[0], &all[len(all)-1]
	frame := ingest.Body{ContentType: l.env.ContentType, Open: body[:first.At]}
	if len(all) > 1 {
		frame.Between = body[first.At+first.Len : all[1].At]
	}
	h := newLoad(&SinkPlan{Name: l.Sink, Body: frame}, l.subject)
	for _, b := range l.blocks {
		h.lean(b)
	}
	h.env.Vars = l.env.Vars
	for _, r := range recs {
		h.add(r.Pos, r.Raw, body[r.At:r.At+r.Len])
	}
	h.sealWith(body[last.At+last.Len:])
	if l.Members != nil {
		h.Members = members(recs)
	}
	h.sink, h.replay, h.Lane, h.seq = l.sink, l.replay, l.Lane, l.seq
	if l.replay != nil {
		h.Records, h.Uncertain = 0, false
		for i := range recs {
			if h.takes(recs[i].Pos.Record) {
				h.Records++
			}
		}
	}
	return h
}

// members lists records that are not all of their claim's new ones from the
// first to the last.
func members(recs []spool.Enclosed) ingest.Verdicts {
	var v ingest.VerdictList
	for i := range recs {
		v.AddRun(ingest.Absent, recs[i].Pos.Record-recs[0].Pos.Record-v.Len())
		v.Add(ingest.New)
	}
	return v.Take()
}

// takes reports whether a replayed load decides about a record: its bytes may
// hold more, whose letters were dropped meanwhile.
func (l *load) takes(record int64) (yes bool) {
	c := l.replay
	c.Verdicts.All(func(at, n int64, v ingest.Verdict) bool {
		if first := c.First + at; first <= record && record < first+n {
			yes = v == ingest.New
			return false
		}
		return true
	})
	return yes
}

// request is the load as its sink sees it.
func (l *load) request(pipeline string) *ingest.Request {
	req := &ingest.Request{
		Pipeline: pipeline, Arrival: l.subject.id, Name: l.subject.name, Arrived: l.subject.arrived,
		Key: ingest.Key(l.Key).String(), Records: len(l.env.Records), ContentType: l.env.ContentType, Body: l.env.Body,
		Vars: l.env.Vars, Place: l.Place, PlacePath: l.PlacePath,
	}
	if l.subject.events != nil {
		if req.Event = l.subject.events.of(l.First, l.Last); req.Event == 0 {
			req.Arrival = 0
		}
	}
	return req
}

// letters are the load's records as dead letters.
func (l *load) letters(reason string, ans ingest.Answer, uncertain bool) []ingest.Letter {
	out := make([]ingest.Letter, len(l.env.Records))
	for i, r := range l.env.Records {
		out[i] = ingest.Letter{
			Pos: r.Pos, Stage: ingest.StageDeliver, Sink: l.Sink, Reason: reason,
			Status: ans.Status, Answer: ans.Body, Raw: r.Raw, Uncertain: uncertain,
		}
	}
	return out
}
