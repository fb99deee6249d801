package xlsxfmt

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/xuri/excelize/v2"

	"ingestd/ingest"
)

// bigBook is a workbook of n rows by excelize's stream writer: ten columns of
// texts, numbers and dates, every text in its cell.
func bigBook(t testing.TB, n int) []byte {
	t.Helper()
	f := excelize.NewFile()
	defer f.Close()
	day, err := f.NewStyle(&excelize.Style{NumFmt: 14})
	if err != nil {
		t.Fatal(err)
	}
	w, err := f.NewStreamWriter("Sheet1")
	if err != nil {
		t.Fatal(err)
	}
	head := make([]any, 10)
	for i := range head {
		head[i] = fmt.Sprintf("field %d", i+1)
	}
	err = w.SetRow("A1", head)
	for i := 2; err == nil && i <= n+1; i++ {
		err = w.SetRow(fmt.Sprintf("A%d", i), []any{
			i, fmt.Sprintf("ORD-%07d", i), "Müller & Söhne", float64(i) * 1.37, i % 7,
			excelize.Cell{StyleID: day, Value: 45000 + i%900},
			"a text of some length, as remarks have it", i%2 == 0, nil, 0.19,
		})
	}
	if err == nil {
		err = w.Flush()
	}
	var buf bytes.Buffer
	if err == nil {
		err = f.Write(&buf)
	}
	if err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// sharedBook is a workbook of n rows as Excel writes it: texts are shared.
func sharedBook(t testing.TB, n int) []byte {
	var rows, texts bytes.Buffer
	rows.WriteString(`<row r="1">`)
	texts.WriteString(`<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">`)
	for c := 1; c <= 10; c++ {
		fmt.Fprintf(&rows, `<c r="%s" t="s"><v>%d</v></c>`, cellName(c, 1), c-1)
		fmt.Fprintf(&texts, `<si><t>field %d</t></si>`, c)
	}
	rows.WriteString(`</row>`)
	texts.WriteString(`<si><t>Müller &amp; Söhne</t></si><si><t>a text of some length, as remarks have it</t></si>`)
	for i := 2; i <= n+1; i++ {
		fmt.Fprintf(&rows, `<row r="%d" spans="1:10"><c r="A%d"><v>%d</v></c><c r="B%d" t="s"><v>%d</v></c><c r="C%d" t="s"><v>10</v></c><c r="D%d"><v>%v</v></c><c r="E%d"><v>%d</v></c><c r="F%d" s="1"><v>%d</v></c><c r="G%d" t="s"><v>11</v></c><c r="H%d" t="b"><v>%d</v></c><c r="J%d"><v>0.19</v></c></row>`,
			i, i, i, i, 10+i, i, i, float64(i)*1.37, i, i%7, i, 45000+i%900, i, i, i%2, i)
		fmt.Fprintf(&texts, `<si><t>ORD-%07d</t></si>`, i)
	}
	texts.WriteString(`</sst>`)
	return newBook(rows.String()).set("xl/sharedStrings.xml", texts.String()).formats("General", "yyyy-mm-dd").zip(t)
}

func drainReader(t testing.TB, rd ingest.Reader) (rows int) {
	var c ingest.Chunk
	for {
		err := rd.Read(context.Background(), &c)
		rows += len(c.Records)
		if len(c.Faults) > 0 {
			t.Fatal(c.Faults[0].Reason)
		}
		if err == io.EOF {
			return rows
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkRows reads the same workbook here and by excelize's Rows, in turn.
func BenchmarkRows(b *testing.B) {
	const rows = 50_000
	for _, kind := range []struct {
		name string
		data []byte
	}{{"inline", bigBook(b, rows)}, {"shared", sharedBook(b, rows)}} {
		b.Run(kind.name, func(b *testing.B) {
			var ours, theirs time.Duration
			for b.Loop() {
				start := time.Now()
				rd, err := New(input(kind.data), Options{})
				if err != nil {
					b.Fatal(err)
				}
				if n := drainReader(b, rd); n != rows {
					b.Fatal(n)
				}
				rd.Close()
				ours += time.Since(start)

				start = time.Now()
				f, err := excelize.OpenReader(bytes.NewReader(kind.data))
				if err != nil {
					b.Fatal(err)
				}
				rr, err := f.Rows(f.GetSheetName(0))
				if err != nil {
					b.Fatal(err)
				}
				n := 0
				for rr.Next() {
					if _, err := rr.Columns(); err != nil {
						b.Fatal(err)
					}
					n++
				}
				if n != rows+1 {
					b.Fatal(n)
				}
				f.Close()
				theirs += time.Since(start)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(rows*b.N)/ours.Seconds(), "rows/s")
			b.ReportMetric(float64(rows*b.N)/theirs.Seconds(), "excelize-rows/s")
			b.ReportMetric(theirs.Seconds()/ours.Seconds(), "times")
		})
	}
}

// BenchmarkOurs is for profiles.
func BenchmarkOurs(b *testing.B) {
	const rows = 200_000
	data := sharedBook(b, rows)
	runtime.GC()
	b.ReportAllocs()
	for b.Loop() {
		rd, err := New(input(data), Options{})
		if err != nil {
			b.Fatal(err)
		}
		drainReader(b, rd)
		rd.Close()
	}
	b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "rows/s")
}
