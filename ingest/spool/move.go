package spool

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Move moves the regular file src to dst, making missing directories, and
// returns where it ended: where dst is taken by another file, a numbered name
// beside it. It never overwrites. When it returns, the move is on disk.
func Move(src, dst string) (final string, err error) {
	return move(src, dst, ID{})
}

// MoveOnly is Move for the very file that id describes, to a destination that
// was decided (and stored) before: it fails with ErrOther where src is another
// file, and it may be repeated after a crash at any instant. A src that is
// gone while the file stands at dst is success.
func MoveOnly(src, dst string, id ID) (final string, err error) {
	return move(src, dst, id)
}

func move(src, dst string, id ID) (string, error) {
	from, err := OpenDir(filepath.Dir(src))
	if err != nil {
		return "", fmt.Errorf("move a file: %w", err)
	}
	defer from.Close()
	if err := MakeDirs(filepath.Dir(dst), 0o755); err != nil {
		return "", fmt.Errorf("move a file: %w", err)
	}
	to, err := OpenDir(filepath.Dir(dst))
	if err != nil {
		return "", fmt.Errorf("move a file: %w", err)
	}
	defer to.Close()
	name, err := MoveAt(context.Background(), from, filepath.Base(src), to, filepath.Base(dst), id)
	if err != nil {
		return "", err
	}
	return filepath.Join(filepath.Dir(dst), name), nil
}

// MoveAt is MoveOnly between open directories; a zero id stands for whatever
// regular file is called name. ctx ends a copy between filesystems, after
// which everything is as before.
func MoveAt(ctx context.Context, from *os.File, name string, to *os.File, as string, id ID) (final string, err error) {
	final, err = moveAt(ctx, from, name, to, as, id)
	if err != nil {
		return "", fmt.Errorf("move %q to %q: %w", filepath.Join(from.Name(), name), filepath.Join(to.Name(), as), err)
	}
	return final, nil
}

func moveAt(ctx context.Context, from *os.File, name string, to *os.File, as string, id ID) (string, error) {
	src, err := StatAt(from, name)
	there, thereErr := StatAt(to, as)
	switch {
	case isGone(err) && id != (ID{}) && thereErr == nil && moved(id, there.ID):
		return as, nil
	case err != nil:
		return "", err
	case !src.Regular():
		return "", ErrIrregular
	case id != (ID{}) && !src.Same(id):
		return "", ErrOther
	}
	if thereErr == nil && there.Regular() && id != (ID{}) {
		// What a crash may have left between its two last steps.
		done, err := halfMoved(from, name, src.ID, to, as, there.ID)
		if err != nil {
			return "", err
		}
		if done {
			return as, removeMoved(from, name, to)
		}
	}
	final, err := renameFree(from, name, to, as)
	if errors.Is(err, unix.EXDEV) {
		return copyAcross(ctx, from, name, to, as)
	}
	if err != nil {
		return "", err
	}
	return final, errors.Join(to.Sync(), from.Sync())
}

// moved reports whether there may be id after a move, which changes the inode
// where it went to another filesystem.
func moved(id, there ID) bool {
	return there.Same(id) || (there.Device != id.Device && there.Size == id.Size && sameTime(there, id))
}

// sameTime compares mtimes as coarsely as the coarsest filesystem keeps them.
func sameTime(a, b ID) bool {
	d := a.ModTime.Sub(b.ModTime)
	return d.Abs().Seconds() <= 2
}

// halfMoved reports whether "to/as" is "from/name" already: linked, or copied
// whole from another filesystem.
func halfMoved(from *os.File, name string, src ID, to *os.File, as string, dst ID) (bool, error) {
	if src.Device == dst.Device {
		return src.Inode == dst.Inode && src.Inode != 0, nil
	}
	if src.Size != dst.Size || !sameTime(src, dst) {
		return false, nil
	}
	a, _, err := OpenAt(from, name)
	if err != nil {
		return false, err
	}
	defer a.Close()
	b, _, err := OpenAt(to, as)
	if err != nil {
		return false, err
	}
	defer b.Close()
	return sameBytes(a, b)
}

func sameBytes(a, b io.Reader) (bool, error) {
	bufA, bufB := make([]byte, 256<<10), make([]byte, 256<<10)
	for {
		n, errA := io.ReadFull(a, bufA)
		m, errB := io.ReadFull(b, bufB)
		if !bytes.Equal(bufA[:n], bufB[:m]) {
			return false, nil
		}
		if errA == io.EOF || errA == io.ErrUnexpectedEOF {
			return true, nil
		}
		if errA != nil || errB != nil {
			return false, errors.Join(errA, errB)
		}
	}
}

