package sinktest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// BenchmarkTarget measures a target in another process: 500 records, 70 KB.
func BenchmarkTarget(b *testing.B) {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	p, err := Spawn(ctx, Options{})
	if err != nil {
		b.Fatal(err)
	}
	var body bytes.Buffer
	for i := range 500 {
		fmt.Fprintf(&body, `,{"id":"%d","text":"%s"}`, i, strings.Repeat("x", 110))
	}
	body.Bytes()[0] = '['
	body.WriteByte(']')
	b.SetBytes(int64(body.Len()))
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8, WriteBufferSize: 128 << 10}}
	var n atomic.Int64
	b.SetParallelism(2)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			req, _ := http.NewRequestWithContext(ctx, http.MethodPost, p.URL, bytes.NewReader(body.Bytes()))
			req.Header.Set("Idempotency-Key", fmt.Sprint(n.Add(1)))
			resp, err := client.Do(req)
			if err != nil {
				b.Error(err)
				return
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	})
	if err := p.Stop(); err != nil {
		b.Fatal(err)
	}
	used := p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
	b.ReportMetric(float64(used.Microseconds())/float64(n.Load()), "target-cpu-µs/op")
}
