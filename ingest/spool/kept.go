package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// keptDir holds copies of what cannot be had again where it was found. Their
// names say how they ended and their mtimes when; everything else about them is
// in the ledger.
const keptDir = "kept"

const (
	keptDone   = "done-"
	keptFailed = "failed-"
)

// Keep keeps a spool file for a replay, until PruneKept or ShedKept removes it.
// One that is gone, or is kept already, is no error.
func (s *Spool) Keep(path string, failed bool, now time.Time) error {
	if !s.Holds(path) {
		return fmt.Errorf("keep %q: it is not in the spool %s", path, s.files)
	}
	as := keptDone
	if failed {
		as = keptFailed
	}
	err := os.MkdirAll(s.kept, 0o700)
	if err == nil {
		err = os.Chtimes(path, time.Time{}, now)
	}
	if err == nil {
		err = os.Rename(path, filepath.Join(s.kept, as+filepath.Base(path)))
	}
	if err != nil && !isGone(err) {
		return fmt.Errorf("keep a spool file: %w", err)
	}
	return nil
}

// Kept is where the spool file that was at path is kept, and whether it is.
func Kept(path string) (string, bool) {
	dir := filepath.Join(filepath.Dir(filepath.Dir(path)), keptDir)
	for _, as := range []string{keptDone, keptFailed} {
		p := filepath.Join(dir, as+filepath.Base(path))
		if _, err := os.Lstat(p); err == nil {
			return p, true
		}
	}
	return "", false
}

// A keptFile is a file in keptDir.
type keptFile struct {
	path  string
	since time.Time
}

// eachKept calls f for all kept files but those that are needed.
func (s *Spool) eachKept(needed func(path string) bool, f func(path string, failed bool, since time.Time) error) error {
	err := eachName(s.kept, func(name string) error {
		failed := strings.HasPrefix(name, keptFailed)
		path := filepath.Join(s.kept, name)
		if !failed && !strings.HasPrefix(name, keptDone) || needed(path) {
			return nil
		}
		fi, err := os.Lstat(path)
		if err != nil {
			return err
		}
		return f(path, failed, fi.ModTime())
	})
	if isGone(err) {
		return nil
	}
	return err
}

// PruneKept removes kept files that ended before these times, of done arrivals
// and of failed ones; a zero time removes none. It returns how many.
func (s *Spool) PruneKept(done, failed time.Time, needed func(path string) bool) (n int, err error) {
	err = s.eachKept(needed, func(path string, bad bool, since time.Time) error {
		before := done
		if bad {
			before = failed
		}
		if before.IsZero() || !since.Before(before) {
			return nil
		}
		n++
		return os.Remove(path)
	})
	if err != nil {
		return n, fmt.Errorf("prune kept files: %w", err)
	}
	return n, nil
}

// ShedKept removes kept files, the oldest first, until enough is true. It returns
// how many.
func (s *Spool) ShedKept(enough func() bool, needed func(path string) bool) (n int, err error) {
	if enough() {
		return 0, nil
	}
	var all []keptFile
	err = s.eachKept(needed, func(path string, _ bool, since time.Time) error {
		all = append(all, keptFile{path, since})
		return nil
	})
	slices.SortFunc(all, func(a, b keptFile) int {
		return cmp.Or(a.since.Compare(b.since), strings.Compare(a.path, b.path))
	})
	for _, k := range all {
		if e := os.Remove(k.path); e != nil && !errors.Is(e, fs.ErrNotExist) {
			return n, fmt.Errorf("shed kept files: %w", errors.Join(e, err))
		}
		if n++; enough() {
			break
		}
	}
	if err != nil {
		return n, fmt.Errorf("shed kept files: %w", err)
	}
	return n, nil
}
