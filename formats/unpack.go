package formats

import (
	"archive/zip"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"ingestd/ingest"
)

// maxLayers is how many packs may lie inside each other.
const maxLayers = 2

// content is what is left when all packs are taken off.
type content struct {
	stream   *bufio.Reader // in order, or
	workbook *ingest.Input // a workbook, which is read at random, or
	zip      *zipFile      // an archive, with
	files    []*zip.File   // several files
}

// layer is the content of one layer: a stream, and random access to it where
// it has that by nature.
type layer struct {
	stream *bufio.Reader
	at     *ingest.Input
}

// unpack takes packs off until something else shows.
func (o *opener) unpack(in ingest.Input) (content, error) {
	return o.unpackFrom(layer{at: &in, stream: bufio.NewReaderSize(io.NewSectionReader(in, 0, in.Size), headSize)})
}

func (o *opener) unpackFrom(l layer) (content, error) {
	for {
		head, _ := l.stream.Peek(8)
		var err error
		switch {
		case bytes.HasPrefix(head, []byte{0x1F, 0x8B}):
			l, err = o.unpackOne("gzip", l, o.gunzip)
		case bytes.HasPrefix(head, []byte{0x28, 0xB5, 0x2F, 0xFD}) || len(head) >= 4 && head[0]&0xF0 == 0x50 && bytes.Equal(head[1:4], []byte{0x2A, 0x4D, 0x18}):
			l, err = o.unpackOne("zstd", l, o.unzstd)
		case isZip(head):
			if err := o.spool(&l); err != nil {
				return content{}, err
			}
			var z *zipFile
			if z, err = o.openZip(*l.at); err != nil {
				return content{}, err
			}
			if z.workbook() {
				return content{workbook: l.at}, nil
			}
			files, err := z.members()
			if err != nil {
				return content{}, err
			}
			if len(files) > 1 {
				if o.many {
					return content{}, refuse("zip", "an archive of %d files is one of several in an archive; send it by itself", len(files))
				}
				if err := o.deeper("zip"); err != nil {
					return content{}, err
				}
				return content{zip: z, files: files}, nil
			}
			l, err = o.unpackOne("zip", l, func(*bufio.Reader) (io.Reader, error) {
				o.note("member", memberName(files[0]), "the only file in the archive")
				return o.member(o.name, files[0])
			})
			if err != nil {
				return content{}, err
			}
		case isOLE(head):
			if err := o.spool(&l); err != nil {
				return content{}, err
			}
			if err := o.checkOLE(*l.at); err != nil {
				return content{}, err
			}
			return content{workbook: l.at}, nil
		default:
			return content{stream: l.stream}, nil
		}
		if err != nil {
			return content{}, err
		}
	}
}

// unpackOne takes one pack off, within the limits.
func (o *opener) unpackOne(kind string, l layer, open func(*bufio.Reader) (io.Reader, error)) (layer, error) {
	if err := o.deeper(kind); err != nil {
		return layer{}, err
	}
	r, err := open(l.stream)
	if err != nil {
		return layer{}, err
	}
	return layer{stream: o.bound(kind, r)}, nil
}

// deeper goes one pack deeper.
func (o *opener) deeper(kind string) error {
	if o.layers++; o.layers > maxLayers {
		return refuse(kind, "more than %d packs inside each other; send the file packed once", maxLayers)
	}
	o.note("packed", kind, "its first bytes")
	return nil
}

// bound holds what comes out of the innermost pack to the limits.
func (o *opener) bound(kind string, r io.Reader) *bufio.Reader {
	return bufio.NewReaderSize(&bounded{kind: kind, r: r, limits: o.limits, packed: o.packed, out: &o.spent[o.layers]}, headSize)
}

// spent is how many bytes have come out of the packs of an arrival, by layer:
// all files of an archive together.
type spent [maxLayers + 1]int64

// A bounded reader holds what comes out of a pack to the limits.
type bounded struct {
	kind   string
	r      io.Reader
	limits Limits
	packed int64 // the arrival's bytes
	out    *int64
	err    error
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.r.Read(p)
	*b.out += int64(n)
	switch {
	case *b.out > b.limits.Unpacked:
		n = 0
		b.err = refuse(b.kind, "unpacks to more than %d bytes, the limit", b.limits.Unpacked)
	case *b.out > b.limits.RatioFrom && *b.out/b.packed > b.limits.Ratio:
		n = 0
		b.err = refuse(b.kind, "unpacks to more than %d times its size: a bomb, or nothing but repetition", b.limits.Ratio)
	case err == io.EOF:
		b.err = err
	case err != nil:
		b.err = packError(b.kind, err)
	}
	return n, b.err
}

// packError is the ReadError for a pack that is damaged.
func packError(kind string, err error) error {
	var re *ingest.ReadError
	switch {
	case errors.As(err, &re):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &ingest.ReadError{Format: kind, Reason: "the file is cut short: it ends inside the packed data", Err: err}
	}
	return &ingest.ReadError{Format: kind, Reason: "the packed data is damaged", Err: err}
}

// spool gives l random access, through a temporary file without a name where
// it has none.
func (o *opener) spool(l *layer) error {
	if l.at != nil {
		return nil
	}
	f, err := os.CreateTemp(o.spec.TempDir, "ingestd-unpack-")
	if err != nil {
		return fmt.Errorf("unpack %s: %w", quoted(o.name), err)
	}
	o.closers = append(o.closers, f)
	if err := os.Remove(f.Name()); err != nil {
		return fmt.Errorf("unpack %s: %w", quoted(o.name), err)
	}
	var size int64
	for {
		if err := o.ctx.Err(); err != nil {
			return fmt.Errorf("unpack %s: %w", quoted(o.name), err)
		}
		n, err := io.CopyN(f, l.stream, 1<<20)
		size += n
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("unpack %s: %w", quoted(o.name), err)
		}
	}
	l.at = &ingest.Input{Name: o.name, Size: size, ReaderAt: f}
	l.stream = bufio.NewReaderSize(io.NewSectionReader(f, 0, size), headSize)
	return nil
}
