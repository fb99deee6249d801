package xlsxfmt

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"ingestd/ingest"
)

// grid is rows of cells: numbers, true/false, "" for none, else texts; an
// empty string is a row without cells.
func grid(rows ...string) string {
	var b strings.Builder
	for i, r := range rows {
		fmt.Fprintf(&b, `<row r="%d">`, i+1)
		for j, v := range strings.Split(r, "|") {
			name := cellName(j+1, i+1)
			switch {
			case v == "":
			case isNumber([]byte(v)):
				fmt.Fprintf(&b, `<c r="%s"><v>%s</v></c>`, name, v)
			case strings.HasPrefix(v, "="):
				fmt.Fprintf(&b, `<c r="%s" s="1"><v>%s</v></c>`, name, v[1:])
			case strings.HasPrefix(v, "#"):
				fmt.Fprintf(&b, `<c r="%s" t="e"><v>%s</v></c>`, name, v)
			case v == "true":
				fmt.Fprintf(&b, `<c r="%s" t="b"><v>1</v></c>`, name)
			default:
				fmt.Fprintf(&b, `<c r="%s" t="str"><v>%s</v></c>`, name, v)
			}
		}
		b.WriteString("</row>")
	}
	return b.String()
}

func TestHeader(t *testing.T) {
	for _, tt := range []struct {
		name   string
		rows   string
		opts   Options
		header []string
		want   []string
		note   string
	}{
		{"first row", grid("a|b", "1|2"), Options{}, []string{"a", "b"}, []string{`{"a":1,"b":2}`}, "header row 1: the first row that holds anything"},
		{"empty rows before", grid("", "", "a|b", "1|2"), Options{}, []string{"a", "b"}, []string{`{"a":1,"b":2}`}, "header row 3: the first row that holds anything"},
		{"row 3", grid("Report", "", "a|b", "1|2"), Options{HeaderRow: 3}, []string{"a", "b"}, []string{`{"a":1,"b":2}`}, "header row 3: as configured"},
		{"row 1, empty", grid("", "a|b", "1|2"), Options{HeaderRow: 1}, []string{}, []string{`{"column_1":"a","column_2":"b"}`, `{"column_1":1,"column_2":2}`}, "header row 1: as configured; it is empty"},
		{"beyond the end", grid("a|b", "1|2"), Options{HeaderRow: 9}, []string{}, nil, "header row 9: as configured; the sheet ends before it"},
		{"none", grid("a|b", "1|2|3", "4"), Options{NoHeader: true}, []string{"column_1", "column_2"}, []string{`{"column_1":"a","column_2":"b"}`, `{"column_1":1,"column_2":2,"column_3":3}`, `{"column_1":4,"column_2":null}`}, "header row none: as configured; the width is row 1's"},
		{"nothing", "", Options{}, []string{}, nil, "header row none: the sheet holds nothing"},
		{"exact text", grid(" a |B", "1|2"), Options{}, []string{" a ", "B"}, []string{`{" a ":1,"B":2}`}, ""},
		{"names of all kinds", grid("1.50|true|=46086|#N/A|#REF!", "1|2|3|4|5"), Options{}, []string{"1.50", "true", "2026-03-05", "column_4", "#REF!"}, []string{`{"1.50":1,"true":2,"2026-03-05":3,"column_4":4,"#REF!":5}`}, ""},
		{"twice", grid("a|a|b|a|a_2", "1|2|3|4|5"), Options{}, []string{"a", "a_2", "b", "a_3", "a_2_2"}, []string{`{"a":1,"a_2":2,"b":3,"a_3":4,"a_2_2":5}`}, `header a_2: cell B1 says "a" again`},
		{"gap", grid("a||c", "1|2|3", "4"), Options{}, []string{"a", "column_2", "c"}, []string{`{"a":1,"column_2":2,"c":3}`, `{"a":4,"column_2":null,"c":null}`}, "header column_2: cell B1 is empty"},
		{"a name that looks made", grid("column_2||c", "1|2|3|4"), Options{}, []string{"column_2", "column_2_2", "c"}, []string{`{"column_2":1,"column_2_2":2,"c":3,"column_4":4}`}, ""},
		{"beyond the header, taken", grid("column_3|b", "1|2|3"), Options{}, []string{"column_3", "b"}, []string{`{"column_3":1,"b":2,"column_3_2":3}`}, ""},
		{"range", grid("x|x|x", "x|a|b|x", "x|1|2|x", "x|3", "x|5|6"), Options{Range: "B2:C4"}, []string{"a", "b"}, []string{`{"a":1,"b":2}`, `{"a":3,"b":null}`}, "header row 2: the first row that holds anything in B2:C4"},
		{"range, header above", grid("x|a|b", "x|x|x", "x|1|2", "x|5|6"), Options{Range: "B3:C3", HeaderRow: 1}, []string{"a", "b"}, []string{`{"a":1,"b":2}`}, "header row 1: as configured"},
		{"range, none", grid("x|1|2", "x|3|4"), Options{Range: "B1:C9", NoHeader: true}, []string{"column_2", "column_3"}, []string{`{"column_2":1,"column_3":2}`, `{"column_2":3,"column_3":4}`}, ""},
		{"range of columns", grid("x|a|b", "#REF!|1|2"), Options{Range: "B:C"}, []string{"a", "b"}, []string{`{"a":1,"b":2}`}, ""},
		{"range of rows", grid("x", "a|b", "1|2", "#REF!"), Options{Range: "2:3"}, []string{"a", "b"}, []string{`{"a":1,"b":2}`}, ""},
		{"header after the range", grid("a|b", "1|2", "x|y", "5|6"), Options{Range: "A1:B2", HeaderRow: 3}, []string{"x", "y"}, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := mustRead(t, newBook(tt.rows).formats("General", "id:14").zip(t), tt.opts)
			check(t, got, tt.want...)
			if !slices.Equal(got.details.Header, tt.header) {
				t.Errorf("header %q, want %q", got.details.Header, tt.header)
			}
			if got.details.Format != "xlsx" || got.details.Encoding != "" {
				t.Errorf("%+v", got.details)
			}
			if tt.note != "" && !slices.ContainsFunc(got.details.Notes, func(n ingest.Note) bool { return n.What+" "+n.Value+": "+n.Why == tt.note }) {
				t.Errorf("notes %q lack %q", got.details.Notes, tt.note)
			}
		})
	}
}

