package sftpdrop

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"time"

	"ingestd/ingest/spool"

	"golang.org/x/sys/unix"
)

// begin starts an upload of a name, or goes on with one, for h.
func (hm *home) begin(h *handle, name string, o intent) error {
	for {
		u := hm.unfinished(name)
		if u == nil {
			again, err := hm.start(h, name, o)
			if again {
				continue
			}
			return err
		}
		if o.excl {
			return errExists
		}
		u.io.Lock()
		if u.gone || u.name != name {
			u.io.Unlock()
			continue
		}
		if o.trunc {
			err := u.drop()
			u.io.Unlock()
			if err != nil {
				return err
			}
			continue
		}
		err := u.resume(h, o)
		u.io.Unlock()
		return err
	}
}

// An intent is how a client opened a file.
type intent struct {
	create, trunc, excl, appends bool
}

// resume gives a broken upload, or one that somebody else writes, to h. The
// caller holds u.io.
func (u *upload) resume(h *handle, o intent) error {
	own, err := u.home.own()
	if err != nil {
		return err
	}
	defer own.Close()
	if err := u.reopen(own); err != nil {
		return err
	}
	u.mu.Lock()
	u.r.pieces = nil
	front := u.r.front
	u.mu.Unlock()
	if err := u.file.Truncate(front); err != nil {
		return err
	}
	h.u, u.owner = u, h
	if o.appends {
		h.floor = front
	}
	return nil
}

// start makes a new upload for h. A whole file that is opened without being
// truncated is taken back: it is no upload that ended any more. again: somebody
// else was faster.
func (hm *home) start(h *handle, name string, o intent) (again bool, err error) {
	dir, err := hm.folder(path.Dir(name))
	if err != nil {
		return false, err
	}
	defer dir.Close()
	base := path.Base(name)
	info, err := spool.StatAt(dir, base)
	there := err == nil
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return false, err
	case there && o.excl:
		return false, errExists
	case there && !info.Regular():
		return false, errDenied
	case !there && !o.create:
		return false, errNone
	}
	own, err := hm.own()
	if err != nil {
		return false, err
	}
	defer own.Close()
	u := &upload{home: hm, id: newID(), name: name, owner: h, changed: time.Now()}
	u.io.Lock()
	defer u.io.Unlock()

	hm.mu.Lock()
	switch {
	case hm.uploads[name] != nil:
		hm.mu.Unlock()
		return true, nil
	case len(hm.uploads) >= maxUnfinished:
		hm.mu.Unlock()
		return false, fail("too many unfinished uploads")
	}
	hm.uploads[name] = u
	hm.mu.Unlock()
	taken := false // a whole file is in it
	defer func() {
		switch {
		case err == nil && !again:
		case taken:
			u.owner = nil
			if _, perr := u.park(); perr != nil {
				err = errors.Join(err, perr)
			}
		default:
			_ = u.drop()
		}
	}()

	back := there && !o.trunc
	if back {
		u.r.front = info.Size
	}
	if err := hm.writeNote(own, u.id, note{[]byte(name), u.r.front}); err != nil {
		return false, err
	}
	flags := os.O_RDWR | unix.O_NOFOLLOW
	if back {
		to, err := own.Open(".")
		if err != nil {
			return false, err
		}
		defer to.Close()
		if err := spool.RenameAt(dir, base, to, u.id+partSuffix); errors.Is(err, fs.ErrNotExist) {
			return true, nil // taken up meanwhile
		} else if err != nil {
			return false, err
		}
		taken = true
	} else {
		flags |= os.O_CREATE | os.O_EXCL
	}
	if u.file, err = own.OpenFile(u.id+partSuffix, flags, uploadMode); err != nil {
		return false, err
	}
	if back {
		fi, err := u.file.Stat()
		if err != nil {
			return false, err
		}
		u.r.front = fi.Size() // it may have been replaced since it was looked at
	}
	if o.appends {
		h.floor = u.r.front
	}
	u.saved = u.r.front
	h.u = u
	return false, nil
}
