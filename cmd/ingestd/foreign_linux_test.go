package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestDropOfAnotherUser takes up a file that belongs to somebody else, from a
// folder that does too, by the folder's group and its setgid bit alone, as
// docs/operate.md has them set for OpenSSH. One that its owner closed to the
// group stays, and is told of.
func TestDropOfAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can be two users")
	}
	const partner, service, group = 65001, 65002, 65003
	s := newShop(t, shopConfig)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// Where Go keeps tests, others may not go.
	binary := filepath.Join(s.dir, "ingestd")
	b, err := os.ReadFile(os.Args[0])
	must(err)
	must(os.WriteFile(binary, b, 0o755))
	must(os.Chmod(filepath.Dir(s.dir), 0o711))
	must(os.Chown(s.config, service, service))
	must(os.Mkdir(filepath.Join(s.dir, "state"), 0o750))
	must(os.Chown(filepath.Join(s.dir, "state"), service, service))
	drop := filepath.Join(s.dir, "drop")
	must(os.Chown(drop, partner, group))
	must(os.Chmod(drop, 0o770|fs.ModeSetgid))

	as := func(uid, gid uint32, groups []uint32, code int, name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = s.dir
		cmd.Env = append(os.Environ(), asMain+"=1", "INGESTD_CONFIG=")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid, Groups: groups}}
		out, err := cmd.CombinedOutput()
		var ee *exec.ExitError
		if err != nil && !errors.As(err, &ee) || cmd.ProcessState.ExitCode() != code {
			t.Fatalf("%s %v: %v, want exit code %d\n%s", name, args, err, code, out)
		}
		return string(out)
	}
	as(partner, partner, nil, 0, "/bin/sh", "-c", `umask 007; printf 'id,name\n1,one\n' > drop/open.csv; printf 'id,name\n2,two\n' > drop/closed.csv; chmod 600 drop/closed.csv`)

	ours := []uint32{group}
	out := as(service, service, ours, 0, binary, "once", "-c", s.config)
	if !strings.Contains(out, "closed.csv") {
		t.Errorf("nothing is said of the file that cannot be read:\n%s", out)
	}
	if out := as(service, service, ours, 0, binary, "arrivals", "--json", "-c", s.config); !strings.Contains(out, `"open.csv"`) || !strings.Contains(out, `"delivered":1`) {
		t.Errorf("arrivals: %s", out)
	}
	done, err := os.ReadFile(filepath.Join(drop, ".ingestd", "done", "open.csv"))
	must(err)
	if !bytes.Contains(done, []byte("1,one")) {
		t.Errorf("put away: %q", done)
	}
	if _, err := os.Stat(filepath.Join(drop, "closed.csv")); err != nil {
		t.Errorf("the file that cannot be read: %v", err)
	}
}
