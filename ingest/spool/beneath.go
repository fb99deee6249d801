package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// OpenDir opens the directory at path, following links: for paths that the
// configuration names.
func OpenDir(path string) (*os.File, error) {
	return openDir(unix.AT_FDCWD, path, path, 0)
}

// OpenBeneath opens the directory rel beneath dir one element at a time. A
// link on the way is an error, and so is a rel that is not local. Where perm
// is not 0, missing directories are made with it, durably.
func OpenBeneath(dir *os.File, rel string, perm fs.FileMode) (*os.File, error) {
	return beneath(dir, rel, perm, true)
}

// MakeBeneath is OpenBeneath whose new directories are durable only after
// SyncBeneath: one wait for the disk in place of one for each.
func MakeBeneath(dir *os.File, rel string, perm fs.FileMode) (*os.File, error) {
	return beneath(dir, rel, perm, false)
}

// SyncBeneath makes durable what changed in dir/rel and in the directories on
// the way to it, dir included, the deepest first.
func SyncBeneath(dir *os.File, rel string) error {
	for rel = filepath.Clean(rel); ; rel = filepath.Dir(rel) {
		d, err := OpenBeneath(dir, rel, 0)
		if err != nil {
			return err
		}
		if err := errors.Join(d.Sync(), d.Close()); err != nil {
			return err
		}
		if rel == "." {
			return nil
		}
	}
}

func beneath(dir *os.File, rel string, perm fs.FileMode, durable bool) (*os.File, error) {
	if !filepath.IsLocal(rel) {
		return nil, pathError("open", filepath.Join(dir.Name(), rel), fs.ErrInvalid)
	}
	at, err := openDir(int(dir.Fd()), ".", dir.Name(), unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	for elem := range strings.SplitSeq(filepath.Clean(rel), "/") {
		if elem == "." {
			continue
		}
		next, err := openElem(at, elem, perm, durable)
		at.Close()
		if err != nil {
			return nil, err
		}
		at = next
	}
	return at, nil
}

func openElem(at *os.File, elem string, perm fs.FileMode, durable bool) (*os.File, error) {
	path := filepath.Join(at.Name(), elem)
	d, err := openDir(int(at.Fd()), elem, path, unix.O_NOFOLLOW)
	if perm == 0 || !isGone(err) {
		return d, err
	}
	err = retry(func() error { return unix.Mkdirat(int(at.Fd()), elem, uint32(perm.Perm())) })
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, pathError("mkdir", path, err)
	}
	if durable {
		if err := at.Sync(); err != nil {
			return nil, err
		}
	}
	return openDir(int(at.Fd()), elem, path, unix.O_NOFOLLOW)
}

func openDir(at int, name, path string, flags int) (*os.File, error) {
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|flags, 0)
		return err
	})
	if err != nil {
		return nil, pathError("open directory", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// MakeDirs makes the directory at path and its missing parents, durably,
// following links: for paths that the configuration names.
func MakeDirs(path string, perm fs.FileMode) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := MakeDirs(parent, perm); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, perm); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

// RemoveAt removes the file called name in dir; one that is gone is no error.
func RemoveAt(dir *os.File, name string) error {
	err := retry(func() error { return unix.Unlinkat(int(dir.Fd()), name, 0) })
	if err != nil && !isGone(err) {
		return pathError("remove", filepath.Join(dir.Name(), name), err)
	}
	return nil
}

// RemoveEmpty removes the directory rel beneath dir and then its parents, up
// to but without dir, as long as they are empty. One that is not empty, or is
// gone, is no error.
func RemoveEmpty(dir *os.File, rel string) error {
	for rel = filepath.Clean(rel); rel != "."; rel = filepath.Dir(rel) {
		parent, err := OpenBeneath(dir, filepath.Dir(rel), 0)
		if isGone(err) {
			continue
		}
		if err != nil {
			return err
		}
		err = retry(func() error {
			return unix.Unlinkat(int(parent.Fd()), filepath.Base(rel), unix.AT_REMOVEDIR)
		})
		parent.Close()
		switch {
		case errors.Is(err, unix.ENOTEMPTY), errors.Is(err, fs.ErrExist):
			return nil
		case err != nil && !isGone(err):
			return fmt.Errorf("remove an empty directory: %w",
				pathError("rmdir", filepath.Join(dir.Name(), rel), err))
		}
	}
	return nil
}
