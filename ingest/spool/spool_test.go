package spool_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ingestd/ingest"
	"ingestd/ingest/spool"
)

func open(t *testing.T, dir string) *spool.Spool {
	t.Helper()
	s, err := spool.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCopyAndCrash(t *testing.T) {
	state := t.TempDir()
	s := open(t, state)
	content := make([]byte, 3<<20+7)
	rand.Read(content)
	src := filepath.Join(t.TempDir(), "x")
	write(t, src, content)
	f, err := os.Open(src)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := s.Copy(context.Background(), f, "a-1")
	if err != nil {
		t.Fatal(err)
	}
	info, err := spool.Stat(c.Path)
	if err != nil || c.Size != int64(len(content)) || !info.Same(c.ID) || info.Mode.Perm() != 0o600 {
		t.Errorf("copy %+v, on disk %+v, %v", c, info, err)
	}
	if was, err := spool.Stat(src); err != nil || !was.ModTime.Equal(c.ModTime) {
		t.Errorf("copied with mtime %v, the original has %v, %v", c.ModTime, was.ModTime, err)
	}
	if !bytes.Equal(read(t, c.Path), content) {
		t.Error("the copy differs")
	}
	if !s.Holds(c.Path) || s.Holds(src) || spool.Label(c.Path) != "a-1" {
		t.Errorf("path %s", c.Path)
	}

	// A crash in the middle of the next copy leaves a temporary file.
	w, err := s.Create("")
	if err != nil {
		t.Fatal(err)
	}
	w.Write(content[:100])
	s = open(t, state)
	if names := list(t, s.Dir()); len(names) != 1 || filepath.Join(s.Dir(), names[0]) != c.Path {
		t.Errorf("left after a crash: %q", names)
	}

	// What nobody owns goes, but not what this process makes.
	mine, err := s.Create("")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mine.Commit(); err != nil {
		t.Fatal(err)
	}
	if n, err := s.RemoveUnowned(func(p string) bool { return p == c.Path }); n != 0 || err != nil {
		t.Errorf("removed %d, %v", n, err)
	}
	if n, err := s.RemoveUnowned(func(string) bool { return false }); n != 1 || err != nil {
		t.Errorf("removed %d, %v", n, err)
	}
	if names := list(t, s.Dir()); len(names) != 1 {
		t.Errorf("left: %q", names)
	}
	if err := s.Remove(c.Path); err != nil {
		t.Errorf("removing twice: %v", err)
	}
	if err := s.Remove(src); err == nil {
		t.Error("removed what is not in the spool")
	}
}

func list(t *testing.T, dir string) []string {
	t.Helper()
	es, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range es {
		names = append(names, e.Name())
	}
	return names
}

func TestWriter(t *testing.T) {
	s := open(t, t.TempDir())
	w, err := s.Create("")
	if err != nil {
		t.Fatal(err)
	}
	w.WriteAt([]byte("world"), 6)
	w.WriteAt([]byte("hello "), 0)
	f, err := w.Commit()
	if err != nil || f.Size != 11 || string(read(t, f.Path)) != "hello world" {
		t.Errorf("%+v %v", f, err)
	}
	if err := w.Abort(); err != nil {
		t.Errorf("Abort after Commit: %v", err)
	}
	read(t, f.Path)
	if w, err = s.Create(""); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Abort(), w.Abort()); err != nil {
		t.Error(err)
	}
	if _, err := w.Commit(); err == nil {
		t.Error("committed after Abort")
	}
	for _, label := range []string{"A", "a/b", "..", "a_b", strings.Repeat("a", 129)} {
		if _, err := s.Create(label); err == nil {
			t.Errorf("label %q was taken", label)
		}
	}
	if names := list(t, s.Dir()); len(names) != 1 {
		t.Errorf("left: %q", names)
	}
}

