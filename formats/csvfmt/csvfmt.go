// Package csvfmt reads delimited text: RFC 4180 and what the world does to it.
//
// It promises:
//
//   - Every row is accounted for: it is a record or a fault, in the order of
//     the file, and what lies between two of them is line ends, blank lines,
//     comments, and the lines that the options skip. Where the rows are cut
//     depends on the bytes and the options alone, not on how they were read.
//   - A bad row is a fault with its line, column, offset and bytes: ragged, text
//     after a closing quote, a quote inside an unquoted cell, invalid UTF-8, a
//     limit passed. The next row is read.
//   - A quote that is never closed, or whose cell turns out to be wrong, costs
//     the record up to the end of the line on which that quote stands; the
//     lines after it are read as rows of their own, never swallowed.
//   - Nothing is altered: cells keep their blanks, NUL bytes and line ends
//     within quotes; only quotes and escapes are taken off. Line ends are LF,
//     CRLF, CR, in any mixture.
//   - Memory is bounded by the limits, whatever the file holds.
//
// Cells of a record are slices of the chunk's own buffer; only cells with an
// escape in them are copied. A plain row costs no allocation.
package csvfmt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"ingestd/ingest"
)

// Limits that hold where Options name none.
const (
	DefaultMaxRecord  = 16 << 20 // bytes of a row
	DefaultMaxField   = 8 << 20  // bytes of a cell, quotes taken off
	DefaultMaxColumns = 16384
)

// MaxSkipFooter bounds Options.SkipFooter: so many rows are held back.
const MaxSkipFooter = 100

// maxHeaderRows bounds Options.HeaderRows.
const maxHeaderRows = 100

// Options is the dialect. The zero Options is RFC 4180 with a header row.
type Options struct {
	Delimiter string   // between cells, one or more bytes; "" = ","
	Quote     string   // one ASCII character; "" = `"`
	NoQuote   bool     // no character quotes
	Escape    string   // how a quote stands in a cell: "" or the quote = doubled; another ASCII character, `\`, = after it
	NoHeader  bool     // the first row is data
	Header    int      // rows that make up the header, joined by a space; 0 = 1, or none where Columns are named
	Columns   []string // the fields' names, in place of the header's
	SkipRows  int      // lines left out before the header
	// SkipFooter is how many rows, blank lines not counted, are left out at the
	// end. A row over a limit is never left out.
	SkipFooter int
	Comment    string   // lines that begin so are left out; "" = none
	Trim       bool     // cut blanks (space, tab, no-break space) around cells
	Null       []string // cells that mean null
	Pad        bool     // ragged rows: fill short ones with empty cells, keep extra cells as column_N; otherwise they are faults

	// Encoding is what the stream was decoded from, for the reasons of faults;
	// "" = "utf-8". What it does not know stands in the stream as 0xFF.
	Encoding string

	MaxRecord  int // bytes of a row; 0 = DefaultMaxRecord
	MaxField   int // bytes of a cell; 0 = DefaultMaxField
	MaxColumns int // 0 = DefaultMaxColumns
}

// New returns a reader of r, which must yield UTF-8 without a byte order mark.
// Bytes that are no valid UTF-8 make a fault of their row. New reads nothing;
// its error says which option is wrong.
func New(r io.Reader, o Options) (ingest.Reader, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("csv: %w", err)
	}
	p := &reader{
		src:         r,
		delim:       []byte(o.Delimiter),
		headerRows:  o.Header,
		commentMark: []byte(o.Comment),
		trim:        o.Trim,
		pad:         o.Pad,
		skipRows:    o.SkipRows,
		footer:      o.SkipFooter,
		maxRecord:   o.MaxRecord,
		maxField:    o.MaxField,
		maxColumns:  o.MaxColumns,
		encoding:    o.Encoding,
		line:        1,
		target:      firstTarget,
	}
	if !o.NoQuote {
		p.quoting, p.quote = true, o.Quote[0]
		if o.Escape != o.Quote {
			p.escaping = true
		}
	} else if o.Escape != "" && o.Escape != o.Quote {
		p.escaping = true
	}
	if p.escaping {
		p.escape = o.Escape[0]
	}
	for _, n := range o.Null {
		p.nulls = append(p.nulls, []byte(n))
	}
	if len(o.Columns) > 0 {
		p.setNames(o.Columns)
		p.fixed = true
	}
	p.plain = len(p.delim) == 1 && !p.escaping
	p.forget()
	return p, nil
}

