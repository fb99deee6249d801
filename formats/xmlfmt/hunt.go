package xmlfmt

import (
	"bytes"
	"strconv"

	"ingestd/ingest"
)

// A hunt looks for the end of a record that could not be parsed where it lies:
// it is bad, or the window does not hold all of it. A record that was only
// long is parsed once its end is there. One that outgrows MaxRecord is a fault,
// and its bytes are let go while the hunt goes on.
type hunt struct {
	on     bool
	ends   ends
	seen   int             // bytes after Window.Pos that were looked at
	pos    ingest.Position // the fault's
	start  ingest.Position // where the first byte is, whatever the fault's says
	at     ingest.Position // where the parser failed
	reason string          // why the record is bad; "" while it is only long
	cut    bool            // its bytes were let go
	raw    []byte          // the first of them
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
	n, reached := h.ends.scan(p.b[w.Pos+h.seen:])
	h.seen += n
	long := h.seen > r.opt.MaxRecord
	if h.reason == "" && long {
		h.reason, h.at = r.tooLarge(), h.start
	}
	switch {
	case (reached || p.final) && h.reason == "": // only long, or the parser knows what is wrong
		h.on = false
		return r.value(w.Pos, c)
	case reached:
		h.on = false
		raw := h.raw
		if !h.cut {
			raw = p.b[w.Pos : w.Pos+h.seen]
		}
		r.fault(c, h.pos, h.reason, raw, w.Pos+h.seen)
		return next
	case long && !h.cut:
		h.cut, h.raw = true, bytes.Clone(p.b[w.Pos:w.Pos+min(h.seen, ingest.MaxRawFault)])
	}
	if h.cut {
		w.Pos += h.seen
		h.seen = 0
	}
	return starved
}

// recordName is the name in the start tag at b[i].
func (p *parser) recordName(i int) string {
	end := i + 1
	for end < len(p.b) && inName(p.b[end]) {
		end++
	}
	return string(p.b[i+1 : end])
}

// ends finds the end of an element by its own tags alone: those of other names
// may be as wrong as they like.
type ends struct {
	name  string // the element's, as it is written
	depth int    // how many of that name are open

	in     place
	tag    tag
	within bool   // the '<' of head stands inside tag
	head   []byte // what follows the '<', as long as that matters
	last   [2]byte
}

// A tag is the tag that is being looked at.
type tag struct {
	own    bool // it has the element's name
	leaves bool // it is an end tag
	quote  byte // the quote that is open in it
}

// A place is what ends is inside of.
type place uint8

const (
	inText place = iota
	inHead       // after '<'
	inTag        // after its name
	inComment
	inSection
	inInstruction
)

// scan looks at the next bytes and returns how many of them belong to the
// element, and whether it ended.
func (e *ends) scan(b []byte) (n int, reached bool) {
	for i := 0; i < len(b); i++ {
		if e.in == inText {
			next := bytes.IndexByte(b[i:], '<')
			if next < 0 {
				break
			}
			i += next
		}
		if e.feed(b[i]) {
			return i + 1, true
		}
	}
	return len(b), false
}

// feed looks at one byte and reports whether the element ends with it.
func (e *ends) feed(c byte) (reached bool) {
	switch e.in {
	case inText:
		if c == '<' {
			e.in, e.head, e.within = inHead, e.head[:0], false
		}
	case inHead:
		e.head = append(e.head, c)
		return e.begin()
	case inTag:
		reached = e.inTag(c)
	case inComment:
		e.until(c, "-->")
	case inSection:
		e.until(c, "]]>")
	case inInstruction:
		e.until(c, " ?>")
	}
	e.last[1], e.last[0] = e.last[0], c
	return reached
}

func (e *ends) inTag(c byte) (reached bool) {
	t := &e.tag
	switch {
	case c == '<':
		e.in, e.head, e.within = inHead, e.head[:0], true
	case t.quote != 0:
		if c == t.quote {
			t.quote = 0
		}
	case c == '"' || c == '\'':
		t.quote = c
	case c == '>':
		e.in = inText
		switch {
		case !t.own:
			return false
		case t.leaves:
			e.depth--
		case e.last[0] != '/':
			e.depth++
		}
		return e.depth <= 0
	}
	return false
}

// begin decides what e.head begins.
func (e *ends) begin() (reached bool) {
	head := string(e.head)
	quoted := e.within && e.tag.quote != 0
	switch {
	case quoted && (head[0] == '!' || head[0] == '?'):
		return e.resume(head)
	case head == "!--":
		e.in, e.last = inComment, [2]byte{}
	case head == "![CDATA[":
		e.in, e.last = inSection, [2]byte{}
	case head == "?":
		e.in, e.last = inInstruction, [2]byte{}
	case head[0] == '!':
		if head != "!--"[:min(len(head), 3)] && head != "![CDATA["[:min(len(head), 8)] {
			e.in = inText
		}
	default:
		c := head[len(head)-1]
		if inName(c) && len(head) < len(e.name)+3 || head == "/" {
			return false
		}
		next := tag{leaves: head[0] == '/'}
		name := head[:len(head)-1]
		if next.leaves {
			name = name[1:]
		}
		next.own = name == e.name && !inName(c)
		if quoted && !next.own {
			return e.resume(head)
		}
		if e.within && e.tag.own && !e.tag.leaves {
			e.depth++ // the tag before has no end
		}
		e.in, e.tag = inTag, next
		return e.feed(c)
	}
	return false
}

// resume goes on in a quoted value in which a '<' stands as text.
func (e *ends) resume(head string) (reached bool) {
	e.in = inTag
	for i := 0; i < len(head) && !reached; i++ {
		reached = e.feed(head[i])
	}
	return reached
}

// until ends a comment, section or instruction where end was read; a space in
// it stands for any byte.
func (e *ends) until(c byte, end string) {
	if c == end[2] && e.last[0] == end[1] && (e.last[1] == end[0] || end[0] == ' ') {
		e.in = inText
	}
}
