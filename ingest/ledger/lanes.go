package ledger

import (
	"context"
	"database/sql"
	"fmt"
)

// maxLane is the highest number of a lane: a record's is stored in a byte.
const maxLane = 255

// claimLanes are the lanes of a claim's new records, by sink.
type claimLanes map[string][]byte

// in reports whether the claim's new record with this index is in a lane of a
// sink. What is not known to be elsewhere is.
func (c claimLanes) in(sink string, at, lane int) bool {
	packed := c[sink]
	return at >= len(packed) || int(packed[at]) == lane
}

// storeLanes stores the lanes of a claim's new records at a sink that has some.
func storeLanes(t *tx, c *claim, sink string, packed []byte) error {
	if len(packed) == 0 {
		return nil
	}
	c.laned = true
	if _, err := t.exec("INSERT INTO lanes (claim, sink, packed) VALUES (?, ?, ?)", c.id, sink, packed); err != nil {
		return fmt.Errorf("store lanes: %w", err)
	}
	return nil
}

// lanesOf returns the lanes of an open claim.
func lanesOf(t *tx, c *claim) (claimLanes, error) {
	if !c.laned {
		return nil, nil
	}
	rows, err := t.query("SELECT sink, packed FROM lanes WHERE claim = ?", c.id)
	if err != nil {
		return nil, fmt.Errorf("read lanes: %w", err)
	}
	defer rows.Close()
	out := claimLanes{}
	for rows.Next() {
		var sink string
		var packed []byte
		if err := rows.Scan(&sink, &packed); err != nil {
			return nil, fmt.Errorf("read lanes: %w", err)
		}
		out[sink] = packed
	}
	return out, rows.Err()
}

// dropLanes forgets the lanes of a claim that is settled.
func dropLanes(t *tx, c *claim) error {
	if !c.laned {
		return nil
	}
	if _, err := t.exec("DELETE FROM lanes WHERE claim = ?", c.id); err != nil {
		return fmt.Errorf("drop lanes: %w", err)
	}
	return nil
}

// loadLanes notes which open claims have lanes stored.
func (l *Ledger) loadLanes(ctx context.Context, conn *sql.Conn) error {
	return each(ctx, conn, "SELECT DISTINCT claim FROM lanes", func(r *sql.Rows) error {
		var id int64
		err := r.Scan(&id)
		if c := l.claims[id]; c != nil {
			c.laned = true
		}
		return err
	})
}
