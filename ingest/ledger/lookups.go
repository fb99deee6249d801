package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"ingestd/ingest"
)

// open is the claim as the engine gets it back. Its keys stay with the ledger.
func (c *claim) open() *ingest.OpenClaim {
	o := &ingest.OpenClaim{Claim: ingest.Claim{
		ID: c.id, Arrival: c.arrival, Scope: c.scope.name, First: c.first, Last: c.last, Verdicts: c.verdicts,
		Sinks: c.sinks, Letters: c.letters,
	}, Uncut: slices.Clone(c.uncut)}
	for _, b := range c.batches {
		o.Batches = append(o.Batches, b)
	}
	slices.SortFunc(o.Batches, func(a, b *ingest.Batch) int { return cmp.Compare(a.ID, b.ID) })
	return o
}

func sortOpen(o []*ingest.OpenClaim) {
	slices.SortFunc(o, func(a, b *ingest.OpenClaim) int { return cmp.Compare(a.First, b.First) })
}

// prepared returns a statement of the readers that is asked for again and again:
// for each arrival, not for a person's screen.
func (l *Ledger) prepared(ctx context.Context, query string) (*sql.Stmt, error) {
	l.stmtMu.Lock()
	defer l.stmtMu.Unlock()
	if s := l.stmts[query]; s != nil {
		return s, nil
	}
	s, err := l.readers.PrepareContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("prepare a query: %w", err)
	}
	if l.stmts == nil {
		l.stmts = map[string]*sql.Stmt{}
	}
	l.stmts[query] = s
	return s, nil
}

// list reads arrivals through a reader's connection.
func (l *Ledger) list(ctx context.Context, where string, args ...any) ([]ingest.Arrival, error) {
	rows, err := l.readers.QueryContext(ctx, arrivalQuery+" "+where, args...)
	if err != nil {
		return nil, fmt.Errorf("list arrivals: %w", err)
	}
	defer rows.Close()
	var out []ingest.Arrival
	for rows.Next() {
		a, err := scanArrival(rows)
		if err != nil {
			return nil, fmt.Errorf("list arrivals: %w", err)
		}
		out = append(out, a)
	}
	return out, rows.Err()
}

// Unfinished implements ingest.Lookups.
func (l *Ledger) Unfinished(ctx context.Context, pipeline string) ([]ingest.Arrival, error) {
	return l.list(ctx, "WHERE a.pipeline = ? AND a.put_away = 0 ORDER BY a.id", pipeline)
}

// SameSize implements ingest.Lookups.
func (l *Ledger) SameSize(ctx context.Context, scopeName string, size, before int64) (some bool, running []int64, err error) {
	l.mu.Lock()
	id := l.scopeOf(scopeName).id
	l.mu.Unlock()
	s, err := l.prepared(ctx, "SELECT id FROM arrivals WHERE scope = ? AND size = ? AND state = 'running' AND id < ? ORDER BY id DESC")
	if err != nil {
		return false, nil, err
	}
	rows, err := s.QueryContext(ctx, id, size, before)
	if err != nil {
		return false, nil, fmt.Errorf("look for arrivals of the same size: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return false, nil, fmt.Errorf("look for arrivals of the same size: %w", err)
		}
		running = append(running, id)
	}
	if err := rows.Err(); err != nil {
		return false, nil, fmt.Errorf("look for arrivals of the same size: %w", err)
	}
	s, err = l.prepared(ctx, "SELECT EXISTS (SELECT 1 FROM arrivals WHERE scope = ? AND size = ? AND state = 'done')")
	if err == nil {
		err = s.QueryRowContext(ctx, id, size).Scan(&some)
	}
	if err != nil {
		return false, nil, fmt.Errorf("look for arrivals of the same size: %w", err)
	}
	return some, running, nil
}

// SameContent implements ingest.Lookups.
func (l *Ledger) SameContent(ctx context.Context, scopeName string, size int64, sha256 []byte) (same bool, err error) {
	l.mu.Lock()
	id := l.scopeOf(scopeName).id
	l.mu.Unlock()
	s, err := l.prepared(ctx, `SELECT EXISTS (SELECT 1 FROM arrivals
		WHERE scope = ? AND size = ? AND sha256 = ? AND state = 'done' AND dead = 0)`)
	if err == nil {
		err = s.QueryRowContext(ctx, id, size, sha256).Scan(&same)
	}
	if err != nil {
		return false, fmt.Errorf("look for arrivals of the same content: %w", err)
	}
	return same, nil
}

// Partly implements ingest.Lookups.
func (l *Ledger) Partly(ctx context.Context, scopeName string, size int64, sha256 []byte) (arrival int64, err error) {
	l.mu.Lock()
	id := l.scopeOf(scopeName).id
	l.mu.Unlock()
	s, err := l.prepared(ctx, `SELECT coalesce(max(id), 0) FROM arrivals
		WHERE scope = ? AND size = ? AND sha256 = ? AND state = 'done' AND dead > 0`)
	if err == nil {
		err = s.QueryRowContext(ctx, id, size, sha256).Scan(&arrival)
	}
	if err != nil {
		return 0, fmt.Errorf("look for arrivals of the same content: %w", err)
	}
	return arrival, nil
}

