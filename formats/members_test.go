package formats

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ingestd/formats/jsonfmt"
	"ingestd/ingest"
)

type member struct {
	name string
	b    []byte
}

// archive is a zip of several files.
func archive(t testing.TB, files ...member) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: zip.Deflate}
		for _, r := range f.name {
			h.NonUTF8 = h.NonUTF8 || r == '\uFFFD' // bytes that are no UTF-8
		}
		m, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Write(f.b); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestMembers(t *testing.T) {
	book := workbook(t)
	both := slices.Concat(peopleLines, peopleLines)
	text := func(name, s string) member { return member{name, []byte(s)} }
	people1, people2 := text("a.csv", people), text("b.csv", people)
	for name, x := range map[string]struct {
		spec  Spec
		files []member
		want  []string // lines, or parts of them where they begin with ~
	}{
		"two":          {files: []member{people1, people2}, want: both},
		"ordinals":     {files: []member{people1, text("b.csv", "id,name\n3\n4,x,y\n5,Eve\n"), people1}, want: slices.Concat(peopleLines, []string{`~"line":2,"column":2,"reason":"in \"b.csv\": 1 cell where`, `~"line":3,"column":5,"reason":"in \"b.csv\": 3 cells`, `{"record":{"id":"5","name":"Eve"},"line":4}`}, peopleLines)},
		"what is left": {files: []member{text("x/", ""), text("__MACOSX/._a.csv", "junk"), text("x/.DS_Store", "junk"), text("x/._a.csv", "junk"), text("Thumbs.db", "junk"), text("desktop.ini", "junk"), text("x/a.csv", people)}, want: peopleLines},
		"empty":        {files: []member{text("0.csv", ""), people1, text("1.csv", ""), text("2.csv", "id,name\n"), people2}, want: both},
		"all empty":    {files: []member{text("0.csv", ""), text("1.csv", "")}},
		"packed":       {files: []member{{"a.csv.gz", gzipped(t, []byte(people))}, {"b.csv.zst", zstandard(t, []byte(people))}, {"c.zip", zipped(t, "d.csv", []byte(people))}}, want: slices.Concat(both, peopleLines)},
		"workbooks":    {spec: Spec{Type: XLSX}, files: []member{{"a.xlsx", book}, {"b.xlsx", book}}, want: both},
		"json":         {spec: Spec{JSON: jsonfmt.Options{Records: "r"}}, files: []member{text("a.json", `{"r":[{"a":1}]}`), text("b.json", `{"r":[{"a":2.50},{"b":3}]}`)}, want: []string{`{"record":{"a":1},"line":1}`, `{"record":{"a":2.50},"line":1}`, `{"record":{"b":3},"line":2}`}},
		"names":        {files: []member{people1, text(`..\..\etc\passw`+"\x81"+`.csv`, "id,name\n1\n"), text("../../b.csv", "id,name\n2\n")}, want: slices.Concat(peopleLines, []string{`~in \"../../etc/passwü.csv\": 1 cell`, `~in \"../../b.csv\": 1 cell`})},
		"trailer":      {spec: Spec{Trailer: regexp.MustCompile(`^T(?P<count>\d+)$`)}, files: []member{text("a.csv", people+"T2\n"), text("b.csv", people+"T2\n")}, want: both},
		"count":        {spec: Spec{Trailer: regexp.MustCompile(`^T(?P<count>\d+)$`)}, files: []member{text("a.csv", people+"T2\n"), text("b.csv", people+"T3\n")}, want: slices.Concat(both, []string{`~in \"b.csv\": its trailer \"T3\" says 3 records, but it holds 2`})},
		"cut":          {files: []member{text("a.json", `[{"a":1}]`), text("b.json", `[{"a":2},{"a":`)}, want: []string{`{"record":{"a":1},"line":1}`, `{"record":{"a":2},"line":1}`, `~"error":"json: line 1, column 10: in \"b.json\": `}},
		"columns":      {files: []member{people1, text("b.csv", "name,id\nAda,1\n")}, want: []string{`~"a.csv" and "b.csv" in the archive differ in columns ("id", "name"; "name", "id")`}},
		"delimiters":   {files: []member{people1, text("b.csv", "id;name\n1;Ada\n2;Grace\n")}, want: []string{`~differ in delimiter`}},
		"formats":      {files: []member{people1, text("b.json", `[{"id":1}]`)}, want: []string{`~differ in format (csv, json)`}},
		"no data":      {files: []member{people1, text("readme.pdf", "%PDF-1.4 ")}, want: []string{`~in "readme.pdf": the file is a PDF document`}},
		"too deep":     {files: []member{people1, {"b.zip", zipped(t, "c.csv.gz", gzipped(t, []byte(people)))}}, want: []string{`~in "b.zip": more than 2 packs`}},
		"several":      {files: []member{people1, {"b.zip", archive(t, people1, people2)}}, want: []string{`~in "b.zip": an archive of 2 files is one of several`}},
	} {
		t.Run(name, func(t *testing.T) {
			x.spec.TempDir = t.TempDir()
			lines, _ := read(t, x.spec, "all.zip", archive(t, x.files...))
			if len(lines) != len(x.want) {
				t.Fatalf("got %q, want %q", lines, x.want)
			}
			for i, want := range x.want {
				if part, ok := strings.CutPrefix(want, "~"); lines[i] != want && (!ok || !strings.Contains(lines[i], part)) {
					t.Errorf("%d: got %s, want %s", i, lines[i], want)
				}
			}
		})
	}
}

