// Package formats opens an arrival's bytes as a stream of records: it unpacks,
// decodes to UTF-8, decides what the bytes are, and hands them to the parser.
//
// It promises:
//
//   - Content decides before the name does. Where the two contradict each other
//     (a web page named .csv, text named .xlsx) the file is refused with a
//     sentence that says what was found and what to do; nothing is guessed
//     into garbage.
//   - gzip, zstd and zip are taken off, whatever the name says, two layers at
//     most. The files of an archive are read one after the other, as one. What comes out is bounded in size and in its ratio to what went in.
//     A file that is cut short, damaged or followed by anything else is a
//     ReadError; it never just ends early.
//   - Bytes become text exactly, or their record is a fault. A byte that its
//     encoding does not know reaches the parser as 0xFF, which no UTF-8 holds;
//     nothing ever becomes U+FFFD.
//   - A file of no bytes has no records, and is read without an error.
//   - Memory does not follow the size of the file. Only where a format needs to
//     seek (a workbook inside an archive) are bytes spooled, to an unnamed
//     temporary file within the limits.
//
// Format raw is the exception: one record, the file as it is.
package formats

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"

	"ingestd/formats/csvfmt"
	"ingestd/formats/fixedfmt"
	"ingestd/formats/jsonfmt"
	"ingestd/formats/rawfmt"
	"ingestd/formats/xlsxfmt"
	"ingestd/formats/xmlfmt"
	"ingestd/ingest"
)

// The types of a Spec.
const (
	Auto  = "auto"
	CSV   = "csv"
	JSON  = "json"
	XML   = "xml"
	XLSX  = "xlsx"
	Fixed = "fixed"
	Raw   = "raw"
)

// Types lists the types that a Spec may name.
func Types() []string { return []string{Auto, CSV, JSON, XML, XLSX, Raw, Fixed} }

// Spec says how an arrival is to be read. The zero Spec finds out by itself.
type Spec struct {
	Type     string // one of Types; "" = auto
	Encoding string // of CSV that is no UTF-8 and has no byte order mark: an IANA or WHATWG name; "" = UTF-8 only
	Guess    bool   // whether CSV that is no UTF-8 may be read in the encoding that it seems to be in; for a person who looks at it
	CSV      csvfmt.Options
	JSON     jsonfmt.Options
	XML      xmlfmt.Options
	XLSX     xlsxfmt.Options
	Fixed    fixedfmt.Options // in Encoding, as CSV is
	// Trailer is what the last line of a text that is not empty must match. It is
	// no record; its group "count", where it has one, is how many there are. Nil:
	// none.
	Trailer *regexp.Regexp
	Limits  Limits
	TempDir string // where spooled bytes go; "" = the system's
}

// Limits bound what one file may cost. Zero fields take the defaults; a limit
// set in a parser's own Options stands before the one here.
type Limits struct {
	Record     int   // bytes of one record; 16 MiB
	Field      int   // bytes of one value; 8 MiB
	Columns    int   // columns of CSV and of fixed widths, names in a JSON object or XML element; 16,384
	Depth      int   // of JSON and XML; 64
	Attributes int   // of an XML element; 256
	Unpacked   int64 // bytes that come out of each layer of packing; 10 GiB
	Ratio      int64 // unpacked bytes to the file's own; 1,000
	RatioFrom  int64 // unpacked bytes up to which no ratio is a bomb; 64 MiB
	Members    int   // entries of a zip; 2,000
	Window     int64 // bytes of memory that a zstd stream may ask for; 32 MiB
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Record:     cmp.Or(max(l.Record, 0), 16<<20),
		Field:      cmp.Or(max(l.Field, 0), 8<<20),
		Columns:    cmp.Or(max(l.Columns, 0), 16384),
		Depth:      cmp.Or(max(l.Depth, 0), 64),
		Attributes: cmp.Or(max(l.Attributes, 0), 256),
		Unpacked:   cmp.Or(max(l.Unpacked, 0), 10<<30),
		Ratio:      cmp.Or(max(l.Ratio, 0), 1000),
		RatioFrom:  cmp.Or(max(l.RatioFrom, 0), 64<<20),
		Members:    cmp.Or(max(l.Members, 0), 2000),
		Window:     cmp.Or(max(l.Window, 0), 32<<20),
	}
}

