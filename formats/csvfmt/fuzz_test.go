package csvfmt

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"ingestd/ingest"
)

// item is a record or a fault, copied out of its chunk.
type item struct {
	pos    ingest.Position
	cells  []string
	reason string
	raw    string
}

func (it item) String() string {
	return fmt.Sprintf("{%+v cells %q reason %q raw %q}", it.pos, it.cells, it.reason, it.raw)
}

// readAll reads r to its end, checking each chunk.
func readAll(t testing.TB, r ingest.Reader) ([]item, error) {
	t.Helper()
	var (
		out []item
		c   ingest.Chunk
	)
	for {
		err := r.Read(context.Background(), &c)
		records, faults := c.Records, c.Faults
		for len(records)+len(faults) > 0 {
			next := int64(len(out) + 1)
			if len(records) > 0 && records[0].Pos.Record == next {
				it := item{pos: records[0].Pos, raw: string(records[0].Raw)}
				for _, f := range records[0].Fields {
					cell := f.Name + "=" + string(f.Raw)
					if f.Kind == ingest.Null {
						cell = f.Name + " null"
					}
					it.cells = append(it.cells, cell)
				}
				out, records = append(out, it), records[1:]
				continue
			}
			if len(faults) == 0 || faults[0].Pos.Record != next {
				t.Fatalf("ordinal %d is missing", next)
			}
			out = append(out, item{pos: faults[0].Pos, reason: faults[0].Reason, raw: string(faults[0].Raw)})
			faults = faults[1:]
		}
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return out, err
		}
	}
}

// open is New for tests, with the parser's inner workings at hand.
func open(t testing.TB, src io.Reader, o Options) *reader {
	t.Helper()
	r, err := New(src, o)
	if err != nil {
		t.Fatal(err)
	}
	return r.(*reader)
}

