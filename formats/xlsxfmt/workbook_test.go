package xlsxfmt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"

	"ingestd/ingest"
)

// tabs is a workbook with sheets of the given "name state kind", each of which
// holds its own number.
func tabs(sheets ...string) *book {
	b := newBook("")
	var list, rels []string
	for i, s := range sheets {
		f := strings.Fields(s)
		list = append(list, fmt.Sprintf(`<sheet name="%s" sheetId="%d" state="%s" r:id="rId%d"/>`, f[0], i+1, f[1], i+1))
		rels = append(rels, fmt.Sprintf("rId%d %s part%d.xml", i+1, f[2], i+1))
		b.set(fmt.Sprintf("xl/part%d.xml", i+1), sheetXML(grid("n", fmt.Sprint(i+1))))
	}
	b.set("xl/workbook.xml", `<workbook xmlns:r="x"><sheets>`+strings.Join(list, "")+`</sheets></workbook>`)
	return b.set("xl/_rels/workbook.xml.rels", relsOf(rels...))
}

func TestChoose(t *testing.T) {
	b := tabs("Hidden hidden worksheet", "Chart visible chartsheet", "Orders visible worksheet", "2 visible worksheet",
		"Very veryHidden worksheet", "a&amp;b visible worksheet").zip(t)
	for _, tt := range []struct{ sheet, want, why string }{
		{"", "3", "the first visible one of 5 worksheets"},
		{"Orders", "3", "named in the configuration"},
		{"orders", "3", `named "orders" in the configuration`},
		{"a&b", "6", "named in the configuration"},
		{"2", "4", "named in the configuration"},
		{"1", "1", "worksheet 1; it is hidden"},
		{"3", "4", "worksheet 3"},
		{"5", "6", "worksheet 5"},
		{"Very", "5", "named in the configuration; it is hidden"},
	} {
		got := mustRead(t, b, Options{Sheet: tt.sheet})
		check(t, got, `{"n":`+tt.want+`}`)
		if n := got.details.Notes[0]; n.What != "sheet" || n.Why != tt.why {
			t.Errorf("%q: %+v, want %s", tt.sheet, n, tt.why)
		}
	}
	refused(t, b, Options{Sheet: "Chart"}, `sheet "Chart" is no worksheet but a chartsheet`)
	for _, s := range []string{"Nope", "0", "6", "-1"} {
		refused(t, b, Options{Sheet: s}, `there is no sheet "`+s+`"; the workbook has "Hidden" (hidden), "Chart", "Orders", "2", "Very" (hidden), "a&b"`)
	}
	refused(t, tabs("A hidden worksheet").zip(t), Options{}, "all worksheets are hidden")
	refused(t, tabs("A visible chartsheet").zip(t), Options{}, "no worksheet")
	refused(t, tabs().zip(t), Options{}, "no worksheet")
	refused(t, tabs("A visible worksheet").remove("xl/part1.xml").zip(t), Options{}, `lacks the part "xl/part1.xml"`)
	refused(t, tabs("A visible worksheet").set("xl/_rels/workbook.xml.rels", relsOf()).zip(t), Options{Sheet: "A"}, "does not say where")
}

// What other programs write, and strict workbooks, read alike.
func TestWorkbookForms(t *testing.T) {
	rows := grid("a|b", "1|=2")
	for name, b := range map[string]*book{
		"plain":             newBook(rows),
		"no package rels":   newBook(rows).remove("_rels/.rels"),
		"no content types":  newBook(rows).remove("[Content_Types].xml"),
		"absolute target":   newBook(rows).set("xl/_rels/workbook.xml.rels", relsOf("rId1 worksheet /xl/worksheets/sheet1.xml", "rId3 styles /xl/styles.xml")),
		"escaped target":    newBook(rows).set("xl/_rels/workbook.xml.rels", relsOf("rId1 worksheet work%73heets/sheet1.xml", "rId3 styles styles.xml")),
		"climbing target":   newBook(rows).set("xl/_rels/workbook.xml.rels", relsOf("rId1 worksheet ../../../xl/worksheets/sheet1.xml", "rId3 styles styles.xml")),
		"backslash target":  newBook(rows).set("xl/_rels/workbook.xml.rels", relsOf(`rId1 worksheet worksheets\sheet1.xml`, "rId3 styles styles.xml")),
		"strict":            newBook(rows).set("xl/_rels/workbook.xml.rels", strings.ReplaceAll(relsOf("rId1 worksheet worksheets/sheet1.xml", "rId3 styles styles.xml"), "schemas.openxmlformats.org/officeDocument/2006", "purl.oclc.org/ooxml/officeDocument")),
		"backslash names":   newBook(rows).remove("xl/worksheets/sheet1.xml").set(`xl\worksheets\sheet1.xml`, sheetXML(rows)),
		"capitals in names": newBook(rows).remove("xl/worksheets/sheet1.xml").set(`xl/worksheets/Sheet1.XML`, sheetXML(rows)),
		"prefixes":          newBook(rows).set("xl/worksheets/sheet1.xml", strings.NewReplacer("</", "</x:", "<?", "<?", "<", "<x:", "xmlns=", "xmlns:x=").Replace(sheetXML(rows))),
		"BOM":               newBook(rows).set("xl/worksheets/sheet1.xml", "\xEF\xBB\xBF"+sheetXML(rows)),
		"UTF-16":            newBook(rows).set("xl/worksheets/sheet1.xml", utf16Text(sheetXML(rows), true, true)),
		"UTF-16, no mark":   newBook(rows).set("xl/worksheets/sheet1.xml", utf16Text(sheetXML(rows), false, false)),
		"comments":          newBook(rows).set("xl/worksheets/sheet1.xml", strings.ReplaceAll(sheetXML(rows), "<row", "<!-- x --><?y z?><row")),
	} {
		t.Run(name, func(t *testing.T) {
			check(t, mustRead(t, b.formats("General", "id:14").zip(t), Options{}), `{"a":1,"b":"1900-01-02"}`)
		})
	}
}

