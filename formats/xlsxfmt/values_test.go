package xlsxfmt

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/xuri/excelize/v2"
)

func TestNumber(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"0", "0"},
		{"-0", "-0"},
		{"42", "42"},
		{"-1.50", "-1.50"},
		{"1.2E11", "1.2E11"},
		{"1E-3", "1E-3"},
		{"1E+05", "1E+05"},
		{"9007199254740993", "9007199254740993"},
		{"0.30000000000000004", "0.30000000000000004"},
		{"12345678901234567890123", "12345678901234567890123"},
		{"1e400", "1e400"},
		{"+5", "5"},
		{"007", "7"},
		{"-007.10", "-7.10"},
		{".5", "0.5"},
		{"-.5", "-0.5"},
		{"5.", "5"},
		{"5.E3", "5E3"},
		{" 5\n", "5"},
		{"00", "0"},
		{"", ""},
		{"-", ""},
		{".", ""},
		{"+-5", ""},
		{"1e", ""},
		{"1e+", ""},
		{"NaN", ""},
		{"INF", ""},
		{"-INF", ""},
		{"0x10", ""},
		{"1,5", ""},
		{"1 000", ""},
		{"1.2.3", ""},
		{"٣", ""},
	} {
		got, ok := number([]byte(tt.in))
		if string(got) != tt.want && ok || ok != (tt.want != "") {
			t.Errorf("number(%q) = %q, %v; want %q", tt.in, got, ok, tt.want)
		}
	}
}

