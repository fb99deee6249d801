package jsonfmt

import (
	"bytes"
	"strconv"

	"ingestd/ingest"
)

// A hunt looks for the end of a value that could not be parsed where it lies:
// it is bad, or the window does not hold all of it. A value that was only long
// is parsed once its end is there. One that outgrows MaxRecord is a fault, and
// its bytes are let go while the hunt goes on.
type hunt struct {
	on     bool
	again  bool // leave a value that was only long to Reader.step
	ends   ends
	seen   int             // bytes after Window.Pos that were looked at
	pos    ingest.Position // the fault's
	start  ingest.Position // where the first byte is, whatever the fault's says
	at     ingest.Position // where the parser failed
	reason string          // why the value is bad; "" while it is only long
	cut    bool            // its bytes were let go
	raw    []byte          // the first of them
}

// value takes the value at buf[i], or begins the hunt for its end.
func (r *Reader) value(i int, c *ingest.Chunk) status {
	r.w.Pos = i
	switch r.take(i, c) {
	case more:
		return r.long(c)
	case bad:
		return r.wrong()
	}
	return next
}

// long asks for more of the value at pos, and begins a hunt where it is
// longer than the window.
func (r *Reader) long(c *ingest.Chunk) status {
	if r.p.final || !empty(c) || r.w.End-r.w.Pos < r.w.Block {
		return starved
	}
	r.hunt = hunt{on: true, again: r.ends.line, ends: r.ends, pos: r.position(r.w.Pos), start: r.place(r.w.Pos)}
	return next
}

// wrong begins the hunt for the end of the value at pos, in which the parser
// has failed.
func (r *Reader) wrong() status {
	r.hunt = hunt{on: true, ends: r.ends, pos: r.position(r.w.Pos), start: r.place(r.w.Pos), reason: r.p.reason}
	r.locate()
	return next
}

// locate puts the place of the parser's failure into the hunt.
func (r *Reader) locate() {
	h := &r.hunt
	h.at = r.place(r.p.at)
	if h.at.Line != h.start.Line {
		h.reason += " (line " + strconv.FormatInt(h.at.Line, 10) + ", column " + strconv.Itoa(h.at.Column) + ")"
	} else {
		h.pos.Column += h.at.Column - h.start.Column
	}
}

// chase looks for the end in what the window holds.
func (r *Reader) chase(c *ingest.Chunk) status {
	h, w, p := &r.hunt, &r.w, &r.p
	n, end := h.ends.scan(p.b[w.Pos+h.seen:], p.final)
	h.seen += n
	if h.reason == "" && h.seen > r.opt.MaxRecord {
		h.reason, h.at = r.tooLarge(), h.start
	}
	switch {
	case end == lost && h.reason != "":
		return r.end(h.at, h.reason+"; where it ends is not clear, so nothing after it was read")
	case end == reached && h.cut:
		h.on = false
		r.fault(c, h.pos, h.reason, h.raw, w.Pos+h.seen)
	case end == reached && h.reason != "":
		h.on = false
		r.fault(c, h.pos, h.reason, p.b[w.Pos:w.Pos+h.seen], w.Pos+h.seen)
	case end != ahead, p.final && h.reason == "": // only long, or the parser knows what is wrong
		h.on = false
		if !h.again {
			return r.value(w.Pos, c)
		}
	default:
		if h.cut {
			w.Pos += h.seen
			h.seen = 0
		} else if h.seen > r.opt.MaxRecord {
			h.cut, h.raw = true, bytes.Clone(p.b[w.Pos:w.Pos+min(h.seen, ingest.MaxRawFault)])
			w.Pos += h.seen
			h.seen = 0
		}
		return starved
	}
	return next
}

// ends finds a value's end by brackets and quotes alone.
type ends struct {
	line  bool // it is its line's end
	array bool // a value ends before a comma or closing bracket, too

	begun   bool
	depth   int
	objects uint64 // bit n: container n, from the outermost, is an object
	text    bool   // inside a string
	escaped bool   // after a backslash in it
	last    byte   // the byte before, strings as quotes
}

// end says whether the end was found.
type end uint8

const (
	ahead end = iota // not in these bytes
	reached
	lost // brackets or quotes do not fit together
)

// scan looks at the next bytes and returns how many of them belong to the
// value. final: no more come.
func (e *ends) scan(b []byte, final bool) (n int, _ end) {
	if e.line {
		if n = bytes.IndexByte(b, '\n'); n >= 0 {
			return n, reached
		}
		if final {
			return len(b), reached
		}
		return len(b), ahead
	}
	for i, c := range b {
		if e.text {
			switch {
			case e.escaped:
				e.escaped = false
			case c == '\\':
				e.escaped = true
			case c == '"':
				e.text = false
				if e.depth == 0 && !e.array {
					return i + 1, reached
				}
			}
			continue
		}
		switch c {
		case ' ', '\t', '\r', '\n':
			if e.depth == 0 && e.begun && !e.array {
				return i, reached
			}
			e.last = c
			continue
		case ',', ']':
			if e.depth == 0 && e.array && e.begun {
				return i, reached
			}
		}
		if !e.fits(c) {
			return i, lost
		}
		e.begun, e.last = true, c
		if e.depth == 0 && (c == '}' || c == ']') {
			return i + 1, reached
		}
	}
	return len(b), ahead
}

// fits reports whether c, outside strings, can follow what came before as far
// as brackets and quotes go. A quote too many or too few turns the texts inside
// out; it is noticed where a quote touches what is now outside.
func (e *ends) fits(c byte) bool {
	if e.last == '"' && c != ':' && c != ',' && c != '}' && c != ']' {
		return false
	}
	switch c {
	case '"':
		e.text = true
		return e.last <= ' ' || e.last == '{' || e.last == '[' || e.last == ':' || e.last == ','
	case '{', '[':
		if e.depth < 64 {
			e.objects &^= 1 << e.depth
			if c == '{' {
				e.objects |= 1 << e.depth
			}
		}
		e.depth++
	case '}', ']':
		e.depth--
		if e.depth < 0 {
			return false
		}
		return e.depth >= 64 || (e.objects>>e.depth&1 == 1) == (c == '}')
	}
	return true
}