// dialect makes options out of a number, so that a fuzzer can choose.
func dialect(n uint16) Options {
	o := Options{
		Delimiter: []string{",", ";", "\t", "||", ", ", "§"}[n%6],
		NoHeader:  n>>3&1 == 1,
		Pad:       n>>4&1 == 1,
		Trim:      n>>5&1 == 1,
		NoQuote:   n>>6&7 == 1,
	}
	if n>>9&1 == 1 {
		o.Escape = `\`
	}
	if n>>10&3 == 1 {
		o.Comment = "#"
	}
	if n>>12&3 == 1 {
		o.SkipFooter = 2
	}
	if n>>14&1 == 1 {
		o.MaxRecord = 24
	}
	if n>>15&1 == 1 {
		o.MaxField, o.MaxColumns = 5, 4
		o.Null = []string{"", "NULL"}
	}
	return o
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"a,b\n1,2\n", "a,b\r\n\"1\",\"x\"\"y\"\r\n\r\n3,4", "a\r1\r2\r", "a,b\n1\n1,2,3\n", "a,b\n\"x,1\ny,2\nz,3\n",
		"a,b\n\"x\ny\"z,1\nq,2\n", "a,b\nx\"y,1\n", "a;b\n# c\n1;2\n", "a||b\n1||\"2||3\"\n|1||2|\n", "a,b\n\\\"1,\"a\\\"b\"\n",
		"\xEF\xBB\xBFa,b\n\xFF,1\n", "a,a,,\n1,2,3,4\n", "a,b\n 1 , \"2\" \nNULL,\n", "a\n\x00\n\"\x00\"\n", "a,b\n123456789012345678901234567890,1\n2,3\n",
		"a,b\n\"" + "1234567890123456789\n0123456789\",2\n3,4\n",
	} {
		for _, n := range []uint16{0, 3, 4, 8, 1 << 4, 1 << 5, 1 << 9, 1 << 14, 1 << 15, 1<<10 | 1, 1 << 12, 1<<14 | 1<<12} {
			f.Add([]byte(s), n)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, n uint16) {
		if len(data) <= 1024 {
			held(t, data, n)
		}
	})
}

// TestRandomFiles is the fuzz target over files made of what matters to the
// parser, which a byte-wise fuzzer seldom makes.
func TestRandomFiles(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	parts := []string{
		`"`, `"`, `""`, ",", ",", ";", "|", "||", "\t", ", ", "§", "\xC2", "\n", "\n", "\r\n", "\r", "a", "bc", "12345", " ", "#", `\`,
		"\xFF", "é", "\u00a0", "\x00", "NULL", "longer than a word", bom,
	}
	for i := range 10_000 {
		var data []byte
		for range rng.IntN(40) {
			data = append(data, parts[rng.IntN(len(parts))]...)
		}
		n := uint16(rng.Uint32())
		if i%3 == 0 {
			n &= 0b1000_0000_0011_1000
		}
		held(t, data, n)
		if t.Failed() {
			t.Fatalf("%d: %q, dialect %d: %+v", i, data, n, dialect(n))
		}
	}
}

// held holds one file to what the package promises.
func held(t *testing.T, data []byte, n uint16) {
	t.Helper()
	o := dialect(n)
	want, wantErr := readAll(t, open(t, bytes.NewReader(data), o))

	// How the bytes come and which path takes them changes nothing.
	slow := open(t, iotest.OneByteReader(bytes.NewReader(data)), o)
	slow.plain, slow.target = false, 1
	got, err := readAll(t, slow)
	if fmt.Sprint(got) != fmt.Sprint(want) || fmt.Sprint(err) != fmt.Sprint(wantErr) {
		t.Errorf("%q, dialect %d: two ways, two results:\nfast %v, %v\nslow %v, %v", data, n, want, wantErr, got, err)
	}
	small := open(t, bytes.NewReader(data), o)
	small.target = 5
	if got, err := readAll(t, small); fmt.Sprint(got) != fmt.Sprint(want) || fmt.Sprint(err) != fmt.Sprint(wantErr) {
		t.Errorf("%q, dialect %d: another window, another result:\nlarge %v, %v\nsmall %v, %v", data, n, want, wantErr, got, err)
	}
	if wantErr == nil {
		accounted(t, data, o, want)
	}
	oracle(t, data)
}

// accounted checks that nothing but line ends, blank lines, comments, header
// and footer lies between rows.
func accounted(t *testing.T, data []byte, o Options, items []item) {
	t.Helper()
	at := int64(0)
	for i, it := range items {
		if it.pos.Offset < at {
			t.Fatalf("row %d begins at %d, before %d: %v", i+1, it.pos.Offset, at, it)
		}
		if !bytes.HasPrefix(data[it.pos.Offset:], []byte(it.raw)) {
			t.Fatalf("row %d: raw is not what stands at its offset: %v", i+1, it)
		}
		between(t, o, data[at:it.pos.Offset], i == 0)
		if line := int64(lineOf(data[:it.pos.Offset])); line != it.pos.Line {
			t.Fatalf("%q: row %d is on line %d, not %d: %v", data, i+1, line, it.pos.Line, it)
		}
		at = it.pos.Offset + int64(len(it.raw))
		if o.MaxRecord > 0 && len(it.raw) > o.MaxRecord {
			// The rest of the line was passed over.
			at += int64(bytes.IndexAny(append(data[at:len(data):len(data)], '\n'), "\r\n"))
		}
	}
	if o.SkipFooter == 0 && (len(items) > 0 || o.NoHeader) {
		between(t, o, data[at:], len(items) == 0)
	}
}

func between(t *testing.T, o Options, gap []byte, first bool) {
	t.Helper()
	if first {
		gap = bytes.TrimPrefix(gap, []byte(bom))
		if !o.NoHeader {
			return
		}
	}
	for _, line := range bytes.FieldsFunc(gap, func(r rune) bool { return r == '\n' || r == '\r' }) {
		if o.Comment != "" && bytes.HasPrefix(line, []byte(o.Comment)) {
			continue
		}
		if o.Trim && len(bytes.Trim(line, " \t\u00a0")) == 0 {
			continue
		}
		t.Fatalf("%q is neither in a record nor in a fault", line)
	}
}

func lineOf(before []byte) int {
	return 1 + bytes.Count(before, []byte("\n")) + bytes.Count(before, []byte("\r")) - bytes.Count(before, []byte("\r\n"))
}

// oracle compares with encoding/csv where the two mean the same.
func oracle(t *testing.T, data []byte) {
	t.Helper()
	if bytes.ContainsRune(data, '\r') || !utf8.Valid(data) || bytes.HasPrefix(data, []byte(bom)) {
		return
	}
	theirs, theirErr := csv.NewReader(bytes.NewReader(data)).ReadAll()
	ours, err := readAll(t, open(t, bytes.NewReader(data), Options{NoHeader: true}))
	if err != nil {
		t.Fatal(err)
	}
	for i, it := range ours {
		if it.reason != "" {
			if theirErr == nil {
				t.Fatalf("encoding/csv reads what is a fault here: %v", it)
			}
			return
		}
		if i >= len(theirs) {
			if theirErr == nil {
				t.Fatalf("encoding/csv reads %d rows, not %d", len(theirs), len(ours))
			}
			continue
		}
		for k, cell := range it.cells {
			if want := fmt.Sprintf("column_%d=%s", k+1, theirs[i][k]); cell != want {
				t.Fatalf("row %d: %q, encoding/csv reads %q", i+1, cell, want)
			}
		}
	}
	if theirErr != nil {
		t.Fatalf("encoding/csv refuses what has no fault here: %v", theirErr)
	}
	if len(ours) != len(theirs) {
		t.Fatalf("%d rows, encoding/csv reads %d", len(ours), len(theirs))
	}
}
