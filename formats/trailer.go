package formats

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"ingestd/ingest"
)

// maxTrailer bounds the last line, with the empty ones behind it, in bytes.
const maxTrailer = 64 << 10

// countGroup is the group of a trailer that holds the number of records.
const countGroup = "count"

// A trailer reads text up to its last line that is not empty, which must match,
// and keeps that line from whoever reads on. Where the text ends without it,
// reading ends with a *ingest.ReadError: the file is not whole.
type trailer struct {
	src  io.Reader
	re   *regexp.Regexp
	in   [32 << 10]byte
	held []byte // from the beginning of the last line so far
	out  []byte // to be read
	room []byte // out's memory
	// long: the last line so far began before held; no trailer is that long.
	// fresh: only white space came since it ended.
	long, fresh bool
	err         error // told once out is empty

	line  string // the trailer, once the text has ended with one
	count int64  // what it says; -1: nothing
	ended bool
}

func newTrailer(src io.Reader, re *regexp.Regexp) *trailer {
	return &trailer{src: src, re: re, count: -1}
}

func (t *trailer) Read(p []byte) (int, error) {
	for len(t.out) == 0 {
		if t.err != nil {
			return 0, t.err
		}
		t.fill()
	}
	n := copy(p, t.out)
	t.out = t.out[n:]
	return n, nil
}

// fill reads on and lets go what cannot be the trailer any more.
func (t *trailer) fill() {
	n, err := t.src.Read(t.in[:])
	t.held = append(t.held, t.in[:n]...)
	text := bytes.TrimRight(t.held, " \t\r\n")
	cut := bytes.LastIndexAny(text, "\r\n") + 1 // where the last line begins that is not empty
	switch {
	case cut > 0, t.long && t.fresh && len(text) > 0:
		t.long = false
	case t.long, len(t.held) > maxTrailer:
		cut = len(t.held)
		ended := bytes.LastIndexAny(t.held, "\r\n")
		t.fresh = len(text) <= ended+1 && (ended >= 0 || t.long && t.fresh)
		t.long = true
	}
	t.room = append(t.room[:0], t.held[:cut]...)
	t.out = t.room
	t.held = t.held[:copy(t.held, t.held[cut:])]
	switch {
	case err == io.EOF:
		t.err = t.end()
	case err != nil:
		t.err = err
	}
}

// end judges the line that the text ended with.
func (t *trailer) end() error {
	line := string(bytes.TrimLeft(bytes.TrimRight(t.held, " \t\r\n"), "\r\n"))
	found := t.re.FindStringSubmatch(line)
	switch {
	case t.long:
		return t.fault(fmt.Sprintf("its last line has more than %d bytes and so is no trailer: it is cut short, or none was sent", maxTrailer), nil)
	case found == nil:
		return t.fault(fmt.Sprintf("its last line %s is no trailer (%s): it is cut short, or none was sent", brief(line), t.re), nil)
	}
	if i := t.re.SubexpIndex(countGroup); i >= 0 {
		n, err := strconv.ParseInt(strings.TrimSpace(found[i]), 10, 64)
		if err != nil || n < 0 {
			return t.fault(fmt.Sprintf("the count %s of its trailer %s is no number of records", brief(found[i]), brief(line)), nil)
		}
		t.count = n
	}
	t.line, t.ended = line, true
	return io.EOF
}

func (t *trailer) fault(reason string, err error) error {
	return &ingest.ReadError{Format: "trailer", Reason: reason, Err: err}
}

// brief is the beginning of a line, for a message.
func brief(line string) string {
	if r := []rune(line); len(r) > 80 {
		return quoted(string(r[:80])) + "…"
	}
	return quoted(line)
}

// trailed takes the trailer off a text, where the Spec asks for one.
func (o *opener) trailed(text *bufio.Reader) *bufio.Reader {
	if o.spec.Trailer == nil {
		return text
	}
	o.trailer = newTrailer(text, o.spec.Trailer)
	return bufio.NewReaderSize(o.trailer, headSize)
}

// noTrailer is the error for a file of no bytes that should have had one; nil
// where none was asked for.
func (o *opener) noTrailer() error {
	if o.spec.Trailer == nil || o.trailer != nil && o.trailer.ended {
		return nil
	}
	return refuse("trailer", "the file is empty and so has no trailer: it is cut short, or none was sent")
}

// A counted reader holds the number of records to what the trailer says.
type counted struct {
	ingest.Reader
	t *trailer
	n int64
}

// Read implements ingest.Reader.
func (r *counted) Read(ctx context.Context, c *ingest.Chunk) error {
	err := r.Reader.Read(ctx, c)
	r.n += int64(len(c.Records) + len(c.Faults))
	if err != io.EOF {
		return err
	}
	// A parser may end before its text does.
	if _, err := io.Copy(io.Discard, r.t); err != nil {
		return err
	}
	if r.t.count >= 0 && r.t.count != r.n {
		return r.t.fault(fmt.Sprintf("its trailer %s says %d records, but it holds %d: it is not whole", brief(r.t.line), r.t.count, r.n), nil)
	}
	return io.EOF
}

// CheckTrailer reads a file to its end and says, as a *ingest.ReadError, where
// it does not end with the trailer that s asks for: it may still be written.
// How many records the trailer counts is for a Reader to say.
func CheckTrailer(ctx context.Context, s Spec, in ingest.Input) (err error) {
	if err := s.Check(); err != nil {
		return err
	}
	s = s.limited()
	o := &opener{ctx: ctx, spec: s, limits: s.Limits, packed: in.Size, name: in.Name, spent: &spent{}}
	defer func() { err = errors.Join(err, o.close()) }()
	if in.Size == 0 {
		return o.noTrailer()
	}
	c, err := o.unpack(in)
	if err != nil {
		return err
	}
	return o.checkTrailer(c)
}

// checkTrailer reads what is unpacked to its end.
func (o *opener) checkTrailer(c content) error {
	for _, f := range c.files {
		if err := o.checkMember(f); err != nil {
			return inMember(memberName(f), 0, err)
		}
	}
	if c.zip != nil {
		return nil
	}
	if c.workbook != nil {
		return refuse(XLSX, "a workbook has no last line for a trailer")
	}
	head, _ := c.stream.Peek(headSize)
	text, err := o.decode(c.stream, head)
	if err != nil {
		return err
	}
	for text = o.trailed(text); ; {
		if err := o.ctx.Err(); err != nil {
			return err
		}
		switch _, err := io.CopyN(io.Discard, text, 1<<20); {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// checkMember looks for the trailer of a file in an archive.
func (o *opener) checkMember(f *zip.File) (err error) {
	m := &opener{ctx: o.ctx, spec: o.spec, limits: o.limits, packed: o.packed, layers: o.layers, spent: o.spent, many: true}
	defer func() { err = errors.Join(err, m.close()) }()
	r, err := m.member(o.name, f)
	if err != nil {
		return err
	}
	c, err := m.unpackFrom(layer{stream: m.bound("zip", r)})
	if err != nil {
		return err
	}
	if c.stream != nil {
		if _, err := c.stream.Peek(1); err == io.EOF {
			return m.noTrailer()
		}
	}
	return m.checkTrailer(c)
}