// check fills in defaults and says what is wrong with o.
func (o *Options) check() error {
	if o.Delimiter == "" {
		o.Delimiter = ","
	}
	if o.Quote == "" {
		o.Quote = `"`
	}
	if o.Escape == "" {
		o.Escape = o.Quote
	}
	if o.Header == 0 && !o.NoHeader && len(o.Columns) == 0 {
		o.Header = 1
	}
	if o.Encoding == "" {
		o.Encoding = "utf-8"
	}
	if o.NoHeader {
		o.Header = 0
	}
	for _, l := range []struct {
		at  *int
		def int
	}{{&o.MaxRecord, DefaultMaxRecord}, {&o.MaxField, DefaultMaxField}, {&o.MaxColumns, DefaultMaxColumns}} {
		if *l.at <= 0 {
			*l.at = l.def
		}
	}
	switch {
	case !oneASCII(o.Quote):
		return fmt.Errorf("quote %q: must be one ASCII character", o.Quote)
	case !oneASCII(o.Escape):
		return fmt.Errorf("escape %q: must be one ASCII character", o.Escape)
	case strings.ContainsAny(o.Delimiter, "\r\n"):
		return fmt.Errorf("delimiter %q: must not hold a line end", o.Delimiter)
	case !o.NoQuote && strings.Contains(o.Delimiter, o.Quote):
		return fmt.Errorf("delimiter %q: must not hold the quote %q", o.Delimiter, o.Quote)
	case o.Escape != o.Quote && strings.Contains(o.Delimiter, o.Escape):
		return fmt.Errorf("delimiter %q: must not hold the escape %q", o.Delimiter, o.Escape)
	case len(o.Delimiter) > 64:
		return fmt.Errorf("delimiter of %d bytes: at most 64", len(o.Delimiter))
	case strings.ContainsAny(o.Comment, "\r\n"):
		return fmt.Errorf("comment %q: must not hold a line end", o.Comment)
	case len(o.Comment) > 64:
		return fmt.Errorf("comment of %d bytes: at most 64", len(o.Comment))
	case o.Header < 0 || o.Header > maxHeaderRows:
		return fmt.Errorf("header of %d rows: from 0 to %d", o.Header, maxHeaderRows)
	case o.SkipRows < 0:
		return fmt.Errorf("skip_rows %d: must not be negative", o.SkipRows)
	case o.SkipFooter < 0 || o.SkipFooter > MaxSkipFooter:
		return fmt.Errorf("skip_footer %d: from 0 to %d", o.SkipFooter, MaxSkipFooter)
	case len(o.Columns) > o.MaxColumns:
		return fmt.Errorf("%d columns named: at most %d", len(o.Columns), o.MaxColumns)
	}
	return nil
}

func oneASCII(s string) bool {
	return len(s) == 1 && s[0] > 0 && s[0] < 0x80 && s[0] != '\n' && s[0] != '\r'
}

