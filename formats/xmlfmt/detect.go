package xmlfmt

import (
	"slices"
	"strconv"
)

// How far detection looks: usually, and where the first child of the root is
// still open there, so that its siblings are not known.
const (
	sample     = 64 << 10
	longSample = 256 << 10
)

// detect finds the record element from the root's start tag on.
func (r *Reader) detect() status {
	w := &r.w
	if w.End-w.Pos < sample && w.Err == nil {
		return starved
	}
	s := survey{maxDepth: r.opt.MaxDepth}
	s.run(r.p.b[w.Pos:min(w.End, w.Pos+longSample)])
	if s.sure() || w.End-w.Pos >= longSample || w.Err != nil {
		var why string
		r.path, why = s.record()
		r.note("record", r.path.String(), why)
		return next
	}
	return starved
}

// A survey looks at the beginning of a document for the element that repeats.
type survey struct {
	maxDepth int
	open     []surveyed
	chain    []surveyed // from the root: each the first child of the one before
	speaks   bool       // the root has text
	repeated []path     // by depth: the first element that stands twice in its parent
}

// A surveyed is an element of the sample.
type surveyed struct {
	name     string
	children []string // different names, up to maxDifferent
	count    int      // child elements
	attrs    bool     // it has attributes
	chained  bool     // it is in survey.chain
}

const maxDifferent = 64

// run reads tags from b until something is wrong or b ends; what that is, the
// real parse will say.
func (s *survey) run(b []byte) {
	p := newParser(Options{}.withDefaults(), nil)
	p.b = b
	for i := 0; i >= 0 && i < len(b); {
		if b[i] != '<' {
			run, end := p.text(i)
			s.speaks = s.speaks || len(s.open) == 1 && run&blank == 0
			i = end
			continue
		}
		kind, inside := p.markup(i)
		switch kind {
		case "<":
			i = s.start(&p, inside)
		case "</":
			if len(s.open) == 0 {
				return
			}
			for inside < len(b) && b[inside] != '>' {
				inside++
			}
			i = inside + 1
			if i > len(b) {
				return
			}
			s.leave()
		case "<!--":
			i = p.comment(inside)
		case "<?":
			i = p.instruction(inside)
		case "<![CDATA[":
			_, i = p.section(inside)
		default:
			return
		}
	}
}

func (s *survey) start(p *parser, i int) int {
	q, i := p.name(i)
	if i < 0 {
		return i
	}
	empty, attrs := false, false
	for {
		if i = p.gap(i); i+1 >= len(p.b) {
			return more
		}
		if p.b[i] == '>' {
			i++
			break
		}
		if p.b[i] == '/' {
			empty = true
			i += 2
			break
		}
		var a attr
		if a, i = p.attribute(i); i < 0 {
			return i
		}
		attrs = attrs || !a.nsdecl
	}
	if len(s.open) == s.maxDepth {
		return bad
	}
	s.enter(q.written, attrs)
	if empty {
		s.leave()
	}
	return i
}

func (s *survey) enter(name string, attrs bool) {
	e := surveyed{name: name, attrs: attrs, chained: len(s.open) == 0 && len(s.chain) == 0}
	if depth := len(s.open); depth > 0 {
		parent := &s.open[depth-1]
		e.chained = parent.chained && parent.count == 0
		parent.count++
		for len(s.repeated) <= depth {
			s.repeated = append(s.repeated, nil)
		}
		switch {
		case slices.Contains(parent.children, name):
			if s.repeated[depth] == nil {
				s.repeated[depth] = append(s.to(), name)
			}
		case len(parent.children) < maxDifferent:
			parent.children = append(parent.children, name)
		}
		if parent.chained {
			s.chain[depth-1].count = parent.count
		}
	}
	s.open = append(s.open, e)
	if e.chained {
		s.chain = append(s.chain, e)
	}
}

func (s *survey) leave() { s.open = s.open[:len(s.open)-1] }

// to is the path to the innermost open element.
func (s *survey) to() (to path) {
	for _, e := range s.open {
		to = append(to, e.name)
	}
	return to
}

// sure reports whether more of the document could not change the answer.
func (s *survey) sure() bool {
	return len(s.repeated) > 1 && s.repeated[1] != nil || len(s.open) < 2 || !s.open[1].chained
}

// record is the path to the record element, and why.
func (s *survey) record() (path, string) {
	for _, to := range s.repeated {
		if to != nil {
			return to, "the shallowest element that stands twice in its parent, within the first " + strconv.Itoa(sample>>10) + " KiB"
		}
	}
	if len(s.chain) == 0 {
		return path{"*"}, "no element was found"
	}
	if s.chain[0].count == 0 && !s.speaks {
		return path{s.chain[0].name, "*"}, "the root element has no child"
	}
	if len(s.chain) == s.maxDepth && s.maxDepth > 1 {
		return path{s.chain[0].name, s.chain[1].name}, "the root's first child, which is nested too deep to be looked into"
	}
	n := 0
	for s.chain[n].count == 1 && n+1 < len(s.chain) && (s.chain[n+1].count > 0 || s.chain[n+1].attrs) {
		n++
	}
	var to path
	for _, e := range s.chain[:n+1] {
		to = append(to, e.name)
	}
	return to, "nothing repeats, so the file is one record"
}
