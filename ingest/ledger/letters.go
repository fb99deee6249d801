package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"

	"ingestd/ingest"
)

// Reopen makes an ended arrival known to Judge and Claim again, for a replay
// of its dead letters. The returned function ends that.
func (l *Ledger) Reopen(ctx context.Context, id int64) (*ingest.Arrival, func(), error) {
	list, err := l.list(ctx, "WHERE a.id = ?", id)
	if err != nil {
		return nil, nil, err
	}
	if len(list) == 0 {
		return nil, nil, fmt.Errorf("arrival %d is %w", id, ingest.ErrNotFound)
	}
	a := list[0]
	if !a.State.Ended() {
		return nil, nil, fmt.Errorf("replay dead letters of arrival %d: it is %s; wait until it has ended", id, a.State)
	}
	var number int
	if err := l.readers.QueryRowContext(ctx, "SELECT coalesce(max(number), 0) FROM batches WHERE arrival = ?", id).Scan(&number); err != nil {
		return nil, nil, fmt.Errorf("replay dead letters of arrival %d: %w", id, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.arrivals[id] != nil {
		return nil, nil, fmt.Errorf("replay dead letters of arrival %d: a replay of it is under way", id)
	}
	m := &arrival{id: id, number: number, ended: true}
	for _, c := range l.claims {
		if c.arrival == id {
			m.open++
		}
	}
	l.arrivals[id] = m
	return &a, func() {
		l.mu.Lock()
		delete(l.arrivals, id)
		l.moved()
		l.mu.Unlock()
		// Who followed a record that was judged and then not sent waits for
		// nobody. An error is the writer's, and known to all.
		l.w.submit(op{run: func(t *tx) error { return l.abandon(t, id) }, done: func(error) {}})
	}, nil
}

// Replays lists the ended arrivals of a pipeline with replayed letters under
// way, with the claims that are open.
func (l *Ledger) Replays(ctx context.Context, pipeline string) (map[int64][]*ingest.OpenClaim, error) {
	l.mu.Lock()
	by := map[int64][]*ingest.OpenClaim{}
	for _, c := range l.claims {
		if c.replay {
			by[c.arrival] = append(by[c.arrival], c.open())
		}
	}
	l.mu.Unlock()
	for id := range by {
		var name string
		if err := l.readers.QueryRowContext(ctx, "SELECT pipeline FROM arrivals WHERE id = ?", id).Scan(&name); err != nil {
			return nil, fmt.Errorf("list replays: %w", err)
		}
		if name != pipeline {
			delete(by, id)
		}
		sortOpen(by[id])
	}
	return by, nil
}

// Drop takes dead letters off the list for good. Their records stay dead in
// the books.
func (l *Ledger) Drop(ctx context.Context, ids []int64) (int64, error) {
	var n int64
	err := l.w.do(ctx, func(t *tx) error {
		of := map[int64]int{}
		for _, id := range ids {
			var arrival int64
			err := t.row("UPDATE dead SET state = 'dropped' WHERE id = ? AND state = 'dead' RETURNING arrival", []any{id}, &arrival)
			if errors.Is(err, sql.ErrNoRows) {
				continue
			}
			if err != nil {
				return fmt.Errorf("drop dead letter %d: %w", id, err)
			}
			of[arrival]++
			n++
		}
		for _, arrival := range slices.Sorted(maps.Keys(of)) {
			if err := step(t, arrival, l.now(), fmt.Sprintf("dead letters dropped by a person: %d", of[arrival])); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// Forget drops keys from a scope's memory, so that their records are new to all
// sinks when they come again. Pending keys stay. It returns how many were known.
func (l *Ledger) Forget(ctx context.Context, scopeName string, keys []ingest.Key) (int, error) {
	want := map[ingest.Key]bool{}
	err := l.w.do(ctx, func(t *tx) error {
		l.mu.Lock()
		s, ok := l.scopes[scopeName]
		if ok {
			for i := range keys {
				k := &keys[i]
				if s.keys.get(k) >= tagEra {
					s.keys.remove(k)
					want[*k] = true
				}
				if s.have(k) != nil {
					delete(s.partial, *k)
					want[*k] = true
				}
			}
			s.renewed = slices.DeleteFunc(s.renewed, func(k ingest.Key) bool { return want[k] })
		}
		l.mu.Unlock()
		if len(want) == 0 {
			return nil
		}
		// The keys of an open claim stand for its records, one each.
		for _, r := range [][3]string{{"keys", "claim", "AND claim NOT IN (SELECT id FROM claims WHERE state = 'open')"}, {"renewed", "id", ""}} {
			if err := forgetRows(t, r[0], r[1], r[2], s.id, want); err != nil {
				return fmt.Errorf("forget keys: %w", err)
			}
		}
		for k := range want {
			if _, err := t.exec("DELETE FROM partial WHERE scope = ? AND key = ?", s.id, k[:]); err != nil {
				return fmt.Errorf("forget keys: %w", err)
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return len(want), nil
}

// forgetRows writes the packed rows that hold one of the keys again without it.
func forgetRows(t *tx, table, id, which string, scopeID int64, want map[ingest.Key]bool) error {
	rows, err := t.query("SELECT "+id+", packed FROM "+table+" WHERE scope = ? "+which, scopeID)
	if err != nil {
		return err
	}
	defer rows.Close()
	changed := map[int64][]ingest.Key{}
	for rows.Next() {
		var row int64
		var packed []byte
		if err := rows.Scan(&row, &packed); err != nil {
			return err
		}
		keys := unpackKeys(packed)
		kept := keys[:0]
		for _, k := range keys {
			if !want[k] {
				kept = append(kept, k)
			}
		}
		if len(kept) < len(keys) {
			changed[row] = kept
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for row, keys := range changed {
		if _, err := t.exec("UPDATE "+table+" SET packed = ? WHERE "+id+" = ?", packKeys(keys), row); err != nil {
			return err
		}
	}
	return nil
}
