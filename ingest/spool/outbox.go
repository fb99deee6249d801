package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// An Outbox keeps the envelopes of batches that were put off, one file each. It
// is safe for concurrent use about different batches.
type Outbox struct{ dir string }

// Outbox is this spool's outbox.
func (s *Spool) Outbox() *Outbox { return &Outbox{s.outbox} }

// Put stores e under the batch's id, in place of what was there. When it
// returns nil, e is on disk.
func (o *Outbox) Put(id int64, e *Envelope) error {
	b, err := appendEnvelope(nil, id, e)
	if err == nil {
		err = writeFile(o.path(id), b)
	}
	if err != nil {
		return fmt.Errorf("put batch %d into the outbox: %w", id, err)
	}
	return nil
}

// Get reads the envelope of a batch. It fails with fs.ErrNotExist where there
// is none and with ErrDamaged where it is not what Put wrote.
func (o *Outbox) Get(id int64) (*Envelope, error) {
	b, err := os.ReadFile(o.path(id))
	if err != nil {
		return nil, fmt.Errorf("take batch %d from the outbox: %w", id, err)
	}
	e, err := parseEnvelope(b, id)
	if err != nil {
		return nil, fmt.Errorf("take batch %d from the outbox: %s: %w", id, o.path(id), err)
	}
	return e, nil
}

// Remove removes a batch's envelope; one that is gone is no error. A
// power cut may bring it back: see List.
func (o *Outbox) Remove(id int64) error {
	if err := os.Remove(o.path(id)); err != nil && !isGone(err) {
		return fmt.Errorf("remove batch %d from the outbox: %w", id, err)
	}
	return nil
}

// List returns the batches that have envelopes, rising. At start, those that
// the ledger does not wait for are to be removed.
func (o *Outbox) List() ([]int64, error) {
	var ids []int64
	err := eachName(o.dir, func(name string) error {
		if id, err := strconv.ParseInt(name, 10, 64); err == nil && strconv.FormatInt(id, 10) == name {
			ids = append(ids, id)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the outbox: %w", err)
	}
	slices.Sort(ids)
	return ids, nil
}

func (o *Outbox) path(id int64) string {
	return filepath.Join(o.dir, strconv.FormatInt(id, 10))
}

// writeFile writes a file so that it is whole and durable or as it was before.
// One caller at a time per path.
func writeFile(path string, b []byte) error {
	tmp := path + tmpSuffix
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return syncDir(filepath.Dir(path))
}
