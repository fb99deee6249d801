package dir_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ingestd/ingest"
	"ingestd/ingest/source"
	"ingestd/ingest/source/dir"
	"ingestd/ingest/spool"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// deadline bounds every wait of these tests; none passes by it.
const deadline = time.Minute

// An engine is the Acceptor of the tests: a ledger in memory.
type engine struct {
	t    testing.TB
	each chan *ingest.Arrival // what was accepted, in order

	mu       sync.Mutex
	arrivals []*ingest.Arrival
	commits  int
	refuse   error // of the next Accept
	stored   bool  // a refused Accept stores all the same
	known    int   // how often Known was asked
}

func newEngine(t testing.TB) *engine {
	return &engine{t: t, each: make(chan *ingest.Arrival, 1<<17)}
}

func (e *engine) Accept(_ context.Context, found []ingest.Found) ([]int64, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	err := e.refuse
	e.refuse = nil
	if err != nil && !e.stored {
		return nil, err
	}
	if len(found) == 0 || len(found) > 256 {
		e.t.Errorf("Accept of %d files", len(found))
	}
	e.commits++
	ids := make([]int64, len(found))
	for i, f := range found {
		a := &ingest.Arrival{ID: int64(len(e.arrivals) + 1), Pipeline: "orders", Found: f, State: ingest.Waiting}
		e.arrivals = append(e.arrivals, a)
		ids[i] = a.ID
		if err == nil {
			e.each <- a
		}
	}
	return ids, err
}

func (e *engine) Known(_ context.Context, origin string, size int64, mtime time.Time) (bool, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.known++
	return slices.ContainsFunc(e.arrivals, func(a *ingest.Arrival) bool {
		return a.Origin == origin && a.Size == size && a.ModTime.UnixMicro() == mtime.UnixMicro()
	}), nil
}

func (e *engine) Owned(context.Context) (map[string]bool, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	owned := map[string]bool{}
	for _, a := range e.arrivals {
		if !a.PutAway {
			owned[a.Path] = true
		}
	}
	return owned, nil
}

// next waits for the next arrival.
func (e *engine) next() *ingest.Arrival {
	e.t.Helper()
	select {
	case a := <-e.each:
		return a
	case <-time.After(deadline):
		e.t.Fatal("nothing arrives")
		return nil
	}
}

// none checks that nothing was handed over that the test did not see.
func (e *engine) none() {
	e.t.Helper()
	select {
	case a := <-e.each:
		e.t.Errorf("handed over besides: %q", a.Name)
	default:
	}
}

func (e *engine) names() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var ns []string
	for _, a := range e.arrivals {
		ns = append(ns, a.Name)
	}
	return ns
}

// A world is a folder, its source and its engine.
type world struct {
	t        testing.TB
	folder   string
	o        dir.Options
	src      *dir.Source
	eng      *engine
	spool    *spool.Spool
	states   chan error
	problems chan *source.Problem
	log      *lockedBuffer
}

func newWorld(t testing.TB, change func(*dir.Options)) *world {
	t.Helper()
	w := &world{
		t:        t,
		folder:   filepath.Join(tempDir(t), "drop"),
		eng:      newEngine(t),
		states:   make(chan error, 1024),
		problems: make(chan *source.Problem, 1024),
		log:      &lockedBuffer{},
	}
	if err := os.Mkdir(w.folder, 0o755); err != nil {
		t.Fatal(err)
	}
	var err error
	if w.spool, err = spool.Open(tempDir(t)); err != nil {
		t.Fatal(err)
	}
	w.o = w.options()
	if change != nil {
		change(&w.o)
	}
	w.renew()
	return w
}

func (w *world) options() dir.Options {
	return dir.Options{
		Pipeline:  "orders",
		Path:      w.folder,
		Spool:     w.spool,
		Logger:    slog.New(slog.NewTextHandler(w.log, nil)),
		OnState:   func(err error) { w.states <- err },
		OnProblem: func(p *source.Problem) { w.problems <- p },
	}
}

// tempDir is in memory where it can be: these tests are not about the disk.
func tempDir(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "ingestd-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// renew makes a new Source, as a new process would.
func (w *world) renew() {
	w.t.Helper()
	var err error
	if w.src, err = dir.New(w.o); err != nil {
		w.t.Fatal(err)
	}
}

// run starts the source and waits until it works; stop ends it.
func (w *world) run() (stop func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.src.Run(ctx, w.eng) }()
	if err := w.state(); err != nil {
		w.t.Fatal(err)
	}
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				w.t.Errorf("Run: %v", err)
			}
		})
	}
	w.t.Cleanup(stop)
	return stop
}

