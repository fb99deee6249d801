package fixedfmt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"ingestd/ingest"
)

// A seen is what a reader gave, copied.
type seen struct {
	pos    ingest.Position
	cells  []string // nil for a fault
	reason string
	raw    string
}

func readAll(t testing.TB, src io.Reader, o Options) ([]seen, error) {
	t.Helper()
	r, err := New(src, o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out []seen
	var c ingest.Chunk
	for {
		err := r.Read(context.Background(), &c)
		f := c.Faults
		for _, rec := range c.Records {
			for ; len(f) > 0 && f[0].Pos.Record < rec.Pos.Record; f = f[1:] {
				out = append(out, seen{f[0].Pos, nil, f[0].Reason, string(f[0].Raw)})
			}
			cells := []string{}
			for _, v := range rec.Fields {
				if !utf8.Valid(v.Raw) {
					t.Fatalf("%q is no text", v.Raw)
				}
				cells = append(cells, v.Name+"="+string(v.Raw))
			}
			out = append(out, seen{rec.Pos, cells, "", string(rec.Raw)})
		}
		for ; len(f) > 0; f = f[1:] {
			out = append(out, seen{f[0].Pos, nil, f[0].Reason, string(f[0].Raw)})
		}
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		if len(c.Records)+len(c.Faults) == 0 {
			t.Fatal("a chunk of nothing")
		}
	}
}

var threeColumns = []Column{{Name: "a", Width: 2}, {Name: "b", Start: 5, Width: 3}, {Name: "c", Start: 2, Width: 4}}

// dialect makes options out of a number, so that a fuzzer can choose.
func dialect(n uint16) Options {
	o := Options{Columns: threeColumns, Pad: n&1 == 1, KeepBlanks: n>>1&1 == 1, SkipFooter: int(n >> 2 & 3), SkipRows: int(n >> 4 & 1)}
	if n>>5&1 == 1 {
		o.Comment = "#"
	}
	if n>>6&1 == 1 {
		o.Encoding = "ibm037"
	}
	if n>>7&1 == 1 {
		o.MaxRecord = 12
	}
	if n>>8&3 == 1 {
		o.Length = 7 + int(n>>10&3)
	}
	if n>>12&3 == 1 {
		o.MaxField = 3
	}
	return o
}

func FuzzRead(f *testing.F) {
	for i, s := range []string{
		"ab12xyz\ncd34uvw\n", "ab12xyz\r\n\r\n\x1a", "ä\u00a0ü€xyz\r\xff\ncd34uvw1", "ab12xyzab34uvwcd", "#x\nab\n  \nab12x\u0085y",
		strings.Repeat("ab12xyz\n", 40), strings.Repeat("x", 40) + "\nab12xyz\r", "",
	} {
		f.Add([]byte(s), uint16(i*0x1357))
	}
	f.Fuzz(func(t *testing.T, data []byte, n uint16) {
		o := dialect(n)
		whole, err := readAll(t, bytes.NewReader(data), o)
		if err != nil {
			t.Fatal(err)
		}
		bytewise, err := readAll(t, iotest.OneByteReader(bytes.NewReader(data)), o)
		if err != nil || !reflect.DeepEqual(whole, bytewise) {
			t.Fatalf("%v\nwhole    %+v\nbytewise %+v", err, whole, bytewise)
		}
		// What lies between two of them is nothing but what may be left out.
		at := int64(0)
		for i, s := range whole {
			if s.pos.Record != int64(i+1) || s.pos.Offset < at || s.pos.Column < 1 {
				t.Fatalf("%d: %+v behind %d", i, s.pos, at)
			}
			if !bytes.HasPrefix(data[s.pos.Offset:], []byte(s.raw)) {
				t.Fatalf("%q does not stand at %d", s.raw, s.pos.Offset)
			}
			if i > 0 && !gap(string(data[at:s.pos.Offset]), o, whole[i-1].reason) {
				t.Fatalf("%q is lost", data[at:s.pos.Offset])
			}
			at = s.pos.Offset + int64(len(s.raw))
		}
	})
}

// gap reports whether text between two lines may be left out.
func gap(s string, o Options, before string) bool {
	if strings.Contains(before, "record limit") {
		return true // it was cut
	}
	for _, line := range strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' || r == '\u0085' && ebcdic(o.Encoding) }) {
		if len(trim([]byte(line))) > 0 && (o.Comment == "" || !strings.HasPrefix(line, o.Comment)) {
			return false
		}
	}
	return true
}