func utf16Text(s string, big, mark bool) string {
	if mark {
		s = "\uFEFF" + s
	}
	var b strings.Builder
	for _, u := range utf16.Encode([]rune(s)) {
		if big {
			b.WriteByte(byte(u >> 8))
		}
		b.WriteByte(byte(u))
		if !big {
			b.WriteByte(byte(u >> 8))
		}
	}
	return b.String()
}

func TestUTF16(t *testing.T) {
	want := strings.Repeat("aä€😀", 5000)
	for _, big := range []bool{true, false} {
		for name, src := range map[string]io.Reader{
			"whole":     strings.NewReader(utf16Text(want, big, true)),
			"byte wise": iotest.OneByteReader(strings.NewReader(utf16Text(want, big, true))),
		} {
			r, err := utf8Reader(src)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); string(got) != want || err != nil {
				t.Errorf("%s: %d bytes, %v", name, len(got), err)
			}
		}
	}
	for _, bad := range []string{"\xFE\xFFa", "\xFE\xFF\xD8\x00\x00a", "\xFE\xFF\xD8\x00", "\xFE\xFF\xDC\x00\xD8\x00"} {
		r, err := utf8Reader(strings.NewReader(bad))
		if err == nil {
			_, err = io.ReadAll(r)
		}
		if err == nil {
			t.Errorf("%q taken", bad)
		}
	}
}

func TestDateSystem(t *testing.T) {
	b := newBook(grid("a", "=44624")).formats("General", "id:14")
	check(t, mustRead(t, b.zip(t), Options{}), `{"a":"2022-03-04"}`)
	for _, v := range []string{"1", "true"} {
		b.set("xl/workbook.xml", `<workbook xmlns:r="x"><workbookPr date1904="`+v+`"/><sheets><sheet name="Data" r:id="rId1"/></sheets></workbook>`)
		got := mustRead(t, b.zip(t), Options{})
		check(t, got, `{"a":"2026-03-05"}`)
		if n := got.details.Notes[1]; n.What != "date system" || n.Value != "1904" {
			t.Errorf("%+v", n)
		}
	}
}

func TestSharedStrings(t *testing.T) {
	b := newBook(head + `<row r="2"><c t="s"><v>0</v></c><c t="s"><v>1</v></c><c t="s"><v>2</v></c></row><row r="3"><c t="s"><v>3</v></c></row><row r="4"><c t="s"><v>4</v></c></row>`)
	b.set("xl/sharedStrings.xml", `<sst count="9" uniqueCount="9"><si><t xml:space="preserve"> x </t></si>`+
		"\n"+`<si><r><t>a</t></r><r><rPr/><t>b&amp;</t></r><rPh sb="0" eb="1"><t>NO</t></rPh></si><si/><si><t>`+"\xFF"+`</t></si><si><t>_x0041_</t></si><extLst/></sst>`)
	check(t, mustRead(t, b.zip(t), Options{}),
		`{"a":" x ","b":"ab&","c":null}`, `3:1 cell A3 holds bytes that are no UTF-8`, `{"a":"A","b":null,"c":null}`)

	// Many, over many blocks.
	var rows, texts strings.Builder
	rows.WriteString(grid("a"))
	texts.WriteString("<sst>")
	for i := range 300 {
		fmt.Fprintf(&rows, `<row r="%d"><c t="s"><v>%d</v></c></row>`, i+2, 299-i)
		fmt.Fprintf(&texts, `<si><t>%s</t></si>`, strings.Repeat(string(rune('a'+i%26)), i*50))
	}
	texts.WriteString("</sst>")
	got := mustRead(t, newBook(rows.String()).set("xl/sharedStrings.xml", texts.String()).zip(t), Options{})
	for i, r := range got.rows {
		n := 299 - i
		if want := `{"a":"` + strings.Repeat(string(rune('a'+n%26)), n*50) + `"}`; r != want {
			t.Fatalf("row %d: %.50s, want %.50s", i, r, want)
		}
	}
}

func TestCancel(t *testing.T) {
	rd, err := New(input(sharedBook(t, 1000)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	ctx, cancel := context.WithCancel(context.Background())
	var c ingest.Chunk
	if err := rd.Read(ctx, &c); err != nil {
		t.Fatal(err)
	}
	cancel()
	for err == nil {
		err = rd.Read(ctx, &c)
	}
	var re *ingest.ReadError
	if !errors.Is(err, context.Canceled) || errors.As(err, &re) {
		t.Errorf("%v", err)
	}
}

// A disk that fails is no fault of the workbook.
func TestStorageError(t *testing.T) {
	b := sharedBook(t, 200)
	broken := errors.New("input/output error")
	for at := range 25 {
		in := input(b)
		in.ReaderAt = &failing{in.ReaderAt, at, broken}
		rd, err := New(in, Options{})
		if err == nil {
			var c ingest.Chunk
			for err == nil {
				err = rd.Read(context.Background(), &c)
			}
			rd.Close()
		}
		var re *ingest.ReadError
		if err != io.EOF && (!errors.Is(err, broken) || errors.As(err, &re)) {
			t.Errorf("read %d fails: %v", at, err)
		}
	}
}

type failing struct {
	io.ReaderAt
	left int
	err  error
}

func (f *failing) ReadAt(p []byte, off int64) (int, error) {
	if f.left--; f.left < 0 {
		return 0, f.err
	}
	return f.ReaderAt.ReadAt(p, off)
}
