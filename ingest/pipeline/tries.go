package pipeline

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"ingestd/ingest"
)

// send tries one load and settles it or puts it off.
func (q *queue) send(l *load) {
	ctx := q.e.hard
	if err := q.e.unpack(l); err != nil {
		q.lost(l, err)
		return
	}
	req := l.request(q.e.o.Pipeline)
	req.Whole = q.e.awaited(l)
	ans, err := q.o.Sink.Send(ctx, req)
	q.e.reach(AfterSend)
	var mixed *ingest.Mixed
	if err != nil && ctx.Err() != nil && !errors.As(err, &mixed) {
		// Broken off by the stop: not a failure. It stays open in the ledger.
		q.landed(nil)
		q.leave(l)
		return
	}
	var (
		reject *ingest.Reject
		halt   *ingest.Halt
		after  *ingest.RetryAfter
		unsent *ingest.Unsent
	)
	if errors.As(err, &unsent) {
		q.failed(l, setback{
			reason: unsent.Reason, until: unsent.At, unsent: true, long: q.ceiling(unsent.Failures) >= q.o.RetryMax,
		})
		return
	}
	l.Attempts++
	switch {
	case err == nil:
		q.landed(nil)
		q.settle(l, &ingest.Settlement{
			Batch: l.Batch, State: ingest.BatchDelivered, Attempts: l.Attempts, Status: ans.Status, Had: ans.Had,
			Reply: q.e.reply(l, ans),
		})
	case errors.As(err, &mixed):
		q.mixed(l, mixed)
	case errors.As(err, &reject):
		q.refused(l, reject)
	case errors.As(err, &halt):
		q.failed(l, setback{reason: halt.Reason, answer: halt.Answer, until: time.Now().Add(haltDelay(l.fails)), halt: true})
	case errors.As(err, &after):
		q.failed(l, setback{reason: after.Reason, answer: after.Answer, until: after.At, silence: true})
	default:
		q.failed(l, setback{reason: err.Error(), answer: ingest.AnswerOf(err), until: time.Now().Add(q.delay(l.fails))})
	}
}

// A setback is a try that settled nothing.
type setback struct {
	reason  string
	answer  ingest.Answer
	until   time.Time // the next try
	halt    bool      // the sink itself is wrong
	silence bool      // the target asked for silence until then
	unsent  bool      // it was no try at all
	long    bool      // unsent: such waits grow no longer
}

// landed notes that a try is over: bad says what to note of a failure, nil
// that the sink works.
func (q *queue) landed(bad func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.flying--
	q.probing = false
	if bad != nil {
		bad()
	} else if q.e.hard.Err() == nil {
		if q.state != "" {
			q.e.log.Info("the sink works again", "sink", q.o.Name, "after", time.Since(q.since).Round(time.Second))
		}
		q.fails, q.state, q.reason, q.long, q.shut, q.full, q.ailing = 0, "", "", false, time.Time{}, false, nil
	}
	q.wake()
}

// delay is the wait after so many failures in a row: exponential with jitter,
// so that many senders do not come back together.
func (q *queue) delay(fails int) time.Duration {
	top := q.ceiling(fails)
	return top/10 + rand.N(top-top/10)
}

func (q *queue) ceiling(fails int) time.Duration {
	d := q.o.RetryInitial
	for range fails {
		if d *= 2; d >= q.o.RetryMax {
			return q.o.RetryMax
		}
	}
	return min(d, q.o.RetryMax)
}

func haltDelay(fails int) time.Duration {
	return min(haltWait<<min(fails, 10), haltWaitMax)
}

