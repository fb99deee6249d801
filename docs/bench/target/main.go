// Command target is the benchmark's plain API: it reads each request whole,
// counts, and answers 200. GET /count tells what came since the last GET
// /reset. With -ids it also remembers every order_id, which costs time of its
// own, and tells how many came more than once.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
)

// field is how every record starts, with or without a space before its value.
var field = []byte(`"order_id":`)

type counts struct {
	Requests int64 `json:"requests"`
	Records  int64 `json:"records"`
	Bytes    int64 `json:"bytes"`
	Again    int64 `json:"again"` // with -ids: order_ids that came before
}

type target struct {
	mu    sync.Mutex
	n     counts
	seen  map[string]bool
	ids   bool
	pools sync.Pool
}

func main() {
	listen := flag.String("listen", "127.0.0.1:9000", "address")
	ids := flag.Bool("ids", false, "remember order_ids")
	flag.Parse()

	t := &target{ids: *ids, seen: map[string]bool{}}
	t.pools.New = func() any { return new(bytes.Buffer) }
	mux := http.NewServeMux()
	mux.HandleFunc("POST /", t.take)
	mux.HandleFunc("GET /count", t.count)
	mux.HandleFunc("GET /reset", t.reset)

	l, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("http://%s\n", l.Addr()) // whoever started it waits for this line
	log.Fatal(http.Serve(l, mux))
}

func (t *target) take(w http.ResponseWriter, r *http.Request) {
	buf := t.pools.Get().(*bytes.Buffer)
	defer t.pools.Put(buf)
	buf.Reset()
	if _, err := io.Copy(buf, r.Body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	body := buf.Bytes()
	n := counts{Requests: 1, Records: int64(bytes.Count(body, field)), Bytes: int64(len(body))}

	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ids {
		for _, part := range bytes.Split(body, field)[1:] {
			id, _, _ := bytes.Cut(bytes.TrimLeft(part, ` "`), []byte{'"'})
			if t.seen[string(id)] {
				n.Again++
			}
			t.seen[string(id)] = true
		}
	}
	t.n.Requests += n.Requests
	t.n.Records += n.Records
	t.n.Bytes += n.Bytes
	t.n.Again += n.Again
}

func (t *target) count(w http.ResponseWriter, _ *http.Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(t.n); err != nil {
		log.Print(err)
	}
}

func (t *target) reset(http.ResponseWriter, *http.Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n, t.seen = counts{}, map[string]bool{}
}
