package main

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite"
)

// A shift is a daemon that runs while something is done to it.
type shift struct {
	r   *rack
	cmd *exec.Cmd
	log string
}

func (r *rack) start() *shift {
	r.t.Helper()
	s := &shift{r: r, log: r.path("daemon.log")}
	s.cmd, _ = r.command("run")
	f, err := os.OpenFile(s.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	s.cmd.Stdout, s.cmd.Stderr = f, f
	if err := s.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	return s
}

// until polls for something that another process does.
func (r *rack) until(what string, is func() bool) {
	r.t.Helper()
	for !is() {
		if r.ctx.Err() != nil {
			b, _ := os.ReadFile(r.path("daemon.log"))
			r.t.Fatalf("%s never happens\n%s", what, b)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (s *shift) says(text string) func() bool {
	return func() bool {
		b, _ := os.ReadFile(s.log)
		return strings.Contains(string(b), text)
	}
}

// sent reports whether the target took n requests more than before.
func (r *rack) sent(before int64, n int64) func() bool {
	return func() bool { return r.accepted() >= before+n }
}

func (r *rack) accepted() int64 {
	st, err := r.target.Stats(r.ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	return st.Accepted
}

func (s *shift) end(sig syscall.Signal) {
	s.r.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.r.t.Fatal(err)
	}
	err := s.cmd.Wait()
	if killed := s.cmd.ProcessState.ExitCode() == -1; killed != (sig == syscall.SIGKILL) {
		b, _ := os.ReadFile(s.log)
		s.r.t.Fatalf("the daemon ended: %v\n%s", err, b)
	}
}

// small mounts a small filesystem in memory where the state goes.
func (r *rack) small() (remount func(flags uintptr)) {
	r.t.Helper()
	state := r.path("state")
	if err := os.Mkdir(state, 0o700); err != nil {
		r.t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", state, "tmpfs", 0, "size=24m"); err != nil {
		r.t.Skipf("may not mount a filesystem: %v", err)
	}
	r.t.Cleanup(func() { _ = syscall.Unmount(state, syscall.MNT_DETACH) })
	return func(flags uintptr) {
		r.t.Helper()
		if err := syscall.Mount("tmpfs", state, "tmpfs", syscall.MS_REMOUNT|flags, "size=24m"); err != nil {
			r.t.Fatal(err)
		}
	}
}

// fill leaves no room in the state directory.
func (r *rack) fill() (free func()) {
	r.t.Helper()
	ballast := r.path("state/ballast")
	f, err := os.Create(ballast)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 64<<10); len(block) > 0; {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2]
		} else if err != nil {
			r.t.Fatal(err)
		}
	}
	return func() {
		if err := os.Remove(ballast); err != nil {
			r.t.Fatal(err)
		}
	}
}

// The disk under the ledger is full while files are on their way, twice, once
// with a kill: the daemon waits, and goes on when there is room.
func TestFaultFullDisk(t *testing.T) {
	t.Parallel()
	r := newRack(t, 3*time.Minute, 3000, 11)
	r.small()
	for _, killed := range []bool{false, true} {
		s := r.start()
		before := r.accepted()
		r.drop()
		r.drop()
		r.until("a request", r.sent(before, 1))
		free := r.fill()
		r.drop()
		r.until("word of the full disk", s.says("the ledger cannot be written"))
		if killed {
			s.end(syscall.SIGKILL)
		}
		free()
		if killed {
			continue
		}
		r.until("the end of the files", func() bool { return r.backlog() == 0 })
		s.end(syscall.SIGTERM)
		if err := os.Remove(s.log); err != nil {
			t.Fatal(err)
		}
	}
	r.finish()
	r.judge("full disk, twice, one kill -9 in it")
}

// The state directory is read-only when the daemon comes back: it says so and
// sends nothing; then it is mended.
func TestFaultReadOnly(t *testing.T) {
	t.Parallel()
	r := newRack(t, 2*time.Minute, 3000, 12)
	remount := r.small()
	r.drop()
	r.drop()
	s := r.start()
	r.until("a request", r.sent(0, 2))
	s.end(syscall.SIGKILL)
	remount(syscall.MS_RDONLY)
	before := r.accepted()
	cmd, out := r.command("once")
	if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() == codeNotClean || !strings.Contains(out.String(), "read-only") {
		t.Errorf("once on a read-only state directory: %v\n%s", err, out)
	}
	if r.accepted() != before {
		t.Error("it sent without a ledger")
	}
	remount(0)
	r.finish()
	r.judge("a read-only state directory between a kill -9 and the end")
}

// Another program holds the ledger's lock for seconds, with and without a kill
// meanwhile.
func TestFaultBusy(t *testing.T) {
	t.Parallel()
	hold := time.Duration(knob(t, "TORTURE_BUSY_MS", 400)) * time.Millisecond
	r := newRack(t, 2*time.Minute, 3000, 13)
	r.drop()
	for _, killed := range []bool{true, false} {
		s := r.start()
		before := r.accepted()
		r.drop()
		r.until("a request", r.sent(before, 1))
		db, err := sql.Open("sqlite", "file:"+r.path("state/ledger.db"))
		if err != nil {
			t.Fatal(err)
		}
		conn, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.ExecContext(t.Context(), "PRAGMA busy_timeout = 30000; BEGIN IMMEDIATE"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(hold) // what is tested is that it may take that long
		if killed {
			s.end(syscall.SIGKILL)
		}
		if _, err := conn.ExecContext(t.Context(), "ROLLBACK"); err != nil {
			t.Fatal(err)
		}
		conn.Close()
		db.Close()
		if killed {
			continue
		}
		r.until("the end of the files", func() bool { return r.backlog() == 0 })
		s.end(syscall.SIGTERM)
	}
	r.finish()
	r.judge(fmt.Sprintf("the ledger's lock held by another for %s, twice, one kill -9 in it", hold))
}
