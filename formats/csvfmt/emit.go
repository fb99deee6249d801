package csvfmt

import (
	"bytes"
	"context"
	"fmt"
	"unicode/utf8"

	"ingestd/ingest"
)

// slow reads the row at pos the long way, and judges it.
func (r *reader) slow(c *ingest.Chunk) state {
	from := len(c.Fields)
	out := r.parse(c)
	if out.state != took {
		c.Fields = c.Fields[:from]
		r.over = out
		return out.state
	}
	if out.reason == "" {
		r.judge(c, &out, from)
	}
	if out.reason != "" {
		c.Fields = c.Fields[:from]
		r.fault(c, out)
	} else {
		fields := c.Fields[from:len(c.Fields):len(c.Fields)]
		if len(r.nulls) > 0 {
			r.markNulls(fields)
		}
		r.record++
		c.Records = append(c.Records, ingest.Record{
			Fields: fields,
			Pos:    r.position(1),
			Raw:    r.data[r.pos:out.end:out.end],
		})
	}
	r.line += int64(r.lines(r.pos, out.next))
	r.pos = out.next
	return took
}

// judge names the cells of a row, or sets the reason why it is bad.
func (r *reader) judge(c *ingest.Chunk, out *row, from int) {
	raw := r.data[r.pos:out.end]
	switch {
	case out.wide >= 0:
		out.reason = fmt.Sprintf("%d cells, over the limit of %d columns", out.cells, r.maxColumns)
		out.at = out.wide
		return
	case out.large >= 0:
		out.reason = fmt.Sprintf("a cell over the limit of %s", size(r.maxField))
		out.at = out.large
		return
	}
	if at := invalid(raw); at >= 0 {
		out.reason = fmt.Sprintf("%s at offset %d", r.unreadable(raw[at]), r.off+int64(r.pos+at))
		out.at = r.pos + at
		return
	}
	if r.width() == 0 {
		r.setNames(make([]string, out.cells))
	}
	if out.cells == r.width() {
		for i := range r.names {
			c.Fields[from+i].Name = r.names[i]
		}
		return
	}
	if !r.pad {
		out.at = out.end
		if out.cells > r.width() {
			out.at = out.extra
		}
		out.reason = fmt.Sprintf("%s where the header has %d", count(out.cells), r.width())
		if r.headerRows == 0 {
			out.reason = fmt.Sprintf("%s where there are %d columns", count(out.cells), r.width())
		}
		return
	}
	for i := range min(out.cells, r.width()) {
		c.Fields[from+i].Name = r.names[i]
	}
	for i := r.width(); i < out.cells; i++ {
		c.Fields[from+i].Name = r.extraName(i)
	}
	for i := out.cells; i < r.width(); i++ {
		c.Fields = append(c.Fields, ingest.Field{Name: r.names[i], Kind: ingest.String, Raw: raw[len(raw):]})
	}
}

func count(cells int) string {
	if cells == 1 {
		return "1 cell"
	}
	return fmt.Sprintf("%d cells", cells)
}

// size is n bytes for people.
func size(n int) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}

// unreadable says what is wrong with a byte that is no valid UTF-8.
func (r *reader) unreadable(b byte) string {
	if b == 0xFF && r.encoding != "utf-8" {
		return "bytes that are no " + r.encoding
	}
	return fmt.Sprintf("invalid UTF-8: byte 0x%02X", b)
}

// invalid is the place of the first byte that is no valid UTF-8, or -1.
func invalid(b []byte) int {
	if utf8.Valid(b) {
		return -1
	}
	for i := 0; i < len(b); {
		c, n := utf8.DecodeRune(b[i:])
		if c == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

// markNulls gives the cells that stand for null their kind.
func (r *reader) markNulls(fields []ingest.Field) {
	for i := range fields {
		for _, n := range r.nulls {
			if bytes.Equal(fields[i].Raw, n) {
				fields[i].Kind, fields[i].Raw = ingest.Null, nil
				break
			}
		}
	}
}

// fault appends the row as one.
func (r *reader) fault(c *ingest.Chunk, out row) {
	r.record++
	column, reason := 0, out.reason
	if lines := r.lines(r.pos, out.at); lines == 0 {
		column = out.at - r.pos + 1
	} else {
		reason += fmt.Sprintf(" (on line %d)", r.line+int64(lines))
	}
	raw := r.data[r.pos:out.end:out.end]
	c.Faults = append(c.Faults, ingest.Fault{
		Pos:    r.position(column),
		Stage:  ingest.StageParse,
		Reason: reason,
		Raw:    raw[:min(len(raw), ingest.MaxRawFault)],
	})
}

// position is that of the row at pos.
func (r *reader) position(column int) ingest.Position {
	return ingest.Position{Record: r.record, Line: r.line, Column: column, Offset: r.off + int64(r.pos)}
}

// lines counts the line ends in data[i:j]; CRLF is one.
func (r *reader) lines(i, j int) int {
	b := r.data[i:j]
	n := bytes.Count(b, []byte{'\n'})
	if cr := bytes.Count(b, []byte{'\r'}); cr > 0 {
		n += cr - bytes.Count(b, []byte("\r\n"))
	}
	return n
}

// passOver makes a fault of the row at pos, which is over the record limit,
// and passes over it without holding it. The chunk must be empty.
func (r *reader) passOver(ctx context.Context, c *ingest.Chunk) error {
	bound := min(len(r.data), r.pos+r.maxRecord+1)
	out := r.over
	if out.open >= 0 {
		if e := r.firstLineEnd(out.open); e < bound {
			// The quote may be a stray one: the lines after it are rows.
			out.end, out.next, out.at = e, e+r.eol(e), out.open
			out.reason = fmt.Sprintf("a quote that is not closed within the record limit of %s", size(r.maxRecord))
			r.fault(c, out)
			r.line += int64(r.lines(r.pos, out.next))
			r.pos = out.next
			return nil
		}
	}
	if r.data[bound-1] == '\r' {
		bound-- // an escaped line end is one nevertheless
	}
	out.end, out.at = bound, r.pos
	out.reason = fmt.Sprintf("a row over the record limit of %s", size(r.maxRecord))
	r.fault(c, out)
	r.line += int64(r.lines(r.pos, bound))
	return r.skipLine(ctx, bound)
}
