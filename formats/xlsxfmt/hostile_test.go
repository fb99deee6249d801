package xlsxfmt

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"ingestd/ingest"
)

func TestNoWorkbook(t *testing.T) {
	archive := func(names ...string) []byte {
		b := &book{}
		for _, n := range names {
			b.set(n, "x")
		}
		return b.zip(t)
	}
	for want, b := range map[string][]byte{
		"the file is empty":     {},
		`it begins with "a;b`:   []byte("a;b;c\n1;2;3\n"),
		"an HTML page":          []byte("\r\n<!DOCTYPE html><html></html>"),
		"zero bytes":            make([]byte, 5000),
		"cut short or damaged":  []byte("PK\x03\x04"),
		"a zip without":         archive("a.txt"),
		"binary workbook":       archive("xl/workbook.bin"),
		"OpenDocument":          archive("mimetype", "content.xml"),
		"a Word document":       archive("word/document.xml"),
		"damaged OLE file":      []byte(oleMagic + "x"),
		"not well-formed":       archive("xl/workbook.xml"),
		"begins with <html>":    newBook("").set("xl/workbook.xml", "<html></html>").zip(t),
		"not support":           newBook("").set("xl/workbook.xml", `<?xml version="1.0" encoding="koi8-r"?><workbook/>`).zip(t)[:0],
		"encoded as koi8-r":     newBook("").set("xl/workbook.xml", `<?xml version="1.0" encoding="koi8-r"?><workbook/>`).zip(t),
		"styles.xml is cut":     newBook("").set("xl/styles.xml", `<styleSheet><cellXfs>`).zip(t),
		"sharedStrings.xml is ": newBook("").set("xl/sharedStrings.xml", `<sst><si></sst>`).zip(t),
	} {
		if want == "not support" {
			continue
		}
		refused(t, b, Options{}, want)
	}
}

// However a workbook is cut, or whichever byte of it is changed, there is an
// error or nothing is missing.
func TestDamagedAnywhere(t *testing.T) {
	var rows []string
	for i := range 40 {
		rows = append(rows, fmt.Sprintf("%d|text %d", i, i*i))
	}
	whole := newBook(grid(slices.Concat([]string{"a|b"}, rows)...)).formats("General", "id:14").zip(t)
	want := mustRead(t, whole, Options{})
	for cut := 0; cut < len(whole); cut += 13 {
		if got := read(t, whole[:cut], Options{}); got.err == nil {
			t.Fatalf("cut at %d of %d: no error", cut, len(whole))
		}
	}
	sheet := bytes.Index(whole, []byte("xl/worksheets/sheet1.xml"))
	for at := sheet; at < len(whole); at += 3 {
		b := bytes.Clone(whole)
		b[at] ^= 0x10
		got := read(t, b, Options{})
		if got.err == nil && !slices.Equal(got.rows, want.rows) {
			t.Fatalf("byte %d changed: %d rows and no error", at, len(got.rows))
		}
	}
}

// A member is an entry of a zip made byte by byte, which may lie.
type member struct {
	name       string
	packed     []byte
	size       uint32 // unpacked, as claimed
	crc        uint32
	method     uint16
	flags      uint16
	offset     int // of its local header; 0 = where it stands
	packedSize uint32
}

func stored(name string, body []byte) member {
	return member{name: name, packed: body, size: uint32(len(body)), crc: crc32.ChecksumIEEE(body), packedSize: uint32(len(body))}
}

func rawZip(claimed int, members ...member) []byte {
	var b, dir bytes.Buffer
	le := binary.LittleEndian
	for _, m := range members {
		if m.offset == 0 {
			m.offset = b.Len()
		}
		h := le.AppendUint32(nil, 0x04034b50)
		h = le.AppendUint16(h, 20)
		h = le.AppendUint16(h, m.flags)
		h = le.AppendUint16(h, m.method)
		h = append(h, 0, 0, 0, 0)
		h = le.AppendUint32(h, m.crc)
		h = le.AppendUint32(h, m.packedSize)
		h = le.AppendUint32(h, m.size)
		h = le.AppendUint16(h, uint16(len(m.name)))
		h = append(h, 0, 0)
		b.Write(h)
		b.WriteString(m.name)
		b.Write(m.packed)
		d := le.AppendUint32(nil, 0x02014b50)
		d = append(d, 20, 0, 20, 0)
		d = le.AppendUint16(d, m.flags)
		d = le.AppendUint16(d, m.method)
		d = append(d, 0, 0, 0, 0)
		d = le.AppendUint32(d, m.crc)
		d = le.AppendUint32(d, m.packedSize)
		d = le.AppendUint32(d, m.size)
		d = le.AppendUint16(d, uint16(len(m.name)))
		d = append(d, make([]byte, 12)...)
		d = le.AppendUint32(d, uint32(m.offset))
		dir.Write(d)
		dir.WriteString(m.name)
	}
	end := le.AppendUint32(nil, 0x06054b50)
	end = append(end, 0, 0, 0, 0)
	end = le.AppendUint16(end, uint16(claimed))
	end = le.AppendUint16(end, uint16(claimed))
	end = le.AppendUint32(end, uint32(dir.Len()))
	end = le.AppendUint32(end, uint32(b.Len()))
	end = append(end, 0, 0)
	return slices.Concat(b.Bytes(), dir.Bytes(), end)
}

