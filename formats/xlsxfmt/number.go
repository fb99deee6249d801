package xlsxfmt

import "bytes"

// number returns v as a JSON number (RFC 8259, section 6): as it stands where
// it is one, else put right without touching a significant digit ("+5" → "5",
// "007" → "7", ".5" → "0.5", "5." → "5", "5.E3" → "5E3"). It returns false for
// what is no number.
func number(v []byte) ([]byte, bool) {
	if isNumber(v) {
		return v, true
	}
	v = trim(v)
	out := make([]byte, 0, len(v)+1)
	switch {
	case len(v) > 0 && v[0] == '+':
		v = v[1:]
	case len(v) > 0 && v[0] == '-':
		out, v = append(out, '-'), v[1:]
	}
	whole, v := digits(v)
	var part []byte
	if len(v) > 0 && v[0] == '.' {
		part, v = digits(v[1:])
	}
	if len(whole)+len(part) == 0 {
		return nil, false
	}
	if whole = bytes.TrimLeft(whole, "0"); len(whole) == 0 {
		whole = []byte("0")
	}
	out = append(out, whole...)
	if len(part) > 0 {
		out = append(append(out, '.'), part...)
	}
	out = append(out, v...)
	return out, isNumber(out)
}

// digits cuts the digits off the front of s.
func digits(s []byte) (d, rest []byte) {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return s[:n], s[n:]
}

// isNumber reports whether s is a JSON number.
func isNumber(s []byte) bool {
	if len(s) > 0 && s[0] == '-' {
		s = s[1:]
	}
	whole, s := digits(s)
	if len(whole) == 0 || len(whole) > 1 && whole[0] == '0' {
		return false
	}
	if len(s) > 0 && s[0] == '.' {
		var part []byte
		if part, s = digits(s[1:]); len(part) == 0 {
			return false
		}
	}
	if len(s) > 0 && s[0]|0x20 == 'e' {
		if s = s[1:]; len(s) > 0 && (s[0] == '+' || s[0] == '-') {
			s = s[1:]
		}
		var exp []byte
		if exp, s = digits(s); len(exp) == 0 {
			return false
		}
	}
	return len(s) == 0
}

// index reads a number of plain digits below limit, -1 if v is none.
func index(v []byte, limit int) int {
	v = trim(v)
	n := 0
	for _, c := range v {
		if c < '0' || c > '9' {
			return -1
		}
		if n = n*10 + int(c-'0'); n >= limit {
			return -1
		}
	}
	if len(v) == 0 {
		return -1
	}
	return n
}
