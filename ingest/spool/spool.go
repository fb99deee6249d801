// Package spool is bytes on disk, by arrival.
//
// It promises:
//
//   - A spool file is whole or not there: it is written under a temporary
//     name, fsynced, renamed, and its directory fsynced, before anybody hears
//     of it. What a crash left half-written is removed by Open.
//   - An envelope (the exact bytes of a batch that was put off) is read back
//     as it was written or not at all: a torn or altered one is ErrDamaged.
//   - A move never overwrites, never leaves part of a file under its final
//     name, also from one filesystem to another, and may be repeated after a
//     crash at any instant.
//   - A directory below a watched folder is entered one element at a time and
//     never through a link, so that nobody who may write there can lead a
//     read, a move or a delete out of it.
//
// Names are bytes: nothing here looks at their encoding.
package spool

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
)

const (
	filesDir  = "spool"
	outboxDir = "outbox"
	tmpSuffix = ".tmp"
)

// A Spool is the spool and outbox directories of one state directory. It has
// one owner at a time (the holder of the state directory's lock) and is safe
// for concurrent use by it.
type Spool struct {
	files  string
	outbox string
	kept   string
	epoch  string // starts the names of the files of this Spool
	seq    atomic.Uint64
}

// Open makes dir/spool and dir/outbox where they are absent and removes what a
// crash left half-written in them. Nothing else may have dir's spool open.
func Open(dir string) (*Spool, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open the spool in %s: %w", dir, err)
	}
	var r [8]byte
	rand.Read(r[:])
	s := &Spool{
		files:  filepath.Join(dir, filesDir),
		outbox: filepath.Join(dir, outboxDir),
		kept:   filepath.Join(dir, keptDir),
		epoch:  hex.EncodeToString(r[:]),
	}
	for _, d := range []string{s.files, s.outbox} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("open the spool: %w", err)
		}
		if err := eachName(d, func(name string) error {
			if !strings.HasSuffix(name, tmpSuffix) {
				return nil
			}
			return os.Remove(filepath.Join(d, name))
		}); err != nil {
			return nil, fmt.Errorf("clean the spool: %w", err)
		}
	}
	if err := syncDir(dir); err != nil {
		return nil, fmt.Errorf("open the spool: %w", err)
	}
	return s, nil
}

// Dir is where spool files are.
func (s *Spool) Dir() string { return s.files }

// Holds reports whether path is that of a spool file, there or not.
func (s *Spool) Holds(path string) bool { return filepath.Dir(path) == s.files }

// Remove removes a spool file; one that is gone is no error.
func (s *Spool) Remove(path string) error {
	if !s.Holds(path) {
		return fmt.Errorf("remove %q: it is not in the spool %s", path, s.files)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove a spool file: %w", err)
	}
	return nil
}

// RemoveUnowned removes the spool files of earlier processes that owned does
// not claim: copies whose arrival was never stored. Files made since Open are
// left alone, so it may run beside sources. It returns how many were removed.
func (s *Spool) RemoveUnowned(owned func(path string) bool) (int, error) {
	n := 0
	err := eachName(s.files, func(name string) error {
		path := filepath.Join(s.files, name)
		if strings.HasPrefix(name, s.epoch) || owned(path) {
			return nil
		}
		n++
		return os.Remove(path)
	})
	if err != nil {
		return n, fmt.Errorf("remove unowned spool files: %w", err)
	}
	return n, nil
}

// Label is what the maker of a spool file wrote into its name.
func Label(path string) string {
	_, label, _ := strings.Cut(filepath.Base(path), "_")
	return label
}

// name makes a new spool file's name. A label survives restarts without a
// ledger: it stands in the name.
func (s *Spool) name(label string) (string, error) {
	n := s.epoch + "-" + strconv.FormatUint(s.seq.Add(1), 16)
	if label == "" {
		return n, nil
	}
	for i := range len(label) {
		c := label[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
			return "", fmt.Errorf("spool: label %q holds more than a-z, 0-9 and dashes", label)
		}
	}
	if len(label) > 128 {
		return "", fmt.Errorf("spool: label of %d bytes, at most 128", len(label))
	}
	return n + "_" + label, nil
}

// eachName calls f for every regular file of dir, in no order.
func eachName(dir string, f func(name string) error) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		es, err := d.ReadDir(1024)
		for _, e := range es {
			if !e.Type().IsRegular() {
				continue
			}
			if err := f(e.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		if len(es) == 0 {
			return ignoreEOF(err)
		}
	}
}
