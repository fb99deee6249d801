package sftpdrop

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"ingestd/ingest/spool"

	"github.com/pkg/sftp"
)

// maxListed bounds the names of one folder.
const maxListed = 100_000

// An entry is a file or folder as a partner sees it.
type entry struct {
	name string // without a folder
	size int64
	time time.Time
	dir  bool
}

var _ os.FileInfo = entry{}

func (e entry) Name() string       { return e.name }
func (e entry) Size() int64        { return e.size }
func (e entry) ModTime() time.Time { return e.time }
func (e entry) IsDir() bool        { return e.dir }
func (e entry) Sys() any           { return nil }

// Mode is the same for all: who owns files on this machine is none of a
// partner's business.
func (e entry) Mode() fs.FileMode {
	if e.dir {
		return fs.ModeDir | 0o750
	}
	return 0o640
}

// list calls yield for what a partner sees in a folder, in no order: files and
// folders, and unfinished uploads in place of the files they may replace.
func (h *home) list(dir string, yield func(entry) error) error {
	d, err := h.folder(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	unfinished := h.beneath(dir, false)
	for name, u := range unfinished {
		if err := yield(u.entry(name)); err != nil {
			return err
		}
	}
	for n := 0; ; {
		names, err := d.Readdirnames(1024)
		for _, name := range names {
			if unfinished[name] != nil || hidden(name) {
				continue
			}
			if n++; n > maxListed {
				return fail("the folder has too many names to list")
			}
			info, err := spool.StatAt(d, name)
			if err != nil || !info.Regular() && !info.Mode.IsDir() {
				continue // gone, or nothing that a partner put there
			}
			if err := yield(entryOf(name, info)); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func entryOf(name string, info spool.Info) entry {
	return entry{name: name, size: info.Size, time: info.ModTime, dir: info.Mode.IsDir()}
}

func (u *upload) entry(name string) entry {
	size, changed := u.view()
	return entry{name: name, size: size, time: changed}
}

// look describes one name as a partner sees it.
func (h *home) look(name string) (entry, error) {
	if u := h.unfinished(name); u != nil {
		return u.entry(path.Base(name)), nil
	}
	if name == "." {
		d, err := h.folder(".")
		if err != nil {
			return entry{}, err
		}
		defer d.Close()
		info, err := spool.StatAt(d, ".")
		return entryOf("/", info), err
	}
	info, err := h.stat(name)
	switch {
	case err != nil:
		return entry{}, err
	case !info.Regular() && !info.Mode.IsDir():
		return entry{}, errNone
	}
	return entryOf(path.Base(name), info), nil
}

// A listing is a folder as it was when it was opened.
type listing struct {
	entries []os.FileInfo
	done    func()
}

func (l *listing) ListAt(into []os.FileInfo, off int64) (int, error) {
	if off < 0 || off >= int64(len(l.entries)) {
		return 0, io.EOF
	}
	n := copy(into, l.entries[off:])
	if n < len(into) {
		return n, io.EOF
	}
	return n, nil
}

// Close gives the listing's place among the open files back.
func (l *listing) Close() error {
	if l.done != nil {
		l.done()
		l.done = nil
	}
	return nil
}

// Filelist implements sftp.FileLister: listings, and what one name is.
func (s *session) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	switch r.Method {
	case "List":
		return s.opendir(r.Filepath)
	case "Stat", "Lstat": // there are no links
		e, err := s.lookAt(r.Filepath)
		if err != nil {
			return nil, s.answer("stat", r.Filepath, err)
		}
		return &listing{entries: []os.FileInfo{e}}, nil
	}
	return nil, sftp.ErrSSHFxOpUnsupported
}

func (s *session) opendir(p string) (*listing, error) {
	name, err := judge(p)
	if err != nil {
		return nil, s.answer("list", p, err)
	}
	if !s.user.take(&s.user.files, s.user.MaxOpenFiles) {
		return nil, errManyFiles
	}
	l := &listing{done: func() { s.user.give(&s.user.files) }}
	err = s.user.home.list(name, func(e entry) error {
		l.entries = append(l.entries, e)
		return nil
	})
	if err != nil {
		l.Close()
		return nil, s.answer("list", p, err)
	}
	return l, nil
}

// lookAt is what stands at a path. What was uploaded and
// taken up since still has a size for a while: clients ask for it to see that
// all of it came, some over another connection that they had at the time.
func (s *session) lookAt(p string) (entry, error) {
	name, err := judge(p)
	if err != nil {
		return entry{}, err
	}
	e, err := s.user.home.look(name)
	if errors.Is(err, fs.ErrNotExist) {
		if g, ok := s.user.home.ghosts.get(name, s.began, time.Now()); ok {
			return g, nil
		}
	}
	return e, err
}