// removeMoved removes the old name once the new one is certain to last.
func removeMoved(from *os.File, name string, to *os.File) error {
	if err := to.Sync(); err != nil {
		return err
	}
	if err := RemoveAt(from, name); err != nil {
		return err
	}
	return from.Sync()
}

// renameFree renames to the first free name in the row of as.
func renameFree(from *os.File, name string, to *os.File, as string) (string, error) {
	const tries = 100 // lost races for a name; more is somebody's fault
	free := Numbered(as, 0)
	for range tries {
		err := RenameAt(from, name, to, free)
		if !errors.Is(err, fs.ErrExist) {
			return free, err
		}
		if free, err = FreeName(as, func(n string) (bool, error) {
			_, err := StatAt(to, n)
			if isGone(err) {
				return false, nil
			}
			return true, err
		}); err != nil {
			return "", err
		}
	}
	return "", fs.ErrExist
}

// RenameAt renames a file between directories of one filesystem and fails with
// fs.ErrExist where the new name is taken, by whatever means the filesystem
// has. It does not make the rename durable.
func RenameAt(from *os.File, name string, to *os.File, as string) error {
	err := renameNoReplace(from, name, to, as)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.ENOTSUP):
		err = renameByLink(from, name, to, as)
	}
	if err != nil {
		return pathError("rename", filepath.Join(from.Name(), name), err)
	}
	return nil
}

// renameByLink is for filesystems without RENAME_NOREPLACE (NFS, some FUSE).
func renameByLink(from *os.File, name string, to *os.File, as string) error {
	f, t := int(from.Fd()), int(to.Fd())
	err := retry(func() error { return unix.Linkat(f, name, t, as, 0) })
	switch {
	case err == nil:
		return retry(func() error { return unix.Unlinkat(f, name, 0) })
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EMLINK):
	default:
		return err
	}
	// No hard links either (FAT, some SMB): the name is taken with an empty file
	// of our own, which the rename then replaces.
	var fd int
	err = retry(func() (err error) {
		fd, err = unix.Openat(t, as, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		return err
	})
	if err != nil {
		return err
	}
	unix.Close(fd)
	if err := retry(func() error { return unix.Renameat(f, name, t, as) }); err != nil {
		unix.Unlinkat(t, as, 0)
		return err
	}
	return nil
}

// copyAcross moves between filesystems: a copy under a temporary name, fsync,
// rename, and only then the old name goes. The temporary name follows from the
// file, so that a repeat after a crash uses it up.
func copyAcross(ctx context.Context, from *os.File, name string, to *os.File, as string) (string, error) {
	src, before, err := OpenAt(from, name)
	if err != nil {
		return "", err
	}
	defer src.Close()
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %d %s", before.Device, before.Inode, as))
	tmp := ".ingestd-" + hex.EncodeToString(sum[:8]) + ".part"
	if err := RemoveAt(to, tmp); err != nil {
		return "", err
	}
	var fd int
	if err := retry(func() (err error) {
		fd, err = unix.Openat(int(to.Fd()), tmp,
			unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		return err
	}); err != nil {
		return "", pathError("create", filepath.Join(to.Name(), tmp), err)
	}
	dst := os.NewFile(uintptr(fd), filepath.Join(to.Name(), tmp))
	defer dst.Close()
	err = fillCopy(ctx, dst, src, before)
	if err == nil {
		err = stampTime(to, tmp, before)
	}
	if err == nil {
		err = dst.Sync()
	}
	if err != nil {
		return "", errors.Join(err, RemoveAt(to, tmp))
	}
	final, err := renameFree(to, tmp, to, as)
	if err != nil {
		return "", errors.Join(err, RemoveAt(to, tmp))
	}
	return final, removeMoved(from, name, to)
}

func fillCopy(ctx context.Context, dst, src *os.File, before Info) error {
	if err := copyBytes(ctx, dst, src, before.Size); err != nil {
		return err
	}
	after, err := statFile(src)
	if err != nil {
		return err
	}
	if !after.Same(before.ID) {
		return ErrChanged
	}
	return dst.Chmod(before.Mode.Perm())
}

// stampTime gives the copy the original's mtime, by which a repeat knows it.
func stampTime(to *os.File, name string, info Info) error {
	ts, err := unix.TimeToTimespec(info.ModTime)
	if err != nil {
		return err
	}
	return retry(func() error {
		return unix.UtimesNanoAt(int(to.Fd()), name, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
	})
}
