package jsonfmt

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
	shape string
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
		if n.What == "shape" {
			res.shape = n.Value
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
		"in small blocks": func() result { return read(t, strings.NewReader(input), o, 64) },
	}
	for way, read := range ways {
		if got := read(); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Errorf("%s:\ngot  %v\nerr  %s (%s)\nwant %v\nerr  %s (%s)", way,
				strings.Join(got.lines, "\n     "), got.err, got.shape, strings.Join(want.lines, "\n     "), want.err, want.shape)
		}
	}
}

func TestShapes(t *testing.T) {
	for name, tt := range map[string]struct {
		input   string
		records string
		want    result
	}{
		"empty":            {input: ""},
		"white space only": {input: " \r\n\t "},
		"array": {
			input: "[{\"a\":1},\n {\"a\":2}]\n",
			want:  result{shape: "array", lines: []string{`1:2 {"a":1}`, `2:2 {"a":2}`}},
		},
		"array without line ends": {
			input: `[{"a":1},{"a":2} , {"a":3}]` + "\n",
			want:  result{shape: "array", lines: []string{`1:1 {"a":1}`, `2:1 {"a":2}`, `3:1 {"a":3}`}},
		},
		"empty array": {input: " [ \n ] ", want: result{shape: "array"}},
		"ndjson": {
			input: "{\"a\":1}\n\n{\"a\":2}\r\n  {\"a\":3}",
			want:  result{shape: "ndjson", lines: []string{`1:1 {"a":1}`, `3:1 {"a":2}`, `4:3 {"a":3}`}},
		},
		"ndjson with two values on a later line": {
			input: "{\"a\":1}\n{\"a\":2} {\"a\":3}\n",
			want:  result{shape: "ndjson", lines: []string{`1:1 {"a":1}`, `2:1 {"a":2}`, `2:9 {"a":3}`}},
		},
		"concatenated": {
			input: `{"a":1}{"a":2} {"a":3}`,
			want:  result{shape: "concatenated", lines: []string{`1:1 {"a":1}`, `2:1 {"a":2}`, `3:1 {"a":3}`}},
		},
		"concatenated and indented": {
			input: "{\n \"a\": 1\n}\n{\n \"a\": 2\n}\n",
			want:  result{shape: "concatenated", lines: []string{`1:1 {"a":1}`, `4:1 {"a":2}`}},
		},
		"first value on its line, second not": {
			input: "{\"a\": 1}\n{\n \"a\": 2\n}\n",
			want:  result{shape: "concatenated", lines: []string{`1:1 {"a":1}`, `2:1 {"a":2}`}},
		},
		"object": {
			input: "{\n \"a\": [1, 2]\n}\n",
			want:  result{shape: "object", lines: []string{`1:1 {"a":[1,2]}`}},
		},
		"empty object": {input: "{}", want: result{shape: "object", lines: []string{`1:1 {}`}}},
		"scalars": {
			input: "[1, \"x\", null, true, [2], {}]",
			want: result{shape: "array", lines: []string{
				"fault 1:1: not an object but a number | 1", `fault 2:1: not an object but a string | "x"`, "fault 3:1: not an object but null | null",
				"fault 4:1: not an object but a boolean | true", "fault 5:1: not an object but an array | [2]", "6:1 {}",
			}},
		},
		"a scalar alone": {input: "42", want: result{shape: "object", lines: []string{"fault 1:1: not an object but a number | 42"}}},
		"path": {
			input: `{"meta":{"data":[1]},"data":{"x":[{"orders":0}],"orders":[{"a":1},{"a":2}],"n":1e5},"z":"\u0041"}`, records: "data.orders",
			want: result{shape: "path", lines: []string{`1:1 {"a":1}`, `2:1 {"a":2}`}},
		},
		"path to an object": {
			input: "{\n\"a\":{\"b\":\n{\"c\":1}}}", records: "a.b",
			want: result{shape: "path", lines: []string{`3:1 {"c":1}`}},
		},
		"path to null":       {input: `{"a":null}`, records: "a", want: result{shape: "path"}},
		"path, empty array":  {input: `{"a":[ ]}`, records: "a", want: result{shape: "path"}},
		"path, escaped name": {input: `{"\u0061":[{}]}`, records: "a", want: result{shape: "path", lines: []string{"1:1 {}"}}},
		"path is absent": {
			input: `{"data":{"rows":[{"a":1}],"n":0}}`, records: "data.orders",
			want: result{shape: "path", err: `json: line 1, column 32: records: no "orders" in the document.data; the names there: "rows", "n"`},
		},
		"path through an array": {
			input: `{"data":[{"orders":[]}]}`, records: "data.orders",
			want: result{shape: "path", err: `json: line 1, column 9: records: data is an array, no object that could hold "orders"`},
		},
		"path in an array": {
			input: `[{"a":1}]`, records: "a",
			want: result{shape: "path", err: `json: line 1, column 1: records: the document is an array, no object that could hold "a"`},
		},
		"path to a string": {
			input: `{"a":"x"}`, records: "a",
			want: result{shape: "path", err: `json: line 1, column 6: records: a is a string, neither an array nor an object`},
		},
		"path twice": {
			input: `{"a":[{"b":1}],"a":[]}`, records: "a",
			want: result{shape: "path", lines: []string{`1:1 {"b":1}`}, err: `json: line 1, column 16: records: the name "a" stands twice in an object`},
		},
		"path, cut after the array": {
			input: `{"a":[{"b":1}], "c"`, records: "a",
			want: result{shape: "path", lines: []string{`1:1 {"b":1}`}, err: `json: line 1, column 20: the file is cut short: it ends inside an array or object`},
		},
		"path, bad beside it": {
			input: `{"m":[1,],"a":[{"b":1}]}`, records: "a",
			want: result{shape: "path", err: `json: line 1, column 9: ']' where a value should be`},
		},
		"path, bad behind it": {
			input: `{"a":[{"b":1}],"m":{]}`, records: "a",
			want: result{shape: "path", lines: []string{`1:1 {"b":1}`}, err: `json: line 1, column 21: ']' where a name in double quotes should be`},
		},
	} {
		t.Run(name, func(t *testing.T) { expect(t, tt.input, Options{Records: tt.records}, tt.want) })
	}
}

