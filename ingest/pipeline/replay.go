package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"ingestd/ingest"
	"ingestd/ingest/spool"
)

// Release lets a held arrival go on as it is.
func (e *Engine) Release(ctx context.Context, id int64) error {
	leave, err := e.enter()
	if err != nil {
		return err
	}
	defer leave()
	e.deciding.Lock()
	defer e.deciding.Unlock()
	if err := e.o.Ledger.Release(ctx, id); err != nil {
		return err
	}
	e.enqueue(id)
	return nil
}

// Reject fails a held arrival: it goes where failed ones go. What an earlier
// run of it claimed and did not deliver is dead.
func (e *Engine) Reject(ctx context.Context, id int64) error {
	leave, err := e.enter()
	if err != nil {
		return err
	}
	defer leave()
	e.deciding.Lock()
	defer e.deciding.Unlock()
	a, err := e.o.Ledger.Find(ctx, id)
	if err != nil {
		return err
	}
	if a.State != ingest.Held {
		return fmt.Errorf("reject arrival %d: it is %s, not held", id, a.State)
	}
	return e.end(ctx, a, ingest.Ending{State: ingest.Failed, Error: "rejected by a person; it was held because " + a.Error})
}

// Replay takes an ended arrival's content up again, as an arrival of its own.
// It returns that arrival's number.
func (e *Engine) Replay(ctx context.Context, r ingest.Replay) (int64, error) {
	a, err := e.o.Ledger.Find(ctx, r.Of)
	if err != nil {
		return 0, err
	}
	f, err := Content(a)
	if err != nil {
		return 0, err
	}
	leave, err := e.enter()
	if err != nil {
		return 0, err
	}
	defer leave()
	f.Replay = &r
	ids, err := e.Accept(ctx, []ingest.Found{*f})
	if err != nil {
		return 0, err
	}
	return ids[0], nil
}

// Content finds the bytes of an ended arrival where they were put.
func Content(a *ingest.Arrival) (*ingest.Found, error) {
	if !a.State.Ended() {
		return nil, fmt.Errorf("replay arrival %d: it is %s; wait until it has ended", a.ID, a.State)
	}
	f := a.Found
	f.Keep = true
	f.Path = a.Path
	if filepath.IsAbs(a.Away.To) { // not a place on another machine
		f.Path = a.Away.To
	}
	st, err := os.Lstat(f.Path)
	if errors.Is(err, fs.ErrNotExist) && !a.PutAway {
		f.Path = a.Path // not moved yet
		st, err = os.Lstat(f.Path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		if kept, ok := spool.Kept(a.Path); ok {
			f.Path = kept
			st, err = os.Lstat(f.Path)
		}
	}
	if errors.Is(err, fs.ErrNotExist) && !filepath.IsAbs(a.Origin) {
		return nil, fmt.Errorf("replay arrival %d: our copy of %s is gone; fetch the file and say: ingestd once -p %s FILE", a.ID, a.Origin, a.Pipeline)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("replay arrival %d: its content is gone (%s): put the file back there, or drop it anew", a.ID, f.Path)
	}
	if err != nil {
		return nil, fmt.Errorf("replay arrival %d: %w", a.ID, err)
	}
	if !st.Mode().IsRegular() || st.Size() != a.Size {
		return nil, fmt.Errorf("replay arrival %d: %s is not the file that was read (%d bytes, then %d)", a.ID, f.Path, a.Size, st.Size())
	}
	if a.SHA256 != nil {
		probe := *a
		probe.Path, probe.ModTime, probe.Inode = f.Path, st.ModTime(), 0
		sum, err := hashOf(context.Background(), &probe)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(sum, a.SHA256) {
			return nil, fmt.Errorf("replay arrival %d: %s is not the file that was read (other content)", a.ID, f.Path)
		}
	}
	f.ModTime = st.ModTime()
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		f.Device, f.Inode = sys.Dev, sys.Ino
	}
	return &f, nil
}
