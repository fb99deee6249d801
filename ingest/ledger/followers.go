package ledger

import (
	"cmp"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"ingestd/ingest"
)

// A follower is a record of an open claim that waits for the one that leads its
// key. When its claim is settled first, it becomes a row of waiting.
type follower struct {
	ingest.Follower
	claim   *claim
	verdict ingest.Verdict // 0 while it waits
	death   death
}

// feed hangs a follower on an open claim and resolves it where its leader was
// settled meanwhile. l.mu is held.
func (c *claim) feed(in ingest.Follower) {
	f := &follower{Follower: in, claim: c}
	c.followers = append(c.followers, f)
	tag := c.scope.keys.get(&f.Key)
	if tag >= tagEra {
		f.verdict = ingest.Duplicate
		return
	}
	if leader := c.scope.leader(&f.Key, tag); leader != 0 {
		f.Leader = leader
	} // else it gave up or is dead: another may lead before the claim's end asks
	c.scope.followers[f.Key] = append(c.scope.followers[f.Key], f)
}

// Follow implements ingest.Claims.
func (l *Ledger) Follow(id int64, fs []ingest.Follower, done func(error)) {
	l.w.submit(op{done: done, run: func(t *tx) error {
		l.mu.Lock()
		c := l.claims[id]
		if c == nil {
			l.mu.Unlock()
			return nil
		}
		byRecord := func(f *follower, record int64) int { return cmp.Compare(f.Pos.Record, record) }
		known := len(c.followers)
		for _, f := range fs {
			if _, ok := slices.BinarySearchFunc(c.followers[:known], f.Pos.Record, byRecord); ok || c.verdict(f.Pos.Record) != ingest.Follow {
				continue
			}
			if f.Leader == 0 {
				f.Leader = c.leaderOf(f.Pos.Record)
			}
			c.feed(f)
		}
		c.unfed = max(0, c.unfed-int64(len(c.followers)-known))
		slices.SortFunc(c.followers, func(a, b *follower) int { return byRecord(a, b.Pos.Record) })
		l.mu.Unlock()
		return l.finish(t, c)
	}})
}

// orphan decides on a follower whose key nobody leads any more. Its leader is
// dead; or it was delivered, and its key expired or was forgotten since; or it
// gave its lead back and may take it again; or it is gone for good.
func (l *Ledger) orphan(t *tx, f *follower) error {
	s := f.claim.scope
	l.mu.Lock()
	tag := s.keys.get(&f.Key)
	leader, late := s.leader(&f.Key, tag), s.late
	l.mu.Unlock()
	switch {
	case pending(tag):
		f.Leader = leader // may be another by now
		return nil
	case tag >= tagEra:
		f.verdict = ingest.Duplicate
		return nil
	}
	var d death
	err := t.row("SELECT record, line, stage, sink, reason FROM dead WHERE key = ? AND arrival = ? ORDER BY id LIMIT 1",
		[]any{f.Key[:], f.Leader}, &d.pos.Record, &d.pos.Line, &d.stage, &d.sink, &d.reason)
	if err == nil {
		f.dies(d, f.Leader)
		return nil
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("look up the record that another waits for: %w", err)
	}
	had := f.Leader == f.claim.arrival // was claimed before it, and is not dead
	if !had && late {
		if err := t.row(`SELECT EXISTS (SELECT 1 FROM claims c JOIN keys k ON k.claim = c.id
			WHERE c.arrival = ? AND c.state = 'settled' AND instr(k.packed, ?) % 16 = 1)`, []any{f.Leader, f.Key[:]}, &had); err != nil {
			return fmt.Errorf("look for an expired key: %w", err)
		}
	}
	if had {
		f.verdict = ingest.Duplicate
		return nil
	}
	var ended bool
	err = t.row("SELECT finished_at IS NOT NULL FROM arrivals WHERE id = ?", []any{f.Leader}, &ended)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("look up the arrival that a record waits for: %w", err)
	}
	if err != nil || ended {
		f.verdict, f.death = ingest.Dead, death{pos: f.Pos, stage: ingest.StageDeliver, reason: neverFinished(f.Leader)}
	}
	return nil
}

// dies gives the follower its leader's fate.
func (f *follower) dies(d death, leader int64) {
	of := ""
	if leader != f.claim.arrival {
		of = ofArrival(leader)
	}
	f.verdict, f.death = ingest.Dead, death{pos: f.Pos, stage: d.stage, sink: d.sink, reason: shared(d, of)}
}

// shared says of which record another shares the fate.
func shared(d death, of string) string {
	return fmt.Sprintf("same key as line %d%s, which is dead: %s", d.pos.Line, of, d.reason)
}

func ofArrival(id int64) string { return fmt.Sprintf(" of arrival %d", id) }

func neverFinished(leader int64) string {
	return fmt.Sprintf("the record with the same key in arrival %d, which it waited for, was never finished", leader)
}