// TestValues has one record each; an error is a fault's reason.
func TestValues(t *testing.T) {
	for _, tt := range []struct{ name, input, want, fault string }{
		{name: "order", input: `{"z":1,"a":2,"m":3}`, want: `{"z":1,"a":2,"m":3}`},
		{name: "digits", input: `{"a":9007199254740993,"b":-0,"c":1e400,"d":0.1000000000000000000000000010,"e":-12.50E+07}`, want: `{"a":9007199254740993,"b":-0,"c":1e400,"d":0.1000000000000000000000000010,"e":-12.50E+07}`},
		{name: "words", input: `{"a":true,"b":false,"c":null}`, want: `{"a":true,"b":false,"c":null}`},
		{name: "escapes", input: `{"a":"\"\\\/\b\f\n\r\t\u0041\u00e9\ud83d\ude00\u0000"}`, want: `{"a":"\"\\/\b\f\n\r\tAé😀\u0000"}`},
		{name: "text beyond eight bytes", input: `{"a":"12345678901234567\"890","b":"12345678"}`, want: `{"a":"12345678901234567\"890","b":"12345678"}`},
		{name: "names with escapes", input: `{"a\"b":1,"\u00e4":2,"":3}`, want: `{"a\"b":1,"ä":2,"":3}`},
		{name: "nested is compact, its texts untouched", input: `{ "a" : { "b" : [ 1.0 , "x \u00e9 \" y" ] , "c" : { } } , "d":[ ] }`, want: `{"a":{"b":[1.0,"x \u00e9 \" y"],"c":{}},"d":[]}`},
		{name: "noncharacters", input: "{\"a\":\"\uFFFE\uFFFD\u007F\"}", want: "{\"a\":\"\uFFFE\uFFFD\u007F\"}"},
		{name: "same name in other objects", input: `{"a":{"a":1},"b":[{"a":1},{"a":2}]}`, want: `{"a":{"a":1},"b":[{"a":1},{"a":2}]}`},
		{name: "names that differ in form only", input: "{\"\u00e9\":1,\"e\u0301\":2}", want: "{\"\u00e9\":1,\"e\u0301\":2}"},

		{name: "name twice", input: `{"a":1,"b":2,"a":3}`, fault: `1:1: the name "a" stands twice in the record`},
		{name: "name twice, escaped", input: `{"a":1,"\u0061":3}`, fault: `1:1: the name "a" stands twice in the record`},
		{name: "name twice, nested", input: `{"x":[{"a":1,"\u0061":2}]}`, fault: `1:7: the name "a" stands twice in an object`},
		{name: "lone surrogate", input: `{"a":"x\ud83d"}`, fault: `1:8: the escape of a lone surrogate`},
		{name: "low surrogate first", input: `{"a":"\ude00\ud83d"}`, fault: `1:7: the escape of a lone surrogate`},
		{name: "surrogate and a letter", input: `{"a":"\ud83d\u0041"}`, fault: `1:7: the escape of a lone surrogate`},
		{name: "surrogate in a name", input: `{"\ud83d":1}`, fault: `1:3: the escape of a lone surrogate`},
		{name: "unknown escape", input: `{"a":"\x41"}`, fault: `1:7: the escape \x, which JSON does not have`},
		{name: "short hex", input: `{"a":"\u12g4"}`, fault: `1:11: 'g' where a hexadecimal digit should be`},
		{name: "tab in a string", input: "{\"a\":\"1234567890\t\"}", fault: `1:17: the control character '\t' in a string; it must be escaped`},
		{name: "NUL", input: "{\"a\":\"\x00\"}", fault: `1:7: the control character '\x00' in a string; it must be escaped`},
		{name: "NaN", input: `{"a":NaN}`, fault: `1:6: 'N' where a value should be`},
		{name: "Infinity", input: `{"a":-Infinity}`, fault: `1:7: 'I' where a digit should be`},
		{name: "leading zero", input: `{"a":012}`, fault: `1:6: a number that starts with 0`},
		{name: "leading plus", input: `{"a":+1}`, fault: `1:6: '+' where a value should be`},
		{name: "no digit after the point", input: `{"a":1.}`, fault: `1:8: '}' where a digit should be`},
		{name: "no digit before the point", input: `{"a":.5}`, fault: `1:6: '.' where a value should be`},
		{name: "empty exponent", input: `{"a":1e}`, fault: `1:8: '}' where a digit should be`},
		{name: "hexadecimal", input: `{"a":0x1}`, fault: `1:7: 'x' where a comma or a closing brace should be`},
		{name: "capital", input: `{"a":True}`, fault: `1:6: 'T' where a value should be`},
		{name: "word", input: `{"a":nul}`, fault: `1:6: a word that is not true, false or null`},
		{name: "trailing comma", input: `{"a":1,}`, fault: `1:8: '}' where a name in double quotes should be`},
		{name: "trailing comma, nested", input: `{"a":[1,]}`, fault: `1:9: ']' where a value should be`},
		{name: "two commas", input: `{"a":1,,"b":2}`, fault: `1:8: ',' where a name in double quotes should be`},
		{name: "no colon", input: `{"a" 1}`, fault: `1:6: '1' where a colon should be`},
		{name: "no value", input: `{"a":}`, fault: `1:6: '}' where a value should be`},
		{name: "no quotes", input: `{a:1}`, fault: `1:2: 'a' where a name in double quotes should be`},
		{name: "single quotes", input: `{'a':1}`, fault: `1:2: '\'' where a name in double quotes should be`},
		{name: "number as a name", input: `{1:1}`, fault: `1:2: '1' where a name in double quotes should be`},
		{name: "comment", input: `{"a":1/*x*/}`, fault: `1:7: '/' where a comma or a closing brace should be`},
		{name: "no-break space", input: "{\"a\":\u00a01}", fault: `1:6: byte 0xc2 where a value should be`},
		{name: "no comma", input: `{"a":"x" "b":2}`, fault: `1:10: '"' where a comma or a closing brace should be`},
		{name: "not UTF-8", input: "{\"a\":\"x\xff\"}", fault: `1:8: bytes that are not UTF-8`},
		{name: "overlong", input: "{\"a\":\"\xc0\xaf\"}", fault: `1:7: bytes that are not UTF-8`},
		{name: "surrogate in UTF-8", input: "{\"a\":\"\xed\xa0\x80\"}", fault: `1:7: bytes that are not UTF-8`},
		{name: "cut UTF-8", input: "{\"a\":\"\xe2\x82\"}", fault: `1:7: bytes that are not UTF-8`},
		{name: "not UTF-8 in a name", input: "{\"\xff\":1}", fault: `1:3: bytes that are not UTF-8`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := "1:1 " + tt.want
			if tt.fault != "" {
				want = "fault " + tt.fault + " | " + tt.input
			}
			neighbour := `2:1 {"ok":1}`
			expect(t, tt.input+"\n"+`{"ok":1}`+"\n"+`{"ok":2}`, Options{},
				result{shape: "ndjson", lines: []string{want, neighbour, `3:1 {"ok":2}`}})
			// In an array the same, whatever the line.
			got := read(t, strings.NewReader("[\n"+tt.input+",\n"+`{"ok":1}]`), Options{}, 0)
			if len(got.lines) != 2 || got.lines[1] != `3:1 {"ok":1}` || got.err != "" {
				t.Errorf("in an array: %q, %s", got.lines, got.err)
			} else if line := strings.Replace(want, "1:", "2:", 1); got.lines[0] != line {
				t.Errorf("in an array:\ngot  %s\nwant %s", got.lines[0], line)
			}
		})
	}
}

