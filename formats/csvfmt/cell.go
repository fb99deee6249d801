package csvfmt

import (
	"bytes"
	"unicode"
	"unicode/utf8"
)

// What a cell looks like.
type look uint8

const (
	looksEmpty   look = iota // or a word for nothing, such as NULL
	looksNumber              // digits, with sign, groups, decimals, a currency or per cent
	looksTime                // a date, a time, or both
	looksAddress             // of mail, of a page
	looksCode                // a word with digits in it
	looksText
)

// strict reports whether a look is one that a name in a header does not have.
func (l look) strict() bool { return l == looksNumber || l == looksTime || l == looksAddress }

// maxLook is the length beyond which a cell is text.
const maxLook = 80

func lookOf(cell []byte) look {
	c := bytes.TrimSpace(cell)
	if len(c) == 0 {
		return looksEmpty
	}
	if len(c) > maxLook {
		if bytes.Contains(c[:16], []byte("://")) {
			return looksAddress
		}
		return looksText
	}
	if len(c) <= 4 {
		var low [4]byte
		for i, b := range c {
			if b >= 'A' && b <= 'Z' {
				b |= 0x20
			}
			low[i] = b
		}
		switch string(low[:len(c)]) {
		case "null", "nil", "none", "na", "n/a", "#n/a", "nan", "-", "--", "\\n", "?", ".":
			return looksEmpty
		}
	}
	if isNumber(c) {
		return looksNumber
	}
	if isTime(c) {
		return looksTime
	}
	if bytes.IndexByte(c, ' ') < 0 {
		if at := bytes.IndexByte(c, '@'); at > 0 && bytes.IndexByte(c[at:], '.') > 1 || bytes.Contains(c, []byte("://")) {
			return looksAddress
		}
		if bytes.ContainsAny(c, "0123456789") {
			return looksCode
		}
	}
	return looksText
}

// isNumber knows 1, -1.5, 1,234.50, 1.234,50, 1 234, 1e5, 12 %, € 3.
func isNumber(c []byte) bool {
	for {
		r, n := utf8.DecodeRune(c)
		if r != '+' && r != '-' && !unicode.Is(unicode.Sc, r) && r != ' ' {
			break
		}
		c = c[n:]
	}
	for {
		r, n := utf8.DecodeLastRune(c)
		if r != '%' && r != ' ' && r != '\u00A0' && !unicode.Is(unicode.Sc, r) && r != '-' {
			break
		}
		c = c[:len(c)-n]
	}
	if len(c) == 0 {
		return false
	}
	digits, seps, last := 0, 0, byte(0)
	for i := 0; i < len(c); i++ {
		switch b := c[i]; {
		case b >= '0' && b <= '9':
			digits++
		case b == '.' || b == ',' || b == ' ' || b == '\'':
			if last == '.' && b == '.' || last == ',' && b == ',' {
				// Groups: three digits in each.
				if i+3 > len(c) {
					return false
				}
			}
			if i > 0 && (c[i-1] < '0' || c[i-1] > '9') {
				return false
			}
			if b == ' ' && (i+4 > len(c) || !allDigits(c[i+1:i+4])) {
				return false
			}
			seps++
			last = b
		case (b == 'e' || b == 'E') && digits > 0:
			rest := bytes.TrimLeft(c[i+1:], "+-")
			return len(rest) > 0 && len(rest) < 4 && allDigits(rest)
		default:
			return false
		}
	}
	// 12.05.2026 is a date.
	if seps == 2 && last == '.' && !(len(c) > 3 && allDigits(c[len(c)-3:]) && c[len(c)-4] == '.') {
		return false
	}
	return digits > 0
}

func allDigits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// decimalMark is the mark of a number's decimals where that is certain: a comma
// or a point with other than three digits behind it, or after the other.
func decimalMark(c []byte) byte {
	c = bytes.TrimSpace(c)
	if !isNumber(c) {
		return 0
	}
	c = bytes.TrimRightFunc(c, func(r rune) bool { return r < '0' || r > '9' })
	i := bytes.LastIndexAny(c, ".,")
	if i < 0 {
		return 0
	}
	other := byte('.')
	if c[i] == '.' {
		other = ','
	}
	if bytes.IndexByte(c, c[i]) != i {
		return 0 // groups
	}
	if bytes.IndexByte(c, other) >= 0 || len(c)-i-1 != 3 {
		return c[i]
	}
	return 0
}

