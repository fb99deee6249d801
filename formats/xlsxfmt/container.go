package xlsxfmt

import (
	"archive/zip"
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/klauspost/compress/flate"
)

// A container is the zip that a workbook is, checked as a whole before any
// of it is unpacked. Nothing of it is ever written to disk, so that names in
// it can do no harm.
type container struct {
	zip   *zip.Reader
	parts map[string]*zip.File // by normalised name; nil where two have it
}

var errDirectory = errors.New("zip directory too large")

// A meter fails once more than left bytes were read.
type meter struct {
	io.ReaderAt
	left int64
}

func (m *meter) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 { // a directory that points there
		return 0, zip.ErrFormat
	}
	if m.left -= int64(len(p)); m.left < 0 {
		return 0, errDirectory
	}
	return m.ReaderAt.ReadAt(p, off)
}

func openContainer(in io.ReaderAt, size int64, l Limits) (*container, error) {
	// What is read to find and list the members: 64 KiB of comment, some
	// buffers, and a KiB a member.
	m := &meter{in, 256<<10 + int64(l.Members)<<10}
	zr, err := zip.NewReader(m, size)
	switch {
	case errors.Is(err, errDirectory):
		return nil, refuse("the workbook holds more than %d files", l.Members)
	case isDamage(err):
		return nil, refuse("the file is cut short or damaged: the directory at its end is missing or broken")
	case err != nil:
		return nil, fmt.Errorf("xlsx: read the workbook's directory: %w", err)
	case len(zr.File) > l.Members:
		return nil, refuse("the workbook holds %d files, more than %d", len(zr.File), l.Members)
	}
	m.left = math.MaxInt64
	zr.RegisterDecompressor(zip.Deflate, func(r io.Reader) io.ReadCloser {
		return flate.NewReader(bufio.NewReaderSize(r, 32<<10))
	})
	c := &container{zip: zr, parts: make(map[string]*zip.File, len(zr.File))}
	if err := c.check(size, l); err != nil {
		return nil, err
	}
	for _, f := range zr.File {
		name := partName(f.Name)
		if _, twice := c.parts[name]; twice {
			f = nil
		}
		c.parts[name] = f
	}
	return c, nil
}

// isDamage reports whether err, of archive/zip, is the file's fault.
func isDamage(err error) bool {
	return errors.Is(err, zip.ErrFormat) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
}

// check bounds what unpacking may yield. That a member is not larger than its
// directory entry says is checked while it is read.
func (c *container) check(size int64, l Limits) error {
	const small = 32 << 20 // any ratio will do below
	type extent struct{ from, to int64 }
	var (
		total   uint64
		extents = make([]extent, 0, len(c.zip.File))
	)
	for _, f := range c.zip.File {
		if total += f.UncompressedSize64; total > uint64(l.Unzipped) || f.UncompressedSize64 > uint64(l.Unzipped) {
			return refuse("the workbook unpacks to more than %d bytes", l.Unzipped)
		}
		if f.UncompressedSize64 > small && f.UncompressedSize64/uint64(l.Ratio) > f.CompressedSize64 {
			return refuse("%.100q in the workbook unpacks to more than %d times its size", f.Name, l.Ratio)
		}
		from, err := f.DataOffset()
		if err != nil && !isDamage(err) {
			return fmt.Errorf("xlsx: read the workbook's directory: %w", err)
		}
		if err != nil || f.CompressedSize64 > uint64(size) || from+int64(f.CompressedSize64) > size {
			return refuse("the workbook is damaged: %.100q is not where its directory says", f.Name)
		}
		extents = append(extents, extent{from - 30 - int64(len(f.Name)), from + int64(f.CompressedSize64)})
	}
	slices.SortFunc(extents, func(a, b extent) int { return cmp.Compare(a.from, b.from) })
	for i := 1; i < len(extents); i++ {
		if extents[i].from < extents[i-1].to {
			return refuse("files in the workbook's zip overlap")
		}
	}
	return nil
}

// partName makes names comparable: parts are told apart without case
// (ECMA-376 part 2, section 6.2.2.3), and some programs write \ or a leading /.
func partName(s string) string {
	return strings.ToLower(strings.TrimLeft(strings.ReplaceAll(s, `\`, "/"), "/"))
}

// find returns the member called name, nil if there is none.
func (c *container) find(name string) (*zip.File, error) {
	f, ok := c.parts[partName(name)]
	switch {
	case !ok:
		return nil, nil
	case f == nil:
		return nil, refuse("the workbook holds two files called %.100q", name)
	case f.Flags&1 != 0:
		return nil, refuse("%.100q in the workbook's zip is encrypted; encrypt workbooks in Excel, or not at all", name)
	}
	return f, nil
}

// A part is one member, being read.
type part struct {
	*scanner
	member string
	rc     io.ReadCloser
	ctx    context.Context // of the call that reads at the moment
}

// open begins to read f.
func open(ctx context.Context, f *zip.File) (*part, error) {
	rc, err := f.Open()
	if err != nil {
		return nil, partError(f.Name, 0, err)
	}
	p := &part{member: f.Name, rc: rc, ctx: ctx}
	src, err := utf8Reader(interruptible{p})
	if err != nil {
		rc.Close()
		return nil, partError(f.Name, 0, err)
	}
	p.scanner = newScanner(src)
	return p, nil
}

func (p *part) Close() error { return p.rc.Close() }

// fail says that err happened in this part.
func (p *part) fail(err error) error { return partError(p.member, 0, err) }

// interruptible reads a part as long as its context lives.
type interruptible struct{ p *part }

func (r interruptible) Read(b []byte) (int, error) {
	if err := r.p.ctx.Err(); err != nil {
		return 0, err
	}
	return r.p.rc.Read(b)
}

// children calls visit for each start tag directly below the element whose
// start tag was the last token; what visit leaves of the child is passed over.
func (p *part) children(visit func(name []byte) error) error {
	level := p.depth()
	for {
		t, err := p.next()
		if err != nil {
			return err
		}
		switch {
		case t == endTag:
			return nil
		case t == startTag:
			if err := visit(p.name); err != nil {
				return err
			}
			if p.depth() > level {
				if err := p.skip(); err != nil {
					return err
				}
			}
		}
	}
}

// root reads up to the root element, which must have one of these names.
func (p *part) root(names ...string) error {
	t, err := p.next()
	if err != nil {
		return p.fail(err)
	}
	if got := string(p.name); t != startTag || !slices.Contains(names, got) {
		return refuse("%s begins with <%.50s> where <%s> must stand", p.member, got, names[0])
	}
	return nil
}
