// Package sshdtest runs real OpenSSH servers for tests: each on a free port of
// the loopback, with keys and a config of its own, for the user that runs the
// test.
package sshdtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// A Server is an sshd.
type Server struct {
	Addr       string   // host:port
	User       string   // who may log in
	Key        string   // with this private key, in OpenSSH's format
	KeyFile    string   // the same, for OpenSSH's own clients
	HostKeys   []string // lines of host_keys, ed25519 first
	KnownHosts string   // a known_hosts file with them

	t     testing.TB
	dir   string
	extra []string
	port  int
	cmd   *exec.Cmd
	done  chan struct{}
}

// Start starts an sshd and stops it when the test ends. extra are further lines
// of its config. Without an installed sshd the test is skipped.
func Start(t testing.TB, extra ...string) *Server {
	t.Helper()
	Path(t)
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, User: me.Username, dir: t.TempDir(), extra: extra}
	s.Key = s.write("user_key", NewKey(t, "ed25519"))
	s.KeyFile = filepath.Join(s.dir, "user_key")
	signer, err := ssh.ParsePrivateKey([]byte(s.Key))
	if err != nil {
		t.Fatal(err)
	}
	s.write("authorized_keys", string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
	s.NewHostKeys("ed25519", "ecdsa")
	t.Cleanup(s.Kill)
	s.Start()
	return s
}

// Path is where sshd is installed; without one the test is skipped.
func Path(t testing.TB) string {
	t.Helper()
	for _, path := range []string{"/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"} {
		if fi, err := os.Stat(path); err == nil && fi.Mode()&0o111 != 0 {
			return path
		}
	}
	t.Skip("there is no sshd here; .ci/need sshd installs it")
	return ""
}

// NewHostKeys gives the server new host keys of these types (ed25519, ecdsa,
// rsa), which it shows from its next start on.
func (s *Server) NewHostKeys(types ...string) {
	s.t.Helper()
	s.HostKeys = nil
	for _, old := range []string{"ed25519", "ecdsa", "rsa"} {
		os.Remove(filepath.Join(s.dir, "host_"+old))
	}
	for _, typ := range types {
		signer, err := ssh.ParsePrivateKey([]byte(s.write("host_"+typ, NewKey(s.t, typ))))
		if err != nil {
			s.t.Fatal(err)
		}
		s.HostKeys = append(s.HostKeys, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))))
	}
}

// AllowKey lets the holder of another public key log in too.
func (s *Server) AllowKey(line string) {
	s.t.Helper()
	path := filepath.Join(s.dir, "authorized_keys")
	old, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	s.write("authorized_keys", string(old)+strings.TrimSpace(line)+"\n")
}

// HostKeyFile is the private host key of a type, for certificates.
func (s *Server) HostKeyFile(typ string) string { return filepath.Join(s.dir, "host_"+typ) }

// Restart starts the server anew with further lines of its config.
func (s *Server) Restart(extra ...string) {
	s.t.Helper()
	s.Kill()
	s.extra = append(s.extra, extra...)
	s.Start()
}

// Start starts the server again after Kill, at the same address.
func (s *Server) Start() {
	s.t.Helper()
	if os.Geteuid() == 0 { // where it locks up what it does before a login
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			s.t.Fatal(err)
		}
	}
	for try := range 5 {
		if s.port == 0 || try > 0 && s.Addr == "" {
			s.port = freePort(s.t)
		}
		if s.start() {
			return
		}
	}
	log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	s.t.Fatalf("sshd does not start:\n%s", log)
}

func (s *Server) start() bool {
	lines := []string{
		"Port " + strconv.Itoa(s.port), "ListenAddress 127.0.0.1", "PidFile none", "UsePAM no", "StrictModes no",
		"PermitRootLogin yes", "PasswordAuthentication no", "AuthorizedKeysFile " + filepath.Join(s.dir, "authorized_keys"),
		"Subsystem sftp internal-sftp", "MaxStartups 100", "LogLevel VERBOSE",
	}
	for _, typ := range []string{"ed25519", "ecdsa", "rsa"} {
		if _, err := os.Stat(s.HostKeyFile(typ)); err == nil {
			lines = append(lines, "HostKey "+s.HostKeyFile(typ))
		}
	}
	// The first value of a keyword counts: extra goes before.
	s.write("sshd_config", strings.Join(append(append([]string{}, s.extra...), lines...), "\n")+"\n")
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	s.cmd = exec.Command(Path(s.t), "-D", "-e", "-f", filepath.Join(s.dir, "sshd_config"))
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = dies()
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		cmd.Wait()
		close(done)
	}(s.cmd, s.done)
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		if c, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			buf := make([]byte, 4)
			c.SetReadDeadline(time.Now().Add(5 * time.Second))
			_, err = c.Read(buf)
			c.Close()
			if err == nil && string(buf) == "SSH-" {
				s.Addr = addr
				host, port, _ := net.SplitHostPort(addr)
				var known strings.Builder
				for _, k := range s.HostKeys {
					fmt.Fprintf(&known, "[%s]:%s %s\n", host, port, k)
				}
				s.write("known_hosts", known.String())
				s.KnownHosts = filepath.Join(s.dir, "known_hosts")
				return true
			}
		}
		select {
		case <-s.done:
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
	s.Kill()
	return false
}

// Kill ends the server and all its sessions at once, as a power cut would.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	family := descendants(s.cmd.Process.Pid)
	s.cmd.Process.Signal(syscall.SIGKILL)
	for _, pid := range family {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	<-s.done
	s.cmd = nil
}

// Stop halts the sessions that there are, so that they are silent but alive; the
// returned function lets them go on.
func (s *Server) Stop() (goOn func()) {
	family := descendants(s.cmd.Process.Pid)
	for _, pid := range family {
		syscall.Kill(pid, syscall.SIGSTOP)
	}
	return func() {
		for _, pid := range family {
			syscall.Kill(pid, syscall.SIGCONT)
		}
	}
}

// Log is what the server wrote.
func (s *Server) Log() string {
	b, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

func (s *Server) write(name, text string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return text
}

// descendants are the processes that pid started, and theirs.
func descendants(pid int) (all []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	children := map[int][]int{}
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// "pid (name) state ppid …", where the name may hold anything.
		text := string(b)
		fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
		if len(fields) < 2 {
			continue
		}
		of, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		parent, perr := strconv.Atoi(fields[1])
		if err == nil && perr == nil {
			children[parent] = append(children[parent], of)
		}
	}
	for queue := children[pid]; len(queue) > 0; queue = queue[1:] {
		all = append(all, queue[0])
		queue = append(queue, children[queue[0]]...)
	}
	return all
}

func freePort(t testing.TB) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// NewKey makes a private key of a type (ed25519, ecdsa, rsa) in OpenSSH's format.
func NewKey(t testing.TB, typ string) string {
	t.Helper()
	var (
		key crypto.PrivateKey
		err error
	)
	switch typ {
	case "ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case "ecdsa":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "rsa":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		t.Fatalf("no key type %q", typ)
	}
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "test")
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block))
}
