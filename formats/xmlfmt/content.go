package xmlfmt

import (
	"strconv"
	"strings"

	"ingestd/ingest"
)

// content reads one piece of markup or text inside the root, outside records.
func (r *Reader) content(c *ingest.Chunk) status {
	w, p := &r.w, &r.p
	if r.rooted && len(p.open) == 0 {
		r.step = r.epilog
		return next
	}
	w.Pos = p.gap(w.Pos)
	i := w.Pos
	if i == w.End {
		return starved
	}
	if p.b[i] != '<' {
		_, end := p.text(i)
		if end == w.End {
			end = more // a reference or a character may go on
		}
		return r.pass(end)
	}
	kind, inside := p.markup(i)
	switch kind {
	case "<":
		return r.element(i, c)
	case "</":
		top := p.open[len(p.open)-1]
		end := p.endTag(inside, top.q)
		if end >= 0 {
			p.scope.release(top.bound)
			p.open = p.open[:len(p.open)-1]
			r.matched = min(r.matched, len(p.open))
		}
		return r.pass(end)
	case "<!--":
		return r.pass(p.comment(inside))
	case "<?":
		return r.pass(p.instruction(inside))
	case "<![CDATA[":
		_, end := p.section(inside)
		return r.pass(end)
	case "<!DOCTYPE":
		return r.unreadable(i, "a DOCTYPE inside the root element")
	}
	return r.pass(inside)
}

// pass moves on to end, where something outside the records was read up to
// there.
func (r *Reader) pass(end int) status {
	w, p := &r.w, &r.p
	reached := end
	if end == more {
		reached = w.End
	}
	switch {
	case end == bad:
		return r.unreadable(p.at, p.reason)
	case reached-w.Pos > r.opt.MaxField:
		return r.unreadable(w.Pos, "outside the records, a text or tag larger than "+strconv.Itoa(r.opt.MaxField)+" bytes")
	case end == more:
		return starved
	}
	if at, reason := notChar(p.b[w.Pos:end]); at >= 0 {
		return r.unreadable(w.Pos+at, reason)
	}
	w.Pos = end
	return next
}

// element reads the record, or a start tag on the way to it or beside it.
func (r *Reader) element(i int, c *ingest.Chunk) status {
	p := &r.p
	depth := len(p.open)
	q, end := p.name(i + 1)
	if end < 0 {
		return r.pass(end)
	}
	on := r.matched == depth && r.path.matches(depth, q)
	switch {
	case on && depth == len(r.path)-1:
		return r.value(i, c)
	case depth == 0 && !on:
		return r.unreadable(i, "record: "+r.path.String()+" does not begin with this file's root element, "+brief([]byte(q.written)))
	case depth == r.opt.MaxDepth:
		return r.unreadable(i, "nested deeper than "+strconv.Itoa(depth))
	}
	p.trim()
	bound := len(p.scope.bindings)
	p.attrs = p.attrs[:0]
	_, empty, end := p.attributes(end, q)
	if end < 0 || empty {
		p.scope.release(bound)
	}
	st := r.pass(end)
	if st != next {
		p.scope.release(bound)
		return st
	}
	r.rooted = true
	if on {
		r.reached = max(r.reached, depth+1)
	}
	if empty {
		return next
	}
	p.open = append(p.open, opened{q: q, bound: bound})
	if on {
		r.matched = depth + 1
	}
	return next
}

// prolog reads the XML declaration.
func (r *Reader) prolog(*ingest.Chunk) status {
	const begin = "<?xml"
	w, p := &r.w, &r.p
	if w.End <= len(begin) && !p.final {
		return starved
	}
	r.step = r.misc
	if strings.HasPrefix(string(p.b[:min(len(p.b), 6)]), begin) && (w.End == len(begin) || !inName(p.b[len(begin)])) {
		r.step, r.begun = r.declaration, true
	}
	return next
}

func (r *Reader) declaration(*ingest.Chunk) status {
	st := r.pass(r.p.declaration(len("<?xml")))
	if st == next {
		r.step = r.misc
	}
	return st
}

// misc reads what may stand before the root.
func (r *Reader) misc(c *ingest.Chunk) status {
	w, p := &r.w, &r.p
	w.Pos = p.gap(w.Pos)
	i := w.Pos
	switch {
	case i == w.End && p.final && !r.begun:
		return r.done() // nothing arrived; there is nothing to lose
	case i == w.End:
		return starved
	case p.b[i] != '<':
		return r.unreadable(i, show(rune(p.b[i]))+" where the root element should be; is this XML?")
	}
	r.begun = true
	kind, inside := p.markup(i)
	switch kind {
	case "<":
		if r.path == nil {
			return r.detect()
		}
		r.step = r.content
		return next
	case "<!--":
		return r.pass(p.comment(inside))
	case "<?":
		return r.pass(p.instruction(inside))
	case "<!DOCTYPE":
		if r.typed {
			return r.unreadable(i, "a second DOCTYPE")
		}
		end := p.doctype(inside)
		if end == more && w.End-i > maxDoctype || end-i > maxDoctype {
			return r.unreadable(i, "a DOCTYPE larger than "+strconv.Itoa(maxDoctype)+" bytes")
		}
		st := r.pass(end)
		if st == next {
			r.typed = true
			r.note("DOCTYPE", "ignored", "no entity is declared in it, and nothing outside the file is read")
		}
		return st
	case "</", "<![CDATA[":
		return r.unreadable(i, kind+" before the root element")
	}
	return r.pass(inside)
}

// epilog reads what may stand behind the root.
func (r *Reader) epilog(*ingest.Chunk) status {
	w, p := &r.w, &r.p
	w.Pos = p.gap(w.Pos)
	i := w.Pos
	switch {
	case i == w.End && !p.final:
		return starved
	case i == w.End && r.reached < len(r.path)-1:
		return r.unreadable(i, "record: nothing in the file lies at "+r.path[:len(r.path)-1].String())
	case i == w.End:
		return r.done()
	case p.b[i] != '<':
		return r.unreadable(i, "text after the root element")
	}
	kind, inside := p.markup(i)
	switch kind {
	case "<!--":
		return r.pass(p.comment(inside))
	case "<?":
		return r.pass(p.instruction(inside))
	case "":
		return r.pass(inside)
	case "<":
		return r.unreadable(i, "a second root element")
	}
	return r.unreadable(i, kind+" after the root element")
}