// isTime knows 2026-11-05, 5.11.26, 05-Nov-2026, 13:05, 1:05:00 PM,
// 2026-11-05T13:05:00.5+01:00.
func isTime(c []byte) bool {
	if len(c) < 4 || len(c) > 40 {
		return false
	}
	day := dateLen(c)
	rest := c[day:]
	if day > 0 {
		if len(rest) == 0 {
			return true
		}
		if rest[0] != ' ' && rest[0] != 'T' && rest[0] != 't' {
			return false
		}
		rest = bytes.TrimLeft(rest[1:], " ")
	}
	return isClock(rest)
}

// dateLen is the length of the date at c's beginning, or 0.
func dateLen(c []byte) int {
	i, parts, long := 0, 0, false
	var sep byte
	for {
		j := i
		for j < len(c) && c[j] >= '0' && c[j] <= '9' {
			j++
		}
		n := j - i
		if n == 0 && parts < 2 {
			for j < len(c) && (c[j]|0x20) >= 'a' && (c[j]|0x20) <= 'z' {
				j++
			}
			if n = j - i; n < 3 || n > 9 {
				return 0
			}
		} else if n != 1 && n != 2 && n != 4 {
			return 0
		} else if n == 4 {
			if long {
				return 0
			}
			long = true
		}
		i = j
		if parts++; parts == 3 {
			return i
		}
		if i == len(c) || c[i] != '-' && c[i] != '/' && c[i] != '.' && c[i] != ' ' || sep != 0 && c[i] != sep {
			return 0
		}
		sep = c[i]
		i++
	}
}

// isClock knows a time of day, perhaps with a zone.
func isClock(c []byte) bool {
	groups := 0
	for {
		j := 0
		for j < len(c) && c[j] >= '0' && c[j] <= '9' {
			j++
		}
		if j < 1 || j > 2 {
			return false
		}
		c = c[j:]
		if groups++; groups == 3 || len(c) == 0 || c[0] != ':' {
			break
		}
		c = c[1:]
	}
	if groups < 2 {
		return false
	}
	if len(c) > 1 && (c[0] == '.' || c[0] == ',') {
		c = bytes.TrimLeft(c[1:], "0123456789")
	}
	c = bytes.TrimSpace(c)
	if len(c) == 0 {
		return true
	}
	if c[0] == '+' || c[0] == '-' {
		return len(bytes.Trim(c[1:], "0123456789:")) == 0
	}
	for _, word := range []string{"z", "am", "pm", "a.m.", "p.m.", "utc", "gmt"} {
		if len(c) == len(word) && bytes.EqualFold(c, []byte(word)) {
			return true
		}
	}
	return false
}

// worth is how well a cell looks as one, from 0 to 1: what a wrong delimiter
// makes of a row is pieces that look like nothing.
func worth(cell []byte, o Options) float64 {
	space := o.Delimiter == " "
	if len(cell) == 0 {
		if space {
			return 0.1
		}
		return 0.8
	}
	v := 1.0
	if first, last := cell[0], cell[len(cell)-1]; !o.Trim && (first == ' ' || last == ' ') {
		v = 0.7
	}
	switch lookOf(cell) {
	case looksEmpty:
		return 0.8 * v
	case looksNumber, looksTime, looksAddress:
		return v
	}
	c := bytes.TrimSpace(cell)
	if first, last := c[0], c[len(c)-1]; first == '"' || last == '"' || first == '\'' && last == '\'' && len(c) > 1 {
		return 0.05
	}
	switch {
	case bytes.ContainsAny(c, "\t|;\x1f\x01"):
		return 0.1 * v
	case bytes.IndexByte(c, ',') >= 0:
		if space || !bytes.Contains(c, []byte(", ")) {
			return 0.2 * v
		}
		return 0.5 * v
	}
	if bytes.IndexByte(c, ' ') < 0 {
		return 0.8 * v
	}
	return 0.7 * v
}
