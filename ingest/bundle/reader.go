package bundle

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"ingestd/ingest"
	"ingestd/ingest/journal"
)

// Format is the Details.Format of a bundle: its events may be of any.
const Format = "events"

// An Open makes the reader of one event's body, which is valid until the reader
// is closed. An *ingest.ReadError says that the body is at fault.
type Open func(ctx context.Context, e *ingest.Event, body []byte) (ingest.Reader, error)

// A Reader reads a bundle: the records of all its events, in order, numbered
// through. An event that cannot be read, or not from some place on, is one
// fault, and the others go on.
type Reader struct {
	src     *journal.Reader
	open    Open
	body    ingest.Reader // of the event that is being read; nil between two
	raw     []byte        // its bytes
	span    ingest.Span
	scratch ingest.Chunk
	err     error
}

// NewReader reads the segment that in holds.
func NewReader(in ingest.Input, open Open) *Reader {
	return &Reader{src: journal.NewReader(io.NewSectionReader(in, 0, in.Size)), open: open}
}

// Details implements ingest.Reader.
func (*Reader) Details() ingest.Details { return ingest.Details{Format: Format} }

// Close implements ingest.Reader.
func (r *Reader) Close() error {
	r.err = errors.New("read after close")
	if r.body == nil {
		return nil
	}
	defer func() { r.body = nil }()
	return r.body.Close()
}

// Read implements ingest.Reader. Small events share a chunk.
func (r *Reader) Read(ctx context.Context, c *ingest.Chunk) error {
	c.Reset()
	for r.err == nil && len(c.Records)+len(c.Faults) < ingest.ChunkRecords && len(c.Buf) < ingest.ChunkBytes {
		if r.body == nil {
			r.err = r.next(ctx, c)
			continue
		}
		err := r.body.Read(ctx, &r.scratch)
		r.take(c)
		r.err = r.end(ctx, c, err)
	}
	if r.body != nil && r.err == nil {
		c.Spans = append(c.Spans, r.span) // it goes on in the next chunk
	}
	if len(c.Records)+len(c.Faults) > 0 && errors.Is(r.err, io.EOF) {
		return nil
	}
	return r.err
}

// next opens the next event.
func (r *Reader) next(ctx context.Context, c *ingest.Chunk) error {
	entry, err := r.src.Next()
	switch {
	case err == io.EOF:
		return io.EOF
	case errors.Is(err, journal.ErrTorn):
		return &ingest.ReadError{Format: Format, Reason: err.Error()}
	case err != nil:
		return fmt.Errorf("read a bundle: %w", err)
	}
	e := &ingest.Event{}
	last := r.span.Last
	r.raw = entry.Body
	r.span = ingest.Span{
		Index: entry.Index, Event: e, Size: int64(len(entry.Body)), SHA256: sha256.Sum256(entry.Body), First: last + 1, Last: last,
	}
	if err := json.Unmarshal(entry.Head, e); err != nil {
		return &ingest.ReadError{Format: Format, Reason: fmt.Sprintf("what is known of event %d cannot be read: %v", entry.Index, err)}
	}
	if r.body, err = r.open(ctx, e, entry.Body); err != nil {
		return r.end(ctx, c, err)
	}
	return nil
}

// end looks at what a body's reader returned.
func (r *Reader) end(ctx context.Context, c *ingest.Chunk, err error) error {
	var bad *ingest.ReadError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF):
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &bad):
		r.span.Last++
		c.Faults = append(c.Faults, ingest.Fault{
			Pos:   ingest.Position{Record: r.span.Last, Line: max(bad.Pos.Line, 1), Column: bad.Pos.Column, Offset: -1},
			Stage: ingest.StageParse, Reason: "the event cannot be read: " + bad.Error(),
			Raw: slices.Clone(r.raw[:min(len(r.raw), ingest.MaxRawFault)]),
		})
	default:
		return err
	}
	c.Spans = append(c.Spans, r.span)
	if r.body == nil {
		return nil
	}
	err = r.body.Close()
	r.body = nil
	return err
}

// take copies what was read into c: events are smaller than chunks, and the
// next one's reader uses the scratch again.
func (r *Reader) take(c *ingest.Chunk) {
	last := r.span.Last
	for i := range r.scratch.Records {
		in := &r.scratch.Records[i]
		out := *in
		// Ordinals are the reader's own: those of its faults count too.
		out.Pos.Record = r.span.First - 1 + in.Pos.Record
		last = max(last, out.Pos.Record)
		at := len(c.Fields)
		for _, f := range in.Fields {
			f.Raw = keep(c, f.Raw)
			c.Fields = append(c.Fields, f)
		}
		out.Fields = c.Fields[at:len(c.Fields):len(c.Fields)]
		out.Raw = keep(c, in.Raw)
		c.Records = append(c.Records, out)
	}
	for i := range r.scratch.Faults {
		out := r.scratch.Faults[i]
		out.Pos.Record = r.span.First - 1 + out.Pos.Record
		last = max(last, out.Pos.Record)
		out.Raw = keep(c, out.Raw)
		c.Faults = append(c.Faults, out)
	}
	r.span.Last = last
}

// keep copies bytes into the chunk. Where its buffer moves, what points into
// the old one stays valid.
func keep(c *ingest.Chunk, b []byte) []byte {
	if b == nil {
		return nil
	}
	at := len(c.Buf)
	c.Buf = append(c.Buf, b...)
	return c.Buf[at:len(c.Buf):len(c.Buf)]
}
