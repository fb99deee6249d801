package ingest

import (
	"encoding/binary"
	"math/bits"
)

const hexDigits = "0123456789abcdef"

// An Encoder writes records as JSON objects, fields in order. It remembers the
// quoted names of the last record's fields, which repeat for a whole file. The
// zero Encoder is ready; it is not for concurrent use.
type Encoder struct {
	names  []string
	quoted [][]byte
}

// Append appends fields as one compact JSON object.
func (e *Encoder) Append(dst []byte, fields []Field) []byte {
	dst = append(dst, '{')
	for i := range fields {
		f := &fields[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		if i >= len(e.names) {
			e.names = append(e.names, f.Name)
			e.quoted = append(e.quoted, quoteName(f.Name))
		} else if e.names[i] != f.Name {
			e.names[i], e.quoted[i] = f.Name, quoteName(f.Name)
		}
		dst = append(dst, e.quoted[i]...)
		dst = AppendValue(dst, f.Kind, f.Raw)
	}
	return append(dst, '}')
}

func quoteName(s string) []byte {
	return append(AppendString(nil, []byte(s)), ':')
}

// AppendValue appends one value as JSON.
func AppendValue(dst []byte, k Kind, raw []byte) []byte {
	switch k {
	case String:
		return AppendString(dst, raw)
	case Null:
		return append(dst, "null"...)
	default:
		return append(dst, raw...)
	}
}

// AppendString appends s, which must be valid UTF-8, as a JSON string with the
// escapes that RFC 8259 section 7 requires and no others.
func AppendString(dst, s []byte) []byte {
	dst = append(dst, '"')
	for len(s) > 0 {
		n := plainPrefix(s)
		dst = append(dst, s[:n]...)
		if n == len(s) {
			break
		}
		switch c := s[n]; c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		s = s[n+1:]
	}
	return append(dst, '"')
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// plainPrefix is the number of leading bytes that need no escape, eight at a
// time: a byte below 0x20, a quote or a backslash sets its high bit.
func plainPrefix(s []byte) int {
	i := 0
	for ; i+8 <= len(s); i += 8 {
		w := binary.LittleEndian.Uint64(s[i:])
		q, b := w^(ones*'"'), w^(ones*'\\')
		hit := ((w - ones*0x20) | (q - ones) | (b - ones)) &^ w & highs
		// A byte with the high bit set never needs an escape; &^ w drops it,
		// and with it false hits from quotes' xor, whose high bit is w's own.
		if hit != 0 {
			return i + bits.TrailingZeros64(hit)/8
		}
	}
	for ; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' {
			return i
		}
	}
	return i
}
