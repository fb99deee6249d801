package xmlfmt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"ingestd/ingest"
)

// A result is all that a reader gave, in words.
type result struct {
	lines []string // records as JSON, faults as "fault LINE:COLUMN: reason | raw"
	err   string   // "" for a proper end
	path  string
}

// read reads all of r and checks what holds for every input.
func read(t testing.TB, src io.Reader, o Options, block int) (res result) {
	t.Helper()
	r, err := New(src, o)
	if err != nil {
		t.Fatal(err)
	}
	if block > 0 {
		r.(*Reader).w.Block = block
	}
	var (
		c       ingest.Chunk
		e       ingest.Encoder
		ordinal int64
		offset  int64 = -1
	)
	check := func(pos ingest.Position, raw []byte) {
		t.Helper()
		ordinal++
		if pos.Record != ordinal {
			t.Fatalf("record %d where %d should be", pos.Record, ordinal)
		}
		if pos.Offset <= offset && ordinal > 1 {
			t.Fatalf("record %d at offset %d after one at %d", ordinal, pos.Offset, offset)
		}
		offset = pos.Offset + int64(len(raw)) - 1
		if pos.Line < 1 || pos.Column < 1 {
			t.Fatalf("record %d at line %d, column %d", ordinal, pos.Line, pos.Column)
		}
	}
	for {
		err := r.Read(context.Background(), &c)
		records, faults := c.Records, c.Faults
		for len(records)+len(faults) > 0 {
			if len(faults) == 0 || len(records) > 0 && records[0].Pos.Record < faults[0].Pos.Record {
				rec := records[0]
				records = records[1:]
				check(rec.Pos, rec.Raw)
				res.lines = append(res.lines, fmt.Sprintf("%d:%d %s", rec.Pos.Line, rec.Pos.Column, e.Append(nil, rec.Fields)))
				continue
			}
			f := faults[0]
			faults = faults[1:]
			check(f.Pos, f.Raw)
			res.lines = append(res.lines, fmt.Sprintf("fault %d:%d: %s | %s", f.Pos.Line, f.Pos.Column, f.Reason, f.Raw))
		}
		if err != nil {
			if len(c.Records)+len(c.Faults) > 0 && err == io.EOF {
				t.Fatal("EOF together with records")
			}
			if again := r.Read(context.Background(), &c); again != err {
				t.Fatalf("after %v: %v", err, again)
			}
			if err != io.EOF {
				res.err = err.Error()
			}
			break
		}
		if len(c.Records)+len(c.Faults) == 0 {
			t.Fatal("nothing was read, and no error")
		}
	}
	for _, n := range r.Details().Notes {
		if n.What == "record" {
			res.path = n.Value
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return res
}

// expect reads input in several ways and compares each with want.
func expect(t *testing.T, input string, o Options, want result) {
	t.Helper()
	ways := map[string]func() result{
		"at once":         func() result { return read(t, strings.NewReader(input), o, 0) },
		"byte by byte":    func() result { return read(t, iotest.OneByteReader(strings.NewReader(input)), o, 0) },
		"EOF with data":   func() result { return read(t, iotest.DataErrReader(strings.NewReader(input)), o, 0) },
		"in small blocks": func() result { return read(t, strings.NewReader(input), o, 48) },
	}
	for way, read := range ways {
		if got := read(); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Errorf("%s:\ngot  %v\nerr  %s (%s)\nwant %v\nerr  %s (%s)", way,
				strings.Join(got.lines, "\n     "), got.err, got.path, strings.Join(want.lines, "\n     "), want.err, want.path)
		}
	}
}

// TestFiles reads testdata/*.xml and compares with the .want beside each; it
// writes those that are not there.
func TestFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/*.xml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			input, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			o := Options{}
			if strings.Contains(file, "lists") {
				o.Record, o.Lists = "/*/Orders/Order", []string{"Line"}
			}
			res := read(t, bytes.NewReader(input), o, 0)
			got := strings.Join(append(res.lines, "record "+res.path, "error "+res.err), "\n") + "\n"
			want, err := os.ReadFile(strings.TrimSuffix(file, ".xml") + ".want")
			if err != nil {
				t.Fatalf("%v; it would be:\n%s", err, got)
			}
			if got != string(want) {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

// wrap puts records into a document of their own lines.
func wrap(records ...string) string {
	return "<Orders>\n" + strings.Join(records, "\n") + "\n</Orders>\n"
}

// TestMapping has one record each, in Orders/Order.
func TestMapping(t *testing.T) {
	for _, tt := range []struct {
		name, record, want string
		o                  Options
	}{
		{name: "children", record: `<Order><Id>1</Id><Name>x</Name></Order>`, want: `{"Id":"1","Name":"x"}`},
		{name: "empty record", record: `<Order/>`, want: `{}`},
		{name: "empty record, two tags", record: "<Order>\n\t </Order>", want: `{}`},
		{name: "text only", record: `<Order> x </Order>`, want: `{"#text":" x "}`},
		{name: "attributes", record: `<Order id="1" b='2'><Id x="y">3</Id><E z=""/></Order>`, want: `{"@id":"1","@b":"2","Id":{"@x":"y","#text":"3"},"E":{"@z":""}}`},
		{name: "empty and absent", record: `<Order><A/><B></B><C> </C></Order>`, want: `{"A":"","B":"","C":" "}`},
		{name: "white space in a text", record: "<Order><A>\n x\ty </A></Order>", want: `{"A":"\n x\ty "}`},
		{name: "line ends", record: "<Order a=\"1\r\n2\t3\"><A>x\r\ny\rz&#13;</A></Order>", want: `{"@a":"1 2 3","A":"x\ny\nz\r"}`},
		{name: "repeated", record: `<Order><L>1</L><N>x</N><L/><L><S>2</S></L></Order>`, want: `{"L":["1","",{"S":"2"}],"N":"x"}`},
		{name: "repeated, nested", record: `<Order><A><L>1</L><L>2</L></A></Order>`, want: `{"A":{"L":["1","2"]}}`},
		{name: "lists", record: `<Order><L>1</L><A><L/></A><N/></Order>`, want: `{"L":["1"],"A":{"L":[""]},"N":""}`, o: Options{Lists: []string{"L"}}},
		{name: "CDATA", record: `<Order><A>x<![CDATA[<&>]]]]><![CDATA[>]]></A><B><![CDATA[]]></B></Order>`, want: `{"A":"x<&>]]>","B":""}`},
		{name: "comments and instructions", record: `<Order><!-- a --><A>x<!-- <B> -->y<?pi >?>z</A></Order>`, want: `{"A":"xyz"}`},
		{name: "references", record: `<Order><A>&lt;&gt;&amp;&quot;&apos;&#65;&#x1F600;&#0000065;</A></Order>`, want: `{"A":"<>&\"'A😀A"}`},
		{name: "references in attributes", record: `<Order a="&lt;&#10;&quot;"/>`, want: `{"@a":"<\n\""}`},
		{name: "mixed", record: `<Order><P>Hello <b>big</b> world<i/>!</P></Order>`, want: `{"P":{"#text":"Hello  world!","b":"big","i":""}}`},
		{name: "mixed record", record: `<Order>x<A>1</A>y</Order>`, want: `{"#text":"xy","A":"1"}`},
		{name: "indented children have no text", record: "<Order>\n <A>\n  <B>1</B>\n </A>\n</Order>", want: `{"A":{"B":"1"}}`},
		{name: "attribute and white space", record: `<Order><A a="1"> </A></Order>`, want: `{"A":{"@a":"1","#text":" "}}`},
		{
			name: "nil", record: `<Order xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><A xsi:nil="true"/><B xsi:nil="1"></B><C xsi:nil="false">1</C><D xsi:nil="true" r="x"/><E xsi:nil="true">1</E><A/></Order>`,
			want: `{"A":[null,""],"B":null,"C":{"@nil":"false","#text":"1"},"D":{"@r":"x","#text":null},"E":{"@nil":"true","#text":"1"}}`,
		},
		{name: "nil of another namespace", record: `<Order xmlns:x="urn:x"><A x:nil="true"/><B nil="true"/></Order>`, want: `{"A":{"@nil":"true"},"B":{"@nil":"true"}}`},
		{name: "prefixes", record: `<o:Order xmlns:o="urn:o"><o:A>1</o:A><A xmlns="urn:o">2</A></o:Order>`, want: `{"A":["1","2"]}`},
		{name: "two namespaces, one name", record: `<Order xmlns:a="urn:a" xmlns:b="urn:b"><a:X>1</a:X><b:X>2</b:X><a:X>3</a:X><X>4</X></Order>`, want: `{"X":["1","3"],"b:X":"2","{}X":"4"}`},
		{name: "one prefix, two namespaces", record: `<Order><a:X xmlns:a="urn:a">1</a:X><a:X xmlns:a="urn:b">2</a:X><a:X xmlns:a="urn:c">3</a:X></Order>`, want: `{"X":"1","a:X":"2","{urn:c}X":"3"}`},
		{name: "two namespaces, one attribute", record: `<Order xmlns:a="urn:a" xmlns:b="urn:b" a:x="1" x="2" b:x="3" b:y="4"/>`, want: `{"@a:x":"1","@x":"2","@b:x":"3","@y":"4"}`},
		{name: "xml attributes", record: `<Order xml:lang="de"><A xml:space="preserve"> </A></Order>`, want: `{"@lang":"de","A":{"@space":"preserve","#text":" "}}`},
		{name: "names beyond ASCII", record: `<Order größe="1"><Übergröße>ä</Übergröße><日本/></Order>`, want: `{"@größe":"1","Übergröße":"ä","日本":""}`},
		{name: "other keys", record: `<Order a="1"><A b="2">x</A></Order>`, want: `{"$a":"1","A":{"$b":"2","value":"x"}}`, o: Options{AttributePrefix: "$", TextKey: "value"}},
		{name: "keys that collide", record: `<Order a="1">t<_a>2</_a><value>3</value></Order>`, want: `{"_a":"1","value":"t","{}_a":"2","{}value":"3"}`, o: Options{AttributePrefix: "_", TextKey: "value"}},
		{name: "quotes and backslashes", record: `<Order><A>"\</A><B><C>"\</C></B></Order>`, want: `{"A":"\"\\","B":{"C":"\"\\"}}`},
		{name: "many names", record: `<Order>` + numbered(40) + numbered(40) + `</Order>`, want: numberedTwice(40)},
		{name: "tags with white space", record: "<Order\n a = '1' ><A\t>x</A\n></Order >", want: `{"@a":"1","A":"x"}`},
		{name: "> in texts and values", record: `<Order a=">"><A>></A></Order>`, want: `{"@a":">","A":">"}`},
		{name: "brackets", record: `<Order><A>]] ] ]]]</A></Order>`, want: `{"A":"]] ] ]]]"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.o.Record = "Orders/Order"
			after := 3 + strings.Count(tt.record, "\n")
			expect(t, wrap(tt.record, "<Order><ok/></Order>"), tt.o, result{lines: []string{"2:1 " + tt.want, fmt.Sprintf(`%d:1 {"ok":""}`, after)}})
		})
	}
}

func numbered(n int) (s string) {
	for i := range n {
		s += fmt.Sprintf("<N%d>%d</N%d>", i, i, i)
	}
	return s
}

func numberedTwice(n int) (s string) {
	for i := range n {
		s += fmt.Sprintf(`,"N%d":["%d","%d"]`, i, i, i)
	}
	return "{" + s[1:] + "}"
}

// TestBadRecords has a record each that is a fault, between two good ones.
func TestBadRecords(t *testing.T) {
	for _, tt := range []struct{ name, record, fault string }{
		{"end tag of another", `<Order><A>1</B></Order>`, "2:12: the end tag </B> where </A> should be"},
		{"end tag is missing", `<Order><A>1</Order>`, "2:12: the end tag </Order> where </A> should be"},
		{"end tag too many", `<Order></A></Order>`, "2:8: the end tag </A> where </Order> should be"},
		{"entity", `<Order><A>&nbsp;</A></Order>`, "2:11: the entity &nbsp; is none of lt, gt, amp, quot, apos"},
		{"bare ampersand", `<Order><A>a & b</A></Order>`, "2:13: an & that begins no reference; write &amp;"},
		{"bare ampersand before a tag", `<Order><A>a&</A></Order>`, "2:12: an & that begins no reference; write &amp;"},
		{"reference to no character", `<Order><A>&#0;</A></Order>`, "2:11: the character reference &#0; is no character of XML"},
		{"reference to a surrogate", `<Order><A>&#xD800;</A></Order>`, "2:11: the character reference &#xD800; is no character of XML"},
		{"reference too large", `<Order><A>&#99999999999999999999;</A></Order>`, "2:11: the character reference &#99999999999999999999; is no character of XML"},
		{"reference without digits", `<Order><A>&#x;</A></Order>`, "2:11: the character reference &#x; is no character of XML"},
		{"reference with letters", `<Order><A>&#1a;</A></Order>`, "2:11: the character reference &#1a; is no number"},
		{"bare <", `<Order><A>1 < 2</A></Order>`, "2:14: ' ' where a name should be"},
		{"]]>", `<Order><A>]]></A></Order>`, "2:11: ]]> in text; write ]]&gt;"},
		{"control character", "<Order><A>x\x01</A></Order>", "2:12: the control character U+0001, which XML does not allow"},
		{"NUL", "<Order><A>\x00</A></Order>", "2:11: the control character U+0000, which XML does not allow"},
		{"control character in a value", "<Order a='\x1f'/>", "2:11: the control character U+001F, which XML does not allow"},
		{"control character in CDATA", "<Order><![CDATA[\x02]]></Order>", "2:17: the control character U+0002, which XML does not allow"},
		{"U+FFFE", "<Order><A>\uFFFE</A></Order>", "2:11: the character U+FFFE, which XML does not allow"},
		{"attribute twice", `<Order a="1" b="2" a="3"/>`, "2:20: the attribute a stands twice"},
		{"attribute twice by namespace", `<Order xmlns:a="urn:a" xmlns:b="urn:a" a:x="1" b:x="3"/>`, "2:48: the attribute b:x stands twice"},
		{"no quotes", `<Order a=1/>`, "2:10: '1' where a quote should be"},
		{"no value", `<Order a/>`, "2:9: '/' where = after the attribute's name should be"},
		{"no white space", `<Order a="1"b="2"/>`, "2:13: 'b' where white space, / or > should be"},
		{"< in a value", `<Order a="<"/>`, "2:11: < in an attribute's value; write &lt;"},
		{"slash in a tag", `<Order / a="1"></Order>`, "2:9: ' ' where > after the slash should be"},
		{"prefix is not declared", `<Order><x:A/></Order>`, "2:8: the prefix of x:A is not declared"},
		{"prefix of an attribute", `<Order x:a="1"/>`, "2:8: the prefix of x:a is not declared"},
		{"prefix out of scope", `<Order><x:A xmlns:x="urn:x"/><x:B/></Order>`, "2:30: the prefix of x:B is not declared"},
		{"prefix without namespace", `<Order xmlns:a=""/>`, "2:8: the prefix a bound to no namespace"},
		{"prefix xmlns", `<Order xmlns:xmlns="urn:x"/>`, "2:8: a declaration of the prefix xmlns"},
		{"prefix xml", `<Order xmlns:xml="urn:x"/>`, "2:8: the prefix xml and its namespace belong together"},
		{"namespace of xml", `<Order xmlns:a="http://www.w3.org/XML/1998/namespace"/>`, "2:8: the prefix xml and its namespace belong together"},
		{"two colons", `<Order><a:b:c/></Order>`, "2:9: a name with a colon out of place"},
		{"colon first", `<Order><:b/></Order>`, "2:9: a name with a colon out of place"},
		{"name starts with a digit", `<Order><1/></Order>`, "2:9: a name that holds '1'"},
		{"name with a multiplication sign", `<Order><a×/></Order>`, "2:9: a name that holds '×'"},
		{"two hyphens in a comment", `<Order><!-- a -- b --></Order>`, "2:17: ' ' where > after -- in a comment should be"},
		{"three hyphens", `<Order><!-- a ---></Order>`, "2:17: '-' where > after -- in a comment should be"},
		{"declaration inside", `<Order><?xml version="1.0"?></Order>`, "2:8: an XML declaration that is not at the very beginning"},
		{"instruction without a name", `<Order><? x?></Order>`, "2:10: ' ' where a name should be"},
		{"DOCTYPE inside", `<Order><!DOCTYPE a></Order>`, "2:8: a DOCTYPE inside the root element"},
		{"other declaration inside", `<Order><!ENTITY a "b"></Order>`, "2:8: <! that begins neither a comment nor a CDATA section"},
		{"not UTF-8", "<Order><A>x\xff</A></Order>", "2:12: bytes that are not UTF-8"},
		{"Latin-1", "<Order><A>M\xfcller</A></Order>", "2:12: bytes that are not UTF-8"},
		{"overlong", "<Order><A>\xc0\xaf</A></Order>", "2:11: bytes that are not UTF-8"},
		{"surrogate in UTF-8", "<Order><A>\xed\xa0\x80</A></Order>", "2:11: bytes that are not UTF-8"},
		{"not UTF-8 in a name", "<Order><A\xff/></Order>", "2:10: bytes that are not UTF-8"},
		{"own name in other places", `<Order a="<Orders></Id>"><!--</Order>--><![CDATA[</Order>]]><?x </Order>?><Orders/></A></Order>`, "2:11: < in an attribute's value; write &lt;"},
		{"own name inside", `<Order><Order></A></Order></Order>`, "2:15: the end tag </A> where </Order> should be"},
		{"on a later line", "<Order>\n<A>1</B>\n</Order>", "2:1: the end tag </B> where </A> should be (line 3, column 5)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			input := wrap("<Order><ok/></Order>", tt.record, "<Order><ok/></Order>")
			input = strings.Replace(input, "\n", "", 1) // faults stand on line 2
			after := 3 + strings.Count(tt.record, "\n")
			expect(t, input, Options{Record: "Orders/Order"}, result{lines: []string{
				`1:9 {"ok":""}`, "fault " + tt.fault + " | " + tt.record, fmt.Sprintf(`%d:1 {"ok":""}`, after),
			}})
		})
	}
}

func TestDocuments(t *testing.T) {
	one := []string{`1:1 {"Id":"1"}`}
	for name, tt := range map[string]struct {
		input, record string
		want          result
	}{
		"empty":            {input: ""},
		"white space only": {input: " \n\t\r\n"},
		"one line":         {input: `<a><Order><Id>1</Id></Order><Order><Id>2</Id></Order></a>` + "\n", record: "a/Order", want: result{lines: []string{`1:1 {"Id":"1"}`, `2:1 {"Id":"2"}`}}},
		"declaration":      {input: `<?xml version="1.0" encoding="ISO-8859-1" standalone='yes' ?><a><b><Id>1</Id></b></a>`, record: "a/b", want: result{lines: one}},
		"comments around":  {input: "<!-- x --><?pi x?><a><b><Id>1</Id></b></a><!-- y --><?pi?> ", record: "a/b", want: result{lines: one}},
		"other elements beside": {
			input: `<a><h x="1">t&amp;<i/></h><b><Id>1</Id></b>text<![CDATA[ <b> ]]><!-- <b> --><t/></a>`, record: "a/b",
			want: result{lines: one},
		},
		"leading slash":      {input: `<a><b><Id>1</Id></b></a>`, record: "/a/b", want: result{lines: one}},
		"star":               {input: `<a><b><Id>1</Id></b></a>`, record: "*/b", want: result{lines: one}},
		"star at the end":    {input: `<a><b><Id>1</Id></b><c><Id>2</Id></c></a>`, record: "a/*", want: result{lines: []string{`1:1 {"Id":"1"}`, `2:1 {"Id":"2"}`}}},
		"path by prefix":     {input: `<x:a xmlns:x="urn:x"><x:b><Id>1</Id></x:b><b><Id>2</Id></b></x:a>`, record: "x:a/x:b", want: result{lines: one}},
		"path by name":       {input: `<x:a xmlns:x="urn:x"><x:b><Id>1</Id></x:b></x:a>`, record: "a/b", want: result{lines: one}},
		"deeper":             {input: `<a><b/><b><c><Id>1</Id></c></b><c/></a>`, record: "a/b/c", want: result{lines: one}},
		"the root":           {input: `<a><Id>1</Id></a>`, record: "a", want: result{lines: one}},
		"no records":         {input: `<a> <b/> </a>`, record: "a/c"},
		"nested alike":       {input: `<a><a><a><Id>1</Id></a></a></a>`, record: "a/a/a", want: result{lines: one}},
		"DOCTYPE":            {input: `<!DOCTYPE a SYSTEM "a.dtd"><a><b><Id>1</Id></b></a>`, record: "a/b", want: result{lines: one}},
		"root is another":    {input: `<c><b/></c>`, record: "a/b", want: result{err: "xml: line 1, column 1: record: a/b does not begin with this file's root element, c"}},
		"nothing there":      {input: `<a><c/></a>`, record: "a/b/c", want: result{err: "xml: line 1, column 12: record: nothing in the file lies at a/b"}},
		"two roots":          {input: `<a><b><Id>1</Id></b></a><a/>`, record: "a/b", want: result{lines: one, err: "xml: line 1, column 25: a second root element"}},
		"text behind":        {input: `<a><b><Id>1</Id></b></a> x`, record: "a/b", want: result{lines: one, err: "xml: line 1, column 26: text after the root element"}},
		"text before":        {input: `x<a/>`, record: "a/b", want: result{err: "xml: line 1, column 1: 'x' where the root element should be; is this XML?"}},
		"CDATA behind":       {input: `<a/><![CDATA[]]>`, record: "a/b", want: result{err: "xml: line 1, column 5: <![CDATA[ after the root element"}},
		"DOCTYPE behind":     {input: `<a/><!DOCTYPE a>`, record: "a/b", want: result{err: "xml: line 1, column 5: <!DOCTYPE after the root element"}},
		"late declaration":   {input: ` <?xml version="1.0"?><a/>`, record: "a/b", want: result{err: "xml: line 1, column 2: an XML declaration that is not at the very beginning"}},
		"second declaration": {input: `<?xml version="1.0"?><?xml version="1.0"?><a/>`, record: "a/b", want: result{err: "xml: line 1, column 22: an XML declaration that is not at the very beginning"}},
		"end tag first":      {input: `</a>`, record: "a/b", want: result{err: "xml: line 1, column 1: </ before the root element"}},
		"no root":            {input: `<!-- x -->`, record: "a/b", want: result{err: "xml: line 1, column 11: the file is cut short: it ends before the root element"}},
		"two DOCTYPEs":       {input: `<!DOCTYPE a><!DOCTYPE a><a/>`, record: "a/b", want: result{err: "xml: line 1, column 13: a second DOCTYPE"}},
		"entity outside":     {input: `<a>&x;<b/></a>`, record: "a/b", want: result{err: "xml: line 1, column 4: the entity &x; is none of lt, gt, amp, quot, apos"}},
		"mismatch outside":   {input: `<a><b><Id>1</Id></b><c></d></a>`, record: "a/b", want: result{lines: one, err: "xml: line 1, column 24: the end tag </d> where </c> should be"}},
		"not UTF-8 outside":  {input: "<a><b><Id>1</Id></b>\xff</a>", record: "a/b", want: result{lines: one, err: "xml: line 1, column 21: bytes that are not UTF-8"}},
		"cut before the end": {input: "<a><b><Id>1</Id></b>", record: "a/b", want: result{lines: one, err: "xml: line 1, column 21: the file is cut short: it ends before </a>"}},
		"cut in the end tag": {input: "<a><b><Id>1</Id></b></a", record: "a/b", want: result{lines: one, err: "xml: line 1, column 21: the file is cut short: it ends inside what starts here"}},
		"cut in a record":    {input: "<a><b><Id>1</Id></b><b><Id>", record: "a/b", want: result{lines: one, err: "xml: line 1, column 21: the file is cut short: it ends inside what starts here"}},
		"cut in a bad record": {
			input: "<a><b><Id>1</Id></b><b><Id>2</b><b></a>", record: "a/b",
			want: result{lines: append(one[:1:1], "fault 2:9: the end tag </b> where </Id> should be | <b><Id>2</b>"), err: "xml: line 1, column 33: the file is cut short: it ends before the end of the record that starts here, which is bad: the end tag </a> where </b> should be"},
		},
		"bad where the root is the record": {input: "<a>\n<b>1</c></a>", record: "a", want: result{err: "xml: line 2, column 5: the end tag </c> where </b> should be"}},
	} {
		t.Run(name, func(t *testing.T) { expect(t, tt.input, Options{Record: tt.record}, tt.want) })
	}
}

// TestDetection has files without a configured path.
func TestDetection(t *testing.T) {
	long := "<x>" + strings.Repeat("<y>1</y>", 5) + strings.Repeat(" ", sample) + "</x>"
	for name, tt := range map[string]struct {
		input, record string
		records       int
	}{
		"children of the root":          {`<a><b/><b/></a>`, "a/b", 2},
		"with a header":                 {`<a><h/><b/><b/><t/></a>`, "a/b", 2},
		"a list inside":                 {`<a><h><v/></h><l><b/><b/></l></a>`, "a/l/b", 2},
		"shallow before deep":           {`<a><b><c/><c/></b><b/></a>`, "a/b", 2},
		"a record longer than a sample": {`<a><b>` + long + `</b><b/></a>`, "a/b", 2},
		"one record in a list":          {`<a><b><c>1</c><d/></b></a>`, "a/b", 1},
		"one record":                    {`<a><c>1</c><d/></a>`, "a", 1},
		"empty list":                    {`<a x="1"> </a>`, "a/*", 0},
		"a text":                        {`<a>x</a>`, "a", 1},
		"prefixes":                      {`<p:a xmlns:p="urn:p"><p:b/><p:b/></p:a>`, "p:a/p:b", 2},
		"things around":                 {`<?xml version="1.0"?><!DOCTYPE a><!-- <b/><b/> --><a><![CDATA[<c/><c/>]]><?x <d/><d/>?><b x="&lt;"/></a>`, "a/b", 1},
		"one record of attributes":      {`<a><b x="1"/></a>`, "a/b", 1},
		"a first record too deep":       {`<a><b>` + strings.Repeat("<c>", 100) + strings.Repeat("</c>", 100) + `</b><b/></a>`, "a/b", 2},
		"chain":                         {`<a><b><c><d/></c></b></a>`, "a/b/c", 1},
	} {
		t.Run(name, func(t *testing.T) {
			res := read(t, strings.NewReader(tt.input), Options{}, 0)
			if res.path != tt.record || len(res.lines) != tt.records {
				t.Errorf("%s with %q, %s", res.path, res.lines, res.err)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{{Record: "/"}, {Record: "a//b"}, {Record: "//b"}, {Record: "a/"}, {Record: "a/b[1]"}, {Record: "a/@b"}, {Record: "a b"}, {MaxDepth: -1}, {MaxRecord: 2 << 30}} {
		if _, err := New(strings.NewReader(""), o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}

func TestSourceFails(t *testing.T) {
	broken := errors.New("the disk is on fire")
	for _, block := range []int{0, 16} {
		res := read(t, io.MultiReader(strings.NewReader(`<a><b/><b/><b`), iotest.ErrReader(broken)), Options{Record: "a/b"}, block)
		if len(res.lines) != 2 || !strings.Contains(res.err, broken.Error()) {
			t.Errorf("block %d: %q, %s", block, res.lines, res.err)
		}
	}
	cut := &ingest.ReadError{Format: "gzip", Reason: "cut short"}
	r, _ := New(io.MultiReader(strings.NewReader(`<a>`), iotest.ErrReader(cut)), Options{})
	var as *ingest.ReadError
	if err := r.Read(context.Background(), new(ingest.Chunk)); !errors.As(err, &as) || as != cut {
		t.Error("the cause is hidden:", err)
	}
}

func TestContext(t *testing.T) {
	r, _ := New(strings.NewReader(`<a><b/></a>`), Options{Record: "a/b"})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var c ingest.Chunk
	if err := r.Read(ctx, &c); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := r.Read(context.Background(), &c); err != nil || len(c.Records) != 1 {
		t.Fatal("a cancelled read must not end the stream:", err, len(c.Records))
	}
}
