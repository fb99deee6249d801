package pipeline

import (
	"cmp"
	"fmt"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/spool"
)

// A deal is what becomes of a load whose target answered record by record.
type deal struct {
	outcomes ingest.Verdicts
	dead     []ingest.Letter
	rest     []spool.Enclosed // to be sent again
	taken    int
	had      int
	last     *ingest.RecordAnswer // about one of the rest
}

// deal sorts a load's records by the target's answers. over says that patience
// with those that are to be sent again is at its end.
func (l *load) deal(m *ingest.Mixed, over bool) deal {
	var d deal
	var v ingest.VerdictList
	for i := range l.env.Records {
		rec, ans := &l.env.Records[i], &m.Records[i]
		if l.replay != nil && !l.takes(rec.Pos.Record) {
			continue // its letter was dropped meanwhile
		}
		v.AddRun(ingest.Absent, rec.Pos.Record-l.First-v.Len())
		fate, reason := ans.Fate, ans.Reason
		if fate == ingest.FateAgain && over {
			fate, reason = ingest.FateUnknown, "given up: "+reason
		}
		switch fate {
		case ingest.FateDelivered:
			v.Add(ingest.New)
			d.taken++
		case ingest.FateHad:
			v.Add(ingest.Duplicate)
			d.had++
		case ingest.FateAgain:
			v.Add(ingest.Follow)
			d.rest = append(d.rest, *rec)
			d.last = ans
		default:
			v.Add(ingest.Dead)
			d.dead = append(d.dead, ingest.Letter{
				Pos: rec.Pos, Stage: ingest.StageDeliver, Sink: l.Sink, Reason: cmp.Or(reason, "no result"),
				Status: ans.Status, Answer: ans.Body, Raw: rec.Raw, Uncertain: fate != ingest.FateRefused,
			})
		}
	}
	v.AddRun(ingest.Absent, l.Last-l.First+1-v.Len())
	d.outcomes = v.Take()
	return d
}

// mixed settles a load whose target answered record by record: each record has
// its own end, and those that are to be sent again go on in a batch of their
// own, under a key of its own.
func (q *queue) mixed(l *load, m *ingest.Mixed) {
	now := time.Now()
	if len(m.Records) != len(l.env.Records) {
		q.failed(l, setback{
			reason: fmt.Sprintf("the sink has %d results for %d records (a bug)", len(m.Records), len(l.env.Records)),
			answer: m.Answer, until: now.Add(q.delay(l.fails)),
		})
		return
	}
	tried := l.tried
	if tried.IsZero() {
		tried = now
	}
	d := l.deal(m, q.o.GiveUpAfter > 0 && q.tried(tried, now) >= q.o.GiveUpAfter)
	s := &ingest.Settlement{Batch: l.Batch, State: ingest.BatchMixed, Attempts: l.Attempts, Status: m.Answer.Status, Answer: m.Answer.Body}
	switch {
	case len(d.rest) > 0:
		q.remain(l, m, d, s, tried)
		return
	case d.taken+d.had == 0:
		s.State, s.Dead = ingest.BatchDead, d.dead
	case len(d.dead) == 0 && (d.taken == 0 || d.had == 0):
		s.State, s.Had = ingest.BatchDelivered, d.taken == 0
	default:
		s.Dead, s.Outcomes = d.dead, d.outcomes
	}
	q.landed(nil)
	q.settle(l, s)
}

// remain settles what a target decided about and queues the rest, once that is
// on disk.
func (q *queue) remain(l *load, m *ingest.Mixed, d deal, s *ingest.Settlement, tried time.Time) {
	rest := l.cut(d.rest)
	rest.Members = members(d.rest)
	rest.tried, rest.fails, rest.Attempts = tried, l.fails, l.Attempts
	// So that a new process has the patience that is left.
	rest.CreatedAt, rest.Uncertain, rest.uncertain = tried, true, true
	rest.mint(q.e.seed(), l.ID)
	b := setback{
		reason: d.last.Reason, answer: ingest.Answer{Status: d.last.Status, Body: d.last.Body},
		until: time.Now().Add(q.delay(l.fails)),
	}
	if m.Later != nil {
		b.until, b.silence = m.Later.At, true
	}
	if err := q.e.place(q.e.hard, rest); err != nil {
		rest.release()
		b.reason = err.Error()
		q.failed(l, b)
		return
	}
	q.inherit(l, rest)
	s.Dead, s.Outcomes, s.Rest = d.dead, d.outcomes, rest.Batch
	committed := make(chan error, 1)
	q.e.o.Ledger.Settle(s, func(err error) { committed <- err })
	if err := <-committed; err != nil {
		q.landed(func() {})
		q.e.broke(err)
		return
	}
	// The rest takes the whole's place, its room and its memory.
	rest.held, l.held = l.held, 0
	rest.free, rest.parked = l.free, l.parked
	if l.replay == nil || l.origin != nil {
		q.e.discard(l)
	}
	l.release()
	if d.taken+d.had+len(d.dead) == 0 {
		q.failed(rest, b)
		return
	}
	// The sink works: one record that has to wait keeps nobody waiting.
	q.landed(nil)
	q.e.moving()
	rest.fails++
	rest.here = true
	rest.due = b.until
	stays := time.Until(b.until) <= memoryWait
	q.mu.Lock()
	q.blame(rest, b.reason, time.Now())
	if b.silence && b.until.After(q.silence) {
		q.silence = b.until
	}
	q.storing++
	q.mu.Unlock()
	if stays {
		q.stored(rest)
	} else {
		q.putOff(rest, b)
	}
	q.e.poke()
}
