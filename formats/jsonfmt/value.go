package jsonfmt

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/bits"
	"slices"
	"strconv"

	"ingestd/formats/window"
)

// What the parser's functions return in place of an index.
const (
	more = -1 // the window ends inside the value
	bad  = -2 // parser.reason says why, parser.at where
)

// A parser reads one value that lies in b. Its functions take the index of
// what they read and return the index after it, or more, or bad.
type parser struct {
	opt Options
	w   *window.Window

	b     []byte
	final bool // nothing comes after b

	reason string
	at     int

	spaced bool     // white space stood inside the value
	names  [][]byte // names of the nested objects that are being read
	texts  []byte   // what those of them that have escapes mean

	labels map[string]label // by name as it stands, quotes included
	stored int              // bytes of all labels
	shape  []label          // names of the last record, known to be unique
	order  []string         // for finding a name that repeats
}

// look makes p read what w holds.
func (p *parser) look(w *window.Window) { p.b, p.final = w.Bytes(), w.Err == io.EOF }

func (p *parser) fail(i int, reason string) int {
	p.at, p.reason = i, reason
	return bad
}

// unexpected says that b[i] cannot stand there.
func (p *parser) unexpected(i int, want string) int {
	if i >= len(p.b) {
		return more
	}
	return p.fail(i, show(p.b[i])+" where "+want+" should be")
}

func show(c byte) string {
	if c < 0x80 {
		return strconv.QuoteRune(rune(c))
	}
	return "byte 0x" + strconv.FormatUint(uint64(c), 16)
}

// gap skips white space.
func (p *parser) gap(i int) int {
	for i < len(p.b) {
		switch p.b[i] {
		case ' ', '\n', '\t', '\r':
			i++
			p.spaced = true
		default:
			return i
		}
	}
	return i
}

// alone reads a value that is no record.
func (p *parser) alone(i int) int {
	p.clear()
	return p.value(i, 0)
}

// clear empties the work space and gives back what one huge value took.
func (p *parser) clear() {
	p.names, p.texts = p.names[:0], p.texts[:0]
	if cap(p.names) > 64<<10 {
		p.names = nil
	}
	if cap(p.texts) > 1<<20 {
		p.texts = nil
	}
}

// value reads any value, checking all of it. depth counts the containers
// around it.
func (p *parser) value(i, depth int) int {
	if i >= len(p.b) {
		return more
	}
	switch c := p.b[i]; c {
	case '"':
		end, _ := p.text(i)
		return end
	case '{':
		return p.object(i, depth+1)
	case '[':
		return p.array(i, depth+1)
	case 't':
		return p.literal(i, "true")
	case 'f':
		return p.literal(i, "false")
	case 'n':
		return p.literal(i, "null")
	default:
		if c == '-' || c-'0' < 10 {
			return p.number(i)
		}
		return p.unexpected(i, "a value")
	}
}

func (p *parser) object(i, depth int) int {
	if depth > p.opt.MaxDepth {
		return p.fail(i, "nested deeper than "+strconv.Itoa(p.opt.MaxDepth))
	}
	open, base := i, len(p.names)
	if i = p.gap(i + 1); i < len(p.b) && p.b[i] == '}' {
		return i + 1
	}
	for {
		if i >= len(p.b) || p.b[i] != '"' {
			return p.unexpected(i, "a name in double quotes")
		}
		end, escaped := p.text(i)
		if end < 0 {
			return end
		}
		name := p.b[i+1 : end-1]
		if escaped {
			start := len(p.texts)
			p.texts = unescape(p.texts, name)
			name = p.texts[start:]
		}
		if p.names = append(p.names, name); len(p.names)-base > p.opt.MaxNames {
			return p.fail(i, "more than "+strconv.Itoa(p.opt.MaxNames)+" names in an object")
		}
		if i = p.gap(end); i >= len(p.b) || p.b[i] != ':' {
			return p.unexpected(i, "a colon")
		}
		if i = p.value(p.gap(i+1), depth); i < 0 {
			return i
		}
		if i = p.gap(i); i >= len(p.b) {
			return more
		}
		switch p.b[i] {
		case ',':
			i = p.gap(i + 1)
		case '}':
			if name, found := repeated(p.names[base:], bytes.Compare); found {
				return p.fail(open, "the name "+strconv.Quote(string(name))+" stands twice in an object")
			}
			p.names = p.names[:base]
			return i + 1
		default:
			return p.unexpected(i, "a comma or a closing brace")
		}
	}
}