// A reader parses rows out of a window of the stream, r.data, which is the
// head of the chunk's buffer. What the window holds beyond the chunk's last
// row goes to r.ahead and opens the next window.
type reader struct {
	src io.Reader

	delim       []byte
	quoting     bool
	quote       byte
	escaping    bool // escape is not the quote doubled
	escape      byte
	plain       bool // one-byte delimiter, doubled quotes: the fast path knows it
	headerRows  int
	skipRows    int
	footer      int
	commentMark []byte
	trim, pad   bool
	nulls       [][]byte
	maxRecord   int
	maxField    int
	maxColumns  int
	encoding    string
	fixed       bool // Columns named the fields
	names       []string
	extra       []string // names of cells beyond names
	notes       []ingest.Note
	started     bool
	over        row   // the row that made step say oversize
	err         error // what every further Read returns

	ahead  []byte // read from src, not in a window yet, from aheadAt on
	at     int
	srcErr error // why src has no more; io.EOF where it ended properly

	data   []byte // the window
	buf    []byte // the window with slack bytes behind it
	pos    int    // in data: the next row
	off    int64  // in the stream: data[0]
	line   int64  // of data[pos]
	record int64  // ordinals given out
	target int    // bytes to put into the next window

	// The first quote, LF and CR at or after the last place asked about; a
	// place before pos is unknown.
	nextQuote, nextLF, nextCR int
}

// Details is complete after the first Read.
func (r *reader) Details() ingest.Details {
	return ingest.Details{Format: "csv", Encoding: r.encoding, Header: r.names, Notes: r.notes}
}

// Close ends the reader; the stream is its caller's.
func (r *reader) Close() error {
	r.err = errors.New("csv: read after close")
	r.ahead = nil
	return nil
}

// Read implements ingest.Reader.
func (r *reader) Read(ctx context.Context, c *ingest.Chunk) error {
	c.Reset()
	if r.err != nil {
		return r.err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("csv: %w", err)
	}
	r.load(c)
	if err := r.rows(ctx, c); err != nil {
		r.err = err
		return err
	}
	r.giveBack()
	return nil
}

// rows fills the chunk.
func (r *reader) rows(ctx context.Context, c *ingest.Chunk) error {
	if !r.started {
		if err := r.start(ctx, c); err != nil {
			return err
		}
	}
	for {
		s := r.step(c)
		for s == took && !r.full(c) {
			s = r.step(c)
		}
		n := len(c.Records) + len(c.Faults)
		if r.footer > 0 && s != oversize && s != comment && !(s == starved && r.failed()) {
			// The last rows so far may be the footer: they are read again once
			// more is known, or left out. What must not be held whole ends the
			// doubt: the rows before it are no footer.
			r.unread(c, min(n, r.footer), s == ended)
			n = len(c.Records) + len(c.Faults)
		}
		var err error
		switch {
		case n > 0:
			return nil
		case s == ended:
			return io.EOF
		case s == oversize:
			return r.passOver(ctx, c)
		case s == comment:
			err = r.skipLine(ctx, r.pos)
		default:
			err = r.more(ctx, c)
		}
		if err != nil {
			return err
		}
	}
}

// full reports whether the chunk has enough, rows that may be the footer not
// counted. Fields are bounded too: a row of many tiny cells takes far more
// memory than its bytes. Of a window that one huge row made large, one row is
// enough.
func (r *reader) full(c *ingest.Chunk) bool {
	const fields = 32 << 10
	n := len(c.Records) + len(c.Faults) - r.footer
	return n >= ingest.ChunkRecords ||
		n > 0 && (len(c.Fields) >= fields || r.pos >= ingest.ChunkBytes || len(r.data) > 4*ingest.ChunkBytes)
}

// unread takes the last n rows out of the chunk. They are read again, unless
// drop says that the file ends with them.
func (r *reader) unread(c *ingest.Chunk, n int, drop bool) {
	var first ingest.Position
	for range n {
		i, j := len(c.Records)-1, len(c.Faults)-1
		if i >= 0 && (j < 0 || c.Records[i].Pos.Record > c.Faults[j].Pos.Record) {
			first, c.Records = c.Records[i].Pos, c.Records[:i]
		} else {
			first, c.Faults = c.Faults[j].Pos, c.Faults[:j]
		}
	}
	if n == 0 {
		return
	}
	r.record = first.Record - 1
	if drop {
		return
	}
	r.pos, r.line = int(first.Offset-r.off), first.Line
	r.forget()
}
