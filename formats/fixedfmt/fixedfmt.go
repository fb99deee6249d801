// Package fixedfmt reads text whose columns have fixed widths, in characters.
//
// It promises:
//
//   - Every line is accounted for: it is a record or a fault, in the order of
//     the file, and what lies between two of them is line ends, blank lines,
//     comments, and the lines that the options skip.
//   - A line that does not fit the columns is a fault with its line, column,
//     offset and bytes: too short, text behind the last column, bytes that are no
//     text, a limit passed. The next line is read.
//   - Nothing is altered but for the blanks around a cell, which fill its column.
//   - Memory is bounded by the limits, whatever the file holds.
//
// A line may end inside its last column: many programs cut the blanks at the end
// of a line. The last line of a file may not, unless a line end follows it: it
// may be what is left of a longer one.
//
// Cells are slices of the bytes read; a record costs no allocation.
package fixedfmt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"ingestd/formats/window"
	"ingestd/ingest"
)

// Limits that hold where Options name none.
const (
	DefaultMaxRecord  = 16 << 20 // bytes of a line
	DefaultMaxField   = 8 << 20  // bytes of a cell
	DefaultMaxColumns = 16384
)

// MaxSkipFooter bounds Options.SkipFooter: so many lines are held back.
const MaxSkipFooter = 100

// maxEnd bounds where a column may end, in characters.
const maxEnd = 4 << 20

// A Column is one field, by where it stands in the line.
type Column struct {
	Name  string
	Start int // in characters, from 1; 0 = where the one before ends
	Width int // in characters
}

// Options says where the columns are. Columns may overlap, and leave room
// between them that is not read.
type Options struct {
	Columns []Column
	// Length is how many characters a record has in a file without line ends; 0 =
	// every line is a record.
	Length     int
	SkipRows   int      // lines (records, where Length is set) left out at the beginning
	SkipFooter int      // and at the end, blank ones not counted; one over a limit is never left out
	Comment    string   // lines that begin so are left out; "" = none
	KeepBlanks bool     // do not cut the blanks (space, tab, no-break space) around cells
	Null       []string // cells that mean null
	// Pad: what a short line lacks is blank, and text behind the last column is a
	// field column_N; otherwise they are faults.
	Pad bool

	// Encoding is what the stream was decoded from, for the reasons of faults; "" =
	// "utf-8". What it does not know stands in the stream as 0xFF.
	Encoding string

	MaxRecord  int // bytes of a line; 0 = DefaultMaxRecord
	MaxField   int // bytes of a cell; 0 = DefaultMaxField
	MaxColumns int // 0 = DefaultMaxColumns
}

// New returns a reader of r, which must yield UTF-8 without a byte order mark.
// New reads nothing; its error says which option is wrong.
func New(r io.Reader, o Options) (ingest.Reader, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("fixed: %w", err)
	}
	p := &reader{
		w: window.Window{Src: r, Block: block}, o: o, line: 1,
		comment: []byte(o.Comment), nextLine: ebcdic(o.Encoding), skip: o.SkipRows,
	}
	for _, n := range o.Null {
		p.nulls = append(p.nulls, []byte(n))
	}
	at, last := 0, 0
	for i, c := range o.Columns {
		if c.Start > 0 {
			at = c.Start - 1
		}
		p.cols = append(p.cols, span{at, at + c.Width})
		p.names = append(p.names, c.Name)
		at += c.Width
		if at > p.end {
			p.end, last = at, i
		}
	}
	p.lastFrom, p.lastName = p.cols[last].from, p.names[last]
	if o.Length > 0 && o.Length < p.end {
		return nil, fmt.Errorf("fixed: length %d: the columns take %d characters", o.Length, p.end)
	}
	p.extra = extraName(p.names)
	p.forget()
	return p, nil
}

// check fills in defaults and says what is wrong with o.
func (o *Options) check() error {
	if o.Encoding == "" {
		o.Encoding = "utf-8"
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
	case len(o.Columns) == 0:
		return errors.New("no columns")
	case len(o.Columns) > o.MaxColumns:
		return fmt.Errorf("%d columns named: at most %d", len(o.Columns), o.MaxColumns)
	case o.SkipRows < 0:
		return fmt.Errorf("skip_rows %d: must not be negative", o.SkipRows)
	case o.SkipFooter < 0 || o.SkipFooter > MaxSkipFooter:
		return fmt.Errorf("skip_footer %d: from 0 to %d", o.SkipFooter, MaxSkipFooter)
	case strings.ContainsAny(o.Comment, "\r\n"):
		return fmt.Errorf("comment %q: must not hold a line end", o.Comment)
	case len(o.Comment) > 64:
		return fmt.Errorf("comment of %d bytes: at most 64", len(o.Comment))
	case o.Length < 0 || o.Length > maxEnd:
		return fmt.Errorf("length %d: from 1 to %d", o.Length, maxEnd)
	}
	seen, end := map[string]bool{}, 0
	for i, c := range o.Columns {
		if c.Start > 0 {
			end = c.Start - 1
		}
		switch {
		case c.Name == "":
			return fmt.Errorf("column %d has no name", i+1)
		case seen[c.Name]:
			return fmt.Errorf("column %q is named twice", c.Name)
		case c.Width < 1 || c.Start < 0 || c.Width > maxEnd || end > maxEnd-c.Width:
			return fmt.Errorf("column %q: it must have a width and end at character %d at the latest", c.Name, maxEnd)
		}
		seen[c.Name] = true
		end += c.Width
	}
	return nil
}