// TestManyLines is more than one window and chunk, with every footer.
func TestManyLines(t *testing.T) {
	var text strings.Builder
	const lines = 40_000
	for i := range lines {
		fmt.Fprintf(&text, "%02d%02d%03d\r\n", i%100, i%7, i%1000)
	}
	for _, footer := range []int{0, 1, 100} {
		got, err := readAll(t, strings.NewReader(text.String()), Options{Columns: threeColumns, SkipRows: 3, SkipFooter: footer})
		if err != nil || len(got) != lines-3-footer {
			t.Fatalf("%d lines, %v", len(got), err)
		}
		for i, s := range got {
			n := i + 3
			want := []string{fmt.Sprintf("a=%02d", n%100), fmt.Sprintf("b=%03d", n%1000), fmt.Sprintf("c=%s", fmt.Sprintf("%02d%02d%03d", n%100, n%7, n%1000)[1:5])}
			if !reflect.DeepEqual(s.cells, want) || s.pos.Line != int64(n+1) || s.pos.Offset != int64(n*9) {
				t.Fatalf("%+v, want %q", s, want)
			}
		}
	}
}

func TestBounds(t *testing.T) {
	long := strings.Repeat("x", 5<<20)
	for _, src := range []string{"ab12xyz\n" + long + "\ncd34uvw\n", "ab12xyz\n" + long + "\r\ncd34uvw\n"} {
		got, err := readAll(t, strings.NewReader(src), Options{Columns: threeColumns, MaxRecord: 1 << 20})
		if err != nil || len(got) != 3 || got[2].pos.Line != 3 || !strings.Contains(got[1].reason, "record limit") || len(got[1].raw) > ingest.MaxRawFault {
			t.Fatalf("%d, %v", len(got), err)
		}
	}
	got, err := readAll(t, io.MultiReader(strings.NewReader("ab12xyz\ncd3"), iotest.ErrReader(errors.New("disk gone"))), Options{Columns: threeColumns})
	var re *ingest.ReadError
	if len(got) != 1 || !errors.As(err, &re) || re.Pos.Line != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	for _, o := range []Options{
		{},
		{Columns: []Column{{Name: "a"}}},
		{Columns: []Column{{Width: 1}}},
		{Columns: []Column{{Name: "a", Width: 1 << 30}}},
		{Columns: []Column{{Name: "a", Width: 1}, {Name: "a", Width: 1}}},
		{Columns: threeColumns, Length: 6},
		{Columns: threeColumns, SkipFooter: 101},
		{Columns: threeColumns, Comment: "\n"},
		{Columns: threeColumns, SkipRows: -1},
		{Columns: threeColumns, MaxColumns: 2},
		{Columns: []Column{{Name: "a", Start: 4 << 20, Width: 2}}},
	} {
		if _, err := New(nil, o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	var text bytes.Buffer
	for i := range 50_000 {
		fmt.Fprintf(&text, "%08d%-20s%-20s%012.2f%8d%-40s\n", i, "Ada Lovelace", "London", float64(i)/7, i%1000, "a remark of some length")
	}
	umlauts := bytes.ReplaceAll(text.Bytes(), []byte("Ada"), []byte("Äda"))
	o := Options{Columns: []Column{{"id", 0, 8}, {"name", 0, 20}, {"city", 0, 20}, {"amount", 0, 12}, {"count", 0, 8}, {"remark", 0, 40}}}
	for name, data := range map[string][]byte{"ascii": text.Bytes(), "umlauts": umlauts} {
		b.Run(name, func(b *testing.B) {
			var c ingest.Chunk
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				r, err := New(bytes.NewReader(data), o)
				if err != nil {
					b.Fatal(err)
				}
				for err == nil {
					if err = r.Read(b.Context(), &c); len(c.Faults) > 0 {
						b.Fatal(c.Faults[0])
					}
				}
				if err != io.EOF {
					b.Fatal(err)
				}
			}
		})
	}
}
