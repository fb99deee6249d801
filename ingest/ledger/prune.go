package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// Prune forgets dead letters of before letters, and arrivals that ended and
// were put away before arrivals with their claims, batches and steps; a zero
// time keeps all. It says how many. It works in small pieces between which
// others write, and goes on where it stopped when it is broken off.
//
// What must not be forgotten stays: the memory of keys, which has a time of its
// own; an arrival with dead letters on the list; and the newest arrival of what
// still stands at its source (away: keep), which would be taken up again. The
// bytes and answer of a letter of an arrival that stays are gone; that the
// record died still counts in its books.
func (l *Ledger) Prune(ctx context.Context, arrivals, letters time.Time) (arrivalRows, letterRows int64, err error) {
	if !letters.IsZero() {
		if letterRows, err = l.pruneLetters(ctx, letters); err != nil {
			return 0, letterRows, fmt.Errorf("prune dead letters: %w", err)
		}
	}
	if !arrivals.IsZero() {
		if arrivalRows, err = l.pruneArrivals(ctx, arrivals); err != nil {
			return arrivalRows, letterRows, fmt.Errorf("prune arrivals: %w", err)
		}
	}
	return arrivalRows, letterRows, nil
}

func (l *Ledger) pruneLetters(ctx context.Context, before time.Time) (total int64, err error) {
	const old = " WHERE id IN (SELECT id FROM dead WHERE at < ? AND state <> 'pruned' AND state IN (%s) LIMIT ?)"
	for _, query := range []string{
		"UPDATE dead SET state = 'pruned', raw = x'', answer = ''" + fmt.Sprintf(old, "'dead', 'dropped'"),
		"DELETE FROM dead" + fmt.Sprintf(old, "'replayed'"),
	} {
		n, err := l.inPieces(ctx, deleteRows(query, before.UnixMicro()))
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// prunable are arrivals that may go: the conditions of Prune's promise.
const prunable = `a.put_away = 1 AND a.finished_at < ?
	AND NOT EXISTS (SELECT 1 FROM dead d WHERE d.arrival = a.id AND d.state IN ('dead', 'replaying'))
	AND NOT EXISTS (SELECT 1 FROM claims c WHERE c.arrival = a.id AND c.state = 'open')
	AND NOT EXISTS (SELECT 1 FROM arrivals r WHERE r.replay_of = a.id AND r.finished_at IS NULL)
	AND (a.away <> 'keep' OR a.keep = 1 OR a.source = 'webhook' OR a.replay_of IS NOT NULL OR EXISTS
		(SELECT 1 FROM arrivals b WHERE b.pipeline = a.pipeline AND b.origin = a.origin AND b.id > a.id AND b.replay_of IS NULL))`

func (l *Ledger) pruneArrivals(ctx context.Context, before time.Time) (total int64, err error) {
	var last int64
	for {
		ids, err := l.numbers(ctx, "SELECT a.id FROM arrivals a WHERE "+prunable+" AND a.id > ? ORDER BY a.id LIMIT ?", before.UnixMicro(), last, pieceRows)
		if err != nil {
			return total, err
		}
		for _, id := range ids {
			last = id
			gone, err := l.pruneArrival(ctx, id, before)
			if err != nil {
				return total, err
			}
			if gone {
				total++
			}
		}
		if len(ids) < pieceRows {
			break
		}
	}
	if total == 0 {
		return 0, nil
	}
	_, err = l.inPieces(ctx, deleteRows(`DELETE FROM snapshots WHERE hash IN (SELECT hash FROM snapshots
		WHERE hash NOT IN (SELECT snapshot FROM arrivals WHERE snapshot IS NOT NULL) LIMIT ?)`))
	return total, err
}

// pruneArrival deletes one arrival unless somebody has taken it up meanwhile.
// The first commit says that it is going, so that its books are not doubted
// half way.
func (l *Ledger) pruneArrival(ctx context.Context, id int64, before time.Time) (gone bool, err error) {
	n, err := l.inPieces(ctx, func(t *tx) (int64, error) {
		l.mu.Lock()
		reopened := l.arrivals[id] != nil
		l.mu.Unlock()
		if reopened {
			return 0, nil
		}
		res, err := t.exec("UPDATE arrivals SET pruning = 1 WHERE id = (SELECT a.id FROM arrivals a WHERE "+prunable+" AND a.id = ?)", before.UnixMicro(), id)
		if err != nil {
			return 0, err
		}
		return res.RowsAffected()
	})
	if n == 0 || err != nil {
		return false, err
	}
	for _, table := range []string{"dead", "batches", "claims", "steps"} {
		if _, err := l.inPieces(ctx, deleteRows("DELETE FROM "+table+" WHERE id IN (SELECT id FROM "+table+" WHERE arrival = ? LIMIT ?)", id)); err != nil {
			return false, err
		}
	}
	return true, l.w.do(ctx, func(t *tx) error {
		for _, table := range []string{"receipts", "bundles", "answers"} {
			if _, err := t.exec("DELETE FROM "+table+" WHERE arrival = ?", id); err != nil {
				return err
			}
		}
		_, err := t.exec("DELETE FROM arrivals WHERE id = ?", id)
		return err
	})
}

// numbers reads a list of ids.
func (l *Ledger) numbers(ctx context.Context, query string, args ...any) (out []int64, err error) {
	rows, err := l.readers.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	return out, rows.Err()
}

// Stats is how large a ledger is.
type Stats struct {
	Path     string // of the database
	Bytes    int64  // its size on disk, with its log
	LogBytes int64  // of which the log
	Arrivals int64
	Claims   int64
	Batches  int64
	Letters  int64 // on the list
	Waiting  int64 // records that wait for others
	Keys     int64 // known or pending, in memory
	Scopes   int64
}

// Stats measures the ledger.
func (l *Ledger) Stats(ctx context.Context) (s Stats, err error) {
	s.Path = l.path
	for _, f := range []struct {
		name string
		log  bool
	}{{l.path, false}, {l.path + "-wal", true}} {
		st, err := os.Stat(f.name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return s, fmt.Errorf("measure the ledger: %w", err)
		}
		s.Bytes += st.Size()
		if f.log {
			s.LogBytes = st.Size()
		}
	}
	err = l.readers.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM arrivals), (SELECT count(*) FROM claims), (SELECT count(*) FROM batches),
		(SELECT count(*) FROM dead WHERE state = 'dead'), (SELECT count(*) FROM waiting)`).
		Scan(&s.Arrivals, &s.Claims, &s.Batches, &s.Letters, &s.Waiting)
	if err != nil {
		return s, fmt.Errorf("measure the ledger: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.Scopes = int64(len(l.scopes))
	for _, sc := range l.scopes {
		s.Keys += int64(sc.keys.len())
	}
	return s, nil
}