func TestRecovery(t *testing.T) {
	for name, tt := range map[string]struct {
		input string
		want  result
	}{
		"bad lines": {
			input: "{\"a\":1}\n{\"a\":\n\n{\"a\":3} x\r\nnonsense\n{\"a\":5},\n{\"a\":6}\n",
			want: result{shape: "ndjson", lines: []string{
				`1:1 {"a":1}`, `fault 2:6: the line ends inside a value | {"a":`,
				`fault 4:9: 'x' where a value should be | {"a":3} x`, `fault 5:1: a word that is not true, false or null | nonsense`,
				`fault 6:8: ',' where a value should be | {"a":5},`, `7:1 {"a":6}`,
			}},
		},
		"first line bad": {
			input: "{\"a\":1\n{\"a\":2}\n{\"a\":3}\n",
			want:  result{shape: "ndjson", lines: []string{`fault 1:7: the line ends inside a value | {"a":1`, `2:1 {"a":2}`, `3:1 {"a":3}`}},
		},
		"last line cut": {
			input: "{\"a\":1}\n{\"a\":2}\n{\"a\":",
			want:  result{shape: "ndjson", lines: []string{`1:1 {"a":1}`, `2:1 {"a":2}`}, err: "json: line 3, column 1: the file is cut short: it ends inside the value that starts here"},
		},
		"last line bad": {
			input: "{\"a\":1}\n{\"a\":2}\n{\"a\";",
			want:  result{shape: "ndjson", lines: []string{`1:1 {"a":1}`, `2:1 {"a":2}`, `fault 3:5: ';' where a colon should be | {"a";`}},
		},
		"bad element": {
			input: `[{"a":1}, {"a":"x}\"]","b":,[}, {"a":3}]`,
			want:  result{shape: "array", lines: []string{`1:1 {"a":1}`}, err: `json: line 1, column 28: ',' where a value should be; where it ends is not clear, so nothing after it was read`},
		},
		"bad element that balances": {
			input: `[{"a":1}, {"a":"x}\"]","b":,[]}, {"a":3}]`,
			want:  result{shape: "array", lines: []string{`1:1 {"a":1}`, `fault 2:18: ',' where a value should be | {"a":"x}\"]","b":,[]}`, `3:1 {"a":3}`}},
		},
		"bad scalar": {
			input: `[{"a":1}, NaN , 01,tru,{"a":2}]`,
			want: result{shape: "array", lines: []string{
				`1:1 {"a":1}`, `fault 2:1: 'N' where a value should be | NaN `, `fault 3:1: a number that starts with 0 | 01`,
				`fault 4:1: a word that is not true, false or null | tru`, `5:1 {"a":2}`,
			}},
		},
		"line end in a text": {
			input: "[{\"a\":\"x\ny\"},\n{\"a\":2}]",
			want:  result{shape: "array", lines: []string{"fault 1:9: the control character '\\n' in a string; it must be escaped | {\"a\":\"x\ny\"}", `3:1 {"a":2}`}},
		},
		"a quote is missing": {
			input: "[{\"a\":\"x},\n{\"b\":2},\n{\"c\":3}]",
			want:  result{shape: "array", err: `json: line 1, column 11: the control character '\n' in a string; it must be escaped; where it ends is not clear, so nothing after it was read`},
		},
		"error on a later line": {
			input: "[\n{\n \"a\": 1,\n \"b\" 2\n},\n{\"a\":2}]",
			want:  result{shape: "array", lines: []string{"fault 2:1: '2' where a colon should be (line 4, column 6) | {\n \"a\": 1,\n \"b\" 2\n}", `6:1 {"a":2}`}},
		},
		"bad among concatenated": {
			input: `{"a":1}{"a":}{"a":3}`,
			want:  result{shape: "concatenated", lines: []string{`1:1 {"a":1}`, `fault 2:6: '}' where a value should be | {"a":}`, `3:1 {"a":3}`}},
		},
		"trailing comma in the array": {
			input: `[{"a":1},]`,
			want:  result{shape: "array", lines: []string{`1:1 {"a":1}`}, err: `json: line 1, column 10: ']' where a value should be`},
		},
		"no comma": {
			input: `[{"a":1} {"a":2}]`,
			want:  result{shape: "array", lines: []string{`1:1 {"a":1}`}, err: `json: line 1, column 10: '{' where a comma or the array's closing bracket should be`},
		},
		"array cut after an element": {
			input: `[{"a":1}`,
			want:  result{shape: "array", lines: []string{`1:1 {"a":1}`}, err: `json: line 1, column 9: the file is cut short: it ends inside an array or object`},
		},
		"array cut in an element": {
			input: "[{\"a\":1},\n{\"a",
			want:  result{shape: "array", lines: []string{`1:2 {"a":1}`}, err: `json: line 2, column 1: the file is cut short: it ends inside the value that starts here`},
		},
		"garbage after the array": {
			input: `[{"a":1}] x`,
			want:  result{shape: "array", lines: []string{`1:1 {"a":1}`}, err: `json: line 1, column 11: 'x' after the document's end`},
		},
		"garbage after the object": {
			input: `{"a":1} x`,
			want:  result{shape: "concatenated", lines: []string{`1:1 {"a":1}`}, err: `json: line 1, column 9: 'x' where a value should be`},
		},
		"object cut": {
			input: `{"a":1,`,
			want:  result{shape: "concatenated", err: `json: line 1, column 1: the file is cut short: it ends inside the value that starts here`},
		},
		"not JSON": {
			input: "id;name\n1;x\n",
			want:  result{shape: "concatenated", err: `json: line 1, column 1: 'i' where a value should be`},
		},
	} {
		t.Run(name, func(t *testing.T) { expect(t, tt.input, Options{}, tt.want) })
	}
}

