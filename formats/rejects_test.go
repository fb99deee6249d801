package formats_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"io"
	"slices"
	"strings"
	"testing"

	"ingestd/formats"
	"ingestd/formats/csvfmt"
	"ingestd/formats/fixedfmt"
	"ingestd/formats/jsonfmt"
	"ingestd/formats/xmlfmt"
	"ingestd/ingest"
)

func rejects(t testing.TB, open func(io.Writer, formats.Spec, ingest.Details) (formats.RejectWriter, error), s formats.Spec, d ingest.Details, raws ...string) string {
	t.Helper()
	var b bytes.Buffer
	w, err := open(&b, s, d)
	if err != nil {
		t.Fatal(err)
	}
	for i, raw := range raws {
		if err := w.Write(formats.Reject{Line: int64(i + 2), Column: i, Reason: "=bad \"" + string(rune('a'+i)) + "\"", Raw: []byte(raw)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestRejects(t *testing.T) {
	semicolon := ingest.Details{Format: formats.CSV, Encoding: "utf-8", Header: []string{"id", "na;me"}, Notes: []ingest.Note{{What: "delimiter", Value: ";"}}}
	latin := semicolon
	latin.Encoding = "windows-1252"
	for name, x := range map[string]struct {
		s    formats.Spec
		d    ingest.Details
		raws []string
		want string
	}{
		"csv": {
			d: semicolon, raws: []string{`1;"=a;""b"""`, `2;@x;3`, "\"open;3", "3;\xff", "4;\tx"},
			want: "line;column;reason;id;\"na;me\"\n" +
				"2;;\"'=bad \"\"a\"\"\";1;\"'=a;\"\"b\"\"\"\n" + "3;1;\"'=bad \"\"b\"\"\";2;'@x;3\n" +
				"4;2;\"'=bad \"\"c\"\"\";\"\"\"open;3\"\n" + "5;3;\"'=bad \"\"d\"\"\";\"3;\uFFFD\"\n" + "6;4;\"'=bad \"\"e\"\"\";4;'\tx\n",
		},
		"another encoding": {d: latin, want: "\uFEFFline;column;reason;id;\"na;me\"\n"},
		"workbook": {
			d:    ingest.Details{Format: formats.XLSX, Header: []string{"a", "b"}},
			raws: []string{`["x",null,{"E":1.50}]`, `no row`},
			want: "line,column,reason,a,b\n2,,\"'=bad \"\"a\"\"\",x,,,,1.50\n3,1,\"'=bad \"\"b\"\"\",no row\n",
		},
		"json": {
			d: ingest.Details{Format: formats.JSON}, raws: []string{`{"a": 1.50}`, `{"a`},
			want: `{"line":2,"reason":"=bad \"a\"","record":{"a":1.50}}` + "\n" + `{"line":3,"column":1,"reason":"=bad \"b\"","text":"{\"a"}` + "\n",
		},
		"xml": {
			d: ingest.Details{Format: formats.XML}, raws: []string{`<O n="1"><p:a/></O>`, `<O>`, `<O/><O/>`},
			want: `<?xml version="1.0" encoding="UTF-8"?>` + "\n<rejected>\n" +
				`<reject line="2" reason="=bad &#34;a&#34;"><O n="1"><p:a/></O></reject>` + "\n" +
				`<reject line="3" column="1" reason="=bad &#34;b&#34;"><text>&lt;O&gt;</text></reject>` + "\n" +
				`<reject line="4" column="2" reason="=bad &#34;c&#34;"><text>&lt;O/&gt;&lt;O/&gt;</text></reject>` + "\n</rejected>\n",
		},
		"fixed": {
			s: fixedSpec(0), d: ingest.Details{Format: formats.Fixed, Encoding: "utf-8", Header: []string{"id", "name", "n"}}, raws: []string{"01Ada  5", "02B\xff"},
			want: "\uFEFFline,column,reason,id,name,n\n2,,\"'=bad \"\"a\"\"\",01,Ada,a  5\n3,1,\"'=bad \"\"b\"\"\",02B\uFFFD\n",
		},
		"raw": {d: ingest.Details{Format: formats.Raw}, raws: []string{"a,b"}, want: "line,column,reason,record\n2,,\"'=bad \"\"a\"\"\",\"a,b\"\n"},
	} {
		if got := rejects(t, formats.NewRejects, x.s, x.d, x.raws...); got != x.want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, x.want)
		}
	}
}

// What is written to be mended is read again as the very records.
func TestMend(t *testing.T) {
	for name, x := range map[string]struct {
		spec formats.Spec
		file string
		name string
		take []int // records that are written
	}{
		"csv":            {file: "id;name\n1;\"a;\nb\"\n2;ü\n3;-5\n", name: "a.csv", take: []int{1, 3}},
		"fixed dialect":  {spec: formats.Spec{Type: "csv", CSV: csvfmt.Options{Delimiter: "|", Quote: "'", Escape: `\`}}, file: "'i\\'d'|'na\\\\|me'\n1|'a|b'\n", take: []int{1}},
		"no quotes":      {spec: formats.Spec{Type: "csv", CSV: csvfmt.Options{NoQuote: true}}, file: "id,\"n\n1,\"x\n", take: []int{1}},
		"rows left out":  {spec: formats.Spec{Type: "csv", CSV: csvfmt.Options{SkipRows: 2, SkipFooter: 1, Header: 2}}, file: "x\ny\nid,first\n,name\n1,b\n2,c\nend,2\n", take: []int{2}},
		"no header":      {spec: formats.Spec{Type: "csv", CSV: csvfmt.Options{NoHeader: true}}, file: "1,b\n2,c\n", take: []int{2}},
		"columns":        {spec: formats.Spec{Type: "csv", CSV: csvfmt.Options{Columns: []string{"a", "b"}}}, file: "1,b\n2,c\n", take: []int{1}},
		"fixed":          {spec: fixedSpec(0), file: "HEADING\n01Ada  5\n02Bü\n03Cyd77\nEND\n", take: []int{1, 2}},
		"fixed, cut":     {spec: fixedSpec(9), file: "HEADING  01Ada  5 02Bü   7 END      ", take: []int{2}},
		"other encoding": {spec: formats.Spec{Type: "csv", Encoding: "windows-1252"}, file: "id,n\xe4me\n1,\xfc\n", take: []int{1}},
		"json lines":     {file: "{\"a\":1.50}\n{\"a\":[\n1]}\n", name: "a.json", take: []int{1, 2}},
		"json path":      {spec: formats.Spec{Type: "json", JSON: jsonfmt.Options{Records: "da\"ta.orders"}}, file: `{"x":1,"da\"ta":{"orders":[{"a":1},{"b":2}]}}`, take: []int{1, 2}},
		"xml":            {file: `<?xml version="1.0"?><Os><O n="1"><a>ü</a></O><O><a>2</a></O></Os>`, name: "a.xml", take: []int{1, 2}},
		"xml one":        {spec: formats.Spec{Type: "xml", XML: xmlfmt.Options{Record: "/x:Os/*/O"}}, file: `<x:Os xmlns:x="u"><L><O><a>ü</a></O></L></x:Os>`, take: []int{1}},
	} {
		t.Run(name, func(t *testing.T) {
			recs, details := readAll(t, x.spec, x.name, x.file)
			var raws, want []string
			for _, n := range x.take {
				raws, want = append(raws, recs[n-1].raw), append(want, recs[n-1].json)
			}
			text := rejects(t, formats.NewMend, x.spec, details, raws...)
			again, _ := readAll(t, x.spec, x.name, text)
			var got []string
			for _, r := range again {
				got = append(got, r.json)
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %q, want %q, of\n%s", got, want, text)
			}
		})
	}
	sheet := ingest.Details{Format: formats.XLSX, Header: []string{"a", "b,c"}}
	if got, want := rejects(t, formats.NewMend, formats.Spec{}, sheet, `["=x"]`, `[1,{"B":true}]`), "\uFEFFa,\"b,c\"\n=x,\n1,true\n"; got != want {
		t.Errorf("workbook: %q, want %q", got, want)
	}
	if _, err := formats.NewMend(io.Discard, formats.Spec{}, ingest.Details{Format: formats.Raw}); err == nil {
		t.Error("a raw file has no records of its own")
	}
}

func fixedSpec(length int) formats.Spec {
	return formats.Spec{Type: formats.Fixed, Encoding: "windows-1252", Fixed: fixedfmt.Options{
		Columns: []fixedfmt.Column{{Name: "id", Width: 2}, {Name: "name", Width: 5}, {Name: "n", Start: 5, Width: 4}}, Length: length, SkipRows: 1, SkipFooter: 1, Pad: true,
	}}
}

type read struct{ raw, json string }

func readAll(t *testing.T, s formats.Spec, name, text string) (out []read, d ingest.Details) {
	t.Helper()
	r, err := formats.Open(t.Context(), s, ingest.Input{Name: name, Size: int64(len(text)), ReaderAt: strings.NewReader(text)})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var c ingest.Chunk
	var enc ingest.Encoder
	for {
		err := r.Read(t.Context(), &c)
		for _, f := range c.Faults {
			t.Errorf("%+v of\n%s", f, text)
		}
		for i := range c.Records {
			out = append(out, read{string(c.Records[i].Raw), string(enc.Append(nil, c.Records[i].Fields))})
		}
		if err == io.EOF {
			return out, r.Details()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Whatever a record holds, the file of rejects stays one, and no cell begins a
// formula.
func FuzzRejects(f *testing.F) {
	f.Add([]byte(`1,"=a"`))
	f.Add([]byte("[1,{\"XFD\":\"@\"}]"))
	f.Add([]byte("<a><b/></a>"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, format := range []string{formats.CSV, formats.XLSX, formats.Raw} {
			text := rejects(t, formats.NewRejects, formats.Spec{}, ingest.Details{Format: format, Header: []string{"a", "b"}}, string(raw))
			r := csv.NewReader(strings.NewReader(text))
			r.FieldsPerRecord = -1
			rows, err := r.ReadAll()
			if err != nil || len(rows) != 2 {
				t.Fatalf("%d rows, %v, of %q", len(rows), err, text)
			}
			for _, cell := range rows[1] {
				if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
					t.Errorf("a formula: %q", cell)
				}
			}
		}
		if text := rejects(t, formats.NewRejects, formats.Spec{}, ingest.Details{Format: formats.JSON}, string(raw)); !json.Valid([]byte(text)) {
			t.Errorf("no JSON: %q", text)
		}
		text := rejects(t, formats.NewRejects, formats.Spec{}, ingest.Details{Format: formats.XML}, string(raw))
		dec := xml.NewDecoder(strings.NewReader(text))
		for {
			if _, err := dec.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%v in %q", err, text)
			}
		}
	})
}

// BenchmarkRejects is the cost of one rejected row in a partner's table.
func BenchmarkRejects(b *testing.B) {
	d := ingest.Details{Format: formats.CSV, Header: []string{"id", "name", "amount"}}
	w, err := formats.NewRejects(io.Discard, formats.Spec{}, d)
	if err != nil {
		b.Fatal(err)
	}
	r := formats.Reject{Line: 7, Column: 3, Reason: "4 cells where the header has 3", Raw: []byte(`1001,"Smith, John",12.50,x`)}
	b.ReportAllocs()
	for b.Loop() {
		if err := w.Write(r); err != nil {
			b.Fatal(err)
		}
	}
}
