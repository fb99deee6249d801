package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"ingestd/ingest"
)

// Claim implements ingest.Claims. Numbers are given out at once, so that the
// caller can build on them while the commit is under way.
func (l *Ledger) Claim(in *ingest.Claim, done func(error)) {
	if err := whole(in); err != nil {
		done(fmt.Errorf("claim records %d to %d of arrival %d: %w", in.First, in.Last, in.Arrival, err))
		return
	}
	l.mu.Lock()
	a := l.arrivals[in.Arrival]
	if a == nil && in.Letters == nil {
		l.mu.Unlock()
		done(fmt.Errorf("claim records of arrival %d: it was not begun", in.Arrival))
		return
	}
	l.lastClaim++
	in.ID = l.lastClaim
	c := &claim{
		scope: l.scopeOf(in.Scope),
		id:    in.ID, arrival: in.Arrival, first: in.First, last: in.Last,
		verdicts: in.Verdicts, keys: in.Keys, seen: l.clock.now(), sinks: in.Sinks,
		replay: in.Letters != nil, letters: in.Letters,
		batches: map[int64]*ingest.Batch{},
	}
	if a != nil {
		a.open++
	}
	if c.replay {
		// Records sent again as they were have not been judged.
		slot := c.scope.slot(c.arrival)
		for i := range c.keys {
			c.scope.lead(c.arrival, slot, &c.keys[i])
		}
	} else {
		c.counts = ingest.Counts{
			Records: in.Last - in.First + 1, Duplicate: in.Verdicts.Count(ingest.Duplicate),
			Filtered: in.Verdicts.Count(ingest.Filtered), Dead: in.Verdicts.Count(ingest.Dead),
		}
	}
	for _, name := range in.Sinks {
		if in.Verdicts.Count(ingest.New) > 0 && !slices.ContainsFunc(in.Batches, func(b *ingest.Batch) bool { return b.Sink == name }) {
			c.uncut = append(c.uncut, name)
		}
	}
	c.uncutRow = slices.Clone(c.uncut)
	l.number(a, c, in.Batches)
	for _, f := range in.Followers {
		c.feed(f)
	}
	l.claims[c.id] = c
	l.mu.Unlock()

	if in.OnNumbered != nil {
		if err := in.OnNumbered(); err != nil {
			l.unclaim(c)
			done(err)
			return
		}
	}
	l.w.submit(op{done: done, run: func(t *tx) error {
		err := l.storeClaim(t, c, in)
		if errors.As(err, &refusal{}) {
			l.unclaim(c)
		}
		return err
	}})
}

// whole checks that a claim accounts for each of its records: one that does not
// would lose some.
func whole(in *ingest.Claim) error {
	var n int64
	bad := false
	in.Verdicts.All(func(_, run int64, v ingest.Verdict) bool {
		n += run
		bad = bad || v > ingest.Follow || in.Letters == nil && v == ingest.Absent || in.Letters != nil && (v == ingest.Dead || v == ingest.Follow)
		return true
	})
	fresh := in.Verdicts.Count(ingest.New)
	switch {
	case in.First < 1 || n != in.Last-in.First+1 || bad:
		return fmt.Errorf("it has %d verdicts", n)
	case len(in.Keys) != 0 && int64(len(in.Keys)) != fresh:
		return fmt.Errorf("it has %d keys for %d new records", len(in.Keys), fresh)
	case fresh > 0 && len(in.Sinks) == 0:
		return errors.New("its new records go to no sink")
	case in.Letters != nil:
		return nil // a replay's records go where they are lacking
	case int64(len(in.Dead)) != in.Verdicts.Count(ingest.Dead):
		return fmt.Errorf("it has %d faults for %d dead records", len(in.Dead), in.Verdicts.Count(ingest.Dead))
	case int64(len(in.Followers)) != in.Verdicts.Count(ingest.Follow):
		return fmt.Errorf("it has %d followers for %d that follow", len(in.Followers), in.Verdicts.Count(ingest.Follow))
	}
	return shares(in, in.Batches, true)
}

