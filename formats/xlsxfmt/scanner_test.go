package xlsxfmt

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// tokens scans a document and writes what it saw, one text for each run.
func tokens(r io.Reader) (string, error) {
	s := newScanner(r)
	var b strings.Builder
	texts := ""
	for {
		t, err := s.next()
		if t != text && texts != "" {
			fmt.Fprintf(&b, "%q ", texts)
			texts = ""
		}
		if err == io.EOF {
			return b.String(), nil
		}
		if err != nil {
			return b.String(), err
		}
		switch t {
		case startTag:
			fmt.Fprintf(&b, "<%s", s.name)
			for _, a := range s.attrs {
				v, why := appendXML(nil, a.value)
				if why != "" {
					return b.String(), errors.New(why)
				}
				fmt.Fprintf(&b, " %s=%q", a.name, v)
			}
			b.WriteString("> ")
		case endTag:
			fmt.Fprintf(&b, "</%s> ", s.name)
		case text:
			v, why := s.raw, ""
			if !s.cdata {
				v, why = appendXML(nil, s.raw)
			}
			if why == "" {
				why = badChars(v)
			}
			if why != "" {
				return b.String(), errors.New(why)
			}
			texts += string(v)
		}
	}
}

func TestScanner(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"elements", `<a><b/><c></c></a>`, `<a> <b> </b> <c> </c> </a> `},
		{"text", `<a>x&lt;&#65;&#x42;&amp;</a>`, `<a> "x<AB&" </a> `},
		{"line ends", "<a>1\r\n2\r3\n4</a>", `<a> "1\n2\n3\n4" </a> `},
		{"attributes", `<a  b = "1"	c='2"' d="&gt;>"/>`, `<a b="1" c="2\"" d=">>"> </a> `},
		{"prefixes", `<x:a x:b="1" xmlns:x="u"></x:a >`, `<a b="1" x="u"> </a> `},
		{"cdata", `<a>1<![CDATA[<&]]>]]&gt;</a>`, `<a> "1<&]]>" </a> `},
		{"empty cdata", `<a><![CDATA[]]></a>`, `<a> </a> `},
		{"comments", "<?xml version='1.0' encoding='UTF-8'?><!-- < --><a><!---->x<?y > ?>z</a>\n<!--e-->", `<a> "xz" </a> `},
		{"white space around", "\n <a/> \r\n", `<a> </a> `},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for name, r := range map[string]io.Reader{
				"whole":      strings.NewReader(tt.in),
				"byte wise":  iotest.OneByteReader(strings.NewReader(tt.in)),
				"data + EOF": iotest.DataErrReader(strings.NewReader(tt.in)),
			} {
				if got, err := tokens(r); got != tt.want || err != nil {
					t.Errorf("%s: %s, %v; want %s", name, got, err, tt.want)
				}
			}
		})
	}
}

