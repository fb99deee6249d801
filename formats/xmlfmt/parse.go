package xmlfmt

import (
	"bytes"
	"io"
	"strconv"

	"ingestd/formats/window"
)

// What the parser's functions return in place of an index.
const (
	more = -1 // the window ends inside what is read
	bad  = -2 // parser.reason says why, parser.at where
)

// A parser reads markup that lies in b. Its functions take the index of what
// they read and return the index after it, or more, or bad. They check all of
// XML's rules for one piece of markup, except that bytes are UTF-8 and that
// characters beyond ASCII are allowed, which notChar checks for many at once.
type parser struct {
	opt   Options
	apart bool // no element can be called like an attribute or the text

	w     *window.Window
	b     []byte
	final bool // nothing comes after b

	reason string
	at     int
	over   bool // it is only too much

	names
	scope scope
	open  []opened
	attrs []attr
	tree  tree

	decoded []byte // work space
	ceiling int    // appendObject gives up where the result grows past it
}

// An opened element waits for its end tag.
type opened struct {
	q     *qname
	bound int   // namespace bindings before it
	node  int32 // in a record: its node
}

// An attr is an attribute as it stands.
type attr struct {
	q      *qname
	uri    string
	value  []byte
	at     int  // where it stands
	coded  bool // value holds references or white space other than spaces
	nsdecl bool // it declares a namespace
}

func newParser(o Options, w *window.Window) parser {
	return parser{opt: o, w: w, names: newNames(o), apart: !inName(o.AttributePrefix[0]) && !inName(o.TextKey[0])}
}

// look makes p read what w holds.
func (p *parser) look(w *window.Window) { p.b, p.final = w.Bytes(), w.Err == io.EOF }

func (p *parser) fail(i int, reason string) int {
	p.at, p.reason, p.over = i, reason, false
	return bad
}

// exceed is fail for what is well-formed but too much.
func (p *parser) exceed(i int, reason string) int {
	p.at, p.reason, p.over = i, reason, true
	return bad
}

func (p *parser) unexpected(i int, want string) int {
	if i >= len(p.b) {
		return more
	}
	return p.fail(i, show(rune(p.b[i]))+" where "+want+" should be")
}

func (p *parser) gap(i int) int {
	for i < len(p.b) && isSpace(p.b[i]) {
		i++
	}
	return i
}

// markup tells what the '<' at b[i] begins. It is one of
// "<" start tag, "</", "<?", "<!--", "<![CDATA[", "<!DOCTYPE"; "" for more.
func (p *parser) markup(i int) (kind string, end int) {
	b := p.b[i:]
	if len(b) < 2 {
		return "", more
	}
	switch b[1] {
	case '/':
		return "</", i + 2
	case '?':
		return "<?", i + 2
	case '!':
		for _, kind := range []string{"<!--", "<![CDATA[", "<!DOCTYPE"} {
			if len(b) >= len(kind) && string(b[:len(kind)]) == kind {
				return kind, i + len(kind)
			}
			if len(b) < len(kind) && string(b) == kind[:len(b)] {
				return "", more
			}
		}
		return "", p.fail(i, "<! that begins neither a comment nor a CDATA section")
	}
	return "<", i + 1
}

// name reads a name.
func (p *parser) name(i int) (*qname, int) {
	start := i
	for i < len(p.b) && inName(p.b[i]) {
		i++
	}
	if i == len(p.b) {
		return nil, more
	}
	if i == start {
		return nil, p.unexpected(i, "a name")
	}
	q, reason := p.get(p.b[start:i])
	if reason == tooManyNames {
		return nil, p.exceed(start, reason)
	}
	if q == nil {
		return nil, p.fail(start, reason)
	}
	return q, i
}

// hinted is name, with a guess at it.
func (p *parser) hinted(i, nth int) (*qname, int) {
	if nth < len(p.hints) {
		q := p.hints[nth]
		if end := i + len(q.written); end < len(p.b) && string(p.b[i:end]) == q.written && !inName(p.b[end]) {
			return q, end
		}
	}
	q, end := p.name(i)
	if end < 0 {
		return nil, end
	}
	if nth < len(p.hints) {
		p.hints[nth] = q
	} else if nth == len(p.hints) && nth < maxHints {
		p.hints = append(p.hints, q)
	}
	return q, end
}

const maxHints = 4096

