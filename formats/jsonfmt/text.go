package jsonfmt

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// unescape appends what the valid JSON string text s means.
func unescape(dst, s []byte) []byte {
	for {
		n := bytes.IndexByte(s, '\\')
		if n < 0 {
			return append(dst, s...)
		}
		dst = append(dst, s[:n]...)
		c := s[n+1]
		s = s[n+2:]
		switch c {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r := unit(s)
			s = s[4:]
			if utf16.IsSurrogate(r) {
				r = utf16.DecodeRune(r, unit(s[2:]))
				s = s[6:]
			}
			dst = utf8.AppendRune(dst, r)
		default: // a quote, a backslash, a slash
			dst = append(dst, c)
		}
	}
}

func unit(s []byte) (r rune) {
	for _, c := range s[:4] {
		r = r<<4 | hexDigit(c)
	}
	return r
}

// compact appends valid JSON without the white space between its tokens.
func compact(dst, s []byte) []byte {
	for i := 0; i < len(s); {
		switch s[i] {
		case ' ', '\n', '\t', '\r':
			i++
		case '"':
			end := i + 1
			for s[end] != '"' {
				if s[end] == '\\' {
					end++
				}
				end++
			}
			dst = append(dst, s[i:end+1]...)
			i = end + 1
		default:
			dst = append(dst, s[i])
			i++
		}
	}
	return dst
}
