package xlsxfmt

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// head is a header row a, b, c.
const head = `<row r="1"><c r="A1" t="str"><v>a</v></c><c r="B1" t="str"><v>b</v></c><c r="C1" t="str"><v>c</v></c></row>`

func check(t *testing.T, got result, want ...string) {
	t.Helper()
	if !slices.Equal(got.rows, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got.rows, "\n"), strings.Join(want, "\n"))
	}
}

// One cell, A2, under one header, a.
func TestCell(t *testing.T) {
	const (
		null  = "" // an empty row: no record
		fault = "2:1 cell A2 "
	)
	for _, tt := range []struct{ name, cell, want string }{
		{"integer", `<c r="A2"><v>42</v></c>`, `42`},
		{"digits", `<c r="A2"><v>0.30000000000000004</v></c>`, `0.30000000000000004`},
		{"long", `<c r="A2" t="n"><v>9007199254740993</v></c>`, `9007199254740993`},
		{"exponent", `<c r="A2"><v>1.2E11</v></c>`, `1.2E11`},
		{"put right", `<c r="A2"><v> +007.50 </v></c>`, `7.50`},
		{"percentage", `<c r="A2" s="5"><v>0.25</v></c>`, `0.25`},
		{"no number", `<c r="A2"><v>1,5</v></c>`, fault + `holds "1,5" where a number must stand`},
		{"NaN", `<c r="A2"><v>NaN</v></c>`, fault + `holds "NaN" where a number must stand`},
		{"reference in a number", `<c r="A2"><v>&#49;2</v></c>`, `12`},
		{"comment in a number", `<c r="A2"><v>1<!-- 9 -->2</v></c>`, `12`},
		{"shared", `<c r="A2" t="s"><v>0</v></c>`, `"zero"`},
		{"shared, padded", `<c r="A2" t="s"><v> 1 </v></c>`, `"one & \"two\""`},
		{"shared, empty", `<c r="A2" t="s"><v>2</v></c>`, null},
		{"shared, no value", `<c r="A2" t="s"></c>`, null},
		{"leading zeros", `<c r="A2" t="str"><v>00042</v></c>`, `"00042"`},
		{"inline", `<c r="A2" t="inlineStr"><is><t>in &lt;line&gt;</t></is></c>`, `"in <line>"`},
		{"inline, rich", `<c r="A2" t="inlineStr"><is><r><rPr><b/></rPr><t>bo</t></r><r><t xml:space="preserve">ld </t></r><rPh sb="0" eb="1"><t>NO</t></rPh><phoneticPr fontId="1"/></is></c>`, `"bold "`},
		{"inline, empty", `<c r="A2" t="inlineStr"><is><t></t></is></c>`, null},
		{"inline without its type", `<c r="A2"><is><t>7</t></is></c>`, `"7"`},
		{"white space kept", "<c r=\"A2\" t=\"str\"><v>  x\t</v></c>", `"  x\t"`},
		{"only white space", `<c r="A2" t="str"><v> </v></c>`, `" "`},
		{"escapes", `<c r="A2" t="str"><v>a_x000D_` + "\n" + `_x005F_x000D__x0001_</v></c>`, `"a\r\n_x000D_\u0001"`},
		{"cdata", `<c r="A2" t="str"><v><![CDATA[<b>&amp;]]></v></c>`, `"<b>&amp;"`},
		{"unicode", `<c r="A2" t="str"><v>Grüße 日本 😀</v></c>`, `"Grüße 日本 😀"`},
		{"control character", "<c r=\"A2\" t=\"str\"><v>x\x02</v></c>", fault + `holds the character U+0002, which XML forbids`},
		{"no UTF-8", "<c r=\"A2\" t=\"str\"><v>M\xFCller</v></c>", fault + `holds bytes that are no UTF-8`},
		{"unknown entity", `<c r="A2" t="str"><v>a&nbsp;b</v></c>`, fault + `holds the reference "&nbsp;"`},
		{"true", `<c r="A2" t="b"><v>1</v></c>`, `true`},
		{"false", `<c r="A2" t="b"><v>0</v></c>`, `false`},
		{"spelled true", `<c r="A2" t="b"><v>true</v></c>`, `true`},
		{"no boolean", `<c r="A2" t="b"><v>2</v></c>`, fault + `holds "2" where true or false must stand`},
		{"error", `<c r="A2" t="e"><v>#DIV/0!</v></c>`, fault + `holds the error #DIV/0!`},
		{"not available", `<c r="A2" t="e"><v>#N/A</v></c>`, `null`},
		{"formula", `<c r="A2"><f>SUM(B1:B9)</f><v>45</v></c>`, `45`},
		{"formula, text", `<c r="A2" t="str"><f>"&lt;"&amp;B1</f><v>&lt;x</v></c>`, `"<x"`},
		{"formula, no value", `<c r="A2"><f>SUM(B1:B9)</f></c>`, `null`},
		{"formula, empty text", `<c r="A2" t="str"><f>""</f><v></v></c>`, null},
		{"styled, empty", `<c r="A2" s="1"/>`, null},
		{"date", `<c r="A2" s="1"><v>46086</v></c>`, `"2026-03-05"`},
		{"date and time", `<c r="A2" s="2"><v>46086.545138888891</v></c>`, `"2026-03-05T13:05:00"`},
		{"time", `<c r="A2" s="3"><v>0.545138888888889</v></c>`, `"13:05:00"`},
		{"duration", `<c r="A2" s="4"><v>1.2604166666666667</v></c>`, `"30:15:00"`},
		{"date with an exponent", `<c r="A2" s="1"><v>4.6086E4</v></c>`, `"2026-03-05"`},
		{"own format", `<c r="A2" s="6"><v>46086</v></c>`, `"2026-03-05"`},
		{"leap day that was not", `<c r="A2" s="1"><v>60</v></c>`, `"1900-02-29"`},
		{"negative date", `<c r="A2" s="1"><v>-1</v></c>`, fault + `holds -1 as a date, and the 1900 date system has none for it`},
		{"far date", `<c r="A2" s="1"><v>2958466</v></c>`, fault + `holds 2958466 as a date, and the 1900 date system has none for it`},
		{"text in a date column", `<c r="A2" s="1" t="str"><v>soon</v></c>`, `"soon"`},
		{"iso date", `<c r="A2" t="d"><v>2026-03-05T00:00:00Z</v></c>`, `"2026-03-05T00:00:00Z"`},
		{"no iso date", `<c r="A2" t="d"><v>5.3.26</v></c>`, fault + `holds "5.3.26" where a date must stand`},
		{"unknown style", `<c r="A2" s="99"><v>46086</v></c>`, fault + `has a style that the workbook does not define, so that it may be a number or a date`},
		{"unknown style, text", `<c r="A2" s="99" t="str"><v>x</v></c>`, `"x"`},
		{"unknown type", `<c r="A2" t="q"><v>x</v></c>`, fault + `is of a type that workbooks do not have`},
		{"two values", `<c r="A2"><v>1</v><v>2</v></c>`, fault + `has two values`},
		{"other children", `<c r="A2"><extLst><ext><v>9</v></ext></extLst><v>1</v></c>`, `1`},
		{"no address", `<c><v>1</v></c>`, `1`},
		{"attributes in any order", `<c t="s" cm="1" r="A2" s="0"><v>0</v></c>`, `"zero"`},
		{"lower case address", `<c r="a2"><v>1</v></c>`, `1`},
		{"prefixes", `<x:c r="A2" t="inlineStr"><x:is><x:t>p</x:t></x:is></x:c>`, `"p"`},
		{"pretty printed", "\n  <c r=\"A2\" t=\"inlineStr\">\n    <is>\n      <t>p</t>\n    </is>\n  </c>\n", `"p"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBook(`<row r="1"><c r="A1" t="str"><v>a</v></c></row><row r="2">`+tt.cell+`</row>`).
				texts("zero", "one &amp; &quot;two&quot;", "").
				formats("General", "id:14", "id:22", "id:20", "[h]:mm:ss", "0%", `[$-407]dd\.mm\.yyyy;@`)
			got := mustRead(t, b.zip(t), Options{})
			switch {
			case tt.want == null:
				check(t, got)
			case strings.HasPrefix(tt.want, fault):
				check(t, got, tt.want)
			default:
				check(t, got, `{"a":`+tt.want+`}`)
			}
		})
	}
}

func TestRows(t *testing.T) {
	for _, tt := range []struct {
		name, rows string
		want       []string
		raws       []string
		lines      []int64
	}{
		{
			"gaps are null", head + `<row r="2"><c r="B2"><v>1</v></c></row>`,
			[]string{`{"a":null,"b":1,"c":null}`},
			[]string{`[null,1,null]`},
			[]int64{2},
		},
		{
			"empty rows are none", head + `<row r="2"/><row r="5"><c r="A5" s="0"/></row><row r="9"><c r="A9"><v>1</v></c></row>`,
			[]string{`{"a":1,"b":null,"c":null}`},
			[]string{`[1,null,null]`},
			[]int64{9},
		},
		{
			"no cell is lost", head + `<row r="2"><c r="C2"><v>1</v></c><c r="D2"><v>2</v></c><c r="F2"><v>3</v></c></row>`,
			[]string{`{"a":null,"b":null,"c":1,"column_4":2,"column_6":3}`},
			[]string{`[null,null,1,2,{"F":3}]`},
			[]int64{2},
		},
		{
			"a lone cell far away", head + `<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>`,
			[]string{`{"a":null,"b":null,"c":null,"column_16384":1}`},
			[]string{`[null,null,null,{"XFD":1}]`},
			[]int64{1048576},
		},
		{
			"no addresses", `<row><c t="str"><v>a</v></c><c t="str"><v>b</v></c></row><row><c><v>1</v></c><c><v>2</v></c></row><row r="7"><c><v>3</v></c><c r="C7"><v>4</v></c></row>`,
			[]string{`{"a":1,"b":2}`, `{"a":3,"b":null,"column_3":4}`},
			[]string{`[1,2]`, `[3,null,4]`},
			[]int64{2, 7},
		},
		{
			"a fault between neighbours", head + `<row r="2"><c r="A2"><v>1</v></c></row><row r="3"><c r="A3"><v>2</v></c><c r="B3" t="e"><v>#REF!</v></c><c r="C3" t="e"><v>#NUM!</v></c></row><row r="4"><c r="A4"><v>3</v></c></row>`,
			[]string{`{"a":1,"b":null,"c":null}`, `3:2 cell B3 holds the error #REF!`, `{"a":3,"b":null,"c":null}`},
			[]string{`[1,null,null]`, `[2,"#REF!","#NUM!"]`, `[3,null,null]`},
			[]int64{2, 3, 4},
		},
		{
			"cells out of order", head + `<row r="2"><c r="B2"><v>2</v></c><c r="A2"><v>1</v></c></row>`,
			[]string{`2:1 cell A2 comes after cell B2`},
			[]string{`[1,2,null]`},
			[]int64{2},
		},
		{
			"a cell twice", head + `<row r="2"><c r="A2"><v>1</v></c><c r="A2"><v>2</v></c></row>`,
			[]string{`2:1 cell A2 comes after cell A2`},
			[]string{`[1,{"A":2},null,null]`},
			[]int64{2},
		},
		{
			"a cell of another row", head + `<row r="2"><c r="A3"><v>1</v></c></row>`,
			[]string{`2:1 cell A3 stands in row 2`},
			[]string{`[1,null,null]`},
			[]int64{2},
		},
		{
			"hidden rows are read", head + `<row r="2" hidden="1"><c r="A2"><v>1</v></c></row>`,
			[]string{`{"a":1,"b":null,"c":null}`},
			[]string{`[1,null,null]`},
			[]int64{2},
		},
		{
			"extensions of a row", head + `<row r="2"><c r="A2"><v>1</v></c><extLst><ext><c r="B2"><v>9</v></c></ext></extLst></row>`,
			[]string{`{"a":1,"b":null,"c":null}`},
			[]string{`[1,null,null]`},
			[]int64{2},
		},
		{"nothing", ``, nil, nil, nil},
		{"only a header", head, nil, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := mustRead(t, newBook(tt.rows).zip(t), Options{})
			check(t, got, tt.want...)
			if !slices.Equal(got.raws, tt.raws) {
				t.Errorf("raw %q, want %q", got.raws, tt.raws)
			}
			if !slices.Equal(got.lines, tt.lines) {
				t.Errorf("lines %v, want %v", got.lines, tt.lines)
			}
		})
	}
}

