package ledger

import (
	"fmt"
	"slices"

	"ingestd/ingest"
)

// A reckoning is what a claim's end changes on disk.
type reckoning struct {
	lives    []ingest.Key // keys that become memory, where that is not all
	rewrite  bool
	later    bool            // its keys are seen in a later era than they were claimed
	letters  []ingest.Letter // followers that died with their leaders
	wait     []*follower     // followers whose leaders are still under way
	released []release       // rows of waiting that end with this claim
	partial  map[ingest.Key][]string
	whole    []ingest.Key // were partial, are delivered everywhere now
}

// finish ends a claim of which nothing is left to settle: its keys become
// memory, less those of its dead, and whoever followed its records ends too.
func (l *Ledger) finish(t *tx, c *claim) error {
	l.mu.Lock()
	done := c.done() && l.claims[c.id] == c
	l.mu.Unlock()
	if !done {
		return nil
	}
	keys, err := l.keysOf(t, c)
	if err != nil {
		return err
	}
	still, err := l.stillDead(t, c)
	if err != nil {
		return err
	}
	for _, f := range c.followers {
		if f.verdict != 0 {
			continue
		}
		if err := l.orphan(t, f); err != nil {
			return err
		}
	}
	l.mu.Lock()
	r := l.reckon(c, keys, still)
	delete(l.claims, c.id)
	a := l.arrivals[c.arrival]
	l.mu.Unlock()
	if err := l.store(t, c, keys, r); err != nil {
		return err
	}
	if a == nil {
		return nil
	}
	t.then(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		a.counts.Add(c.counts)
		a.open--
		a.waiting += len(r.wait)
		if a.open == 0 {
			l.moved()
		}
	})
	return nil
}

// stillDead lists records of a replay that stay dead whatever becomes of it:
// another sink refused them too, and those letters are not part of it.
func (l *Ledger) stillDead(t *tx, c *claim) (map[int64]bool, error) {
	if !c.replay {
		return nil, nil
	}
	rows, err := t.query(`SELECT DISTINCT record FROM dead WHERE arrival = ? AND record BETWEEN ? AND ?
		AND state <> 'replayed' AND NOT (state = 'replaying' AND taken = ?)`, c.arrival, c.first, c.last, c.id)
	if err != nil {
		return nil, fmt.Errorf("look for other dead letters: %w", err)
	}
	defer rows.Close()
	still := map[int64]bool{}
	for rows.Next() {
		var record int64
		if err := rows.Scan(&record); err != nil {
			return nil, fmt.Errorf("look for other dead letters: %w", err)
		}
		still[record] = true
	}
	return still, rows.Err()
}

// reckon changes memory for a claim that ends and says what the disk needs.
// l.mu is held.
func (l *Ledger) reckon(c *claim, keys []ingest.Key, still map[int64]bool) *reckoning {
	r := &reckoning{}
	a := l.arrivals[c.arrival]
	s := c.scope
	now := s.era(l.clock.now())
	tag := eraTag(now)
	r.later = now != s.era(c.seen)
	c.each(keys, func(record int64, k *ingest.Key) {
		deaths := c.dead[record]
		lives := len(deaths) == 0 && !still[record]
		if !lives {
			r.rewrite = true
		}
		if *k == (ingest.Key{}) {
			return
		}
		if lives {
			s.remember(k, tag)
			if s.have(k) != nil {
				delete(s.partial, *k)
				r.whole = append(r.whole, *k)
			}
		} else {
			s.free(c.arrival, k)
			if a != nil && len(deaths) > 0 {
				a.died(*k, deaths[0])
			}
			if have := c.haveElsewhere(deaths, s.have(k)); len(have) > 0 {
				if r.partial == nil {
					r.partial = map[ingest.Key][]string{}
				}
				s.setPartial(*k, have)
				r.partial[*k] = have
			}
		}
		r.release(c, k, deaths)
	})
	if r.rewrite && keys != nil {
		c.each(keys, func(record int64, k *ingest.Key) {
			if len(c.dead[record]) == 0 && !still[record] {
				r.lives = append(r.lives, *k)
			}
		})
	}
	if c.replay {
		c.countReplay(still)
	} else {
		fresh, dead := c.verdicts.Count(ingest.New), int64(len(c.dead))
		c.counts.Delivered += fresh - dead
		c.counts.Dead += dead
	}
	for _, n := range c.had {
		c.counts.Had = max(c.counts.Had, min(n, c.counts.Delivered))
	}
	for _, f := range c.followers {
		switch f.verdict {
		case ingest.Duplicate:
			c.counts.Duplicate++
		case ingest.Dead:
			c.counts.Dead++
			if a != nil {
				a.died(f.Key, f.death)
			}
			r.letters = append(r.letters, ingest.Letter{
				Pos: f.Pos, Stage: f.death.stage, Sink: f.death.sink, Reason: f.death.reason, Raw: f.Raw, Key: f.Key,
			})
		default:
			r.wait = append(r.wait, f)
			s.waits[f.Key] = struct{}{}
		}
	}
	s.unfollow(c, r.wait)
	return r
}

