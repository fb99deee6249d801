package dir_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ingestd/ingest/source/dir"
)

// onDisk makes a world whose folder is on the disk of the temporary
// directory, where fsync counts.
func onDisk(b *testing.B, change func(*dir.Options)) *world {
	return newWorld(b, func(o *dir.Options) {
		o.Path = filepath.Join(b.TempDir(), "drop")
		if err := os.Mkdir(o.Path, 0o755); err != nil {
			b.Fatal(err)
		}
		if change != nil {
			change(o)
		}
	})
}

// BenchmarkLatency is from a file's rename into the folder to its hand-over.
func BenchmarkLatency(b *testing.B) {
	w := onDisk(b, hourly)
	w.folder = w.o.Path
	w.run()
	for i := 0; b.Loop(); i++ {
		w.drop(fmt.Sprintf("%d.csv", i), "x")
		w.eng.next()
	}
}

// BenchmarkClaim is files that were there, taken up per second.
func BenchmarkClaim(b *testing.B) {
	const n = 5000
	w := onDisk(b, nil)
	w.folder = w.o.Path
	var took time.Duration
	for range b.N {
		for i := range n {
			w.write(fmt.Sprintf("%05d.csv", i), "x")
		}
		start := time.Now()
		if err := w.src.Sweep(context.Background(), w.eng); err != nil {
			b.Fatal(err)
		}
		took += time.Since(start)
		os.RemoveAll(filepath.Join(w.folder, ".ingestd"))
		w.eng = newEngine(b)
	}
	b.ReportMetric(float64(n*b.N)/took.Seconds(), "files/s")
}

// BenchmarkRescan is a listing of 100,000 files that stay.
func BenchmarkRescan(b *testing.B) {
	w := newWorld(b, func(o *dir.Options) { o.Rules.Settle, o.Rules.DoneFile = time.Hour, "{name}.done" })
	for i := range 100_000 {
		w.write(fmt.Sprintf("orders-%06d.csv", i), "")
	}
	b.ReportAllocs()
	for b.Loop() {
		w.sweep()
	}
}
