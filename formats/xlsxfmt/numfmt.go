package xlsxfmt

import "strings"

// shape is how a number under a number format is delivered.
type shape uint8

const (
	plain    shape = iota // as a number
	date                  // 2026-03-05
	datetime              // 2026-03-05T13:05:00
	clock                 // 13:05:00
	elapsed               // 30:15:00
	byValue               // a date, a time or both, as the value has a fraction or no whole part
	unknown               // the workbook does not say
)

// A style is what the reader needs of a cell's format.
type style struct {
	shape shape
	frac  uint8 // digits of fractional seconds, up to 3
}

// builtinStyle is the style of a number format that workbooks use without
// defining it (ECMA-376 part 1, section 18.8.30). What 27–36 and 50–58 show
// depends on the language Excel runs in; they all are dates or times.
func builtinStyle(id int) style {
	switch {
	case id >= 14 && id <= 17, id >= 71 && id <= 74, id == 81:
		return style{shape: date}
	case id >= 18 && id <= 21, id == 45, id == 75, id == 76, id == 78:
		return style{shape: clock}
	case id == 22, id == 77:
		return style{shape: datetime}
	case id == 46, id == 79:
		return style{shape: elapsed}
	case id == 47, id == 80:
		return style{shape: clock, frac: 1}
	case id >= 27 && id <= 36, id >= 50 && id <= 58:
		return style{shape: byValue}
	}
	return style{}
}

// parseFormat reads a number format's code (ECMA-376 part 1, section 18.8.31).
// Its first section counts: it is the one for positive numbers.
func parseFormat(code string) style {
	var (
		days, hours, total bool
		frac               uint8
		last               byte // the last date or time letter
		month              bool // the m's just seen are months unless an s follows
	)
	if strings.EqualFold(code, "standard") { // General, in some languages
		return style{}
	}
	for i := 0; i < len(code); i++ {
		c := lower(code[i])
		switch c {
		case ';':
			i = len(code)
			continue
		case '"':
			n := strings.IndexByte(code[i+1:], '"')
			if n < 0 {
				n = len(code) - i - 2
			}
			i += n + 1
			continue
		case '\\', '_', '*':
			i++ // the next character is literal, a width, or a filling
			continue
		case '[':
			n := strings.IndexByte(code[i:], ']')
			if n < 0 {
				n = len(code) - i
			}
			if in := strings.ToLower(code[i+1 : i+max(n, 1)]); in != "" && (strings.Trim(in, "h") == "" || strings.Trim(in, "m") == "" || strings.Trim(in, "s") == "") {
				total, last, month = true, in[0], false
			}
			i += n
			continue
		case '0', '#', '?':
			if !days && !hours && !month && !total {
				return style{} // a number; letters after it are a unit
			}
			continue
		}
		switch c {
		case 'g':
			if len(code)-i >= 7 && strings.EqualFold(code[i:i+7], "general") {
				return style{}
			}
			days = true
		case 'e':
			if i+1 < len(code) && (code[i+1] == '+' || code[i+1] == '-') {
				return style{} // scientific
			}
			days = true
		case 'y', 'd', 'b':
			days, last = true, c
		case 'h':
			hours, last = true, c
		case 'm':
			if last == 'm' {
				break
			}
			// After hours it is minutes, before seconds too; else a month.
			if last == 'h' {
				hours = true
			} else {
				month = true
			}
			last = c
		case 's':
			if last == 'm' {
				month = false
			}
			hours, last = true, c
		case 'a':
			switch {
			case len(code)-i >= 5 && strings.EqualFold(code[i:i+5], "am/pm"):
				hours = true
				i += 4
			case len(code)-i >= 3 && strings.EqualFold(code[i:i+3], "a/p"):
				hours = true
				i += 2
			case len(code)-i >= 3 && strings.EqualFold(code[i:i+3], "aaa"):
				days = true // a weekday in Japanese and Chinese
				i += 2
			}
		case '.', ',':
			if last == 's' {
				for ; i+1 < len(code) && code[i+1] == '0'; i++ {
					frac = min(frac+1, 3)
				}
			}
		}
		if c != 'm' && month && last != 'm' {
			days, month = true, false
		}
	}
	days = days || month
	switch {
	case total:
		return style{elapsed, frac}
	case days && hours:
		return style{datetime, frac}
	case days:
		return style{shape: date}
	case hours:
		return style{clock, frac}
	}
	return style{}
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c | 0x20
	}
	return c
}
