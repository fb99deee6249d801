package dir_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ingestd/ingest/source"
	"ingestd/ingest/source/dir"
	"ingestd/ingest/spool"
)

// Some faults do not exist for root, others would be everybody's: their tests
// run this binary again as nobody in particular.
const nobody = 54_321

// asNobody runs a test of this name in a process without rights, with a
// directory that is its own.
func asNobody(t *testing.T) (own string, here bool) {
	t.Helper()
	if own := os.Getenv("DIR_TEST_OWN"); own != "" {
		return own, true
	}
	own = tempDir(t)
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "DIR_TEST_OWN="+own)
	cmd.Dir = "/"
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		if err := os.Chown(own, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
	if strings.Contains(string(out), "no tests to run") {
		t.Errorf("no such test as nobody")
	}
	return "", false
}

// inOwn makes a world below own.
func inOwn(t *testing.T, own string, change func(*dir.Options)) *world {
	t.Helper()
	w := &world{
		t: t, folder: filepath.Join(own, "drop"), eng: newEngine(t), log: &lockedBuffer{},
		states: make(chan error, 1024), problems: make(chan *source.Problem, 1024),
	}
	if err := os.Mkdir(w.folder, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	var err error
	w.spool, err = spool.Open(filepath.Join(own, "state"))
	w.must(err)
	w.o = w.options()
	if change != nil {
		change(&w.o)
	}
	w.renew()
	return w
}

// Files and directories that may not be read are told about once and tried
// again; the others go on.
func TestUnreadable(t *testing.T) {
	own, here := asNobody(t)
	if !here {
		return
	}
	w := inOwn(t, own, func(o *dir.Options) {
		o.Rules.Recursive, o.Rescan = true, time.Millisecond
	})
	w.write("a.csv", "1")
	w.must(os.Chmod(w.path("a.csv"), 0))
	w.write("closed/b.csv", "1")
	w.must(os.Chmod(w.path("closed"), 0))
	defer os.Chmod(w.path("closed"), 0o755)
	w.run()
	w.write("c.csv", "1")
	if c := w.eng.next(); c.Name != "c.csv" {
		t.Errorf("took %q", c.Name)
	}
	told := map[string]bool{}
	for range 2 {
		p := w.problem()
		told[p.Name] = p.Kind == source.Unreadable && errors.Is(p, fs.ErrPermission)
	}
	if !told["a.csv"] || !told["closed"] {
		t.Errorf("told %v", told)
	}
	for i := range 30 { // listings
		w.write(fmt.Sprint(i), "1")
		w.eng.next()
	}
	if len(w.problems) != 0 {
		t.Errorf("told again: %v", <-w.problems)
	}
	w.must(os.Chmod(w.path("a.csv"), 0o600))
	if a := w.eng.next(); a.Name != "a.csv" {
		t.Errorf("took %q", a.Name)
	}
	w.must(os.Chmod(w.path("closed"), 0o700))
	if b := w.eng.next(); b.Name != "closed/b.csv" {
		t.Errorf("took %q", b.Name)
	}
}

// A folder that may not be written to is an error that says what to do, and
// nothing is delivered from it, unless it is told to keep: then copies are.
func TestReadOnlyFolder(t *testing.T) {
	own, here := asNobody(t)
	if !here {
		return
	}
	w := inOwn(t, own, func(o *dir.Options) { o.Rescan = time.Millisecond })
	w.write("a.csv", "1")
	w.must(os.Chmod(w.folder, 0o555))
	defer os.Chmod(w.folder, 0o755)
	err := w.src.Sweep(context.Background(), w.eng)
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "keep") {
		t.Errorf("got %v", err)
	}
	if shown := w.state(); shown == nil || shown.Error() != err.Error() {
		t.Errorf("shown: %v", shown)
	}
	w.eng.none()

	w.o.WhenDone = source.When{Action: "keep"}
	w.renew()
	w.sweep()
	a := w.eng.next()
	w.end(a, "failed")
	w.sweep()
	w.eng.none()

	w.must(os.Chmod(w.folder, 0o311)) // may be entered, not listed
	if err := w.src.Sweep(context.Background(), w.eng); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v", err)
	}
}

// At a limit of the kernel the folder is polled, with one warning.
func TestNoNotifications(t *testing.T) {
	own, here := asNobody(t)
	if !here {
		return
	}
	var held []int
	for {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
		if err != nil {
			t.Logf("after %d: %v", len(held), err)
			break
		}
		held = append(held, fd)
	}
	defer func() {
		for _, fd := range held {
			unix.Close(fd)
		}
	}()
	w := inOwn(t, own, func(o *dir.Options) { o.Rescan = time.Millisecond })
	stop := w.run()
	w.write("a.csv", "1")
	w.eng.next()
	stop()
	stop = w.run()
	w.write("b.csv", "1")
	w.eng.next()
	stop()
	if n := w.log.count("polled"); n != 1 {
		t.Errorf("%d warnings", n)
	}
}
