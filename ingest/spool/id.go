package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Errors about single files.
var (
	// ErrChanged: the file changed while it was copied or moved.
	ErrChanged = errors.New("the file changed meanwhile")
	// ErrOther: what stands at the path is not the file that was meant.
	ErrOther = errors.New("another file stands there")
	// ErrIrregular: no regular file (a link, a directory, a FIFO, a device).
	ErrIrregular = errors.New("not a regular file")
)

// An ID tells one file, as it stood, from others.
type ID struct {
	Device  uint64
	Inode   uint64 // 0: not known, or means nothing on this filesystem
	Size    int64  // bytes
	ModTime time.Time
}

// Same reports whether o is the same file with the same content, as far as
// inode, size and mtime tell. The device is left out, since its number changes
// with the next mount, and mtimes are compared to the microsecond, as ledgers
// keep them.
func (id ID) Same(o ID) bool {
	return id.SameFile(o) && id.Size == o.Size && id.ModTime.UnixMicro() == o.ModTime.UnixMicro()
}

// SameFile reports whether o is the same file, changed or not.
func (id ID) SameFile(o ID) bool {
	return id.Inode == o.Inode || id.Inode == 0 || o.Inode == 0
}

// Info is an ID and what else a decision needs.
type Info struct {
	ID
	Mode  fs.FileMode // type and permission bits
	Links uint64      // hard links
}

// Regular reports whether it is a regular file.
func (i Info) Regular() bool { return i.Mode.IsRegular() }

// Stat describes what stands at path without following a link at its end.
func Stat(path string) (Info, error) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Lstat(path, &st) }); err != nil {
		return Info{}, pathError("lstat", path, err)
	}
	return infoOf(&st), nil
}

// StatAt describes what is called name in dir, without following links.
func StatAt(dir *os.File, name string) (Info, error) {
	var st unix.Stat_t
	err := retry(func() error {
		return unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	})
	if err != nil {
		return Info{}, pathError("lstat", filepath.Join(dir.Name(), name), err)
	}
	return infoOf(&st), nil
}

func statFile(f *os.File) (Info, error) {
	var st unix.Stat_t
	if err := retry(func() error { return unix.Fstat(int(f.Fd()), &st) }); err != nil {
		return Info{}, pathError("fstat", f.Name(), err)
	}
	return infoOf(&st), nil
}

// OpenAt opens the regular file called name in dir for reading. It never
// follows a link, never waits for the other end of a FIFO and fails with
// ErrIrregular for anything else than a regular file.
func OpenAt(dir *os.File, name string) (*os.File, Info, error) {
	path := filepath.Join(dir.Name(), name)
	// Looked at first, so that a device's driver is not even asked.
	info, err := StatAt(dir, name)
	if err != nil {
		return nil, Info{}, err
	}
	if !info.Regular() {
		return nil, info, pathError("open", path, ErrIrregular)
	}
	var fd int
	err = retry(func() (err error) {
		fd, err = unix.Openat(int(dir.Fd()), name,
			unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		return err
	})
	switch {
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENXIO):
		return nil, info, pathError("open", path, ErrIrregular)
	case err != nil:
		return nil, info, pathError("open", path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	if info, err = statFile(f); err == nil && !info.Regular() {
		err = pathError("open", path, ErrIrregular)
	}
	if err != nil {
		f.Close()
		return nil, info, err
	}
	return f, info, nil
}

// OpenFile opens the regular file at path for reading, as OpenAt does, and
// fails with ErrOther unless it is the very file that want describes.
func OpenFile(path string, want ID) (*os.File, error) {
	dir, err := OpenDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	f, info, err := OpenAt(dir, filepath.Base(path))
	if err != nil {
		return nil, err
	}
	if !info.Same(want) {
		f.Close()
		return nil, fmt.Errorf("open %q: %w", path, ErrOther)
	}
	return f, nil
}

func infoOf(st *unix.Stat_t) Info {
	return Info{
		ID: ID{
			Device:  uint64(st.Dev),
			Inode:   uint64(st.Ino),
			Size:    st.Size,
			ModTime: time.Unix(st.Mtim.Unix()),
		},
		Mode:  modeOf(uint32(st.Mode)),
		Links: uint64(st.Nlink),
	}
}

func modeOf(m uint32) fs.FileMode {
	mode := fs.FileMode(m & 0o777)
	switch m & unix.S_IFMT {
	case unix.S_IFREG:
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	case unix.S_IFIFO:
		mode |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		mode |= fs.ModeSocket
	case unix.S_IFCHR, unix.S_IFBLK:
		mode |= fs.ModeDevice
	default:
		mode |= fs.ModeIrregular
	}
	return mode
}

// pathError says what failed about which path. Partners choose names, and
// errors reach terminals: what would not print plainly is quoted.
func pathError(op, path string, err error) error {
	if q := strconv.Quote(path); len(q) != len(path)+2 {
		path = q
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}

// retry repeats f while a signal interrupts it, which network filesystems do.
func retry(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}
