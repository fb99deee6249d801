package ledger

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"ingestd/ingest"
)

// Accept implements ingest.Arrivals.
func (l *Ledger) Accept(ctx context.Context, pipeline, scopeName string, found []ingest.Found) ([]int64, error) {
	l.mu.Lock()
	s := l.scopeOf(scopeName)
	l.mu.Unlock()
	ids := make([]int64, len(found))
	err := l.w.do(ctx, func(t *tx) error {
		if err := l.storeScope(t, s); err != nil {
			return fmt.Errorf("store scope: %w", err)
		}
		for i := range found {
			f := &found[i]
			var number any
			if f.ID != 0 {
				if there, err := accepted(t, f); err != nil {
					return fmt.Errorf("accept %q: %w", f.Name, err)
				} else if there {
					ids[i] = f.ID
					continue
				}
				number = f.ID
			}
			var of, first, last, force any
			if r := f.Replay; r != nil {
				of, first, last, force = r.Of, r.First, r.Last, r.Force
			}
			at := f.FoundAt
			if at.IsZero() {
				at = l.now()
			}
			res, err := t.exec(`INSERT INTO arrivals (id, pipeline, scope, source, name, origin, path, size, mtime, device, inode,
				keep, replay_of, replay_first, replay_last, replay_force, state, error, found_at)
				VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'waiting', ?, ?)`,
				number, pipeline, s.id, f.Source, []byte(f.Name), []byte(f.Origin), []byte(f.Path), f.Size, f.ModTime.UnixNano(),
				int64(f.Device), int64(f.Inode), f.Keep, of, first, last, force, f.Refused, at.UnixMicro())
			if err == nil {
				ids[i], err = res.LastInsertId()
			}
			if err != nil {
				return fmt.Errorf("accept %q: %w", f.Name, err)
			}
			if f.Replay != nil {
				if err := l.noteReplay(t, ids[i], f.Replay); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ids, nil
}

// noteReplay says in both arrivals' timelines that one takes the other up again.
func (l *Ledger) noteReplay(t *tx, id int64, r *ingest.Replay) error {
	how := ""
	if r.First > 0 {
		how = fmt.Sprintf(", records %d-%d", r.First, r.Last)
	}
	if r.Force {
		how += ", by force: what was delivered before is sent again"
	}
	if err := step(t, id, l.now(), fmt.Sprintf("replays arrival %d%s", r.Of, how)); err != nil {
		return err
	}
	var there bool
	if err := t.row("SELECT EXISTS (SELECT 1 FROM arrivals WHERE id = ?)", []any{r.Of}, &there); err != nil || !there {
		return err
	}
	return step(t, r.Of, l.now(), fmt.Sprintf("replayed as arrival %d%s", id, how))
}

const arrivalQuery = `SELECT a.id, a.pipeline, s.name, a.source, a.name, a.origin, a.path, a.size, a.mtime, a.device, a.inode,
	a.keep, a.replay_of, a.replay_first, a.replay_last, a.replay_force, a.state, a.starts, a.released, a.sha256, a.snapshot,
	a.found_at, a.started_at, a.finished_at, a.records, a.delivered, a.duplicate, a.filtered, a.dead, a.had,
	a.error, a.away, a.away_to, a.put_away FROM arrivals a JOIN scopes s ON s.id = a.scope`

type scanner interface{ Scan(dest ...any) error }

func scanArrival(r scanner) (a ingest.Arrival, err error) {
	var name, origin, path, to []byte
	var mtime, found, device, inode int64
	var started, finished, of, first, last sql.NullInt64
	var force sql.NullBool
	n := &a.Counts
	err = r.Scan(&a.ID, &a.Pipeline, &a.Scope, &a.Source, &name, &origin, &path, &a.Size, &mtime, &device, &inode,
		&a.Keep, &of, &first, &last, &force, &a.State, &a.Starts, &a.Released, &a.SHA256, &a.Snapshot,
		&found, &started, &finished, &n.Records, &n.Delivered, &n.Duplicate, &n.Filtered, &n.Dead, &n.Had,
		&a.Error, &a.Away.Action, &to, &a.PutAway)
	a.Name, a.Origin, a.Path, a.Away.To = string(name), string(origin), string(path), string(to)
	a.Device, a.Inode = uint64(device), uint64(inode)
	a.ModTime, a.FoundAt = time.Unix(0, mtime), time.UnixMicro(found)
	if started.Valid {
		a.StartedAt = time.UnixMicro(started.Int64)
	}
	if finished.Valid {
		a.FinishedAt = time.UnixMicro(finished.Int64)
	}
	if of.Valid {
		a.Replay = &ingest.Replay{Of: of.Int64, First: first.Int64, Last: last.Int64, Force: force.Bool}
	}
	return a, err
}

func (l *Ledger) arrival(t *tx, id int64) (ingest.Arrival, error) {
	s, err := t.stmt(arrivalQuery + " WHERE a.id = ?")
	if err != nil {
		return ingest.Arrival{}, err
	}
	a, err := scanArrival(s.QueryRow(id))
	if errors.Is(err, sql.ErrNoRows) {
		return a, refuse(fmt.Errorf("arrival %d is %w", id, ingest.ErrNotFound))
	}
	return a, err
}

// Begin implements ingest.Arrivals.
func (l *Ledger) Begin(ctx context.Context, id int64, snapshot []byte) (*ingest.Begun, error) {
	b := &ingest.Begun{}
	err := l.w.do(ctx, func(t *tx) error {
		a, err := l.arrival(t, id)
		if err != nil {
			return err
		}
		if a.State.Ended() || a.State == ingest.Held {
			return refuse(fmt.Errorf("begin arrival %d: it is %s", id, a.State))
		}
		if a.Snapshot == nil {
			sum := sha256.Sum256(snapshot)
			a.Snapshot, b.Snapshot = sum[:], snapshot
			if _, err := t.exec("INSERT INTO snapshots (hash, body) VALUES (?, ?) ON CONFLICT DO NOTHING", sum[:], nonNil(snapshot)); err != nil {
				return fmt.Errorf("store snapshot: %w", err)
			}
		} else if err := t.row("SELECT body FROM snapshots WHERE hash = ?", []any{a.Snapshot}, &b.Snapshot); err != nil {
			return fmt.Errorf("read snapshot of arrival %d: %w", id, err)
		}
		if a.StartedAt.IsZero() {
			a.StartedAt = l.now()
		}
		a.State = ingest.Running
		l.mu.Lock()
		if !l.begun[id] {
			// Once a process: a reload is no crash.
			l.begun[id] = true
			a.Starts++
		}
		l.mu.Unlock()
		if _, err := t.exec("UPDATE arrivals SET state = 'running', starts = ?, snapshot = ?, started_at = ?, error = '' WHERE id = ?",
			a.Starts, a.Snapshot, a.StartedAt.UnixMicro(), id); err != nil {
			return fmt.Errorf("begin arrival: %w", err)
		}
		b.Arrival = a
		return l.recall(t, b)
	})
	if err != nil {
		return nil, err
	}
	return b, nil
}

// recall reads what an arrival's claims say already.
func (l *Ledger) recall(t *tx, b *ingest.Begun) error {
	id := b.Arrival.ID
	m := &arrival{id: id, first: true}
	if err := l.recallClaims(t, b, m); err != nil {
		return fmt.Errorf("read the claims of arrival %d: %w", id, err)
	}
	if err := l.recallDeaths(t, m); err != nil {
		return fmt.Errorf("read the dead letters of arrival %d: %w", id, err)
	}
	if err := l.reclaim(t, id); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.arrivals[id] = m
	for _, c := range l.claims {
		if c.arrival != id {
			continue
		}
		m.open++
		if !c.replay {
			b.Open = append(b.Open, c.open())
		}
	}
	sortOpen(b.Open)
	return nil
}

// recallClaims reads what is settled.
func (l *Ledger) recallClaims(t *tx, b *ingest.Begun, m *arrival) error {
	rows, err := t.query(`SELECT first, last, records, delivered, duplicate, filtered, dead, had
		FROM claims WHERE arrival = ? AND state = 'settled' ORDER BY first`, m.id)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var r ingest.Range
		var n ingest.Counts
		if err := rows.Scan(&r.First, &r.Last, &n.Records, &n.Delivered, &n.Duplicate, &n.Filtered, &n.Dead, &n.Had); err != nil {
			return err
		}
		m.counts.Add(n)
		if k := len(b.Settled); k > 0 && b.Settled[k-1].Last+1 == r.First {
			b.Settled[k-1].Last = r.Last
		} else {
			b.Settled = append(b.Settled, r)
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if err := t.row("SELECT coalesce(max(number), 0) FROM batches WHERE arrival = ?", []any{m.id}, &m.number); err != nil {
		return err
	}
	return t.row("SELECT count(*) FROM waiting WHERE arrival = ?", []any{m.id}, &m.waiting)
}

// recallDeaths reads the keys of its dead records.
func (l *Ledger) recallDeaths(t *tx, m *arrival) error {
	rows, err := t.query("SELECT key, record, line, stage, sink, reason FROM dead WHERE arrival = ? AND key IS NOT NULL ORDER BY id", m.id)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var key []byte
		var d death
		if err := rows.Scan(&key, &d.pos.Record, &d.pos.Line, &d.stage, &d.sink, &d.reason); err != nil {
			return err
		}
		m.died(toKey(key), d)
	}
	return rows.Err()
}

// reclaim frees keys that an arrival which is begun again in one process leads
// without a claim: its last pass broke off before it could take them back, and
// its own records would wait for them for ever.
func (l *Ledger) reclaim(t *tx, id int64) error {
	l.mu.Lock()
	var open []*claim
	if l.arrivals[id] != nil {
		for _, c := range l.claims {
			if c.arrival == id {
				open = append(open, c)
			}
		}
	}
	again := l.arrivals[id] != nil
	l.mu.Unlock()
	if !again {
		return nil
	}
	led := map[*scope][]ingest.Key{}
	for _, c := range open {
		keys, err := l.keysOf(t, c)
		if err != nil {
			return err
		}
		led[c.scope] = append(led[c.scope], keys...)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.scopes {
		if !s.disown(id, len(led[s])) {
			continue
		}
		slot := s.slot(id)
		for i := range led[s] {
			s.lead(id, slot, &led[s][i])
		}
	}
	return nil
}

// Hold implements ingest.Arrivals.
func (l *Ledger) Hold(ctx context.Context, id int64, reason string) error {
	return l.w.do(ctx, func(t *tx) error {
		a, err := l.arrival(t, id)
		if err != nil {
			return err
		}
		if a.State != ingest.Running {
			return refuse(fmt.Errorf("hold arrival %d: it is %s", id, a.State))
		}
		if _, err := t.exec("UPDATE arrivals SET state = 'held', error = ? WHERE id = ?", reason, id); err != nil {
			return fmt.Errorf("hold arrival: %w", err)
		}
		t.then(func() { l.forgetArrival(id) })
		return step(t, id, l.now(), "held: "+reason)
	})
}

// forgetArrival wakes those who wait for the arrival's end, and lets go of it
// unless it has claims: then it goes on where it stopped.
func (l *Ledger) forgetArrival(id int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a := l.arrivals[id]; a != nil && a.open == 0 && a.waiting == 0 {
		delete(l.arrivals, id)
	}
	delete(l.begun, id)
	l.moved()
}

// Release makes a held arrival waiting again: it is taken as it is.
func (l *Ledger) Release(ctx context.Context, id int64) error {
	return l.w.do(ctx, func(t *tx) error {
		a, err := l.arrival(t, id)
		if err != nil {
			return err
		}
		if a.State != ingest.Held {
			return refuse(fmt.Errorf("release arrival %d: it is %s, not held", id, a.State))
		}
		if _, err := t.exec("UPDATE arrivals SET state = 'waiting', released = 1, error = '' WHERE id = ?", id); err != nil {
			return fmt.Errorf("release arrival: %w", err)
		}
		return step(t, id, l.now(), "released")
	})
}

// End implements ingest.Arrivals.
func (l *Ledger) End(ctx context.Context, id int64, e ingest.Ending) (*ingest.Arrival, error) {
	var out ingest.Arrival
	err := l.w.do(ctx, func(t *tx) error {
		a, err := l.arrival(t, id)
		if err != nil {
			return err
		}
		if a.State.Ended() {
			out = a
			return nil
		}
		if a.State == ingest.Held {
			if err := l.desert(t, id, e.Error); err != nil {
				return err
			}
		}
		if a.Counts, err = l.books(t, id, a.State == ingest.Held); err != nil {
			return err
		}
		if !a.Counts.Balanced() {
			return refuse(fmt.Errorf("end arrival %d: its books do not balance: %+v", id, a.Counts))
		}
		a.State, a.Error, a.Away, a.FinishedAt = e.State, e.Error, e.Away, l.now()
		if e.SHA256 != nil {
			a.SHA256 = e.SHA256
		}
		var sum any
		if a.SHA256 != nil {
			sum = a.SHA256
		}
		n := a.Counts
		details, err := json.Marshal(e.Details)
		if err != nil {
			return refuse(fmt.Errorf("end arrival %d: %w", id, err))
		}
		if _, err := t.exec(`UPDATE arrivals SET state = ?, sha256 = ?, error = ?, away = ?, away_to = ?, finished_at = ?, details = ?,
			records = ?, delivered = ?, duplicate = ?, filtered = ?, dead = ?, had = ? WHERE id = ?`,
			string(a.State), sum, a.Error, a.Away.Action, []byte(a.Away.To), a.FinishedAt.UnixMicro(), string(details),
			n.Records, n.Delivered, n.Duplicate, n.Filtered, n.Dead, n.Had, id); err != nil {
			return fmt.Errorf("end arrival: %w", err)
		}
		l.mu.Lock()
		for _, s := range l.scopes {
			s.disown(id, 0)
		}
		l.mu.Unlock()
		if err := l.abandon(t, id); err != nil {
			return err
		}
		if e.Receipt {
			if err := owe(t, id, a.Pipeline); err != nil {
				return err
			}
		}
		t.then(func() { l.forgetArrival(id) })
		out = a
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// books adds up what is settled of an arrival that is about to end. Nothing may
// be open or wait.
func (l *Ledger) books(t *tx, id int64, held bool) (n ingest.Counts, err error) {
	l.mu.Lock()
	m := l.arrivals[id]
	if m != nil && !held {
		defer l.mu.Unlock()
		if m.open > 0 || m.waiting > 0 {
			return n, refuse(fmt.Errorf("end arrival %d: %d claims are open, %d records wait", id, m.open, m.waiting))
		}
		return m.counts, nil
	}
	l.mu.Unlock()
	var open int
	if err := t.row(`SELECT coalesce(sum(records), 0), coalesce(sum(delivered), 0), coalesce(sum(duplicate), 0), coalesce(sum(filtered), 0),
		coalesce(sum(dead), 0), coalesce(sum(had), 0), coalesce(sum(state = 'open'), 0) FROM claims WHERE arrival = ?`, []any{id},
		&n.Records, &n.Delivered, &n.Duplicate, &n.Filtered, &n.Dead, &n.Had, &open); err != nil {
		return n, fmt.Errorf("add up arrival %d: %w", id, err)
	}
	if open > 0 {
		return n, refuse(fmt.Errorf("end arrival %d: %d claims are open", id, open))
	}
	return n, nil
}

// PutAway implements ingest.Arrivals.
func (l *Ledger) PutAway(ctx context.Context, id int64, away ingest.Disposition) error {
	return l.w.do(ctx, func(t *tx) error {
		if away.Action != "" {
			if _, err := t.exec("UPDATE arrivals SET away = ?, away_to = ? WHERE id = ? AND finished_at IS NOT NULL", away.Action, []byte(away.To), id); err != nil {
				return fmt.Errorf("note where arrival %d was put: %w", id, err)
			}
		}
		if _, err := t.exec("UPDATE arrivals SET put_away = 1 WHERE id = ? AND finished_at IS NOT NULL", id); err != nil {
			return fmt.Errorf("note that arrival %d was put away: %w", id, err)
		}
		return nil
	})
}
