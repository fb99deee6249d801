package spool

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// A File is a spool file that is whole and on disk.
type File struct {
	Path string
	ID
}

// A Writer makes one spool file. It is for one goroutine, but for WriteAt,
// which may run in several before Commit.
type Writer struct {
	f     *os.File
	final string
	done  bool
}

// Create starts a spool file. label (a-z, 0-9, dashes; may be empty) stands in
// its name and is read back by Label. The caller ends it with Commit or Abort.
func (s *Spool) Create(label string) (*Writer, error) {
	name, err := s.name(label)
	if err != nil {
		return nil, err
	}
	final := filepath.Join(s.files, name)
	f, err := os.OpenFile(final+tmpSuffix, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start a spool file: %w", err)
	}
	return &Writer{f: f, final: final}, nil
}

// Write appends p.
func (w *Writer) Write(p []byte) (int, error) { return w.f.Write(p) }

// WriteAt writes p at off, for downloads whose pieces come out of order.
func (w *Writer) WriteAt(p []byte, off int64) (int, error) { return w.f.WriteAt(p, off) }

// ReadAt reads back what was written.
func (w *Writer) ReadAt(p []byte, off int64) (int, error) { return w.f.ReadAt(p, off) }

// Sync brings what was written so far to disk. After an error the file is to be
// aborted: the system may not tell of it again.
func (w *Writer) Sync() error {
	if err := w.f.Sync(); err != nil {
		return fmt.Errorf("sync a spool file: %w", err)
	}
	return nil
}

// Stamp gives the file another mtime: that of what it is a copy of. It is the
// last thing before Commit.
func (w *Writer) Stamp(mtime time.Time) error {
	if err := os.Chtimes(w.f.Name(), time.Time{}, mtime); err != nil {
		return fmt.Errorf("stamp a spool file: %w", err)
	}
	return nil
}

// ReadFrom copies within the kernel where it can.
func (w *Writer) ReadFrom(r io.Reader) (int64, error) { return w.f.ReadFrom(r) }

// Commit makes the file whole and durable. After an error nothing is there.
func (w *Writer) Commit() (File, error) {
	if w.done {
		return File{}, errors.New("commit a spool file: it has ended")
	}
	info, err := statFile(w.f)
	if err == nil {
		err = w.f.Sync()
	}
	if err == nil {
		err = os.Rename(w.f.Name(), w.final)
	}
	if err != nil {
		return File{}, errors.Join(fmt.Errorf("commit a spool file: %w", err), w.Abort())
	}
	w.done = true
	err = errors.Join(w.f.Close(), syncDir(filepath.Dir(w.final)))
	if err != nil {
		// Not known to be durable: better none than one that a crash takes back.
		return File{}, fmt.Errorf("commit a spool file: %w", errors.Join(err, os.Remove(w.final)))
	}
	return File{Path: w.final, ID: info.ID}, nil
}

// Abort removes what was written. After Commit it does nothing, so that it may
// be deferred.
func (w *Writer) Abort() error {
	if w.done {
		return nil
	}
	w.done = true
	err := errors.Join(w.f.Close(), os.Remove(w.f.Name()))
	if err != nil {
		return fmt.Errorf("abort a spool file: %w", err)
	}
	return nil
}

// Copy makes a spool file of src's bytes from its start: a reflink where the
// filesystem can, so that a large file costs no room. It fails with ErrChanged
// where src changed meanwhile. ID is the copy's own; its mtime is src's, so that
// size and mtime say the same of both.
func (s *Spool) Copy(ctx context.Context, src *os.File, label string) (File, error) {
	before, err := statFile(src)
	if err != nil {
		return File{}, fmt.Errorf("copy into the spool: %w", err)
	}
	w, err := s.Create(label)
	if err != nil {
		return File{}, err
	}
	defer w.Abort()
	if err := copyBytes(ctx, w.f, src, before.Size); err != nil {
		return File{}, fmt.Errorf("copy into the spool: %w", err)
	}
	if after, err := statFile(src); err != nil || !after.Same(before.ID) {
		return File{}, fmt.Errorf("copy into the spool: %w", errors.Join(ErrChanged, err))
	}
	if err := os.Chtimes(w.f.Name(), time.Time{}, before.ModTime); err != nil {
		return File{}, fmt.Errorf("copy into the spool: %w", err)
	}
	return w.Commit()
}

// copyBytes copies size bytes of src, whose offset is at its start, to dst.
func copyBytes(ctx context.Context, dst, src *os.File, size int64) error {
	if clone(dst, src) == nil {
		return ctx.Err()
	}
	const step = 8 << 20 // between looks at ctx
	left := size
	for left > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.CopyN(dst, src, min(left, step))
		left -= n
		if err == io.EOF {
			return fmt.Errorf("%w: %d of %d bytes", ErrChanged, size-left, size)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// syncDir makes renames and new names in a directory durable.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func ignoreEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

func isGone(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// ReplaceAt makes the file called name in dir of what write writes, in place of
// whatever file stands there: it is there whole or not at all, and on disk when
// ReplaceAt returns. The temporary name begins with a dot and follows from name,
// so that a repeat after a crash uses it up.
func ReplaceAt(dir *os.File, name string, perm fs.FileMode, write func(io.Writer) error) error {
	sum := sha256.Sum256([]byte(name))
	tmp := ".ingestd-" + hex.EncodeToString(sum[:8]) + tmpSuffix
	path := filepath.Join(dir.Name(), name)
	if err := RemoveAt(dir, tmp); err != nil {
		return err
	}
	var fd int
	if err := retry(func() (err error) {
		fd, err = unix.Openat(int(dir.Fd()), tmp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, uint32(perm.Perm()))
		return err
	}); err != nil {
		return pathError("create", filepath.Join(dir.Name(), tmp), err)
	}
	f := os.NewFile(uintptr(fd), path)
	w := bufio.NewWriterSize(f, 64<<10)
	err := write(w)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		d := int(dir.Fd())
		if err = retry(func() error { return unix.Renameat(d, tmp, d, name) }); err != nil {
			err = pathError("rename", path, err)
		}
	}
	if err != nil {
		return errors.Join(err, RemoveAt(dir, tmp))
	}
	return dir.Sync()
}
