package dir_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ingestd/ingest/source"
	"ingestd/ingest/source/dir"
)

// The folder is deleted and made anew, renamed away, replaced by another, by a
// file, by nothing: the error is shown, once, and it goes on when it is back.
func TestFolderComesAndGoes(t *testing.T) {
	tests := []struct {
		name       string
		leave      func(w *world)
		comesBack  func(w *world)
		wantShown  error
		sameFolder bool
	}{
		{
			name:      "deleted",
			leave:     func(w *world) { w.must(os.RemoveAll(w.folder)) },
			comesBack: func(w *world) { w.must(os.Mkdir(w.folder, 0o755)) },
			wantShown: fs.ErrNotExist,
		},
		{
			name:      "renamed",
			leave:     func(w *world) { w.must(os.Rename(w.folder, w.folder+"-away")) },
			comesBack: func(w *world) { w.must(os.Rename(w.folder+"-away", w.folder)) },
			wantShown: fs.ErrNotExist,
		},
		{
			name: "a file",
			leave: func(w *world) {
				w.must(os.RemoveAll(w.folder))
				w.must(os.WriteFile(w.folder, nil, 0o644))
			},
			comesBack: func(w *world) {
				w.must(os.Remove(w.folder))
				w.must(os.Mkdir(w.folder, 0o755))
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, hourly)
			w.run()
			w.drop("a.csv", "1")
			w.eng.next()
			tt.leave(w)
			err := w.state()
			if err == nil || tt.wantShown != nil && !errors.Is(err, tt.wantShown) || !strings.Contains(err.Error(), w.folder) {
				t.Errorf("shown: %v", err)
			}
			tt.comesBack(w)
			if err := w.state(); err != nil {
				t.Errorf("shown: %v", err)
			}
			w.drop("b.csv", "1")
			if b := w.eng.next(); b.Name != "b.csv" {
				t.Errorf("took %q", b.Name)
			}
			if n := w.log.count("does not work"); n != 1 {
				t.Errorf("the error was logged %d times", n)
			}
		})
	}
}

// Another directory under its name is followed without a stop.
func TestFolderReplaced(t *testing.T) {
	w := newWorld(t, hourly)
	w.run()
	w.must(os.Mkdir(w.folder+"-new", 0o755))
	w.must(os.WriteFile(w.folder+"-new/a.csv", nil, 0o644))
	w.must(unix.Renameat2(unix.AT_FDCWD, w.folder, unix.AT_FDCWD, w.folder+"-new", unix.RENAME_EXCHANGE))
	if a := w.eng.next(); a.Name != "a.csv" {
		t.Errorf("took %q", a.Name)
	}
	w.drop("b.csv", "1")
	if b := w.eng.next(); b.Name != "b.csv" {
		t.Errorf("took %q", b.Name)
	}
}

func TestFolderNotThereAtStart(t *testing.T) {
	w := newWorld(t, nil)
	w.must(os.Remove(w.folder))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.src.Run(ctx, w.eng) }()
	if err := w.state(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("shown: %v", err)
	}
	w.must(os.Mkdir(w.folder, 0o755))
	if err := w.state(); err != nil {
		t.Errorf("shown: %v", err)
	}
	w.write("a.csv", "1")
	w.eng.next()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// An unmounted folder is an error, not an empty folder, and what lies under
// the mount point is not taken; a filesystem mounted over it is followed.
func TestFolderMounted(t *testing.T) {
	w := newWorld(t, func(o *dir.Options) { o.Rescan = 1 })
	mount := func() error { return unix.Mount("tmpfs", w.folder, "tmpfs", 0, "size=1m") }
	w.write("under.csv", "1")
	if err := mount(); err != nil {
		t.Skipf("may not mount: %v", err)
	}
	mounted := true
	t.Cleanup(func() {
		if mounted {
			unix.Unmount(w.folder, unix.MNT_DETACH)
		}
	})
	w.run()
	w.write("a.csv", "1")
	w.eng.next()
	err := unix.Unmount(w.folder, 0)
	for errors.Is(err, unix.EBUSY) { // it is just being listed
		err = unix.Unmount(w.folder, 0)
	}
	w.must(err)
	mounted = false
	if err := w.state(); err == nil || !strings.Contains(err.Error(), "mount") {
		t.Errorf("shown: %v", err)
	}
	w.must(mount())
	mounted = true
	if err := w.state(); err != nil {
		t.Errorf("shown: %v", err)
	}
	w.write("b.csv", "1")
	if b := w.eng.next(); b.Name != "b.csv" {
		t.Errorf("took %q", b.Name)
	}
	w.eng.none()
}

func TestFolderMountedOver(t *testing.T) {
	w := newWorld(t, func(o *dir.Options) { o.Rescan = 1 })
	w.run()
	if err := unix.Mount("tmpfs", w.folder, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("may not mount: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(w.folder, unix.MNT_DETACH) })
	w.write("a.csv", "1")
	if a := w.eng.next(); a.Name != "a.csv" {
		t.Errorf("took %q", a.Name)
	}
}

// A directory in the folder that is on a filesystem of its own cannot be
// claimed from; that is told, and the others go on.
func TestMountBelow(t *testing.T) {
	w := newWorld(t, func(o *dir.Options) { o.Rules.Recursive = true })
	w.must(os.Mkdir(w.path("sub"), 0o755))
	if err := unix.Mount("tmpfs", w.path("sub"), "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("may not mount: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(w.path("sub"), unix.MNT_DETACH) })
	w.write("sub/a.csv", "1")
	w.write("b.csv", "1")
	w.sweep()
	if b := w.eng.next(); b.Name != "b.csv" {
		t.Errorf("took %q", b.Name)
	}
	w.eng.none()
	if p := w.problem(); p.Kind != source.Unmovable || p.Name != "sub/a.csv" || !strings.Contains(p.Error(), "filesystem") {
		t.Errorf("told %v", p)
	}
}
