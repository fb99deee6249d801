package jsonfmt

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"testing"

	"ingestd/ingest"
)

// orders is about size bytes of n records a line or in an array.
func orders(size int, array bool) []byte {
	var b bytes.Buffer
	if array {
		b.WriteString("[\n")
	}
	for i := 0; b.Len() < size; i++ {
		if i > 0 {
			if array {
				b.WriteByte(',')
			}
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, `{"order_id":"A-%07d","customer":"Müller & Söhne GmbH","email":"buyer%d@example.com","amount":%d.%02d,"currency":"EUR","paid":%t,"note":"Please say \"hello\" twice","items":[{"sku":"X%d","qty":%d}],"created":"2026-03-05T13:05:00Z","vat":null}`,
			i, i%1000, i%9999, i%100, i%2 == 0, i%77, i%9)
	}
	if array {
		b.WriteString("\n]\n")
	}
	return b.Bytes()
}

func benchmark(b *testing.B, data []byte) {
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	var c ingest.Chunk
	records := 0
	for b.Loop() {
		r, err := New(bytes.NewReader(data), Options{})
		if err != nil {
			b.Fatal(err)
		}
		records = 0
		for {
			err := r.Read(context.Background(), &c)
			if err == io.EOF {
				break
			}
			if err != nil || len(c.Faults) > 0 {
				b.Fatal(err, c.Faults)
			}
			records += len(c.Records)
		}
	}
	b.ReportMetric(float64(records)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(records), "records/op")
}

func BenchmarkArray(b *testing.B)  { benchmark(b, orders(16<<20, true)) }
func BenchmarkNDJSON(b *testing.B) { benchmark(b, orders(16<<20, false)) }

// BenchmarkDecoderIntoMap is what the standard library's way costs.
func BenchmarkDecoderIntoMap(b *testing.B) {
	data := orders(4<<20, false)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		for {
			var m map[string]any
			if err := d.Decode(&m); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
	}
}
