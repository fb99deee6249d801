package formats

import (
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"

	"ingestd/ingest"
)

var counting = regexp.MustCompile(`^TRAILER;(?P<count>\d+)$`)

// readAll reads a file and returns its records' first fields and how it ended.
func readAll(t *testing.T, s Spec, in ingest.Input) (got []string, faults int, end error) {
	t.Helper()
	r, err := Open(t.Context(), s, in)
	if err != nil {
		return nil, 0, err
	}
	defer r.Close()
	for {
		var c ingest.Chunk
		err := r.Read(t.Context(), &c)
		for i := range c.Records {
			got = append(got, string(c.Records[i].Fields[0].Raw))
		}
		faults += len(c.Faults)
		if err != nil {
			return got, faults, err
		}
	}
}

func TestTrailer(t *testing.T) {
	long := strings.Repeat("x", maxTrailer)
	many := "id\n" + strings.Repeat("7\n", 100_000)
	tests := []struct {
		name, text string
		records    int
		says       string // of the error; "": it is whole
	}{
		{"whole", "id\n1\n2\nTRAILER;2\n", 2, ""},
		{"no line end", "id\n1\n2\nTRAILER;2", 2, ""},
		{"empty lines behind it", "id\r\n1\r\n2\r\nTRAILER;2\r\n\r\n \t\r\n", 2, ""},
		{"many records", many + "TRAILER;100000\n", 100_000, ""},
		{"white space without end", "id\n1\n" + "TRAILER;1\n" + strings.Repeat(" \n", 20_000), 1, ""},
		{"a bad record counts", "id,b\n1,2\n3\nTRAILER;2\n", 1, ""},
		{"nothing but it", "TRAILER;0\n", 0, ""},
		{"a header and it", "id\nTRAILER;0\n", 0, ""},
		{"after a long line", "id\n" + long + long + "\nTRAILER;1", 1, ""},
		{"missing", "id\n1\n2\n", 1, `its last line "2" is no trailer`},
		{"cut within", "id\n1\nTRAILER;", 1, "is no trailer"},
		{"another follows", "id\n1\nTRAILER;1\n2\n", 2, `its last line "2"`},
		{"too few", "id\n1\nTRAILER;2\n", 1, "says 2 records, but it holds 1"},
		{"too many", "id\n1\n2\n3\nTRAILER;2\n", 3, "says 2 records, but it holds 3"},
		{"more than a number holds", "id\n1\nTRAILER;99999999999999999999\n", 1, "is no number of records"},
		{"a line too long", "id\n1\n" + long + long, -1, "and so is no trailer"},
		{"a line too long, ended", "id\n1\n" + long + long + "\n" + strings.Repeat(" ", maxTrailer+9), -1, "and so is no trailer"},
		{"empty", "", 0, "the file is empty"},
	}
	for _, tt := range tests {
		for pack, in := range map[string]ingest.Input{
			"plain": input("a.csv", []byte(tt.text)),
			"gzip":  input("a.csv.gz", gzipped(t, []byte(tt.text))),
		} {
			got, faults, err := readAll(t, Spec{Type: CSV, Trailer: counting}, in)
			var re *ingest.ReadError
			switch {
			case tt.says == "" && err != io.EOF:
				t.Errorf("%s, %s: %v", tt.name, pack, err)
			case tt.says != "" && (!errors.As(err, &re) || !strings.Contains(err.Error(), tt.says)):
				t.Errorf("%s, %s: %v does not say %q", tt.name, pack, err, tt.says)
			case tt.records >= 0 && len(got) != tt.records:
				t.Errorf("%s, %s: %d records and %d faults, want %d records", tt.name, pack, len(got), faults, tt.records)
			}
			checked := CheckTrailer(t.Context(), Spec{Type: CSV, Trailer: counting}, in)
			if counted := strings.Contains(tt.says, "holds"); (checked == nil) != (tt.says == "" || counted) {
				t.Errorf("%s, %s: CheckTrailer: %v", tt.name, pack, checked)
			}
		}
	}
}

// The trailer is taken off what was decoded, whatever the format.
func TestTrailerFormats(t *testing.T) {
	utf16 := func(s string) []byte {
		b := []byte{0xFF, 0xFE}
		for _, r := range s {
			b = append(b, byte(r), 0)
		}
		return b
	}
	for name, in := range map[string]ingest.Input{
		"utf-16": input("a.csv", utf16("id\n1\n2\nTRAILER;2\n")),
		"json":   input("a.ndjson", []byte("{\"id\":1}\n{\"id\":2}\nTRAILER;2\n")),
		"array":  input("a.json", []byte("[{\"id\":1},\n{\"id\":2}]\nTRAILER;2\n")),
		"xml":    input("a.xml", []byte("<o><r><id>1</id></r><r><id>2</id></r></o>\nTRAILER;2\n")),
		"zip":    input("a.zip", zipped(t, "a.csv", []byte("id\n1\n2\nTRAILER;2\n"))),
	} {
		if got, _, err := readAll(t, Spec{Trailer: counting}, in); err != io.EOF || len(got) != 2 {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if err := CheckTrailer(t.Context(), Spec{Trailer: counting}, in); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, typ := range []string{XLSX, Raw} {
		if (Spec{Type: typ, Trailer: counting}).Check() == nil {
			t.Errorf("a trailer was taken for %s", typ)
		}
	}
	if _, _, err := readAll(t, Spec{Trailer: regexp.MustCompile("^END$")}, input("a.csv", []byte("id\n1\nEND\n"))); err != io.EOF {
		t.Errorf("without a count: %v", err)
	}
}

// However the bytes come, what is read is the text before the trailer, and
// memory is bounded.
func FuzzTrailer(f *testing.F) {
	f.Add([]byte("a\nb\nTRAILER;2\n\n"), false)
	f.Add([]byte("\r\n \r\nTRAILER;2"), true)
	f.Add([]byte("TRAILER;1\nTRAILER;2\nx"), true)
	f.Fuzz(func(t *testing.T, text []byte, single bool) {
		src := io.Reader(strings.NewReader(string(text)))
		if single {
			src = iotest.OneByteReader(src)
		}
		tr := newTrailer(src, counting)
		got, err := io.ReadAll(tr)
		if !strings.HasPrefix(string(text), string(got)) {
			t.Fatalf("%q became %q", text, got)
		}
		lines := strings.FieldsFunc(strings.TrimRight(string(text), " \t\r\n"), func(r rune) bool { return r == '\r' || r == '\n' })
		last := ""
		if len(lines) > 0 {
			last = lines[len(lines)-1]
		}
		if whole := counting.MatchString(last); len(text) < maxTrailer && whole != (err == nil) {
			// A count that no int64 holds is no count.
			if !whole || !strings.Contains(err.Error(), "no number") {
				t.Fatalf("%q: last line %q, error %v", text, last, err)
			}
		} else if err == nil && strings.Contains(string(got[strings.LastIndexAny(string(got), "\r\n")+1:]), "TRAILER") {
			t.Fatalf("%q: the trailer was read: %q", text, got)
		}
	})
}

func BenchmarkTrailer(b *testing.B) {
	text := strings.Repeat("r1234567,some name,some text of a record that goes on for a while\n", 100_000) + "TRAILER;100000\n"
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if n, err := io.Copy(io.Discard, newTrailer(strings.NewReader(text), counting)); err != nil || n == 0 {
			b.Fatal(n, err)
		}
	}
}
