package ledger_test

import (
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/ledger"
)

func open(t *testing.T, dir string) (*ledger.Ledger, error) {
	t.Helper()
	return ledger.Open(t.Context(), ledger.Options{Dir: dir, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
}

func mustOpen(t *testing.T, dir string) *ledger.Ledger {
	t.Helper()
	l, err := open(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func accept(t *testing.T, l *ledger.Ledger, n int) {
	t.Helper()
	for i := range n {
		if _, err := l.Accept(t.Context(), "p", "p", []ingest.Found{{Source: "dir", Name: fmt.Sprint(i), Path: "/x", Size: 1, ModTime: time.Unix(1, 0)}}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSecondOwnerIsRefused(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir)
	_, err := open(t, dir)
	var locked *ledger.LockedError
	if !errors.As(err, &locked) || locked.PID != os.Getpid() {
		t.Errorf("a second owner: %v", err)
	}
	accept(t, l, 1) // the first is unharmed
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, dir).Close()
}

func TestDamageIsRefused(t *testing.T) {
	for name, damage := range map[string]func(b []byte) []byte{
		"no database": func(b []byte) []byte { copy(b, "this is no database at all"); return b },
		"zeroed page": func(b []byte) []byte { clear(b[4096:8192]); return b },
		"cut":         func(b []byte) []byte { return b[:len(b)/2] },
		"empty":       func(b []byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			l := mustOpen(t, dir)
			accept(t, l, 50)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "ledger.db")
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			b = damage(b)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			if l, err := open(t, dir); err == nil {
				l.Close()
				t.Fatal("it was opened")
			} else if !strings.Contains(err.Error(), path) {
				t.Errorf("the error does not name the file: %v", err)
			}
			after, err := os.ReadFile(path)
			if err != nil || len(b) > 0 && string(after) != string(b) {
				t.Errorf("it was changed: %d bytes, then %d (%v)", len(b), len(after), err)
			}
		})
	}
}

func TestLostAndOlderLedgersAreRefused(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ledger.db")
	l := mustOpen(t, dir)
	accept(t, l, 1)
	l.Close()
	backup, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	mustOpen(t, dir).Close()
	if err := os.WriteFile(path, backup, 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err := open(t, dir); err == nil {
		l.Close()
		t.Error("an older ledger was opened")
	} else if !strings.Contains(err.Error(), "older") {
		t.Errorf("an older ledger: %v", err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		os.Remove(path + suffix)
	}
	if l, err := open(t, dir); err == nil {
		l.Close()
		t.Error("it began anew where there was a ledger")
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	dir := t.TempDir()
	mustOpen(t, dir).Close()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("PRAGMA user_version = 999"); err != nil {
		t.Fatal(err)
	}
	db.Close()
	_, err = open(t, dir)
	var newer *ledger.NewerError
	if !errors.As(err, &newer) || newer.Have != 999 {
		t.Errorf("a newer schema: %v", err)
	}
}

// TestForeignLockIsWaitedFor: a person's shell holds a write transaction.
func TestForeignLockIsWaitedFor(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir)
	defer l.Close()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := l.Accept(t.Context(), "p", "p", []ingest.Found{{Source: "dir", Name: "a", Path: "/x"}})
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("written beside a foreign lock: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	if _, err := conn.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
