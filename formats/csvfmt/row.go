package csvfmt

import (
	"bytes"
	"fmt"

	"ingestd/ingest"
)

// What step found at the next row.
type state uint8

const (
	took     state = iota // a record or a fault was appended
	starved               // the window ends within it
	ended                 // nothing more comes
	oversize              // it is over the record limit; see passOver
	comment               // a comment line that is longer than a record may be
)

// step reads the next row into the chunk.
func (r *reader) step(c *ingest.Chunk) state {
	if s := r.skipBlank(); s != took {
		return s
	}
	if r.plain && r.width() > 0 && r.fast(c) {
		return took
	}
	return r.slow(c)
}

// width is how many cells a row must have; 0 where that is not known yet.
func (r *reader) width() int { return len(r.names) }

// skipBlank passes over blank and comment lines. It returns took where a row
// begins.
func (r *reader) skipBlank() state {
	for {
		if r.pos == len(r.data) {
			return r.starvedOrEnded()
		}
		i := r.pos
		if r.trim {
			var known bool
			i, known = r.skipBlanks(i, len(r.data), r.atEnd())
			if i-r.pos > r.maxRecord {
				return took
			}
			if !known {
				return starved
			}
			if i == len(r.data) {
				if !r.atEnd() {
					return starved
				}
				r.pos = i
				continue
			}
		}
		if b := r.data[i]; b == '\n' || b == '\r' {
			n := r.eol(i)
			if n == 0 {
				return starved
			}
			r.pos = i + n
			r.line++
			continue
		}
		if len(r.commentMark) == 0 {
			return took
		}
		rest := r.data[r.pos:]
		if !bytes.HasPrefix(rest, r.commentMark) {
			if len(rest) < len(r.commentMark) && !r.atEnd() && bytes.HasPrefix(r.commentMark, rest) {
				return starved
			}
			return took
		}
		e := r.lineEnd(r.pos)
		if e-r.pos > r.maxRecord {
			return comment
		}
		if e == len(r.data) {
			if !r.atEnd() {
				return starved
			}
			r.pos = e
			continue
		}
		n := r.eol(e)
		if n == 0 {
			return starved
		}
		r.pos = e + n
		r.line++
	}
}

func (r *reader) starvedOrEnded() state {
	if r.atEnd() {
		return ended
	}
	return starved
}

// A row is what parse found.
type row struct {
	state  state // took, starved or oversize
	end    int   // the row is data[pos:end]
	next   int   // the next row's place
	cells  int   // how many there are; the first maxColumns of them are in the chunk's fields
	open   int   // starved, oversize: the quote that is open there, or -1
	reason string
	at     int // where reason applies
	extra  int // the first cell beyond the header's
	wide   int // the first cell over the column limit, or -1
	large  int // the first cell over the field limit, or -1
}

// parse reads the row at pos and appends its cells, without names, to
// c.Fields. It is the definition of the dialect; fast is a shorter way through
// it for rows that need nothing of it.
func (r *reader) parse(c *ingest.Chunk) row {
	n := min(len(r.data), r.pos+r.maxRecord+1)
	final := n == len(r.data) && r.atEnd()
	out := row{state: took, open: -1, large: -1, wide: -1}
	lacking := func(open int) row {
		out.state, out.open = starved, open
		if n < len(r.data) {
			out.state = oversize // one byte more than n is known: this is not the end
		}
		return out
	}
	i := r.pos
	for {
		start := i
		known := true
		if r.trim {
			if i, known = r.skipBlanks(i, n, final); !known {
				return lacking(-1)
			}
		}
		var cell []byte
		if r.quoting && i < n && r.data[i] == r.quote {
			open := i
			end, escaped, whole := r.closing(open, n, final)
			if !whole {
				return lacking(open)
			}
			if end < 0 {
				return r.bad(out, open, open, "a quote that is never closed")
			}
			cell = r.data[open+1 : end : end]
			if escaped {
				cell = r.unescape(c, cell, true)
			}
			i = end + 1
			if r.trim {
				if i, known = r.skipBlanks(i, n, final); !known {
					return lacking(-1)
				}
			}
			switch what, size := r.boundary(i, n, final); what {
			case unknown:
				return lacking(-1)
			case inCell:
				return r.bad(out, open, i, "text after the closing quote")
			default:
				r.cell(c, &out, start, cell)
				if what == atRowEnd {
					out.end, out.next = i, i+size
					return r.limit(out)
				}
				i += size
			}
			continue
		}
		var (
			escaped bool
			what    boundary
			size    int
		)
		from := i
		for {
			what, size = r.boundary(i, n, final)
			if what != inCell {
				break
			}
			switch b := r.data[i]; {
			case r.escaping && b == r.escape:
				k := r.escapeLen(i+1, n, final)
				if k < 0 {
					return lacking(-1)
				}
				if k > 0 {
					escaped = true
				}
				i += 1 + k
			case r.quoting && b == r.quote:
				return r.bad(out, i, i, "a quote inside an unquoted cell")
			default:
				i++
			}
		}
		if what == unknown {
			return lacking(-1)
		}
		cell = r.data[from:i:i]
		if r.trim {
			cell = r.trimRight(cell)
		}
		if escaped {
			cell = r.unescape(c, cell, false)
		}
		r.cell(c, &out, start, cell)
		if what == atRowEnd {
			out.end, out.next = i, i+size
			return r.limit(out)
		}
		i += size
	}
}

