package fixedfmt

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

func isASCII(b []byte) bool {
	for len(b) >= 8 {
		if binary.LittleEndian.Uint64(b)&0x8080808080808080 != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// invalid is the place of the first byte that is no valid UTF-8, or -1.
func invalid(b []byte) int {
	if utf8.Valid(b) {
		return -1
	}
	for i := 0; i < len(b); {
		c, n := utf8.DecodeRune(b[i:])
		if c == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

// unreadable says what is wrong with a byte that is no valid UTF-8.
func (r *reader) unreadable(b byte) string {
	if b == 0xFF && r.o.Encoding != "utf-8" {
		return "bytes that are no " + r.o.Encoding
	}
	return fmt.Sprintf("invalid UTF-8: byte 0x%02X", b)
}

// trim cuts spaces, tabs and no-break spaces.
func trim(b []byte) []byte {
	for len(b) > 0 {
		switch {
		case b[0] == ' ' || b[0] == '\t':
			b = b[1:]
			continue
		case len(b) > 1 && b[0] == 0xC2 && b[1] == 0xA0:
			b = b[2:]
			continue
		}
		break
	}
	for n := len(b); n > 0; n = len(b) {
		switch {
		case b[n-1] == ' ' || b[n-1] == '\t':
			b = b[:n-1]
			continue
		case n > 1 && b[n-2] == 0xC2 && b[n-1] == 0xA0:
			b = b[:n-2]
			continue
		}
		break
	}
	return b
}

func count(chars int) string {
	if chars == 1 {
		return "1 character"
	}
	return fmt.Sprintf("%d characters", chars)
}