func TestCopyStops(t *testing.T) {
	s := open(t, t.TempDir())
	src := filepath.Join(t.TempDir(), "x")
	write(t, src, make([]byte, 1<<20))
	f, err := os.Open(src)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Copy(ctx, f, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if names := list(t, s.Dir()); len(names) != 0 {
		t.Errorf("left: %q", names)
	}
}

func envelope() *spool.Envelope {
	return &spool.Envelope{
		ContentType: "application/json",
		Body:        []byte(`[{"a":"1"},{"a":"2"}]`),
		Records: []spool.Enclosed{
			{Pos: ingest.Position{Record: 1, Line: 2, Column: 1, Offset: 3}, At: 1, Len: 9, Raw: []byte("1")},
			{Pos: ingest.Position{Record: math.MaxInt64, Line: 1 << 40, Offset: -1}, At: 11, Len: 9, Raw: []byte("\xff\x00\n")},
		},
		Vars: []ingest.Var{{Name: "tenant", Value: "ä/\n"}, {Name: "", Value: ""}},
	}
}

func TestOutbox(t *testing.T) {
	state := t.TempDir()
	o := open(t, state).Outbox()
	want := envelope()
	for _, id := range []int64{7, 9_000_000_000, 8} {
		if err := o.Put(id, want); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(state, "outbox", "9.tmp"), []byte("half"))
	write(t, filepath.Join(state, "outbox", "notes"), nil)
	o = open(t, state).Outbox()
	ids, err := o.List()
	if err != nil || !slices.Equal(ids, []int64{7, 8, 9_000_000_000}) {
		t.Errorf("listed %v, %v", ids, err)
	}
	got, err := o.Get(7)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if err := errors.Join(o.Remove(7), o.Remove(7)); err != nil {
		t.Error(err)
	}
	if _, err := o.Get(7); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	// Put replaces.
	want.Body = []byte("[]")
	want.Records, want.Vars = []spool.Enclosed{}, []ingest.Var{}
	if err := o.Put(8, want); err != nil {
		t.Fatal(err)
	}
	if got, err = o.Get(8); err != nil || cmp.Diff(want, got) != "" {
		t.Errorf("%+v, %v", got, err)
	}
	want.Records = []spool.Enclosed{{At: 1, Len: 2}}
	if err := o.Put(8, want); err == nil {
		t.Error("stored a record that stands outside the body")
	}
}

// A torn or altered envelope must never be sent: every prefix, every flipped
// bit, a byte too many and another batch's file are noticed.
func TestOutboxDamage(t *testing.T) {
	state := t.TempDir()
	o := open(t, state).Outbox()
	if err := o.Put(1, envelope()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(state, "outbox", "1")
	whole := read(t, path)
	damaged := func(b []byte, what string, n int) {
		t.Helper()
		write(t, path, b)
		if _, err := o.Get(1); !errors.Is(err, spool.ErrDamaged) {
			t.Errorf("%s %d: %v", what, n, err)
		}
	}
	for n := range whole {
		damaged(whole[:n], "cut at", n)
	}
	for n := range len(whole) * 8 {
		b := bytes.Clone(whole)
		b[n/8] ^= 1 << (n % 8)
		damaged(b, "flipped bit", n)
	}
	damaged(append(bytes.Clone(whole), 0), "one byte more than", len(whole))
	damaged(make([]byte, len(whole)), "zeros", len(whole))
	write(t, filepath.Join(state, "outbox", "2"), whole)
	if _, err := o.Get(2); !errors.Is(err, spool.ErrDamaged) {
		t.Errorf("another batch's envelope: %v", err)
	}
}

func TestOpenRefusesAFile(t *testing.T) {
	state := t.TempDir()
	write(t, filepath.Join(state, "spool"), nil)
	if _, err := spool.Open(state); err == nil {
		t.Error("opened over a file")
	}
}

func TestFree(t *testing.T) {
	free, total, err := spool.Free(t.TempDir())
	if err != nil || free == 0 || free > total {
		t.Errorf("%d of %d, %v", free, total, err)
	}
	if _, _, err := spool.Free("/no/such/place"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if spool.NetworkFS(t.TempDir()) || spool.NetworkFS("/no/such/place") {
		t.Error("the temporary directory is on a network filesystem")
	}
}
