package sftpdrop

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// saveEvery is how many bytes of an upload may be lost to a crash: so often
// they are brought to the disk and noted. It also keeps the wait at the close
// short.
const saveEvery = 32 << 20

// An upload is a file that is not whole yet: somebody writes it, or it was
// broken off.
type upload struct {
	home *home
	id   string // of its files in the uploads directory

	// io is held for reading by writes, and for writing by whoever ends the
	// upload, takes it over or renames it. It comes before home.mu.
	io    sync.RWMutex
	name  string
	owner *handle  // nil: broken off
	file  *os.File // nil while nobody writes
	gone  bool     // it ended

	saving sync.WaitGroup

	mu      sync.Mutex // comes last
	r       ranges
	saved   int64     // on disk and noted
	busy    bool      // saving
	changed time.Time // last written to
	mtime   time.Time // asked for by the client; zero: none
}

// A handle is one client's way to write an upload. It reads too, for clients
// that ask for both.
type handle struct {
	session *session
	u       *upload
	most    int64 // bytes
	floor   int64 // an appending client writes behind it

	mu     sync.Mutex
	broken error // why the upload cannot be whole any more
	closed bool
	since  int64 // bytes since it was asked whether the disk is full
}

var errLost = fail("another connection writes this file now")

// WriteAt takes a piece.
func (h *handle) WriteAt(p []byte, off int64) (int, error) {
	if err := h.write(p, off); err != nil {
		h.fail(err)
		return 0, answer(err)
	}
	return len(p), nil
}

func (h *handle) write(p []byte, off int64) error {
	u := h.u
	end := off + int64(len(p))
	switch {
	case off < 0 || end < off || end > h.most:
		return fail(fmt.Sprintf("the file is larger than the %d bytes that are allowed", h.most))
	case off < h.floor:
		return fail("an appended piece begins before the end of the file")
	}
	u.io.RLock()
	defer u.io.RUnlock()
	if u.owner != h {
		return errLost
	}
	u.mu.Lock()
	more := end - u.r.end()
	u.mu.Unlock()
	if !u.home.reserve(more, h.session.user.Quota) {
		return fail("the quota is used up")
	}
	if err := h.room(len(p)); err != nil {
		return err
	}
	if _, err := u.file.WriteAt(p, off); err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := u.r.add(off, end); err != nil {
		return fail(err.Error())
	}
	u.changed = time.Now()
	if u.r.front-u.saved >= saveEvery && !u.busy {
		u.busy = true
		u.saving.Go(u.save)
	}
	return nil
}

// room refuses what a disk that is nearly full cannot take.
func (h *handle) room(n int) error {
	const every = 4 << 20
	h.mu.Lock()
	h.since += int64(n)
	ask := h.since >= every
	if ask {
		h.since = 0
	}
	h.mu.Unlock()
	if ask && h.session.server.full() != "" {
		return fail("the server's disk is nearly full")
	}
	return nil
}

// ReadAt reads back what was written.
func (h *handle) ReadAt(p []byte, off int64) (int, error) {
	h.u.io.RLock()
	defer h.u.io.RUnlock()
	switch {
	case h.u.owner != h:
		return 0, errLost
	case !h.session.user.readable(h.u.name):
		return 0, errDenied
	}
	n, err := h.u.file.ReadAt(p, off)
	if err != nil && err != io.EOF {
		err = answer(err)
	}
	return n, err
}

// TransferError says that the client went away before it closed the file.
func (h *handle) TransferError(err error) {
	h.fail(fmt.Errorf("the connection ended: %w", err))
}

func (h *handle) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.broken == nil {
		h.broken = err
	}
}

// Close is the client's word that the file is whole. It returns nil once the
// file is on disk under its name.
func (h *handle) Close() error {
	u := h.u
	u.io.Lock()
	defer u.io.Unlock()
	h.mu.Lock()
	closed, cause := h.closed, h.broken
	h.closed = true
	h.mu.Unlock()
	if closed {
		return nil
	}
	defer h.session.ended(h)
	if u.owner != h {
		return errLost
	}
	u.owner = nil
	u.saving.Wait()
	if cause == nil && !u.r.whole() {
		cause = fail(fmt.Sprintf("the upload has a gap: bytes %d to %d did not come", u.r.front, u.r.pieces[0].from))
	}
	if cause == nil {
		size := u.r.front
		if cause = u.commit(); cause == nil {
			h.session.uploaded(u.name, size)
			return nil
		}
	}
	kept, err := u.park()
	h.session.broke(u.name, kept, errors.Join(cause, err))
	return answer(cause)
}

