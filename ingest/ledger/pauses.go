package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"ingestd/ingest"
)

// Pauses are rows of meta: pause.sink.NAME and pause.pipeline.NAME.
const pausePrefix = "pause."

func pauseKey(p *ingest.Pause) string {
	if p.Sink {
		return pausePrefix + "sink." + p.Name
	}
	return pausePrefix + "pipeline." + p.Name
}

// A pauseRow is a pause as its row has it, in microseconds; 0 = not set.
type pauseRow struct {
	Since int64 `json:"since"`
	Until int64 `json:"until,omitempty"`
	Ended int64 `json:"ended,omitempty"`
}

// SetPause stores a person's pause, or its end, in place of the last one of the
// same name.
func (l *Ledger) SetPause(ctx context.Context, p ingest.Pause) error {
	micros := func(t time.Time) int64 {
		if t.IsZero() {
			return 0
		}
		return t.UnixMicro()
	}
	row, err := json.Marshal(pauseRow{micros(p.Since), micros(p.Until), micros(p.Ended)})
	if err == nil {
		err = l.w.do(ctx, func(t *tx) error {
			_, err := t.exec("INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", pauseKey(&p), string(row))
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("store the pause of %s: %w", p.Name, err)
	}
	return nil
}

// Pauses lists the last pause of each pipeline and sink that ever had one.
func (l *Ledger) Pauses(ctx context.Context) (out []ingest.Pause, err error) {
	err = l.scan(ctx, "SELECT key, value FROM meta WHERE key GLOB ? ORDER BY key", func(r *sql.Rows) error {
		var key, value string
		if err := r.Scan(&key, &value); err != nil {
			return err
		}
		var row pauseRow
		if err := json.Unmarshal([]byte(value), &row); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		at := func(micros int64) time.Time {
			if micros == 0 {
				return time.Time{}
			}
			return time.UnixMicro(micros)
		}
		kind, name, _ := strings.Cut(strings.TrimPrefix(key, pausePrefix), ".")
		out = append(out, ingest.Pause{Sink: kind == "sink", Name: name, Since: at(row.Since), Until: at(row.Until), Ended: at(row.Ended)})
		return nil
	}, pausePrefix+"*")
	if err != nil {
		return nil, fmt.Errorf("read pauses: %w", err)
	}
	return out, nil
}
