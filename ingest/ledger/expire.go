package ledger

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// noteEvery is how often the clock is stored.
const noteEvery = 10 * time.Minute

// expire forgets keys that were not seen for as long as their scope keeps
// them: whole eras, in memory shard by shard, on disk in small pieces.
func (l *Ledger) expire(ctx context.Context) {
	now := l.clock.now()
	l.mu.Lock()
	scopes := slices.Collect(maps.Values(l.scopes))
	l.mu.Unlock()
	for _, s := range scopes {
		if drop := l.dropped(s, now); drop != nil {
			for i := range s.keys.shards {
				l.mu.Lock()
				s.keys.expire(i, drop)
				l.mu.Unlock()
			}
		}
		if before, ok := l.sweepable(s); ok {
			l.sweep(ctx, s, before)
		}
	}
}

// dropped says which tags' keys have expired in a scope since it was asked last;
// nil where there are none.
func (l *Ledger) dropped(s *scope, now time.Time) *[256]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	oldest := s.oldest(now)
	if s.keep <= 0 || oldest <= s.swept {
		return nil
	}
	drop := &[256]bool{}
	for era := max(s.swept, oldest-eraTags); era < oldest; era++ {
		drop[eraTag(era)] = true
	}
	for era := oldest; era <= s.era(now); era++ {
		drop[eraTag(era)] = false
	}
	s.swept, s.unswept = oldest, time.UnixMicro(oldest*s.eraLen().Microseconds())
	return drop
}

// sweepable says before which time a scope's rows can be deleted. They stay
// while a claim with followers is open: after a crash these ask again what
// became of their leaders.
func (l *Ledger) sweepable(s *scope) (before time.Time, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.claims {
		if c.scope == s && (c.unfed > 0 || len(c.followers) > 0) {
			return before, false
		}
	}
	s.late = false
	before, s.unswept = s.unswept, time.Time{}
	return before, !before.IsZero()
}

// note stores the clock and moves the epoch on, first in the ledger and then in
// the mark, so that a copy of the ledger that is older than this is told from
// it.
func (l *Ledger) note(now time.Time) {
	epoch := l.epoch + 1
	noted := make(chan error, 1)
	l.w.submit(op{done: func(err error) { noted <- err }, run: func(t *tx) error {
		if _, err := t.exec("UPDATE meta SET value = ? WHERE key = 'epoch'", epoch); err != nil {
			return fmt.Errorf("move the epoch on: %w", err)
		}
		return l.storeClock(t, now)
	}})
	if <-noted != nil {
		return // the ledger is closed or broken, and says so to those who ask
	}
	l.epoch = epoch
	if err := writeMark(l.opts.Dir, l.seedSum(), epoch); err != nil {
		l.opts.Logger.Warn("the ledger's mark stays behind; an older copy of the ledger would not be noticed", "error", err)
	}
}

func (l *Ledger) storeClock(t *tx, now time.Time) error {
	if _, err := t.exec("INSERT INTO meta (key, value) VALUES ('clock', ?) ON CONFLICT DO UPDATE SET value = excluded.value", now.UnixMicro()); err != nil {
		return fmt.Errorf("store the clock: %w", err)
	}
	return nil
}

// pieceRows bounds the rows that one commit deletes, so that none takes long.
const pieceRows = 500

// inPieces carries a deletion out, piece by piece, until one has less than
// pieceRows rows. Others write between them.
func (l *Ledger) inPieces(ctx context.Context, piece func(t *tx) (int64, error)) (total int64, err error) {
	for {
		found := make(chan int64, 1)
		if err := l.w.do(ctx, func(t *tx) error {
			n, err := piece(t)
			found <- n
			return err
		}); err != nil {
			return total, err
		}
		n := <-found
		if total += n; n < pieceRows {
			return total, nil
		}
	}
}

// deleteRows is a piece of a statement whose last parameter is pieceRows.
func deleteRows(query string, args ...any) func(t *tx) (int64, error) {
	return func(t *tx) (int64, error) {
		res, err := t.exec(query, append(args[:len(args):len(args)], pieceRows)...)
		if err != nil {
			return 0, err
		}
		return res.RowsAffected()
	}
}

// sweep deletes a scope's key rows that were written before cutoff. Keys of
// open claims stay pending however old they are. An error is the writer's, and
// known to all.
func (l *Ledger) sweep(ctx context.Context, s *scope, cutoff time.Time) {
	for _, piece := range []func(t *tx) (int64, error){
		deleteRows(`DELETE FROM keys WHERE claim IN (SELECT claim FROM keys WHERE scope = ? AND seen < ?
			AND claim NOT IN (SELECT id FROM claims WHERE state = 'open') LIMIT ?)`, s.id, cutoff.UnixMicro()),
		deleteRows("DELETE FROM renewed WHERE id IN (SELECT id FROM renewed WHERE scope = ? AND seen < ? LIMIT ?)", s.id, cutoff.UnixMicro()),
		func(t *tx) (int64, error) { return l.sweepPartial(t, s, cutoff) },
	} {
		if _, err := l.inPieces(ctx, piece); err != nil {
			return
		}
	}
}

func (l *Ledger) sweepPartial(t *tx, s *scope, cutoff time.Time) (n int64, err error) {
	rows, err := t.query(`DELETE FROM partial WHERE (scope, key) IN
		(SELECT scope, key FROM partial WHERE scope = ? AND seen < ? LIMIT ?) RETURNING key`, s.id, cutoff.UnixMicro(), pieceRows)
	if err != nil {
		return 0, fmt.Errorf("forget old keys: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var key []byte
		if err := rows.Scan(&key); err != nil {
			return 0, fmt.Errorf("forget old keys: %w", err)
		}
		l.mu.Lock()
		delete(s.partial, toKey(key))
		l.mu.Unlock()
		n++
	}
	return n, rows.Err()
}