// stored is the book as a zip without compression.
func (b *book) stored() []byte {
	ms := members(b)
	return rawZip(len(ms), ms...)
}

func members(b *book) []member {
	var ms []member
	for _, p := range b.parts {
		ms = append(ms, stored(p.name, []byte(p.body)))
	}
	return ms
}

func TestZipHostile(t *testing.T) {
	good := members(newBook(grid("a", "1")))
	check(t, mustRead(t, rawZip(len(good), good...), Options{}), `{"a":1}`)
	sheet := slices.IndexFunc(good, func(m member) bool { return strings.Contains(m.name, "sheet1") })
	changed := func(f func(m *member)) []byte {
		ms := slices.Clone(good)
		f(&ms[sheet])
		return rawZip(len(ms), ms...)
	}
	refused(t, changed(func(m *member) { m.size-- }), Options{}, "damaged")
	refused(t, changed(func(m *member) { m.size++ }), Options{}, "cut short")
	refused(t, changed(func(m *member) { m.crc++ }), Options{}, "checksum")
	refused(t, changed(func(m *member) { m.packedSize = 1 << 30 }), Options{}, "not where its directory says")
	refused(t, changed(func(m *member) { m.offset = 1 << 30 }), Options{}, "not where its directory says")
	refused(t, changed(func(m *member) { m.offset = 1 }), Options{}, "not where its directory says")
	refused(t, changed(func(m *member) { m.method = 99 }), Options{}, "packed by a method")
	refused(t, changed(func(m *member) { m.flags = 1 }), Options{}, "is encrypted")
	refused(t, changed(func(m *member) { m.name = good[2].name }), Options{}, "two files called")

	// Members that share their bytes.
	overlap := slices.Clone(good)
	for range 50 {
		m := good[sheet]
		m.name, m.packed = "x", nil
		overlap = append(overlap, m)
	}
	at := bytes.Index(rawZip(len(good), good...), []byte(good[sheet].name+"<?xml")) - 30
	for i := len(good); i < len(overlap); i++ {
		overlap[i].offset = at
	}
	refused(t, rawZip(len(overlap), overlap...), Options{}, "overlap")

	// Names that climb out are never used.
	climb := append(slices.Clone(good), stored("../../../tmp/ingestd-evil", []byte("x")), stored("/etc/x", nil), stored(`..\x`, nil))
	check(t, mustRead(t, rawZip(len(climb), climb...), Options{}), `{"a":1}`)
	if _, err := os.Stat("/tmp/ingestd-evil"); err == nil {
		t.Error("a file was written")
	}

	// How many members may be.
	many := slices.Clone(good)
	for i := 0; len(many) < 2000; i++ {
		many = append(many, stored(fmt.Sprintf("m%d", i), nil))
	}
	check(t, mustRead(t, rawZip(len(many), many...), Options{}), `{"a":1}`)
	many = append(many, stored("one more", nil))
	refused(t, rawZip(len(many), many...), Options{}, "2001 files, more than 2000")
	// 65,536 more than the directory's end says, which archive/zip lets pass.
	for i := 0; len(many) < 65536+len(good); i++ {
		many = append(many, stored(fmt.Sprintf("n%d", i), nil))
	}
	refused(t, rawZip(len(good), many...), Options{}, "more than 2000 files")

	// How much they may unpack to, by their word.
	l := Limits{Unzipped: 0}
	for _, m := range good {
		l.Unzipped += int64(m.size)
	}
	check(t, mustRead(t, rawZip(len(good), good...), Options{Limits: l}), `{"a":1}`)
	l.Unzipped--
	refused(t, rawZip(len(good), good...), Options{Limits: l}, "unpacks to more than")
	huge := append(slices.Clone(good), stored("a", nil), stored("b", nil), stored("c", nil))
	for i := range 3 {
		huge[len(good)+i].size = 1 << 30
	}
	refused(t, rawZip(len(huge), huge...), Options{Limits: Limits{Ratio: 1 << 40}}, "unpacks to more than 2147483648 bytes")
	ratio := append(slices.Clone(good), stored("a", make([]byte, 100_000)))
	ratio[len(good)].size = 501 * 100_000
	refused(t, rawZip(len(ratio), ratio...), Options{}, "more than 500 times its size")
}

