package xmlfmt

import "strconv"

const (
	xmlURI   = "http://www.w3.org/XML/1998/namespace"
	xmlnsURI = "http://www.w3.org/2000/xmlns/"
	xsiURI   = "http://www.w3.org/2001/XMLSchema-instance"
)

// A scope is the namespace prefixes that are bound, innermost last. gen
// changes with them.
type scope struct {
	bindings []binding
	gen      int
}

type binding struct{ prefix, uri string }

// lookup returns the namespace that prefix is bound to.
func (s *scope) lookup(prefix string) (uri string, ok bool) {
	for i := len(s.bindings) - 1; i >= 0; i-- {
		if b := &s.bindings[i]; b.prefix == prefix {
			return b.uri, true
		}
	}
	if prefix == "xml" {
		return xmlURI, true
	}
	return "", prefix == ""
}

// release forgets all bindings but the first n.
func (s *scope) release(n int) {
	if n < len(s.bindings) {
		s.bindings = s.bindings[:n]
		s.gen++
	}
}

// bind carries out a namespace declaration, or says why it is none.
func (p *parser) bind(a attr) string {
	prefix := ""
	if a.q.prefix != "" {
		prefix = a.q.local
	}
	value := a.value
	if a.coded {
		value = decode(nil, value, coded, true)
	}
	if len(value) > maxURI {
		return "a namespace longer than " + strconv.Itoa(maxURI) + " bytes"
	}
	uri := p.uri(value)
	switch {
	case prefix == "xmlns":
		return "a declaration of the prefix xmlns"
	case prefix == "xml" && uri != xmlURI, prefix != "xml" && uri == xmlURI:
		return "the prefix xml and its namespace belong together"
	case uri == xmlnsURI:
		return "the namespace of xmlns cannot be declared"
	case prefix != "" && uri == "":
		return "the prefix " + prefix + " bound to no namespace"
	}
	p.scope.bindings = append(p.scope.bindings, binding{prefix: prefix, uri: uri})
	p.scope.gen++
	return ""
}

// resolveNames finds the namespaces of an element and its attributes, no two
// of which may be the same. i is where the tag opens.
func (p *parser) resolveNames(i int, q *qname, attrs []attr) (uri string, end int) {
	if q.gen != p.scope.gen {
		uri, ok := p.scope.lookup(q.prefix)
		if !ok {
			return "", p.undeclared(i, q)
		}
		q.uri, q.gen = uri, p.scope.gen
	}
	for n := range attrs {
		a := &attrs[n]
		if a.q.prefix != "" && !a.nsdecl {
			var ok bool
			if a.uri, ok = p.scope.lookup(a.q.prefix); !ok {
				return "", p.undeclared(a.at, a.q)
			}
		}
		for m := range attrs[:n] {
			b := &attrs[m]
			if a.q == b.q || a.q.id == b.q.id && a.uri == b.uri && !a.nsdecl && !b.nsdecl {
				return "", p.fail(a.at, "the attribute "+a.q.written+" stands twice")
			}
		}
	}
	return q.uri, i
}

func (p *parser) undeclared(i int, q *qname) int {
	return p.fail(i, "the prefix of "+q.written+" is not declared")
}
