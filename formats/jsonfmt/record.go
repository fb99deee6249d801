package jsonfmt

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"ingestd/ingest"
)

// A label is a field's name.
type label struct {
	quoted string // as it stands in the file, quotes included
	name   string // what it means
}

// How many names are remembered across records.
const (
	maxLabels      = 16384
	maxLabelBytes  = 1 << 20
	maxLabelLength = 256
)

// label returns the name that stands quoted as s.
func (p *parser) label(s []byte, escaped bool) label {
	if l, ok := p.labels[string(s)]; ok {
		return l
	}
	l := label{quoted: string(s)}
	if l.name = l.quoted[1 : len(s)-1]; escaped {
		l.name = string(unescape(nil, s[1:len(s)-1]))
	}
	if len(s) <= maxLabelLength {
		p.labels[l.quoted] = l
		p.stored += len(s)
	}
	return l
}

// record reads the object at b[i] as a record of c. Where it fails, c is as
// it was.
func (p *parser) record(i int, c *ingest.Chunk) (fields []ingest.Field, end int) {
	base, texts := len(c.Fields), len(p.w.Buf)
	p.clear()
	if len(p.labels) >= maxLabels || p.stored >= maxLabelBytes {
		clear(p.labels)
		p.stored = 0
	}
	end, changed := p.fields(i, c)
	if end >= 0 && !utf8.Valid(p.b[i:end]) {
		end = p.fail(i+invalidUTF8(p.b[i:end]), "bytes that are not UTF-8")
	}
	if n := len(c.Fields) - base; end >= 0 && changed {
		p.shape = p.shape[:n]
		p.order = p.order[:0]
		for _, l := range p.shape {
			p.order = append(p.order, l.name)
		}
		if name, found := repeated(p.order, strings.Compare); found {
			end = p.fail(i, "the name "+strconv.Quote(name)+" stands twice in the record")
		}
	}
	if end < 0 {
		c.Fields, p.w.Buf = c.Fields[:base], p.w.Buf[:texts]
		if changed {
			p.shape = p.shape[:0]
		}
		return nil, end
	}
	return c.Fields[base:len(c.Fields):len(c.Fields)], end
}

func invalidUTF8(b []byte) int {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return len(b)
}

// fields appends the members of the object at b[i] to c.Fields. changed says
// that p.shape is no longer the last record's and not checked.
func (p *parser) fields(i int, c *ingest.Chunk) (end int, changed bool) {
	b := p.b
	if i = p.gap(i + 1); i < len(b) && b[i] == '}' {
		return i + 1, false
	}
	for n := 0; ; n++ {
		if i >= len(b) || b[i] != '"' {
			return p.unexpected(i, "a name in double quotes"), changed
		}
		if n >= p.opt.MaxNames {
			return p.fail(i, "more than "+strconv.Itoa(p.opt.MaxNames)+" names in the record"), changed
		}
		var l label
		if !changed && n < len(p.shape) && startsWith(b[i:], p.shape[n].quoted) {
			l = p.shape[n]
			i += len(l.quoted)
		} else {
			end, escaped := p.text(i)
			if end < 0 {
				return end, changed
			}
			l = p.label(b[i:end], escaped)
			p.shape = append(p.shape[:n], l)
			changed = true
			i = end
		}
		if i >= len(b) || b[i] != ':' {
			if i = p.gap(i); i >= len(b) || b[i] != ':' {
				return p.unexpected(i, "a colon"), changed
			}
		}
		if i++; i < len(b) && b[i] <= ' ' {
			i = p.gap(i)
		}
		kind, raw, end := p.field(i)
		if end < 0 {
			return end, changed
		}
		if len(raw) > p.opt.MaxField {
			return p.fail(i, "a field larger than "+strconv.Itoa(p.opt.MaxField)+" bytes"), changed
		}
		c.Fields = append(c.Fields, ingest.Field{Name: l.name, Kind: kind, Raw: raw})
		if i = end; i < len(b) && b[i] <= ' ' {
			i = p.gap(i)
		}
		if i >= len(b) {
			return more, changed
		}
		switch b[i] {
		case ',':
			if i++; i < len(b) && b[i] <= ' ' {
				i = p.gap(i)
			}
		case '}':
			return i + 1, changed
		default:
			return p.unexpected(i, "a comma or a closing brace"), changed
		}
	}
}

func startsWith(b []byte, s string) bool {
	return len(b) >= len(s) && string(b[:len(s)]) == s
}

// field reads a member's value. raw lies in the window, or behind it where the
// value is not the bytes of the file.
func (p *parser) field(i int) (kind ingest.Kind, raw []byte, end int) {
	if i >= len(p.b) {
		return 0, nil, more
	}
	switch p.b[i] {
	case '"':
		end, escaped := p.text(i)
		if end < 0 {
			return 0, nil, end
		}
		raw = p.b[i+1 : end-1 : end-1]
		if escaped {
			raw = p.keep(unescape(p.w.Buf, raw))
		}
		return ingest.String, raw, end
	case '{', '[':
		kind = ingest.Object
		if p.b[i] == '[' {
			kind = ingest.Array
		}
		p.spaced = false
		if end = p.value(i, 1); end < 0 {
			return 0, nil, end
		}
		raw = p.b[i:end:end]
		if p.spaced {
			raw = p.keep(compact(p.w.Buf, raw))
		}
		return kind, raw, end
	case 't', 'f':
		kind = ingest.Bool
	case 'n':
		return ingest.Null, nil, p.value(i, 1)
	default:
		kind = ingest.Number
	}
	if end = p.value(i, 1); end < 0 {
		return 0, nil, end
	}
	return kind, p.b[i:end:end], end
}

// keep takes the window's memory back, grown by one text, and returns the text.
func (p *parser) keep(grown []byte) []byte {
	start := len(p.w.Buf)
	p.w.Buf = grown
	return grown[start:len(grown):len(grown)]
}
