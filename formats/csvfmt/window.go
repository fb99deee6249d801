package csvfmt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"ingestd/ingest"
)

const (
	firstTarget = 64 << 10
	minTarget   = 4 << 10
	slack       = 8        // bytes behind the window that may be loaded, never looked at
	skipBlock   = 64 << 10 // bytes read at once while a line is passed over
	keepAhead   = 1 << 20  // a larger read-ahead buffer is given up once it is empty
	emptyReads  = 100      // reads of nothing in a row before the source is called broken
)

// load opens the next window in c's buffer: what was read ahead first, then the
// source.
func (r *reader) load(c *ingest.Chunk) {
	if cap(c.Buf) < r.target+slack {
		// An eighth more is room for cells with their escapes taken off.
		c.Buf = make([]byte, 0, r.target+r.target/8+slack)
	}
	r.fill(c, c.Buf[:0], r.target)
	r.pos = 0
	r.forget()
}

// fill extends b to n bytes, as far as there are any, and makes it the window.
// b must have the capacity and hold the window's bytes so far.
func (r *reader) fill(c *ingest.Chunk, b []byte, n int) {
	k := copy(b[len(b):n], r.ahead[r.at:])
	b = b[:len(b)+k]
	r.at += k
	if r.at == len(r.ahead) {
		r.at, r.ahead = 0, r.ahead[:0]
		if cap(r.ahead) > keepAhead {
			r.ahead = nil
		}
	}
	for len(b) < n && r.srcErr == nil {
		b = b[:len(b)+r.read(b[len(b):n])]
	}
	r.data = b
	c.Buf = b[:len(b)+slack]
	clear(c.Buf[len(b):])
	r.buf = c.Buf
}

// read reads from the source once, noting its end.
func (r *reader) read(b []byte) int {
	for range emptyReads {
		n, err := r.src.Read(b)
		if err != nil {
			r.srcErr = err
		}
		if n > 0 || err != nil {
			return n
		}
	}
	r.srcErr = io.ErrNoProgress
	return 0
}

// giveBack keeps what the window holds beyond the rows taken for the next one.
func (r *reader) giveBack() {
	rest := r.data[r.pos:]
	switch {
	case len(rest) == 0:
		r.target = min(max(r.target, 2*len(r.data)), ingest.ChunkBytes)
	case len(r.ahead) > 0:
		// The window was filled from ahead alone; its tail still stands there.
		r.at -= len(rest)
		r.target = r.next()
	default:
		r.ahead = append(r.ahead, rest...)
		r.target = r.next()
	}
	r.off += int64(r.pos)
	r.data, r.buf, r.pos = nil, nil, 0
}

// next is a little more than what the last rows took, so that little is
// carried from one window to the next.
func (r *reader) next() int {
	return min(max(r.pos+r.pos/16+256, minTarget), ingest.ChunkBytes)
}

// more makes the window larger, from the row at pos on. The chunk must be
// empty.
func (r *reader) more(ctx context.Context, c *ingest.Chunk) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("csv: %w", err)
	}
	if r.srcErr != nil && r.at == len(r.ahead) {
		return r.broken()
	}
	c.Fields = c.Fields[:0]
	rest := r.data[r.pos:]
	// A row that is longer than allowed is found out before it is held whole.
	n := max(min(2*len(rest), max(r.maxRecord, len(rest))+skipBlock), r.target)
	b := c.Buf[:0]
	if cap(b) < n+slack {
		b = make([]byte, 0, n+slack)
	}
	b = b[:copy(b[:len(rest)], rest)]
	r.off += int64(r.pos)
	r.pos = 0
	r.fill(c, b, n)
	r.forget()
	return nil
}

// broken is the error for a source that ended before its time.
func (r *reader) broken() error {
	var re *ingest.ReadError
	if errors.As(r.srcErr, &re) {
		return r.srcErr
	}
	return &ingest.ReadError{
		Format: "csv", Reason: "the bytes cannot be read on", Err: r.srcErr,
		Pos: ingest.Position{Record: r.record + 1, Line: r.line, Offset: r.off + int64(r.pos)},
	}
}

