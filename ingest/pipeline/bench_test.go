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
	"time"

	"ingestd/ingest"
	"ingestd/ingest/pipeline"
)

type sinkhole struct{}

func (sinkhole) Send(context.Context, *ingest.Request) (ingest.Answer, error) {
	return ingest.Answer{Status: 200}, nil
}

// BenchmarkOnce is the whole way of a file but the network: read, shape, judge,
// encode, claim, settle, with synchronous=FULL.
func BenchmarkOnce(b *testing.B) { benchOnce(b, sinkhole{}, 0) }

// slow takes as long as a target a few streets away.
type slow struct{ sinkhole }

func (s slow) Send(ctx context.Context, r *ingest.Request) (ingest.Answer, error) {
	time.Sleep(2 * time.Millisecond)
	return s.sinkhole.Send(ctx, r)
}

// BenchmarkOrder is the same in four lanes and without order: to a target
// that answers at once, and to one that takes 2 ms.
func BenchmarkOrder(b *testing.B) {
	for _, lanes := range []int{0, 4} {
		b.Run(fmt.Sprintf("lanes=%d", lanes), func(b *testing.B) { benchOnce(b, sinkhole{}, lanes) })
		b.Run(fmt.Sprintf("lanes=%d/2ms", lanes), func(b *testing.B) { benchOnce(b, slow{}, lanes) })
	}
}

func benchOnce(b *testing.B, sink ingest.Sink, lanes int) {
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
		w := newBench(b, "id", pipeline.SinkOptions{Name: "s", Sink: sink})
		w.log = slog.New(slog.NewTextHandler(io.Discard, nil))
		w.plan.Sinks[0].MaxRecords = 500
		w.plan.Sinks[0].OrderBy, w.plan.Sinks[0].Lanes = []string{"a"}, lanes
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