// limited is s with its limits in the parsers' options.
func (s Spec) limited() Spec {
	l := s.Limits.withDefaults()
	s.Limits = l
	s.CSV.MaxRecord = cmp.Or(s.CSV.MaxRecord, l.Record)
	s.CSV.MaxField = cmp.Or(s.CSV.MaxField, l.Field)
	s.CSV.MaxColumns = cmp.Or(s.CSV.MaxColumns, l.Columns)
	s.Fixed.MaxRecord = cmp.Or(s.Fixed.MaxRecord, l.Record)
	s.Fixed.MaxField = cmp.Or(s.Fixed.MaxField, l.Field)
	s.Fixed.MaxColumns = cmp.Or(s.Fixed.MaxColumns, l.Columns)
	s.JSON.MaxRecord = cmp.Or(s.JSON.MaxRecord, l.Record)
	s.JSON.MaxField = cmp.Or(s.JSON.MaxField, l.Field)
	s.JSON.MaxNames = cmp.Or(s.JSON.MaxNames, l.Columns)
	s.JSON.MaxDepth = cmp.Or(s.JSON.MaxDepth, l.Depth)
	s.XML.MaxRecord = cmp.Or(s.XML.MaxRecord, l.Record)
	s.XML.MaxField = cmp.Or(s.XML.MaxField, l.Field)
	s.XML.MaxNames = cmp.Or(s.XML.MaxNames, l.Columns)
	s.XML.MaxDepth = cmp.Or(s.XML.MaxDepth, l.Depth)
	s.XML.MaxAttributes = cmp.Or(s.XML.MaxAttributes, l.Attributes)
	s.XLSX.Limits.Record = cmp.Or(s.XLSX.Limits.Record, l.Record)
	s.XLSX.Limits.Field = cmp.Or(s.XLSX.Limits.Field, l.Field)
	s.XLSX.Limits.Members = cmp.Or(s.XLSX.Limits.Members, l.Members)
	s.XLSX.Limits.Output = cmp.Or(s.XLSX.Limits.Output, l.Unpacked)
	return s
}

// Check says what is wrong with a Spec, without a file.
func (s Spec) Check() error {
	s = s.limited()
	if s.Type == "xls" {
		return fmt.Errorf("format xls: %s", adviceXLS)
	}
	if s.Type != "" && !slices.Contains(Types(), s.Type) {
		return fmt.Errorf("format %q: not one of %q", s.Type, Types())
	}
	var errs []error
	if s.Trailer != nil && (s.Type == XLSX || s.Type == Raw) {
		errs = append(errs, fmt.Errorf("format %s: a trailer is the last line of a text", s.Type))
	}
	if s.Encoding != "" {
		_, err := lookup(s.Encoding)
		errs = append(errs, err)
	}
	for _, open := range []func() (ingest.Reader, error){
		func() (ingest.Reader, error) { return csvfmt.New(nil, s.CSV) },
		func() (ingest.Reader, error) { return jsonfmt.New(nil, s.JSON) },
		func() (ingest.Reader, error) { return xmlfmt.New(nil, s.XML) },
	} {
		_, err := open()
		errs = append(errs, err)
	}
	if s.Type == Fixed {
		_, err := fixedfmt.New(nil, s.Fixed)
		errs = append(errs, err)
	}
	if err := s.XLSX.Check(); err != nil {
		errs = append(errs, fmt.Errorf("xlsx: %w", err))
	}
	return errors.Join(errs...)
}

// headSize is how much of a stream is looked at before it is read.
const headSize = 32 << 10

// Open looks at the file's first bytes, unpacks and decodes what needs it, and
// returns the reader of its records. in must stay readable until the reader is
// closed. A file that cannot be read is an *ingest.ReadError, here or from
// Read; any other error is about the Spec or the machine.
func Open(ctx context.Context, s Spec, in ingest.Input) (ingest.Reader, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	s = s.limited()
	o := &opener{ctx: ctx, spec: s, limits: s.Limits, packed: in.Size, name: in.Name, spent: &spent{}}
	r, err := o.open(in)
	if err != nil {
		return nil, errors.Join(err, o.close())
	}
	return r, nil
}

// An opener carries what Open finds out on its way.
type opener struct {
	ctx     context.Context
	spec    Spec
	limits  Limits
	packed  int64  // the arrival's own size
	name    string // of the innermost file so far
	layers  int
	spent   *spent
	many    bool // it is one of several files of an archive
	closers []io.Closer
	notes   []ingest.Note
	text    *encodingFound // nil for what is no text
	trailer *trailer       // nil: none was asked for, or there is no text yet
}

func (o *opener) note(what, value, why string) {
	o.notes = append(o.notes, ingest.Note{What: what, Value: value, Why: why})
}

func (o *opener) close() error {
	var errs []error
	for _, c := range slices.Backward(o.closers) {
		errs = append(errs, c.Close())
	}
	o.closers = nil
	return errors.Join(errs...)
}

// reader wraps a parser with what was found before it came to work.
func (o *opener) reader(r ingest.Reader, err error) (ingest.Reader, error) {
	if err != nil {
		return nil, err
	}
	if o.trailer != nil {
		r = &counted{Reader: r, t: o.trailer}
	}
	return &reader{Reader: r, found: o}, nil
}

