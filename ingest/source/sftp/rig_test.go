package sftp

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/source"
	"ingestd/ingest/source/sftp/sshdtest"
	"ingestd/ingest/spool"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// An inbox is an Acceptor that remembers.
type inbox struct {
	mu    sync.Mutex
	found []ingest.Found
	fail  error
	got   chan struct{} // holds one when something came
}

func newInbox() *inbox { return &inbox{got: make(chan struct{}, 1)} }

func (b *inbox) Accept(_ context.Context, found []ingest.Found) ([]int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return nil, b.fail
	}
	var ids []int64
	for _, f := range found {
		b.found = append(b.found, f)
		ids = append(ids, int64(len(b.found)))
	}
	select {
	case b.got <- struct{}{}:
	default:
	}
	return ids, nil
}

func (b *inbox) Known(_ context.Context, origin string, size int64, mtime time.Time) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(b.found, func(f ingest.Found) bool {
		return f.Origin == origin && f.Size == size && f.ModTime.Equal(mtime)
	}), nil
}

func (b *inbox) Owned(context.Context) (map[string]bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	owned := map[string]bool{}
	for _, f := range b.found {
		owned[f.Path] = true
	}
	return owned, nil
}

func (b *inbox) all() []ingest.Found {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.found)
}

// wait waits until n files came.
func (b *inbox) wait(t *testing.T, n int) []ingest.Found {
	t.Helper()
	deadline := time.After(60 * time.Second)
	for {
		if all := b.all(); len(all) >= n {
			return all
		}
		select {
		case <-b.got:
		case <-deadline:
			t.Fatalf("%d files came, want %d", len(b.all()), n)
		}
	}
}

// A rig is a source with all around it.
type rig struct {
	t     *testing.T
	sshd  *sshdtest.Server
	dir   string // the remote folder
	o     Options
	spool *spool.Spool
	in    *inbox
	src   *Source

	mu       sync.Mutex
	states   []error
	problems []*source.Problem
	changed  chan struct{}
}

// newRig makes a source that polls a folder on a real sshd.
func newRig(t *testing.T, edit func(*Options)) *rig {
	t.Helper()
	return newRigOn(t, sshdtest.Start(t), edit)
}

func newRigOn(t *testing.T, sshd *sshdtest.Server, edit func(*Options)) *rig {
	t.Helper()
	r := &rig{t: t, sshd: sshd, dir: t.TempDir(), in: newInbox(), changed: make(chan struct{}, 1)}
	var err error
	if r.spool, err = spool.Open(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	r.o = Options{
		Pipeline: "orders", Path: r.dir, Spool: r.spool, Poll: 50 * time.Millisecond,
		Server: Server{
			Host: sshd.Addr, User: sshd.User, Timeout: 20 * time.Second,
			Auth: Auth{Keys: []ingest.Secret{ingest.NewSecret(sshd.Key)}}, Pins: Pins{Keys: sshd.HostKeys[:1]},
		},
		Logger:  slog.New(slog.NewTextHandler(testLog{t}, &slog.HandlerOptions{Level: slog.LevelDebug})),
		OnState: func(err error) { r.says(err, nil) }, OnProblem: func(p *source.Problem) { r.says(nil, p) },
	}
	if edit != nil {
		edit(&r.o)
	}
	if r.src, err = New(r.o); err != nil {
		t.Fatal(err)
	}
	quick(r.src)
	t.Cleanup(func() { r.src.Close() })
	return r
}

// quick makes pauses after errors short.
func quick(s *Source) {
	s.pool.pause = func(error, int) time.Duration { return 50 * time.Millisecond }
}

// plain makes the source do without posix-rename.
func (r *rig) plain(yes bool) {
	connect := r.src.pool.dial
	r.src.pool.dial = func(ctx context.Context) (*conn, error) {
		c, err := connect(ctx)
		if c != nil && yes {
			c.posix = false
		}
		return c, err
	}
}

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Logf("%s", p)
	return len(p), nil
}

func (r *rig) says(err error, p *source.Problem) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p != nil {
		r.problems = append(r.problems, p)
	} else {
		r.states = append(r.states, err)
	}
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// state waits until the source said something that ok likes.
func (r *rig) state(ok func(states []error, problems []*source.Problem) bool) {
	r.t.Helper()
	deadline := time.After(60 * time.Second)
	for {
		r.mu.Lock()
		good := ok(r.states, r.problems)
		r.mu.Unlock()
		if good {
			return
		}
		select {
		case <-r.changed:
		case <-deadline:
			r.mu.Lock()
			defer r.mu.Unlock()
			r.t.Fatalf("states %v, problems %v", r.states, r.problems)
		}
	}
}

// run runs the source until the returned function is called, or the test ends.
func (r *rig) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.src.Run(ctx, r.in) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("Run: %v", err)
		}
	})
	r.t.Cleanup(stop)
	return stop
}

func (r *rig) sweep() error { return r.src.Sweep(context.Background(), r.in) }

// put writes a remote file whose mtime is an hour ago.
func (r *rig) put(name string, content []byte) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		r.t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour).Truncate(time.Second)
	if err := os.Chtimes(path, old, old); err != nil {
		r.t.Fatal(err)
	}
}

// check compares a found file with what was put.
func (r *rig) check(f *ingest.Found, content []byte) {
	r.t.Helper()
	got, err := os.ReadFile(f.Path)
	if err != nil {
		r.t.Fatal(err)
	}
	if sha256.Sum256(got) != sha256.Sum256(content) {
		r.t.Errorf("%s: %d bytes came that are not the %d that were put", f.Name, len(got), len(content))
	}
	info, err := spool.Stat(f.Path)
	if err != nil {
		r.t.Fatal(err)
	}
	if want := (spool.ID{Device: f.Device, Inode: f.Inode, Size: f.Size, ModTime: f.ModTime}); !info.Same(want) {
		r.t.Errorf("%s: found as %+v, the spool file is %+v", f.Name, want, info.ID)
	}
}

// arrival is a found file as it has ended.
func (r *rig) arrival(id int64, f ingest.Found, state ingest.State) *ingest.Arrival {
	r.t.Helper()
	a := &ingest.Arrival{ID: id, Pipeline: "orders", Found: f, State: state}
	var err error
	if a.Away, err = r.src.Dispose(context.Background(), a); err != nil {
		r.t.Fatal(err)
	}
	return a
}

// names lists a remote directory.
func (r *rig) names(rel string) (names []string) {
	r.t.Helper()
	es, err := os.ReadDir(filepath.Join(r.dir, rel))
	if err != nil && !os.IsNotExist(err) {
		r.t.Fatal(err)
	}
	for _, e := range es {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

// content is n bytes that differ from those of another seed.
func content(seed, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return b
}