// refused ends a load that the target refused for good: alone it is dead, with
// others it is halved.
func (q *queue) refused(l *load, r *ingest.Reject) {
	if len(l.env.Records) == 1 {
		q.landed(nil)
		q.settle(l, &ingest.Settlement{
			Batch: l.Batch, State: ingest.BatchDead, Attempts: l.Attempts, Status: r.Answer.Status, Answer: r.Answer.Body,
			Dead: l.letters(r.Reason, r.Answer, false), Reply: q.e.reply(l, r.Answer),
		})
		return
	}
	left, right := l.halve(r.TooLarge)
	var salt int64
	if l.replay != nil {
		salt = l.ID // the same halves were refused before, under keys that a target may remember
	}
	for _, h := range []*load{left, right} {
		h.mint(q.e.seed(), salt)
		if err := q.e.place(q.e.hard, h); err != nil {
			left.release()
			right.release()
			q.failed(l, setback{reason: err.Error(), until: time.Now().Add(q.delay(l.fails))})
			return
		}
	}
	q.inherit(l, left, right)
	q.store()
	q.landed(nil)
	q.e.o.Ledger.Settle(&ingest.Settlement{
		Batch: l.Batch, State: ingest.BatchSplit, Attempts: l.Attempts, Status: r.Answer.Status, Answer: r.Answer.Body,
		Halves: [2]*ingest.Batch{left.Batch, right.Batch},
	}, func(err error) {
		if err != nil {
			q.e.broke(err)
			return
		}
		// The halves take the whole's place, its room and its memory: at most
		// log2 of them are out at a time beyond it.
		left.held, l.held = l.held, 0
		left.free, left.parked = l.free, l.parked
		if right.free = true; !l.free {
			select {
			case q.room <- struct{}{}:
				right.free = false
			default:
			}
		}
		if l.replay == nil || l.origin != nil {
			q.e.discard(l)
		}
		l.release()
		q.stored(left, right)
	})
}

// inherit hands a replayed load's bytes in the outbox on to its halves: nobody
// could make them again.
func (q *queue) inherit(l *load, halves ...*load) {
	if l.replay == nil {
		return
	}
	o := l.origin
	if o == nil {
		o = &origin{batch: l.ID}
	}
	for _, h := range halves {
		h.origin = o
		o.refs.Add(1)
	}
}

// store notes that a load's fate is being written.
func (q *queue) store() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.storing++
}

// stored puts loads back at their place in the queue once that is on disk.
func (q *queue) stored(loads ...*load) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.storing--
	q.rests(loads[0])
	for _, l := range slices.Backward(loads) {
		if q.ended {
			q.leave(l)
		} else {
			q.again(l)
		}
	}
	q.wake()
}

// settle ends a load for good.
func (q *queue) settle(l *load, s *ingest.Settlement) {
	q.e.o.Ledger.Settle(s, func(err error) {
		if err != nil {
			q.e.broke(err)
			return
		}
		q.e.reach(AfterSettle)
		if s.State == ingest.BatchGivenUp {
			q.e.disown(l)
		} else {
			q.e.discard(l)
		}
		q.e.replied(l, s.Reply)
		q.passed(l)
		q.leave(l)
	})
}

// failed puts a load off: for seconds in memory, for longer in the outbox and
// the ledger.
func (q *queue) failed(l *load, s setback) {
	now := time.Now()
	switch {
	case s.halt:
		l.tried = time.Time{} // what is refused at the door is not given up
	case s.unsent: // nor is what was not sent
	default:
		l.uncertain = true
		if l.tried.IsZero() {
			l.tried = now
		}
	}
	if s.unsent {
		s.answer = l.last
	} else {
		l.fails++
		l.here = true
		l.last = s.answer
	}
	if !s.halt && !l.tried.IsZero() && q.o.GiveUpAfter > 0 && q.tried(l.tried, now) >= q.o.GiveUpAfter && q.giveUp(l, s) {
		return
	}
	l.due = s.until
	stays := !s.halt && s.until.Sub(now) <= memoryWait
	first := false
	q.landed(func() {
		q.fails++
		several := q.failing(l)
		q.blame(l, s.reason, now)
		state := q.state
		switch {
		case s.halt:
			state = "stopped"
		case (s.silence || s.unsent || (several || l.Lane == 0) && (!stays || q.fails > max(2, q.o.Concurrency))) && state == "":
			state = "retrying"
		}
		if first = state != q.state; first {
			q.since = now
		}
		q.state, q.reason = state, s.reason
		// One batch that fails for long says nothing about the others.
		if (s.halt || s.silence || s.unsent || several || q.strict()) && state != "" && s.until.After(q.shut) {
			q.shut = s.until
		}
		if s.silence && s.until.After(q.silence) {
			q.silence = s.until
		}
		q.long = s.halt || s.long || !s.unsent && q.ceiling(l.fails-1) >= q.o.RetryMax || s.until.Sub(now) > q.o.RetryMax
		q.full = false
		if stays {
			if l.stored {
				q.e.shed(l) // its bytes are in the outbox
			}
			q.rests(l)
			q.again(l)
		} else {
			q.storing++
		}
	})
	if first {
		msg, level := "the sink does not take records; they wait", q.e.log.Warn
		if s.halt {
			msg, level = "the sink is stopped; its records wait", q.e.log.Error
		}
		level(msg, "sink", q.o.Name, "reason", s.reason, "next_try", s.until.Sub(now).Round(time.Millisecond))
	}
	if !stays {
		q.putOff(l, s)
	}
	q.e.poke()
}