// shares checks that the batches of each sink hold all new records of a claim,
// or, where none may be, that there are none.
func shares(in *ingest.Claim, batches []*ingest.Batch, none bool) error {
	sent := map[string]int64{}
	for _, b := range batches {
		if !slices.Contains(in.Sinks, b.Sink) {
			return fmt.Errorf("it has a batch for sink %s, to which it does not go", b.Sink)
		}
		if lanes := in.Lanes[b.Sink]; (b.Lane > 0) != (lanes != nil) || b.Lane > maxLane {
			return fmt.Errorf("a batch for sink %s is of lane %d, and the sink has %d records in lanes", b.Sink, b.Lane, len(lanes))
		}
		sent[b.Sink] += int64(b.Records)
	}
	fresh := in.Verdicts.Count(ingest.New)
	for sink, lanes := range in.Lanes {
		if sent[sink] > 0 && int64(len(lanes)) != fresh {
			return fmt.Errorf("it has lanes for %d of its %d new records to sink %s", len(lanes), fresh, sink)
		}
	}
	for sink, n := range sent {
		if n != fresh {
			return fmt.Errorf("the batches for sink %s hold %d of its %d new records", sink, n, fresh)
		}
	}
	if !none && len(sent) == 0 {
		return fmt.Errorf("there is no batch for its %d new records", fresh)
	}
	return nil
}

// unclaim takes back a claim of which nothing was stored.
func (l *Ledger) unclaim(c *claim) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.claims, c.id)
	for i := range c.keys {
		c.scope.free(c.arrival, &c.keys[i])
	}
	c.scope.unfollow(c, c.followers)
	if a := l.arrivals[c.arrival]; a != nil {
		a.open--
		l.moved()
	}
}

// number gives batches their numbers and hangs them on the claim. l.mu is held.
func (l *Ledger) number(a *arrival, c *claim, batches []*ingest.Batch) {
	for _, b := range batches {
		l.lastBatch++
		b.ID, b.Claim, b.Arrival, b.State = l.lastBatch, c.id, c.arrival, ingest.BatchOpen
		if a != nil {
			a.number++
			b.Number = a.number
		}
		c.batches[b.ID] = b
	}
}

func (l *Ledger) storeClaim(t *tx, c *claim, in *ingest.Claim) error {
	if err := l.takeLetters(t, c); err != nil {
		return err
	}
	if err := l.storeScope(t, c.scope); err != nil {
		return fmt.Errorf("store scope: %w", err)
	}
	n := c.counts
	if _, err := t.exec(`INSERT INTO claims (id, arrival, scope, first, last, state, replay, verdicts, sinks, uncut, leaders,
		records, delivered, duplicate, filtered, dead, had, followers)
		VALUES (?, ?, ?, ?, ?, 'open', ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, 0, 0)`,
		c.id, c.arrival, c.scope.id, c.first, c.last, c.replay, []byte(c.verdicts), packNames(c.sinks), names(c.uncutRow),
		packLeaders(c.followers), n.Records, n.Duplicate, n.Filtered, n.Dead); err != nil {
		return fmt.Errorf("store claim: %w", err)
	}
	for _, id := range c.letters {
		if _, err := t.exec("UPDATE dead SET state = 'replaying', taken = ? WHERE id = ?", c.id, id); err != nil {
			return fmt.Errorf("take dead letter %d: %w", id, err)
		}
	}
	if n := len(c.letters); n > 0 {
		what := fmt.Sprintf("dead letters sent again: %d", n)
		if in.Forced {
			what += ", by force: the target may have had some of them"
		}
		if err := step(t, c.arrival, l.now(), what); err != nil {
			return err
		}
	}
	if len(c.keys) > 0 {
		if _, err := t.exec("INSERT INTO keys (claim, scope, seen, packed) VALUES (?, ?, ?, ?)",
			c.id, c.scope.id, c.seen.UnixMicro(), packKeys(c.keys)); err != nil {
			return fmt.Errorf("store keys: %w", err)
		}
	}
	if err := l.storeRenewed(t, c.scope); err != nil {
		return err
	}
	for i := range in.Dead {
		d := &in.Dead[i]
		if err := l.storeLetter(t, c.arrival, c.id, 0, &ingest.Letter{
			Pos: d.Pos, Stage: d.Stage, Reason: d.Reason, Raw: d.Raw, Key: d.Key,
		}); err != nil {
			return err
		}
	}
	if err := l.storeBatches(t, in.Batches); err != nil {
		return err
	}
	for _, sink := range in.Sinks {
		if err := storeLanes(t, c, sink, in.Lanes[sink]); err != nil {
			return err
		}
	}
	l.park(c)
	return l.finish(t, c)
}

// storeRenewed stores which keys were seen again, with the claim that says so.
func (l *Ledger) storeRenewed(t *tx, s *scope) error {
	l.mu.Lock()
	keys := s.renewed
	s.renewed = nil
	l.mu.Unlock()
	if len(keys) == 0 {
		return nil
	}
	if _, err := t.exec("INSERT INTO renewed (scope, seen, packed) VALUES (?, ?, ?)", s.id, l.clock.now().UnixMicro(), packKeys(keys)); err != nil {
		return fmt.Errorf("renew keys: %w", err)
	}
	return nil
}