func (p *parser) array(i, depth int) int {
	if depth > p.opt.MaxDepth {
		return p.fail(i, "nested deeper than "+strconv.Itoa(p.opt.MaxDepth))
	}
	if i = p.gap(i + 1); i < len(p.b) && p.b[i] == ']' {
		return i + 1
	}
	for {
		if i = p.value(i, depth); i < 0 {
			return i
		}
		if i = p.gap(i); i >= len(p.b) {
			return more
		}
		switch p.b[i] {
		case ',':
			i = p.gap(i + 1)
		case ']':
			return i + 1
		default:
			return p.unexpected(i, "a comma or a closing bracket")
		}
	}
}

// repeated returns a name that stands twice. It may reorder names.
func repeated[T any](names []T, compare func(a, b T) int) (twice T, found bool) {
	if len(names) <= 12 {
		for i, a := range names {
			for _, b := range names[:i] {
				if compare(a, b) == 0 {
					return a, true
				}
			}
		}
		return twice, false
	}
	slices.SortFunc(names, compare)
	for i := 1; i < len(names); i++ {
		if compare(names[i-1], names[i]) == 0 {
			return names[i], true
		}
	}
	return twice, false
}

func (p *parser) literal(i int, want string) int {
	if rest := p.b[i:]; len(rest) < len(want) {
		if string(rest) == want[:len(rest)] {
			return more
		}
	} else if string(rest[:len(want)]) == want {
		return i + len(want)
	}
	return p.fail(i, "a word that is not true, false or null")
}

// number reads -?(0|[1-9][0-9]*)(.[0-9]+)?([eE][+-]?[0-9]+)?
func (p *parser) number(i int) int {
	b := p.b
	if b[i] == '-' {
		i++
	}
	first := i
	for i < len(b) && b[i]-'0' < 10 {
		i++
	}
	if i == first {
		return p.unexpected(i, "a digit")
	}
	if b[first] == '0' && i > first+1 {
		return p.fail(first, "a number that starts with 0")
	}
	if i < len(b) && b[i] == '.' {
		i++
		first = i
		for i < len(b) && b[i]-'0' < 10 {
			i++
		}
		if i == first {
			return p.unexpected(i, "a digit")
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		first = i
		for i < len(b) && b[i]-'0' < 10 {
			i++
		}
		if i == first {
			return p.unexpected(i, "a digit")
		}
	}
	if i == len(b) && !p.final {
		return more // there may be more digits
	}
	return i
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// text reads the string that opens at b[i].
func (p *parser) text(i int) (end int, escaped bool) {
	b := p.b
	for i++; ; {
		for i+8 <= len(b) {
			// A byte below 0x20, a quote or a backslash sets its high bit; the
			// lowest such bit is exact.
			w := binary.LittleEndian.Uint64(b[i:])
			hit := ((w - ones*0x20) | (w ^ ones*'"' - ones) | (w ^ ones*'\\' - ones)) &^ w & highs
			if hit != 0 {
				i += bits.TrailingZeros64(hit) / 8
				break
			}
			i += 8
		}
		if i >= len(b) {
			return more, escaped
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1, escaped
		case c == '\\':
			escaped = true
			if i = p.escape(i); i < 0 {
				return i, true
			}
		case c < 0x20:
			return p.fail(i, "the control character "+show(c)+" in a string; it must be escaped"), escaped
		default:
			i++ // less than eight bytes are left
		}
	}
}

// escape reads the escape sequence at b[i], or the two of a surrogate pair.
func (p *parser) escape(i int) int {
	b := p.b
	if i+1 >= len(b) {
		return more
	}
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
	default:
		return p.fail(i, "the escape \\"+printable(b[i+1])+", which JSON does not have")
	}
	r, end := p.hex(i + 2)
	switch {
	case end < 0:
		return end
	case r&0xFC00 == 0xDC00:
		return p.fail(i, "the escape of a lone surrogate")
	case r&0xFC00 != 0xD800:
		return end
	}
	for j, want := range []byte(`\u`) {
		if end+j >= len(b) {
			return more
		}
		if b[end+j] != want {
			return p.fail(i, "the escape of a lone surrogate")
		}
	}
	low, end := p.hex(end + 2)
	if end >= 0 && low&0xFC00 != 0xDC00 {
		return p.fail(i, "the escape of a lone surrogate")
	}
	return end
}

func printable(c byte) string {
	if c > 0x20 && c < 0x7F {
		return string(rune(c))
	}
	return "0x" + strconv.FormatUint(uint64(c), 16)
}

// hex reads four hexadecimal digits.
func (p *parser) hex(i int) (r rune, end int) {
	for end = i + 4; i < end; i++ {
		if i >= len(p.b) {
			return 0, more
		}
		d := hexDigit(p.b[i])
		if d < 0 {
			return 0, p.unexpected(i, "a hexadecimal digit")
		}
		r = r<<4 | d
	}
	return r, end
}

func hexDigit(c byte) rune {
	switch {
	case c-'0' < 10:
		return rune(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return rune(c|0x20-'a') + 10
	}
	return -1
}
