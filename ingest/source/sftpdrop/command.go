package sftpdrop

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"ingestd/ingest/spool"

	"github.com/pkg/sftp"
	"golang.org/x/sys/unix"
)

// Filecmd implements sftp.FileCmder: what changes something and is no write.
func (s *session) Filecmd(r *sftp.Request) error {
	switch r.Method {
	case "Setstat":
		return s.answer("setstat", r.Filepath, s.setstat(r))
	case "Rename":
		return s.rename(r, false)
	case "Remove":
		return s.answer("remove", r.Filepath, s.named(r.Filepath, s.remove))
	case "Rmdir":
		return s.answer("rmdir", r.Filepath, s.named(r.Filepath, s.rmdir))
	case "Mkdir":
		return s.answer("mkdir", r.Filepath, s.named(r.Filepath, s.mkdir))
	case "Link", "Symlink":
		return s.answer("link", r.Filepath, refuse("links cannot be made"))
	}
	return sftp.ErrSSHFxOpUnsupported
}

// PosixRename implements sftp.PosixRenameFileCmder: a rename that replaces.
func (s *session) PosixRename(r *sftp.Request) error { return s.rename(r, true) }

// named calls do with a name below the home.
func (s *session) named(p string, do func(name string) error) error {
	name, err := judge(p)
	if err != nil {
		return err
	}
	if name == "." {
		return errDenied
	}
	return do(name)
}

// setstat sets the time that a client asks for. Modes and owners are passed
// over, since clients send them unasked; a size cannot be set.
func (s *session) setstat(r *sftp.Request) error {
	name, err := judge(r.Filepath)
	if err != nil {
		return err
	}
	flags, want := r.AttrFlags(), r.Attributes()
	if want == nil { // its bytes are no attributes
		return &fault{sftp.ErrSSHFxBadMessage, "bad message"}
	}
	is, err := s.lookAt(r.Filepath)
	switch {
	case err != nil:
		return err
	case flags.Size && (is.dir || int64(want.Size) != is.size):
		return &fault{sftp.ErrSSHFxOpUnsupported, "a size cannot be set"}
	case !flags.Acmodtime || is.dir:
		return nil
	}
	if u := s.user.home.unfinished(name); u != nil {
		u.mu.Lock()
		u.mtime = want.ModTime() // taken at the close; writes would change it
		u.mu.Unlock()
		return nil
	}
	d, err := s.user.home.folder(path.Dir(name))
	if err != nil {
		return err
	}
	defer d.Close()
	times := make([]unix.Timespec, 2)
	for i, t := range []time.Time{want.AccessTime(), want.ModTime()} {
		if times[i], err = unix.TimeToTimespec(t); err != nil {
			return err
		}
	}
	err = unix.UtimesNanoAt(int(d.Fd()), path.Base(name), times, unix.AT_SYMLINK_NOFOLLOW)
	return ignoreGone(err) // taken up since
}

// remove removes a file, or a broken upload.
func (s *session) remove(name string) error {
	h := s.user.home
	if u := h.unfinished(name); u != nil {
		u.io.Lock()
		defer u.io.Unlock()
		switch {
		case u.owner != nil:
			return fail("the file is being uploaded")
		case u.gone || u.name != name:
			return errNone
		}
		s.log.Info("removed an unfinished upload", "name", quoted(name))
		return u.drop()
	}
	d, err := h.folder(path.Dir(name))
	if err != nil {
		return err
	}
	defer d.Close()
	base := path.Base(name)
	info, err := spool.StatAt(d, base)
	switch {
	case err != nil:
		return err
	case info.Mode.IsDir():
		return fail("it is a folder")
	case !info.Regular():
		return errNone
	}
	// Not spool.RemoveAt, to which a file that is gone is as good as removed: the
	// partner must hear that it was taken up before it could be taken back.
	if err := unix.Unlinkat(int(d.Fd()), base, 0); err != nil {
		return err
	}
	s.user.home.ghosts.lay(name)
	s.log.Info("removed", "name", quoted(name))
	return d.Sync()
}

func (s *session) rmdir(name string) error {
	h := s.user.home
	switch {
	case s.user.fixed(name):
		return refuse("this folder stays: files are taken up from it")
	case len(h.beneath(name, true)) > 0:
		return unix.ENOTEMPTY
	}
	d, err := h.folder(path.Dir(name))
	if err != nil {
		return err
	}
	defer d.Close()
	if err := h.emptied(name); err != nil {
		return err
	}
	if err := unix.Unlinkat(int(d.Fd()), path.Base(name), unix.AT_REMOVEDIR); err != nil {
		return err
	}
	return d.Sync()
}

// emptied makes sure that a folder looks empty to the partner.
func (h *home) emptied(name string) error {
	return h.list(name, func(entry) error { return unix.ENOTEMPTY })
}

