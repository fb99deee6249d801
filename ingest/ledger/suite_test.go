package ledger_test

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"ingestd/ingest/ledger"
	"ingestd/ingest/ledger/ledgertest"
)

func TestLedger(t *testing.T) {
	ledgertest.Run(t, ledgertest.Driver{Open: openFor, Crash: copyFiles})
}

func openFor(t ledgertest.TB, o ledgertest.Options) ledgertest.Ledger {
	l, err := ledger.Open(t.Context(), ledger.Options{Dir: o.Dir, Logger: quiet(), Keep: o.Keep, Now: o.Now})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// copyFiles copies a state directory as it stands.
func copyFiles(t ledgertest.TB, from, to string) {
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if e.Name() == "lock" || filepath.Ext(e.Name()) == ".db-shm" {
			continue // the kernel's: gone with the process
		}
		b, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, e.Name()), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