// putOff stores a load's bytes and due time, and gives its memory back.
func (q *queue) putOff(l *load, s setback) {
	if err := q.e.pack(l); err != nil {
		// It is open in the ledger and in memory: nothing is lost by that.
		q.e.log.Warn("a batch that was put off stays in memory", "sink", q.o.Name, "error", err)
		q.stored(l)
		return
	}
	due := s.until
	if s.halt {
		due = time.Now() // a new process finds out at once whether it was mended
	}
	q.e.o.Ledger.Settle(&ingest.Settlement{
		Batch: l.Batch, State: ingest.BatchDue, Attempts: l.Attempts, Status: s.answer.Status, Answer: cmp.Or(s.answer.Body, s.reason),
		DueAt: due, TriedAt: l.tried, Silence: s.silence, Uncertain: l.uncertain,
	}, func(err error) {
		if err != nil {
			q.e.broke(err)
			return
		}
		q.stored(l)
	})
}

// giveUp makes a load's records dead though their fate is unknown. Its bytes
// stay in the outbox, for a replay under the same key; where that takes no
// more, it is not given up yet.
func (q *queue) giveUp(l *load, s setback) bool {
	if err := q.e.store(l); err != nil {
		q.e.log.Warn("a batch that would be given up is tried on", "sink", q.o.Name, "error", err)
		return false
	}
	q.landed(func() { q.fails++ })
	q.settle(l, &ingest.Settlement{
		Batch: l.Batch, State: ingest.BatchGivenUp, Attempts: l.Attempts, Status: s.answer.Status, Answer: cmp.Or(s.answer.Body, s.reason),
		Uncertain: true, Dead: l.letters("given up: "+s.reason, s.answer, true),
	})
	return true
}

// lost handles bytes that cannot be got back from the outbox. They are made
// again from the arrival; a replay's cannot be, and its records stay dead.
func (q *queue) lost(l *load, err error) {
	q.landed(func() {})
	if l.replay != nil {
		q.e.log.Error("a replayed batch cannot be read from the outbox; its records stay dead", "sink", q.o.Name, "batch", l.ID, "error", err)
		q.settle(l, unreadable(l, err))
		return
	}
	q.e.log.Error("a batch cannot be read from the outbox; its arrival is read again", "sink", q.o.Name, "batch", l.ID, "error", err)
	q.e.discard(l)
	q.passed(l)
	q.leave(l)
	q.e.fail(l.subject.id, err)
}

// unreadable settles a replayed batch whose bytes are lost: its records are
// known by their ordinals alone.
func unreadable(l *load, err error) *ingest.Settlement {
	s := &ingest.Settlement{Batch: l.Batch, State: ingest.BatchDead, Attempts: l.Attempts, Answer: err.Error(), Uncertain: l.uncertain}
	if l.uncertain {
		s.State = ingest.BatchGivenUp
	}
	holds := l.Holds()
	for k := l.First; k <= l.Last; k++ {
		if holds(k) && l.takes(k) {
			s.Dead = append(s.Dead, ingest.Letter{
				Pos: ingest.Position{Record: k, Offset: -1}, Stage: ingest.StageDeliver, Sink: l.Sink,
				Reason: "its bytes are lost: " + err.Error(), Uncertain: l.uncertain,
			})
		}
	}
	return s
}
