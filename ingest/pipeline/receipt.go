package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/spool"
)

// Receipts are the reports on a pipeline's ended arrivals.
type Receipts struct {
	// To puts them where the partner finds them.
	To ingest.Reporter
	// Make returns the files of the report on an ended arrival; their names
	// begin with stem. What they say is read from the ledger while they are
	// written, however many records were refused.
	Make func(ctx context.Context, a *ingest.Arrival, stem string) ([]ReceiptFile, error)
}

// A ReceiptFile is one file of a report.
type ReceiptFile struct {
	Name    string
	Content func(io.Writer) error // nil: there is none, an earlier one is taken away
}

// A Secretary is the part of the ledger that follows reports.
type Secretary interface {
	ReceiptsDue(ctx context.Context, pipeline string, most int) ([]int64, error)
	Receipt(ctx context.Context, arrival int64) (*ingest.Receipt, error)
	ReceiptNamed(ctx context.Context, pipeline, name string) (bool, error)
	StoreReceipt(ctx context.Context, r *ingest.Receipt, what string) error
}

// receiptRoom is how many bytes of a file name are left to what follows a
// report's stem, a temporary name's own included.
const receiptRoom = 48

// receipt writes the report on an ended arrival if one is due. It never fails:
// what cannot be written is tried again, and the delivery does not wait for it.
func (e *Engine) receipt(ctx context.Context, id int64) {
	if e.o.Receipts == nil {
		return
	}
	if err := e.report1(context.WithoutCancel(ctx), id); err != nil {
		e.retryReceipts()
	}
}

// report1 writes one report, and notes what came of it.
func (e *Engine) report1(ctx context.Context, id int64) error {
	e.reporting.Lock() // names are chosen one after the other
	defer e.reporting.Unlock()
	r, err := e.o.Ledger.Receipt(ctx, id)
	if err != nil || r == nil || !r.Due() {
		return err
	}
	again := r.Written > 0
	e.reach(BeforeReceipt)
	err = e.write(ctx, r)
	if err == nil {
		e.reach(AfterReceipt)
		what := "receipt written: "
		if again {
			what = "receipt brought up to date: "
		}
		done := *r
		done.Written, done.Error = r.Version, ""
		return e.o.Ledger.StoreReceipt(ctx, &done, what+r.Name)
	}
	if ctx.Err() != nil || e.hard.Err() != nil {
		return err
	}
	what := ""
	if r.Error != err.Error() {
		what = "receipt could not be written, this is tried again: " + err.Error()
		e.log.Error("the receipt could not be written; this is tried again", "arrival", id, "error", err)
	}
	r.Error = err.Error()
	return errors.Join(err, e.o.Ledger.StoreReceipt(ctx, r, what))
}

// write writes the files of a report. What the partner looks for, its first
// file, comes last: the others are whole by then.
func (e *Engine) write(ctx context.Context, r *ingest.Receipt) error {
	a, err := e.o.Ledger.Find(ctx, r.Arrival)
	if err != nil {
		return err
	}
	to := e.o.Receipts
	if r.Name == "" {
		if r.Name, err = e.nameReceipt(ctx, a); err != nil {
			return err
		}
		if err := e.o.Ledger.StoreReceipt(ctx, r, ""); err != nil {
			return err
		}
	}
	files, err := to.Make(ctx, a, r.Name)
	if err != nil {
		return err
	}
	for i := len(files) - 1; i >= 0; i-- {
		if err := to.To.Report(ctx, files[i].Name, files[i].Content); err != nil {
			return fmt.Errorf("write the receipt %s: %w", files[i].Name, err)
		}
	}
	return nil
}

// nameReceipt chooses the name of a report: the arrival's, with a number where
// there is one already.
func (e *Engine) nameReceipt(ctx context.Context, a *ingest.Arrival) (string, error) {
	dir, base := path.Split(a.Name)
	if !filepath.IsLocal(a.Name) {
		dir = "" // it was named on the command line
	}
	name := func(n int) string { return dir + spool.NumberedBefore(base, n, receiptRoom) }
	n, err := spool.FirstFree(func(n int) (bool, error) {
		taken, err := e.o.Ledger.ReceiptNamed(ctx, e.o.Pipeline, name(n))
		if taken || err != nil {
			return taken, err
		}
		files, err := e.o.Receipts.Make(ctx, a, name(n))
		if err != nil {
			return false, err
		}
		for i := range files {
			if taken, err := e.o.Receipts.To.Reported(ctx, files[i].Name); taken || err != nil {
				return taken, err
			}
		}
		return false, nil
	})
	if err != nil {
		return "", fmt.Errorf("choose a name for the receipt: %w", err)
	}
	return name(n), nil
}

// receiptsDue bounds how many reports are looked for at once.
const receiptsDue = 256

// oldReceipts writes the reports that an earlier process left, or that could
// not be written.
func (e *Engine) oldReceipts(ctx context.Context) error {
	if e.o.Receipts == nil {
		return nil
	}
	for {
		ids, err := e.o.Ledger.ReceiptsDue(ctx, e.o.Pipeline, receiptsDue)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if err := e.report1(ctx, id); err != nil {
				return err // the others would fare no better
			}
		}
		if len(ids) < receiptsDue {
			return nil
		}
	}
}

// retryReceipts tries later to write what is due. One goroutine does it for all.
func (e *Engine) retryReceipts() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.o.Once {
		e.unfinished = true
		return
	}
	if e.receipting || e.stopped {
		return
	}
	e.receipting = true
	e.wg.Go(func() {
		defer func() {
			e.mu.Lock()
			e.receipting = false
			e.mu.Unlock()
		}()
		for wait := time.Second; ; wait = min(2*wait, time.Minute) {
			select {
			case <-time.After(wait):
			case <-e.soft.Done():
				return
			}
			if e.oldReceipts(e.hard) == nil {
				e.log.Info("the receipts that were due are written")
				return
			}
		}
	})
}
