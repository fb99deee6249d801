package xmlfmt

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"ingestd/ingest"
)

// FuzzRead holds the reader against encoding/xml: what it accepts is accepted
// there, records hold what its tokens say, and every byte inside the root is in
// a record, in a fault, or beside them in a document that went on well.
func FuzzRead(f *testing.F) {
	for _, s := range []string{
		"", " ", "<a/>", "<a><b/></a>", "<a><b x='1'>y</b><b><c/><c>1</c></b></a>", "<a>&amp;<b>&#65;&#x42;</b><b><![CDATA[<]]></b></a>",
		"<?xml version='1.0'?><!DOCTYPE a [<!ELEMENT a (b,c)*>]><a><!-- x --><b/><b><?p q?></b></a>", "<x:a xmlns:x='urn:x'><x:b/><x:b x:y='z'/></x:a>",
		"<a><b>1</c></b><b/></a>", "<a><b>&nbsp;</b><b>1 < 2</b><b/></a>", "<a><b", "<a></a><a/>", "<a><b>\r\n x \r</b><b/></a>", "<a><b x='<b>'/><b/></a>",
		"<a><b>x<c>y</c>z</b><b>\xff</b></a>", "<a><b><b/></b><b></b></a>", "<a xmlns='urn:a'><b xmlns=''/><b xmlns:a='' a:b=''/></a>",
	} {
		f.Add([]byte(s), uint8(5))
	}
	files, _ := filepath.Glob("testdata/*.xml")
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, uint8(40))
	}
	f.Fuzz(func(t *testing.T, input []byte, block uint8) {
		o := Options{MaxDepth: 20, MaxNames: 50, MaxRecord: 5000, MaxField: 4000, MaxAttributes: 50}
		res := read(t, bytes.NewReader(input), o, 0)
		if res.path != "" {
			o.Record = res.path // a small sample may show another
		}
		small := read(t, bytes.NewReader(input), o, int(block)+1)
		if !reflect.DeepEqual(placeless(res), placeless(small)) {
			t.Errorf("at once %q\nin small blocks %q", res, small)
		}
		account(t, input, o)
	})
}

// placeless is res without what depends on how much is looked at first.
func placeless(res result) result {
	place := regexp.MustCompile(`^(fault )?\d+:\d+`)
	lines := make([]string, len(res.lines))
	for i, line := range res.lines {
		lines[i] = place.ReplaceAllString(line, "$1")
	}
	return result{lines: lines, err: res.err}
}

// account reads input again and compares with what encoding/xml says.
func account(t *testing.T, input []byte, o Options) {
	r, err := New(bytes.NewReader(input), o)
	if err != nil {
		t.Fatal(err)
	}
	var c ingest.Chunk
	var e ingest.Encoder
	faults := 0
	for {
		if err = r.Read(context.Background(), &c); err != nil {
			break
		}
		faults += len(c.Faults)
		for _, rec := range c.Records {
			if !bytes.HasPrefix(input[rec.Pos.Offset:], rec.Raw) {
				t.Fatalf("record %d: %q is not at offset %d", rec.Pos.Record, rec.Raw, rec.Pos.Offset)
			}
			got := e.Append(nil, rec.Fields)
			if !json.Valid(got) || !utf8.Valid(got) || bytes.ContainsAny(got, "\n\r\t") {
				t.Fatalf("%q became %q", rec.Raw, got)
			}
			if want, ok := reference(rec.Raw); ok && string(got) != want {
				t.Errorf("%q became %s, not %s", rec.Raw, got, want)
			}
		}
		for _, fault := range c.Faults {
			if !bytes.HasPrefix(input[fault.Pos.Offset:], fault.Raw) {
				t.Fatalf("fault %d: %q is not at offset %d", fault.Pos.Record, fault.Raw, fault.Pos.Offset)
			}
		}
	}
	var unreadable *ingest.ReadError
	if err != io.EOF && !errors.As(err, &unreadable) {
		t.Errorf("%T: %v", err, err)
	}
	if err == io.EOF && faults == 0 && len(bytes.TrimSpace(input)) > 0 && comparable(input) {
		if theirs := standard(input); theirs != nil {
			t.Errorf("%q is accepted, but encoding/xml says: %v", input, theirs)
		}
	}
}

// comparable leaves out what encoding/xml refuses although XML has it: names of
// the fifth edition, other 1.x versions, and quotes or brackets in a DOCTYPE
// that it does not follow.
func comparable(input []byte) bool {
	ascii := true
	for _, b := range input {
		ascii = ascii && b < 0x80
	}
	return ascii && !bytes.Contains(input, []byte("version")) && !bytes.Contains(input, []byte("<!DOCTYPE"))
}

// standard is what encoding/xml says of input.
func standard(input []byte) error {
	d := xml.NewDecoder(bytes.NewReader(input))
	for {
		if _, err := d.Token(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// An element is what reference builds.
type element struct {
	name     string
	attrs    []xml.Attr
	text     strings.Builder
	children []*element
}

// reference maps a record by the tokens of encoding/xml. It is of no use where
// namespaces matter, white space in attributes, or whether white space in a
// text is written as such.
func reference(raw []byte) (string, bool) {
	for _, s := range []string{":", "xmlns", "&#", "CDATA"} {
		if bytes.Contains(raw, []byte(s)) {
			return "", false
		}
	}
	d := xml.NewDecoder(bytes.NewReader(raw))
	top := &element{}
	stack := []*element{top}
	for {
		token, err := d.Token()
		if err != nil {
			break
		}
		inner := stack[len(stack)-1]
		switch x := token.(type) {
		case xml.StartElement:
			for _, a := range x.Attr {
				if strings.ContainsAny(a.Value, "\n\r\t") {
					return "", false
				}
			}
			child := &element{name: x.Name.Local, attrs: x.Copy().Attr}
			inner.children = append(inner.children, child)
			stack = append(stack, child)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			inner.text.Write(x)
		}
	}
	if len(top.children) != 1 {
		return "", false
	}
	record := top.children[0]
	return object(record, strings.TrimSpace(record.text.String()) != ""), true
}

func object(e *element, text bool) string {
	var parts []string
	for _, a := range e.attrs {
		parts = append(parts, quote("@"+a.Name.Local)+":"+quote(a.Value))
	}
	if text {
		parts = append(parts, `"#text":`+quote(e.text.String()))
	}
	done := map[string]bool{}
	for _, c := range e.children {
		if done[c.name] {
			continue
		}
		done[c.name] = true
		var values []string
		for _, other := range e.children {
			if other.name == c.name {
				values = append(values, value(other))
			}
		}
		if len(values) > 1 {
			parts = append(parts, quote(c.name)+":["+strings.Join(values, ",")+"]")
		} else {
			parts = append(parts, quote(c.name)+":"+values[0])
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func value(e *element) string {
	if len(e.attrs) == 0 && len(e.children) == 0 {
		return quote(e.text.String())
	}
	text := strings.TrimSpace(e.text.String()) != "" || len(e.children) == 0 && e.text.Len() > 0
	return object(e, text)
}

func quote(s string) string { return string(ingest.AppendString(nil, []byte(s))) }
