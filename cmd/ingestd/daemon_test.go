package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ingestd/sinks/sinktest"
)

// within bounds every wait of these tests; none is expected to take so long.
const within = 30 * time.Second

// A shop is a directory with a config, a drop folder and a target in a process
// of its own.
type shop struct {
	t      *testing.T
	dir    string
	config string
	target *sinktest.Process
	env    []string
}

func newShop(t *testing.T, config string) *shop {
	t.Helper()
	s := &shop{t: t, dir: t.TempDir()}
	s.config = filepath.Join(s.dir, "ingestd.yaml")
	var err error
	s.target, err = sinktest.Spawn(context.Background(), sinktest.Options{Journal: filepath.Join(s.dir, "journal")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.target.Stop() })
	s.write("ingestd.yaml", strings.ReplaceAll(config, "TARGET", s.target.URL))
	for _, d := range []string{"drop", "other"} {
		if err := os.Mkdir(filepath.Join(s.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *shop) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// drop puts a whole file into a folder.
func (s *shop) drop(folder, name, text string) {
	s.t.Helper()
	s.write("."+name, text)
	if err := os.Rename(filepath.Join(s.dir, "."+name), filepath.Join(s.dir, folder, name)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shop) command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], append(args, "-c", s.config)...)
	cmd.Env = append(append(os.Environ(), asMain+"=1", "INGESTD_CONFIG="), s.env...)
	return cmd
}

// ask runs a command that must exit with code.
func (s *shop) ask(code int, args ...string) string {
	s.t.Helper()
	cmd := s.command(args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var ee *exec.ExitError
	got := 0
	if errors.As(err, &ee) {
		got = ee.ExitCode()
	} else if err != nil {
		s.t.Fatal(err)
	}
	if got != code {
		s.t.Fatalf("ingestd %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got, code, &out, &errs)
	}
	return out.String() + errs.String()
}

// until asks again until ok, or fails.
func (s *shop) until(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(within); !ok(); {
		if time.Now().After(deadline) {
			s.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// arrival waits until an arrival of that name is in a state.
func (s *shop) arrival(name, state string) {
	s.t.Helper()
	want := fmt.Sprintf("%s to be %s", name, state)
	s.until(want, func() bool {
		for line := range strings.Lines(s.ask(0, "arrivals", "--json")) {
			var v struct{ Name, State string }
			if json.Unmarshal([]byte(line), &v) == nil && v.Name == name && v.State == state {
				return true
			}
		}
		return false
	})
}

// A process is a command that runs in the background.
type process struct {
	s    *shop
	cmd  *exec.Cmd
	out  lockedBuffer
	done chan error
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (s *shop) start(args ...string) *process {
	s.t.Helper()
	p := &process{s: s, cmd: s.command(args...), done: make(chan error, 1)}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	s.t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		if s.t.Failed() || testing.Verbose() {
			s.t.Logf("ingestd %s:\n%s", strings.Join(args, " "), &p.out)
		}
	})
	return p
}

// ends waits for the process, which must exit with code.
func (p *process) ends(code int, limit time.Duration) {
	p.s.t.Helper()
	select {
	case <-p.done:
	case <-time.After(limit):
		p.s.t.Fatalf("it did not end within %s", limit)
	}
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.s.t.Fatalf("exit code %d, want %d\n%s", got, code, &p.out)
	}
}

func (p *process) logs(text string) {
	p.s.t.Helper()
	p.s.until("log line with "+text, func() bool { return strings.Contains(p.out.String(), text) })
}

const shopConfig = `
state_dir: state
admin: {listen: "unix:admin.sock", token: open-sesame}
sinks:
  api:
    type: http
    url: TARGET/orders
    retry: {initial: 20ms, max: 1s}
pipelines:
  orders:
    source: {type: dir, path: drop, settle: 0s, rescan: 1s}
    record: {key: [id]}
    sinks: [api]
`

// TestDaemon is a day in the daemon's life.
func TestDaemon(t *testing.T) {
	t.Parallel()
	s := newShop(t, shopConfig)
	systemd := listenNotify(t)
	s.env = []string{"NOTIFY_SOCKET=" + systemd.path}
	d := s.start("run")
	systemd.expect(t, "READY=1")

	s.drop("drop", "a.csv", "id,name\n1,one\n2,two\n1,again\n")
	s.arrival("a.csv", "done")
	var status struct {
		Running   bool
		PID       int
		Pipelines []struct{ Name, State string }
		Sinks     []struct{ Name, State string }
	}
	if err := json.Unmarshal([]byte(s.ask(0, "status", "--json")), &status); err != nil {
		t.Fatal(err)
	}
	if !status.Running || status.PID != d.cmd.Process.Pid || status.Pipelines[0].State != "idle" || status.Sinks[0].State != "ok" {
		t.Errorf("status: %+v", status)
	}
	s.ask(0, "audit")

	// A second daemon is refused, with the pid of the first.
	began := time.Now()
	second := s.start("run")
	second.ends(2, 10*time.Second)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the second daemon took %s to give up", took)
	}
	if text := second.out.String(); !strings.Contains(text, fmt.Sprint(d.cmd.Process.Pid)) {
		t.Errorf("no pid in %q", text)
	}
	s.ask(2, "once")

	t.Run("admin", func(t *testing.T) { s.adminAPI(t) })

	// Pausing stops the taking up; what waits is taken up after.
	s.ask(0, "pause", "orders")
	s.drop("drop", "b.csv", "id,name\n3,three\n")
	if out := s.ask(0, "status"); !strings.Contains(out, "paused") {
		t.Errorf("status: %s", out)
	}
	s.ask(2, "run-now", "-p", "orders")
	s.ask(0, "resume", "orders")
	s.arrival("b.csv", "done")
	s.ask(0, "run-now", "-p", "orders")
	s.ask(2, "pause", "nobody")

	// A broken config is refused, and the old one goes on.
	good, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	s.write("ingestd.yaml", strings.Replace(string(good), "[api]", "[apu]", 1))
	if err := d.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	systemd.expect(t, "RELOADING=1")
	systemd.expect(t, "READY=1")
	d.logs("the old one goes on")
	s.write("ingestd.yaml", string(good))
	s.drop("drop", "c.csv", "id,name\n4,four\n")
	s.arrival("c.csv", "done")

	// A good one brings a second pipeline.
	s.write("ingestd.yaml", string(good)+"  more:\n    source: {type: dir, path: other, settle: 0s}\n    sinks: [api]\n")
	s.ask(0, "reload")
	systemd.expect(t, "RELOADING=1")
	systemd.expect(t, "READY=1")
	s.drop("other", "d.json", `[{"id":"5"}]`)
	s.arrival("d.json", "done")
	s.drop("drop", "e.csv", "id,name\n1,one\n5,five\n")
	s.arrival("e.csv", "done") // the keys are remembered over the reload

	// A held file, and dead letters, through the daemon.
	s.drop("drop", "held.csv", "nummer,name\n1,x\n")
	s.arrival("held.csv", "held")
	s.ask(0, "reject", "6")
	s.arrival("held.csv", "failed")
	if err := s.target.Set(t.Context(), sinktest.Script{Refuse: []string{"7"}}); err != nil {
		t.Fatal(err)
	}
	s.drop("drop", "f.csv", "id,name\n6,six\n7,seven\n")
	s.arrival("f.csv", "done")
	if err := s.target.Set(t.Context(), sinktest.Script{}); err != nil {
		t.Fatal(err)
	}
	if out := s.ask(0, "dead", "replay", "--all"); !strings.Contains(out, "1 delivered") {
		t.Errorf("replay: %s", out)
	}
	s.ask(0, "replay", "1", "--force", "--yes")
	s.ask(0, "audit")

	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	systemd.expect(t, "STOPPING=1")
	d.ends(0, 12*time.Second)
	if _, err := os.Stat(filepath.Join(s.dir, "state", "control.sock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the control socket is still there: %v", err)
	}
	s.ask(0, "audit")
	stats, err := s.target.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// 1 to 7, 5 of the other pipeline too, and all three of a.csv by force.
	if stats.IDs != 11 {
		t.Errorf("the target took %d ids: %+v", stats.IDs, stats)
	}
}

func (s *shop) adminAPI(t *testing.T) {
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(s.dir, "admin.sock"))
		},
	}}
	for _, c := range []struct {
		path, token string
		want        int
		holds       string
	}{
		{"/healthz", "", 200, "ok"},
		{"/readyz", "", 200, "ready"},
		{"/metrics", "", 401, ""},
		{"/metrics", "open-sesame", 200, `ingestd_arrivals_total{pipeline="orders",state="done"} 1`},
		{"/v1/arrivals", "wrong", 401, ""},
		{"/v1/arrivals", "open-sesame", 200, `"name":"a.csv"`},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost"+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.token != "" {
			req.Header.Set("Authorization", "Bearer "+c.token)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != c.want || !bytes.Contains(body, []byte(c.holds)) {
			t.Errorf("%s with token %q: %d, want %d with %q\n%.500s", c.path, c.token, res.StatusCode, c.want, c.holds, body)
		}
	}
}

