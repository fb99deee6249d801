package file

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A handle is an open file and what of it is on disk.
type handle struct {
	f  *os.File
	id os.FileInfo // as it was opened

	// Guarded by target.mu.
	users   int
	dropped bool
	writes  uint64 // so far

	syncing sync.Mutex // one fdatasync at a time; never taken under target.mu
	synced  uint64     // writes that are on disk
	failed  error
}

// openHandle opens the file at path, or makes it, durably, with its
// directories.
func openHandle(path string) (*handle, error) {
	if err := makeDirs(filepath.Dir(path)); err != nil {
		return nil, err
	}
	// O_NONBLOCK: a FIFO in its place must not hold us.
	const flags = os.O_RDWR | os.O_CREATE | syscall.O_NONBLOCK
	f, err := os.OpenFile(path, flags, 0o640)
	if err != nil {
		return nil, err
	}
	id, err := f.Stat()
	switch {
	case err != nil:
	case !id.Mode().IsRegular():
		err = errNotRegular
	default:
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &handle{f: f, id: id}, nil
}

// sync returns once the write numbered seq is on disk; writes tells how many
// there are by now. One fdatasync serves all writes before it.
func (h *handle) sync(seq uint64, writes func() uint64) error {
	h.syncing.Lock()
	defer h.syncing.Unlock()
	if seq <= h.synced {
		return nil
	}
	// After a failure the kernel may have dropped any page and will not say so
	// twice: this handle proves nothing any more.
	if h.failed != nil {
		return h.failed
	}
	upto := writes()
	if err := fdatasync(h.f); err != nil {
		h.failed = fmt.Errorf("fdatasync: %w", err)
		return h.failed
	}
	h.synced = upto
	return nil
}

func fdatasync(f *os.File) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	err = c.Control(func(fd uintptr) {
		for serr = syscall.EINTR; serr == syscall.EINTR; {
			serr = unix.Fdatasync(int(fd))
		}
	})
	return errors.Join(err, serr)
}

// makeDirs makes dir and what is missing above it, durably.
func makeDirs(dir string) error {
	err := os.Mkdir(dir, 0o750)
	switch {
	case err == nil:
		return syncDir(filepath.Dir(dir))
	case errors.Is(err, os.ErrExist):
		return nil // or no directory: opening the file will say so
	case !errors.Is(err, os.ErrNotExist):
		return err
	}
	if parent := filepath.Dir(dir); parent != dir {
		if err := makeDirs(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o750); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) {
		err = nil // a file system that syncs no directories
	}
	return errors.Join(err, d.Close())
}
