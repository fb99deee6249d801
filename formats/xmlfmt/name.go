package xmlfmt

import (
	"slices"
	"strings"
	"unicode/utf8"

	"ingestd/ingest"
)

// A qname is an element's or attribute's name. There is one for each written
// form, so within a record names are equal where their addresses are.
type qname struct {
	written string // as it stands in the file
	prefix  string
	local   string
	id      int   // one for each local name
	element label // what a child of this name is called
	attr    label // what an attribute of this name is called
	list    bool  // it is one of Options.Lists

	uri string // the namespace as an element's name, while scope holds
	gen int    // the state of the namespace bindings in which it does
}

// A label is a field's name, and the same as a JSON member's beginning.
type label struct {
	name   string
	quoted string
}

func newLabel(name string) label {
	return label{name: name, quoted: string(ingest.AppendString(nil, []byte(name))) + ":"}
}

// How many names and namespaces are remembered across records.
const (
	maxNames     = 16384
	maxNameBytes = 1 << 20
)

// maxDifferentNames is how many more one record may have.
const (
	maxDifferentNames = 65536
	tooManyNames      = "more than 65536 different names"
)

// names are the names that were met.
type names struct {
	byWritten map[string]*qname
	locals    map[string]int
	uris      map[string]string
	stored    int // bytes of all
	ids       int
	hints     []*qname // of the elements of the last record, in order
	prefix    string   // of attributes' labels
	lists     []string
}

func newNames(o Options) names {
	return names{
		byWritten: map[string]*qname{}, locals: map[string]int{}, uris: map[string]string{},
		prefix: o.AttributePrefix, lists: o.Lists,
	}
}

// trim forgets all names, once there are too many. It must not be called
// inside a record.
func (n *names) trim() {
	if len(n.byWritten)+len(n.uris) >= maxNames || n.stored >= maxNameBytes {
		clear(n.byWritten)
		clear(n.locals)
		clear(n.uris)
		clear(n.hints)
		n.hints, n.stored = n.hints[:0], 0
	}
}

// get returns the name written as b, or why it is none.
func (n *names) get(b []byte) (*qname, string) {
	if q, ok := n.byWritten[string(b)]; ok {
		return q, ""
	}
	if reason := checkName(b); reason != "" {
		return nil, reason
	}
	if len(n.byWritten) >= maxDifferentNames {
		return nil, tooManyNames
	}
	q := &qname{written: string(b), gen: -1}
	q.local = q.written
	if i := strings.IndexByte(q.written, ':'); i >= 0 {
		q.prefix, q.local = q.written[:i], q.written[i+1:]
	}
	id, ok := n.locals[q.local]
	if !ok {
		n.ids++
		id = n.ids
		n.locals[q.local] = id
	}
	q.id = id
	q.element, q.attr = newLabel(q.local), newLabel(n.prefix+q.local)
	q.list = slices.Contains(n.lists, q.local) || slices.Contains(n.lists, q.written)
	n.byWritten[q.written] = q
	n.stored += len(b)
	return q, ""
}

// uri returns b as a string, the same one each time.
func (n *names) uri(b []byte) string {
	if s, ok := n.uris[string(b)]; ok {
		return s
	}
	s := string(b)
	n.uris[s] = s
	n.stored += len(s)
	return s
}

// checkName says why b is no qualified name, or "". Bytes that are not UTF-8
// pass: they are found where the record is checked as a whole.
func checkName(b []byte) string {
	start, colons := true, 0
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		switch {
		case r == ':':
			colons++
			if start || colons > 1 || i+1 == len(b) {
				return "a name with a colon out of place"
			}
			start = true
		case r == utf8.RuneError && n == 1:
			start = false
		case start && !nameStart(r), !nameChar(r):
			return "a name that holds " + show(r)
		default:
			start = false
		}
		i += n
	}
	return ""
}

// nameStart is NameStartChar of XML 1.0 (fifth edition) without the colon.
func nameStart(r rune) bool {
	switch {
	case r < 0x80:
		return r|0x20 >= 'a' && r|0x20 <= 'z' || r == '_'
	case r < 0x300:
		return r >= 0xC0 && r != 0xD7 && r != 0xF7
	case r < 0x2000:
		return r >= 0x370 && r != 0x37E
	default:
		return r == 0x200C || r == 0x200D || r >= 0x2070 && r <= 0x218F || r >= 0x2C00 && r <= 0x2FEF ||
			r >= 0x3001 && r <= 0xD7FF || r >= 0xF900 && r <= 0xFDCF || r >= 0xFDF0 && r <= 0xFFFD ||
			r >= 0x10000 && r <= 0xEFFFF
	}
}

// nameChar is NameChar without the colon.
func nameChar(r rune) bool {
	return nameStart(r) || r-'0' < 10 && r >= '0' || r == '-' || r == '.' || r == 0xB7 ||
		r >= 0x300 && r <= 0x36F || r == 0x203F || r == 0x2040
}

// inName reports whether c belongs to a name as far as one byte can tell.
func inName(c byte) bool {
	return c|0x20-'a' < 26 || c-'0' < 10 || c == '_' || c == '-' || c == '.' || c == ':' || c >= 0x80
}