// TestStopUnderWay stops a daemon and a once while the target hangs: they end
// in time, and what was under way is finished by the next.
func TestStopUnderWay(t *testing.T) {
	t.Parallel()
	s := newShop(t, strings.Replace(shopConfig, "admin: {listen: \"unix:admin.sock\", token: open-sesame}\n", "", 1))
	hang := sinktest.Script{Always: &sinktest.Step{Do: sinktest.Hang}}
	if err := s.target.Set(t.Context(), hang); err != nil {
		t.Fatal(err)
	}
	s.drop("drop", "a.csv", "id,name\n1,one\n2,two\n")
	d := s.start("run")
	s.until("a request to hang", func() bool {
		st, err := s.target.Stats(t.Context())
		return err == nil && st.Requests > 0
	})
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	d.ends(0, 15*time.Second)

	o := s.start("once")
	s.until("another request to hang", func() bool {
		st, err := s.target.Stats(t.Context())
		return err == nil && st.Requests > 1
	})
	if err := o.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	o.logs("") // it runs
	if err := o.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err) // twice: at once
	}
	o.ends(130, 15*time.Second)

	if err := s.target.Set(t.Context(), sinktest.Script{}); err != nil {
		t.Fatal(err)
	}
	if err := s.target.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.ask(0, "once")
	s.ask(0, "audit")
	v, err := s.target.Judge([]string{"1", "2"})
	if err != nil {
		t.Fatal(err)
	}
	if !v.OK() {
		t.Errorf("the target: %v", v)
	}
}

// A notifySocket is systemd's side of sd_notify(3).
type notifySocket struct {
	path     string
	messages chan string
}

func listenNotify(t *testing.T) *notifySocket {
	t.Helper()
	n := &notifySocket{path: filepath.Join(t.TempDir(), "notify"), messages: make(chan string, 64)}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: n.path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			k, err := conn.Read(buf)
			if err != nil {
				return
			}
			n.messages <- string(buf[:k])
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return n
}

// expect waits for the next message that is not only about the status; it must
// begin so.
func (n *notifySocket) expect(t *testing.T, want string) string {
	t.Helper()
	for {
		select {
		case got := <-n.messages:
			if strings.HasPrefix(got, "STATUS=") || got == "WATCHDOG=1" {
				continue
			}
			if !strings.HasPrefix(got, want) {
				t.Fatalf("systemd was told %q, want %q", got, want)
			}
			return got
		case <-time.After(within):
			t.Fatalf("systemd was not told %s", want)
		}
	}
}
