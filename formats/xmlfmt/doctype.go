package xmlfmt

import (
	"bytes"
)

// maxDoctype bounds a DOCTYPE with its internal subset, in bytes.
const maxDoctype = 64 << 10

// maxGroups bounds parentheses inside each other in a content model.
const maxGroups = 64

// A doctype is read to check it (XML 1.0, sections 2.8 to 4.7), not to know
// anything of it.
type doctype struct {
	cursor
	p      *parser
	failed bool
}

// doctype reads the rest of a DOCTYPE.
func (p *parser) doctype(i int) int {
	d := doctype{cursor: cursor{b: p.b, i: i}, p: p}
	d.read()
	switch {
	case d.failed && p.reason == "": // at the window's end
		return more
	case d.failed:
		return bad
	}
	return d.i
}

// fail remembers the first thing that is wrong. At the window's end it is only
// that more is needed.
func (d *doctype) fail(reason string) {
	if d.failed {
		return
	}
	d.failed = true
	d.p.at, d.p.reason = d.i, reason
	if d.i >= len(d.b) || len(d.b)-d.i < len("<!NOTATION") && bytes.IndexByte(d.b[d.i:], '>') < 0 {
		d.p.reason = ""
	}
}

// must reads s.
func (d *doctype) must(s string) {
	if !d.failed && !d.has(s) {
		d.fail(s + " is missing in the DOCTYPE")
	}
}

// mustSpace reads white space.
func (d *doctype) mustSpace() {
	if !d.failed && !d.space() {
		d.fail("white space is missing in the DOCTYPE")
	}
}

// name reads a name; colons are allowed anywhere but at the beginning.
func (d *doctype) name() {
	if d.failed {
		return
	}
	from := d.i
	d.token()
	if d.failed {
		return
	}
	if c := d.b[from]; c-'0' < 10 || c == '-' || c == '.' || c == ':' {
		d.i = from
		d.fail("a name is missing in the DOCTYPE")
	}
}

// token reads a name token.
func (d *doctype) token() {
	from := d.i
	for d.i < len(d.b) && inName(d.b[d.i]) {
		d.i++
	}
	if d.i == from || d.i == len(d.b) {
		d.fail("a name is missing in the DOCTYPE")
		return
	}
	for _, part := range bytes.Split(d.b[from:d.i], []byte{':'}) {
		if reason := checkName(append([]byte{'_'}, part...)); reason != "" {
			d.i = from
			d.fail(reason + " in the DOCTYPE")
		}
	}
}

// literal reads a quoted literal.
func (d *doctype) literal() []byte {
	if d.failed {
		return nil
	}
	s := d.quoted()
	if s == nil {
		if d.i < len(d.b) && (d.b[d.i] == '"' || d.b[d.i] == '\'') {
			d.i = len(d.b) // it has no end yet
		}
		d.fail("a quoted text is missing in the DOCTYPE")
	}
	return s
}

func (d *doctype) read() {
	d.mustSpace()
	d.name()
	if d.space() && !d.failed {
		d.external(false)
		d.space()
	}
	if !d.failed && d.has("[") {
		for !d.failed && !d.subsetEnd() {
			d.declaration()
		}
		d.space()
	}
	d.must(">")
}

// subsetEnd skips white space and reports whether the internal subset ends.
func (d *doctype) subsetEnd() bool {
	d.space()
	return d.has("]")
}

// external reads SYSTEM "…" or PUBLIC "…" "…", where one stands there. In a
// notation the second text of PUBLIC may be absent.
func (d *doctype) external(notation bool) bool {
	switch {
	case d.failed:
	case d.has("SYSTEM"):
		d.mustSpace()
		d.literal()
		return true
	case d.has("PUBLIC"):
		d.mustSpace()
		if id := d.literal(); !all(id, isPublic) {
			d.fail("a public identifier with a character that is not allowed in one")
		}
		spaced := d.space()
		if notation && (d.i == len(d.b) || d.b[d.i] == '>') {
			if d.i == len(d.b) {
				d.fail("")
			}
			return true
		}
		if !spaced {
			d.fail("white space is missing in the DOCTYPE")
		}
		d.literal()
		return true
	}
	return false
}

// isPublic is PubidChar.
func isPublic(c byte) bool {
	return c|0x20-'a' < 26 || isDigit(c) || c == ' ' || c == '\r' || c == '\n' || bytes.IndexByte([]byte("-'()+,./:=?;!*#@$_%"), c) >= 0
}

