package shape

import (
	"fmt"
	"testing"

	"ingestd/ingest"
)

// orders is a table of 512 records of ten columns, as a reader hands it over.
func orders() []ingest.Record {
	names := []string{"order_id", "customer_id", "email", "sku", "quantity", "price", "currency", "ordered_at", "status", "note"}
	recs := make([]ingest.Record, ingest.ChunkRecords)
	for i := range recs {
		for j, n := range names {
			recs[i].Fields = append(recs[i].Fields, ingest.Field{
				Name: n, Kind: ingest.String, Raw: fmt.Appendf(nil, "value-%d-%d", i*7919, j),
			})
		}
	}
	return recs
}

func benchmark(b *testing.B, o Options, recs []ingest.Record) {
	s := compile(b, o)
	bind := s.Bind(seed, "orders")
	var out Result
	b.ReportAllocs()
	for b.Loop() {
		for i := range recs {
			bind.Apply(&recs[i], &out)
		}
		bind.Reset()
	}
	if out.Fault != "" {
		b.Fatal(out.Fault)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(recs)), "ns/record")
}

func renamed(n int) []Field {
	var out []Field
	for i, f := range orders()[0].Fields[:n] {
		out = append(out, Field{Name: fmt.Sprintf("out%d", i), From: f.Name})
	}
	return out
}

func BenchmarkIdentity(b *testing.B)    { benchmark(b, Options{}, orders()) }
func BenchmarkOneFieldKey(b *testing.B) { benchmark(b, Options{Key: []string{"order_id"}}, orders()) }

func BenchmarkThreeFieldKey(b *testing.B) {
	benchmark(b, Options{Key: []string{"order_id", "sku", "status"}}, orders())
}
func BenchmarkWholeKey(b *testing.B)   { benchmark(b, Options{Key: []string{"*"}}, orders()) }
func BenchmarkTenRenamed(b *testing.B) { benchmark(b, Options{Fields: renamed(10)}, orders()) }

func BenchmarkTenRenamedWithKey(b *testing.B) {
	benchmark(b, Options{Key: []string{"order_id"}, Fields: renamed(10)}, orders())
}

func BenchmarkPath(b *testing.B) {
	recs := make([]ingest.Record, ingest.ChunkRecords)
	for i := range recs {
		recs[i] = *record("id", "s:1", "customer", `o:{"name":"Ada","tags":["a","b"],"address":{"street":"Am Wall 1","city":"Köln"}}`)
	}
	benchmark(b, Options{Fields: []Field{{Name: "city", From: "customer.address.city"}}}, recs)
}

// BenchmarkRaggedObjects alternates between records that leave fields out.
func BenchmarkRaggedObjects(b *testing.B) {
	recs := orders()
	for i := range recs {
		recs[i].Fields = recs[i].Fields[:10-i%5]
	}
	benchmark(b, Options{Key: []string{"order_id"}, Fields: renamed(5)}, recs)
}

func TestNothingIsAllocated(t *testing.T) {
	recs := orders()
	for name, o := range map[string]Options{
		"key":     {Key: []string{"order_id"}},
		"whole":   {Key: []string{"*"}},
		"renamed": {Key: []string{"order_id"}, Fields: renamed(10)},
	} {
		bind := compile(t, o).Bind(seed, "orders")
		var out Result
		chunk := func() {
			for i := range recs {
				bind.Apply(&recs[i], &out)
			}
			bind.Reset()
		}
		chunk()
		chunk()
		if n := testing.AllocsPerRun(10, chunk); n != 0 {
			t.Errorf("%s: %v allocations per chunk", name, n)
		}
	}
}
