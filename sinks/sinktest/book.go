package sinktest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
)

// An entry is what is known of one Idempotency-Key.
type entry struct {
	hash     uint64
	size     int
	accepted bool
	ids      string // each ended by a line end
	body     []byte // in exact mode
	pipeline string
	answer   string // to a request that was answered record by record
}

// A book remembers requests, and writes what it learns to a journal:
//
//	S key hash size              a key was seen for the first time, and not accepted
//	A key hash size n pipeline   its request was accepted; n bytes of ids follow
//	C key hash size              the key came again with another body
type book struct {
	mu        sync.Mutex
	keys      map[string]*entry
	order     []string // accepted keys, in order
	conflicts []string // keys that came with two bodies
	noKey     int
	journal   *os.File
	line      []byte
}

// openBook opens the journal, where there is one, and reads what it holds.
func openBook(path string) (*book, error) {
	b := &book{keys: make(map[string]*entry)}
	if path == "" {
		return b, nil
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	whole, err := b.load(f)
	if err == nil {
		err = f.Truncate(whole)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("journal %s: %w", path, err)
	}
	b.journal = f
	return b, nil
}

func (b *book) close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.journal == nil {
		return nil
	}
	err := b.journal.Close()
	b.journal = nil
	return err
}

// A request is one of which the whole body was read.
type request struct {
	key, pipeline string
	hash          uint64
	size          int
}

// note writes the request down and reports whether it was accepted before.
func (b *book) note(r request) (known bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.key == "" {
		b.noKey++
	}
	e := b.keys[r.key]
	switch {
	case e == nil:
		b.keys[r.key] = &entry{hash: r.hash, size: r.size, pipeline: r.pipeline}
		return false, nil
	case e.hash != r.hash || e.size != r.size:
		b.conflicts = append(b.conflicts, r.key)
		return e.accepted, b.write('C', r, nil)
	}
	return e.accepted, nil
}

// refuse writes down that a request was not taken.
func (b *book) refuse(r request) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.write('S', r, nil)
}

// accept takes a request with its ids, and reports whether it did: the same one
// may have come on another connection meanwhile.
func (b *book) accept(r request, ids, body []byte) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.keys[r.key]
	if e.accepted {
		return false, nil
	}
	if err := b.write('A', r, ids); err != nil {
		return false, err
	}
	e.accepted, e.ids, e.body = true, string(ids), body
	e.hash, e.size = r.hash, r.size
	b.order = append(b.order, r.key)
	return true, nil
}

// write appends one line, and ids, to the journal in one go.
func (b *book) write(what byte, r request, ids []byte) error {
	if b.journal == nil {
		return nil
	}
	l := append(b.line[:0], what, ' ')
	l = strconv.AppendQuoteToASCII(l, r.key)
	l = append(l, ' ')
	l = strconv.AppendUint(l, r.hash, 16)
	l = append(l, ' ')
	l = strconv.AppendInt(l, int64(r.size), 10)
	if what == 'A' {
		l = append(l, ' ')
		l = strconv.AppendInt(l, int64(len(ids)), 10)
		l = append(l, ' ')
		l = strconv.AppendQuoteToASCII(l, r.pipeline)
	}
	l = append(l, '\n')
	l = append(l, ids...)
	b.line = l
	_, err := b.journal.Write(l)
	return err
}

// load reads a journal and returns the length of its whole lines: the last may
// be torn.
func (b *book) load(from io.Reader) (int64, error) {
	r := bufio.NewReaderSize(from, 1<<20)
	var whole int64
	for {
		line, err := r.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return whole, nil
		}
		if err != nil {
			return whole, err
		}
		n, err := b.replay(line, r)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return whole, nil
		}
		if err != nil {
			return whole, fmt.Errorf("at byte %d: %w", whole, err)
		}
		whole += int64(len(line) + n)
	}
}

// replay takes one line, and the n bytes of ids behind it.
func (b *book) replay(line string, r io.Reader) (n int, err error) {
	var (
		req  request
		what string
		rest = strings.TrimSuffix(line, "\n")
	)
	if _, err := fmt.Sscanf(rest, "%s %q %x %d", &what, &req.key, &req.hash, &req.size); err != nil {
		return 0, fmt.Errorf("%q: %w", rest, err)
	}
	e := b.keys[req.key]
	if e == nil {
		e = &entry{hash: req.hash, size: req.size}
		b.keys[req.key] = e
	}
	switch what {
	case "S":
	case "C":
		b.conflicts = append(b.conflicts, req.key)
	case "A":
		if _, err := fmt.Sscanf(rest, "A %q %x %d %d %q", &req.key, &req.hash, &req.size, &n, &e.pipeline); err != nil {
			return 0, fmt.Errorf("%q: %w", rest, err)
		}
		if n < 0 || n > 1<<28 {
			return 0, fmt.Errorf("%q: %d bytes of ids", rest, n)
		}
		ids := make([]byte, n)
		if _, err := io.ReadFull(r, ids); err != nil {
			return 0, err
		}
		if !e.accepted {
			b.order = append(b.order, req.key)
		}
		e.accepted, e.ids = true, string(ids)
	default:
		return 0, fmt.Errorf("%q is no journal line", rest)
	}
	return n, nil
}

// Accepted returns the ids that were accepted, in the order of their requests.
func (t *Target) Accepted() []string {
	t.book.mu.Lock()
	defer t.book.mu.Unlock()
	var out []string
	for _, k := range t.book.order {
		out = append(out, splitIDs(t.book.keys[k].ids)...)
	}
	return out
}

// Bodies returns the bodies that were accepted, in order, before any
// Content-Encoding. Only an exact target keeps them.
func (t *Target) Bodies() [][]byte {
	t.book.mu.Lock()
	defer t.book.mu.Unlock()
	var out [][]byte
	for _, k := range t.book.order {
		out = append(out, bytes.Clone(t.book.keys[k].body))
	}
	return out
}

func splitIDs(ids string) []string {
	if ids == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(ids, "\n"), "\n")
}