// A stray cell far to the right neither widens every record nor gets lost.
func TestHeaderFarCell(t *testing.T) {
	rows := head[:len(head)-len("</row>")] + `<c r="XFD1" t="str"><v>far</v></c></row>` +
		`<row r="2"><c r="A2"><v>1</v></c><c r="M2"><v>2</v></c></row>`
	got := mustRead(t, newBook(rows).zip(t), Options{})
	check(t, got, `{"a":1,"b":null,"c":null,"column_13":2,"far":null}`)
	if want := `[1,null,null,{"M":2},{"XFD":null}]`; got.raws[0] != want {
		t.Errorf("raw %s, want %s", got.raws[0], want)
	}

	// Up to widestGap the columns between have names.
	for _, gap := range []int{widestGap, widestGap + 1} {
		rows := fmt.Sprintf(`<row r="1"><c r="A1"><v>0</v></c><c r="%s"><v>1</v></c></row>`, cellName(gap+2, 1))
		want := 2
		if gap == widestGap {
			want += gap
		}
		if got := mustRead(t, newBook(rows).zip(t), Options{}); len(got.details.Header) != want {
			t.Errorf("a gap of %d: %d names, want %d", gap, len(got.details.Header), want)
		}
	}
}

func TestHeaderManyNotes(t *testing.T) {
	names := strings.Repeat("a|", 16383) + "a"
	got := mustRead(t, newBook(grid(names, "1")).zip(t), Options{})
	if h := got.details.Header; len(h) != maxCols || h[maxCols-1] != "a_16384" {
		t.Errorf("%d names, last %q", len(h), h[len(h)-1])
	}
	if n := len(got.details.Notes); n > maxNotes+5 {
		t.Errorf("%d notes", n)
	}
}

func TestHeaderUnreadable(t *testing.T) {
	refused(t, newBook(grid("a|M\xFCller", "1|2")).zip(t), Options{}, "line 1, column 2: the header is unreadable: cell B1 holds bytes that are no UTF-8")
}

func TestOptions(t *testing.T) {
	b := newBook("").zip(t)
	for want, o := range map[string]Options{
		"header_row: -1":  {HeaderRow: -1},
		"header_row: 104": {HeaderRow: maxRows + 1},
		"none at once":    {HeaderRow: 1, NoHeader: true},
		`range: "A1-B2"`:  {Range: "A1-B2"},
	} {
		if _, err := New(input(b), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", o, err, want)
		}
	}
}
