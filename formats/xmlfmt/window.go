package xmlfmt

import (
	"bytes"
	"io"
	"slices"

	"ingestd/ingest"
)

// A window is the part of the stream that is in memory. Records are parsed
// where they lie; a finished chunk takes the window's memory along and leaves
// its own for what comes next, so bytes are copied only where a chunk ends.
type window struct {
	src   io.Reader
	err   error // src's last word: io.EOF, or why it failed
	block int   // how much is read ahead

	buf  []byte // buf[:end] is the stream, beyond it lie decoded texts of the chunk
	end  int
	pos  int   // the next byte to parse
	base int64 // the stream's offset of buf[0]

	lines   int64 // line ends before buf[counted]
	counted int
	first   int // index of the current line's first byte; negative: before buf
}

// bytes is the stream's part of the window.
func (w *window) bytes() []byte { return w.buf[:w.end:w.end] }

// fill drops what was parsed and reads at least half a block more, or up to
// the end. Nobody may hold slices of the window.
func (w *window) fill() {
	w.count(w.pos)
	w.shift(copy(w.buf, w.buf[w.pos:w.end]))
	want := max(w.end+w.block/2+1, w.block)
	w.buf = slices.Grow(w.buf[:w.end], want-w.end)
	for idle := 0; w.end < want && w.err == nil; {
		var n int
		n, w.err = w.src.Read(w.buf[w.end:want])
		w.end += n
		if n > 0 {
			idle = 0
		} else if idle++; idle == 100 && w.err == nil {
			w.err = io.ErrNoProgress
		}
	}
	w.buf = w.buf[:w.end]
}

// handOver gives the window's memory to c and goes on in c's.
func (w *window) handOver(c *ingest.Chunk) {
	w.count(w.pos)
	full := w.buf
	w.buf = append(c.Buf[:0], w.buf[w.pos:w.end]...)
	c.Buf = full
	w.shift(len(w.buf))
}

func (w *window) shift(left int) {
	w.base += int64(w.pos)
	w.first -= w.pos
	w.counted -= w.pos
	w.pos, w.end = 0, left
}

// count counts line ends up to buf[i], where that was not done before.
func (w *window) count(i int) {
	if i <= w.counted {
		return
	}
	seen := w.buf[w.counted:i]
	if n := bytes.Count(seen, []byte{'\n'}); n > 0 {
		w.lines += int64(n)
		w.first = w.counted + bytes.LastIndexByte(seen, '\n') + 1
	}
	w.counted = i
}

// place is the line and the column of buf[i], both from 1. It may look ahead.
func (w *window) place(i int) (line int64, column int) {
	ahead := *w
	ahead.count(i)
	return ahead.lines + 1, i - ahead.first + 1
}
