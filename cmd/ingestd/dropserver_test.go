package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

const dropConfig = `
state_dir: state
admin: {listen: "unix:admin.sock", token: open-sesame}
sftp_server:
  listen: 127.0.0.1:0
  users:
    acme: {authorized_keys: ["KEY"], home: homes/acme}
sinks:
  api: {type: http, url: TARGET/orders, retry: {initial: 20ms, max: 1s}}
pipelines:
  orders:
    source: {type: sftp_drop, user: acme, path: orders/}
    record: {key: [id]}
    sinks: [api]
`

// A dropShop is a shop whose partner has a key.
type dropShop struct {
	*shop
	key  ssh.Signer
	file string
}

func newDropShop(t *testing.T) *dropShop {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(k, "")
	if err != nil {
		t.Fatal(err)
	}
	s := &dropShop{}
	if s.key, err = ssh.NewSignerFromKey(k); err != nil {
		t.Fatal(err)
	}
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.key.PublicKey())))
	s.shop = newShop(t, strings.ReplaceAll(dropConfig, "KEY", line))
	s.write("id", string(pem.EncodeToMemory(block)))
	s.file = filepath.Join(s.dir, "id")
	return s
}

var dropListens = regexp.MustCompile(`sftp server listens.*?"?address"?[=:]"?(127\.0\.0\.1:\d+)`)

// address is where a daemon's drop server listens.
func (s *dropShop) address(d *process) string {
	s.t.Helper()
	var found []string
	s.until("the sftp server to listen", func() bool {
		found = dropListens.FindStringSubmatch(d.out.String())
		return found != nil
	})
	return found[1]
}

