package formats

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/xuri/excelize/v2"

	"ingestd/formats/csvfmt"
	"ingestd/formats/fixedfmt"
	"ingestd/formats/formattest"
	"ingestd/formats/xmlfmt"
	"ingestd/ingest"
)

func input(name string, b []byte) ingest.Input {
	return ingest.Input{Name: name, Size: int64(len(b)), ReaderAt: bytes.NewReader(b)}
}

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zipped(t testing.TB, name string, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	f, err := w.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zstandard(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// read opens and reads a file to its end.
func read(t testing.TB, s Spec, name string, b []byte) (lines []string, d ingest.Details) {
	t.Helper()
	r, err := Open(context.Background(), s, input(name, b))
	if err != nil {
		return []string{"open: " + err.Error()}, ingest.Details{}
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}()
	return formattest.Lines(t, r)
}

func wantLast(t *testing.T, lines []string, part string) {
	t.Helper()
	if len(lines) == 0 || !strings.Contains(lines[len(lines)-1], part) {
		t.Errorf("got %q, want %q at the end", lines[max(0, len(lines)-3):], part)
	}
}

const people = "id,name\n1,Ada\n2,Grace\n"

var peopleLines = []string{`{"record":{"id":"1","name":"Ada"},"line":2}`, `{"record":{"id":"2","name":"Grace"},"line":3}`}

func wantPeople(t *testing.T, lines []string) {
	t.Helper()
	if strings.Join(lines, "\n") != strings.Join(peopleLines, "\n") {
		t.Errorf("got %q", lines)
	}
}

func TestKnown(t *testing.T) {
	for name, want := range map[string]bool{
		"a.csv": true, "a.CSV": true, "a.tsv": true, "a.txt": true, "a.json": true, "a.ndjson": true, "a.jsonl": true,
		"a.xml": true, "a.xlsx": true, "a.XLSM": true, "a.csv.gz": true, "a.Json.GZ": true, "a.zip": true, "a.gz": true,
		"a.csv.zst": true, "dir.d/a.csv": true, "b.csv/a": false,
		"a.xls": false, "a.zst": false, "a.tar": false, "a": false, "": false, "csv": false, ".csv": true, "a.csv.bak": false, "a.pdf": false,
	} {
		if got := Known(name); got != want {
			t.Errorf("Known(%q) = %v", name, got)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		s    Spec
		want string
	}{
		{Spec{}, ""},
		{Spec{Type: CSV, Encoding: "latin1"}, ""},
		{Spec{Type: "xls"}, ".xlsx"},
		{Spec{Type: "parquet"}, "parquet"},
		{Spec{Encoding: "klingon"}, "klingon"},
		{Spec{CSV: csvfmt.Options{Quote: "xx"}}, "quote"},
		{Spec{XML: xmlfmt.Options{Record: "a//b"}}, "xml"},
	} {
		err := tt.s.Check()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want an error about %q", tt.s, err, tt.want)
		}
	}
}

func TestZstd(t *testing.T) {
	packed := zstandard(t, []byte(people))
	lines, d := read(t, Spec{}, "a.csv.zst", packed)
	wantPeople(t, lines)
	if d.Notes[0].Value != "zstd" {
		t.Errorf("notes %+v", d.Notes)
	}
	lines, _ = read(t, Spec{}, "a.csv.zst", append(zstandard(t, []byte(people[:5])), zstandard(t, []byte(people[5:]))...))
	wantPeople(t, lines)
	skippable := []byte{0x50, 0x2A, 0x4D, 0x18, 2, 0, 0, 0, 'h', 'i'}
	lines, _ = read(t, Spec{}, "a.csv.zst", append(skippable, packed...))
	wantPeople(t, lines)
	for cut := 5; cut < len(packed); cut += 7 {
		lines, _ = read(t, Spec{}, "a.csv.zst", packed[:cut])
		if last := lines[max(0, len(lines)-1)]; !strings.Contains(last, "zstd: ") {
			t.Errorf("cut at %d: %q", cut, lines)
		}
	}
	lines, _ = read(t, Spec{}, "a.csv.zst", append(bytes.Clone(packed), "garbage"...))
	wantLast(t, lines, "zstd")
	// A frame of one byte that asks for a window of 64 MiB (RFC 8878, 3.1.1.1.2).
	wide := []byte{0x28, 0xB5, 0x2F, 0xFD, 0x00, 0x80, 0x09, 0, 0, 'x'}
	lines, _ = read(t, Spec{}, "a.csv.zst", wide)
	wantLast(t, lines, "more than 32 MiB of memory")
	if lines, _ = read(t, Spec{Limits: Limits{Window: 64 << 20}}, "a.csv.zst", wide); len(lines) != 0 {
		t.Errorf("a header alone gives %q", lines)
	}
}

func TestBombs(t *testing.T) {
	const from = 1 << 18
	row := []byte("1,2\n")
	big := append([]byte("a,b\n"), bytes.Repeat(row, 2*from/len(row))...)
	limits := Limits{Ratio: 50, RatioFrom: from}
	for name, packed := range map[string][]byte{
		"gzip": gzipped(t, big), "zip": zipped(t, "a.csv", big), "zstd": zstandard(t, big),
		"gzip in zip": zipped(t, "a.csv.gz", gzipped(t, big)),
	} {
		r, err := Open(context.Background(), Spec{Limits: limits}, input("a.csv", packed))
		if err != nil {
			t.Fatal(name, err)
		}
		var (
			c    ingest.Chunk
			rows int
		)
		for err == nil {
			err = r.Read(context.Background(), &c)
			rows += len(c.Records)
		}
		var re *ingest.ReadError
		if !errors.As(err, &re) || !strings.Contains(re.Reason, "times its size") || rows < from/2/len(row) || rows > from/len(row) {
			t.Errorf("%s: %d rows, then %v", name, rows, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	// A small file is no bomb, whatever its ratio.
	lines, _ := read(t, Spec{Limits: limits}, "a.csv", gzipped(t, big[:from]))
	if len(lines) != from/len(row)-1 {
		t.Errorf("%d lines", len(lines))
	}
	packed := gzipped(t, big)
	for ratio, bomb := range map[int]bool{len(big)/len(packed) - 1: true, len(big)/len(packed) + 1: false} {
		lines, _ := read(t, Spec{Limits: Limits{Ratio: int64(ratio), RatioFrom: from}}, "a.csv", packed)
		if got := strings.Contains(lines[len(lines)-1], "times its size"); got != bomb {
			t.Errorf("ratio %d: bomb %v", ratio, got)
		}
	}
}

func TestOutputLimit(t *testing.T) {
	n := int64(len(people))
	for _, pack := range [][]byte{gzipped(t, []byte(people)), zipped(t, "a.csv", []byte(people)), zstandard(t, []byte(people))} {
		for d := int64(-1); d <= 1; d++ {
			lines, _ := read(t, Spec{Limits: Limits{Unpacked: n + d}}, "a.csv", pack)
			if d < 0 {
				wantLast(t, lines, "the limit")
			} else {
				wantPeople(t, lines)
			}
		}
	}
}

// TestZipDirectoryIsBounded has a directory that is all a zip consists of.
func TestZipDirectoryIsBounded(t *testing.T) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := range 60_000 {
		if _, err := w.CreateHeader(&zip.FileHeader{Name: fmt.Sprintf("%06d%s", i, strings.Repeat("x", 100))}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	lines, _ := read(t, Spec{}, "a.zip", b.Bytes())
	wantLast(t, lines, "directory is larger than 2000 entries")
}

func workbook(t testing.TB) []byte {
	t.Helper()
	f := excelize.NewFile()
	for i, row := range [][]any{{"id", "name"}, {"1", "Ada"}, {"2", "Grace"}} {
		if err := f.SetSheetRow("Sheet1", fmt.Sprintf("A%d", i+1), &row); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if err := f.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestWorkbook(t *testing.T) {
	book := workbook(t)
	for name, b := range map[string][]byte{
		"a.xlsx":      book,
		"a.XLSM":      book,
		"a":           book,
		"a.xlsx.gz":   gzipped(t, book),
		"a.zip":       zipped(t, "b.xlsx", book),
		"a.xlsx.zst":  zstandard(t, book),
		"twice.zip":   zipped(t, "b.xlsx.gz", gzipped(t, book)),
		"noended.zip": zipped(t, "b", book),
	} {
		for _, typ := range []string{"", Auto, XLSX} {
			t.Run(name+"/"+typ, func(t *testing.T) {
				dir := t.TempDir()
				r, err := Open(context.Background(), Spec{Type: typ, TempDir: dir}, input(name, b))
				if err != nil {
					t.Fatal(err)
				}
				left, err := os.ReadDir(dir)
				if err != nil || len(left) > 0 {
					t.Errorf("temporary files have names: %v %v", left, err)
				}
				lines, d := formattest.Lines(t, r)
				wantPeople(t, lines)
				if d.Format != XLSX {
					t.Errorf("format %q", d.Format)
				}
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			})
		}
	}
	for _, tt := range []struct {
		s    Spec
		name string
		b    []byte
		want string
	}{
		{Spec{}, "a.csv", book, "is an Excel workbook"},
		{Spec{Type: CSV}, "a.csv", book, "is an Excel workbook"},
		{Spec{}, "a.zip", zipped(t, "b.csv", book), "is an Excel workbook"},
		{Spec{Type: XLSX}, "a.xlsx", []byte(people), "it looks like text"},
		{Spec{Type: XLSX}, "a.xlsx", []byte("{}"), "JSON"},
		{Spec{Type: XLSX}, "a.xlsx", []byte("<a/>"), "XML"},
		{Spec{}, "a.xlsx", zipped(t, "b.csv", []byte(people)), ""},
		{Spec{}, "a.xlsx", book[:len(book)/2], "zip: "},
		{Spec{TempDir: "/nonexistent"}, "a.xlsx.gz", gzipped(t, book), "nonexistent"},
	} {
		lines, _ := read(t, tt.s, tt.name, tt.b)
		if tt.want == "" {
			wantPeople(t, lines)
		} else {
			wantLast(t, lines, tt.want)
		}
	}
}

func TestSpooledBytesAreBounded(t *testing.T) {
	book := workbook(t)
	lines, _ := read(t, Spec{Limits: Limits{Unpacked: int64(len(book)) - 1}}, "a.xlsx.gz", gzipped(t, book))
	wantLast(t, lines, "the limit")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Open(ctx, Spec{}, input("a.xlsx.gz", gzipped(t, book))); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// TestUnreadable: an input that fails is an error, at whatever place.
func TestUnreadable(t *testing.T) {
	broken := errors.New("disk on fire")
	b := []byte(strings.Repeat("1,2,3\n", 50_000))
	for _, packed := range [][]byte{b, gzipped(t, b), zipped(t, "a.csv", b), zstandard(t, b)} {
		for at := int64(0); at < int64(len(packed)); at += int64(len(packed))/5 + 1 {
			in := input("a", packed)
			in.ReaderAt = breaking{in.ReaderAt, at, broken}
			r, err := Open(context.Background(), Spec{Type: CSV}, in)
			var c ingest.Chunk
			for err == nil {
				err = r.Read(context.Background(), &c)
			}
			if !errors.Is(err, broken) {
				t.Errorf("broken at %d of %d: %v", at, len(packed), err)
			}
		}
	}
}

type breaking struct {
	io.ReaderAt
	at  int64
	err error
}

func (b breaking) ReadAt(p []byte, off int64) (int, error) {
	if off >= b.at {
		return 0, b.err
	}
	n, err := b.ReaderAt.ReadAt(p[:min(int64(len(p)), b.at-off)], off)
	if n < len(p) {
		err = b.err
	}
	return n, err
}

func FuzzOpen(f *testing.F) {
	book := workbook(f)
	for _, b := range [][]byte{
		[]byte(people), gzipped(f, []byte(people)), zipped(f, "a.csv", []byte(people)), zstandard(f, []byte(people)), book,
		[]byte("[{\"a\":1}]"), []byte("<r><o/><o/></r>"), []byte("\xFF\xFEi\x00d\x00\n\x001\x00"), []byte("<?xml encoding='latin1'?><r/>"),
		archive(f, member{"a.csv", []byte(people)}, member{"b.csv", []byte(people)}),
		[]byte("sep=;\na;b\n"), []byte("id\n\xE4\n"),
		{0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1},
	} {
		for _, n := range []byte{0, 1, 2, 3} {
			f.Add(b, n)
		}
	}
	names := []string{"a", "a.csv", "a.json", "a.xml", "a.xlsx", "a.zip", "a.gz"}
	encodings := []string{"", "windows-1252", "shift_jis", "utf-16", "iso-2022-jp", "cp037", "gb18030"}
	f.Fuzz(func(t *testing.T, b []byte, n byte) {
		if len(b) > 1<<16 {
			return
		}
		s := Spec{
			Type:     Types()[int(n)%len(Types())],
			Encoding: encodings[int(n)/7%len(encodings)],
			Limits:   Limits{Unpacked: 1 << 20, Record: 1 << 16},
			TempDir:  t.TempDir(),
			Fixed:    fixedfmt.Options{Columns: []fixedfmt.Column{{Name: "a", Width: 2}, {Name: "b", Width: 3}}},
		}
		read(t, s, names[int(n)/3%len(names)], b)
	})
}
