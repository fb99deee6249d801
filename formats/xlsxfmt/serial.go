package xlsxfmt

import (
	"bytes"
	"math"
	"strconv"
)

const (
	secondsPerDay = 86400
	// How many days after 1899-12-30 the last day of the year 9999 is.
	lastDay = 2958465
	// 1904-01-01 is day 0 of the other date system and this one here.
	epoch1904 = 1462
)

// appendSerial appends what the number v shows as a date or time under st, in
// the 1900 or the 1904 date system (ECMA-376 part 1, section 18.17.4). It
// returns false if v is no date there.
func appendSerial(dst []byte, v float64, st style, is1904 bool) ([]byte, bool) {
	if !(v >= 0 && v <= lastDay+1) {
		return dst, false
	}
	shp := st.shape
	if shp == byValue {
		switch {
		case v == math.Trunc(v):
			shp = date
		case v < 1:
			shp = clock
		default:
			shp = datetime
		}
	}
	// To the last digit that is shown; for dates to the millisecond, so that
	// 44999.99999999999 is the day it means.
	scale, unit := int64(1), int(st.frac)
	if shp == date {
		unit = 3
	}
	for range unit {
		scale *= 10
	}
	day := int64(v)
	ticks := int64(math.Round((v - math.Trunc(v)) * secondsPerDay * float64(scale)))
	if ticks >= secondsPerDay*scale {
		day++
		ticks = 0
	}
	switch shp {
	case elapsed:
		return appendClock(dst, day*24, ticks, scale, int(st.frac)), true
	case clock:
		return appendClock(dst, 0, ticks, scale, int(st.frac)), true
	}
	if is1904 {
		day += epoch1904
	}
	if day > lastDay {
		return dst, false
	}
	dst = appendDay(dst, day, is1904)
	if shp == datetime {
		dst = appendClock(append(dst, 'T'), 0, ticks, scale, int(st.frac))
	}
	return dst, true
}

// appendDay appends the date of a day of the 1900 system: day 1 is 1900-01-01,
// day 60 the 29th of February that 1900 did not have, so that from day 61 on
// day 0 would be 1899-12-30. The 1904 system has no such day.
func appendDay(dst []byte, day int64, is1904 bool) []byte {
	if !is1904 {
		switch {
		case day == 0:
			return append(dst, "1900-01-00"...)
		case day == 60:
			return append(dst, "1900-02-29"...)
		case day < 60:
			day++
		}
	}
	// Civil from days, in a calendar that begins on 1 March of the year 0,
	// 693,899 days before 1899-12-30.
	n := day + 693899
	era := n / 146097
	doe := n - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	y, m, d := yoe+era*400, mp+3, doy-(153*mp+2)/5+1
	if m > 12 {
		y, m = y+1, m-12
	}
	dst = appendPadded(dst, y, 4)
	dst = appendPadded(append(dst, '-'), m, 2)
	return appendPadded(append(dst, '-'), d, 2)
}

// appendClock appends hours, and the time that ticks of a second's scale-th
// part make up.
func appendClock(dst []byte, hours, ticks, scale int64, frac int) []byte {
	s := ticks / scale
	dst = appendPadded(dst, hours+s/3600, 2)
	dst = appendPadded(append(dst, ':'), s/60%60, 2)
	dst = appendPadded(append(dst, ':'), s%60, 2)
	if frac > 0 {
		dst = appendPadded(append(dst, '.'), ticks%scale, frac)
	}
	return dst
}

func appendPadded(dst []byte, n int64, width int) []byte {
	for limit := int64(10); width > 1; width-- {
		if n < limit {
			for range width - 1 {
				dst = append(dst, '0')
			}
			break
		}
		limit *= 10
	}
	return strconv.AppendInt(dst, n, 10)
}

// isISODate reports whether s has the form of a date, a time or both in ISO
// 8601, as cells of type d hold them.
func isISODate(s []byte) bool {
	d, t, both := bytes.Cut(s, []byte("T"))
	if both {
		return shaped(d, "0000-00-00") && isISOTime(t)
	}
	return shaped(s, "0000-00-00") || isISOTime(s)
}

func isISOTime(s []byte) bool {
	if n := len(s); n > 0 && s[n-1] == 'Z' {
		s = s[:n-1]
	} else if n > 6 && (shaped(s[n-6:], "+00:00") || shaped(s[n-6:], "-00:00")) {
		s = s[:n-6]
	}
	if whole, frac, ok := bytes.Cut(s, []byte(".")); ok {
		if _, rest := digits(frac); len(frac) == 0 || len(rest) > 0 {
			return false
		}
		return shaped(whole, "00:00:00")
	}
	return shaped(s, "00:00:00") || shaped(s, "00:00")
}

// shaped reports whether s looks like pattern, in which 0 stands for a digit.
func shaped(s []byte, pattern string) bool {
	if len(s) != len(pattern) {
		return false
	}
	for i, c := range s {
		if p := pattern[i]; p == '0' && (c < '0' || c > '9') || p != '0' && c != p {
			return false
		}
	}
	return true
}