func (s *dropShop) sftp(addr, user, batch string) (string, error) {
	s.t.Helper()
	if _, err := exec.LookPath("sftp"); err != nil {
		s.t.Skip("no sftp command: apt-get install openssh-client")
	}
	host, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command("sftp", "-q", "-b", "-", "-i", s.file, "-P", port, "-F", "none", "-o", "IdentitiesOnly=yes",
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", user+"@"+host)
	cmd.Stdin, cmd.Dir = strings.NewReader(batch), s.dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (s *dropShop) put(addr, batch string) {
	s.t.Helper()
	if out, err := s.sftp(addr, "acme", batch); err != nil {
		s.t.Fatalf("sftp: %v\n%s", err, out)
	}
}

// TestDropServer is a partner's day: uploads with OpenSSH, reloads under its
// feet, and each record at the target once.
func TestDropServer(t *testing.T) {
	t.Parallel()
	s := newDropShop(t)
	if out := s.ask(0, "check"); !strings.Contains(out, "host keys are made at the first start") {
		t.Errorf("check: %s", out)
	}
	d := s.start("run")
	addr := s.address(d)
	s.write("a.csv", "id,name\n1,one\n2,two\n")
	s.write("b.csv", "id,name\n3,three\n")
	s.put(addr, "put a.csv orders/a.csv\nput b.csv orders/b.csv.tmp\nls orders\nrename orders/b.csv.tmp orders/b.csv\n")
	s.arrival("a.csv", "done")
	s.arrival("b.csv", "done")
	if out := s.ask(0, "status"); !strings.Contains(out, "host key ED25519 SHA256:") {
		t.Errorf("status: %s", out)
	}
	if out := s.ask(0, "check"); !strings.Contains(out, "host key RSA SHA256:") {
		t.Errorf("check: %s", out)
	}
	if out := s.ask(0, "arrivals", "--json"); !strings.Contains(out, `"source":"sftp_drop"`) {
		t.Errorf("arrivals: %s", out)
	}

	// A reload brings a partner and keeps the listener, and who is logged in.
	conn, err := ssh.Dial("tcp", addr, &ssh.ClientConfig{
		User: "acme", Auth: []ssh.AuthMethod{ssh.PublicKeys(s.key)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: within,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client, err := sftp.NewClient(conn)
	if err != nil {
		t.Fatal(err)
	}
	half, err := client.Create("orders/c.csv")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := half.Write([]byte("id,name\n4,f")); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	s.write("ingestd.yaml", "include: [conf.d/*.yaml]\n"+string(good))
	s.write("id.pub", strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.key.PublicKey()))))
	letter := s.ask(0, "init", "--partner", "newco", "--key", filepath.Join(s.dir, "id.pub"), "--host", "in.example.com")
	for _, want := range []string{"newco@in.example.com", "ED25519 SHA256:", "put FILE /in/", "[in.example.com]:0 ssh-ed25519"} {
		if !strings.Contains(letter, want) {
			t.Errorf("the letter has no %q:\n%s", want, letter)
		}
	}
	s.ask(2, "init", "--partner", "newco")
	s.ask(0, "reload")
	s.write("e.csv", "id,name\n5,five\n")
	if out, err := s.sftp(addr, "newco", "put e.csv in/e.csv\n"); err != nil {
		t.Fatalf("the new partner: %v\n%s", err, out)
	}
	s.arrival("e.csv", "done")
	if _, err := half.Write([]byte("our\n")); err != nil {
		t.Errorf("an upload under way at the reload: %v", err)
	}
	if err := half.Close(); err != nil {
		t.Error(err)
	}
	s.arrival("c.csv", "done")

	// Without the partner its connection ends.
	s.write("ingestd.yaml", string(good))
	s.ask(0, "reload")
	if out, err := s.sftp(addr, "newco", "ls\n"); err == nil {
		t.Errorf("a partner that is gone: %s", out)
	}
	// A config that cannot be served is refused, and the old one goes on.
	s.write("ingestd.yaml", strings.Replace(string(good), "listen: 127.0.0.1:0", "listen: "+addr, 1))
	s.ask(2, "reload")
	s.put(addr, "ls\n")

	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	d.ends(0, 15*time.Second)
	s.write("ingestd.yaml", string(good))
	s.ask(0, "audit")
	stats, err := s.target.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if stats.IDs != 5 {
		t.Errorf("the target took %d ids: %+v", stats.IDs, stats)
	}
}

// TestDropServerKilled kills the daemon while a partner uploads: a file of
// which the close was answered is an arrival after the restart, one that was
// not closed is none, and nothing is sent twice.
func TestDropServerKilled(t *testing.T) {
	t.Parallel()
	s := newDropShop(t)
	rnd := mathrand.New(mathrand.NewPCG(7, 7))
	whole := 0
	for round := range knob(t, "TORTURE_KILLS", 4) {
		d := s.start("run")
		addr := s.address(d)
		conn, err := ssh.Dial("tcp", addr, &ssh.ClientConfig{
			User: "acme", Auth: []ssh.AuthMethod{ssh.PublicKeys(s.key)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: within,
		})
		if err != nil {
			t.Fatal(err)
		}
		client, err := sftp.NewClient(conn)
		if err != nil {
			t.Fatal(err)
		}
		// Never closed: it must never arrive.
		open, err := client.Create(fmt.Sprintf("orders/open-%d.csv", round))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(open, "id,name\nopen-%d,x\n", round); err != nil {
			t.Fatal(err)
		}
		last := 5 + rnd.IntN(20)
		for i := 0; ; i++ {
			name := fmt.Sprintf("orders/r%d-%d.csv", round, i)
			f, err := client.Create(name)
			if err != nil {
				break
			}
			_, werr := fmt.Fprintf(f, "id,name\nr%d-%d,x\n", round, i)
			if i == last { // while this one is being closed
				go d.cmd.Process.Kill()
			}
			cerr := f.Close()
			if werr == nil && cerr == nil {
				whole++
				continue
			}
			// Its fate is unknown; the partner sends it again, as partners do.
			s.write("again.csv", fmt.Sprintf("id,name\nr%d-%d,x\n", round, i))
			d.ends(-1, within)
			again := s.start("run")
			s.put(s.address(again), "put again.csv "+name+"\n")
			whole++
			_ = again.cmd.Process.Kill()
			again.ends(-1, within)
			break
		}
		conn.Close()
		_ = d.cmd.Process.Kill()
	}
	d := s.start("run")
	addr := s.address(d)
	s.until("all that was closed to arrive", func() bool {
		stats, err := s.target.Stats(t.Context())
		return err == nil && stats.IDs >= int64(whole)
	})
	out, err := s.sftp(addr, "acme", "ls -1 orders\n")
	if err != nil || strings.Contains(out, "r0-") {
		t.Errorf("left in the drop: %v\n%s", err, out)
	}
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	d.ends(0, 15*time.Second)
	s.ask(0, "audit")
	stats, err := s.target.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if stats.IDs != int64(whole) {
		t.Errorf("the target took %d ids, want %d: %+v", stats.IDs, whole, stats)
	}
}