func TestSheetRefused(t *testing.T) {
	row := func(n int) string { return fmt.Sprintf(`<row r="%d"><c><v>1</v></c></row>`, n) }
	for _, tt := range []struct{ name, sheet, want string }{
		{"rows fall", sheetXML(row(5) + row(4)), "holds row 4 after row 5"},
		{"a row twice", sheetXML(row(5) + row(5)), "holds row 5 after row 5"},
		{"row 0", sheetXML(row(0)), `holds a row "0"`},
		{"row beyond", sheetXML(row(maxRows + 1)), `holds a row "1048577"`},
		{"row far beyond", sheetXML(`<row r="99999999999"/>`), `holds a row "99999999999"`},
		{"row without a number", sheetXML(row(maxRows) + `<row/>`), `more than 1048576 rows`},
		{"column beyond", sheetXML(`<row r="1"><c r="XFE1"><v>1</v></c></row>`), `holds a cell "XFE1"`},
		{"column beyond, unnamed", sheetXML(`<row r="1"><c r="XFD1"><v>1</v></c><c><v>1</v></c></row>`), `beyond column XFD`},
		{"no address", sheetXML(`<row r="1"><c r="1A"><v>1</v></c></row>`), `holds a cell "1A"`},
		{"shared string beyond", sheetXML(`<row r="1"><c t="s"><v>3</v></c></row>`), `cell A1 refers to the shared string "3", and the workbook has 3 of them`},
		{"shared string negative", sheetXML(`<row r="1"><c t="s"><v>-1</v></c></row>`), `shared string "-1"`},
		{"shared string huge", sheetXML(`<row r="1"><c t="s"><v>99999999999999999999</v></c></row>`), `shared string "99999999999999999999"`},
		{"another element among rows", sheetXML(`<foo/>`), "holds a <foo> among its rows"},
		{"another element among cells", sheetXML(`<row r="1"><foo/></row>`), "holds a <foo> among its cells"},
		{"text among rows", sheetXML(`foo`), "text between its cells"},
		{"text among cells", sheetXML(`<row r="1">foo</row>`), "text between its cells"},
		{"text in a cell", sheetXML(`<row r="1"><c>foo</c></row>`), "text between its cells"},
		{"two sheetData", strings.Replace(sheetXML(row(1)), "<pageMargins", "<sheetData/><pageMargins", 1), "second <sheetData>"},
		{"no sheetData", `<worksheet/>`, "holds no <sheetData>"},
		{"another root", `<chartsheet/>`, "begins with <chartsheet>"},
		{"more behind", sheetXML("") + "<a/>", "second root"},
		{"not well-formed", sheetXML(`<row r="1"></c>`), "not well-formed at byte"},
		{"doctype", `<!DOCTYPE worksheet SYSTEM "http://127.0.0.1/x">` + sheetXML(""), "document type"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			refused(t, newBook("").set("xl/worksheets/sheet1.xml", tt.sheet).texts("x", "y", "z").zip(t), Options{}, tt.want)
		})
	}
}

