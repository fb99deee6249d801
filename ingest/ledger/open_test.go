package ledger_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ingestd/ingest"
	"ingestd/ingest/ledger"
)

// open opens the ledger in dir and closes it with the test.
func open(t testing.TB, dir string) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(t.Context(), ledger.Options{Dir: dir, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// refused is the error of a ledger that must not open.
func refused(t testing.TB, dir string) error {
	t.Helper()
	l, err := ledger.Open(t.Context(), ledger.Options{Dir: dir, Logger: quiet()})
	if err == nil {
		l.Close()
		t.Fatal("the ledger opened")
	}
	return err
}

// wait carries one queued request out.
func wait(start func(done func(error))) error {
	done := make(chan error, 1)
	start(func(err error) { done <- err })
	return <-done
}

// accept takes an arrival up and begins it.
func accept(t testing.TB, l *ledger.Ledger, name string) int64 {
	t.Helper()
	ids, err := l.Accept(t.Context(), "p", "p", []ingest.Found{{Name: name}})
	if err == nil {
		_, err = l.Begin(t.Context(), ids[0], []byte("settings"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return ids[0]
}

// claim judges n records from first on, whose keys follow from seed, and claims
// them in one batch. All must be new.
func claim(l *ledger.Ledger, id, first int64, n int, seed uint64) (*ingest.Claim, error) {
	c, err := judged(l, id, first, n, seed)
	if err != nil {
		return nil, err
	}
	return c, wait(func(done func(error)) { l.Claim(c, done) })
}

func judged(l *ledger.Ledger, id, first int64, n int, seed uint64) (*ingest.Claim, error) {
	recs := make([]ingest.Judged, n)
	keys := make([]ingest.Key, n)
	for i := range recs {
		keys[i] = numbered(seed + uint64(i))
		recs[i] = ingest.Judged{Pos: ingest.Position{Record: first + int64(i)}, Key: keys[i], Verdict: ingest.New}
	}
	if err := l.Judge(context.Background(), id, "p", recs); err != nil {
		return nil, err
	}
	var v ingest.VerdictList
	for i := range recs {
		if recs[i].Verdict != ingest.New {
			return nil, fmt.Errorf("record %d: verdict %d", recs[i].Pos.Record, recs[i].Verdict)
		}
		v.Add(ingest.New)
	}
	return &ingest.Claim{
		Arrival: id, Scope: "p", First: first, Last: first + int64(n) - 1, Verdicts: v.Take(), Keys: keys, Sinks: []string{"a"},
		Batches: []*ingest.Batch{{Sink: "a", First: first, Last: first + int64(n) - 1, Records: n}},
	}, nil
}

// numbered spreads numbers over the space of keys, as their hashes would.
func numbered(n uint64) (k ingest.Key) {
	for i := range 2 {
		x := n*2 + uint64(i) + 0x9e3779b97f4a7c15
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		x ^= x >> 31
		for b := range 8 {
			k[8*i+b] = byte(x >> (8 * b))
		}
	}
	return k
}

func deliver(l *ledger.Ledger, b *ingest.Batch) error {
	return wait(func(done func(error)) {
		l.Settle(&ingest.Settlement{Batch: b, State: ingest.BatchDelivered, Attempts: 1, Status: 200}, done)
	})
}

// worked is a state directory whose ledger has some work behind it, closed in
// order.
func worked(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	l := open(t, dir)
	id := accept(t, l, "f")
	for i := range 20 {
		c, err := claim(l, id, int64(500*i)+1, 500, uint64(1000*i))
		if err == nil {
			err = deliver(l, c.Batches[0])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.End(t.Context(), id, ingest.Ending{State: ingest.Done}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestSecondOwnerIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := open(t, dir)
	err := refused(t, dir)
	var locked *ledger.LockedError
	if !errors.As(err, &locked) || locked.PID != os.Getpid() || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("%v", err)
	}
	accept(t, first, "f") // the first is unharmed
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	open(t, dir)
}

// change writes into the database behind the ledger's back.
func change(t testing.TB, dir string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOtherSchemas(t *testing.T) {
	t.Parallel()
	t.Run("newer", func(t *testing.T) {
		dir := worked(t)
		change(t, dir, "PRAGMA user_version = 99")
		err := refused(t, dir)
		var newer *ledger.NewerError
		if !errors.As(err, &newer) || newer.Have != 99 || !strings.Contains(err.Error(), "newer ingestd") {
			t.Errorf("%v", err)
		}
	})
	t.Run("changed", func(t *testing.T) {
		dir := worked(t)
		change(t, dir, "UPDATE meta SET value = x'00' WHERE key = 'schema.0001'")
		if err := refused(t, dir); !strings.Contains(err.Error(), "another text") {
			t.Errorf("%v", err)
		}
	})
	t.Run("unfinished", func(t *testing.T) {
		// A first start that was killed before its migration left an empty file.
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "ledger.db"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		open(t, dir)
	})
}

// TestDamage: a ledger that cannot be trusted is refused, named, left as it is,
// and never begun anew.
func TestDamage(t *testing.T) {
	t.Parallel()
	whole, err := os.ReadFile(filepath.Join(worked(t), "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096
	pages := len(whole) / page
	if pages < 20 {
		t.Fatalf("only %d pages", pages)
	}
	clone := bytes.Clone
	for name, harm := range map[string]func() []byte{
		"empty":         func() []byte { return nil },
		"not a ledger":  func() []byte { return bytes.Repeat([]byte("id,name\n"), 4000) },
		"cut short":     func() []byte { return whole[:pages/2*page] },
		"cut in a page": func() []byte { return whole[:len(whole)-page/2] },
		"header":        func() []byte { b := clone(whole); clear(b[:16]); return b },
		"first page":    func() []byte { b := clone(whole); clear(b[100:page]); return b },
		"flipped bytes": func() []byte {
			b := clone(whole)
			for at := 2 * page; at < len(b); at += page {
				for i := range 12 { // a page's header and first cells
					b[at+i] ^= 0xff
				}
			}
			return b
		},
		"page of zeros": func() []byte { b := clone(whole); clear(b[(pages-3)*page : (pages-2)*page]); return b },
	} {
		t.Run(name, func(t *testing.T) {
			dir := worked(t)
			path := filepath.Join(dir, "ledger.db")
			harmed := harm()
			if err := os.WriteFile(path, harmed, 0o600); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				err := refused(t, dir)
				var damaged *ledger.DamagedError
				if !errors.As(err, &damaged) || damaged.Path != path || !strings.Contains(err.Error(), ".recover") {
					t.Errorf("%v", err)
				}
			}
			left, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if name != "empty" && !bytes.Equal(left, harmed) {
				t.Error("the damaged file was changed")
			}
		})
	}
}

// TestEveryPageOfZeros: whichever page is lost, the ledger does not open as if
// nothing were.
func TestEveryPageOfZeros(t *testing.T) {
	t.Parallel()
	dir := worked(t)
	path := filepath.Join(dir, "ledger.db")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096
	for at := 0; at < len(whole); at += page {
		b := bytes.Clone(whole)
		clear(b[at : at+page])
		if bytes.Equal(b, whole) {
			continue
		}
		to := t.TempDir()
		copyFiles(t, dir, to)
		if err := os.WriteFile(filepath.Join(to, "ledger.db"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := ledger.Open(t.Context(), ledger.Options{Dir: to, Logger: quiet()})
		if err != nil {
			var damaged *ledger.DamagedError
			if !errors.As(err, &damaged) {
				t.Errorf("page %d: %v", at/page, err)
			}
			continue
		}
		// Content that no structure tells from another: keys in an overflow page.
		s, err := l.Stats(t.Context())
		if err != nil || s.Keys < 9000 || s.Arrivals != 1 || s.Claims != 20 {
			t.Errorf("page %d is lost, and the ledger opens with %+v, %v", at/page, s, err)
		}
		l.Close()
	}
}

func TestAnotherLedgerInItsPlace(t *testing.T) {
	t.Parallel()
	put := func(t *testing.T, dir string, from string) {
		t.Helper()
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, "ledger.db"), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	accepted := func(t *testing.T, dir string) {
		t.Helper()
		if err := os.Remove(filepath.Join(dir, "ledger.mark")); err != nil {
			t.Fatal(err)
		}
		open(t, dir)
	}
	t.Run("gone", func(t *testing.T) {
		dir := worked(t)
		if err := os.Remove(filepath.Join(dir, "ledger.db")); err != nil {
			t.Fatal(err)
		}
		err := refused(t, dir)
		if !strings.Contains(err.Error(), "is gone") || !strings.Contains(err.Error(), "ledger.mark") {
			t.Errorf("%v", err)
		}
		if _, err := os.Stat(filepath.Join(dir, "ledger.db")); err == nil {
			t.Error("a new one was made")
		}
		accepted(t, dir)
	})
	t.Run("another", func(t *testing.T) {
		dir, other := worked(t), worked(t)
		put(t, dir, filepath.Join(other, "ledger.db"))
		if err := refused(t, dir); !strings.Contains(err.Error(), "another ledger") {
			t.Errorf("%v", err)
		}
		accepted(t, dir)
	})
	t.Run("older", func(t *testing.T) {
		dir := worked(t)
		old := filepath.Join(t.TempDir(), "cold")
		b, err := os.ReadFile(filepath.Join(dir, "ledger.db"))
		if err == nil {
			err = os.WriteFile(old, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		open(t, dir).Close()
		put(t, dir, old)
		if err := refused(t, dir); !strings.Contains(err.Error(), "older") {
			t.Errorf("%v", err)
		}
		accepted(t, dir)
	})
	t.Run("backup of the same run", func(t *testing.T) {
		dir := worked(t)
		l := open(t, dir)
		backup := filepath.Join(t.TempDir(), "backup.db")
		if err := l.Backup(t.Context(), backup); err != nil {
			t.Fatal(err)
		}
		accept(t, l, "later")
		l.Close()
		put(t, dir, backup)
		if err := refused(t, dir); !strings.Contains(err.Error(), "older") {
			t.Errorf("%v", err)
		}
		accepted(t, dir)
	})
	t.Run("torn mark", func(t *testing.T) {
		dir := worked(t)
		for _, mark := range []string{"", "0123", "zz zz\n"} {
			if err := os.WriteFile(filepath.Join(dir, "ledger.mark"), []byte(mark), 0o600); err != nil {
				t.Fatal(err)
			}
			open(t, dir).Close()
		}
	})
}

// TestOddDirectories: a path is not a URL.
func TestOddDirectories(t *testing.T) {
	for _, name := range []string{"a b", "a?b=c", "a#b", "100%", "%41", "ä\"'", "deep/er"} {
		dir := filepath.Join(t.TempDir(), name)
		l := open(t, dir)
		accept(t, l, "f")
		l.Close()
		if _, err := os.Stat(filepath.Join(dir, "ledger.db")); err != nil {
			t.Errorf("%q: %v", name, err)
		}
		if got := open(t, dir); got == nil {
			t.Errorf("%q does not open again", name)
		}
	}
	t.Run("relative", func(t *testing.T) {
		t.Chdir(t.TempDir())
		l := open(t, "state")
		accept(t, l, "f")
	})
}