// takeLetters refuses a claim on letters that are not dead any more: another
// replay has them, or a person dropped them.
func (l *Ledger) takeLetters(t *tx, c *claim) error {
	for _, id := range c.letters {
		var n int
		if err := t.row("SELECT count(*) FROM dead WHERE id = ? AND arrival = ? AND state = 'dead'", []any{id, c.arrival}, &n); err != nil {
			return fmt.Errorf("take dead letter %d: %w", id, err)
		}
		if n == 0 {
			return refuse(fmt.Errorf("replay dead letter %d of arrival %d: it is %w as a dead one (any more)", id, c.arrival, ingest.ErrNotFound))
		}
	}
	return nil
}

func (l *Ledger) storeBatches(t *tx, batches []*ingest.Batch) error {
	for _, b := range batches {
		if b.CreatedAt.IsZero() {
			b.CreatedAt = l.now()
		}
		var path, place, end any
		if b.PlacePath != "" {
			path, place, end = b.PlacePath, b.Place, b.PlaceEnd
		}
		var members any
		if b.Members != nil {
			members = []byte(b.Members)
		}
		if _, err := t.exec(`INSERT INTO batches (id, claim, arrival, sink, number, first, last, records,
			body_hash, idem, state, attempts, uncertain, created_at, place_path, place, place_end, lane, members)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'open', ?, ?, ?, ?, ?, ?, ?, ?)`,
			b.ID, b.Claim, b.Arrival, b.Sink, b.Number, b.First, b.Last, b.Records,
			b.BodyHash[:], b.Key[:], b.Attempts, b.Uncertain, b.CreatedAt.UnixMicro(), path, place, end, b.Lane, members); err != nil {
			return fmt.Errorf("store batch: %w", err)
		}
	}
	return nil
}

func nonNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Cut implements ingest.Claims.
func (l *Ledger) Cut(in *ingest.Claim, sink string, batches []*ingest.Batch, done func(error)) {
	fail := func(err error) { done(fmt.Errorf("cut batches of claim %d for sink %s: %w", in.ID, sink, err)) }
	if err := shares(in, batches, false); err != nil {
		fail(err)
		return
	}
	l.mu.Lock()
	c := l.claims[in.ID]
	if c == nil {
		l.mu.Unlock()
		fail(ingest.ErrNotFound)
		return
	}
	if !slices.Contains(c.uncut, sink) {
		l.mu.Unlock()
		fail(errors.New("they are cut"))
		return
	}
	// At once, so that nobody cuts them again while the commit is under way.
	l.number(l.arrivals[c.arrival], c, batches)
	c.uncut = without(c.uncut, sink)
	l.mu.Unlock()
	l.w.submit(op{done: done, run: func(t *tx) error {
		if err := l.storeBatches(t, batches); err != nil {
			return err
		}
		if err := storeLanes(t, c, sink, in.Lanes[sink]); err != nil {
			return err
		}
		c.uncutRow = without(c.uncutRow, sink)
		if _, err := t.exec("UPDATE claims SET uncut = ? WHERE id = ?", names(c.uncutRow), c.id); err != nil {
			return fmt.Errorf("cut claim: %w", err)
		}
		return l.finish(t, c)
	}})
}

// Settle implements ingest.Claims.
func (l *Ledger) Settle(s *ingest.Settlement, done func(error)) {
	b := s.Batch
	l.mu.Lock()
	c := l.claims[b.Claim]
	if c == nil || c.batches[b.ID] == nil {
		l.mu.Unlock()
		done(fmt.Errorf("settle batch %d: %w among those that are unsettled", b.ID, ingest.ErrNotFound))
		return
	}
	if err := c.accounts(s); err != nil {
		l.mu.Unlock()
		done(fmt.Errorf("settle batch %d: %w", b.ID, err))
		return
	}
	l.number(l.arrivals[c.arrival], c, successors(s))
	l.mu.Unlock()
	l.w.submit(op{done: done, run: func(t *tx) error { return l.settle(t, c, s) }})
}

// accounts checks that a settlement says what became of each record. Letters of
// records that are none of the claim's (a replayed batch holds them too, where
// they were dropped) are left out.
func (c *claim) accounts(s *ingest.Settlement) error {
	switch s.State {
	case ingest.BatchDead, ingest.BatchGivenUp:
		s.Dead = slices.DeleteFunc(s.Dead, func(d ingest.Letter) bool { return c.verdict(d.Pos.Record) != ingest.New })
		if len(s.Dead) != s.Batch.Records {
			return fmt.Errorf("%d dead letters for %d records", len(s.Dead), s.Batch.Records)
		}
	case ingest.BatchSplit:
		if n := s.Halves[0].Records + s.Halves[1].Records; n < s.Batch.Records {
			return fmt.Errorf("its halves hold %d of its %d records", n, s.Batch.Records)
		}
		if s.Halves[0].Lane != s.Batch.Lane || s.Halves[1].Lane != s.Batch.Lane {
			return fmt.Errorf("its halves leave lane %d", s.Batch.Lane)
		}
	case ingest.BatchMixed:
		if s.Rest != nil && s.Rest.Lane != s.Batch.Lane {
			return fmt.Errorf("its rest leaves lane %d", s.Batch.Lane)
		}
		return c.outcomes(s)
	}
	return nil
}