// Known implements ingest.Lookups.
func (l *Ledger) Known(ctx context.Context, pipeline, origin string, size int64, mtime time.Time) (bool, error) {
	var n int
	err := l.readers.QueryRowContext(ctx, `SELECT count(*) FROM (SELECT 1 FROM arrivals
		WHERE pipeline = ? AND origin = ? AND size = ? AND mtime = ? AND replay_of IS NULL LIMIT 1)`,
		pipeline, []byte(origin), size, mtime.UnixNano()).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("look for an arrival's origin: %w", err)
	}
	return n > 0, nil
}

// wait blocks until ready says so; it is asked again whenever an arrival moves
// on.
func (l *Ledger) wait(ctx context.Context, ready func() bool) error {
	for {
		l.mu.Lock()
		ok, changed := ready(), l.changed
		l.mu.Unlock()
		if ok {
			return nil
		}
		if err := l.sleep(ctx, changed); err != nil {
			return err
		}
	}
}

// sleep waits for changed to be closed.
func (l *Ledger) sleep(ctx context.Context, changed <-chan struct{}) error {
	select {
	case <-changed:
		return nil
	case <-l.w.stop:
		if err := l.Err(); err != nil {
			return err
		}
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Settled implements ingest.Lookups.
func (l *Ledger) Settled(ctx context.Context, id int64) (n ingest.Counts, err error) {
	err = l.wait(ctx, func() bool {
		a := l.arrivals[id]
		if a == nil {
			return true
		}
		n = a.counts
		return a.open == 0 && a.waiting == 0
	})
	return n, err
}

// Ended implements ingest.Lookups. An arrival that was held has stopped, too:
// nobody waits for a person.
func (l *Ledger) Ended(ctx context.Context, id int64) error {
	for {
		l.mu.Lock()
		changed := l.changed
		l.mu.Unlock()
		// Disk decides: one that is not begun yet is in no memory.
		a, err := l.Find(ctx, id)
		if errors.Is(err, ingest.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if a.State.Ended() || a.State == ingest.Held {
			return nil
		}
		if err := l.sleep(ctx, changed); err != nil {
			return err
		}
	}
}

// Progress is an arrival's books as they stand in memory.
func (l *Ledger) Progress(id int64) (ingest.Counts, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.arrivals[id]
	if a == nil {
		return ingest.Counts{}, false
	}
	return a.counts, true
}

// Delivered implements ingest.Lookups.
func (l *Ledger) Delivered(ctx context.Context, id int64) ([]ingest.Range, error) {
	dead := map[int64]bool{}
	err := l.scan(ctx, "SELECT DISTINCT record FROM dead WHERE arrival = ? AND state <> 'replayed'", func(r *sql.Rows) error {
		var n int64
		err := r.Scan(&n)
		dead[n] = true
		return err
	}, id)
	if err != nil {
		return nil, err
	}
	var out []ingest.Range
	add := func(n int64) {
		if k := len(out); k > 0 && out[k-1].Last+1 == n {
			out[k-1].Last = n
			return
		}
		out = append(out, ingest.Range{First: n, Last: n})
	}
	err = l.scan(ctx, "SELECT first, verdicts FROM claims WHERE arrival = ? AND replay = 0 AND state = 'settled' ORDER BY first", func(r *sql.Rows) error {
		var first int64
		var verdicts ingest.Verdicts
		if err := r.Scan(&first, &verdicts); err != nil {
			return err
		}
		verdicts.All(func(at, n int64, v ingest.Verdict) bool {
			if v != ingest.New && v != ingest.Duplicate && v != ingest.Follow {
				return true
			}
			for i := range n {
				if !dead[first+at+i] {
					add(first + at + i)
				}
			}
			return true
		})
		return nil
	}, id)
	return out, err
}

// scan reads rows through a reader's connection.
func (l *Ledger) scan(ctx context.Context, query string, f func(*sql.Rows) error, args ...any) error {
	rows, err := l.readers.QueryContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return fmt.Errorf("read the ledger: %w", err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	return nil
}

// Find returns one arrival.
func (l *Ledger) Find(ctx context.Context, id int64) (*ingest.Arrival, error) {
	s, err := l.prepared(ctx, arrivalQuery+" WHERE a.id = ?")
	if err != nil {
		return nil, err
	}
	a, err := scanArrival(s.QueryRowContext(ctx, id))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("arrival %d is %w", id, ingest.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read arrival %d: %w", id, err)
	}
	return &a, nil
}

// Details says how an ended arrival was read.
func (l *Ledger) Details(ctx context.Context, id int64) (d ingest.Details, err error) {
	var text sql.NullString
	if err := l.readers.QueryRowContext(ctx, "SELECT details FROM arrivals WHERE id = ?", id).Scan(&text); err != nil {
		return d, fmt.Errorf("read details of arrival %d: %w", id, err)
	}
	if text.Valid {
		if err := json.Unmarshal([]byte(text.String), &d); err != nil {
			return d, fmt.Errorf("read details of arrival %d: %w", id, err)
		}
	}
	return d, nil
}

// Forms says how a pipeline's last arrivals that are done were read, the newest
// first, at most most of them.
func (l *Ledger) Forms(ctx context.Context, pipeline string, most int) (out []ingest.Form, err error) {
	err = l.scan(ctx, `SELECT id, name, details FROM arrivals WHERE pipeline = ? AND state = 'done' AND details IS NOT NULL
		AND records > 0 AND replay_of IS NULL ORDER BY found_at DESC, id DESC LIMIT ?`, func(r *sql.Rows) error {
		var (
			f       ingest.Form
			name    []byte
			details string
		)
		if err := r.Scan(&f.Arrival, &name, &details); err != nil {
			return err
		}
		f.Name = string(name)
		if err := json.Unmarshal([]byte(details), &f.Details); err != nil {
			return fmt.Errorf("read details of arrival %d: %w", f.Arrival, err)
		}
		out = append(out, f)
		return nil
	}, pipeline, most)
	return out, err
}

// OpenClaims returns an arrival's claims that are not settled, rising.
func (l *Ledger) OpenClaims(id int64) []*ingest.OpenClaim {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []*ingest.OpenClaim
	for _, c := range l.claims {
		if c.arrival == id && !c.replay {
			out = append(out, c.open())
		}
	}
	sortOpen(out)
	return out
}

// GivenUp returns a batch that was given up, and its dead letters in order.
func (l *Ledger) GivenUp(ctx context.Context, id int64) (b *ingest.Batch, letters []ingest.Letter, err error) {
	err = l.scan(ctx, batchQuery+" WHERE id = ? AND state = 'given_up'", func(r *sql.Rows) (err error) {
		b, _, _, err = scanBatch(r)
		return err
	}, id)
	if err == nil && b == nil {
		err = fmt.Errorf("batch %d given up is %w", id, ingest.ErrNotFound)
	}
	if err != nil {
		return nil, nil, err
	}
	err = l.scan(ctx, letterQuery+" WHERE d.batch = ? AND d.state = 'dead' ORDER BY d.record", func(r *sql.Rows) error {
		d, err := scanLetter(r)
		letters = append(letters, d)
		return err
	}, id)
	return b, letters, err
}

// Barrier returns when all that was queued before it has been answered.
func (l *Ledger) Barrier(ctx context.Context) error {
	return l.w.do(ctx, func(*tx) error { return nil })
}

// DueNow makes every batch of a pipeline that was put off due at once, for a
// person who knows that its target is back.
func (l *Ledger) DueNow(ctx context.Context, pipeline string) error {
	return l.w.do(ctx, func(t *tx) error {
		now := l.now()
		rows, err := t.query(`UPDATE batches SET due_at = ? WHERE state = 'due' AND due_at > ?
			AND arrival IN (SELECT id FROM arrivals WHERE pipeline = ?) RETURNING claim, id`,
			now.UnixMicro(), now.UnixMicro(), pipeline)
		if err != nil {
			return fmt.Errorf("make batches due: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var claim, batch int64
			if err := rows.Scan(&claim, &batch); err != nil {
				return fmt.Errorf("make batches due: %w", err)
			}
			l.mu.Lock()
			if c := l.claims[claim]; c != nil && c.batches[batch] != nil {
				c.batches[batch].DueAt = now
			}
			l.mu.Unlock()
		}
		return rows.Err()
	})
}

// Placed returns the unsettled batches that have a place in a file: no other
// may be put there.
func (l *Ledger) Placed() (out []ingest.Batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.claims {
		for _, b := range c.batches {
			if b.PlacePath != "" {
				out = append(out, *b)
			}
		}
	}
	return out
}

// Sendable reports whether a batch may be sent again: its claim is open, or it
// was given up and has dead letters that a replay may take up.
func (l *Ledger) Sendable(ctx context.Context, batch int64) (ok bool, err error) {
	s, err := l.prepared(ctx, `SELECT EXISTS (SELECT 1 FROM batches b JOIN claims c ON c.id = b.claim WHERE b.id = ? AND
		(c.state = 'open' OR b.state = 'given_up' AND EXISTS (SELECT 1 FROM dead d
			WHERE d.arrival = b.arrival AND d.batch = b.id AND d.state IN ('dead', 'replaying'))))`)
	if err == nil {
		err = s.QueryRowContext(ctx, batch).Scan(&ok)
	}
	if err != nil {
		return false, fmt.Errorf("look batch %d up: %w", batch, err)
	}
	return ok, nil
}
