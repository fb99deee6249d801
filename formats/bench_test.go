package formats

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"ingestd/ingest"
)

// BenchmarkOpen is the whole way from an arrival's bytes to CSV records.
func BenchmarkOpen(b *testing.B) {
	var text strings.Builder
	text.WriteString("id,customer,name,email,city,country,quantity,price,date,status\n")
	for i := range 50_000 {
		fmt.Fprintf(&text, "%08d,C%06d,Hildegarde K. Brunnenmeier,hildegard.b@mail.example,Regensburg,DE,%03d,%08.2f,2026-11-%02d,delivered\n",
			i, i%100000, i%1000, float64(i%99999)/7, i%28+1)
	}
	plain := []byte(text.String())
	latin := []byte(strings.Replace(text.String(), "Regensburg", "Stra\xDFburg", 1))
	for _, bb := range []struct {
		name string
		spec Spec
		data []byte
	}{
		{"csv", Spec{}, plain},
		{"csv.gz", Spec{}, gzipped(b, plain)},
		{"csv.zst", Spec{}, zstandard(b, plain)},
		{"windows-1252", Spec{Encoding: "windows-1252"}, latin},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.SetBytes(int64(len(plain)))
			b.ReportAllocs()
			var c ingest.Chunk
			for b.Loop() {
				r, err := Open(context.Background(), bb.spec, input("a.csv", bb.data))
				if err != nil {
					b.Fatal(err)
				}
				n := 0
				for {
					err := r.Read(context.Background(), &c)
					if err == io.EOF {
						break
					}
					if err != nil {
						b.Fatal(err)
					}
					n += len(c.Records)
				}
				if n != 50_000 {
					b.Fatalf("%d records", n)
				}
				if err := r.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
