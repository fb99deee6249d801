package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"ingestd/ingest"
)

// OpenAlerts implements ingest.AlertBook.
func (l *Ledger) OpenAlerts(ctx context.Context) ([]ingest.OpenAlert, error) {
	var out []ingest.OpenAlert
	err := l.scan(ctx, `SELECT sink, key, kind, severity, pipeline, arrival, name, message, action, since, opened, told, said, mark
		FROM alerts ORDER BY sink, key`, func(r *sql.Rows) error {
		var a ingest.OpenAlert
		var name []byte
		var since, opened int64
		var told sql.NullInt64
		err := r.Scan(&a.To, &a.Key, &a.Kind, &a.Severity, &a.Pipeline, &a.Arrival, &name, &a.Message, &a.Action, &since, &opened, &told, &a.Said, &a.Mark)
		a.Name, a.Since, a.Opened = string(name), time.UnixMicro(since), time.UnixMicro(opened)
		if told.Valid {
			a.Told = time.UnixMicro(told.Int64)
		}
		out = append(out, a)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list open alerts: %w", err)
	}
	return out, nil
}

// SaveAlerts implements ingest.AlertBook.
func (l *Ledger) SaveAlerts(ctx context.Context, save, forget []ingest.OpenAlert) error {
	err := l.w.do(ctx, func(t *tx) error {
		for i := range forget {
			if _, err := t.exec("DELETE FROM alerts WHERE sink = ? AND key = ?", forget[i].To, forget[i].Key); err != nil {
				return err
			}
		}
		for i := range save {
			a := &save[i]
			var told any
			if !a.Told.IsZero() {
				told = a.Told.UnixMicro()
			}
			_, err := t.exec(`INSERT OR REPLACE INTO alerts
				(sink, key, kind, severity, pipeline, arrival, name, message, action, since, opened, told, said, mark)
				VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
				a.To, a.Key, a.Kind, a.Severity, a.Pipeline, a.Arrival, []byte(a.Name), a.Message, a.Action,
				a.Since.UnixMicro(), a.Opened.UnixMicro(), told, a.Said, a.Mark)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("store open alerts: %w", err)
	}
	return nil
}

// WatchedSince implements ingest.AlertBook.
func (l *Ledger) WatchedSince(ctx context.Context, pipeline, expectation string, now time.Time) (time.Time, error) {
	var since int64
	find := func() error {
		return l.readers.QueryRowContext(ctx, "SELECT since FROM expectations WHERE pipeline = ? AND expectation = ?", pipeline, expectation).Scan(&since)
	}
	err := find()
	if errors.Is(err, sql.ErrNoRows) {
		err = l.w.do(ctx, func(t *tx) error {
			_, err := t.exec("INSERT OR IGNORE INTO expectations (pipeline, expectation, since) VALUES (?, ?, ?)", pipeline, expectation, now.UnixMicro())
			return err
		})
		if err == nil {
			err = find()
		}
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("since when %s is expected: %w", pipeline, err)
	}
	return time.UnixMicro(since), nil
}
