package fixedfmt

import (
	"bytes"
	"context"
	"fmt"
	"unicode/utf8"

	"ingestd/ingest"
)

// A state says how a step went.
type state uint8

const (
	took     state = iota // a line, or one that is left out
	ended                 // the stream ended properly
	starved               // the window ends inside a line
	oversize              // the line at Pos is over the record limit
)

// forget drops what is known of line ends: the window has moved.
func (r *reader) forget() { r.nextLF, r.nextCR, r.nextNEL = -1, -1, -1 }

// step takes one line.
func (r *reader) step(c *ingest.Chunk) state {
	data := r.w.Bytes()
	if r.w.Pos == len(data) {
		if r.atEnd() {
			return ended
		}
		return starved
	}
	if r.o.Length > 0 {
		return r.stepLength(c, data)
	}
	e := r.lineEnd(data, r.w.Pos)
	if e-r.w.Pos > r.o.MaxRecord {
		return oversize
	}
	n := 0
	if e < len(data) {
		n = r.eol(data, e)
	}
	if n == 0 && !r.atEnd() {
		return starved
	}
	line := data[r.w.Pos:e:e]
	switch {
	case r.skip > 0:
		r.skip--
	case r.leftOut(line, n == 0):
	default:
		r.take(c, line, n == 0)
	}
	r.w.Pos = e + n
	r.line++
	return took
}

// stepLength takes one record of a file without line ends.
func (r *reader) stepLength(c *ingest.Chunk, data []byte) state {
	rest := data[r.w.Pos:]
	e, missing := skipRunes(rest, r.o.Length)
	switch {
	case e > r.o.MaxRecord:
		return oversize
	case missing > 0 && !r.atEnd():
		return starved
	case missing > 0:
		e = len(rest)
	}
	line := rest[:e:e]
	switch {
	case missing > 0 && len(bytes.Trim(line, " \r\n\x1a\x00")) == 0:
		// Padding to a block's end.
	case r.skip > 0:
		r.skip--
		r.line++
	case r.leftOut(line, missing > 0):
		r.line++
	default:
		r.take(c, line, missing > 0)
		r.line++
	}
	r.w.Pos += e
	return took
}

// skipRunes is where n characters end, and how many are missing.
func skipRunes(b []byte, n int) (end, missing int) {
	for ; n > 0 && end < len(b); n-- {
		if b[end] < utf8.RuneSelf {
			end++
			continue
		}
		if !utf8.FullRune(b[end:]) {
			return end, n // more may come
		}
		_, size := utf8.DecodeRune(b[end:])
		end += size
	}
	return end, n
}

// leftOut knows blank lines, comments and the mark that DOS puts at the end of
// a file.
func (r *reader) leftOut(line []byte, last bool) bool {
	if len(r.comment) > 0 && bytes.HasPrefix(line, r.comment) {
		return true
	}
	if last && len(line) > 0 && line[len(line)-1] == 0x1A {
		line = line[:len(line)-1]
	}
	return r.o.Length == 0 && len(trim(line)) == 0
}

// take makes a record or a fault of a line. last: no line end follows.
func (r *reader) take(c *ingest.Chunk, line []byte, last bool) {
	from := len(c.Fields)
	if at, reason := r.cells(c, line, last); reason != "" {
		c.Fields = c.Fields[:from]
		r.fault(c, line, at, reason)
		return
	}
	r.record++
	c.Records = append(c.Records, ingest.Record{
		Fields: c.Fields[from:len(c.Fields):len(c.Fields)], Pos: r.position(1), Raw: line,
	})
}

// cells appends the line's, or says what is wrong and where.
func (r *reader) cells(c *ingest.Chunk, line []byte, last bool) (at int, reason string) {
	chars, ascii := len(line), isASCII(line)
	if !ascii {
		if at := invalid(line); at >= 0 {
			return at, fmt.Sprintf("%s at offset %d", r.unreadable(line[at]), r.w.Base+int64(r.w.Pos+at))
		}
		r.places, chars = r.places[:0], 0
		for i, n := 0, 1; i < len(line); i, chars = i+n, chars+1 {
			if chars <= r.end {
				r.places = append(r.places, i)
			}
			if n = 1; line[i] >= utf8.RuneSelf {
				_, n = utf8.DecodeRune(line[i:])
			}
		}
	}
	// place is the byte at which a character begins.
	place := func(i int) int {
		switch {
		case i >= chars:
			return len(line)
		case ascii:
			return i
		}
		return r.places[i]
	}
	if chars < r.end && !r.o.Pad {
		switch {
		case last && r.o.Length > 0:
			return len(line), fmt.Sprintf("%s where a record has %d: the file may be cut short; `ragged: pad` reads it nevertheless", count(chars), r.o.Length)
		case last:
			return len(line), fmt.Sprintf("%s where the columns take %d, and no line end: the file may be cut short; `ragged: pad` reads it nevertheless", count(chars), r.end)
		case chars <= r.lastFrom:
			return len(line), fmt.Sprintf("%s where the columns take %d: it ends before %q; `ragged: pad` reads it nevertheless", count(chars), r.end, r.lastName)
		}
	}
	for i, s := range r.cols {
		raw := line[place(s.from):place(s.to)]
		if !r.o.KeepBlanks {
			raw = trim(raw)
		}
		if len(raw) > r.o.MaxField {
			return place(s.from), fmt.Sprintf("a cell over the limit of %d bytes", r.o.MaxField)
		}
		c.Fields = append(c.Fields, r.field(r.names[i], raw))
	}
	if chars <= r.end || r.o.Length > 0 {
		return 0, ""
	}
	extra := line[place(r.end):]
	if len(trim(extra)) == 0 {
		return 0, ""
	}
	if !r.o.Pad {
		return place(r.end), fmt.Sprintf("%s where the columns take %d: text behind the last column; `ragged: pad` keeps it as %q", count(chars), r.end, r.extra)
	}
	if len(extra) > r.o.MaxField {
		return place(r.end), fmt.Sprintf("a cell over the limit of %d bytes", r.o.MaxField)
	}
	if !r.o.KeepBlanks {
		extra = trim(extra)
	}
	c.Fields = append(c.Fields, r.field(r.extra, extra))
	return 0, ""
}