// commit brings the bytes to the disk and then to their name. The caller holds
// u.io.
func (u *upload) commit() error {
	own, err := u.home.own()
	if err != nil {
		return err
	}
	defer own.Close()
	u.mu.Lock()
	mtime := u.mtime
	u.mu.Unlock()
	if !mtime.IsZero() {
		if err := own.Chtimes(u.id+partSuffix, mtime, mtime); err != nil {
			return err
		}
	}
	if err := u.file.Sync(); err != nil {
		return err
	}
	// Closed before it has its name: whoever takes files up there asks the
	// kernel whether somebody still writes them.
	err = u.file.Close()
	u.file = nil
	if err != nil {
		return err
	}
	from, err := own.Open(".")
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := u.home.folder(path.Dir(u.name))
	if err != nil {
		return err
	}
	defer to.Close()
	err = unix.Renameat(int(from.Fd()), u.id+partSuffix, int(to.Fd()), path.Base(u.name))
	switch {
	case errors.Is(err, unix.EXDEV):
		return fail("the folder is on another disk than the home")
	case err != nil:
		return err
	}
	u.end()
	return errors.Join(to.Sync(), ignoreGone(own.Remove(u.id+noteSuffix)))
}

// park keeps what came without a gap, for the partner to go on from. The caller
// holds u.io.
func (u *upload) park() (kept int64, err error) {
	if u.gone {
		return 0, nil
	}
	u.mu.Lock()
	u.r.pieces = nil
	kept = u.r.front
	u.mu.Unlock()
	if kept == 0 {
		return 0, u.drop()
	}
	own, err := u.home.own()
	if err != nil {
		return kept, err
	}
	defer own.Close()
	if err := u.reopen(own); err != nil {
		return kept, err
	}
	err = errors.Join(u.file.Truncate(kept), u.file.Sync(), u.file.Close())
	u.file = nil
	if err == nil {
		err = u.home.writeNote(own, u.id, note{[]byte(u.name), kept})
	}
	u.mu.Lock()
	u.saved = kept
	u.mu.Unlock()
	return kept, err
}

// reopen opens the file for writing, where it is not. The caller holds u.io.
func (u *upload) reopen(own *os.Root) (err error) {
	if u.file == nil {
		u.file, err = own.OpenFile(u.id+partSuffix, os.O_RDWR|unix.O_NOFOLLOW, 0)
	}
	return err
}

// drop ends the upload and removes its bytes. The caller holds u.io.
func (u *upload) drop() error {
	u.owner = nil
	u.saving.Wait()
	u.end()
	if u.file != nil {
		u.file.Close()
		u.file = nil
	}
	own, err := u.home.own()
	if err != nil {
		return err
	}
	defer own.Close()
	return errors.Join(ignoreGone(own.Remove(u.id+partSuffix)), ignoreGone(own.Remove(u.id+noteSuffix)))
}

// end forgets the upload. The caller holds u.io.
func (u *upload) end() {
	u.gone = true
	u.home.mu.Lock()
	defer u.home.mu.Unlock()
	if u.home.uploads[u.name] == u {
		delete(u.home.uploads, u.name)
	}
}

// save brings what came so far to the disk and notes it. It runs beside the
// writes; whoever ends the upload waits for it.
func (u *upload) save() {
	u.mu.Lock()
	front := u.r.front
	u.mu.Unlock()
	// The owner may be taken from the upload meanwhile, the file may not: who
	// closes it waits.
	err := u.file.Sync()
	if err == nil {
		var own *os.Root
		if own, err = u.home.own(); err == nil {
			err = u.home.writeNote(own, u.id, note{[]byte(u.name), front})
			own.Close()
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.busy = false
	if err == nil {
		u.saved = front
	} else {
		u.saved = u.r.front // not tried again at once; the close will tell
	}
}

// view is how long the upload is without a gap, and when it was last written
// to.
func (u *upload) view() (size int64, changed time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.r.front, u.changed
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