// attributes reads what follows the name q in a start tag, appends the
// attributes to p.attrs, and binds and resolves namespaces. Bindings stay also
// where it fails; the caller takes them back.
func (p *parser) attributes(i int, q *qname) (uri string, empty bool, end int) {
	b, first, open := p.b, len(p.attrs), i-len(q.written)-1
	declares := false
	for {
		if i >= len(b) {
			return "", false, more
		}
		if b[i] == '>' {
			i++
			break
		}
		if b[i] == '/' {
			if i+1 >= len(b) || b[i+1] != '>' {
				return "", false, p.unexpected(i+1, "> after the slash")
			}
			i += 2
			empty = true
			break
		}
		start := i
		if i = p.gap(i); i >= len(b) {
			return "", false, more
		}
		if b[i] == '>' || b[i] == '/' {
			continue
		}
		if i == start {
			return "", false, p.unexpected(i, "white space, / or >")
		}
		if len(p.attrs)-first == p.opt.MaxAttributes {
			return "", false, p.exceed(i, "more than "+strconv.Itoa(p.opt.MaxAttributes)+" attributes")
		}
		var a attr
		if a, i = p.attribute(i); i < 0 {
			return "", false, i
		}
		declares = declares || a.nsdecl
		p.attrs = append(p.attrs, a)
	}
	attrs := p.attrs[first:]
	if declares {
		for _, a := range attrs {
			if a.nsdecl {
				if reason := p.bind(a); reason != "" {
					return "", false, p.fail(a.at, reason)
				}
			}
		}
	}
	if uri, end = p.resolveNames(open, q, attrs); end < 0 {
		return "", false, end
	}
	return uri, empty, i
}

// attribute reads one attribute.
func (p *parser) attribute(i int) (a attr, end int) {
	b := p.b
	a.at = i
	if a.q, i = p.name(i); i < 0 {
		return a, i
	}
	a.nsdecl = a.q.prefix == "xmlns" || a.q.written == "xmlns"
	if i = p.gap(i); i >= len(b) || b[i] != '=' {
		return a, p.unexpected(i, "= after the attribute's name")
	}
	if i = p.gap(i + 1); i >= len(b) || b[i] != '"' && b[i] != '\'' {
		return a, p.unexpected(i, "a quote")
	}
	i++
	n := bytes.IndexByte(b[i:], b[i-1])
	end = i + n
	if n < 0 {
		end = len(b) // only to find what is wrong before
	}
	a.value = b[i:end]
	for j := i; j < end; {
		switch c := b[j]; {
		case c == '<':
			return a, p.fail(j, "< in an attribute's value; write &lt;")
		case c == '&':
			a.coded = true
			if j = p.reference(j); j < 0 {
				return a, j
			}
			continue
		case c == '\n' || c == '\t' || c == '\r':
			a.coded = true
		case c < 0x20:
			return a, p.control(j)
		}
		j++
	}
	if n < 0 {
		return a, more
	}
	return a, end + 1
}

// endTag reads the rest of an end tag, which must be q's.
func (p *parser) endTag(i int, q *qname) int {
	b := p.b
	end := i + len(q.written)
	if end >= len(b) {
		if n := len(b) - i; string(b[i:]) == q.written[:min(n, len(q.written))] {
			return more
		}
	} else if string(b[i:end]) == q.written && !inName(b[end]) {
		if b[end] == '>' {
			return end + 1
		}
		if end = p.gap(end); end >= len(b) || b[end] != '>' {
			return p.unexpected(end, ">")
		}
		return end + 1
	}
	end = i
	for end < len(b) && inName(b[end]) {
		end++
	}
	if end == len(b) {
		return more
	}
	return p.fail(i-2, "the end tag </"+brief(b[i:end])+"> where </"+q.written+"> should be")
}

// comment reads the rest of a comment.
func (p *parser) comment(i int) int {
	n := bytes.Index(p.b[i:], []byte("--"))
	if n < 0 {
		return more
	}
	if _, end := p.characters(i, i+n); end < 0 {
		return end
	}
	if i += n + 2; i >= len(p.b) || p.b[i] != '>' {
		return p.unexpected(i, "> after -- in a comment")
	}
	return i + 1
}

// section reads the rest of a CDATA section.
func (p *parser) section(i int) (kind run, end int) {
	n := bytes.Index(p.b[i:], []byte("]]>"))
	if n < 0 {
		return 0, more
	}
	if kind, end = p.characters(i, i+n); end < 0 {
		return kind, end
	}
	return kind | cdata, i + n + 3
}

// instruction reads the rest of a processing instruction.
func (p *parser) instruction(i int) int {
	q, end := p.name(i)
	if end < 0 {
		return end
	}
	switch {
	case len(q.local) == 3 && bytes.EqualFold([]byte(q.local), []byte("xml")) && q.prefix == "":
		return p.fail(i-2, "an XML declaration that is not at the very beginning")
	case q.prefix != "":
		return p.fail(i, "a colon in a processing instruction's name")
	}
	n := bytes.Index(p.b[end:], []byte("?>"))
	if n < 0 {
		return more
	}
	if n > 0 && !isSpace(p.b[end]) {
		return p.unexpected(end, "white space or ?>")
	}
	if _, checked := p.characters(end, end+n); checked < 0 {
		return checked
	}
	return end + n + 2
}
