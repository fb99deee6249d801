package spool

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// What is kept is found again by where it was, is removed in its time, and where
// there is no room, the oldest first.
func TestKept(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	nobody := func(string) bool { return false }
	if n, err := s.PruneKept(time.Now(), time.Now(), nobody); n != 0 || err != nil {
		t.Fatal(n, err) // nothing was ever kept
	}
	now := time.Now().Truncate(time.Second)
	var paths []string
	for i, failed := range []bool{false, true, false, true} {
		w, err := s.Create("")
		if err != nil {
			t.Fatal(err)
		}
		f, err := w.Commit()
		if err != nil {
			t.Fatal(err)
		}
		if p, ok := Kept(f.Path); ok {
			t.Errorf("%s is kept already", p)
		}
		for range 2 { // again, after a crash
			if err := s.Keep(f.Path, failed, now.Add(time.Duration(i-10)*time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		paths = append(paths, f.Path)
	}
	if err := s.Keep(filepath.Join(t.TempDir(), "x"), false, now); err == nil {
		t.Error("a file of somebody else's was kept")
	}
	is := func(want ...bool) {
		t.Helper()
		for i, p := range paths {
			kept, ok := Kept(p)
			if ok != want[i] {
				t.Errorf("file %d is kept as %q", i, kept)
			}
		}
	}
	is(true, true, true, true)
	if n, err := s.PruneKept(now.Add(-9*time.Hour), time.Time{}, nobody); n != 1 || err != nil {
		t.Error(n, err)
	}
	is(false, true, true, true)
	oldest, _ := Kept(paths[1])
	calls := 0
	n, err := s.ShedKept(func() bool { calls++; return calls > 2 }, func(p string) bool { return p == oldest })
	if n != 2 || err != nil {
		t.Error(n, err)
	}
	is(false, true, false, false)
	if n, err := s.PruneKept(time.Time{}, now, nobody); n != 1 || err != nil {
		t.Error(n, err)
	}
	// What is kept is no leftover of a crash.
	again, err := Open(filepath.Dir(s.files))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.kept, "done-x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := again.RemoveUnowned(nobody); n != 0 || err != nil {
		t.Error(n, err)
	}
}
