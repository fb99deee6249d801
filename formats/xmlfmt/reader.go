package xmlfmt

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
	lined   bool                       // the file has line ends between its tags
	hunt    hunt                       // goes before step while it is on

	path    path
	matched int   // how many of the open elements, from the root, lie on path
	reached int   // the most there ever were
	begun   bool  // something but white space was seen
	rooted  bool  // the root element was seen
	typed   bool  // there was a DOCTYPE
	err     error // how it ended
}

// A status is what a step says.
type status uint8

const (
	next    status = iota // go on
	starved               // the window ends too early
	stopped               // Reader.err says how
)

// Details says which element is the record, and whether a DOCTYPE was ignored.
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
		return fmt.Errorf("xml: read: %w", err)
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
		r.err = fmt.Errorf("xml: read at offset %d: %w", r.w.Base+int64(r.w.End), r.w.Err)
		return stopped
	}
	const cut = "the file is cut short: it ends "
	switch h := &r.hunt; {
	case h.on && h.reason != "":
		return r.end(h.start, cut+"before the end of the record that starts here, which is bad: "+h.reason)
	case h.on:
		return r.end(h.start, cut+"inside the record that starts here")
	case r.w.Pos < r.w.End:
		return r.unreadable(r.w.Pos, cut+"inside what starts here")
	case len(r.p.open) > 0:
		return r.unreadable(r.w.Pos, cut+"before </"+brief([]byte(r.p.open[len(r.p.open)-1].q.written))+">")
	}
	return r.unreadable(r.w.Pos, cut+"before the root element")
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

// value takes the record element at buf[i], or begins the hunt for its end.
func (r *Reader) value(i int, c *ingest.Chunk) status {
	w, p := &r.w, &r.p
	w.Pos = i
	p.trim()
	end := p.record(i)
	switch {
	case end == more && (p.final || !empty(c) || w.End-i < w.Block):
		return starved
	case end == more:
		r.hunt = hunt{on: true, pos: r.position(i), start: r.place(i), ends: ends{name: p.recordName(i)}}
		return next
	case end == bad && len(p.open) == 0 && !p.over:
		return r.unreadable(p.at, p.reason)
	case end == bad:
		r.hunt = hunt{on: true, pos: r.position(i), start: r.place(i), ends: ends{name: p.recordName(i)}, reason: p.reason}
		r.locate()
		return next
	}
	at, reason := notChar(p.b[i:end])
	switch {
	case end-i > r.opt.MaxRecord:
		reason = r.tooLarge()
	case at >= 0:
		p.at = i + at
		r.hunt = hunt{pos: r.position(i), start: r.place(i), reason: reason}
		r.locate()
		r.fault(c, r.hunt.pos, r.hunt.reason, p.b[i:end], end)
		return next
	default:
		var fields []ingest.Field
		if fields, reason = p.fields(c); reason == "" {
			c.Records = append(c.Records, ingest.Record{Fields: fields, Pos: r.position(i), Raw: p.b[i:end:end]})
			r.records++
			r.rooted, w.Pos = true, end
			return next
		}
	}
	r.fault(c, r.position(i), reason, p.b[i:end], end)
	return next
}

// fault keeps raw as a fault and moves on to end.
func (r *Reader) fault(c *ingest.Chunk, pos ingest.Position, reason string, raw []byte, end int) {
	n := min(len(raw), ingest.MaxRawFault)
	c.Faults = append(c.Faults, ingest.Fault{Pos: pos, Stage: ingest.StageParse, Reason: reason, Raw: raw[:n:n]})
	r.records++
	r.rooted, r.w.Pos = true, end
}

func (r *Reader) tooLarge() string {
	return "a record larger than " + strconv.Itoa(r.opt.MaxRecord) + " bytes"
}