// limit turns a row that the window happens to hold whole, but that is longer
// than allowed, into the same result that a smaller window gives.
func (r *reader) limit(out row) row {
	if out.end-r.pos > r.maxRecord {
		out.state, out.open = oversize, -1
	}
	return out
}

// bad ends a row at the end of the line on which the quote at open stands.
func (r *reader) bad(out row, open, at int, reason string) row {
	e := r.firstLineEnd(open)
	if e == len(r.data) && !r.atEnd() {
		out.state = starved
		if len(r.data)-r.pos > r.maxRecord {
			out.state = oversize
		}
		return out
	}
	out.end, out.next = e, e
	if e < len(r.data) {
		n := r.eol(e)
		if n == 0 {
			out.state = starved
			return out
		}
		out.next = e + n
	}
	out.reason, out.at = reason, at
	if at > e {
		out.reason = fmt.Sprintf("a quoted cell over several lines, with %s on line %d", reason, r.line+int64(r.lines(r.pos, at)))
		out.at = open
	}
	return r.limit(out)
}

// cell appends one cell, up to the column limit.
func (r *reader) cell(c *ingest.Chunk, out *row, start int, cell []byte) {
	out.cells++
	if len(cell) > r.maxField && out.large < 0 {
		out.large = start
	}
	if out.cells == r.width()+1 {
		out.extra = start
	}
	if out.cells > r.maxColumns {
		if out.wide < 0 {
			out.wide = start
		}
		return
	}
	c.Fields = append(c.Fields, ingest.Field{Kind: ingest.String, Raw: cell})
}

// closing finds the quote that closes the one at open. whole is false where n
// comes first and more may follow; end is -1 where nothing follows.
func (r *reader) closing(open, n int, final bool) (end int, escaped, whole bool) {
	k := -1
	for i := open + 1; ; {
		if k < i { // looked for once, however many escapes stand before it
			k = seek(r.data[:n], i, r.quote)
		}
		if r.escaping {
			if e := seek(r.data[:k], i, r.escape); e < k {
				skip := r.escapeLen(e+1, n, final)
				if skip < 0 {
					return 0, false, false
				}
				escaped = escaped || skip > 0
				i = e + 1 + skip
				continue
			}
		}
		if k == n {
			return -1, escaped, final
		}
		if k+1 == n {
			return k, escaped, final
		}
		if r.data[k+1] != r.quote {
			return k, escaped, true
		}
		escaped = true
		i = k + 2
	}
}

// escapeLen is how many bytes at i the escape before them takes literally: a
// quote, an escape, a delimiter or a line end; none where anything else
// follows, so that `C:\temp` stays as it is. It is -1 where that is not known
// yet.
func (r *reader) escapeLen(i, n int, final bool) int {
	if i >= n {
		if final {
			return 0
		}
		return -1
	}
	switch b := r.data[i]; {
	case b == r.escape, r.quoting && b == r.quote, b == '\n':
		return 1
	case b == '\r':
		if i+1 < n && r.data[i+1] == '\n' {
			return 2
		}
		if i+1 == n && !final {
			return -1
		}
		return 1
	}
	rest := r.data[i:n]
	if bytes.HasPrefix(rest, r.delim) {
		return len(r.delim)
	}
	if !final && bytes.HasPrefix(r.delim, rest) {
		return -1
	}
	return 0
}