func (w *world) sweep() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	if err := w.src.Sweep(ctx, w.eng); err != nil {
		w.t.Fatalf("Sweep: %v", err)
	}
}

func (w *world) state() error {
	w.t.Helper()
	select {
	case err := <-w.states:
		return err
	case <-time.After(deadline):
		w.t.Fatal("no state is told")
		return nil
	}
}

func (w *world) problem() *source.Problem {
	w.t.Helper()
	select {
	case p := <-w.problems:
		return p
	case <-time.After(deadline):
		w.t.Fatal("no problem is told")
		return nil
	}
}

func (w *world) path(name string) string { return filepath.Join(w.folder, name) }

func (w *world) write(name, content string) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(w.path(name)), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(w.path(name), []byte(content), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// drop writes a file under an ignored name and renames it in.
func (w *world) drop(name, content string) {
	w.t.Helper()
	tmp := filepath.Join(filepath.Dir(name), ".upload")
	w.write(tmp, content)
	if err := os.Rename(w.path(tmp), w.path(name)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) read(path string) string {
	w.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b)
}

func (w *world) gone(path string) {
	w.t.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		w.t.Errorf("%s: %v, want it gone", path, err)
	}
}

// files lists all regular files below the folder.
func (w *world) files() []string {
	w.t.Helper()
	var fs []string
	err := filepath.Walk(w.folder, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			rel, _ := filepath.Rel(w.folder, path)
			fs = append(fs, rel)
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return fs
}

// end decides and carries out where an arrival goes.
func (w *world) end(a *ingest.Arrival, state ingest.State) string {
	w.t.Helper()
	a.State = state
	var err error
	if a.Away, err = w.src.Dispose(context.Background(), a); err != nil {
		w.t.Fatal(err)
	}
	if err = w.src.PutAway(context.Background(), a); err != nil {
		w.t.Fatal(err)
	}
	w.eng.mu.Lock()
	a.PutAway = true
	w.eng.mu.Unlock()
	return a.Away.To
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) count(s string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.b.String(), s)
}

func TestTakesUpMovesAndForgets(t *testing.T) {
	w := newWorld(t, func(o *dir.Options) {
		o.WhenDone = source.When{Action: "move", To: "done/{date}/"}
		o.WhenFailed = source.When{Action: "move", To: "failed/{pipeline}-{name}"}
	})
	w.run()
	w.drop("a.csv", "id\n1\n")
	a := w.eng.next()
	info, err := os.Stat(a.Path)
	w.must(err)
	if a.Name != "a.csv" || a.Source != "dir" || a.Origin != w.path("a.csv") || a.Size != 5 ||
		!a.ModTime.Equal(info.ModTime()) || a.Inode == 0 || a.FoundAt.Location() != time.UTC {
		t.Errorf("found %+v", a.Found)
	}
	if got := w.read(a.Path); got != "id\n1\n" {
		t.Errorf("content %q", got)
	}
	w.gone(w.path("a.csv"))
	to := w.end(a, ingest.Done)
	if want := w.path("done/" + a.FoundAt.Format("2006-01-02") + "/a.csv"); to != want {
		t.Errorf("went to %s, want %s", to, want)
	}
	w.must(w.src.PutAway(context.Background(), a)) // again
	w.gone(filepath.Dir(a.Path))

	w.drop("b.csv", "x")
	b := w.eng.next()
	if to := w.end(b, ingest.Failed); to != w.path("failed/orders-b.csv") || w.read(to) != "x" {
		t.Errorf("went to %s", to)
	}
	w.eng.none()
}

func TestDefaultsAndDelete(t *testing.T) {
	w := newWorld(t, nil)
	w.write("a.csv", "1")
	w.sweep()
	a := w.eng.next()
	if to := w.end(a, ingest.DuplicateState); to != w.path(".ingestd/done/a.csv") {
		t.Errorf("duplicate went to %s", to)
	}
	w.write("a.csv", "2")
	w.sweep()
	if to := w.end(w.eng.next(), ingest.Failed); to != w.path(".ingestd/failed/a.csv") {
		t.Errorf("failed went to %s", to)
	}
	w.o.WhenDone = source.When{Action: "delete"}
	w.renew()
	w.write("a.csv", "3")
	w.sweep()
	a = w.eng.next()
	w.end(a, ingest.Done)
	w.gone(a.Path)
	if got := w.files(); fmt.Sprint(got) != "[.ingestd/done/a.csv .ingestd/failed/a.csv]" {
		t.Errorf("left: %q", got)
	}
	for _, d := range []string{".ingestd", ".ingestd/work", ".ingestd/done"} {
		if info, err := os.Stat(w.path(d)); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v %v", d, info.Mode(), err)
		}
	}
}