// declaration reads one declaration of the internal subset.
func (d *doctype) declaration() {
	from := d.i
	var end int
	switch {
	case d.i == len(d.b):
		d.fail("")
	case d.has("<!--"):
		end = d.p.comment(d.i)
	case d.has("<?"):
		end = d.p.instruction(d.i)
	case d.has("<!ELEMENT"):
		d.element()
	case d.has("<!ATTLIST"):
		d.attlist()
	case d.has("<!NOTATION"):
		d.mustSpace()
		d.name()
		d.mustSpace()
		if !d.failed && !d.external(true) {
			d.fail("SYSTEM or PUBLIC is missing in the DOCTYPE")
		}
		d.space()
		d.must(">")
	case d.has("<!ENTITY"):
		d.i = from
		d.fail("an entity declaration; entities are refused, whatever they hold")
	case d.b[d.i] == '%':
		d.fail("a parameter entity; entities are refused, whatever they hold")
	default:
		d.fail("what is no declaration in the DOCTYPE")
	}
	switch {
	case end > 0:
		d.i = end
	case end == more:
		d.i = len(d.b)
		d.fail("")
	case end == bad:
		d.failed = true
	}
}

// element reads the rest of an element type declaration.
func (d *doctype) element() {
	d.mustSpace()
	d.name()
	d.mustSpace()
	switch {
	case d.failed:
	case d.has("EMPTY"), d.has("ANY"):
	case d.has("("):
		d.space()
		if d.has("#PCDATA") {
			d.mixed()
		} else {
			d.group(1)
			d.occurs()
		}
	default:
		d.fail("a content model is missing in the DOCTYPE")
	}
	d.space()
	d.must(">")
}

// mixed reads the rest of (#PCDATA|a|b)*.
func (d *doctype) mixed() {
	names := false
	for !d.failed {
		d.space()
		if d.has(")") {
			if !d.has("*") && names {
				d.fail("* is missing in the DOCTYPE")
			}
			return
		}
		d.must("|")
		d.space()
		d.name()
		names = true
	}
}

// group reads the rest of (a, b) or (a | b).
func (d *doctype) group(depth int) {
	if depth > maxGroups {
		d.fail("a content model nested too deep")
	}
	separator := ""
	for !d.failed {
		d.space()
		if d.has("(") {
			d.group(depth + 1)
		} else {
			d.name()
		}
		d.occurs()
		d.space()
		switch {
		case d.failed:
		case d.has(")"):
			return
		case separator != "":
			d.must(separator)
		case d.has(","):
			separator = ","
		default:
			d.must("|")
			separator = "|"
		}
	}
}

// occurs reads ?, * or +, where one stands there.
func (d *doctype) occurs() {
	if !d.failed && !d.has("?") && !d.has("*") {
		d.has("+")
	}
}

// attlist reads the rest of an attribute-list declaration.
func (d *doctype) attlist() {
	d.mustSpace()
	d.name()
	for !d.failed {
		spaced := d.space()
		if d.has(">") {
			return
		}
		if !spaced {
			d.fail("white space is missing in the DOCTYPE")
		}
		d.name()
		d.mustSpace()
		d.attType()
		d.mustSpace()
		d.attDefault()
	}
}

func (d *doctype) attType() {
	switch {
	case d.failed:
	case d.has("("):
		d.choices(d.token)
	case d.has("NOTATION"):
		d.mustSpace()
		d.must("(")
		d.choices(d.name)
	default:
		for _, kind := range []string{"CDATA", "IDREFS", "IDREF", "ID", "ENTITIES", "ENTITY", "NMTOKENS", "NMTOKEN"} {
			if d.has(kind) {
				return
			}
		}
		d.fail("an attribute type is missing in the DOCTYPE")
	}
}

// choices reads the rest of (a | b).
func (d *doctype) choices(one func()) {
	for !d.failed {
		d.space()
		one()
		d.space()
		if !d.failed && d.has(")") {
			return
		}
		d.must("|")
	}
}

func (d *doctype) attDefault() {
	switch {
	case d.failed, d.has("#REQUIRED"), d.has("#IMPLIED"):
		return
	case d.has("#FIXED"):
		d.mustSpace()
	}
	from := d.i
	value := d.literal()
	if d.failed {
		return
	}
	for i, c := range value {
		at := from + 1 + i
		switch {
		case c == '<':
			d.failed = d.p.fail(at, "< in an attribute's default; write &lt;") == bad
		case c == '&':
			d.failed = d.p.reference(at) < 0
		case c < 0x20 && !isSpace(c):
			d.failed = d.p.control(at) == bad
		}
		if d.failed {
			return
		}
	}
}
