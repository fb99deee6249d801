package jsonfmt

import (
	"bytes"

	"ingestd/ingest"
)

// A separator is what was read last in an array.
type separator uint8

const (
	opened separator = iota
	element
	comma
)

// begin finds out what the file is.
func (r *Reader) begin(*ingest.Chunk) status {
	w, p := &r.w, &r.p
	w.Pos = p.gap(w.Pos)
	switch {
	case w.Pos == w.End && p.final:
		return r.done()
	case w.Pos == w.End:
		return starved
	case r.walk.path != nil:
		r.note("shape", "path", "configured: "+r.opt.Records)
		r.step = r.walking
	case p.b[w.Pos] == '[':
		r.note("shape", "array", "it starts with a bracket")
		w.Pos++
		r.enter(r.trailing)
	default:
		return r.judge()
	}
	return next
}

// judge tells NDJSON from concatenated values by whether the first value, and
// the second, ends on its line.
func (r *Reader) judge() status {
	w, p := &r.w, &r.p
	end := p.alone(w.Pos)
	switch {
	case end == more && !p.final && w.End-w.Pos < w.Block:
		return starved
	case end == more && !p.final && bytes.IndexByte(p.b[w.Pos:], '\n') < 0:
		r.hunt = hunt{on: true, again: true, pos: r.position(w.Pos), start: r.place(w.Pos)}
		return next
	case end == more:
		return r.values("concatenated", "the first value does not end on its line")
	}
	from := max(end, w.Pos)
	eol := bytes.IndexByte(p.b[from:], '\n')
	second := w.End
	if eol >= 0 {
		second = p.gap(from + eol)
	}
	undecided := !p.final && second == w.End && w.End-from < w.Block
	switch {
	case end == bad && undecided:
		return starved
	case end == bad:
		if second < w.End && p.b[second] == '{' && p.ownLine(second) >= 0 {
			return r.lines("the second line is a value of its own")
		}
		return r.values("concatenated", "the first value is bad, and so is the second line")
	case p.gap(end) == w.End && p.final:
		return r.values("object", "there is one value")
	case undecided:
		return starved
	case bytes.IndexByte(p.b[w.Pos:end], '\n') >= 0:
		return r.values("concatenated", "the first value does not end on its line")
	case eol < 0 || len(bytes.TrimSpace(p.b[end:end+eol])) > 0:
		return r.values("concatenated", "the first line holds more than one value")
	case p.ownLine(second) == more && p.goesOn(second):
		return r.values("concatenated", "the second value does not end on its line")
	}
	return r.lines("each value ends on its line")
}

func (r *Reader) values(shape, why string) status {
	r.note("shape", shape, why)
	r.step = r.document
	return next
}

func (r *Reader) lines(why string) status {
	r.note("shape", "ndjson", why)
	r.ends.line = true
	r.step = r.line
	return next
}

// goesOn reports whether the value at b[i], which does not end on its line, may
// be good on the following ones.
func (p *parser) goesOn(i int) bool {
	end := p.alone(i)
	return end >= 0 || end == more && !p.final
}

// ownLine reads the value at b[i], which may not go beyond its line.
func (p *parser) ownLine(i int) int {
	b, final := p.b, p.final
	if n := bytes.IndexByte(b[i:], '\n'); n >= 0 {
		p.b, p.final = b[:i+n], true
	} else if !final {
		return i // it may well end there
	}
	end := p.alone(i)
	if end >= 0 && p.gap(end) < len(p.b) {
		end = p.fail(end, "more after the value")
	}
	p.b, p.final = b, final
	return end
}

// document reads the next of several top-level values.
func (r *Reader) document(c *ingest.Chunk) status {
	w, p := &r.w, &r.p
	w.Pos = p.gap(w.Pos)
	switch {
	case w.Pos == w.End && p.final:
		return r.done()
	case w.Pos == w.End:
		return starved
	case p.b[w.Pos] == '{' || p.b[w.Pos] == '[':
		return r.value(w.Pos, c)
	}
	switch r.take(w.Pos, c) {
	case more:
		st := r.long(c)
		r.hunt.again = true // where it is bad, there is no hunt
		return st
	case bad:
		return r.unreadable(p.at, p.reason)
	}
	return next
}

// line reads the values of the next line that is not blank. They are records
// only if all of the line is good.
func (r *Reader) line(c *ingest.Chunk) status {
	w, p := &r.w, &r.p
	w.Pos = p.gap(w.Pos)
	if w.Pos == w.End {
		if p.final {
			return r.done()
		}
		return starved
	}
	end, open := w.End, false
	if n := bytes.IndexByte(p.b[w.Pos:], '\n'); n >= 0 {
		end = w.Pos + n
	} else if open = true; !p.final {
		return r.long(c)
	}
	start, before, records := w.Pos, *c, r.records
	texts := len(w.Buf)
	p.b, p.final = p.b[:end], true
	result := end
	for i := start; i < end && result >= 0; i = p.gap(w.Pos) {
		result = r.take(i, c)
	}
	p.look(w)
	if result >= 0 {
		return next
	}
	w.Pos, r.records, w.Buf = start, records, w.Buf[:texts]
	c.Records, c.Faults, c.Fields = before.Records, before.Faults, before.Fields
	switch {
	case result == more && open:
		return starved // the last line is cut short
	case result == more:
		p.fail(end, "the line ends inside a value")
	}
	r.wrong()
	r.hunt.on = false
	r.fault(c, r.hunt.pos, r.hunt.reason, bytes.TrimRight(p.b[start:end], "\r"), end)
	return next
}

// enter goes into the array whose opening bracket was read; after says what
// comes behind it.
func (r *Reader) enter(after func(*ingest.Chunk) status) {
	r.between, r.ends.array = opened, true
	r.step = func(c *ingest.Chunk) status { return r.element(c, after) }
}

// element reads the next element of an array, or what separates two.
func (r *Reader) element(c *ingest.Chunk, after func(*ingest.Chunk) status) status {
	w, p := &r.w, &r.p
	w.Pos = p.gap(w.Pos)
	if w.Pos == w.End {
		return starved
	}
	switch ch := p.b[w.Pos]; {
	case ch == ']' && r.between != comma:
		w.Pos++
		r.ends.array = false
		r.step = after
		return next
	case ch == ',' && r.between == element:
		w.Pos++
		r.between = comma
		return next
	case r.between == element:
		return r.unreadable(w.Pos, show(ch)+" where a comma or the array's closing bracket should be")
	case ch == ',' || ch == ']':
		return r.unreadable(w.Pos, show(ch)+" where a value should be")
	}
	st := r.value(w.Pos, c)
	if st == next {
		r.between = element
	}
	return st
}

// trailing allows white space only.
func (r *Reader) trailing(*ingest.Chunk) status {
	w, p := &r.w, &r.p
	w.Pos = p.gap(w.Pos)
	switch {
	case w.Pos < w.End:
		return r.unreadable(w.Pos, show(p.b[w.Pos])+" after the document's end")
	case p.final:
		return r.done()
	}
	return starved
}