// TestMembersAreBoundedTogether: no file of an archive is a bomb, all are.
func TestMembersAreBoundedTogether(t *testing.T) {
	rows := []byte("a,b\n" + strings.Repeat("1,2\n", 20_000))
	var files []member
	for i := range 30 {
		files = append(files, member{fmt.Sprintf("%d.csv", i), rows})
	}
	b := archive(t, files...)
	all := int64(30 * len(rows))
	for _, x := range []struct {
		limits Limits
		want   string
	}{
		{Limits{Unpacked: all}, ""},
		{Limits{Unpacked: all - 1}, "the limit"},
		{Limits{Ratio: 20, RatioFrom: all / 2}, "times its size"},
		{Limits{Members: 29}, "over the limit of 29"},
	} {
		r, err := Open(t.Context(), Spec{Limits: x.limits}, input("a.zip", b))
		var c ingest.Chunk
		for err == nil {
			err = r.Read(t.Context(), &c)
		}
		if x.want == "" && err != io.EOF || x.want != "" && !strings.Contains(err.Error(), x.want) {
			t.Errorf("%+v: %v, want %q", x.limits, err, x.want)
		}
		if r != nil {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestLyingMembers: a directory that says other sizes than the files have.
func TestLyingMembers(t *testing.T) {
	b := archive(t, member{"a.csv", []byte(people)}, member{"b.csv", []byte(people)})
	second := bytes.LastIndex(b, []byte("PK\x01\x02"))
	for _, x := range []struct{ at, by int }{{16, 1}, {20, -3}, {24, -3}, {24, 3}, {24, 1 << 30}, {42, 7}} { // checksum, packed size, size, place
		bad := bytes.Clone(b)
		field := bad[second+x.at:]
		binary.LittleEndian.PutUint32(field, binary.LittleEndian.Uint32(field)+uint32(x.by))
		lines, _ := read(t, Spec{}, "a.zip", bad)
		if last := strings.ReplaceAll(lines[len(lines)-1], `\"`, `"`); !strings.Contains(last, `zip: in "b.csv": `) {
			t.Errorf("%+v: got %q", x, lines)
		}
	}
	locked := bytes.Clone(b)
	locked[second+8] |= 1
	lines, _ := read(t, Spec{}, "a.zip", locked)
	if len(lines) != 1 || !strings.Contains(lines[0], "is encrypted") {
		t.Errorf("encrypted: %q", lines)
	}
}

func TestCheckTrailerOfMembers(t *testing.T) {
	s := Spec{Trailer: regexp.MustCompile(`^END$`)}
	whole, cut := []byte(people+"END\n"), []byte(people)
	for name, x := range map[string]struct {
		files []member
		want  string
	}{
		"whole": {[]member{{"a.csv", whole}, {"b.csv.gz", gzipped(t, whole)}}, ""},
		"cut":   {[]member{{"a.csv", whole}, {"b.csv", cut}}, `in "b.csv": its last line`},
		"empty": {[]member{{"a.csv", whole}, {"b.csv", nil}}, `in "b.csv": the file is empty`},
	} {
		b := archive(t, x.files...)
		err := CheckTrailer(context.Background(), s, input("a.zip", b))
		var re *ingest.ReadError
		if (err == nil) != (x.want == "") || err != nil && (!errors.As(err, &re) || !strings.Contains(err.Error(), x.want)) {
			t.Errorf("%s: %v, want %q", name, err, x.want)
		}
	}
}
