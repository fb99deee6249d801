package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"ingestd/ingest"
)

// load reads what must be known before anything is claimed: the keys, which of
// them are pending, and who waits for whom.
func (l *Ledger) load(ctx context.Context, conn *sql.Conn) error {
	var last int64
	err := conn.QueryRowContext(ctx, "SELECT value FROM meta WHERE key = 'clock'").Scan(&last)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	var at time.Time
	if last > 0 {
		at = time.UnixMicro(last)
	}
	l.clock = newClock(l.now(), at)
	for _, step := range []func(context.Context, *sql.Conn) error{
		l.loadScopes, l.loadClaims, l.loadLanes, l.loadKeys, l.loadWaiting,
	} {
		if err := step(ctx, conn); err != nil {
			return err
		}
	}
	return nil
}

// each runs a query and scans every row.
func each(ctx context.Context, conn *sql.Conn, query string, scan func(*sql.Rows) error, args ...any) error {
	rows, err := conn.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (l *Ledger) loadScopes(ctx context.Context, conn *sql.Conn) error {
	return each(ctx, conn, "SELECT id, name FROM scopes ORDER BY id", func(r *sql.Rows) error {
		var id int64
		var name string
		if err := r.Scan(&id, &name); err != nil {
			return err
		}
		l.addScope(id, name)
		return nil
	})
}

func (l *Ledger) loadClaims(ctx context.Context, conn *sql.Conn) error {
	// Not the highest there is: rows are pruned, numbers are never used again.
	for table, last := range map[string]*int64{"claims": &l.lastClaim, "batches": &l.lastBatch} {
		if err := conn.QueryRowContext(ctx, "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = ?", table).Scan(last); err != nil {
			return err
		}
	}
	err := each(ctx, conn, `SELECT id, arrival, scope, first, last, replay, verdicts, sinks, uncut, leaders,
		records, delivered, duplicate, filtered, dead, had FROM claims WHERE state = 'open'`, func(r *sql.Rows) error {
		c := &claim{batches: map[int64]*ingest.Batch{}}
		var scopeID int64
		var sinks string
		var uncut sql.NullString
		n := &c.counts
		if err := r.Scan(&c.id, &c.arrival, &scopeID, &c.first, &c.last, &c.replay, &c.verdicts, &sinks, &uncut, &c.leaders,
			&n.Records, &n.Delivered, &n.Duplicate, &n.Filtered, &n.Dead, &n.Had); err != nil {
			return err
		}
		if c.scope = l.byID[scopeID]; c.scope == nil {
			return fmt.Errorf("claim %d is of scope %d: %w", c.id, scopeID, errContradiction)
		}
		if err := json.Unmarshal([]byte(sinks), &c.sinks); err != nil {
			return fmt.Errorf("sinks of claim %d: %w: %w", c.id, errContradiction, err)
		}
		if uncut.Valid {
			if err := json.Unmarshal([]byte(uncut.String), &c.uncut); err != nil {
				return fmt.Errorf("uncut sinks of claim %d: %w: %w", c.id, errContradiction, err)
			}
		}
		c.uncutRow = slices.Clone(c.uncut)
		c.unfed = c.verdicts.Count(ingest.Follow)
		l.claims[c.id] = c
		return nil
	})
	if err != nil {
		return err
	}
	for _, c := range l.claims {
		if err := each(ctx, conn, "SELECT id FROM dead WHERE taken = ? AND state = 'replaying'", func(r *sql.Rows) error {
			var id int64
			err := r.Scan(&id)
			c.letters = append(c.letters, id)
			return err
		}, c.id); err != nil {
			return err
		}
		// What died in its settled batches decides its keys in the end, dropped
		// letters too.
		if err := each(ctx, conn, "SELECT record, line, col, place, stage, sink, reason FROM dead WHERE claim = ? AND batch > 0 ORDER BY id", func(r *sql.Rows) error {
			var d death
			err := r.Scan(&d.pos.Record, &d.pos.Line, &d.pos.Column, &d.pos.Offset, &d.stage, &d.sink, &d.reason)
			c.died(d.pos.Record, d)
			return err
		}, c.id); err != nil {
			return err
		}
		if err := each(ctx, conn, batchQuery+" WHERE claim = ?", func(r *sql.Rows) error {
			b, had, _, err := scanBatch(r)
			if err != nil {
				return err
			}
			if b.State.Settled() {
				if had > 0 {
					c.addHad(b.Sink, had)
				}
				return nil
			}
			c.batches[b.ID] = b
			return nil
		}, c.id); err != nil {
			return err
		}
	}
	return nil
}

const batchQuery = `SELECT id, claim, arrival, sink, number, first, last, records, body_hash, idem, state,
	attempts, uncertain, created_at, due_at, tried_at, silence, status, answer, had, place_path, place, place_end, lane, members, outcomes FROM batches`

// scanBatch reads a batch, how many of its records the target had before, and
// what became of each where it was answered record by record.
func scanBatch(r *sql.Rows) (b *ingest.Batch, had int64, outcomes ingest.Verdicts, err error) {
	b = &ingest.Batch{}
	var all bool
	var hash, idem []byte
	var created int64
	var due, tried, place, end sql.NullInt64
	var path sql.NullString
	err = r.Scan(&b.ID, &b.Claim, &b.Arrival, &b.Sink, &b.Number, &b.First, &b.Last, &b.Records, &hash, &idem,
		&b.State, &b.Attempts, &b.Uncertain, &created, &due, &tried, &b.Silence, &b.Status, &b.Answer, &all, &path, &place, &end, &b.Lane, (*[]byte)(&b.Members), (*[]byte)(&outcomes))
	if err != nil {
		return nil, 0, nil, err
	}
	switch {
	case outcomes != nil:
		b.State, had = ingest.BatchMixed, outcomes.Count(ingest.Duplicate)
	case all:
		had = int64(b.Records)
	}
	copy(b.BodyHash[:], hash)
	copy(b.Key[:], idem)
	b.CreatedAt = time.UnixMicro(created)
	if due.Valid {
		b.DueAt = time.UnixMicro(due.Int64)
	}
	if tried.Valid {
		b.TriedAt = time.UnixMicro(tried.Int64)
	}
	b.PlacePath, b.Place, b.PlaceEnd = path.String, place.Int64, end.Int64
	return b, had, outcomes, nil
}

// loadKeys fills the key memory: keys are known since they were last seen,
// those of open claims pending unless they are known.
func (l *Ledger) loadKeys(ctx context.Context, conn *sql.Conn) error {
	err := each(ctx, conn, "SELECT claim, scope, seen, packed FROM keys ORDER BY claim", func(r *sql.Rows) error {
		var id, scopeID, seen int64
		var packed sql.RawBytes
		if err := r.Scan(&id, &scopeID, &seen, &packed); err != nil {
			return err
		}
		if l.claims[id] == nil {
			l.remember(scopeID, seen, packed)
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = each(ctx, conn, "SELECT scope, seen, packed FROM renewed ORDER BY id", func(r *sql.Rows) error {
		var scopeID, seen int64
		var packed sql.RawBytes
		if err := r.Scan(&scopeID, &seen, &packed); err != nil {
			return err
		}
		l.remember(scopeID, seen, packed)
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(l.claims)) {
		if err := l.loadPending(ctx, conn, l.claims[id]); err != nil {
			return err
		}
	}
	return each(ctx, conn, "SELECT scope, key, sinks FROM partial", func(r *sql.Rows) error {
		var scopeID int64
		var key []byte
		var sinks string
		if err := r.Scan(&scopeID, &key, &sinks); err != nil {
			return err
		}
		var have []string
		if err := json.Unmarshal([]byte(sinks), &have); err != nil {
			return fmt.Errorf("sinks of a key: %w: %w", errContradiction, err)
		}
		s := l.byID[scopeID]
		if s == nil {
			return fmt.Errorf("a key is of scope %d: %w", scopeID, errContradiction)
		}
		s.setPartial(toKey(key), have)
		return nil
	})
}

func (l *Ledger) loadPending(ctx context.Context, conn *sql.Conn, c *claim) error {
	return each(ctx, conn, "SELECT seen, packed FROM keys WHERE claim = ?", func(r *sql.Rows) error {
		var seen int64
		var packed sql.RawBytes
		if err := r.Scan(&seen, &packed); err != nil {
			return err
		}
		c.seen = time.UnixMicro(seen)
		c.keys = unpackKeys(packed)
		if n := c.verdicts.Count(ingest.New); int64(len(c.keys)) != n {
			return fmt.Errorf("claim %d has %d keys for %d new records: %w", c.id, len(c.keys), n, errContradiction)
		}
		slot := c.scope.slot(c.arrival)
		for i := range c.keys {
			c.scope.lead(c.arrival, slot, &c.keys[i])
		}
		l.park(c)
		return nil
	}, c.id)
}

func (l *Ledger) remember(scopeID, seen int64, packed []byte) {
	s := l.byID[scopeID]
	if s == nil {
		return
	}
	era := s.era(time.UnixMicro(seen))
	if era < s.swept {
		s.late = true
		return
	}
	tag := eraTag(era)
	var k ingest.Key
	for ; len(packed) >= 16; packed = packed[16:] {
		copy(k[:], packed)
		s.keys.put(&k, tag)
	}
}

func (l *Ledger) loadWaiting(ctx context.Context, conn *sql.Conn) error {
	return each(ctx, conn, "SELECT DISTINCT scope, key FROM waiting", func(r *sql.Rows) error {
		var scopeID int64
		var key []byte
		if err := r.Scan(&scopeID, &key); err != nil {
			return err
		}
		s := l.byID[scopeID]
		if s == nil {
			return fmt.Errorf("a waiting record is of scope %d: %w", scopeID, errContradiction)
		}
		s.waits[toKey(key)] = struct{}{}
		return nil
	})
}
