package pipeline_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ingestd/ingest"
	"ingestd/ingest/pipeline"
)

type sinkhole struct{}

func (sinkhole) Send(context.Context, *ingest.Request) (ingest.Answer, error) {
	return ingest.Answer{Status: 200}, nil
}

// BenchmarkOnce is the whole way of a file but the network: read, shape, judge,
// encode, claim, settle, with synchronous=FULL.
func BenchmarkOnce(b *testing.B) {
	const n = 200_000
	var sb strings.Builder
	sb.WriteString("id,a,b,c,d,e,f,g,h,i\n")
	for i := range n {
		k := i
		if i%10 == 9 {
			k = i / 2
		}
		fmt.Fprintf(&sb, "order-%09d,customer name %d,some street,12345,a city,DE,19.95,3,2026-11-22,ok\n", k, i%1000)
	}
	dir := b.TempDir()
	path := filepath.Join(dir, "a.csv")
	if err := os.WriteFile(path, []byte(sb.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	st, _ := os.Stat(path)
	b.SetBytes(st.Size())
	for b.Loop() {
		b.StopTimer()
		w := newBench(b, "id", pipeline.SinkOptions{Name: "s", Sink: sinkhole{}})
		w.log = slog.New(slog.NewTextHandler(io.Discard, nil))
		w.plan.Sinks[0].MaxRecords = 500
		b.StartTimer()
		err := w.engine(ingest.Found{Source: "dir", Name: "a.csv", Origin: path, Path: path, Size: st.Size(), ModTime: st.ModTime(), Keep: true}).Run(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		w.ledger.Close()
		b.StartTimer()
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkSmallFiles is a folder of small files: what each costs beside its
// records.
func BenchmarkSmallFiles(b *testing.B) {
	const n = 500
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		w := newBench(b, "id", pipeline.SinkOptions{Name: "s", Sink: sinkhole{}})
		w.log = slog.New(slog.NewTextHandler(io.Discard, nil))
		files := make([]ingest.Found, n)
		for i := range files {
			files[i] = w.file(fmt.Sprintf("%d.csv", i), rows(5, func(k int) string { return fmt.Sprintf("%d-%d", i, k) }))
		}
		b.StartTimer()
		if err := w.engine(files...).Run(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		w.ledger.Close()
		b.StartTimer()
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "files/s")
}