func (s *session) mkdir(name string) error {
	if u := s.user.home.unfinished(name); u != nil {
		return errExists
	}
	if why := s.server.full(); why != "" {
		return fail("the server's disk is nearly full; try again later")
	}
	d, err := s.user.home.folder(path.Dir(name))
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Mkdirat(int(d.Fd()), path.Base(name), homeMode); err != nil {
		return err
	}
	// Files in it will be called durable.
	return d.Sync()
}

// rename renames a file, a folder or a broken upload. A file that gets a name
// that is taken up is whole, as it was before.
func (s *session) rename(r *sftp.Request, replace bool) error {
	err := s.named(r.Filepath, func(from string) error {
		return s.named(r.Target, func(to string) error { return s.renameTo(from, to, replace) })
	})
	return s.answer("rename", r.Filepath+" to "+r.Target, err)
}

func (s *session) renameTo(from, to string, replace bool) error {
	h := s.user.home
	if from == to {
		_, err := h.look(from)
		return err
	}
	if strings.HasPrefix(to, from+"/") {
		return fail("a folder cannot go into itself")
	}
	if u := h.unfinished(from); u != nil {
		return s.renameUnfinished(u, from, to)
	}
	is, err := h.look(from)
	switch {
	case err != nil:
		return err
	case is.dir && s.user.fixed(from):
		return refuse("this folder stays: files are taken up from it")
	case is.dir && len(h.beneath(from, true)) > 0:
		return fail("the folder holds unfinished uploads")
	case !is.dir && !s.user.admits(to):
		return refuse("files of this name are not taken here")
	case is.dir && s.user.fixed(to):
		return errExists
	}
	if u := h.unfinished(to); u != nil {
		if is.dir || !replace {
			return errExists
		}
		if err := s.remove(to); err != nil {
			return err
		}
	}
	old, err := h.folder(path.Dir(from))
	if err != nil {
		return err
	}
	defer old.Close()
	dest, err := h.folder(path.Dir(to))
	if err != nil {
		return err
	}
	defer dest.Close()
	if replace && !is.dir {
		err = unix.Renameat(int(old.Fd()), path.Base(from), int(dest.Fd()), path.Base(to))
	} else {
		err = spool.RenameAt(old, path.Base(from), dest, path.Base(to))
	}
	if err != nil {
		return err
	}
	h.ghosts.lay(from)
	// On disk before it is answered: a partner's rename is its word that the file
	// is whole, as a close is.
	if err := errors.Join(dest.Sync(), old.Sync()); err != nil {
		return err
	}
	s.log.Info("renamed", "name", quoted(from), "to", quoted(to))
	if !is.dir {
		s.remember(to, entry{name: path.Base(to), size: is.size, time: is.time})
	}
	s.arrived(to)
	return nil
}

// renameUnfinished gives a broken upload another name; it stays broken.
func (s *session) renameUnfinished(u *upload, from, to string) error {
	h := u.home
	u.io.Lock()
	defer u.io.Unlock()
	switch {
	case u.owner != nil:
		return fail("the file is being uploaded")
	case u.gone || u.name != from:
		return errNone
	case !s.user.admits(to):
		return refuse("files of this name are not taken here")
	}
	d, err := h.folder(path.Dir(to))
	if err != nil {
		return err
	}
	d.Close()
	if _, err := h.stat(to); err == nil {
		return errExists
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	own, err := h.own()
	if err != nil {
		return err
	}
	defer own.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.uploads[to] != nil {
		return errExists
	}
	if err := h.writeNote(own, u.id, note{[]byte(to), u.saved}); err != nil {
		return err
	}
	delete(h.uploads, from)
	u.name, h.uploads[to] = to, u
	return nil
}

// StatVFS implements sftp.StatVFSFileCmder: the disk, or what is left of the
// quota.
func (s *session) StatVFS(r *sftp.Request) (_ *sftp.StatVFS, err error) {
	defer func() { err = s.answer("statvfs", r.Filepath, err) }()
	name, err := judge(r.Filepath)
	if err != nil {
		return nil, err
	}
	h := s.user.home
	var d *os.File
	if d, err = h.folder(name); err != nil {
		if d, err = h.folder(path.Dir(name)); err != nil {
			return nil, err
		}
	}
	defer d.Close()
	free, total, err := spool.Free(h.path)
	if err != nil {
		return nil, err
	}
	const block = 4096
	st := &sftp.StatVFS{
		Bsize: block, Frsize: block, Blocks: total / block, Bfree: free / block, Bavail: free / block,
		Files: 1 << 20, Ffree: 1 << 20, Favail: 1 << 20, Namemax: maxElem,
	}
	if q := s.user.Quota; q > 0 {
		left := min(free, uint64(h.left(q)))
		st.Blocks, st.Bfree, st.Bavail = min(total, uint64(q))/block, left/block, left/block
	}
	return st, nil
}
