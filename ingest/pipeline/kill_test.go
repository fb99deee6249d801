package pipeline_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/pipeline"
)

const childEnv = "INGESTD_TEST_ENGINE_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if name := os.Getenv(scenarioEnv); name != "" {
			scenarios()[name](childTB{dir: dir})
			os.Exit(1) // it was to be killed
		}
		os.Exit(child(dir))
	}
	os.Exit(m.Run())
}

// wire is a sink that posts to the test's own server.
type wire struct{ url string }

func (w wire) Send(ctx context.Context, r *ingest.Request) (ingest.Answer, error) {
	req, err := http.NewRequestWithContext(ctx, "POST", w.url, bytes.NewReader(bytes.Clone(r.Body)))
	if err != nil {
		return ingest.Answer{}, err
	}
	req.Header.Set("Idempotency-Key", r.Key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return ingest.Answer{}, err
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	switch resp.StatusCode {
	case 200:
		return ingest.Answer{Status: 200}, nil
	case 422:
		return ingest.Answer{}, &ingest.Reject{Reason: "refused", Answer: ingest.Answer{Status: 422}}
	}
	return ingest.Answer{}, fmt.Errorf("status %d", resp.StatusCode)
}

// child runs an engine once on the directory's files and is killed at it.
func child(dir string) int {
	t := childTB{dir: dir}
	defer func() {
		if x := recover(); x != nil {
			fmt.Fprintln(os.Stderr, x)
			os.Exit(9)
		}
	}()
	b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: wire{os.Getenv("INGESTD_TEST_URL")}, RetryMax: time.Second, RetryInitial: time.Millisecond})
	b.plan.Sinks[0].MaxRecords = 50
	b.log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	var files []ingest.Found
	if len(b.arrivals()) == 0 {
		for _, name := range []string{"a.csv", "b.csv"} {
			files = append(files, foundAt(filepath.Join(dir, name)))
		}
	}
	err := b.engine(files...).Run(context.Background())
	if err == nil {
		err = b.ledger.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		if errors.Is(err, pipeline.ErrUnfinished) {
			return 3
		}
		return 1
	}
	return 0
}

func foundAt(path string) ingest.Found {
	st, err := os.Stat(path)
	if err != nil {
		panic(err)
	}
	return ingest.Found{Source: "dir", Name: filepath.Base(path), Origin: path, Path: path, Size: st.Size(), ModTime: st.ModTime(), Keep: true}
}

// childTB is as much of a testing.TB as the bench needs outside a test.
type childTB struct {
	testing.TB
	dir string
}

func (c childTB) Helper()                  {}
func (c childTB) TempDir() string          { return c.dir }
func (c childTB) Cleanup(func())           {}
func (c childTB) Context() context.Context { return context.Background() }
func (c childTB) Fatal(args ...any)        { panic(fmt.Sprint(args...)) }

// judge is the target of the kill test: it counts who took what under which
// key, and lets the test kill the sender at a chosen request.
type judge struct {
	mu     sync.Mutex
	taken  map[string]string // id → key it was taken under
	bodies map[string]string // key → body
	wrong  []string
	n      int
	at     int // the request from which on hit is called, once; 0: never
	after  bool
	hit    func()
	struck bool
	rnd    *rand.Rand
}

func (j *judge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var recs []map[string]string
	if err := json.Unmarshal(body, &recs); err != nil {
		j.mu.Lock()
		j.wrong = append(j.wrong, err.Error())
		j.mu.Unlock()
		return
	}
	key := r.Header.Get("Idempotency-Key")
	j.mu.Lock()
	defer j.mu.Unlock()
	j.n++
	hit := j.at > 0 && j.n >= j.at && !j.struck
	if old, ok := j.bodies[key]; ok && old != string(body) {
		j.wrong = append(j.wrong, "key "+key+" has two bodies")
	}
	j.bodies[key] = string(body)
	if hit && !j.after {
		j.struck = true
		j.hit()
		return
	}
	for _, rec := range recs {
		if rec["id"] == "poison" {
			w.WriteHeader(422)
			return
		}
	}
	if j.rnd.IntN(8) == 0 {
		w.WriteHeader(503)
		return
	}
	for _, rec := range recs {
		if old, ok := j.taken[rec["id"]]; ok && old != key {
			j.wrong = append(j.wrong, "id "+rec["id"]+" was taken under two keys")
		}
		j.taken[rec["id"]] = key
	}
	if hit {
		j.struck = true
		j.hit() // taken, and the answer never leaves
		return
	}
	if j.rnd.IntN(16) == 0 { // taken, and the connection breaks
		if c, _, err := w.(http.Hijacker).Hijack(); err == nil {
			c.Close()
		}
		return
	}
	w.WriteHeader(200)
}

// TestKills kills the engine's process at requests, before and after they are
// taken, until a run gets through: nothing is lost, nothing is taken under two
// keys, no key has two bodies, and the books balance.
func TestKills(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const n = 12000
	var sb strings.Builder
	sb.WriteString("id,name\n")
	want := map[string]bool{}
	for i := range n {
		id := strconv.Itoa(i - i%7%2) // every other of seven repeats its neighbour
		if i == 2345 {
			id = "poison"
		} else {
			want[id] = true
		}
		fmt.Fprintf(&sb, "%s,n\n", id)
	}
	for name, text := range map[string]string{"a.csv": sb.String(), "b.csv": "id,name\n16,again\n17,new\nlast,new\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want["last"], want["17"] = true, true
	j := &judge{taken: map[string]string{}, bodies: map[string]string{}, rnd: rand.New(rand.NewPCG(1, 2))}
	srv := httptest.NewServer(j)
	defer srv.Close()

	kills := 0
	for try := 0; ; try++ {
		if try > 60 {
			t.Fatal("no run got through")
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+dir, "INGESTD_TEST_URL="+srv.URL)
		var out bytes.Buffer
		cmd.Stderr = &out
		j.mu.Lock()
		j.n, j.struck, j.after = 0, false, try%2 == 0
		j.at = 1 + j.rnd.IntN(4)
		if try >= 12 {
			j.at = 0
		}
		err := cmd.Start()
		j.hit = func() { cmd.Process.Kill() }
		j.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		err = cmd.Wait()
		if err == nil {
			break
		}
		var ee *exec.ExitError
		if !errors.As(err, &ee) || ee.ExitCode() != -1 && ee.ExitCode() != 3 {
			t.Fatalf("run %d: %v\n%s", try, err, out.String())
		}
		kills++
	}
	if kills < 4 {
		t.Errorf("only %d kills", kills)
	}
	for _, w := range j.wrong {
		t.Error(w)
	}
	for id := range want {
		if _, ok := j.taken[id]; !ok {
			t.Errorf("id %s is lost", id)
		}
	}
	b := newBench(childTB{TB: t, dir: dir}, "id", pipeline.SinkOptions{Name: "s", Sink: wire{srv.URL}})
	defer b.ledger.Close()
	b.t = t
	b.audit()
	var sum ingest.Counts
	for _, a := range b.arrivals() {
		if a.State != ingest.Done {
			t.Errorf("arrival %d is %s", a.ID, a.State)
		}
		sum.Add(a.Counts)
	}
	if sum.Records != n+3 || sum.Delivered != int64(len(want)) || sum.Dead != 1 {
		t.Errorf("%+v, want %d delivered", sum, len(want))
	}
	t.Logf("%d kills, %+v", kills, sum)
}
