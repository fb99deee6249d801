package jsonfmt

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strconv"

	"ingestd/formats/window"
	"ingestd/ingest"
)

// A Reader is the ingest.Reader of this format.
type Reader struct {
	opt     Options
	w       window.Window
	p       parser
	details ingest.Details

	step    func(*ingest.Chunk) status // what comes next in the stream
	records int64                      // records and faults so far
	lined   bool                       // the file has line ends between its tokens
	between separator                  // in an array: what was read last
	hunt    hunt                       // goes before step while it is on
	ends    ends                       // how a value that cannot be parsed ends here
	walk    walk
	err     error // how it ended
}

// A status is what a step says.
type status uint8

const (
	next    status = iota // go on
	starved               // the window ends too early
	stopped               // Reader.err says how
)

// Details says what the file turned out to be: the shape is array, ndjson,
// concatenated, object or path.
func (r *Reader) Details() ingest.Details { return r.details }

// Close does nothing: the stream is its owner's.
func (r *Reader) Close() error { return nil }

// Read fills c with the next records and faults.
func (r *Reader) Read(ctx context.Context, c *ingest.Chunk) error {
	c.Reset()
	if r.err != nil {
		return r.err
	}
	if r.w.End-r.w.Pos < r.w.Block/2 && r.w.Err == nil {
		if err := r.fill(ctx); err != nil {
			return err
		}
	}
	r.p.look(&r.w)
	for start := r.w.Pos; !full(c) && r.w.Pos-start < ingest.ChunkBytes || empty(c); {
		st := next
		if r.hunt.on {
			st = r.chase(c)
		} else {
			st = r.step(c)
		}
		if st == next {
			continue
		}
		if !empty(c) {
			break
		}
		if st == starved && r.w.Err == nil {
			if err := r.fill(ctx); err != nil {
				return err
			}
			start = r.w.Pos
			continue
		}
		if st == starved {
			r.cut()
		}
		return r.err
	}
	r.w.HandOver(c)
	return nil
}

func full(c *ingest.Chunk) bool  { return len(c.Records)+len(c.Faults) >= ingest.ChunkRecords }
func empty(c *ingest.Chunk) bool { return len(c.Records)+len(c.Faults) == 0 }

func (r *Reader) fill(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("json: read: %w", err)
	}
	first := r.w.Base == 0 && r.w.End == 0
	r.w.Fill()
	r.p.look(&r.w)
	if first {
		r.lined = bytes.IndexByte(bytes.TrimRight(r.p.b, " \t\r\n"), '\n') >= 0
	}
	return nil
}

// cut ends the stream where more of it is needed and none comes.
func (r *Reader) cut() status {
	if r.w.Err != io.EOF {
		r.err = fmt.Errorf("json: read at offset %d: %w", r.w.Base+int64(r.w.End), r.w.Err)
		return stopped
	}
	const inside = "the file is cut short: it ends inside the value that starts here"
	switch h := &r.hunt; {
	case h.on && h.reason != "":
		return r.end(h.start, inside+", which is bad: "+h.reason)
	case h.on:
		return r.end(h.start, inside)
	case r.w.Pos < r.w.End:
		return r.unreadable(r.w.Pos, inside)
	}
	return r.unreadable(r.w.Pos, "the file is cut short: it ends inside an array or object")
}

// unreadable ends the stream at buf[i].
func (r *Reader) unreadable(i int, reason string) status {
	return r.end(r.place(i), reason)
}

// end ends the stream.
func (r *Reader) end(pos ingest.Position, reason string) status {
	pos.Record = r.records + 1
	r.err = &ingest.ReadError{Format: format, Pos: pos, Reason: reason}
	return stopped
}

// place is where buf[i] is in the file, whether it has line ends or not.
func (r *Reader) place(i int) ingest.Position {
	pos := ingest.Position{Offset: r.w.Base + int64(i)}
	pos.Line, pos.Column = r.w.Place(i)
	return pos
}

// done ends the stream properly.
func (r *Reader) done() status {
	r.err = io.EOF
	return stopped
}

func (r *Reader) note(what, value, why string) {
	r.details.Notes = append(r.details.Notes, ingest.Note{What: what, Value: value, Why: why})
}

// position is where the record that starts at buf[i] stands.
func (r *Reader) position(i int) ingest.Position {
	r.w.Count(i)
	pos := ingest.Position{Record: r.records + 1, Offset: r.w.Base + int64(i)}
	if r.lined || r.w.Lines > 0 {
		pos.Line, pos.Column = r.w.Lines+1, i-r.w.First+1
	} else {
		pos.Line, pos.Column = pos.Record, 1
	}
	return pos
}

// take reads the value at buf[i] as a record, or as a fault where it is whole
// but none. Otherwise it returns more or bad, and c and pos are as they were.
func (r *Reader) take(i int, c *ingest.Chunk) int {
	p := &r.p
	if p.b[i] != '{' {
		end := p.alone(i)
		if end >= 0 {
			r.fault(c, r.position(i), "not an object but "+kindOf(p.b[i]), p.b[i:end], end)
		}
		return end
	}
	fields, end := p.record(i, c)
	switch {
	case end < 0:
	case end-i > r.opt.MaxRecord:
		r.fault(c, r.position(i), r.tooLarge(), p.b[i:end], end)
	default:
		c.Records = append(c.Records, ingest.Record{Fields: fields, Pos: r.position(i), Raw: p.b[i:end:end]})
		r.records++
		r.w.Pos = end
	}
	return end
}

// fault keeps raw as a fault and moves on to end.
func (r *Reader) fault(c *ingest.Chunk, pos ingest.Position, reason string, raw []byte, end int) {
	n := min(len(raw), ingest.MaxRawFault)
	c.Faults = append(c.Faults, ingest.Fault{Pos: pos, Stage: ingest.StageParse, Reason: reason, Raw: raw[:n:n]})
	r.records++
	r.w.Pos = end
}

func (r *Reader) tooLarge() string {
	return "a record larger than " + strconv.Itoa(r.opt.MaxRecord) + " bytes"
}

func kindOf(c byte) string {
	switch c {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}
