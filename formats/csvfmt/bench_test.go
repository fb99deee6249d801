package csvfmt

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"testing"

	"ingestd/ingest"
)

// benchFile is rows of 10 cells and 117 bytes, the line end included.
func benchFile(rows int, quoted bool) []byte {
	var b bytes.Buffer
	b.WriteString("id,customer,name,email,city,country,quantity,price,date,status\n")
	for i := range rows {
		name := "Hildegarde K. Brunnenmeier"
		if quoted {
			name = `"Hildegard B. Brunner, Dr"`
		}
		fmt.Fprintf(&b, "%08d,C%06d,%s,hildegard.b@mail.example,Regensburg,DE,%03d,%08.2f,2026-11-%02d,delivered\n",
			i, i%100000, name, i%1000, float64(i%99999)/7, i%28+1)
	}
	return b.Bytes()
}

func TestBenchFileIsWhatItSays(t *testing.T) {
	for _, quoted := range []bool{false, true} {
		lines := bytes.SplitAfter(benchFile(2, quoted), []byte("\n"))
		if len(lines[1]) != 117 {
			t.Errorf("a row of %d bytes, want 117: %s", len(lines[1]), lines[1])
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for _, quoted := range []bool{false, true} {
		data := benchFile(50_000, quoted)
		kind := "plain"
		if quoted {
			kind = "quoted"
		}
		b.Run(kind+"/csvfmt", func(b *testing.B) {
			var c ingest.Chunk
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				r, err := New(bytes.NewReader(data), Options{})
				if err != nil {
					b.Fatal(err)
				}
				n := 0
				for {
					err := r.Read(context.Background(), &c)
					if err == io.EOF {
						break
					}
					if err != nil || len(c.Faults) > 0 {
						b.Fatal(err, c.Faults)
					}
					n += len(c.Records)
				}
				if n != 50_000 {
					b.Fatal(n)
				}
			}
		})
		b.Run(kind+"/encoding-csv", func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				r := csv.NewReader(bytes.NewReader(data))
				r.ReuseRecord = true
				for {
					if _, err := r.Read(); err == io.EOF {
						break
					} else if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// BenchmarkDetect is what the dialect of one file costs, whatever its size.
func BenchmarkDetect(b *testing.B) {
	head := benchFile(300, true)[:32<<10]
	b.SetBytes(int64(len(head)))
	b.ReportAllocs()
	for b.Loop() {
		if f := Detect(head, true, Options{}); f.Options.Delimiter != "," || f.Doubt != "" {
			b.Fatal(f)
		}
	}
}