// forget drops what is known of the next quote and line end.
func (r *reader) forget() { r.nextQuote, r.nextLF, r.nextCR = -1, -1, -1 }

// lineEnd is the first LF or CR at or after i, or the window's length.
func (r *reader) lineEnd(i int) int {
	if r.nextLF < i {
		r.nextLF = seek(r.data, i, '\n')
	}
	if r.nextCR < i {
		r.nextCR = seek(r.data, i, '\r')
	}
	return min(r.nextLF, r.nextCR)
}

// seek is the first b in data at or after i, or data's length.
func seek(data []byte, i int, b byte) int {
	if n := bytes.IndexByte(data[i:], b); n >= 0 {
		return i + n
	}
	return len(data)
}

// eol is the length of the line end at i: 1 or 2, or 0 where a CR is the last
// byte known and an LF may follow.
func (r *reader) eol(i int) int {
	if r.data[i] == '\n' {
		return 1
	}
	if i+1 < len(r.data) {
		if r.data[i+1] == '\n' {
			return 2
		}
		return 1
	}
	if r.atEnd() {
		return 1
	}
	return 0
}

// atEnd reports whether the window reaches to the proper end of the stream.
func (r *reader) atEnd() bool { return r.srcErr == io.EOF && r.at == len(r.ahead) }

// failed reports whether no more bytes can be had, and that is not the proper
// end.
func (r *reader) failed() bool {
	return r.srcErr != nil && r.srcErr != io.EOF && r.at == len(r.ahead)
}

// skipLine passes over the rest of a line, from i in the window on, and its
// line end, in bounded memory. It empties the window where the line is longer.
func (r *reader) skipLine(ctx context.Context, i int) error {
	if e := r.firstLineEnd(i); e < len(r.data) {
		if n := r.eol(e); n > 0 {
			r.pos = e + n
			r.line++
			return nil
		}
	}
	// From here on the line's bytes are looked at where they are read ahead.
	cr := len(r.data) > i && r.data[len(r.data)-1] == '\r'
	r.off += int64(len(r.data))
	r.data, r.buf, r.pos = r.data[:0], r.buf[:0], 0
	r.forget()
	for {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("csv: %w", err)
		}
		if r.at == len(r.ahead) {
			if r.srcErr == io.EOF {
				r.line++
				return nil
			}
			if r.srcErr != nil {
				return r.broken()
			}
			if cap(r.ahead) < skipBlock {
				r.ahead = make([]byte, skipBlock)
			}
			r.at, r.ahead = 0, r.ahead[:skipBlock]
			r.ahead = r.ahead[:r.read(r.ahead)]
			continue
		}
		rest := r.ahead[r.at:]
		if cr {
			if rest[0] == '\n' {
				r.take(1)
			}
			r.line++
			return nil
		}
		e := bytes.IndexByte(rest, '\n')
		if k := bytes.IndexByte(rest[:max(e, 0)], '\r'); k >= 0 {
			e = k
		} else if e < 0 {
			e = bytes.IndexByte(rest, '\r')
		}
		if e < 0 {
			r.take(len(rest))
			continue
		}
		cr = rest[e] == '\r'
		r.take(e + 1)
		if !cr {
			r.line++
			return nil
		}
	}
}

// take passes over n bytes of what was read ahead.
func (r *reader) take(n int) {
	r.at += n
	r.off += int64(n)
	if r.at == len(r.ahead) {
		r.at, r.ahead = 0, r.ahead[:0]
	}
}

// firstLineEnd is lineEnd without its memory.
func (r *reader) firstLineEnd(i int) int {
	e := seek(r.data, i, '\n')
	return seek(r.data[:e], i, '\r')
}
