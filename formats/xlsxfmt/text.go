package xlsxfmt

import (
	"bytes"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// appendXML appends raw XML text: references resolved (the five of XML and
// numeric ones), line ends as \n (XML 1.0, section 2.11). why says what is
// wrong with it, "" if nothing.
func appendXML(dst, raw []byte) (out []byte, why string) {
	for i := 0; i < len(raw); {
		if c := raw[i]; c != '&' && c != '\r' {
			i++
			continue
		}
		dst = append(dst, raw[:i]...)
		raw, i = raw[i:], 0
		if raw[0] == '\r' {
			if raw = raw[1:]; len(raw) == 0 || raw[0] != '\n' {
				dst = append(dst, '\n')
			}
			continue
		}
		end := bytes.IndexByte(raw[:min(len(raw), 16)], ';')
		if end < 0 {
			return append(dst, raw...), "an & that begins no reference"
		}
		r := reference(string(raw[1:end]))
		if r < 0 {
			return append(dst, raw...), fmt.Sprintf("the reference %q", raw[:end+1])
		}
		dst = utf8.AppendRune(dst, r)
		raw = raw[end+1:]
	}
	return append(dst, raw...), ""
}

// reference is the character that &name; stands for, -1 if none.
func reference(name string) rune {
	switch name {
	case "lt":
		return '<'
	case "gt":
		return '>'
	case "amp":
		return '&'
	case "quot":
		return '"'
	case "apos":
		return '\''
	}
	if len(name) < 2 || name[0] != '#' {
		return -1
	}
	digits, base := name[1:], 10
	if digits[0] == 'x' {
		digits, base = digits[1:], 16
	}
	n, err := strconv.ParseUint(digits, base, 21)
	if err != nil || !utf8.ValidRune(rune(n)) {
		return -1
	}
	return rune(n)
}

// badChars says which character of s XML 1.0 forbids (section 2.2), "" if none.
func badChars(s []byte) string {
	ascii := true
	for _, c := range s {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' {
			return fmt.Sprintf("the character U+%04X, which XML forbids", c)
		}
		if c >= utf8.RuneSelf {
			ascii = false
		}
	}
	if !ascii && !utf8.Valid(s) {
		return "bytes that are no UTF-8"
	}
	return ""
}

// isPlain reports whether s is what it stands for, as XML text and as a
// string of a workbook: no reference, line end, escape or byte to check.
func isPlain(s []byte) bool {
	for _, c := range s {
		if c < ' ' || c > '~' || c == '&' || c == '_' {
			return false
		}
	}
	return true
}

// unescape replaces _xHHHH_ in s, in place, by the UTF-16 code unit HHHH
// (ECMA-376 part 1, section 22.9.2.19, ST_Xstring), which is how workbooks
// write control characters, and _x005F_ before what only looks like it. A lone
// surrogate stays as it stands.
func unescape(s []byte) []byte {
	at := bytes.Index(s, []byte("_x"))
	if at < 0 {
		return s
	}
	out := s[:at]
	for rest := s[at:]; len(rest) > 0; {
		unit, ok := escaped(rest)
		if !ok {
			out = append(out, rest[0])
			rest = rest[1:]
			continue
		}
		n := 7
		if utf16.IsSurrogate(unit) {
			low, ok := escaped(rest[7:])
			if unit = utf16.DecodeRune(unit, low); !ok || unit == utf8.RuneError {
				out = append(out, rest[:7]...)
				rest = rest[7:]
				continue
			}
			n = 14
		}
		out = utf8.AppendRune(out, unit)
		rest = rest[n:]
	}
	return out
}

// escaped reads the _xHHHH_ that s begins with.
func escaped(s []byte) (unit rune, ok bool) {
	if len(s) < 7 || s[0] != '_' || s[1] != 'x' || s[6] != '_' {
		return 0, false
	}
	for _, c := range s[2:6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		unit = unit<<4 | rune(c)
	}
	return unit, true
}

// trim cuts XML's white space off both ends.
func trim(b []byte) []byte {
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	return trimRight(b)
}

func trimRight(b []byte) []byte {
	for len(b) > 0 && isSpace(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

// endsName reports whether c cannot stand in a name.
func endsName(c byte) bool {
	const ends = 1<<0 | 1<<'\t' | 1<<'\n' | 1<<'\r' | 1<<' ' | 1<<'"' | 1<<'&' | 1<<'\'' | 1<<'/' | 1<<'<' | 1<<'=' | 1<<'>'
	return c < 64 && ends>>c&1 != 0
}
