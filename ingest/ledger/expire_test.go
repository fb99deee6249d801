package ledger_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/ledger"
)

// TestExpiryWhileRunning: keys go after their time, in memory and on disk, by
// the monotonic clock and whatever the wall clock says; those under way stay.
func TestExpiryWhileRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		jump := time.Duration(0)
		l, err := ledger.Open(t.Context(), ledger.Options{
			Dir: dir, Logger: quiet(), Now: func() time.Time { return time.Now().Add(jump) },
			Keep: func(string) time.Duration { return 80 * time.Minute },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		id := accept(t, l, "f")
		for i := range 3 {
			c, err := claim(l, id, int64(100*i)+1, 100, uint64(1000*i))
			if err != nil {
				t.Fatal(err)
			}
			if i < 2 {
				if err := deliver(l, c.Batches[0]); err != nil {
					t.Fatal(err)
				}
			}
		}
		keys := func(want int64) {
			t.Helper()
			if s, err := l.Stats(t.Context()); err != nil || s.Keys != want {
				t.Errorf("%d keys, want %d (%v)", s.Keys, want, err)
			}
		}
		seen := func(n uint64) ingest.Verdict {
			t.Helper()
			recs := []ingest.Judged{{Pos: ingest.Position{Record: 1000}, Key: numbered(n), Verdict: ingest.New}}
			if err := l.Judge(t.Context(), id, "p", recs); err != nil {
				t.Fatal(err)
			}
			return recs[0].Verdict
		}
		jump = 1000 * time.Hour // no clock that anything expires by
		time.Sleep(60 * time.Minute)
		keys(300)
		// One is seen again, and stored with the next claim.
		if seen(5) != ingest.Duplicate {
			t.Error("a key is forgotten too early")
		}
		if _, err := claim(l, id, 301, 1, 9000); err != nil {
			t.Fatal(err)
		}
		time.Sleep(35 * time.Minute)
		keys(102) // the pending ones, and the one that was seen again
		if seen(5) != ingest.Duplicate || seen(2003) != ingest.Follow {
			t.Error("a key that was seen again, or is under way, is forgotten")
		}
		if v := seen(6); v != ingest.New {
			t.Errorf("an expired key is judged %d", v)
		}
		l.Unjudge(id, "p", []ingest.Key{numbered(6)})
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		// On disk, too.
		db, err := os.ReadFile(filepath.Join(dir, "ledger.db"))
		if err != nil {
			t.Fatal(err)
		}
		for n, want := range map[uint64]bool{5: true, 2003: true} {
			k := numbered(n)
			if got := bytes.Contains(db, k[:]); got != want {
				t.Errorf("key %d on disk: %v", n, got)
			}
		}
	})
}

// TestMarkMovesOn: a copy of the ledger that is older than a quarter of an hour
// is told from it, though both are of one run.
func TestMarkMovesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, cold := t.TempDir(), t.TempDir()
		l := open(t, dir)
		accept(t, l, "f")
		copyFiles(t, dir, cold)
		time.Sleep(15 * time.Minute)
		synctest.Wait()
		crashed := t.TempDir()
		copyFiles(t, dir, crashed)
		for _, name := range []string{"ledger.db", "ledger.db-wal"} {
			b, err := os.ReadFile(filepath.Join(cold, name))
			if err == nil {
				err = os.WriteFile(filepath.Join(crashed, name), b, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		refused(t, crashed)
		l.Close()
	})
}
