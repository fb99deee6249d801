package ledger_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"ingestd/ingest"
	"ingestd/ingest/ledger"
)

// TestBackup: a copy made beside a busy writer is a whole ledger that knows all
// that was reported as done before.
func TestBackup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir)
	id := accept(t, l, "f")
	c, err := claim(l, id, 1, 100, 0)
	if err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		for n := int64(1); ; n++ {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			if _, err := claim(l, id, 100*n+1, 100, uint64(1000*n)); err != nil {
				stopped <- err
				return
			}
		}
	}()
	to := t.TempDir()
	path := filepath.Join(to, "ledger.db")
	err = l.Backup(t.Context(), path)
	close(stop)
	if err := errors.Join(err, <-stopped); err != nil {
		t.Fatal(err)
	}
	if list, err := os.ReadDir(to); err != nil || len(list) != 1 {
		t.Errorf("beside the copy stands %v, %v", list, err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if err := l.Backup(t.Context(), path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a file was overwritten: %v", err)
	}
	if err := l.Backup(t.Context(), filepath.Join(to, "no", "such")); err == nil {
		t.Error("a copy was made nowhere")
	}

	restored := open(t, to)
	if restored.Seed() != l.Seed() {
		t.Error("the copy has another seed: its keys are worth nothing")
	}
	b, err := restored.Begin(t.Context(), id, nil)
	if err != nil || len(b.Open) == 0 || b.Open[0].ID != c.ID {
		t.Fatalf("%+v, %v", b, err)
	}
	if _, err := claim(restored, id, 1_000_001, 1, 50); err == nil {
		t.Error("a key that is under way is new in the copy")
	}
}

func TestStats(t *testing.T) {
	t.Parallel()
	dir := worked(t)
	l := open(t, dir)
	id := accept(t, l, "g")
	c, err := claim(l, id, 1, 1, 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	err = wait(func(done func(error)) {
		l.Settle(&ingest.Settlement{Batch: c.Batches[0], State: ingest.BatchDead, Dead: []ingest.Letter{{Pos: ingest.Position{Record: 1}, Stage: ingest.StageDeliver}}}, done)
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.Bytes < 200_000 || s.LogBytes == 0 || s.LogBytes >= s.Bytes {
		t.Errorf("%d bytes, %d of them the log", s.Bytes, s.LogBytes)
	}
	s.Bytes, s.LogBytes = 0, 0
	if want := (ledger.Stats{Path: filepath.Join(dir, "ledger.db"), Arrivals: 2, Claims: 21, Batches: 21, Letters: 1, Keys: 10_000, Scopes: 1}); s != want {
		t.Errorf("%+v, want %+v", s, want)
	}
}

// TestHugeArrivals: what people are shown of an arrival with very many batches
// is bounded, and has those in trouble.
func TestHugeArrivals(t *testing.T) {
	t.Parallel()
	l := open(t, t.TempDir())
	id := accept(t, l, "f")
	const n, settled = 5_100, 200
	c, err := judged(l, id, 1, n, 0)
	if err != nil {
		t.Fatal(err)
	}
	c.Batches = nil
	for i := range int64(n) {
		c.Batches = append(c.Batches, &ingest.Batch{Sink: "a", First: i + 1, Last: i + 1, Records: 1})
	}
	if err := wait(func(done func(error)) { l.Claim(c, done) }); err != nil {
		t.Fatal(err)
	}
	errs := make(chan error, settled)
	for _, b := range c.Batches[n-settled:] {
		l.Settle(&ingest.Settlement{Batch: b, State: ingest.BatchDelivered}, func(err error) { errs <- err })
	}
	for range settled {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	a, err := l.Arrival(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	// All that are open, and the newest of the others.
	if len(a.Batches) != 5_000 || a.Batches[0].Number != 1 || a.Batches[n-settled-1].Number != n-settled || a.Batches[4_999].Number != n ||
		a.Batches[n-settled].Number != n-99 {
		t.Errorf("%d batches, from %d to %d", len(a.Batches), a.Batches[0].Number, a.Batches[len(a.Batches)-1].Number)
	}
}