func FuzzNumber(f *testing.F) {
	for _, s := range []string{"1", "-0.5e+10", "+007.", "NaN", "1E5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		isJSON := json.Valid([]byte(s)) && s == strings.Trim(s, " \t\r\n") && strings.ContainsAny(s[:1], "-0123456789")
		if isNumber([]byte(s)) != isJSON {
			t.Errorf("isNumber(%q) = %v", s, !isJSON)
		}
		if n, ok := number([]byte(s)); ok && !isNumber(n) {
			t.Errorf("number(%q) = %q", s, n)
		}
	})
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{
		"plain": "plain", "a_x000D_b": "a\rb", "_x000d_": "\r", "_x0041__x0042_": "AB", "_x005F_x000D_": "_x000D_", "_x005F_": "_",
		"_xD83D__xDE00_": "\U0001F600", "_xD83D_": "_xD83D_", "_xDE00__xD83D_": "_xDE00__xD83D_", "_xD83D__x0041_": "_xD83D_A",
		"_x000_": "_x000_", "_x000G_": "_x000G_", "_X000D_": "_X000D_", "_x_x000A_": "_x\n", "_": "_", "_x0000_": "\x00", "_xFFFF_": "\uFFFF",
	} {
		if got := string(unescape([]byte(in))); got != want {
			t.Errorf("unescape(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestFormats(t *testing.T) {
	for code, want := range map[string]style{
		"General": {}, "GENERAL": {}, "": {}, "@": {}, "0": {}, "0.00": {}, "#,##0": {}, "0%": {}, "0.00E+00": {}, "##0.0E-0": {}, "# ?/?": {},
		`#,##0.00 "days"`: {}, `#,##0\ \d`: {}, `0.0,,"M"`: {}, `[Red]0`: {}, `[Black]#,##0;[Red]-#,##0`: {}, `_-* #,##0.00\ _d_-;_-* "-"??\ _d_-;_-@_-`: {},
		`[$€-407] #,##0.00`: {}, `#,##0 [$USD]`: {}, `[>=100]0;0.0`: {}, `0.00 kr`: {}, "#,##0 USD": {}, `"yyyy"`: {}, `\y\m\d`: {}, "Standard": {}, `"unclosed d`: {}, `[unclosed d`: {},
		`General "d"`: {}, `;;;`: {}, `"text";yyyy`: {}, "_d0": {}, "*d0": {},
		"yyyy-mm-dd": {shape: date}, "d/m/yy": {shape: date}, "mmm-yy": {shape: date}, "mmmm": {shape: date}, "m": {shape: date}, "dddd": {shape: date}, "YYYY": {shape: date},
		`[$-409]d\-mmm\-yyyy;@`: {shape: date}, `[$-F800]dddd\,\ mmmm\ dd\,\ yyyy`: {shape: date}, `yyyy"年"m"月"d"日"`: {shape: date}, `[$-411]ge.m.d`: {shape: date},
		`[$-404]e/m/d`: {shape: date}, `[Red]dd.mm.yyyy`: {shape: date}, `d. mmmm yyyy;@`: {shape: date}, "aaaa": {shape: date}, "bbbb": {shape: date}, "d-0": {shape: date},
		"yyyy-mm-dd hh:mm:ss": {shape: datetime}, `yyyy\-mm\-dd\Thh:mm`: {shape: datetime}, "m/d/yy h:mm": {shape: datetime}, "d.m. h AM/PM": {shape: datetime}, "h:mm d": {shape: datetime},
		"dd/mm hh": {shape: datetime}, "yyyy-mm-dd hh:mm:ss.000": {datetime, 3}, "yyyy-mm-dd hh:mm:ss,00": {datetime, 2}, "hh:mm mm": {shape: clock},
		"h:mm": {shape: clock}, "hh:mm:ss": {shape: clock}, "mm:ss": {shape: clock}, "mm:ss.0": {clock, 1}, "mmss.0": {clock, 1}, "ss": {shape: clock}, "h AM/PM": {shape: clock},
		"h:mm A/P": {shape: clock}, `h "Uhr" mm`: {shape: clock}, `上午/下午h"时"mm"分"`: {shape: clock}, "hh:mm:ss.000000": {clock, 3}, "am/pm": {shape: clock},
		"[h]:mm": {shape: elapsed}, "[hh]:mm:ss": {shape: elapsed}, "[mm]:ss": {shape: elapsed}, "[ss]": {shape: elapsed}, "[ss].00": {elapsed, 2}, "[H]:MM": {shape: elapsed}, "[Green][h]:mm": {shape: elapsed},
	} {
		if got := parseFormat(code); got != want {
			t.Errorf("parseFormat(%q) = %v, want %v", code, got, want)
		}
	}
}

func TestBuiltinFormats(t *testing.T) {
	want := map[int]style{
		14: {shape: date}, 17: {shape: date}, 18: {shape: clock}, 21: {shape: clock}, 22: {shape: datetime}, 27: {shape: byValue}, 36: {shape: byValue},
		45: {shape: clock}, 46: {shape: elapsed}, 47: {clock, 1}, 50: {shape: byValue}, 58: {shape: byValue}, 71: {shape: date}, 77: {shape: datetime}, 81: {shape: date},
	}
	for _, id := range []int{0, 1, 4, 9, 11, 12, 13, 14, 17, 18, 21, 22, 23, 26, 27, 36, 37, 44, 45, 46, 47, 48, 49, 50, 58, 59, 70, 71, 77, 81, 82, 163, -1} {
		if got := builtinStyle(id); got != want[id] {
			t.Errorf("format %d: %v, want %v", id, got, want[id])
		}
	}
}

func FuzzFormat(f *testing.F) {
	for _, s := range []string{"yyyy-mm-dd", `[$-409]"x`, `\`, "[", "a/", "General", "ss.000"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, code string) {
		if st := parseFormat(code); st.shape > elapsed || st.frac > 3 {
			t.Errorf("%q: %v", code, st)
		}
	})
}

func TestSerial(t *testing.T) {
	for _, tt := range []struct {
		v      float64
		st     style
		is1904 bool
		want   string // "" = none
	}{
		{46086, style{shape: date}, false, "2026-03-05"},
		{46086.999, style{shape: date}, false, "2026-03-05"},
		{46085.9999999999, style{shape: date}, false, "2026-03-05"},
		{46086.5451388889, style{shape: datetime}, false, "2026-03-05T13:05:00"},
		{46086.5451388889, style{shape: clock}, false, "13:05:00"},
		{46086, style{shape: datetime}, false, "2026-03-05T00:00:00"},
		{46086.99999999, style{shape: datetime}, false, "2026-03-06T00:00:00"},
		{0.99999999, style{shape: clock}, false, "00:00:00"},
		{1, style{shape: date}, false, "1900-01-01"},
		{59, style{shape: date}, false, "1900-02-28"},
		{60, style{shape: date}, false, "1900-02-29"},
		{61, style{shape: date}, false, "1900-03-01"},
		{0, style{shape: date}, false, "1900-01-00"},
		{0.5, style{shape: datetime}, false, "1900-01-00T12:00:00"},
		{2958465, style{shape: date}, false, "9999-12-31"},
		{2958466, style{shape: date}, false, ""},
		{2958465.99999999, style{shape: datetime}, false, ""},
		{-1, style{shape: date}, false, ""},
		{-0.5, style{shape: clock}, false, ""},
		{1e10, style{shape: clock}, false, ""},
		{1e300, style{shape: elapsed}, false, ""},
		{0, style{shape: date}, true, "1904-01-01"},
		{59, style{shape: date}, true, "1904-02-29"},
		{60, style{shape: date}, true, "1904-03-01"},
		{44624, style{shape: date}, true, "2026-03-05"},
		{2957003, style{shape: date}, true, "9999-12-31"},
		{2957004, style{shape: date}, true, ""},
		{0.25, style{shape: elapsed}, false, "06:00:00"},
		{1.2604166667, style{shape: elapsed}, false, "30:15:00"},
		{100, style{shape: elapsed}, false, "2400:00:00"},
		{0.9999999, style{shape: elapsed}, false, "24:00:00"},
		{46086.5451389931, style{datetime, 3}, false, "2026-03-05T13:05:00.009"},
		{0.5, style{clock, 1}, false, "12:00:00.0"},
		{0.50000579, style{clock, 0}, false, "12:00:01"},
		{0.00000578, style{clock, 1}, false, "00:00:00.5"},
		{46086, style{shape: byValue}, false, "2026-03-05"},
		{0.5, style{shape: byValue}, false, "12:00:00"},
		{46086.5, style{shape: byValue}, false, "2026-03-05T12:00:00"},
	} {
		got, ok := appendSerial(nil, tt.v, tt.st, tt.is1904)
		if ok != (tt.want != "") || ok && string(got) != tt.want {
			t.Errorf("%v %v 1904=%v: %q, %v; want %q", tt.v, tt.st, tt.is1904, got, ok, tt.want)
		}
	}
}

// Every day for two centuries and every 101st to the year 9999, in both
// systems, beside the standard library.
func TestSerialEveryDay(t *testing.T) {
	for _, is1904 := range []bool{false, true} {
		day, last := 61, 2958465
		at := time.Date(1900, 3, 1, 0, 0, 0, 0, time.UTC)
		if is1904 {
			day, last = 0, 2957003
			at = time.Date(1904, 1, 1, 0, 0, 0, 0, time.UTC)
		}
		for step := 1; day <= last; day += step {
			if day > 80000 {
				step = 101
			}
			got, ok := appendSerial(nil, float64(day), style{shape: date}, is1904)
			if !ok || string(got) != at.Format(time.DateOnly) {
				t.Fatalf("day %d: %s, want %s", day, got, at.Format(time.DateOnly))
			}
			at = at.AddDate(0, 0, step)
		}
	}
}

// Every second of a day, as the nearest float64 that a workbook may hold.
func TestSerialEverySecond(t *testing.T) {
	start := time.Date(2026, 3, 5, 0, 0, 0, 0, time.UTC)
	for s := range secondsPerDay {
		v := 46086 + float64(s)/secondsPerDay
		got, ok := appendSerial(nil, v, style{shape: datetime}, false)
		if want := start.Add(time.Duration(s) * time.Second).Format("2006-01-02T15:04:05"); !ok || string(got) != want {
			t.Fatalf("%v: %s, want %s", v, got, want)
		}
	}
}

func TestSerialBesideExcelize(t *testing.T) {
	for day := 61; day < 80000; day += 7 {
		v := float64(day) + float64(day*7919%secondsPerDay)/secondsPerDay
		for _, is1904 := range []bool{false, true} {
			want, err := excelize.ExcelDateToTime(v, is1904)
			if err != nil {
				t.Fatal(err)
			}
			got, _ := appendSerial(nil, v, style{shape: datetime}, is1904)
			if w := want.Round(time.Second).Format("2006-01-02T15:04:05"); string(got) != w {
				t.Fatalf("%v 1904=%v: %s, excelize %s", v, is1904, got, w)
			}
		}
	}
}

func TestISODate(t *testing.T) {
	for _, s := range []string{"2026-03-05", "2026-03-05T13:05:00", "2026-03-05T13:05:00Z", "2026-03-05T13:05:00.123Z", "2026-03-05T13:05+01:00", "13:05:00", "13:05"} {
		if !isISODate([]byte(s)) {
			t.Errorf("%q refused", s)
		}
	}
	for _, s := range []string{"", "2026", "2026-03", "05.03.2026", "2026-03-05 13:05", "2026-03-05T", "T", "13", "2026-03-05T13:05:00.", "2026-03-05T13:05.5", "2026-03-05Z", "46086"} {
		if isISODate([]byte(s)) {
			t.Errorf("%q taken", s)
		}
	}
}

func TestArea(t *testing.T) {
	for in, want := range map[string]area{
		"": {1, maxRows, 1, maxCols}, "A1:K5000": {1, 5000, 1, 11}, "$B$2:$C$3": {2, 3, 2, 3}, "c3:b2": {2, 3, 2, 3}, "B7": {7, 7, 2, 2},
		"A:K": {1, maxRows, 1, 11}, "2:5000": {2, 5000, 1, maxCols}, "XFD1048576": {maxRows, maxRows, maxCols, maxCols},
	} {
		if got, err := parseArea(in); got != want || err != nil {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"A", "7", "A1:", ":A1", "A1:B", "A:1", "A0", "XFE1", "A1048577", "A1:B2:C3", "1A", "Ä1", "A-1", "Sheet1!A1:B2", " "} {
		if got, err := parseArea(in); err == nil {
			t.Errorf("%q taken as %v", in, got)
		}
	}
	for n := 1; n <= maxCols; n++ {
		if got := colNumber(colName(n)); got != n {
			t.Fatalf("column %d is %s is %d", n, colName(n), got)
		}
	}
}