func (o *opener) open(in ingest.Input) (ingest.Reader, error) {
	if in.Size == 0 {
		return o.empty()
	}
	if o.spec.Type == Raw {
		return o.reader(rawfmt.New(io.NewSectionReader(in, 0, in.Size), rawfmt.Options{
			Name: in.Name, Size: in.Size, MaxRecord: o.limits.Record,
		}))
	}
	c, err := o.unpack(in)
	if err != nil {
		return nil, err
	}
	return o.openContent(c)
}

func (o *opener) openContent(c content) (ingest.Reader, error) {
	switch {
	case c.zip != nil:
		return o.openMembers(c.zip, c.files)
	case c.workbook != nil:
		return o.openWorkbook(*c.workbook)
	}
	return o.openText(c.stream)
}

// empty is the reader of a file of no bytes.
func (o *opener) empty() (ingest.Reader, error) {
	if err := o.noTrailer(); err != nil {
		return nil, err
	}
	format := o.spec.Type
	if format == "" || format == Auto {
		format = cmp.Or(typeByName(o.name), CSV)
	}
	o.note("content", "empty", "the file has no bytes")
	return o.reader(nothing{format}, nil)
}

func (o *opener) openWorkbook(in ingest.Input) (ingest.Reader, error) {
	if o.spec.Trailer != nil {
		return nil, refuse(XLSX, "the file is an Excel workbook, which has no last line for a trailer; take `proof.trailer` out for it")
	}
	if t := o.spec.Type; t != "" && t != Auto && t != XLSX {
		return nil, refuse(t, "the file is an Excel workbook; set `format: xlsx`, or ask the sender for %s", t)
	}
	if named := typeByName(o.name); o.auto() && named != "" && named != XLSX {
		return nil, refuse(named, "%s is named like %s but is an Excel workbook; set `format: xlsx` if that is meant", quoted(o.name), article(named))
	}
	return o.reader(xlsxfmt.New(in, o.spec.XLSX))
}

func (o *opener) auto() bool { return o.spec.Type == "" || o.spec.Type == Auto }

// openText reads a stream of text: it decides on encoding and format.
func (o *opener) openText(raw *bufio.Reader) (ingest.Reader, error) {
	head, _ := raw.Peek(headSize) // an error comes again when the bytes are read
	if len(head) == 0 {
		if _, err := raw.Peek(1); err != nil && err != io.EOF {
			return nil, err
		}
		return o.empty()
	}
	if o.spec.Type == XLSX {
		return nil, refuse(XLSX, "the file is no Excel workbook: %s; save it as .xlsx, or set `format` to what it is", looksLike(head))
	}
	if what, advice := foreign(head); what != "" {
		return nil, refuse(o.wanted(), "the file is %s; %s", what, advice)
	}
	text, err := o.decode(raw, head)
	if err != nil {
		return nil, err
	}
	text = o.trailed(text)
	head, _ = text.Peek(headSize)
	if len(head) == 0 {
		if _, err := text.Peek(1); err != nil && err != io.EOF {
			return nil, err
		}
		return o.empty()
	}
	t, err := o.textType(head)
	if err != nil {
		return nil, err
	}
	switch t {
	case JSON:
		return o.reader(jsonfmt.New(text, o.spec.JSON))
	case XML:
		return o.reader(xmlfmt.New(text, o.spec.XML))
	case Fixed:
		opt := o.spec.Fixed
		opt.Encoding = o.text.name
		return o.reader(fixedfmt.New(text, opt))
	}
	opt := o.spec.CSV
	opt.Encoding = o.text.name
	if !o.auto() {
		o.skipSep(&opt, head)
	} else if err := o.detectDialect(&opt, head); err != nil {
		return nil, err
	}
	return o.reader(csvfmt.New(text, opt))
}

// wanted is the format that the Spec or else the name asks for.
func (o *opener) wanted() string {
	if !o.auto() {
		return o.spec.Type
	}
	return cmp.Or(typeByName(o.name), CSV)
}

// refuse is the error for a file as a whole.
func refuse(format, reason string, args ...any) *ingest.ReadError {
	return &ingest.ReadError{Format: format, Reason: fmt.Sprintf(reason, args...)}
}

// A reader is a parser and what was found on the way to it.
type reader struct {
	ingest.Reader
	found *opener
}

// Details adds to the parser's what was found before.
func (r *reader) Details() ingest.Details {
	d := r.Reader.Details()
	notes := r.found.notes
	if t := r.found.text; t != nil {
		d.Encoding = t.name
		notes = append(slices.Clip(notes), t.notes...)
	}
	d.Notes = append(slices.Clip(notes), d.Notes...)
	return d
}

// Close closes the parser and what lies below it.
func (r *reader) Close() error {
	return errors.Join(r.Reader.Close(), r.found.close())
}

// nothing is the reader of an empty file.
type nothing struct{ format string }

func (n nothing) Read(_ context.Context, c *ingest.Chunk) error {
	c.Reset()
	return io.EOF
}
func (n nothing) Details() ingest.Details { return ingest.Details{Format: n.format} }
func (n nothing) Close() error            { return nil }
