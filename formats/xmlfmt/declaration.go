package xmlfmt

import "bytes"

// declaration reads the rest of an XML declaration. The encoding it names is
// not looked at: the bytes are UTF-8 by now.
func (p *parser) declaration(i int) int {
	n := bytes.Index(p.b[i:], []byte("?>"))
	if n < 0 {
		return more
	}
	d := cursor{b: p.b[:i+n], i: i}
	version := d.pseudo("version")
	if len(version) < 3 || string(version[:2]) != "1." || !all(version[2:], isDigit) {
		return p.fail(d.i, "an XML declaration without version=\"1.0\"")
	}
	if encoding := d.pseudo("encoding"); encoding != nil {
		if len(encoding) == 0 || encoding[0]|0x20-'a' >= 26 || !all(encoding, func(c byte) bool { return c < 0x80 && c != ':' && inName(c) }) {
			return p.fail(d.i, "an XML declaration with a bad encoding name")
		}
	}
	if alone := d.pseudo("standalone"); alone != nil && string(alone) != "yes" && string(alone) != "no" {
		return p.fail(d.i, "an XML declaration in which standalone is neither yes nor no")
	}
	d.space()
	if d.i != len(d.b) {
		return p.fail(d.i, "an XML declaration with more than version, encoding and standalone, in this order")
	}
	return i + n + 2
}

func all(b []byte, is func(byte) bool) bool {
	for _, c := range b {
		if !is(c) {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return c-'0' < 10 }

// A cursor reads tokens of markup that lies whole in b.
type cursor struct {
	b []byte
	i int
}

// space skips white space and reports whether there was any.
func (d *cursor) space() bool {
	from := d.i
	for d.i < len(d.b) && isSpace(d.b[d.i]) {
		d.i++
	}
	return d.i > from
}

// has skips s where it comes next.
func (d *cursor) has(s string) bool {
	if !bytes.HasPrefix(d.b[d.i:], []byte(s)) {
		return false
	}
	d.i += len(s)
	return true
}

// quoted reads a quoted literal; nil: there is none.
func (d *cursor) quoted() []byte {
	if d.i == len(d.b) || d.b[d.i] != '"' && d.b[d.i] != '\'' {
		return nil
	}
	rest := d.b[d.i+1:]
	n := bytes.IndexByte(rest, d.b[d.i])
	if n < 0 {
		return nil
	}
	d.i += n + 2
	return rest[:n:n]
}

// pseudo reads the pseudo attribute name, white space before it; nil, with
// nothing read: it does not come next.
func (d *cursor) pseudo(name string) []byte {
	from := d.i
	if d.space() && d.has(name) {
		d.space()
		if d.has("=") {
			d.space()
			if value := d.quoted(); value != nil {
				return value
			}
		}
	}
	d.i = from
	return nil
}
