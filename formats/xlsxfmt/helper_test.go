package xlsxfmt

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"ingestd/ingest"
)

// A book is a workbook made by hand: parts by name, zipped in order.
type book struct{ parts []bookPart }

type bookPart struct{ name, body string }

// newBook has one sheet called Data that holds the given sheetData content.
func newBook(rows string) *book {
	b := &book{}
	b.set("[Content_Types].xml", `<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/><Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/><Override PartName="/xl/worksheets/sheet1.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/></Types>`)
	b.set("_rels/.rels", `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>`)
	b.set("xl/workbook.xml", `<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets><sheet name="Data" sheetId="1" r:id="rId1"/></sheets></workbook>`)
	b.set("xl/_rels/workbook.xml.rels", relsOf("rId1 worksheet worksheets/sheet1.xml", "rId2 sharedStrings sharedStrings.xml", "rId3 styles styles.xml"))
	b.set("xl/worksheets/sheet1.xml", sheetXML(rows))
	return b
}

func sheetXML(rows string) string {
	return `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>` + "\n" +
		`<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><dimension ref="A1"/><sheetData>` + rows + `</sheetData><pageMargins left="0.7"/></worksheet>`
}

// relsOf makes relations of "id kind target".
func relsOf(rels ...string) string {
	var b strings.Builder
	b.WriteString(`<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">`)
	for _, r := range rels {
		f := strings.SplitN(r, " ", 3)
		fmt.Fprintf(&b, `<Relationship Id="%s" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/%s" Target="%s"/>`, f[0], f[1], f[2])
	}
	return b.String() + "</Relationships>"
}

func (b *book) set(name, body string) *book {
	for i := range b.parts {
		if b.parts[i].name == name {
			b.parts[i].body = body
			return b
		}
	}
	b.parts = append(b.parts, bookPart{name, body})
	return b
}

func (b *book) remove(name string) *book {
	for i := range b.parts {
		if b.parts[i].name == name {
			b.parts = append(b.parts[:i], b.parts[i+1:]...)
			break
		}
	}
	return b
}

// texts sets the shared strings to plain texts.
func (b *book) texts(texts ...string) *book {
	var s strings.Builder
	s.WriteString(`<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">`)
	for _, t := range texts {
		s.WriteString("<si><t>" + t + "</t></si>")
	}
	return b.set("xl/sharedStrings.xml", s.String()+"</sst>")
}

// formats makes style i of number format code i; a code "id:14" is the
// built-in format 14.
func (b *book) formats(codes ...string) *book {
	var nums, xfs strings.Builder
	for i, code := range codes {
		id := fmt.Sprint(164 + i)
		if builtin, ok := strings.CutPrefix(code, "id:"); ok {
			id = builtin
		} else {
			var esc bytes.Buffer
			escapeXML(&esc, code)
			fmt.Fprintf(&nums, `<numFmt numFmtId="%s" formatCode="%s"/>`, id, esc.String())
		}
		fmt.Fprintf(&xfs, `<xf numFmtId="%s" fontId="0" applyNumberFormat="1"/>`, id)
	}
	return b.set("xl/styles.xml", `<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><numFmts>`+nums.String()+`</numFmts><cellStyleXfs><xf numFmtId="14"/></cellStyleXfs><cellXfs>`+xfs.String()+`</cellXfs><dxfs><dxf><numFmt numFmtId="164" formatCode="General"/></dxf></dxfs></styleSheet>`)
}

func escapeXML(w *bytes.Buffer, s string) {
	w.WriteString(strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;").Replace(s))
}

func (b *book) zip(t testing.TB) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for _, p := range b.parts {
		f, err := w.Create(p.name)
		if err == nil {
			_, err = io.WriteString(f, p.body)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// A result is all that was read of a workbook.
type result struct {
	rows    []string // records as JSON, faults as "line:column reason", in order
	raws    []string
	lines   []int64
	details ingest.Details
	err     error // nil at a proper end
}

func input(b []byte) ingest.Input {
	return ingest.Input{Name: "test.xlsx", Size: int64(len(b)), ReaderAt: bytes.NewReader(b)}
}

// read reads a whole workbook and checks what must hold for any.
func read(t testing.TB, b []byte, o Options) result {
	t.Helper()
	rd, err := New(input(b), o)
	if err != nil {
		return result{err: err}
	}
	defer rd.Close()
	var (
		res  result
		c    ingest.Chunk
		enc  ingest.Encoder
		next = int64(1)
		line int64
	)
	for {
		err := rd.Read(context.Background(), &c)
		if err == nil && len(c.Records)+len(c.Faults) == 0 {
			t.Fatal("Read returned nothing and no error")
		}
		recs, faults := c.Records, c.Faults
		for len(recs)+len(faults) > 0 {
			var pos ingest.Position
			var raw []byte
			if len(faults) == 0 || len(recs) > 0 && recs[0].Pos.Record < faults[0].Pos.Record {
				pos, raw = recs[0].Pos, recs[0].Raw
				js := string(enc.Append(nil, recs[0].Fields))
				if !json.Valid([]byte(js)) || !json.Valid(raw) {
					t.Fatalf("no valid JSON: %s %s", js, raw)
				}
				res.rows = append(res.rows, js)
				recs = recs[1:]
			} else {
				pos, raw = faults[0].Pos, faults[0].Raw
				res.rows = append(res.rows, fmt.Sprintf("%d:%d %s", pos.Line, pos.Column, faults[0].Reason))
				faults = faults[1:]
			}
			if pos.Record != next || pos.Line <= line {
				t.Fatalf("record %d in row %d after %d in %d", pos.Record, pos.Line, next-1, line)
			}
			next, line = next+1, pos.Line
			res.raws = append(res.raws, string(raw))
			res.lines = append(res.lines, pos.Line)
		}
		if err != nil {
			res.details = rd.Details()
			if err != io.EOF {
				res.err = err
			}
			return res
		}
	}
}

// mustRead is read for workbooks that are right.
func mustRead(t testing.TB, b []byte, o Options) result {
	t.Helper()
	res := read(t, b, o)
	if res.err != nil {
		t.Fatal(res.err)
	}
	return res
}

// refused checks that a workbook is refused with this in its reason.
func refused(t testing.TB, b []byte, o Options, want string) {
	t.Helper()
	res := read(t, b, o)
	var re *ingest.ReadError
	if !errors.As(res.err, &re) {
		t.Fatalf("no ReadError but %v, after %d rows", res.err, len(res.rows))
	}
	if !strings.Contains(re.Error(), want) {
		t.Errorf("refused with %q, not %q", re, want)
	}
}