func (l *Ledger) settle(t *tx, c *claim, s *ingest.Settlement) error {
	b := s.Batch
	l.mu.Lock()
	if c.batches[b.ID] == nil { // settled twice
		for _, next := range successors(s) {
			delete(c.batches, next.ID)
		}
		l.mu.Unlock()
		return refuse(fmt.Errorf("settle batch %d: %w among those that are unsettled", b.ID, ingest.ErrNotFound))
	}
	was := c.batches[b.ID].State
	l.mu.Unlock()
	now := l.now()
	var due, tried, settled any
	if s.State == ingest.BatchDue {
		due = s.DueAt.UnixMicro()
		if !s.TriedAt.IsZero() {
			tried = s.TriedAt.UnixMicro()
		}
	} else if s.State.Settled() {
		settled = now.UnixMicro()
	}
	if _, err := t.exec(`UPDATE batches SET state = ?, attempts = ?, uncertain = ?, due_at = ?, tried_at = ?, silence = ?, settled_at = ?,
		status = ?, answer = ?, had = ? WHERE id = ?`,
		stateRow(s.State), s.Attempts, s.Uncertain, due, tried, s.Silence, settled, s.Status, s.Answer, s.Had, b.ID); err != nil {
		return fmt.Errorf("settle batch: %w", err)
	}
	if s.Reply != nil {
		if err := l.answerTo(t, ingest.Ref{Arrival: c.arrival, Event: 1}, s.Reply); err != nil {
			return fmt.Errorf("store the answer: %w", err)
		}
	}
	if s.State == ingest.BatchMixed {
		if _, err := t.exec("UPDATE batches SET outcomes = ? WHERE id = ?", []byte(s.Outcomes), b.ID); err != nil {
			return fmt.Errorf("settle batch: %w", err)
		}
	}
	if s.State == ingest.BatchDue && was == ingest.BatchOpen {
		what := fmt.Sprintf("batch %d to %s put off after try %d: %s", b.Number, b.Sink, s.Attempts, answerText(s.Status, s.Answer))
		if err := step(t, c.arrival, now, what); err != nil {
			return err
		}
	}
	if err := l.storeDeaths(t, c, s); err != nil {
		return err
	}
	if err := l.storeBatches(t, successors(s)); err != nil {
		return err
	}
	l.mu.Lock()
	for _, b := range []*ingest.Batch{b, c.batches[b.ID]} {
		b.State, b.Attempts, b.Uncertain, b.Status, b.Answer = s.State, s.Attempts, s.Uncertain, s.Status, s.Answer
		b.DueAt, b.TriedAt, b.Silence = s.DueAt, s.TriedAt, s.Silence
	}
	var alive bool
	if s.State.Settled() {
		delete(c.batches, b.ID)
		if s.Had {
			c.addHad(b.Sink, int64(b.Records))
		} else if had := s.Outcomes.Count(ingest.Duplicate); had > 0 {
			c.addHad(b.Sink, had)
		}
		if a := l.arrivals[c.arrival]; a != nil && a.first {
			a.first, alive = false, true
		}
	}
	l.mu.Unlock()
	if alive {
		if _, err := t.exec("UPDATE arrivals SET starts = 0 WHERE id = ?", c.arrival); err != nil {
			return fmt.Errorf("settle batch: %w", err)
		}
	}
	return l.finish(t, c)
}

func answerText(status int, answer string) string {
	if status == 0 {
		return answer
	}
	if answer == "" {
		return fmt.Sprint(status)
	}
	return fmt.Sprintf("%d %.200s", status, answer)
}

// packNames is sinks' names as their column has them.
func packNames(s []string) string {
	if len(s) == 0 {
		return "[]"
	}
	b, _ := json.Marshal(s) // strings always encode
	return string(b)
}

func step(t *tx, arrival int64, at time.Time, what string) error {
	if _, err := t.exec("INSERT INTO steps (arrival, at, what) VALUES (?, ?, ?)", arrival, at.UnixMicro(), what); err != nil {
		return fmt.Errorf("note a step: %w", err)
	}
	return nil
}