// unescape appends cell without its escapes to the chunk's buffer and returns
// it there.
func (r *reader) unescape(c *ingest.Chunk, cell []byte, quoted bool) []byte {
	from := len(c.Buf)
	for i := 0; i < len(cell); i++ {
		b := cell[i]
		switch {
		case r.escaping && b == r.escape:
			if k := r.literal(cell[i+1:]); k > 0 {
				c.Buf = append(c.Buf, cell[i+1:i+1+k]...)
				i += k
				continue
			}
		case quoted && b == r.quote:
			i++ // doubled, or closing would have stopped here
		}
		c.Buf = append(c.Buf, b)
	}
	return c.Buf[from:len(c.Buf):len(c.Buf)]
}

// literal is escapeLen over a cell that is known whole.
func (r *reader) literal(b []byte) int {
	switch {
	case len(b) == 0:
		return 0
	case b[0] == '\r' && len(b) > 1 && b[1] == '\n':
		return 2
	case b[0] == r.escape, r.quoting && b[0] == r.quote, b[0] == '\n', b[0] == '\r':
		return 1
	case bytes.HasPrefix(b, r.delim):
		return len(r.delim)
	}
	return 0
}

// What stands at a place of a row.
type boundary uint8

const (
	inCell boundary = iota
	atDelimiter
	atRowEnd
	unknown // the window ends too early to tell
)

// boundary says what stands at i and how long it is.
func (r *reader) boundary(i, n int, final bool) (boundary, int) {
	if i >= n {
		if final {
			return atRowEnd, 0
		}
		return unknown, 0
	}
	b := r.data[i]
	switch {
	case b == '\n' || b == '\r':
		size := r.eol(i)
		if size == 0 {
			return unknown, 0
		}
		return atRowEnd, size
	case b == r.delim[0]:
		if len(r.delim) == 1 {
			return atDelimiter, 1
		}
		rest := r.data[i:n]
		if bytes.HasPrefix(rest, r.delim) {
			return atDelimiter, len(r.delim)
		}
		if !final && bytes.HasPrefix(r.delim, rest) {
			return unknown, 0
		}
	}
	return inCell, 0
}

// blank is the length of the blank at i: a space, a tab or a no-break space,
// unless the delimiter begins so.
func (r *reader) blank(b []byte) int {
	switch {
	case len(b) == 0 || bytes.HasPrefix(b, r.delim):
		return 0
	case b[0] == ' ', b[0] == '\t':
		return 1
	case len(b) > 1 && b[0] == 0xC2 && b[1] == 0xA0:
		return 2
	}
	return 0
}

// skipBlanks is the first place from i on where no blank stands. known is false
// where the window ends too early to tell.
func (r *reader) skipBlanks(i, n int, final bool) (at int, known bool) {
	for {
		rest := r.data[i:n]
		if len(rest) > 0 && !final && (len(rest) < len(r.delim) && bytes.HasPrefix(r.delim, rest) || len(rest) == 1 && rest[0] == 0xC2) {
			return i, false
		}
		k := r.blank(rest)
		if k == 0 {
			return i, true
		}
		i += k
	}
}

// trimmed is an unquoted cell without the blanks around it.
func (r *reader) trimmed(b []byte) []byte {
	i := 0
	for {
		k := r.blank(b[i:])
		if k == 0 {
			return r.trimRight(b[i:])
		}
		i += k
	}
}

func (r *reader) trimRight(b []byte) []byte {
	for {
		switch n := len(b); {
		case n > 0 && (b[n-1] == ' ' || b[n-1] == '\t'):
			b = b[:n-1]
		case n > 1 && b[n-2] == 0xC2 && b[n-1] == 0xA0:
			b = b[:n-2]
		default:
			return b
		}
	}
}