// ebcdic reports whether lines of an encoding may end with its NEL, U+0085.
func ebcdic(encoding string) bool {
	switch encoding {
	case "ibm037", "ibm1047", "ibm01140":
		return true
	}
	return false
}

// extraName names what lies behind the last column.
func extraName(names []string) string {
	for n := len(names) + 1; ; n++ {
		if name := fmt.Sprintf("column_%d", n); !slices.Contains(names, name) {
			return name
		}
	}
}

// A span is a column in characters, from 0.
type span struct{ from, to int }

// block is how much is read at once.
const block = 128 << 10

// A reader cuts lines out of a window of the stream.
type reader struct {
	w        window.Window
	o        Options
	cols     []span
	names    []string
	extra    string // of a field behind the last column
	end      int    // of the column that ends last
	lastFrom int    // where that one begins
	lastName string
	comment  []byte
	nulls    [][]byte
	nextLine bool // NEL ends a line

	skip   int
	line   int64 // of the next line
	record int64 // ordinals given out
	err    error // what every further Read returns
	places []int // of characters in a line, reused

	// The first LF, CR and NEL at or after the last place asked about; a place
	// before the one asked about is unknown.
	nextLF, nextCR, nextNEL int
}

// Details implements ingest.Reader.
func (r *reader) Details() ingest.Details {
	return ingest.Details{Format: "fixed", Encoding: r.o.Encoding, Header: r.names}
}

// Close ends the reader; the stream is its caller's.
func (r *reader) Close() error {
	r.err = errors.New("fixed: read after close")
	r.w = window.Window{}
	return nil
}

// Read implements ingest.Reader.
func (r *reader) Read(ctx context.Context, c *ingest.Chunk) error {
	c.Reset()
	if r.err != nil {
		return r.err
	}
	if err := r.rows(ctx, c); err != nil {
		r.err = err
		return err
	}
	r.w.HandOver(c)
	r.forget()
	return nil
}

// rows fills the chunk with lines of one window.
func (r *reader) rows(ctx context.Context, c *ingest.Chunk) error {
	for {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("fixed: %w", err)
		}
		s := r.step(c)
		for s == took && !r.full(c) {
			s = r.step(c)
		}
		n := len(c.Records) + len(c.Faults)
		if r.o.SkipFooter > 0 && s != oversize && !(s == starved && r.failed()) {
			// The last lines so far may be the footer: they are read again once
			// more is known, or left out.
			r.unread(c, min(n, r.o.SkipFooter), s == ended)
			n = len(c.Records) + len(c.Faults)
		}
		switch {
		case n > 0:
			return nil
		case s == ended:
			return io.EOF
		case s == oversize:
			if done, err := r.passOver(ctx, c); done || err != nil {
				return err
			}
		case r.failed():
			return r.broken()
		default:
			r.fill(c)
		}
	}
}

// fill reads on. The chunk must be empty.
func (r *reader) fill(c *ingest.Chunk) {
	c.Fields = c.Fields[:0]
	r.w.Block = max(block, r.w.End-r.w.Pos) // long lines cost no more by the byte
	r.w.Fill()
	r.forget()
}

// full reports whether the chunk has enough, lines that may be the footer not
// counted.
func (r *reader) full(c *ingest.Chunk) bool {
	const fields = 32 << 10
	n := len(c.Records) + len(c.Faults) - r.o.SkipFooter
	return n >= ingest.ChunkRecords || n > 0 && (len(c.Fields) >= fields || r.w.Pos >= ingest.ChunkBytes)
}

// unread takes the last n lines out of the chunk. They are read again, unless
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
	if !drop {
		r.w.Pos, r.line = int(first.Offset-r.w.Base), first.Line
		r.forget()
	}
}

// broken is the error for a source that ended before its time.
func (r *reader) broken() error {
	var re *ingest.ReadError
	if errors.As(r.w.Err, &re) {
		return r.w.Err
	}
	return &ingest.ReadError{
		Format: "fixed", Reason: "the bytes cannot be read on", Err: r.w.Err,
		Pos: ingest.Position{Record: r.record + 1, Line: r.line, Offset: r.w.Base + int64(r.w.Pos)},
	}
}

func (r *reader) atEnd() bool  { return r.w.Err == io.EOF }
func (r *reader) failed() bool { return r.w.Err != nil && r.w.Err != io.EOF }
