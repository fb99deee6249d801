package config

import (
	"fmt"
	"strings"

	"ingestd/ingest"
)

// A blockTarget takes a map with known keys.
type blockTarget struct{ b block }

func (t blockTarget) decode(d *decoder, n *node, path string) { t.decodeAt(d, n, n, path) }

func (t blockTarget) decodeAt(d *decoder, n, at *node, path string) { d.block(t.b, n, at, path) }

// always reports whether the block has its defaults where it is not written;
// one with a required key has none.
func (t blockTarget) always() bool {
	for _, k := range t.b.keys() {
		if k.required {
			return false
		}
	}
	return true
}

func (t blockTarget) encode(dst []byte) ([]byte, bool) { return encodeBlock(dst, t.b.keys()), true }
func (t blockTarget) inner() block                     { return t.b }
func (t blockTarget) typ() string                      { return "map" }

func encodeBlock(dst []byte, keys []key) []byte {
	dst = append(dst, '{')
	first := true
	for _, k := range keys {
		mark := len(dst)
		if !first {
			dst = append(dst, ',')
		}
		dst = append(ingest.AppendString(dst, []byte(k.name)), ':')
		var ok bool
		if dst, ok = k.to.encode(dst); !ok {
			dst = dst[:mark]
			continue
		}
		first = false
	}
	return append(dst, '}')
}

// optional is a block that is nil where it is not written.
type optional[T any, P interface {
	*T
	block
}] struct{ p **T }

func maybe[T any, P interface {
	*T
	block
}](p **T) optional[T, P] {
	return optional[T, P]{p}
}

func (o optional[T, P]) decode(d *decoder, n *node, path string) {
	v := P(new(T))
	d.block(v, n, place(d, n, path), path)
	*o.p = (*T)(v)
}

// place is where problems with a block stand.
func place(d *decoder, n *node, path string) *node {
	if p, ok := d.places[path]; ok {
		return p
	}
	return n
}

func (o optional[T, P]) encode(dst []byte) ([]byte, bool) {
	if *o.p == nil {
		return dst, false
	}
	return encodeBlock(dst, P(*o.p).keys()), true
}
func (o optional[T, P]) inner() block { return P(new(T)) }
func (o optional[T, P]) typ() string  { return blockTarget{o.inner()}.typ() }

// A list is values of one kind.
type list[T any] struct {
	p    *[]T
	item func(*T) target
	some bool // must not be empty
	most int  // 0 = maxItems
}

// maxItems bounds lists that people write.
const maxItems = 16_384

func (l list[T]) decode(d *decoder, n *node, path string) {
	switch {
	case d.broken[n]:
		d.failed[path] = true
		return
	case n.kind == scalarNode && n.null:
		n = &node{kind: listNode, src: n.src, line: n.line, col: n.col}
	case n.kind != listNode:
		hint := ""
		if n.kind == scalarNode && !n.interpolated() && !isSecretTarget(l.item(new(T))) {
			hint = fmt.Sprintf("write `[%s]`", strings.Trim(n.quote(), "`"))
		} else if n.kind == scalarNode {
			d.hide(n)
		}
		d.problem(n, path, fmt.Sprintf("`%s` must be a list, not %s", last(path), n.kind), hint)
		return
	}
	if l.some && len(n.items) == 0 {
		d.problem(place(d, n, path), path, fmt.Sprintf("`%s` is empty", last(path)), "")
		return
	}
	most := l.most
	if most == 0 {
		most = maxItems
	}
	if len(n.items) > most {
		d.problem(n.items[most], path, fmt.Sprintf("`%s` has more than %d entries", last(path), most), "")
		return
	}
	out := make([]T, len(n.items))
	for i, item := range n.items {
		at := Index(path, i)
		d.places[at] = item
		l.item(&out[i]).decode(d, item, at)
	}
	*l.p = out
}

func isSecretTarget(t target) bool {
	s, ok := t.(interface{ secret() bool })
	return ok && s.secret()
}

