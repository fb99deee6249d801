package csvfmt

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"

	"ingestd/ingest"
)

const (
	ones  = 0x0101010101010101
	lows  = 0x7F7F7F7F7F7F7F7F
	highs = 0x8080808080808080
)

// fast reads the row at pos if it is whole, has as many cells as the header,
// and needs nothing out of the ordinary; otherwise it changes nothing that
// counts and reports false. What it takes, it takes as parse and judge would.
func (r *reader) fast(c *ingest.Chunk) bool {
	end := r.lineEnd(r.pos)
	if r.quoting && r.nextQuote < r.pos {
		r.nextQuote = seek(r.data, r.pos, r.quote)
	}
	from := len(c.Fields)
	width := r.width()
	if cap(c.Fields)-from < width {
		// Fields of earlier records stay where they are.
		c.Fields = append(make([]ingest.Field, 0, max(2*cap(c.Fields), ingest.ChunkRecords*min(width, 16)+width)), c.Fields...)
	}
	fields := c.Fields[from : from+width]
	lines := int64(1)
	if r.quoting && r.nextQuote < end {
		first := end
		quote, lf, cr := r.nextQuote, r.nextLF, r.nextCR
		end = r.fastQuoted(c, fields)
		if end < 0 {
			r.nextQuote, r.nextLF, r.nextCR = quote, lf, cr
			return false
		}
		if end > first {
			lines += int64(r.lines(r.pos, end))
		}
	} else {
		if end == len(r.data) {
			return false
		}
		n, start, high := r.split(fields, 0, r.pos, end)
		if n != width-1 {
			return false
		}
		fields[n] = ingest.Field{Name: r.names[n], Kind: ingest.String, Raw: r.data[start:end:end]}
		if high&highs != 0 && !utf8.Valid(r.data[r.pos:end]) {
			return false
		}
		if r.trim {
			for i := range fields {
				fields[i].Raw = r.trimmed(fields[i].Raw)
			}
		}
	}
	eol := r.eol(end)
	if eol == 0 || end-r.pos > r.maxRecord {
		return false
	}
	if end-r.pos > r.maxField {
		for i := range fields {
			if len(fields[i].Raw) > r.maxField {
				return false
			}
		}
	}
	c.Fields = c.Fields[:from+width]
	if len(r.nulls) > 0 {
		r.markNulls(fields)
	}
	r.record++
	c.Records = append(c.Records, ingest.Record{
		Fields: c.Fields[from : from+width : from+width],
		Pos:    ingest.Position{Record: r.record, Line: r.line, Column: 1, Offset: r.off + int64(r.pos)},
		Raw:    r.data[r.pos:end:end],
	})
	r.line += lines
	r.pos = end + eol
	return true
}

// split cuts buf[i:end) at the delimiter into fields, from the n-th on, eight
// bytes at a time. It returns the number of fields filled, where the last cell,
// which it leaves to its caller, begins, and the bits of all bytes or'ed. It
// stops short, with n = len(fields), where there are too many cells.
func (r *reader) split(fields []ingest.Field, n, i, end int) (int, int, uint64) {
	var (
		pattern = ones * uint64(r.delim[0])
		buf     = r.buf
		names   = r.names[:len(fields)]
		start   = i
		high    uint64
	)
	for ; i < end; i += 8 {
		w := binary.LittleEndian.Uint64(buf[i : i+8])
		x := w ^ pattern
		hit := ^((x&lows + lows) | x | lows) // the high bit of every byte that is the delimiter, exactly
		if left := end - i; left < 8 {
			mask := uint64(1)<<(8*left) - 1
			w &= mask
			hit &= mask
		}
		high |= w
		for hit != 0 {
			at := i + bits.TrailingZeros64(hit)>>3
			if n >= len(fields)-1 {
				return len(fields), start, high
			}
			fields[n] = ingest.Field{Name: names[n], Kind: ingest.String, Raw: buf[start:at:at]}
			n++
			start = at + 1
			hit &= hit - 1
		}
	}
	return n, start, high
}

// fastQuoted splits a row that has quotes and returns its end, or -1.
func (r *reader) fastQuoted(c *ingest.Chunk, fields []ingest.Field) int {
	if r.trim {
		return -1 // blanks may stand around the quotes
	}
	i, n := r.pos, 0
	for {
		end := r.lineEnd(i)
		if r.nextQuote < i {
			r.nextQuote = seek(r.data, i, r.quote)
		}
		if r.nextQuote > end || end == len(r.data) && r.nextQuote == end {
			if end == len(r.data) {
				return -1
			}
			var start int
			n, start, _ = r.split(fields, n, i, end)
			if n != len(fields)-1 {
				return -1
			}
			fields[n] = ingest.Field{Name: r.names[n], Kind: ingest.String, Raw: r.data[start:end:end]}
			return r.valid(end)
		}
		open := r.nextQuote
		var start int
		n, start, _ = r.split(fields, n, i, open)
		if start != open || n == len(fields) {
			return -1
		}
		end, escaped, whole := r.closing(open, len(r.data), false)
		if !whole {
			return -1
		}
		cell := r.data[open+1 : end : end]
		if escaped {
			cell = r.unescape(c, cell, true)
		}
		fields[n] = ingest.Field{Name: r.names[n], Kind: ingest.String, Raw: cell}
		i = end + 1 // closing knows the byte there
		switch r.data[i] {
		case r.delim[0]:
			i++
			n++
			if n == len(fields) {
				return -1
			}
		case '\n', '\r':
			if n != len(fields)-1 || r.lineEnd(i) != i {
				return -1
			}
			return r.valid(i)
		default:
			return -1
		}
	}
}

// valid is end, or -1 where the row up to there is no valid UTF-8.
func (r *reader) valid(end int) int {
	if !utf8.Valid(r.data[r.pos:end]) {
		return -1
	}
	return end
}
