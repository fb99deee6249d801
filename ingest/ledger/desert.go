package ledger

import (
	"fmt"

	"ingestd/ingest"
)

// desert ends what is open of a held arrival that a person gives up: records
// that were not delivered are dead, those of requests whose fate is unknown are
// marked uncertain. Their bytes are not here; the arrival's file has them.
func (l *Ledger) desert(t *tx, id int64, reason string) error {
	l.mu.Lock()
	var open []*claim
	for _, c := range l.claims {
		if c.arrival == id {
			open = append(open, c)
		}
	}
	l.mu.Unlock()
	for _, c := range open {
		if err := l.desertClaim(t, c, reason); err != nil {
			return err
		}
	}
	return l.release(t, release{
		where: "arrival = ?", args: []any{id}, dead: true,
		death: death{stage: ingest.StageDeliver, reason: reason},
	})
}

func (l *Ledger) desertClaim(t *tx, c *claim, reason string) error {
	keys, err := l.keysOf(t, c)
	if err != nil {
		return err
	}
	lanes, err := lanesOf(t, c)
	if err != nil {
		return err
	}
	lost := func(sink string, batch int64, lane int, has func(record int64) bool) error {
		var failed error
		at := -1
		c.each(keys, func(record int64, k *ingest.Key) {
			at++
			if failed != nil || !has(record) || lane > 0 && !lanes.in(sink, at, lane) {
				return
			}
			d := ingest.Letter{
				Pos: ingest.Position{Record: record}, Stage: ingest.StageDeliver, Sink: sink, Reason: reason, Key: *k, Uncertain: batch != 0,
			}
			c.died(record, death{pos: d.Pos, stage: d.Stage, sink: sink, reason: reason})
			failed = l.storeLetter(t, c.arrival, c.id, batch, &d)
		})
		return failed
	}
	now := l.now().UnixMicro()
	for _, b := range c.batches {
		// Open or due: it may have been sent.
		if _, err := t.exec("UPDATE batches SET state = 'given_up', uncertain = 1, due_at = NULL, settled_at = ?, answer = ? WHERE id = ?", now, reason, b.ID); err != nil {
			return fmt.Errorf("give up batch %d: %w", b.ID, err)
		}
		if err := lost(b.Sink, b.ID, b.Lane, b.Holds()); err != nil {
			return err
		}
	}
	for _, sink := range c.uncut {
		if err := lost(sink, 0, 0, func(int64) bool { return true }); err != nil {
			return err
		}
	}
	if _, err := t.exec("UPDATE claims SET uncut = NULL WHERE id = ?", c.id); err != nil {
		return fmt.Errorf("give up claim %d: %w", c.id, err)
	}
	l.mu.Lock()
	c.batches, c.uncut, c.uncutRow, c.unfed = nil, nil, nil, 0
	here := map[int64]bool{}
	for _, f := range c.followers {
		here[f.Pos.Record] = true
		if f.verdict == 0 {
			f.verdict, f.death = ingest.Dead, death{stage: ingest.StageDeliver, reason: reason}
		}
	}
	c.verdicts.All(func(at, n int64, v ingest.Verdict) bool {
		for record := c.first + at; v == ingest.Follow && record < c.first+at+n; record++ {
			if !here[record] {
				f := &follower{claim: c, verdict: ingest.Dead, death: death{stage: ingest.StageDeliver, reason: reason}}
				f.Pos.Record = record
				c.followers = append(c.followers, f)
			}
		}
		return true
	})
	c.scope.unfollow(c, c.followers)
	l.mu.Unlock()
	return l.finish(t, c)
}
