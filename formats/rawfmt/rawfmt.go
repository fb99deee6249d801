// Package rawfmt makes one record of a whole file, read as it is: nothing is
// unpacked, decoded or altered.
//
// The record has the fields
//
//	name      the file's name, as valid UTF-8 (other bytes as \xNN)
//	size      its bytes, a number
//	content   the file: a string where it is valid UTF-8, else in base64
//	encoding  "base64", only where content is
//
// Of a file over the record limit only name and size are given; a sink that
// sends the file itself takes it from the arrival, not from the record.
package rawfmt

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"ingestd/ingest"
)

// DefaultMaxRecord is the largest file, in bytes, whose content a record holds
// where Options name no limit.
const DefaultMaxRecord = 16 << 20

// Options says what the stream itself does not.
type Options struct {
	Name      string // the file's
	Size      int64  // in bytes; the stream must be as long
	MaxRecord int    // bytes of content; 0 = DefaultMaxRecord
}

// New returns a reader of r, the file's bytes. It reads nothing yet.
func New(r io.Reader, o Options) (ingest.Reader, error) {
	if o.MaxRecord <= 0 {
		o.MaxRecord = DefaultMaxRecord
	}
	if o.Size < 0 {
		return nil, fmt.Errorf("raw: size %d: must not be negative", o.Size)
	}
	return &reader{src: r, o: o}, nil
}

type reader struct {
	src io.Reader
	o   Options
	err error // what every further Read returns
}

// Details implements ingest.Reader. The header is not known beforehand: it
// depends on the content.
func (r *reader) Details() ingest.Details { return ingest.Details{Format: "raw"} }

// Close ends the reader; the stream is its caller's.
func (r *reader) Close() error {
	r.err = errors.New("raw: read after close")
	return nil
}

// Read implements ingest.Reader.
func (r *reader) Read(ctx context.Context, c *ingest.Chunk) error {
	c.Reset()
	if r.err != nil {
		return r.err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("raw: %w", err)
	}
	r.err = r.one(c)
	if r.err == io.EOF && len(c.Records) > 0 {
		return nil
	}
	return r.err
}

func (r *reader) one(c *ingest.Chunk) error {
	text := func(name, value string) ingest.Field {
		return ingest.Field{Name: name, Kind: ingest.String, Raw: []byte(value)}
	}
	c.Fields = append(c.Fields,
		text("name", validName(r.o.Name)),
		ingest.Field{Name: "size", Kind: ingest.Number, Raw: strconv.AppendInt(nil, r.o.Size, 10)})
	var raw []byte
	if r.o.Size <= int64(r.o.MaxRecord) {
		// One byte more shows a file that is longer than it says.
		if want := int(r.o.Size) + 1; cap(c.Buf) < want {
			c.Buf = make([]byte, 0, want)
		}
		n, err := io.ReadFull(r.src, c.Buf[:r.o.Size+1])
		switch {
		case err == nil:
			return r.changed("longer than its %d bytes", r.o.Size)
		case err != io.EOF && err != io.ErrUnexpectedEOF:
			return &ingest.ReadError{Format: "raw", Reason: "the bytes cannot be read", Err: err}
		case int64(n) < r.o.Size:
			return r.changed("%d bytes shorter than it was", r.o.Size-int64(n))
		}
		c.Buf = c.Buf[:n]
		raw = c.Buf[:n:n]
		if utf8.Valid(raw) {
			c.Fields = append(c.Fields, ingest.Field{Name: "content", Kind: ingest.String, Raw: raw})
		} else {
			c.Buf = base64.StdEncoding.AppendEncode(c.Buf, raw)
			c.Fields = append(c.Fields,
				ingest.Field{Name: "content", Kind: ingest.String, Raw: c.Buf[n:]},
				text("encoding", "base64"))
		}
	}
	c.Records = append(c.Records, ingest.Record{
		Fields: c.Fields,
		Pos:    ingest.Position{Record: 1, Line: 1, Column: 1},
		Raw:    raw,
	})
	return io.EOF
}

func (r *reader) changed(format string, args ...any) error {
	return &ingest.ReadError{Format: "raw", Reason: "the file changed while it was read: it is " + fmt.Sprintf(format, args...)}
}

// validName shows bytes that are no UTF-8 as \xNN.
func validName(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		c, n := utf8.DecodeRuneInString(s[i:])
		if c == utf8.RuneError && n == 1 {
			fmt.Fprintf(&b, `\x%02X`, s[i])
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}