func (l list[T]) secret() bool { return isSecretTarget(l.item(new(T))) }

func (l list[T]) encode(dst []byte) ([]byte, bool) {
	if *l.p == nil {
		return dst, false
	}
	dst = append(dst, '[')
	for i := range *l.p {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst, _ = l.item(&(*l.p)[i]).encode(dst)
	}
	return append(dst, ']'), true
}

func (l list[T]) typ() string {
	if c, ok := l.item(new(T)).(choice); ok {
		return "list of " + either(c.valid())
	}
	return "list of " + plural(l.item(new(T)).typ())
}

func (l list[T]) inner() block {
	if h, ok := l.item(new(T)).(hasBlock); ok {
		return h.inner()
	}
	return noBlock{}
}

// noBlock is a block without keys.
type noBlock struct{}

func (noBlock) keys() []key { return nil }

func plural(s string) string {
	if s == "status" {
		return "statuses"
	}
	return s + "s"
}

// texts is a list of texts that are not empty.
func texts(p *[]string) list[string] {
	return list[string]{p: p, item: func(s *string) target { return words(s) }}
}

func globs(p *[]string) list[string] {
	return list[string]{p: p, item: glob, most: 256}
}

// secrets is a list of secrets.
func secrets(p *[]ingest.Secret) list[ingest.Secret] {
	return list[ingest.Secret]{p: p, item: func(s *ingest.Secret) target { return secret{s} }, some: true}
}

// A named is a map from names that people choose to values of one kind, in
// the order of the file.
type named[T any] struct {
	p     *[]T
	item  func(name string, v *T) target
	is    string             // "sink", for messages
	check func(string) error // of a name
	name  func(*T) string    // to write it
	some  bool               // must not be empty
}

func (m named[T]) decode(d *decoder, n *node, path string) {
	if d.broken[n] {
		d.failed[path] = true
		return
	}
	if n.kind == scalarNode && n.null {
		n = &node{kind: mapNode, src: n.src, line: n.line, col: n.col}
	}
	if n.kind != mapNode {
		d.problem(n, path, fmt.Sprintf("`%s` must be a map from names, not %s", last(path), n.kind), "")
		return
	}
	if m.some && len(n.entries) == 0 && !d.loose {
		d.problem(place(d, n, path), path, fmt.Sprintf("`%s` is empty", last(path)), "")
	}
	if len(n.entries) > maxItems {
		d.problem(n.entries[maxItems].key, path, fmt.Sprintf("`%s` has more than %d entries", last(path), maxItems), "")
		return
	}
	out := make([]T, len(n.entries))
	for i, e := range n.entries {
		at := join(path, e.key.text)
		where := position(e.key, e.value)
		d.places[at] = where
		if m.check != nil {
			if err := m.check(e.key.text); err != nil {
				d.problem(e.key, at, fmt.Sprintf("`%s` %s", printable(e.key.text), err), "")
			}
		}
		switch t := m.item(e.key.text, &out[i]).(type) {
		case blockTarget:
			if e.value.null { // nothing is said about it, not even its type
				t.decodeAt(d, nil, e.key, at)
				continue
			}
			t.decodeAt(d, e.value, where, at)
		default:
			t.decode(d, e.value, at)
		}
	}
	*m.p = out
}

func (m named[T]) encode(dst []byte) ([]byte, bool) {
	if *m.p == nil {
		return dst, false
	}
	dst = append(dst, '{')
	for i := range *m.p {
		if i > 0 {
			dst = append(dst, ',')
		}
		v := &(*m.p)[i]
		dst = append(ingest.AppendString(dst, []byte(m.name(v))), ':')
		dst, _ = m.item(m.name(v), v).encode(dst)
	}
	return append(dst, '}'), true
}

func (m named[T]) typ() string { return "map: " + m.is + " by name" }

func (m named[T]) inner() block {
	if h, ok := m.item("", new(T)).(hasBlock); ok {
		return h.inner()
	}
	return noBlock{}
}