// A sheet of a few KB that unpacks to far more than it says, or to more than
// memory ought to hold.
func TestBombs(t *testing.T) {
	good := members(newBook(""))
	sheet := slices.IndexFunc(good, func(m member) bool { return strings.Contains(m.name, "sheet1") })
	pack := func(head, unit string, times int, tail string) member {
		var b bytes.Buffer
		w, _ := flate.NewWriter(&b, 9)
		sum := crc32.NewIEEE()
		size := 0
		for _, s := range []struct {
			s string
			n int
		}{{head, 1}, {unit, times}, {tail, 1}} {
			for range s.n {
				w.Write([]byte(s.s))
				sum.Write([]byte(s.s))
				size += len(s.s)
			}
		}
		w.Close()
		return member{name: good[sheet].name, packed: b.Bytes(), method: zip.Deflate, size: uint32(size), crc: sum.Sum32(), packedSize: uint32(b.Len())}
	}
	attempt := func(m member, want string) {
		t.Helper()
		ms := slices.Clone(good)
		ms[sheet] = m
		b := rawZip(len(ms), ms...)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		refused(t, b, Options{}, want)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 16<<20 {
			t.Errorf("%s: %d bytes allocated", want, n)
		}
	}
	kib := strings.Repeat("x", 1024)
	lying := pack("<worksheet><sheetData>", strings.Repeat(" ", 1024), 3<<10, "</sheetData></worksheet>")
	lying.size = 1000
	attempt(lying, "damaged: it is not what the workbook's directory says")
	attempt(pack(`<worksheet><sheetData><row r="1" x="`, kib, 1100, `"/></sheetData></worksheet>`), "a tag of more than")
	attempt(pack(`<worksheet><sheetData><row r="1"><c t="str"><v><![CDATA[`, kib, 1100, `]]></v></c></row></sheetData></worksheet>`), "a tag of more than")
	attempt(pack("<worksheet>", "<a>", 1<<16, ""), "elements deep")
	attempt(pack("<worksheet", ` a="1"`, 50_000, "/>"), "attributes")
}

func TestTextLimits(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	for _, tt := range []struct {
		name   string
		book   *book
		limits Limits
		want   string
	}{
		{"field", newBook(grid("a", long(100))), Limits{Field: 100}, `{"a":"` + long(100) + `"}`},
		{"field, longer", newBook(grid("a", long(101))), Limits{Field: 100}, "2:1 cell A2 holds a text of more than 100 bytes"},
		{"shared", newBook(`<row r="1"><c><v>1</v></c></row><row r="2"><c t="s"><v>0</v></c></row>`).texts(long(100)), Limits{Field: 100}, `{"1":"` + long(100) + `"}`},
		{"shared, longer", newBook(`<row r="1"><c><v>1</v></c></row><row r="2"><c t="s"><v>0</v></c></row>`).texts(long(101)), Limits{Field: 100}, "2:1 cell A2 holds a text of more than 100 bytes"},
		{"record", newBook(grid("a|b", long(50)+"|"+long(50))), Limits{Record: 100}, `{"a":"` + long(50) + `","b":"` + long(50) + `"}`},
		{"record, longer", newBook(grid("a|b", long(50)+"|"+long(51))), Limits{Record: 100}, "2:2 the row holds more than 100 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			check(t, mustRead(t, tt.book.zip(t), Options{Limits: tt.limits}), tt.want)
		})
	}
	// A text over the default of 8 MiB, and the fault's bytes are bounded.
	res := mustRead(t, newBook(grid("a", long(8<<20+1), "1")).zip(t), Options{})
	check(t, res, "2:1 cell A2 holds a text of more than 8388608 bytes", `{"a":1}`)
	if len(res.raws[0]) > ingest.MaxRawFault {
		t.Errorf("raw of %d bytes", len(res.raws[0]))
	}

	b := newBook(grid("a")).texts(long(blockSize), long(blockSize)).zip(t)
	mustRead(t, b, Options{Limits: Limits{Strings: 2*blockSize + 16}})
	refused(t, b, Options{Limits: Limits{Strings: 2*blockSize + 15}}, "shared strings take more than")

	b = newBook(grid("a", "1", "2", "3")).zip(t)
	mustRead(t, b, Options{Limits: Limits{Output: 9}})
	refused(t, b, Options{Limits: Limits{Output: 8}}, "line 4: the sheet's rows take more than 8 bytes")
}

// One shared string, many times: output is bounded, not only input.
func TestStringBomb(t *testing.T) {
	var rows strings.Builder
	for range 300 {
		rows.WriteString("<row>")
		for range 10 {
			rows.WriteString(`<c t="s"><v>0</v></c>`)
		}
		rows.WriteString("</row>")
	}
	b := newBook(rows.String()).texts(strings.Repeat("x", 10_000)).zip(t)
	refused(t, b, Options{NoHeader: true, Limits: Limits{Output: 5_000_000}}, "the sheet's rows take more than 5000000 bytes")
}
