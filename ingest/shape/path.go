package shape

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"ingestd/ingest"
)

// dig follows segs into a value of compact JSON text, as readers make it. The
// result is a part of raw; a string is still quoted. Text that is no JSON has
// nothing in it: dig never fails and never looks beyond raw.
func dig(kind ingest.Kind, raw []byte, segs []string) (ingest.Kind, []byte, bool) {
	for _, seg := range segs {
		var ok bool
		switch kind {
		case ingest.Object:
			raw, ok = member(raw, seg)
		case ingest.Array:
			raw, ok = element(raw, seg)
		}
		if !ok || len(raw) == 0 {
			return ingest.Null, nil, false
		}
		kind = kindOf(raw[0])
	}
	return kind, raw, true
}

func kindOf(c byte) ingest.Kind {
	switch c {
	case '"':
		return ingest.String
	case '{':
		return ingest.Object
	case '[':
		return ingest.Array
	case 't', 'f':
		return ingest.Bool
	case 'n':
		return ingest.Null
	}
	return ingest.Number
}

// member returns the value of an object's first member called name.
func member(obj []byte, name string) ([]byte, bool) {
	if len(obj) == 0 || obj[0] != '{' {
		return nil, false
	}
	for i := 1; i < len(obj) && obj[i] == '"'; i++ {
		start := i
		i = skipString(obj, i)
		if i < 0 || i >= len(obj) || obj[i] != ':' {
			return nil, false
		}
		found := sameName(obj[start+1:i-1], name)
		start = i + 1
		i = skipValue(obj, start)
		if i < 0 {
			return nil, false
		}
		if found {
			return obj[start:i], true
		}
		if i >= len(obj) || obj[i] != ',' {
			return nil, false
		}
	}
	return nil, false
}

// element returns the value at a list's position index, counted from 0.
func element(arr []byte, index string) ([]byte, bool) {
	n, err := strconv.Atoi(index)
	if err != nil || n < 0 || index != strconv.Itoa(n) || len(arr) == 0 || arr[0] != '[' {
		return nil, false
	}
	for i := 1; i < len(arr) && arr[i] != ']'; i++ {
		start := i
		i = skipValue(arr, i)
		if i < 0 {
			return nil, false
		}
		if n == 0 {
			return arr[start:i], true
		}
		n--
		if i >= len(arr) || arr[i] != ',' {
			return nil, false
		}
	}
	return nil, false
}

// skipString returns the place after the string that starts at i, or -1.
func skipString(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// skipValue returns the place after the value that starts at i, or -1. It
// counts brackets instead of calling itself, so depth costs nothing.
func skipValue(b []byte, i int) int {
	if i >= len(b) {
		return -1
	}
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
	default:
		start := i
		for i < len(b) && b[i] != ',' && b[i] != '}' && b[i] != ']' {
			i++
		}
		if i == start {
			return -1
		}
		return i
	}
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			if i = skipString(b, i); i < 0 {
				return -1
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
		i++
	}
	return -1
}

// sameName compares a member's name, as it stands between its quotes, with name.
func sameName(quoted []byte, name string) bool {
	if escape(quoted) < 0 {
		return string(quoted) == name
	}
	// An escape is never shorter than what it stands for.
	if len(quoted) < len(name) {
		return false
	}
	return string(appendUnescaped(nil, quoted)) == name
}

// escape is the place of the first backslash, or -1.
func escape(b []byte) int {
	for i, c := range b {
		if c == '\\' {
			return i
		}
	}
	return -1
}

// appendUnescaped appends the text of a JSON string, given without its quotes.
// Half a surrogate pair, which stands for no character, becomes U+FFFD.
func appendUnescaped(dst, s []byte) []byte {
	for len(s) > 0 {
		n := escape(s)
		if n < 0 || n+1 >= len(s) {
			return append(dst, s...)
		}
		dst = append(dst, s[:n]...)
		c := s[n+1]
		s = s[n+2:]
		switch c {
		case 'n':
			dst = append(dst, '\n')
		case 't':
			dst = append(dst, '\t')
		case 'r':
			dst = append(dst, '\r')
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'u':
			r, ok := hex4(s)
			if !ok {
				dst = append(dst, '\\', 'u')
				continue
			}
			s = s[4:]
			if utf16.IsSurrogate(r) {
				low := rune(-1)
				if len(s) >= 6 && s[0] == '\\' && s[1] == 'u' {
					if l, ok := hex4(s[2:]); ok {
						low = l
					}
				}
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					s = s[6:]
				}
			}
			dst = utf8.AppendRune(dst, r)
		default: // quote, backslash, slash
			dst = append(dst, c)
		}
	}
	return dst
}

func hex4(s []byte) (rune, bool) {
	if len(s) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range s[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