// However a sheet's XML is cut, there is an error, and the rows before it are
// the right ones.
func TestSheetCutAnywhere(t *testing.T) {
	var rows strings.Builder
	rows.WriteString(head)
	for i := 2; i < 12; i++ {
		fmt.Fprintf(&rows, `<row r="%d"><c r="A%d"><v>%d</v></c><c r="B%d" t="inlineStr"><is><t>x&amp;%d</t></is></c></row>`, i, i, i, i, i)
	}
	whole := sheetXML(rows.String())
	want := mustRead(t, newBook(rows.String()).zip(t), Options{})
	for cut := range len(whole) {
		got := read(t, newBook("").set("xl/worksheets/sheet1.xml", whole[:cut]).stored(), Options{})
		if got.err == nil {
			t.Fatalf("cut at %d: no error, %d rows", cut, len(got.rows))
		}
		if n := len(got.rows); n > len(want.rows) || !slices.Equal(got.rows, want.rows[:n]) {
			t.Fatalf("cut at %d: %q", cut, got.rows)
		}
		if cut > 0 && !strings.Contains(got.err.Error(), "cut short") {
			t.Fatalf("cut at %d: %v", cut, got.err)
		}
	}
}

func TestLongSheet(t *testing.T) {
	const n = 3000 // several chunks
	var rows strings.Builder
	rows.WriteString(head)
	for i := 2; i < n+2; i++ {
		fmt.Fprintf(&rows, `<row r="%d"><c r="A%d"><v>%d</v></c><c r="B%d" t="str"><v>%s</v></c></row>`, i, i, i, i, strings.Repeat("é", i%300))
	}
	got := mustRead(t, newBook(rows.String()).zip(t), Options{})
	if len(got.rows) != n {
		t.Fatalf("%d rows", len(got.rows))
	}
	for i, r := range got.rows {
		text := `"` + strings.Repeat("é", (i+2)%300) + `"`
		if text == `""` {
			text = "null"
		}
		if want := fmt.Sprintf(`{"a":%d,"b":%s,"c":null}`, i+2, text); r != want {
			t.Fatalf("row %d: %s, want %s", i+2, r, want)
		}
	}
}
