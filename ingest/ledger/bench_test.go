package ledger_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"ingestd/ingest"
	"ingestd/ingest/ledger"
)

func BenchmarkJudge(b *testing.B) {
	const chunk = 512
	for _, known := range []bool{false, true} {
		b.Run(map[bool]string{false: "new", true: "duplicate"}[known], func(b *testing.B) {
			l := open(b, b.TempDir())
			id := accept(b, l, "f")
			const n uint64 = 1 << 20
			if known {
				fill(b, l, id, int(n))
			}
			recs := make([]ingest.Judged, chunk)
			back := make([]ingest.Key, chunk)
			at := uint64(0)
			for b.Loop() {
				for i := range recs {
					recs[i] = ingest.Judged{Key: numbered(at % n), Verdict: ingest.New}
					at++
				}
				if err := l.Judge(context.Background(), id, "p", recs); err != nil {
					b.Fatal(err)
				}
				if at%n != 0 || known {
					continue
				}
				b.StopTimer() // a million: from the beginning
				for from := uint64(0); from < n; from += chunk {
					for i := range back {
						back[i] = numbered(from + uint64(i))
					}
					l.Unjudge(id, "p", back)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(b.N)*chunk/b.Elapsed().Seconds(), "keys/s")
		})
	}
}

// fill claims and settles n keys in batches of 500, as an engine with ten
// requests in flight would.
func fill(b testing.TB, l *ledger.Ledger, id int64, n int) {
	b.Helper()
	const batch = 500
	room := make(chan struct{}, 10)
	var wg sync.WaitGroup
	failed := make(chan error, 1)
	fail := func(err error) {
		select {
		case failed <- err:
		default:
		}
	}
	var v ingest.VerdictList
	v.AddRun(ingest.New, batch)
	verdicts := v.Take()
	recs := make([]ingest.Judged, batch)
	for at := 0; at < n; at += batch {
		keys := make([]ingest.Key, batch)
		for i := range keys {
			keys[i] = numbered(uint64(at + i))
			recs[i] = ingest.Judged{Key: keys[i], Verdict: ingest.New}
		}
		if err := l.Judge(context.Background(), id, "p", recs); err != nil {
			b.Fatal(err)
		}
		first := int64(at) + 1
		c := &ingest.Claim{
			Arrival: id, Scope: "p", First: first, Last: first + batch - 1, Verdicts: verdicts, Keys: keys, Sinks: []string{"a"},
			Batches: []*ingest.Batch{{Sink: "a", First: first, Last: first + batch - 1, Records: batch}},
		}
		room <- struct{}{}
		wg.Add(1)
		l.Claim(c, func(err error) {
			if err != nil {
				fail(err)
			}
			l.Settle(&ingest.Settlement{Batch: c.Batches[0], State: ingest.BatchDelivered, Attempts: 1, Status: 200}, func(err error) {
				if err != nil {
					fail(err)
				}
				<-room
				wg.Done()
			})
		})
	}
	wg.Wait()
	select {
	case err := <-failed:
		b.Fatal(err)
	default:
	}
}

// BenchmarkClaimAndSettle claims batches of 500 new keys and settles them,
// synchronous=FULL.
func BenchmarkClaimAndSettle(b *testing.B) {
	const n = 1_000_000
	for b.Loop() {
		b.StopTimer()
		dir := b.TempDir()
		l := open(b, dir)
		id := accept(b, l, "f")
		b.StartTimer()
		fill(b, l, id, n)
		b.StopTimer()
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
		st, err := os.Stat(filepath.Join(dir, "ledger.db"))
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(st.Size())/n, "B/key")
		b.StartTimer()
	}
	b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "keys/s")
}

func BenchmarkOpen(b *testing.B) {
	for _, n := range []int{0, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			dir := b.TempDir()
			l := open(b, dir)
			fill(b, l, accept(b, l, "f"), n)
			l.Close()
			for b.Loop() {
				open(b, dir).Close()
			}
		})
	}
}
