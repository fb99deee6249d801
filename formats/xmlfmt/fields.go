package xmlfmt

import (
	"strconv"

	"ingestd/ingest"
)

// fields appends the fields of the record in p.tree to c.Fields. reason says
// why it cannot be one.
func (p *parser) fields(c *ingest.Chunk) (fields []ingest.Field, reason string) {
	base, texts := len(c.Fields), len(p.w.Buf)
	if reason = p.appendFields(c); reason != "" {
		c.Fields, p.w.Buf = c.Fields[:base], p.w.Buf[:texts]
		return nil, reason
	}
	return c.Fields[base:len(c.Fields):len(c.Fields)], ""
}

func (p *parser) appendFields(c *ingest.Chunk) (reason string) {
	t := &p.tree
	record := &t.nodes[0]
	p.ceiling = 0
	for i := record.attr; i < record.attrs; i++ {
		a := &p.attrs[i]
		if a.nsdecl {
			continue
		}
		raw := a.value[:len(a.value):len(a.value)]
		if a.coded {
			raw = p.keep(decode(p.w.Buf, raw, coded, true))
		}
		if reason = p.add(c, p.attrLabel(record, i).name, ingest.String, raw); reason != "" {
			return reason
		}
	}
	if !t.silent(record) {
		if reason = p.add(c, p.opt.TextKey, ingest.String, p.ownText(record)); reason != "" {
			return reason
		}
	}
	if !p.group(0) {
		return p.tooVaried()
	}
	for i := record.first; i != 0; i = t.nodes[i].next {
		n := &t.nodes[i]
		if n.follows {
			continue
		}
		var kind ingest.Kind
		var raw []byte
		switch form := p.form(n); {
		case n.same != 0 || n.q.list:
			kind = ingest.Array
			p.ceiling = len(p.w.Buf) + p.opt.MaxField
			raw = p.keep(p.appendArray(p.w.Buf, i))
		case form == isNull:
			kind = ingest.Null
		case form == isText:
			kind, raw = ingest.String, p.ownText(n)
		default:
			kind = ingest.Object
			p.ceiling = len(p.w.Buf) + p.opt.MaxField
			raw = p.keep(p.appendObject(p.w.Buf, i))
		}
		if p.ceiling < 0 {
			return p.tooVaried()
		}
		if reason = p.add(c, n.label.name, kind, raw); reason != "" {
			return reason
		}
	}
	return ""
}

func (p *parser) add(c *ingest.Chunk, name string, kind ingest.Kind, raw []byte) (reason string) {
	if len(raw) > p.opt.MaxField {
		return "a field larger than " + strconv.Itoa(p.opt.MaxField) + " bytes"
	}
	c.Fields = append(c.Fields, ingest.Field{Name: name, Kind: kind, Raw: raw})
	return ""
}

func (p *parser) tooVaried() string {
	return "more than " + strconv.Itoa(p.opt.MaxNames) + " names in an element, or " + strconv.Itoa(maxAlike) + " namespaces for one"
}

// keep takes the window's memory back, grown by one value, and returns the
// value.
func (p *parser) keep(grown []byte) []byte {
	start := len(p.w.Buf)
	p.w.Buf = grown
	return grown[start:len(grown):len(grown)]
}

// ownText is what n's own text means: the bytes of the file, or behind them.
func (p *parser) ownText(n *node) []byte {
	if text, ok := p.plainText(n); ok {
		return text
	}
	return p.keep(p.appendText(p.w.Buf, n))
}

// A form is what becomes of an element inside a record.
type form uint8

const (
	isText form = iota
	isNull
	isObject
	isNilObject // xsi:nil, and other attributes
)

func (p *parser) form(n *node) form {
	if n.attr == n.attrs {
		if n.first == 0 {
			return isText
		}
		return isObject
	}
	others, null := n.first != 0, false
	for i := n.attr; i < n.attrs; i++ {
		switch a := &p.attrs[i]; {
		case a.nsdecl:
		case p.isNil(n, a):
			null = true
		default:
			others = true
		}
	}
	switch {
	case null && others:
		return isNilObject
	case null:
		return isNull
	case others:
		return isObject
	}
	return isText
}

// isNil reports whether a is xsi:nil="true" on the empty element n.
func (p *parser) isNil(n *node, a *attr) bool {
	return a.q.local == "nil" && a.uri == xsiURI && (string(a.value) == "true" || string(a.value) == "1") &&
		n.first == 0 && p.tree.silent(n)
}

// appendArray appends node i and those that follow it by the same name.
func (p *parser) appendArray(dst []byte, i int32) []byte {
	dst = append(dst, '[')
	for first := i; i != 0 && len(dst) <= p.ceiling; i = p.tree.nodes[i].same {
		if i != first {
			dst = append(dst, ',')
		}
		dst = p.appendValue(dst, i)
	}
	return append(dst, ']')
}

func (p *parser) appendValue(dst []byte, i int32) []byte {
	n := &p.tree.nodes[i]
	switch p.form(n) {
	case isText:
		return p.appendString(dst, n)
	case isNull:
		return append(dst, "null"...)
	}
	return p.appendObject(dst, i)
}

func (p *parser) appendString(dst []byte, n *node) []byte {
	text, ok := p.plainText(n)
	if !ok {
		p.decoded = p.appendText(p.decoded[:0], n)
		text = p.decoded
	}
	return ingest.AppendString(dst, text)
}

// appendObject appends node i as an object. Where there are too many names in
// it, the ceiling becomes negative.
func (p *parser) appendObject(dst []byte, i int32) []byte {
	t := &p.tree
	n := &t.nodes[i]
	null := p.form(n) == isNilObject
	dst = append(dst, '{')
	for j := n.attr; j < n.attrs; j++ {
		a := &p.attrs[j]
		if a.nsdecl || null && p.isNil(n, a) {
			continue
		}
		dst = append(dst, p.attrLabel(n, j).quoted...)
		text := a.value
		if a.coded {
			p.decoded = decode(p.decoded[:0], text, coded, true)
			text = p.decoded
		}
		dst = append(ingest.AppendString(dst, text), ',')
	}
	switch {
	case null:
		dst = append(ingest.AppendString(dst, []byte(p.opt.TextKey)), ":null,"...)
	case n.text.used && (n.first == 0 || !t.silent(n)):
		dst = append(ingest.AppendString(dst, []byte(p.opt.TextKey)), ':')
		dst = append(p.appendString(dst, n), ',')
	}
	if !p.group(i) {
		p.ceiling = -1
	}
	for c := n.first; c != 0 && len(dst) <= p.ceiling; c = t.nodes[c].next {
		child := &t.nodes[c]
		if child.follows {
			continue
		}
		dst = append(dst, child.label.quoted...)
		if child.same != 0 || child.q.list {
			dst = p.appendArray(dst, c)
		} else {
			dst = p.appendValue(dst, c)
		}
		dst = append(dst, ',')
	}
	if dst[len(dst)-1] == ',' {
		dst = dst[:len(dst)-1]
	}
	return append(dst, '}')
}
