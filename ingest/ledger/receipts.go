package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"ingestd/ingest"
)

// owe notes that a report on an arrival is due.
func owe(t *tx, arrival int64, pipeline string) error {
	if _, err := t.exec("INSERT INTO receipts (arrival, pipeline) VALUES (?, ?) ON CONFLICT DO UPDATE SET version = version + 1", arrival, pipeline); err != nil {
		return fmt.Errorf("note that the receipt of arrival %d is due: %w", arrival, err)
	}
	return nil
}

// oweAgain notes that the books of an arrival with a report have changed.
func oweAgain(t *tx, arrival int64) error {
	if _, err := t.exec("UPDATE receipts SET version = version + 1 WHERE arrival = ?", arrival); err != nil {
		return fmt.Errorf("note that the receipt of arrival %d is due: %w", arrival, err)
	}
	return nil
}

// ReceiptsDue lists a pipeline's arrivals whose reports are to be written, at
// most most of them, the oldest first.
func (l *Ledger) ReceiptsDue(ctx context.Context, pipeline string, most int) ([]int64, error) {
	ids, err := l.numbers(ctx, "SELECT arrival FROM receipts WHERE pipeline = ? AND written < version ORDER BY arrival LIMIT ?", pipeline, most)
	if err != nil {
		return nil, fmt.Errorf("list receipts: %w", err)
	}
	return ids, nil
}

// Receipt says where the report on an arrival stands; nil where there is none.
func (l *Ledger) Receipt(ctx context.Context, arrival int64) (*ingest.Receipt, error) {
	r := &ingest.Receipt{Arrival: arrival}
	var name []byte
	err := l.readers.QueryRowContext(ctx, "SELECT pipeline, version, written, name, error FROM receipts WHERE arrival = ?", arrival).
		Scan(&r.Pipeline, &r.Version, &r.Written, &name, &r.Error)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look the receipt of arrival %d up: %w", arrival, err)
	}
	r.Name = string(name)
	return r, nil
}

// ReceiptNamed reports whether the report on any arrival of a pipeline has this
// name.
func (l *Ledger) ReceiptNamed(ctx context.Context, pipeline, name string) (taken bool, err error) {
	err = l.readers.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM receipts WHERE pipeline = ? AND name = ?)", pipeline, []byte(name)).Scan(&taken)
	if err != nil {
		return false, fmt.Errorf("look a receipt up: %w", err)
	}
	return taken, nil
}

// StoreReceipt stores a report's name, the version that was written and why it
// could not be; what, where it is not empty, becomes a step of the arrival's.
func (l *Ledger) StoreReceipt(ctx context.Context, r *ingest.Receipt, what string) error {
	return l.w.do(ctx, func(t *tx) error {
		var name any
		if r.Name != "" {
			name = []byte(r.Name)
		}
		res, err := t.exec("UPDATE receipts SET name = ?, written = max(written, ?), error = ? WHERE arrival = ?", name, r.Written, r.Error, r.Arrival)
		if err != nil {
			return fmt.Errorf("store the receipt of arrival %d: %w", r.Arrival, err)
		}
		// The arrival may have been pruned meanwhile.
		if n, err := res.RowsAffected(); err != nil || n == 0 || what == "" {
			return err
		}
		return step(t, r.Arrival, l.now(), what)
	})
}
