package xmlfmt

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"strconv"
	"unicode/utf8"
)

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// A run is a stretch of character data.
type run uint8

const (
	plain run = 0
	blank run = 1 << iota // white space only
	coded                 // holds references or carriage returns
	cdata                 // the inside of a CDATA section
)

// text reads character data up to the next '<', or to the window's end.
func (p *parser) text(i int) (kind run, end int) {
	b := p.b
	end = len(b)
	if n := bytes.IndexByte(b[i:], '<'); n >= 0 {
		end = i + n
	}
	for i < end && b[i] <= ' ' && isSpace(b[i]) {
		if b[i] == '\r' {
			kind = coded
		}
		i++
	}
	if i == end {
		return kind | blank, end
	}
	for i < end {
		if i+8 <= end {
			// A byte below 0x20, an ampersand or a bracket sets its high bit;
			// the lowest such bit is exact.
			w := binary.LittleEndian.Uint64(b[i:])
			hit := ((w - ones*0x20) | (w ^ ones*'&' - ones) | (w ^ ones*']' - ones)) &^ w & highs
			if hit == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(hit) / 8
		}
		switch c := b[i]; {
		case c == '\r':
			kind |= coded
		case c == '&':
			kind |= coded
			if i = p.reference(i); i < 0 {
				return kind, i
			}
			continue
		case c == ']' && i+2 < end && b[i+1] == ']' && b[i+2] == '>':
			return kind, p.fail(i, "]]> in text; write ]]&gt;")
		case c < 0x20 && c != '\n' && c != '\t':
			return kind, p.control(i)
		}
		i++
	}
	return kind, end
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

func (p *parser) control(i int) int {
	return p.fail(i, "the control character "+show(rune(p.b[i]))+", which XML does not allow")
}

// characters checks the inside of a comment, a CDATA section or a processing
// instruction.
func (p *parser) characters(i, end int) (kind run, _ int) {
	for ; i < end; i++ {
		switch c := p.b[i]; {
		case c >= 0x20, c == '\n', c == '\t':
		case c == '\r':
			kind = coded
		default:
			return kind, p.control(i)
		}
	}
	return kind, end
}

// reference checks the reference at b[i].
func (p *parser) reference(i int) int {
	b := p.b[i+1:]
	n := 0
	for n < len(b) && b[n] != ';' {
		if c := b[n]; c != '#' && !inName(c) {
			return p.fail(i, "an & that begins no reference; write &amp;")
		}
		n++
	}
	if n == len(b) {
		return more
	}
	if _, reason := resolve(b[:n]); reason != "" {
		return p.fail(i, reason)
	}
	return i + n + 2
}

// resolve returns what the reference &name; means, or why it means nothing.
func resolve(name []byte) (r rune, reason string) {
	switch string(name) {
	case "lt":
		return '<', ""
	case "gt":
		return '>', ""
	case "amp":
		return '&', ""
	case "quot":
		return '"', ""
	case "apos":
		return '\'', ""
	}
	if len(name) == 0 || name[0] != '#' {
		return 0, "the entity &" + brief(name) + "; is none of lt, gt, amp, quot, apos"
	}
	digits, base := name[1:], rune(10)
	if len(digits) > 0 && digits[0] == 'x' {
		digits, base = digits[1:], 16
	}
	for _, c := range digits {
		d := rune(99)
		switch {
		case c-'0' < 10:
			d = rune(c - '0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			d = rune(c|0x20-'a') + 10
		}
		if d >= base {
			return 0, "the character reference &" + brief(name) + "; is no number"
		}
		r = min(r*base+d, utf8.MaxRune+1)
	}
	if len(digits) == 0 || !isChar(r) {
		return 0, "the character reference &" + brief(name) + "; is no character of XML"
	}
	return r, ""
}

// isChar is Char of XML 1.0.
func isChar(r rune) bool {
	return r >= 0x20 && r <= 0xD7FF || r == '\n' || r == '\t' || r == '\r' ||
		r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 && r <= utf8.MaxRune
}

// notChar returns the index of the first bytes of b that are not UTF-8, or no
// character of XML beyond ASCII, and which of both; -1 if there are none.
func notChar(b []byte) (at int, reason string) {
	if !utf8.Valid(b) {
		for i := 0; i < len(b); {
			r, n := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && n == 1 {
				return i, "bytes that are not UTF-8"
			}
			i += n
		}
	}
	for at = 0; ; at += 3 {
		n := bytes.IndexByte(b[at:], 0xEF)
		if n < 0 {
			return -1, ""
		}
		if at += n; b[at+1] == 0xBF && b[at+2] >= 0xBE {
			return at, "the character U+FFF" + string("EF"[b[at+2]-0xBE]) + ", which XML does not allow"
		}
	}
}

// decode appends what the checked character data s means: references resolved,
// line ends as line feeds. In attributes, white space is spaces (XML 3.3.3).
func decode(dst, s []byte, kind run, attribute bool) []byte {
	for len(s) > 0 {
		n := 0
		for n < len(s) && s[n] != '\r' && (s[n] != '&' || kind&cdata != 0) && !(attribute && s[n] < ' ') {
			n++
		}
		dst = append(dst, s[:n]...)
		if n == len(s) {
			break
		}
		c := s[n]
		s = s[n+1:]
		switch {
		case c == '&':
			end := bytes.IndexByte(s, ';')
			r, _ := resolve(s[:end])
			dst = utf8.AppendRune(dst, r)
			s = s[end+1:]
			continue
		case c == '\r' && len(s) > 0 && s[0] == '\n':
			s = s[1:]
		}
		if attribute {
			dst = append(dst, ' ')
		} else {
			dst = append(dst, '\n')
		}
	}
	return dst
}

func brief(b []byte) string {
	if len(b) > 40 {
		return string(bytes.ToValidUTF8(b[:40], []byte("?"))) + "…"
	}
	return string(bytes.ToValidUTF8(b, []byte("?")))
}

func show(r rune) string {
	if r < 0x20 || r == utf8.RuneError {
		return "U+00" + string("0123456789ABCDEF"[r>>4&15]) + string("0123456789ABCDEF"[r&15])
	}
	return strconv.QuoteRune(r)
}