func TestScannerRefuses(t *testing.T) {
	deep := strings.Repeat("<a>", maxDepth)
	many := strings.Repeat(` a="1"`, maxAttrs)
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", "", io.ErrUnexpectedEOF.Error()},
		{"no root", "<!-- -->", io.ErrUnexpectedEOF.Error()},
		{"open", "<a><b></b>", io.ErrUnexpectedEOF.Error()},
		{"half a tag", "<a><b", io.ErrUnexpectedEOF.Error()},
		{"half an attribute", `<a b="`, io.ErrUnexpectedEOF.Error()},
		{"half an end tag", "<a></a", io.ErrUnexpectedEOF.Error()},
		{"half a comment", "<a><!-- </a>", io.ErrUnexpectedEOF.Error()},
		{"half a cdata", "<a><![CDATA[</a>", io.ErrUnexpectedEOF.Error()},
		{"only <", "<", io.ErrUnexpectedEOF.Error()},
		{"wrong end", "<a><b></a></b>", "</a> where </b> must come"},
		{"prefix differs", "<x:a></y:a>", "must come"},
		{"end first", "</a>", "without its start"},
		{"two roots", "<a/><b/>", "second root"},
		{"text before", "x<a/>", "outside the root"},
		{"text after", "<a/>x", "outside the root"},
		{"doctype", `<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>`, "document type"},
		{"unknown entity", "<a>&nbsp;</a>", "reference"},
		{"lone &", "<a>a & b</a>", "&"},
		{"surrogate", "<a>&#xD800;</a>", "reference"},
		{"beyond Unicode", "<a>&#x110000;</a>", "reference"},
		{"zero", "<a>&#0;</a>", "U+0000"},
		{"control", "<a>\x01</a>", "U+0001"},
		{"no UTF-8", "<a>\xFF</a>", "UTF-8"},
		{"no quotes", "<a b=1/>", "quotes"},
		{"no value", "<a b/>", "value"},
		{"attributes touch", `<a b="1"c="2"/>`, "apart"},
		{"< in a value", `<a b="<"/>`, "<"},
		{"no name", "< a/>", "name"},
		{"encoding", `<?xml version="1.0" encoding="ISO-8859-1"?><a/>`, "ISO-8859-1"},
		{"too deep", deep + "<a>", "deep"},
		{"too many attributes", "<a" + many + ` b="1"/>`, "attributes"},
		{"a tag too long", `<a b="` + strings.Repeat("x", maxTag+10), "bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := tokens(strings.NewReader(tt.in)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s, error %v; want %s", got, err, tt.want)
			}
		})
	}
	for name, in := range map[string]string{
		"as deep as may be": deep + strings.Repeat("</a>", maxDepth),
		"as many as may be": "<a" + many + "/>",
		"a tag long enough": `<a b="` + strings.Repeat("x", maxTag/2) + `"/>`,
	} {
		if _, err := tokens(strings.NewReader(in)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Long texts come in pieces; none may be cut where it matters.
func TestScannerPieces(t *testing.T) {
	for _, unit := range []string{"x", "&amp;", "ä", "€", "\U0001F600", "\r\n", "&#x1F600;", "ab&lt;"} {
		for shift := range 12 {
			in := strings.Repeat(unit, windowSize*3/2/len(unit))
			want, _ := appendXML(nil, []byte(in))
			got, err := tokens(strings.NewReader("<a>" + strings.Repeat(".", shift) + in + "</a>"))
			if err != nil || got != fmt.Sprintf("<a> %q </a> ", strings.Repeat(".", shift)+string(want)) {
				t.Fatalf("%q, %d: %v, %d bytes", unit, shift, err, len(got))
			}
		}
	}
}

// oracle writes what encoding/xml sees, in the form of tokens.
func oracle(in string) (string, error) {
	d := xml.NewDecoder(strings.NewReader(in))
	var b strings.Builder
	texts := ""
	depth, roots := 0, 0
	for {
		t, err := d.RawToken()
		if _, ok := t.(xml.CharData); !ok && texts != "" {
			if _, ok := t.(xml.Comment); !ok {
				if _, ok := t.(xml.ProcInst); !ok {
					fmt.Fprintf(&b, "%q ", texts)
					texts = ""
				}
			}
		}
		if err == io.EOF && depth == 0 && roots == 1 {
			return b.String(), nil
		}
		if err != nil {
			return "", err
		}
		switch t := t.(type) {
		case xml.StartElement:
			if depth == 0 {
				roots++
			}
			depth++
			fmt.Fprintf(&b, "<%s", t.Name.Local)
			for _, a := range t.Attr {
				fmt.Fprintf(&b, " %s=%q", a.Name.Local, a.Value)
			}
			b.WriteString("> ")
		case xml.EndElement:
			depth--
			fmt.Fprintf(&b, "</%s> ", t.Name.Local)
		case xml.CharData:
			if depth > 0 {
				texts += string(t)
			}
		case xml.Directive:
			return "", errors.New("directive")
		}
	}
}

// FuzzScanner holds the scanner against encoding/xml: what both accept, both
// must read alike; and how the bytes arrive must not matter.
func FuzzScanner(f *testing.F) {
	for _, s := range []string{
		`<a><b/>x<!-- c --><![CDATA[<]]></a>`, `<x:a b="1&amp;" xmlns:x='u'>&#65;` + "\r\n</x:a>", `<?xml version="1.0"?><a/>`,
		sheetXML(`<row r="1"><c r="A1" t="s"><v>0</v></c></row>`), "<a>\xFF</a>", "<a", "<a>]]></a>",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got, err := tokens(strings.NewReader(in))
		slow, slowErr := tokens(iotest.OneByteReader(strings.NewReader(in)))
		if got != slow || (err == nil) != (slowErr == nil) {
			t.Fatalf("whole: %s, %v; byte-wise: %s, %v", got, err, slow, slowErr)
		}
		if err != nil {
			return
		}
		if want, werr := oracle(in); werr == nil && got != want {
			t.Errorf("%s; encoding/xml: %s", got, want)
		}
	})
}