// TestFiles reads testdata/*.json and compares with the .want beside each; it
// writes those that are not there.
func TestFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
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
			if strings.Contains(file, "envelope") {
				o.Records = "data.orders"
			}
			res := read(t, bytes.NewReader(input), o, 0)
			got := strings.Join(append(res.lines, "shape "+res.shape, "error "+res.err), "\n") + "\n"
			want, err := os.ReadFile(strings.TrimSuffix(file, ".json") + ".want")
			if err != nil {
				t.Fatalf("%v; it would be:\n%s", err, got)
			}
			if got != string(want) {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

func TestRaw(t *testing.T) {
	input := "[ {\"a\" : \"\\u0041\"}, 7, {\n\"b\":[ 1 ]} ]"
	r, err := New(strings.NewReader(input), Options{})
	if err != nil {
		t.Fatal(err)
	}
	var c ingest.Chunk
	if err := r.Read(context.Background(), &c); err != nil {
		t.Fatal(err)
	}
	for _, rec := range c.Records {
		if from := input[rec.Pos.Offset:]; !strings.HasPrefix(from, string(rec.Raw)) || rec.Raw[0] != '{' || rec.Raw[len(rec.Raw)-1] != '}' {
			t.Errorf("record %d: raw %q at %d", rec.Pos.Record, rec.Raw, rec.Pos.Offset)
		}
	}
	if f := c.Faults[0]; f.Pos.Offset != 20 || string(f.Raw) != "7" || f.Stage != ingest.StageParse {
		t.Errorf("%+v", f)
	}
	if got := c.Records[1].Fields[0]; got.Kind != ingest.Array || string(got.Raw) != "[1]" {
		t.Errorf("%+v", got)
	}
}

func TestSourceFails(t *testing.T) {
	broken := errors.New("the disk is on fire")
	for _, block := range []int{0, 16} {
		res := read(t, io.MultiReader(strings.NewReader(`[{"a":1},{"a":2},{"a"`), iotest.ErrReader(broken)), Options{}, block)
		if len(res.lines) != 2 || !strings.Contains(res.err, broken.Error()) {
			t.Errorf("block %d: %q, %s", block, res.lines, res.err)
		}
	}
	cut := &ingest.ReadError{Format: "gzip", Reason: "cut short"}
	r, _ := New(io.MultiReader(strings.NewReader(`[`), iotest.ErrReader(cut)), Options{})
	var as *ingest.ReadError
	if err := r.Read(context.Background(), new(ingest.Chunk)); !errors.As(err, &as) || as != cut {
		t.Error("the cause is hidden:", err)
	}
	r, _ = New(iotest.ErrReader(nil), Options{})
	if err := r.Read(context.Background(), new(ingest.Chunk)); !errors.Is(err, io.ErrNoProgress) {
		t.Error(err)
	}
}

func TestContext(t *testing.T) {
	r, _ := New(strings.NewReader(`[{"a":1}]`), Options{})
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

func TestOptions(t *testing.T) {
	for _, o := range []Options{{Records: "a..b"}, {Records: "."}, {MaxDepth: -1}, {MaxRecord: 1}, {MaxNames: -1}, {MaxField: -1}} {
		if _, err := New(strings.NewReader(""), o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}
