package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// A faint is a target that can be down, and notes what it sees meanwhile.
type faint struct {
	mu     sync.Mutex
	down   bool
	flying int
	asked  int // since forget
	most   int // at once, since forget
	bodies int
}

func (f *faint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.asked++
	f.flying++
	f.most = max(f.most, f.flying)
	down := f.down
	f.mu.Unlock()
	_, _ = io.Copy(io.Discard, r.Body)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flying--
	if down {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	f.bodies++
}

func (f *faint) set(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down, f.asked, f.most = down, 0, 0
}

func (f *faint) seen() (asked, most int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked, f.most
}

// TestOutageOfManyPipelines: forty pipelines through two sinks on one host that
// is down. One request at a time asks whether it is back; a pipeline to another
// host does not notice; in the end everything is delivered and nothing died.
func TestOutageOfManyPipelines(t *testing.T) {
	t.Parallel()
	const many = 40
	f := &faint{down: true}
	srv := httptest.NewServer(f)
	defer srv.Close()
	var conf strings.Builder
	fmt.Fprintf(&conf, `
state_dir: state
defaults:
  sink: {retry: {initial: 200ms, max: 400ms}}
sinks:
  a: {type: http, url: "%s/a"}
  b: {type: http, url: "%s/b"}
  well: {type: http, url: "TARGET/orders"}
pipelines:
  well: {source: {type: dir, path: drop, settle: 0s, rescan: 1s}, sinks: [well]}
`, srv.URL, srv.URL)
	for i := range many {
		fmt.Fprintf(&conf, "  p%02d: {source: {type: dir, path: d%02d, settle: 0s}, record: {key: [id]}, sinks: [%c]}\n", i, i, 'a'+i%2)
	}
	s := newShop(t, conf.String())
	for i := range many {
		dir := fmt.Sprintf("d%02d", i)
		if err := os.Mkdir(filepath.Join(s.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
		s.write(filepath.Join(dir, "a.csv"), "id,name\n1,one\n2,two\n")
	}
	d := s.start("run")
	d.logs("the target is down")
	s.until("all to wait", func() bool {
		return strings.Count(s.ask(0, "arrivals", "--json", "--state", "running"), "\n") == many
	})
	s.until("all to know", func() bool {
		return strings.Count(d.out.String(), "the sink does not take records") >= many
	})
	f.set(true)
	s.drop("drop", "a.csv", "id,name\n1,one\n")
	s.arrival("a.csv", "done")
	s.until("some probes", func() bool { n, _ := f.seen(); return n >= 8 })
	if n, most := f.seen(); most > 1 {
		t.Errorf("%d of %d requests at once to a host that is down", most, n)
	}
	if out := s.ask(0, "status", "--json"); !strings.Contains(out, "is down since") {
		t.Errorf("status does not say so: %s", out)
	}
	f.set(false)
	s.until("all to be done", func() bool {
		return strings.Count(s.ask(0, "arrivals", "--json", "--state", "done"), "\n") == many+1
	})
	d.logs("the target is back")
	f.mu.Lock()
	if f.bodies != many {
		t.Errorf("%d batches were taken, want %d", f.bodies, many)
	}
	f.mu.Unlock()
	if out := s.ask(0, "dead", "list", "--json"); out != "" {
		t.Errorf("dead: %s", out)
	}
	s.ask(0, "audit")
}
