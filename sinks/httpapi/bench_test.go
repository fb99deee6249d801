package httpapi_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ingestd/ingest"
	"ingestd/sinks/httpapi"
)

// BenchmarkSend measures one request of 70 KB over loopback. The target runs in
// the same process: its share of the CPU is in the figure.
func BenchmarkSend(b *testing.B) {
	for _, compress := range []string{httpapi.CompressNone, httpapi.CompressGzip, httpapi.CompressZstd} {
		for _, senders := range []int{1, 4} {
			b.Run(fmt.Sprintf("%s/senders=%d", compress, senders), func(b *testing.B) {
				srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					io.Copy(io.Discard, r.Body)
				}))
				defer srv.Close()
				s, err := httpapi.New(httpapi.Options{URL: srv.URL, MaxConns: senders, Compress: compress})
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
				var body []byte
				for i := 0; len(body) < 70_000; i++ {
					body = append(body, `{"id":"`...)
					body = strconv.AppendInt(body, int64(i)*7919, 10)
					body = append(body, `","name":"Ada Lovelace","city":"London","amount":"12.50"},`...)
				}
				req := ingest.Request{
					Pipeline: "orders", Arrival: 4711, Key: string(bytes.Repeat([]byte("a"), 32)), Records: 500,
					ContentType: "application/json", Body: body,
				}
				b.SetBytes(int64(len(body)))
				b.ReportAllocs()
				var n atomic.Int64
				before := cpu(b)
				b.ResetTimer()
				b.SetParallelism(max(1, senders/runtime.GOMAXPROCS(0)))
				if senders == 1 {
					for b.Loop() {
						if _, err := s.Send(b.Context(), &req); err != nil {
							b.Fatal(err)
						}
						n.Add(1)
					}
				} else {
					b.RunParallel(func(pb *testing.PB) {
						for pb.Next() {
							if _, err := s.Send(b.Context(), &req); err != nil {
								b.Error(err)
								return
							}
							n.Add(1)
						}
					})
				}
				b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(n.Load()), "cpu-µs/op")
			})
		}
	}
}

func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
