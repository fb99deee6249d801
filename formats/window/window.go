// Package window holds the part of a stream that a parser looks at: JSON and
// XML records are parsed where they lie, and a finished chunk takes their bytes
// along without a copy.
package window

import (
	"bytes"
	"io"
	"slices"

	"ingestd/ingest"
)

// A Window is the part of a stream that is in memory. Its zero value with Src
// and Block set is ready. Records are parsed where they lie; a finished chunk
// takes the window's memory along and leaves its own for what comes next, so
// bytes are copied only where a chunk ends.
type Window struct {
	Src   io.Reader
	Err   error // Src's last word: io.EOF, or why it failed
	Block int   // how many bytes are read ahead

	Buf  []byte // Buf[:End] is the stream, beyond it lie decoded texts of the chunk
	End  int
	Pos  int   // the next byte to parse
	Base int64 // the stream's offset of Buf[0]

	Lines   int64 // line ends before the last Count
	First   int   // index of the current line's first byte; negative: before Buf
	counted int
}

// Bytes is the stream's part of the window.
func (w *Window) Bytes() []byte { return w.Buf[:w.End:w.End] }

// Fill drops what was parsed and reads at least half a block more, or up to
// the end. Nobody may hold slices of the window.
func (w *Window) Fill() {
	w.Count(w.Pos)
	w.shift(copy(w.Buf, w.Buf[w.Pos:w.End]))
	want := max(w.End+w.Block/2+1, w.Block)
	w.Buf = slices.Grow(w.Buf[:w.End], want-w.End)
	for idle := 0; w.End < want && w.Err == nil; {
		var n int
		n, w.Err = w.Src.Read(w.Buf[w.End:want])
		w.End += n
		if n > 0 {
			idle = 0
		} else if idle++; idle == 100 && w.Err == nil {
			w.Err = io.ErrNoProgress
		}
	}
	w.Buf = w.Buf[:w.End]
}

// HandOver gives the window's memory to c and goes on in c's.
func (w *Window) HandOver(c *ingest.Chunk) {
	w.Count(w.Pos)
	full := w.Buf
	w.Buf = append(c.Buf[:0], w.Buf[w.Pos:w.End]...)
	c.Buf = full
	w.shift(len(w.Buf))
}

func (w *Window) shift(left int) {
	w.Base += int64(w.Pos)
	w.First -= w.Pos
	w.counted -= w.Pos
	w.Pos, w.End = 0, left
}

// Count counts line ends up to Buf[i], where that was not done before.
func (w *Window) Count(i int) {
	if i <= w.counted {
		return
	}
	seen := w.Buf[w.counted:i]
	if n := bytes.Count(seen, []byte{'\n'}); n > 0 {
		w.Lines += int64(n)
		w.First = w.counted + bytes.LastIndexByte(seen, '\n') + 1
	}
	w.counted = i
}

// Place is the line and the column of Buf[i], both from 1. It may look ahead.
func (w *Window) Place(i int) (line int64, column int) {
	ahead := *w
	ahead.Count(i)
	return ahead.Lines + 1, i - ahead.First + 1
}
