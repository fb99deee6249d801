package ledger

import (
	"database/sql"
	"errors"
	"fmt"

	"ingestd/ingest"
)

func (l *Ledger) storeLetter(t *tx, arrival, claim, batch int64, d *ingest.Letter) error {
	var key any
	if d.Key != (ingest.Key{}) {
		key = d.Key[:]
	}
	_, err := t.exec(`INSERT INTO dead (arrival, claim, batch, record, line, col, place, stage, sink, reason,
		status, answer, raw, key, uncertain, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		arrival, claim, batch, d.Pos.Record, d.Pos.Line, d.Pos.Column, d.Pos.Offset, string(d.Stage), d.Sink, d.Reason,
		d.Status, d.Answer, nonNil(d.Raw), key, d.Uncertain, l.now().UnixMicro())
	if err != nil {
		return fmt.Errorf("store dead letter: %w", err)
	}
	return nil
}

// storeDeaths stores a settlement's dead letters, with the keys of their
// records.
func (l *Ledger) storeDeaths(t *tx, c *claim, s *ingest.Settlement) error {
	if len(s.Dead) == 0 {
		return nil
	}
	keys, err := l.keysOf(t, c)
	if err != nil {
		return err
	}
	at := make(map[int64]*ingest.Letter, len(s.Dead))
	for i := range s.Dead {
		at[s.Dead[i].Pos.Record] = &s.Dead[i]
	}
	c.each(keys, func(record int64, k *ingest.Key) {
		if d := at[record]; d != nil {
			d.Key = *k
		}
	})
	for i := range s.Dead {
		d := &s.Dead[i]
		if c.replay && len(d.Raw) == 0 {
			if err := recollect(t, c, d); err != nil {
				return err
			}
		}
		if err := l.storeLetter(t, c.arrival, c.id, s.Batch.ID, d); err != nil {
			return err
		}
		c.died(d.Pos.Record, death{pos: d.Pos, stage: d.Stage, sink: d.Sink, reason: d.Reason})
	}
	return nil
}

// recollect fills in what the letter that a replay took up knew of its record,
// where the replay's own bytes are lost.
func recollect(t *tx, c *claim, d *ingest.Letter) error {
	err := t.row(`SELECT line, col, place, raw FROM dead WHERE taken = ? AND state = 'replaying' AND record = ? ORDER BY sink = ? DESC, id LIMIT 1`,
		[]any{c.id, d.Pos.Record, d.Sink}, &d.Pos.Line, &d.Pos.Column, &d.Pos.Offset, &d.Raw)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("look for what a replayed letter held: %w", err)
	}
	return nil
}
