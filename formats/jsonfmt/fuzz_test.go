package jsonfmt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"ingestd/ingest"
)

// FuzzRead holds the reader against two other parsers of JSON: they agree on
// what a record is, what it holds and what is none, and every byte of the
// input is in a record, in a fault, or between them.
func FuzzRead(f *testing.F) {
	for _, s := range []string{
		"", " ", "[]", "{}", "[{},{}]", "{}{}", "{}\n{}\n", `[{"a":1,"b":[{"c":null}]},2]`, `{"a":"\ud83d\ude00\u0000\\"}`,
		`{"a":1,"a":2}`, `[{"a":1e400},{"a":01}]`, "{\"a\":\"\xff\"}\n{\"b\":1}", `{"a":{"b":1,"b":2}}`, "[1,2,[3]]", `{"a":"\ud800"}`,
		"{\"a\":\n1}\n{\"a\":2}", `{"a":1`, `[{"a":1}`, `[{"a":1},]`, "nonsense", "\"text\" 1 true", `[{"a":"x},{"b":2}]`, "{\"a\":1}\n{\"a\"\n{\"b\":2}",
	} {
		f.Add([]byte(s), uint8(5))
	}
	files, _ := filepath.Glob("testdata/*.json")
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, uint8(40))
	}
	f.Fuzz(func(t *testing.T, input []byte, block uint8) {
		o := Options{MaxDepth: 20, MaxNames: 50, MaxRecord: 5000, MaxField: 4000}
		res := read(t, bytes.NewReader(input), o, 0)
		small := read(t, bytes.NewReader(input), o, int(block)+1)
		// A small first block may not show the line ends, nor the shape.
		if res.shape == small.shape && !reflect.DeepEqual(placeless(res), placeless(small)) {
			t.Errorf("at once %q\nin small blocks %q", res, small)
		}
		account(t, input, o, res)
	})
}

// placeless is res without lines and columns of records and faults.
func placeless(res result) result {
	place := regexp.MustCompile(`^(fault )?\d+:\d+`)
	lines := make([]string, len(res.lines))
	for i, line := range res.lines {
		lines[i] = place.ReplaceAllString(line, "$1")
	}
	return result{lines: lines, err: res.err, shape: res.shape}
}

// account reads input again and compares each record with what others say.
func account(t *testing.T, input []byte, o Options, res result) {
	r, _ := New(bytes.NewReader(input), o)
	covered := make([]bool, len(input))
	faults := 0
	cover := func(pos ingest.Position, raw []byte) {
		if from := input[pos.Offset:]; !bytes.HasPrefix(from, raw) {
			t.Fatalf("record %d: %q is not at offset %d", pos.Record, raw, pos.Offset)
		}
		for i := range raw {
			covered[int(pos.Offset)+i] = true
		}
	}
	var c ingest.Chunk
	var e ingest.Encoder
	var err error
	for {
		if err = r.Read(context.Background(), &c); err != nil {
			break
		}
		for _, rec := range c.Records {
			cover(rec.Pos, rec.Raw)
			if !json.Valid(rec.Raw) || !jsontext.Value(rec.Raw).IsValid() {
				t.Fatalf("not valid: %q", rec.Raw)
			}
			got := e.Append(nil, rec.Fields)
			if bytes.ContainsAny(got, "\n\r\t") {
				t.Errorf("white space in %q", got)
			}
			if a, b := decode(t, rec.Raw), decode(t, got); !reflect.DeepEqual(a, b) {
				t.Errorf("%q became %q", rec.Raw, got)
			}
		}
		for _, fault := range c.Faults {
			cover(fault.Pos, fault.Raw)
			faults++
			if v := jsontext.Value(fault.Raw); v.IsValid() && v.Kind() == '{' && len(fault.Raw) <= o.MaxRecord && !tooMuch(fault.Reason) {
				t.Errorf("%q is valid, but: %s", fault.Raw, fault.Reason)
			}
		}
	}
	var unreadable *ingest.ReadError
	switch {
	case err == io.EOF:
		for i, ok := range covered {
			if !ok && bytes.IndexByte([]byte(" \t\r\n,[]"), input[i]) < 0 {
				t.Fatalf("byte %d, %q, is in no record and no fault", i, input[i])
			}
		}
		if faults == 0 && len(bytes.TrimSpace(input)) > 0 && !validStream(input) {
			t.Errorf("%q is not valid, but there is no fault", input)
		}
	case !errors.As(err, &unreadable):
		t.Errorf("%T: %v", err, err)
	case validStream(input) && len(bytes.TrimSpace(input)) > 0 && (bytes.TrimSpace(input)[0] != '[' || jsontext.Value(input).IsValid()):
		t.Errorf("%q is valid, but: %v", input, err)
	}
}

