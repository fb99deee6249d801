package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// A demoTarget is a small API that takes arrays of orders. It answers the first
// request with 503, and remembers what it took by Idempotency-Key.
type demoTarget struct {
	ln  net.Listener
	srv *http.Server
	wg  sync.WaitGroup

	mu      sync.Mutex
	taken   demoCounts
	keys    map[string]bool
	records map[string]bool
}

type demoCounts struct{ requests, records, refused, twice int64 }

func newDemoTarget() (*demoTarget, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &demoTarget{ln: ln, keys: map[string]bool{}, records: map[string]bool{}}
	t.srv = &http.Server{Handler: t, ReadHeaderTimeout: 5 * time.Second}
	t.wg.Go(func() { _ = t.srv.Serve(ln) })
	return t, nil
}

func (t *demoTarget) url() string { return "http://" + t.ln.Addr().String() }

func (t *demoTarget) close() {
	t.srv.Close()
	t.wg.Wait()
}

func (t *demoTarget) got() demoCounts {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.taken
}

// ServeHTTP takes one request.
func (t *demoTarget) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 16<<20))
	var orders []json.RawMessage
	if err != nil || json.Unmarshal(body, &orders) != nil {
		http.Error(w, "an array of orders is wanted", http.StatusBadRequest)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.taken.refused == 0 {
		t.taken.refused++
		http.Error(w, "starting up, come again", http.StatusServiceUnavailable)
		return
	}
	if key := r.Header.Get("Idempotency-Key"); !t.keys[key] {
		t.keys[key] = true
		t.taken.requests++
		t.taken.records += int64(len(orders))
		for _, o := range orders {
			record := r.URL.Path + "\x00" + string(o)
			if t.records[record] {
				t.taken.twice++
			}
			t.records[record] = true
		}
	}
	w.WriteHeader(http.StatusOK)
}
