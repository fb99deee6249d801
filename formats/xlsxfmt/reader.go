package xlsxfmt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"ingestd/ingest"
)

// A reader is the ingest.Reader of one worksheet.
type reader struct {
	opts Options
	area area

	book   *container
	work   *workbook
	ref    sheetRef
	pack   *sealed // the encrypted package, nil if there is none
	sheet  *sheet  // nil until the first Read
	row    row
	heads  header
	record int64 // ordinal of the last record or fault
	output int64 // bytes of rows so far
	notes  []ingest.Note
	err    error // why there is no more
}

// New opens a workbook and finds its sheet. An error of the options is a plain
// one (see Options.Check); what is wrong with the workbook is an
// *ingest.ReadError. in must stay readable until Close.
func New(in ingest.Input, o Options) (ingest.Reader, error) {
	if err := o.Check(); err != nil {
		return nil, fmt.Errorf("xlsx: %w", err)
	}
	r := &reader{opts: o}
	r.area, _ = parseArea(o.Range)
	r.opts.Limits = o.Limits.withDefaults()
	if err := r.find(in); err != nil {
		return nil, err
	}
	return r, nil
}

// find gets as far as to know which part is the sheet.
func (r *reader) find(in ingest.Input) error {
	var (
		head [8]byte
		zip  io.ReaderAt = in
		size             = in.Size
		err  error
	)
	n, err := in.ReadAt(head[:min(in.Size, 8)], 0)
	if err != nil && err != io.EOF {
		return fmt.Errorf("xlsx: read %s: %w", in.Name, err)
	}
	switch {
	case n == 0:
		return refuse("the file is empty")
	case bytes.HasPrefix(head[:n], []byte(oleMagic)):
		if r.pack, err = unseal(in, in.Size, r.opts.Password); err != nil {
			return err
		}
		zip, size = r.pack, r.pack.size
	case !bytes.HasPrefix(head[:n], []byte("PK")):
		return refuse("the file is no workbook: %s", guess(head[:n]))
	}
	if r.book, err = openContainer(zip, size, r.opts.Limits); err != nil {
		return err
	}
	// New has no context; what is read here is small.
	if r.work, err = readWorkbook(context.Background(), r.book); err != nil {
		return err
	}
	var why string
	if r.ref, why, err = r.work.choose(r.opts.Sheet); err != nil {
		return err
	}
	r.note("sheet", r.ref.name, why)
	if r.work.is1904 {
		r.note("date system", "1904", "the workbook says so")
	} else {
		r.note("date system", "1900", "the default")
	}
	return nil
}

// guess says what a file that is no zip may be.
func guess(head []byte) string {
	switch t := bytes.TrimLeft(head, "\xEF\xBB\xBF \t\r\n"); {
	case bytes.HasPrefix(t, []byte("<")):
		return "it looks like an HTML page or XML; save it as .xlsx"
	case len(bytes.Trim(head, "\x00")) == 0:
		return "it begins with zero bytes, as an upload that failed does"
	default:
		return "it begins with " + strconv.Quote(string(head))
	}
}

func (r *reader) note(what, value, why string) {
	r.notes = append(r.notes, ingest.Note{What: what, Value: value, Why: why})
}

// open gets as far as the first row.
func (r *reader) open(ctx context.Context) error {
	l := r.opts.Limits
	if r.pack != nil {
		if err := r.pack.verify(ctx); err != nil {
			return err
		}
	}
	f, err := r.book.find(r.ref.target)
	if err != nil {
		return err
	}
	if f == nil {
		return refuse("the workbook lacks the part %.100q of its sheet %.60q", r.ref.target, r.ref.name)
	}
	styles, err := readStyles(ctx, r.book, r.work.styles)
	if err != nil {
		return err
	}
	texts, err := readStrings(ctx, r.book, r.work.strings, l)
	if err != nil {
		return err
	}
	p, err := open(ctx, f)
	if err != nil {
		return err
	}
	r.sheet = &sheet{
		part: p, area: r.area, header: r.opts.HeaderRow, limits: l,
		styles: styles, styled: styles != nil, strings: texts, is1904: r.work.is1904,
	}
	return r.sheet.begin()
}

// Read implements ingest.Reader.
func (r *reader) Read(ctx context.Context, c *ingest.Chunk) error {
	c.Reset()
	if r.err == nil && r.sheet == nil {
		r.err = r.open(ctx)
	}
	if r.err != nil {
		return r.err
	}
	r.sheet.ctx = ctx
	for len(c.Records)+len(c.Faults) < ingest.ChunkRecords && len(c.Buf) < ingest.ChunkBytes {
		if r.err = r.sheet.next(&r.row); r.err == nil {
			r.err = r.take(c)
		}
		if r.err != nil {
			break
		}
	}
	if errors.Is(r.err, io.EOF) {
		r.heads.finish(r)
		if len(c.Records)+len(c.Faults) > 0 {
			return nil
		}
	}
	return r.err
}

// Details implements ingest.Reader.
func (r *reader) Details() ingest.Details {
	return ingest.Details{Format: formatName, Header: r.heads.names(), Notes: r.notes}
}

// Close implements ingest.Reader.
func (r *reader) Close() error {
	if r.err == nil {
		r.err = errors.New("xlsx: read after close")
	}
	if r.sheet == nil {
		return nil
	}
	return r.sheet.Close()
}
