package xmlfmt

import "strconv"

// A tree is the elements of one record. Node 0 is the record.
type tree struct {
	nodes  []node
	pieces []piece
	kinds  []kind        // work space of group
	byID   map[int]int32 // the same, for many names
}

// A node is an element. Indexes of other nodes are 0 where there is none.
type node struct {
	q     *qname
	uri   string
	label *label // what its parent calls it; set by group

	first, last, next int32 // its children, its next sibling
	same              int32 // its next sibling of the same name; set by group
	tail              int32 // the last of those, where it is the first
	follows           bool  // a sibling of the same name stands before it

	attr, attrs int32 // its attributes: tree.attrs[attr:attrs]
	text        piece
}

// A piece is a run of an element's own text.
type piece struct {
	start, end int32 // in the parser's bytes
	run        run
	used       bool
	next       int32 // in tree.pieces, plus 1
	last       int32 // of the first piece: the last one, plus 1
}

// keepNodes bounds the work space that is kept from one record to the next.
const keepNodes = 32 << 10

// trimTree gives back what one huge record took.
func (p *parser) trimTree() {
	t := &p.tree
	if cap(t.nodes) > keepNodes || cap(t.pieces) > keepNodes || cap(p.attrs) > keepNodes {
		*t, p.attrs = tree{}, nil
	}
	if cap(p.decoded) > 1<<20 {
		p.decoded = nil
	}
}

// record reads the record element whose start tag opens at b[i], after the
// elements that are open. It leaves its tree in p.tree.
func (p *parser) record(i int) int {
	p.trimTree()
	t, outer, bound := &p.tree, len(p.open), len(p.scope.bindings)
	t.nodes, t.pieces, p.attrs = t.nodes[:0], t.pieces[:0], p.attrs[:0]
	end := p.element(i)
	for end >= 0 && len(p.open) > outer {
		end = p.content(end)
	}
	p.open = p.open[:outer]
	p.scope.release(bound)
	return end
}

// content reads one piece of markup or text inside the record.
func (p *parser) content(i int) int {
	if i >= len(p.b) {
		return more
	}
	own := p.open[len(p.open)-1].node
	if p.b[i] != '<' {
		run, end := p.text(i)
		if end < 0 {
			return end
		}
		p.tree.say(own, i, end, run)
		if end == len(p.b) {
			return more
		}
		i = end
	}
	if i+1 < len(p.b) && p.b[i+1] == '/' {
		return p.leave(i + 2)
	}
	kind, inside := p.markup(i)
	switch kind {
	case "<":
		return p.element(i)
	case "<!--":
		return p.comment(inside)
	case "<?":
		return p.instruction(inside)
	case "<![CDATA[":
		run, end := p.section(inside)
		if end >= 0 && end-len("]]>") > inside {
			p.tree.say(own, inside, end-len("]]>"), run)
		}
		return end
	case "<!DOCTYPE":
		return p.fail(i, "a DOCTYPE inside the root element")
	}
	return inside
}

// element reads a start tag.
func (p *parser) element(i int) int {
	t := &p.tree
	switch n := len(t.nodes); {
	case n+len(p.attrs) >= p.opt.MaxElements:
		return p.exceed(i, "more than "+strconv.Itoa(p.opt.MaxElements)+" elements and attributes in a record")
	case len(p.open) == p.opt.MaxDepth:
		return p.exceed(i, "nested deeper than "+strconv.Itoa(p.opt.MaxDepth))
	}
	n, bound := int32(len(t.nodes)), len(p.scope.bindings)
	q, end := p.hinted(i+1, int(n))
	if end < 0 {
		return end
	}
	attr := len(p.attrs)
	uri, empty, end := p.attributes(end, q)
	if end < 0 {
		return end
	}
	t.nodes = append(t.nodes, node{q: q, uri: uri, attr: int32(attr), attrs: int32(len(p.attrs))})
	if n > 0 {
		parent := &t.nodes[p.open[len(p.open)-1].node]
		if parent.first == 0 {
			parent.first = n
		} else {
			t.nodes[parent.last].next = n
		}
		parent.last = n
	}
	if empty {
		p.scope.release(bound)
		return end
	}
	p.open = append(p.open, opened{q: q, bound: bound, node: n})
	return end
}

// leave reads the rest of an end tag.
func (p *parser) leave(i int) int {
	top := &p.open[len(p.open)-1]
	end := p.endTag(i, top.q)
	if end >= 0 {
		p.scope.release(top.bound)
		p.open = p.open[:len(p.open)-1]
	}
	return end
}

// say adds a run to the text of node n.
func (t *tree) say(n int32, start, end int, run run) {
	next := piece{start: int32(start), end: int32(end), run: run, used: true}
	own := &t.nodes[n].text
	if !own.used {
		*own = next
		return
	}
	t.pieces = append(t.pieces, next)
	at := int32(len(t.pieces))
	if own.last == 0 {
		own.next = at
	} else {
		t.pieces[own.last-1].next = at
	}
	own.last = at
}

// silent reports whether node n has no text but white space.
func (t *tree) silent(n *node) bool {
	for x := &n.text; x.used; x = &t.pieces[x.next-1] {
		if x.run&blank == 0 {
			return false
		}
		if x.next == 0 {
			break
		}
	}
	return true
}

// appendText appends what node n's text means.
func (p *parser) appendText(dst []byte, n *node) []byte {
	for x := &n.text; x.used; x = &p.tree.pieces[x.next-1] {
		dst = decode(dst, p.b[x.start:x.end], x.run, false)
		if x.next == 0 {
			break
		}
	}
	return dst
}

// plainText returns node n's text where it is the bytes of the file.
func (p *parser) plainText(n *node) (text []byte, ok bool) {
	x := &n.text
	return p.b[x.start:x.end:x.end], x.next == 0 && x.run&coded == 0
}