// release ends those who followed one of the claim's records.
func (r *reckoning) release(c *claim, k *ingest.Key, deaths []death) {
	s := c.scope
	if len(s.followers) > 0 {
		for _, f := range s.followers[*k] {
			if len(deaths) > 0 {
				f.dies(deaths[0], c.arrival)
			} else {
				f.verdict = ingest.Duplicate
			}
		}
		delete(s.followers, *k)
	}
	if len(s.waits) == 0 {
		return
	}
	if _, ok := s.waits[*k]; ok {
		delete(s.waits, *k)
		w := waitersOf(s, *k)
		if len(deaths) > 0 {
			w.dead, w.death, w.leader = true, deaths[0], c.arrival
		}
		r.released = append(r.released, w)
	}
}

// countReplay is what a replay of dead letters changes in the books: a record
// gets another outcome unless it died again, or another of its letters is left.
func (c *claim) countReplay(still map[int64]bool) {
	n := &c.counts
	c.verdicts.All(func(at, run int64, v ingest.Verdict) bool {
		for record := c.first + at; record < c.first+at+run; record++ {
			if v == ingest.Absent || len(c.dead[record]) > 0 || still[record] {
				continue
			}
			n.Dead--
			switch v {
			case ingest.New:
				n.Delivered++
			case ingest.Duplicate:
				n.Duplicate++
			case ingest.Filtered:
				n.Filtered++
			}
		}
		return true
	})
}

// haveElsewhere lists the sinks that have a record which is dead at others.
func (c *claim) haveElsewhere(deaths []death, before []string) []string {
	have := slices.Clone(before)
	for _, name := range c.sinks {
		if !slices.Contains(have, name) && !slices.ContainsFunc(deaths, func(d death) bool { return d.sink == name }) {
			have = append(have, name)
		}
	}
	return have
}

func (l *Ledger) store(t *tx, c *claim, keys []ingest.Key, r *reckoning) error {
	now := l.clock.now().UnixMicro()
	if err := l.storeKeys(t, c, keys, r, now); err != nil {
		return err
	}
	for i := range r.letters {
		if err := l.storeLetter(t, c.arrival, c.id, 0, &r.letters[i]); err != nil {
			return err
		}
	}
	if err := l.storeWaiting(t, c, r.wait); err != nil {
		return err
	}
	for _, w := range r.released {
		if err := l.release(t, w); err != nil {
			return err
		}
	}
	n := c.counts
	if _, err := t.exec(`UPDATE claims SET state = 'settled', leaders = NULL, delivered = ?, duplicate = ?, filtered = ?, dead = ?,
		had = ?, followers = ? WHERE id = ?`,
		n.Delivered, n.Duplicate, n.Filtered, n.Dead, n.Had, len(r.wait), c.id); err != nil {
		return fmt.Errorf("settle claim: %w", err)
	}
	if err := dropLanes(t, c); err != nil {
		return err
	}
	if !c.replay {
		return nil
	}
	if _, err := t.exec("UPDATE dead SET state = 'replayed' WHERE taken = ? AND state = 'replaying'", c.id); err != nil {
		return fmt.Errorf("settle replayed letters: %w", err)
	}
	if _, err := t.exec(`UPDATE arrivals SET delivered = delivered + ?, duplicate = duplicate + ?, filtered = filtered + ?,
		dead = dead + ?, had = had + ? WHERE id = ?`,
		n.Delivered, n.Duplicate, n.Filtered, n.Dead, n.Had, c.arrival); err != nil {
		return fmt.Errorf("settle replayed letters: %w", err)
	}
	return oweAgain(t, c.arrival)
}

// storeKeys turns a claim's row of pending keys into memory, or leaves it as it
// is where all of them were delivered in good time.
func (l *Ledger) storeKeys(t *tx, c *claim, keys []ingest.Key, r *reckoning, now int64) (err error) {
	switch {
	case len(keys) == 0:
	case r.rewrite && len(r.lives) == 0:
		_, err = t.exec("DELETE FROM keys WHERE claim = ?", c.id)
	case r.rewrite:
		_, err = t.exec("UPDATE keys SET packed = ?, seen = ? WHERE claim = ?", packKeys(r.lives), now, c.id)
	case r.later:
		_, err = t.exec("UPDATE keys SET seen = ? WHERE claim = ?", now, c.id)
	}
	if err != nil {
		return fmt.Errorf("settle keys: %w", err)
	}
	for k, sinks := range r.partial {
		if _, err := t.exec(`INSERT INTO partial (scope, key, sinks, seen) VALUES (?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET sinks = excluded.sinks, seen = excluded.seen`, c.scope.id, k[:], packNames(sinks), now); err != nil {
			return fmt.Errorf("store a partial key: %w", err)
		}
	}
	for _, k := range r.whole {
		if _, err := t.exec("DELETE FROM partial WHERE scope = ? AND key = ?", c.scope.id, k[:]); err != nil {
			return fmt.Errorf("drop a partial key: %w", err)
		}
	}
	return nil
}
