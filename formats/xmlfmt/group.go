package xmlfmt

import (
	"iter"
	"strconv"
)

// A kind is the children of one name in an element.
type kind struct {
	first int32
	alike int32 // the kind before it with the same local name, plus 1
	nth   int   // how many of those there are
}

const (
	few      = 16 // up to so many kinds are searched one after the other
	maxAlike = 64 // namespaces in which one element's children have one local name
	maxURI   = 4096
)

// group links the children of node n that have the same name, and says what
// each kind is called. It returns false where there are too many kinds.
func (p *parser) group(n int32) bool {
	t := &p.tree
	t.kinds = t.kinds[:0]
	for c := t.nodes[n].first; c != 0; c = t.nodes[c].next {
		child := &t.nodes[c]
		found, alike := t.kindOf(child)
		if found >= 0 {
			first := &t.nodes[t.kinds[found].first]
			child.follows = true
			t.nodes[first.tail].same = c
			first.tail = c
			continue
		}
		next := kind{first: c, alike: int32(alike + 1)}
		if alike >= 0 {
			next.nth = t.kinds[alike].nth + 1
		}
		if len(t.kinds) == p.opt.MaxNames || next.nth == maxAlike {
			return false
		}
		child.tail = c
		child.label = &child.q.element
		if alike >= 0 || !p.apart {
			child.label = p.distinct(n, child, alike)
		}
		t.kinds = append(t.kinds, next)
		t.index(child.q.id)
	}
	return true
}

// kindOf finds the kind of child, or else one with the same local name.
func (t *tree) kindOf(child *node) (found, alike int) {
	alike = -1
	if len(t.kinds) <= few {
		for i := range t.kinds {
			first := &t.nodes[t.kinds[i].first]
			if first.q.id == child.q.id {
				if first.uri == child.uri {
					return i, -1
				}
				alike = i
			}
		}
		return -1, alike
	}
	for i := t.byID[child.q.id]; i > 0; i = t.kinds[i-1].alike {
		if t.nodes[t.kinds[i-1].first].uri == child.uri {
			return int(i - 1), -1
		}
	}
	return -1, int(t.byID[child.q.id]) - 1
}

// index makes the newest kind, or at first all of them, findable.
func (t *tree) index(id int) {
	switch n := len(t.kinds); {
	case n > few+1:
		t.byID[id] = int32(n)
	case n == few+1:
		if t.byID == nil {
			t.byID = map[int]int32{}
		}
		clear(t.byID)
		for i := range t.kinds {
			t.byID[t.nodes[t.kinds[i].first].q.id] = int32(i + 1)
		}
	}
}

// alikes are the first nodes of the kinds from alike on that have its local
// name.
func (t *tree) alikes(alike int) iter.Seq[*node] {
	return func(yield func(*node) bool) {
		for i := alike; i >= 0; i = int(t.kinds[i].alike) - 1 {
			if !yield(&t.nodes[t.kinds[i].first]) {
				return
			}
		}
	}
}

// distinct finds a label for a child of node n that nothing else there has.
func (p *parser) distinct(n int32, child *node, alike int) *label {
	q := child.q
	names := []string{q.local, q.written, "{" + child.uri + "}" + q.local}
	for _, name := range names {
		if !p.taken(n, alike, name) {
			l := newLabel(name)
			return &l
		}
	}
	for i := 2; ; i++ {
		if name := names[2] + strconv.Itoa(i); !p.taken(n, alike, name) {
			l := newLabel(name)
			return &l
		}
	}
}

// taken reports whether something else in node n is called name: a kind like
// alike, or, where the options allow that, the text or an attribute.
func (p *parser) taken(n int32, alike int, name string) bool {
	for other := range p.tree.alikes(alike) {
		if other.label.name == name {
			return true
		}
	}
	if p.apart {
		return false
	}
	own := &p.tree.nodes[n]
	for i := own.attr; i < own.attrs; i++ {
		if !p.attrs[i].nsdecl && p.attrLabel(own, i).name == name {
			return true
		}
	}
	return name == p.opt.TextKey
}

// attrLabel is what the attribute p.attrs[i] of own is called.
func (p *parser) attrLabel(own *node, i int32) *label {
	a := &p.attrs[i]
	if a.uri == "" {
		return &a.q.attr // no other has this local name and no namespace
	}
	written := false
	for j := own.attr; j < own.attrs; j++ {
		b := &p.attrs[j]
		if i != j && !b.nsdecl && b.q.id == a.q.id && (j < i || b.uri == "") {
			written = true
		}
	}
	if !written {
		return &a.q.attr
	}
	l := newLabel(p.opt.AttributePrefix + a.q.written)
	return &l
}
