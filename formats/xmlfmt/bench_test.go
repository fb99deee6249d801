package xmlfmt

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"testing"

	"ingestd/ingest"
)

// orders is about size bytes of orders.
func orders(size int) []byte {
	var b bytes.Buffer
	b.WriteString("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Orders>\n")
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, `  <Order id="A-%07d">
    <Customer>Müller &amp; Söhne GmbH</Customer>
    <Email>buyer%d@example.com</Email>
    <Amount currency="EUR">%d.%02d</Amount>
    <Paid>%t</Paid>
    <Note>Please say "hello" twice</Note>
    <Line><Sku>X%d</Sku><Qty>%d</Qty></Line>
    <Line><Sku>Y%d</Sku><Qty>%d</Qty></Line>
    <Created>2026-03-05T13:05:00Z</Created>
    <Vat/>
  </Order>
`, i, i%1000, i%9999, i%100, i%2 == 0, i%77, i%9, i%78, i%8)
	}
	b.WriteString("</Orders>\n")
	return b.Bytes()
}

func BenchmarkRecords(b *testing.B) {
	data := orders(16 << 20)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	var c ingest.Chunk
	records := 0
	for b.Loop() {
		r, err := New(bytes.NewReader(data), Options{Record: "Orders/Order"})
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

// BenchmarkSkipped reads a file of which nothing is a record.
func BenchmarkSkipped(b *testing.B) {
	data := orders(16 << 20)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	var c ingest.Chunk
	for b.Loop() {
		r, err := New(bytes.NewReader(data), Options{Record: "Orders/None"})
		if err != nil {
			b.Fatal(err)
		}
		if err := r.Read(context.Background(), &c); err != io.EOF {
			b.Fatal(err)
		}
	}
}

// BenchmarkStandardTokens is what encoding/xml's tokens alone cost.
func BenchmarkStandardTokens(b *testing.B) {
	data := orders(2 << 20)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		d := xml.NewDecoder(bytes.NewReader(data))
		for {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
	}
}