func (r *reader) field(name string, raw []byte) ingest.Field {
	for _, n := range r.nulls {
		if bytes.Equal(raw, n) {
			return ingest.Field{Name: name, Kind: ingest.Null}
		}
	}
	return ingest.Field{Name: name, Kind: ingest.String, Raw: raw}
}

func (r *reader) fault(c *ingest.Chunk, line []byte, at int, reason string) {
	r.record++
	c.Faults = append(c.Faults, ingest.Fault{
		Pos: r.position(at + 1), Stage: ingest.StageParse, Reason: reason, Raw: line[:min(len(line), ingest.MaxRawFault)],
	})
}

// position is that of the line at Pos.
func (r *reader) position(column int) ingest.Position {
	return ingest.Position{Record: r.record, Line: r.line, Column: column, Offset: r.w.Base + int64(r.w.Pos)}
}

// passOver passes over the line at Pos, which is over the record limit, in
// bounded memory; done says that a fault was made of it. The chunk must be
// empty.
func (r *reader) passOver(ctx context.Context, c *ingest.Chunk) (done bool, err error) {
	data := r.w.Bytes()
	line := data[r.w.Pos:min(len(data), r.w.Pos+r.o.MaxRecord)]
	switch {
	case r.skip > 0:
		r.skip--
	case len(r.comment) > 0 && bytes.HasPrefix(line, r.comment):
	default:
		done = true
		r.fault(c, bytes.Clone(line[:min(len(line), ingest.MaxRawFault)]), 0, fmt.Sprintf("a line over the record limit of %d bytes", r.o.MaxRecord))
	}
	if r.o.Length > 0 {
		e, _ := skipRunes(data[r.w.Pos:], r.o.Length)
		r.w.Pos += e
		r.line++
		return done, nil
	}
	for i := r.w.Pos; ; {
		data = r.w.Bytes()
		e := r.lineEnd(data, i)
		n := 0
		if e < len(data) {
			n = r.eol(data, e)
		}
		if n > 0 || r.atEnd() {
			r.w.Pos = e + n
			break
		}
		if r.failed() {
			// What was read up to here counts; the next Read says why it ends.
			r.w.Pos = len(data)
			break
		}
		if err := ctx.Err(); err != nil {
			return false, fmt.Errorf("fixed: %w", err)
		}
		r.w.Pos = e
		r.w.Block = block
		r.w.Fill()
		r.forget()
		i = r.w.Pos
	}
	r.line++
	return done, nil
}

// lineEnd is the first line end at or after i, or the window's length. A NEL
// of which one byte is known is none yet.
func (r *reader) lineEnd(data []byte, i int) int {
	if r.nextLF < i {
		r.nextLF = seek(data, i, "\n")
	}
	if r.nextCR < i {
		r.nextCR = seek(data, i, "\r")
	}
	e := min(r.nextLF, r.nextCR)
	if r.nextLine {
		if r.nextNEL < i {
			r.nextNEL = seek(data, i, nel)
			if r.nextNEL == len(data) && !r.atEnd() && data[len(data)-1] == nel[0] {
				r.nextNEL--
			}
		}
		e = min(e, r.nextNEL)
	}
	return e
}

const nel = "\u0085"

func seek(data []byte, i int, what string) int {
	var n int
	if len(what) == 1 {
		n = bytes.IndexByte(data[i:], what[0])
	} else {
		n = bytes.Index(data[i:], []byte(what))
	}
	if n < 0 {
		return len(data)
	}
	return i + n
}

// eol is the length of the line end at i; 0 where more bytes must be known.
func (r *reader) eol(data []byte, i int) int {
	switch {
	case data[i] == '\n':
		return 1
	case data[i] == nel[0]:
		if i+1 < len(data) {
			return len(nel)
		}
		return 0
	case i+1 < len(data):
		if data[i+1] == '\n' {
			return 2
		}
		return 1
	case r.atEnd():
		return 1
	}
	return 0
}
