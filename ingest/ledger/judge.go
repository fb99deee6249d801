package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"ingestd/ingest"
)

// Judge implements ingest.Claims. A record that is Dead already, because it is
// bad by itself, stays so, and takes later ones of its arrival with its key
// along, unless that key is known or under way.
func (l *Ledger) Judge(ctx context.Context, id int64, scopeName string, recs []ingest.Judged) error {
	if err := l.Err(); err != nil {
		return err
	}
	late, err := l.judge(id, scopeName, recs)
	if err != nil {
		return err
	}
	for _, i := range late {
		d, err := l.deathOf(ctx, id, recs[i].Key)
		if err != nil {
			return err
		}
		recs[i].Reason = shared(d, "")
	}
	return nil
}

// judge fills in the verdicts from memory. Of those in late, the reason is on
// disk alone.
func (l *Ledger) judge(id int64, scopeName string, recs []ingest.Judged) (late []int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.arrivals[id]
	if a == nil {
		return nil, fmt.Errorf("judge records of arrival %d: it was not begun", id)
	}
	s := l.scopeOf(scopeName)
	slot := s.slot(id)
	now := eraTag(s.era(l.clock.now()))
	for i := range recs {
		r := &recs[i]
		if r.Verdict == ingest.Dead {
			a.died(r.Key, death{pos: r.Pos, stage: ingest.StageShape, reason: r.Reason})
			continue
		}
		r.Verdict, r.Leader, r.Have = ingest.New, 0, nil
		if r.Key == (ingest.Key{}) {
			continue
		}
		if len(a.deaths) > 0 && s.keys.get(&r.Key) == tagFree {
			if d, ok := a.deaths[r.Key]; ok {
				r.Verdict, r.Reason = ingest.Dead, shared(d, "")
				continue
			}
			if a.more != nil && a.more.get(&r.Key) != tagFree {
				r.Verdict = ingest.Dead
				late = append(late, i)
				continue
			}
		}
		switch tag := s.lead(id, slot, &r.Key); {
		case tag == tagFree:
			r.Have = s.have(&r.Key)
		case pending(tag):
			r.Verdict, r.Leader = ingest.Follow, s.leader(&r.Key, tag)
		default:
			r.Verdict = ingest.Duplicate
			if tag != now {
				s.keys.put(&r.Key, now)
				s.renewed = append(s.renewed, r.Key)
			}
		}
	}
	return late, nil
}

// Peek fills in what Judge would say of records that were not judged dead, and
// changes nothing. It knows nothing of records that share a key with each other.
func (l *Ledger) Peek(scopeName string, recs []ingest.Judged) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.scopes[scopeName]
	for i := range recs {
		r := &recs[i]
		if r.Verdict == ingest.Dead {
			continue
		}
		r.Verdict, r.Leader, r.Have = ingest.New, 0, nil
		if s == nil || r.Key == (ingest.Key{}) {
			continue
		}
		switch tag := s.keys.get(&r.Key); {
		case tag == tagFree:
			r.Have = s.have(&r.Key)
		case pending(tag):
			r.Verdict, r.Leader = ingest.Follow, s.leader(&r.Key, tag)
		default:
			r.Verdict = ingest.Duplicate
		}
	}
}

// Unjudge implements ingest.Claims.
func (l *Ledger) Unjudge(id int64, scopeName string, keys []ingest.Key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.scopeOf(scopeName)
	for i := range keys {
		s.free(id, &keys[i])
	}
}

// deathOf reads why an arrival's record with a key died. What memory knows may
// still be on its way to the disk: then it asks again behind it.
func (l *Ledger) deathOf(ctx context.Context, id int64, k ingest.Key) (d death, err error) {
	for range 2 {
		err = l.readers.QueryRowContext(ctx, `SELECT record, line, stage, sink, reason FROM dead
			WHERE key = ? AND arrival = ? AND state <> 'replayed' ORDER BY id LIMIT 1`, k[:], id).
			Scan(&d.pos.Record, &d.pos.Line, &d.stage, &d.sink, &d.reason)
		if !errors.Is(err, sql.ErrNoRows) {
			break
		}
		if err := l.Barrier(ctx); err != nil {
			return d, err
		}
	}
	if errors.Is(err, sql.ErrNoRows) {
		return death{reason: "it was bad"}, nil // and is not claimed yet
	}
	if err != nil {
		return d, fmt.Errorf("look up a dead key: %w", err)
	}
	return d, nil
}