// storeWaiting makes rows of followers whose leaders are still under way.
func (l *Ledger) storeWaiting(t *tx, c *claim, fs []*follower) error {
	for _, f := range fs {
		if _, err := t.exec(`INSERT INTO waiting (scope, key, arrival, claim, record, line, col, place, leader, raw)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			c.scope.id, f.Key[:], c.arrival, c.id, f.Pos.Record, f.Pos.Line, f.Pos.Column, f.Pos.Offset, f.Leader, nonNil(f.Raw)); err != nil {
			return fmt.Errorf("store a waiting record: %w", err)
		}
	}
	return nil
}

// A verdict on rows of waiting.
type release struct {
	where string // which rows
	args  []any
	dead  bool
	death death
	// leader is the arrival of the record that died; followers of the same
	// arrival are told its line alone. 0: reason says it all.
	leader int64
}

// waitersOf are the rows that wait for a key.
func waitersOf(s *scope, k ingest.Key) release {
	return release{where: "scope = ? AND key = ?", args: []any{s.id, k[:]}}
}

// release ends waiting rows, however many, in a few statements.
func (l *Ledger) release(t *tx, r release) error {
	gone, err := l.waiters(t, r)
	if err != nil || len(gone) == 0 {
		return err
	}
	column := "duplicate"
	if r.dead {
		column = "dead"
		own, other := r.death.reason, r.death.reason
		if r.leader != 0 {
			own, other = shared(r.death, ""), shared(r.death, ofArrival(r.leader))
		}
		args := append([]any{string(r.death.stage), r.death.sink, r.leader, own, other, l.now().UnixMicro()}, r.args...)
		if _, err := t.exec(`INSERT INTO dead (arrival, claim, record, line, col, place, stage, sink, reason, raw, key, at)
			SELECT arrival, claim, record, line, col, place, ?, ?, CASE WHEN arrival = ? THEN ? ELSE ? END, raw, key, ?
			FROM waiting WHERE `+r.where+" ORDER BY id", args...); err != nil {
			return fmt.Errorf("end waiting records: %w", err)
		}
	}
	if _, err := t.exec("UPDATE claims SET "+column+" = "+column+` + w.n, followers = followers - w.n
		FROM (SELECT claim, count(*) AS n FROM waiting WHERE `+r.where+" GROUP BY claim) AS w WHERE claims.id = w.claim", r.args...); err != nil {
		return fmt.Errorf("end waiting records: %w", err)
	}
	if _, err := t.exec("DELETE FROM waiting WHERE "+r.where, r.args...); err != nil {
		return fmt.Errorf("end waiting records: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, g := range gone {
		a := l.arrivals[g.arrival]
		if a == nil {
			continue
		}
		if r.dead {
			a.died(g.key, g.death)
		}
		t.then(func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			a.waiting -= g.n
			if r.dead {
				a.counts.Dead += int64(g.n)
			} else {
				a.counts.Duplicate += int64(g.n)
			}
			l.moved()
		})
	}
	return nil
}

// waiters are an arrival's records that are released together.
type waiters struct {
	arrival int64
	key     ingest.Key
	n       int
	death   death // of the first
}

func (l *Ledger) waiters(t *tx, r release) (out []waiters, err error) {
	rows, err := t.query("SELECT arrival, key, count(*), min(record), min(line) FROM waiting WHERE "+r.where+" GROUP BY arrival, key", r.args...)
	if err != nil {
		return nil, fmt.Errorf("find waiting records: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var g waiters
		var key []byte
		if err := rows.Scan(&g.arrival, &key, &g.n, &g.death.pos.Record, &g.death.pos.Line); err != nil {
			return nil, fmt.Errorf("find waiting records: %w", err)
		}
		g.key = toKey(key)
		g.death.stage, g.death.sink, g.death.reason = r.death.stage, r.death.sink, r.death.reason
		out = append(out, g)
	}
	return out, rows.Err()
}

// abandon ends the records of others that wait for one of this arrival which
// was never claimed: it has ended and will not come any more. Where another
// arrival leads their key by now, they wait for that.
func (l *Ledger) abandon(t *tx, id int64) error {
	type left struct {
		scope *scope
		key   ingest.Key
	}
	var all []left
	rows, err := t.query("SELECT DISTINCT scope, key FROM waiting WHERE leader = ?", id)
	if err != nil {
		return fmt.Errorf("find those who wait for arrival %d: %w", id, err)
	}
	defer rows.Close()
	for rows.Next() {
		var scopeID int64
		var key []byte
		if err := rows.Scan(&scopeID, &key); err != nil {
			return fmt.Errorf("find those who wait for arrival %d: %w", id, err)
		}
		l.mu.Lock()
		all = append(all, left{l.byID[scopeID], toKey(key)})
		l.mu.Unlock()
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("find those who wait for arrival %d: %w", id, err)
	}
	for _, w := range all {
		l.mu.Lock()
		tag := w.scope.keys.get(&w.key)
		leader := w.scope.leader(&w.key, tag)
		l.mu.Unlock()
		if leader == id {
			continue // a replay that is not settled
		}
		if leader != 0 {
			if _, err := t.exec("UPDATE waiting SET leader = ? WHERE scope = ? AND key = ? AND leader = ?", leader, w.scope.id, w.key[:], id); err != nil {
				return fmt.Errorf("hand waiting records on: %w", err)
			}
			continue
		}
		r := waitersOf(w.scope, w.key)
		r.where += " AND leader = ?"
		r.args = append(r.args, id)
		if tag < tagEra {
			r.dead, r.death = true, death{stage: ingest.StageDeliver, reason: neverFinished(id)}
		}
		if err := l.release(t, r); err != nil {
			return err
		}
	}
	return nil
}