// tooMuch reports whether reason is one of the limits.
func tooMuch(reason string) bool {
	return bytes.Contains([]byte(reason), []byte("larger than")) || bytes.Contains([]byte(reason), []byte("more than")) || bytes.Contains([]byte(reason), []byte("deeper than"))
}

// validStream reports whether input is a sequence of valid values, numbers and
// words with something between them.
func validStream(input []byte) bool {
	d := jsontext.NewDecoder(bytes.NewReader(input))
	for {
		v, err := d.ReadValue()
		if err != nil {
			return err == io.EOF
		}
		end := int(d.InputOffset())
		if v.Kind() != '{' && v.Kind() != '[' && end < len(input) && bytes.IndexByte([]byte(" \t\r\n"), input[end]) < 0 {
			return false
		}
	}
}

func decode(t *testing.T, b []byte) (v any) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%q: %v", b, err)
	}
	return v
}

// FuzzPath does the same for records at a path: where all of the document is
// valid, they are what encoding/json finds there.
func FuzzPath(f *testing.F) {
	for _, s := range []string{
		`{"a":{"b":[{"c":1},{"c":2}]}}`, `{"x":[{"a":[]}],"a":{"x":{"b":1},"b":[{}]},"z":null}`, `{"a":{"b":{"c":[1]}}}`, `{"a":{"b":null}}`,
		`{"a":{"c":1}}`, `{"a":[]}`, `[]`, `{"a":{"b":[{}]},"a":1}`, `{"\u0061":{"b":[{"x":"]"},{]}}`, "{\"a\":{\"b\":[{}, 1]}}\n{}", `{"a":{"b":[`,
	} {
		f.Add([]byte(s), uint8(5))
	}
	f.Fuzz(func(t *testing.T, input []byte, block uint8) {
		o := Options{Records: "a.b", MaxDepth: 20, MaxNames: 50, MaxRecord: 5000, MaxField: 4000}
		res := read(t, bytes.NewReader(input), o, 0)
		small := read(t, bytes.NewReader(input), o, int(block)+1)
		if !reflect.DeepEqual(placeless(res), placeless(small)) {
			t.Errorf("at once %q\nin small blocks %q", res, small)
		}
		if res.err != "" || len(bytes.TrimSpace(input)) == 0 {
			return
		}
		if !json.Valid(input) {
			for _, line := range res.lines {
				if strings.HasPrefix(line, "fault") {
					return
				}
			}
			t.Fatalf("%q is not valid, but there is no fault", input)
		}
		var doc struct {
			A struct {
				B json.RawMessage `json:"b"`
			} `json:"a"`
		}
		if err := json.Unmarshal(input, &doc); err != nil {
			return // a and A are one name to encoding/json
		}
		var list []json.RawMessage
		if json.Unmarshal(doc.A.B, &list) != nil {
			list = []json.RawMessage{doc.A.B}
		}
		if len(list) != len(res.lines) && !bytes.ContainsAny(input, `AB\`) {
			t.Errorf("%q: %d records, not %d", input, len(res.lines), len(list))
		}
	})
}
