package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// A target is one path that requests are written to.
type target struct {
	path  string
	users int // guarded by Sink.mu

	mu      sync.Mutex
	h       *handle         // nil: not open
	pending map[int64]int64 // places that were given and not written: start → end
	moved   chan struct{}   // closed and replaced whenever pending shrinks
}

func newTarget(path string) *target {
	return &target{path: path, pending: make(map[int64]int64), moved: make(chan struct{})}
}

func (t *target) awaits() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.pending) > 0
}

func (t *target) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.drop(t.h)
}

// open makes t.h the file that is at the path now, making it where there is
// none, and returns its size. t.mu is held.
func (t *target) open() (int64, error) {
	if t.h != nil {
		now, err := os.Stat(t.path)
		if err == nil && os.SameFile(now, t.h.id) {
			return now.Size(), nil
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return 0, err
		}
		t.drop(t.h) // rotated away
	}
	h, err := openHandle(t.path)
	if err != nil {
		return 0, err
	}
	t.h = h
	return h.id.Size(), nil
}

// drop takes h out of use; its last user closes it. t.mu is held.
func (t *target) drop(h *handle) error {
	if h == nil {
		return nil
	}
	if t.h == h {
		t.h = nil
	}
	h.dropped = true
	if h.users > 0 {
		return nil
	}
	return h.f.Close()
}

// leave ends the use of h that put began.
func (t *target) leave(h *handle, failed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h.users--
	if failed || h.dropped {
		t.drop(h)
	}
}

// place gives out the next size bytes.
func (t *target) place(size int64) (int64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	end, err := t.open()
	if err != nil {
		return 0, err
	}
	// The place begins behind the line end that write adds.
	if broken, err := t.broken(end); err != nil {
		return 0, err
	} else if broken {
		end++
	}
	for _, e := range t.pending {
		end = max(end, e)
	}
	t.pending[end] = end + size
	return end, nil
}

// broken reports whether the file's last byte, before end, ends no line.
func (t *target) broken(end int64) (bool, error) {
	if end == 0 {
		return false, nil
	}
	var last [1]byte
	if _, err := t.h.f.ReadAt(last[:], end-1); err != nil {
		return false, shrunk(err)
	}
	return last[0] != '\n', nil
}

// write puts body at its place, or where that cannot be, at the end, and
// returns once it is on disk.
func (t *target) write(ctx context.Context, body []byte, at int64) error {
	h, seq, err := t.put(ctx, body, at)
	if err != nil {
		return err
	}
	err = h.sync(seq, func() uint64 {
		t.mu.Lock()
		defer t.mu.Unlock()
		return h.writes
	})
	t.leave(h, err != nil)
	return err
}

// put writes body and returns where, and the write's number there.
func (t *target) put(ctx context.Context, body []byte, place int64) (*handle, uint64, error) {
	t.mu.Lock() // wait lets go of it
	defer t.mu.Unlock()
	at := place
	if _, known := t.pending[place]; !known {
		t.pending[place] = place + int64(len(body))
	}
	size, err := t.open()
	if err != nil {
		return nil, 0, err
	}
	var patience <-chan time.Time
	for at > size && t.preceded(at, size) {
		if patience == nil {
			timer := time.NewTimer(orderWait)
			defer timer.Stop()
			patience = timer.C
		}
		late, err := t.wait(ctx, patience)
		if err != nil {
			return nil, 0, err
		}
		if size, err = t.open(); err != nil {
			return nil, 0, err
		}
		if late {
			// What stood before it was given up, or comes later: then it finds
			// its place taken and goes to the end.
			t.forget(at)
			break
		}
	}
	broken, err := t.broken(size)
	if err != nil {
		return nil, 0, err
	}
	switch {
	case at == size && !broken, broken && at == size+1:
	case at < size:
		mine, err := t.holds(body, at, size)
		if err != nil {
			return nil, 0, err
		}
		if !mine {
			at = size
		}
	default:
		at = size
	}
	if broken && at >= size {
		body, at = append([]byte{'\n'}, body...), size
	}
	if _, err := t.h.f.WriteAt(body, at); err != nil {
		if at >= size {
			// Best effort: a torn tail would be in the way of what follows.
			t.h.f.Truncate(size)
		}
		return nil, 0, err
	}
	t.h.writes++
	t.h.users++
	// Those that wait for these bytes may go on; the disk has them before any
	// of them is told that its own are there.
	delete(t.pending, place)
	t.wake()
	return t.h, t.h.writes, nil
}

// wake lets those who wait look again.
func (t *target) wake() {
	close(t.moved)
	t.moved = make(chan struct{})
}

// wait waits until pending shrinks, or reports that patience has run out.
func (t *target) wait(ctx context.Context, patience <-chan time.Time) (late bool, err error) {
	moved := t.moved
	t.mu.Unlock()
	defer t.mu.Lock()
	select {
	case <-moved:
		return false, nil
	case <-patience:
		return true, nil
	case <-ctx.Done():
		return false, fmt.Errorf("wait for the batch before it: %w", context.Cause(ctx))
	}
}

// preceded reports whether a request is due whose bytes fill the file between
// size and at.
func (t *target) preceded(at, size int64) bool {
	for start, end := range t.pending {
		if start < at && end > size {
			return true
		}
	}
	return false
}

// forget drops the places before at that nobody has filled.
func (t *target) forget(at int64) {
	for start := range t.pending {
		if start < at {
			delete(t.pending, start)
		}
	}
}

// holds reports whether nothing stands in the file from at on but what a torn
// write of body can have left: its own bytes and zeros.
func (t *target) holds(body []byte, at, size int64) (bool, error) {
	have := make([]byte, min(int64(len(body)), size-at))
	if _, err := t.h.f.ReadAt(have, at); err != nil {
		return false, shrunk(err)
	}
	if bytes.Equal(have, body[:len(have)]) {
		return true, nil
	}
	for i, c := range have {
		if c != 0 && c != body[i] {
			return false, nil
		}
	}
	return true, nil
}

// shrunk words an end of file where bytes were a moment ago.
func shrunk(err error) error {
	if errors.Is(err, io.EOF) {
		return errShrunk
	}
	return err
}
