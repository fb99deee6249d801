package csvfmt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"ingestd/ingest"
)

// repeat is a stream of n bytes: s again and again, between head and tail.
func repeat(head, s string, n int, tail string) io.Reader {
	return io.MultiReader(strings.NewReader(head), io.LimitReader(&endless{s: s}, int64(n)), strings.NewReader(tail))
}

type endless struct {
	s  string
	at int
}

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = e.s[(e.at+i)%len(e.s)]
	}
	e.at = (e.at + len(p)) % len(e.s)
	return len(p), nil
}

// TestMemoryIsBounded reads what would not fit: whatever the file holds, no
// buffer grows beyond a few times the record limit.
func TestMemoryIsBounded(t *testing.T) {
	const (
		limit = 256 << 10
		huge  = 8 << 20
	)
	tests := []struct {
		name    string
		src     io.Reader
		o       Options
		records int
		faults  int
	}{
		{"unquoted cell", repeat("a,b\n1,", "x", huge, "\n2,y\n"), Options{}, 1, 1},
		{"quoted cell", repeat("a,b\n1,\"", "x", huge, "\"\n2,y\n"), Options{}, 1, 1},
		{"cell of doubled quotes", repeat("a,b\n1,\"", `""`, huge, "\"\n2,y\n"), Options{}, 1, 1},
		{"no line end to the last", repeat("a,b\n1,", "x", huge, ""), Options{}, 0, 1},
		{"cells", repeat("a,b\n", ",", huge, "\n2,y\n"), Options{}, 1, 1},
		{"cells, padded", repeat("a,b\n", ",", huge, "\n2,y\n"), Options{Pad: true}, 1, 1},
		{"unclosed quote", repeat("a,b\n1,\"x\n", "2,yy\n", huge/5*5, ""), Options{}, huge / 5, 1},
		{"blank lines", repeat("a,b\n", "\n", huge, "2,y\n"), Options{}, 1, 0},
		{"CR blank lines", repeat("a,b\n", "\r", huge, "2,y\n"), Options{}, 1, 0},
		{"blanks, trimmed", repeat("a,b\n", " ", huge, "\n2,y\n"), Options{Trim: true}, 1, 1},
		{"comment", repeat("a,b\n#", "x", huge, "\n2,y\n"), Options{Comment: "#"}, 1, 0},
		{"comments", repeat("a,b\n", "#xxxxxx\n", huge, "2,y\n"), Options{Comment: "#"}, 1, 0},
		{"skipped line", repeat("", "x", huge, "\na,b\n2,y\n"), Options{SkipRows: 1}, 1, 0},
		{"skipped line, CRLF", repeat("", "x", huge, "\r\na,b\n2,y\n"), Options{SkipRows: 1}, 1, 0},
		{"row before the footer", repeat("a,b\n1,", "x", huge, "\n2,y\n3,z\n"), Options{SkipFooter: 1}, 1, 1},
		{"one column, padded to many", repeat(strings.Repeat("c,", 2000)+"c\n", "1\n", 4<<10, ""), Options{Pad: true}, 2 << 10, 0},
		{"backslashes", repeat("a,b\n1,\"", `\\`, huge, "\"\n2,y\n"), Options{Escape: `\`}, 1, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.o.MaxRecord = limit
			r := open(t, tt.src, tt.o)
			var (
				c               ingest.Chunk
				records, faults int
			)
			for {
				err := r.Read(context.Background(), &c)
				if size := c.Size() + cap(r.ahead); size > 16*limit+8<<20 {
					t.Fatalf("%d bytes are held", size)
				}
				records, faults = records+len(c.Records), faults+len(c.Faults)
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if records != tt.records || faults != tt.faults {
				t.Errorf("%d records, %d faults, want %d, %d", records, faults, tt.records, tt.faults)
			}
		})
	}
}

// TestLimitsAtTheirEdges tries each limit at n-1, n and n+1.
func TestLimitsAtTheirEdges(t *testing.T) {
	row := func(n int) string { return "1," + strings.Repeat("x", n-2) }
	for _, n := range []int{1000, 70_000, 200_000} { // within and beyond the first window
		for _, d := range []int{-1, 0, 1} {
			for _, end := range []string{"\n", "\r\n", "\r", ""} {
				name := fmt.Sprintf("record of %d%+d ending %q", n, d, end)
				items, err := readAll(t, open(t, strings.NewReader("a,b\n"+row(n+d)+end), Options{MaxRecord: n}))
				if err != nil || len(items) != 1 || (items[0].reason != "") != (d > 0) {
					t.Errorf("%s: %d items, error %v", name, len(items), err)
				}
				items, err = readAll(t, open(t, strings.NewReader("a,b\n"+row(n+d)+end), Options{MaxField: n - 2}))
				if err != nil || len(items) != 1 || (items[0].reason != "") != (d > 0) {
					t.Errorf("field, %s: %d items, error %v", name, len(items), err)
				}
			}
		}
	}
	for _, d := range []int{-1, 0, 1} {
		line := strings.Repeat(",", DefaultMaxColumns+d-1) + "\n"
		items, err := readAll(t, open(t, strings.NewReader(line), Options{NoHeader: true}))
		if err != nil || len(items) != 1 || (items[0].reason != "") != (d > 0) {
			t.Errorf("%d columns: %d items, error %v", DefaultMaxColumns+d, len(items), err)
		}
	}
}

// TestHugeRowAmongOthers has the default limits, and rows that do not fit a
// window.
func TestHugeRowAmongOthers(t *testing.T) {
	var b strings.Builder
	b.WriteString("id,text\n")
	for i := range 40 {
		fmt.Fprintf(&b, "%d,\"%s\"\n", i, strings.Repeat("line\n", i*i*40))
	}
	items, err := readAll(t, open(t, strings.NewReader(b.String()), Options{}))
	if err != nil || len(items) != 40 {
		t.Fatalf("%d items, error %v", len(items), err)
	}
	line := int64(2)
	for i, it := range items {
		if it.pos.Line != line || len(it.cells) != 2 || len(it.cells[1]) != len("text=")+i*i*200 {
			t.Fatalf("record %d on line %d: %d bytes", i, it.pos.Line, len(it.raw))
		}
		line += 1 + int64(i*i*40)
	}
}

// TestChunksStandAlone: what a chunk holds stays as it was while others are read.
func TestChunksStandAlone(t *testing.T) {
	var b strings.Builder
	b.WriteString("id,text\n")
	for i := range 5000 {
		fmt.Fprintf(&b, "%d,\"a \"\"quoted\"\" %d\"\n", i, i)
	}
	r := open(t, strings.NewReader(b.String()), Options{})
	var chunks []*ingest.Chunk
	for {
		c := new(ingest.Chunk)
		if err := r.Read(context.Background(), c); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		chunks = append(chunks, c)
	}
	if len(chunks) < 5 {
		t.Fatalf("%d chunks", len(chunks))
	}
	i := 0
	for _, c := range chunks {
		for _, rec := range c.Records {
			want := fmt.Sprintf(`a "quoted" %d`, i)
			if got := string(rec.Fields[1].Raw); got != want {
				t.Fatalf("record %d: %q, want %q", i, got, want)
			}
			if want := fmt.Sprintf(`%d,"a ""quoted"" %d"`, i, i); string(rec.Raw) != want {
				t.Fatalf("record %d: raw %q", i, rec.Raw)
			}
			i++
		}
	}
	if i != 5000 {
		t.Fatalf("%d records", i)
	}
}

func TestSourceBreaks(t *testing.T) {
	broken := errors.New("disk on fire")
	cut := &ingest.ReadError{Format: "gzip", Reason: "cut short"}
	for _, cause := range []error{broken, cut} {
		for _, o := range []Options{{}, {SkipFooter: 1}} {
			src := io.MultiReader(strings.NewReader("a,b\n1,2\n3,4\n5,"), failing{cause})
			items, err := readAll(t, open(t, src, o))
			var re *ingest.ReadError
			if !errors.As(err, &re) || !errors.Is(err, cause) && err != cause {
				t.Fatalf("error %v, want a ReadError about %v", err, cause)
			}
			if cause == error(cut) && err != error(cut) {
				t.Errorf("a ReadError from below became %v", err)
			}
			if len(items) != 2 {
				t.Errorf("%d whole rows before it, want 2", len(items))
			}
		}
	}
	if _, err := readAll(t, open(t, failing{broken}, Options{})); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	if _, err := readAll(t, open(t, silent{}, Options{})); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a source that gives nothing: %v", err)
	}
	src := io.MultiReader(repeat("a,b\n1,", "x", 1<<20, ""), failing{broken})
	items, err := readAll(t, open(t, src, Options{MaxRecord: 1000}))
	if !errors.Is(err, broken) || len(items) != 1 {
		t.Errorf("%d items, error %v", len(items), err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

type silent struct{}

func (silent) Read([]byte) (int, error) { return 0, nil }

func TestContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	r := open(t, strings.NewReader("a\n1\n"), Options{})
	cancel()
	if err := r.Read(ctx, new(ingest.Chunk)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestClosed(t *testing.T) {
	r := open(t, strings.NewReader("a\n1\n"), Options{})
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Read(context.Background(), new(ingest.Chunk)); err == nil || err == io.EOF {
		t.Errorf("read after close: %v", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	tests := []struct {
		o    Options
		want string // "" = fine
	}{
		{Options{}, ""},
		{Options{Delimiter: "||", Quote: "'", Escape: `\`, Header: 3, SkipFooter: MaxSkipFooter}, ""},
		{Options{NoQuote: true, Delimiter: `"`}, ""},
		{Options{Quote: "“"}, "quote"},
		{Options{Quote: "''"}, "quote"},
		{Options{Quote: "\n"}, "quote"},
		{Options{Escape: "ab"}, "escape"},
		{Options{Delimiter: "a\n"}, "delimiter"},
		{Options{Delimiter: `"`}, "delimiter"},
		{Options{Delimiter: `\,`, Escape: `\`}, "delimiter"},
		{Options{Delimiter: strings.Repeat("x", 65)}, "delimiter"},
		{Options{Comment: "#\n"}, "comment"},
		{Options{Comment: strings.Repeat("#", 65)}, "comment"},
		{Options{Header: -1}, "header"},
		{Options{Header: 101}, "header"},
		{Options{SkipRows: -1}, "skip_rows"},
		{Options{SkipFooter: -1}, "skip_footer"},
		{Options{SkipFooter: MaxSkipFooter + 1}, "skip_footer"},
		{Options{MaxColumns: 1, Columns: []string{"a", "b"}}, "columns"},
	}
	for _, tt := range tests {
		_, err := New(nil, tt.o)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: error %v, want one about %q", tt.o, err, tt.want)
		}
	}
}

// TestNoAllocations holds the fast path to what the package says of it.
func TestNoAllocations(t *testing.T) {
	data := string(benchFile(20_000, true))
	r := open(t, strings.NewReader(data), Options{})
	var c ingest.Chunk
	for range 4 { // the chunk's memory grows to its size
		if err := r.Read(context.Background(), &c); err != nil {
			t.Fatal(err)
		}
	}
	n := testing.AllocsPerRun(20, func() {
		if err := r.Read(context.Background(), &c); err != nil || len(c.Records) < 300 {
			t.Fatal(err, len(c.Records))
		}
	})
	if n > 0 {
		t.Errorf("%v allocations a chunk of %d records", n, len(c.Records))
	}
}

// TestManyEscapes would take minutes, were the closing quote looked for anew
// behind each escape.
func TestManyEscapes(t *testing.T) {
	text := "a\n\"" + strings.Repeat(`\x`, 1<<20) + "\"\n1\n"
	r, err := New(strings.NewReader(text), Options{Escape: `\`})
	if err != nil {
		t.Fatal(err)
	}
	var c ingest.Chunk
	n := 0
	for {
		err := r.Read(t.Context(), &c)
		if err == io.EOF {
			break
		}
		if err != nil || len(c.Faults) > 0 {
			t.Fatal(err, c.Faults)
		}
		n += len(c.Records)
	}
	if n != 2 {
		t.Errorf("%d records, want 2", n)
	}
}
