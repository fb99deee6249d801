package spool_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"ingestd/ingest/spool"
)

func TestOpenBeneath(t *testing.T) {
	base := t.TempDir()
	outside := t.TempDir()
	for _, d := range []string{"a/b/c"} {
		if err := os.MkdirAll(filepath.Join(base, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	os.Symlink(outside, filepath.Join(base, "out"))
	os.Symlink("b", filepath.Join(base, "a", "in"))
	write(t, filepath.Join(base, "file"), nil)
	root, err := spool.OpenDir(base)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	tests := []struct {
		rel  string
		perm fs.FileMode
		ok   bool
	}{
		{".", 0, true},
		{"a/b/c", 0, true},
		{"a/b/d", 0, false},
		{"a/b/d/e", 0o700, true},
		{"out", 0, false},
		{"out/x", 0o700, false},
		{"a/in", 0, false},
		{"a/in/c", 0o700, false},
		{"file", 0, false},
		{"file/x", 0o700, false},
		{"../x", 0o700, false},
		{"a/../../x", 0, false},
		{"/etc", 0, false},
		{"", 0, false},
	}
	for _, tt := range tests {
		d, err := spool.OpenBeneath(root, tt.rel, tt.perm)
		if (err == nil) != tt.ok {
			t.Errorf("%q: %v", tt.rel, err)
		}
		if err == nil {
			if want := filepath.Join(base, tt.rel); d.Name() != want {
				t.Errorf("%q is called %s", tt.rel, d.Name())
			}
			d.Close()
		}
	}
	if names := list(t, outside); len(names) != 0 {
		t.Errorf("made outside: %q", names)
	}

	if err := spool.RemoveEmpty(root, "a/b/d/e"); err != nil {
		t.Error(err)
	}
	missing(t, filepath.Join(base, "a", "b", "d"))
	if err := spool.RemoveEmpty(root, "a/b/c"); err != nil { // a holds "in"
		t.Error(err)
	}
	missing(t, filepath.Join(base, "a", "b"))
	if names := list(t, filepath.Join(base, "a")); len(names) != 1 {
		t.Errorf("left: %q", names)
	}
	if err := spool.RemoveEmpty(root, "none/at/all"); err != nil {
		t.Error(err)
	}
}

// Nothing but a regular file is opened, and nothing blocks.
func TestOpenAt(t *testing.T) {
	base := t.TempDir()
	in := func(name string) string { return filepath.Join(base, name) }
	write(t, in("file"), []byte("x"))
	os.Symlink("file", in("link"))
	os.Symlink("none", in("dangling"))
	os.Mkdir(in("dir.csv"), 0o755)
	if err := unix.Mkfifo(in("fifo.csv"), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", in("s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	root, err := spool.OpenDir(base)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, name := range []string{"link", "dangling", "dir.csv", "fifo.csv", "s"} {
		if _, _, err := spool.OpenAt(root, name); !errors.Is(err, spool.ErrIrregular) {
			t.Errorf("%s: %v", name, err)
		}
	}
	f, info, err := spool.OpenAt(root, "file")
	if err != nil || !info.Regular() || info.Size != 1 || info.Links != 1 {
		t.Fatalf("%+v, %v", info, err)
	}
	f.Close()
	if f, err = spool.OpenFile(in("file"), info.ID); err != nil {
		t.Fatal(err)
	}
	f.Close()
	write(t, in("new"), []byte("x"))
	os.Rename(in("new"), in("file"))
	if _, err := spool.OpenFile(in("file"), info.ID); !errors.Is(err, spool.ErrOther) {
		t.Errorf("another file: %v", err)
	}
}

func TestWriting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	w, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if !spool.Writing(r) {
		t.Skip("the kernel does not tell here")
	}
	w.Close()
	if spool.Writing(r) {
		t.Error("still open for writing after its close")
	}
	// No lease is left behind: a writer is not kept waiting.
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("open for writing: %v", err)
	}
	unix.Close(fd)
}
