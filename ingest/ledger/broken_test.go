package ledger_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"ingestd/ingest"
	"ingestd/ingest/ledger"
)

// TestMain runs the test binary again as a process that can be harmed.
func TestMain(m *testing.M) {
	switch os.Getenv("LEDGER_CHILD") {
	case "":
		os.Exit(m.Run())
	case "full":
		os.Exit(writeUntilFull(os.Getenv("LEDGER_DIR")))
	case "busy":
		os.Exit(claimForEver(os.Getenv("LEDGER_DIR")))
	case "open":
		_, err := ledger.Open(context.Background(), ledger.Options{Dir: os.Getenv("LEDGER_DIR"), Logger: quiet()})
		fmt.Println(err)
	}
}

// child is the test binary as another process on a state directory.
func child(t *testing.T, what, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "LEDGER_CHILD="+what, "LEDGER_DIR="+dir)
	cmd.Stderr = os.Stderr
	return cmd
}

// TestDeletedWhileRunning: nothing is reported as done that went into a file
// which is not there.
func TestDeletedWhileRunning(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"ledger.db", "ledger.db-wal"} {
		for what, harm := range map[string]func(path string) error{
			"deleted": os.Remove,
			"replaced": func(path string) error {
				b, err := os.ReadFile(path)
				if err == nil {
					err = os.WriteFile(path+".new", b, 0o600)
				}
				if err == nil {
					err = os.Rename(path+".new", path)
				}
				return err
			},
		} {
			t.Run(name+" "+what, func(t *testing.T) {
				dir := t.TempDir()
				l := open(t, dir)
				id := accept(t, l, "f")
				if err := harm(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
				_, err := claim(l, id, 1, 10, 0)
				var broken *ledger.BrokenError
				if !errors.As(err, &broken) || !strings.Contains(err.Error(), name) {
					t.Fatalf("a claim was answered %v", err)
				}
				<-l.Broken()
				if err := l.Err(); !errors.As(err, &broken) {
					t.Errorf("%v", err)
				}
				if err := l.Judge(t.Context(), id, "p", nil); !errors.As(err, &broken) {
					t.Errorf("it judges on: %v", err)
				}
				if _, err := l.Settled(t.Context(), id); !errors.As(err, &broken) {
					t.Errorf("it waits on: %v", err)
				}
				if err := l.Barrier(t.Context()); !errors.As(err, &broken) {
					t.Errorf("it writes on: %v", err)
				}
			})
		}
	}
}

// told is a log that says when it was written to.
type told struct {
	slog.Handler
	messages chan string
}

func (h told) Handle(_ context.Context, r slog.Record) error { h.messages <- r.Message; return nil }

// TestLockedByAnother: a person's shell holds the write lock. Everything waits,
// the log says so once, and goes on when it lets go; nothing is lost.
func TestLockedByAnother(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := told{Handler: quiet().Handler(), messages: make(chan string, 10)}
	l, err := ledger.Open(t.Context(), ledger.Options{Dir: dir, Logger: slog.New(log)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	id := accept(t, l, "f")
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	shell, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer shell.Close()
	if _, err := shell.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	const n = 20
	done := make(chan error, n)
	for i := range n {
		c, err := judged(l, id, int64(10*i)+1, 10, uint64(1000*i))
		if err != nil {
			t.Fatal(err)
		}
		l.Claim(c, func(err error) { done <- err })
	}
	if got := <-log.messages; !strings.Contains(got, "write lock") {
		t.Errorf("the log says %q", got)
	}
	select {
	case err := <-done:
		t.Fatalf("a claim was answered while another held the lock: %v", err)
	default:
	}
	if l.Err() != nil {
		t.Fatal(l.Err())
	}
	if _, err := shell.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	for range n {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if got := <-log.messages; !strings.Contains(got, "again") {
		t.Errorf("the log says %q", got)
	}
	if got := len(l.OpenClaims(id)); got != n {
		t.Errorf("%d claims of %d", got, n)
	}
}

// TestReadOnly: a state directory that cannot be written is refused with its
// path.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		dir := worked(t)
		if err := os.Chmod(dir, 0o500); err != nil {
			t.Fatal(err)
		}
		defer os.Chmod(dir, 0o700)
		if err := refused(t, dir); !strings.Contains(err.Error(), dir) {
			t.Errorf("%v", err)
		}
		return
	}
	// Root may write anywhere: another user looks at root's directory.
	dir := worked(t)
	for at := dir; at != filepath.Dir(at) && at != os.TempDir(); at = filepath.Dir(at) {
		if err := os.Chmod(at, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	test := filepath.Join(dir, "test")
	b, err := os.ReadFile(os.Args[0])
	if err == nil {
		err = os.WriteFile(test, b, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := child(t, "open", dir)
	cmd.Path = test
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.Output()
	if err != nil || !strings.Contains(string(out), "permission denied") || !strings.Contains(string(out), dir) {
		t.Errorf("%s, %v", out, err)
	}
}

// writeUntilFull claims until the file may not grow any more, and says what was
// reported as done.
func writeUntilFull(dir string) int {
	l, err := ledger.Open(context.Background(), ledger.Options{Dir: dir, Logger: quiet()})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	ids, err := l.Accept(context.Background(), "p", "p", []ingest.Found{{Name: "f"}})
	if err == nil {
		_, err = l.Begin(context.Background(), ids[0], nil)
	}
	if err == nil {
		err = syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1 << 20, Max: 1 << 20})
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	for n := 0; ; n++ {
		if _, err := claim(l, ids[0], int64(100*n)+1, 100, uint64(1000*n)); err != nil {
			var broken *ledger.BrokenError
			if !errors.As(err, &broken) || l.Err() == nil {
				fmt.Println(err)
				return 1
			}
			if err := l.Barrier(context.Background()); !errors.As(err, &broken) {
				fmt.Println("it goes on after a failed write:", err)
				return 1
			}
			fmt.Println(n)
			return 0
		}
	}
}

// TestFullDisk: a write that fails ends all work, and what was reported as done
// before is there at the next start.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	out, err := child(t, "full", dir).Output()
	if err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil || n == 0 {
		t.Fatalf("%q", out)
	}
	l := open(t, dir)
	list, err := l.Unfinished(t.Context(), "p")
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Begin(t.Context(), list[0].ID, nil)
	if err != nil || len(b.Open) < n || len(b.Open) > n+1 {
		t.Fatalf("%d claims were reported as done, %d are there (%v)", n, len(b.Open), err)
	}
	for _, c := range b.Open {
		if err := deliver(l, c.Batches[0]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.End(t.Context(), list[0].ID, ingest.Ending{State: ingest.Done}); err != nil {
		t.Fatal(err)
	}
}
