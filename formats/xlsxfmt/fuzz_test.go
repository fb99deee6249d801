package xlsxfmt

import (
	"context"
	"errors"
	"io"
	"testing"

	"ingestd/ingest"
)

// fuzzed reads a workbook that may be anything: it must end, without a panic,
// with io.EOF or a ReadError, and every record must hold.
func fuzzed(t *testing.T, b []byte, o Options) {
	o.Limits = Limits{Unzipped: 8 << 20, Strings: 4 << 20, Output: 8 << 20}
	res := read(t, b, o)
	var re *ingest.ReadError
	if res.err != nil && !errors.As(res.err, &re) {
		t.Errorf("no ReadError: %v", res.err)
	}
}

// FuzzSheet feeds the sheet's XML.
func FuzzSheet(f *testing.F) {
	f.Add(sheetXML(grid("a|b", "1|x", "#REF!|=5", "true|")))
	f.Add(sheetXML(`<row><c t="s"><v>0</v></c><c t="inlineStr"><is><r><t>x</t></r><rPh><t>y</t></rPh></is></c></row>`))
	f.Add(sheetXML(`<row r="1048576"><c r="XFD1048576" s="1"><f>A1</f></c></row>`))
	f.Add(`<worksheet><sheetData><row r="2"><c r="A1"/></row></sheetData></worksheet>`)
	f.Fuzz(func(t *testing.T, sheet string) {
		fuzzed(t, newBook("").set("xl/worksheets/sheet1.xml", sheet).texts("x", "y").formats("General", "id:14").stored(), Options{})
	})
}

// FuzzParts feeds the parts around the sheet.
func FuzzParts(f *testing.F) {
	b := newBook("").texts("x", "y").formats("General", "id:14", `[h]:mm`)
	get := func(name string) string {
		for _, p := range b.parts {
			if p.name == name {
				return p.body
			}
		}
		return ""
	}
	f.Add(get("xl/workbook.xml"), get("xl/_rels/workbook.xml.rels"), get("xl/sharedStrings.xml"), get("xl/styles.xml"))
	f.Fuzz(func(t *testing.T, book, rels, texts, styles string) {
		b := newBook(grid("a", "=1")+`<row><c t="s"><v>0</v></c></row>`).
			set("xl/workbook.xml", book).set("xl/_rels/workbook.xml.rels", rels).set("xl/sharedStrings.xml", texts).set("xl/styles.xml", styles)
		fuzzed(t, b.stored(), Options{})
	})
}

// FuzzWorkbook feeds whole files: zips and OLE files.
func FuzzWorkbook(f *testing.F) {
	f.Add(newBook(grid("a", "1")).zip(f))
	f.Add(newBook(grid("a", "1")).stored())
	info, pack := sealAgile(f, newBook(grid("a", "1")).zip(f), "pw", "SHA1", 128, 1)
	f.Add(encryptedBook(info, pack))
	f.Add(oleFile([]string{"Workbook"}, map[string][]byte{"Workbook": []byte("x")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		fuzzed(t, b, password("pw"))
	})
}

// FuzzUnescape checks that texts stay valid and never grow.
func FuzzUnescape(f *testing.F) {
	for _, s := range []string{"_x000D_", "_xD83D__xDE00_", "_x005F_x000D_", "_x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if badChars([]byte(s)) != "" {
			return
		}
		out := unescape([]byte(s))
		for _, r := range string(out) {
			if r == '\uFFFD' && len(out) == 0 {
				t.Errorf("%q: %q", s, out)
			}
		}
		if len(out) > len(s) {
			t.Errorf("%q grew to %q", s, out)
		}
	})
}

// A reader that was closed gives no more.
func TestClose(t *testing.T) {
	rd, err := New(input(newBook(grid("a", "1")).zip(t)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := rd.Close(); err != nil {
		t.Error(err)
	}
	var c ingest.Chunk
	if err := rd.Read(context.Background(), &c); err == nil || err == io.EOF {
		t.Errorf("read after close: %v", err)
	}
	if err := rd.Close(); err != nil {
		t.Error(err)
	}
}
