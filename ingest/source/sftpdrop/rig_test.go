package sftpdrop_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/source/sftpdrop"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// patience bounds waits that are not expected to be long.
const patience = 20 * time.Second

// patienceTime is a time that no file has by itself.
var patienceTime = time.Unix(1_600_000_000, 0)

// secretHash is of the password "secret".
const secretHash = "$2a$10$p.68SLHKh7FbKdtR8YCkxuGFECFZcZ4cFWdOj0CHaM7af4TIf9AkS"

// A rig is a drop server on a free port with the user acme, who has a key and
// the password "secret".
type rig struct {
	t       testing.TB
	server  *sftpdrop.Server
	set     sftpdrop.Settings
	home    string
	addr    string
	key     ssh.Signer
	keyFile string // of the key, for OpenSSH
	log     *buffer
	full    string // what Options.Full says; before start only

	mu      sync.Mutex
	arrived []string
	stop    func()
}

// newRig makes a server that begins with start.
func newRig(t testing.TB, change func(*sftpdrop.Settings)) *rig {
	t.Helper()
	r := &rig{t: t, home: filepath.Join(t.TempDir(), "home"), log: &buffer{}}
	r.key, r.keyFile = newKey(t)
	host, _ := newKey(t)
	r.set = sftpdrop.Settings{HostKeys: []ssh.Signer{host}, Users: []sftpdrop.User{{
		Name: "acme", Home: r.home, Folders: []string{"orders"}, PasswordHash: ingest.NewSecret(secretHash),
		AuthorizedKeys: []string{string(ssh.MarshalAuthorizedKey(r.key.PublicKey()))},
	}}}
	if change != nil {
		change(&r.set)
	}
	r.server = r.newServer()
	r.start()
	return r
}

func (r *rig) newServer() *sftpdrop.Server {
	return sftpdrop.New(sftpdrop.Options{
		Logger: slog.New(slog.NewTextHandler(r.log, nil)),
		Full:   func() string { return r.full },
		Arrived: func(user, name string) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.arrived = append(r.arrived, name)
		},
	})
}

func (r *rig) start() {
	r.t.Helper()
	if err := r.server.Configure(r.set); err != nil {
		r.t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	r.addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.server.Serve(ctx, ln) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("serve: %v", err)
		}
	})
	r.t.Cleanup(r.stop)
}

// restart is a new process on the same home.
func (r *rig) restart() {
	r.t.Helper()
	r.stop()
	r.server = r.newServer()
	r.start()
}

func newKey(t testing.TB) (ssh.Signer, string) {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(k, "test")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "id")
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return s, file
}

// dial logs in.
func (r *rig) dial(user string, auth ...ssh.AuthMethod) (*ssh.Client, error) {
	return ssh.Dial("tcp", r.addr, &ssh.ClientConfig{
		User: user, Auth: auth, Timeout: patience, HostKeyCallback: ssh.FixedHostKey(r.set.HostKeys[0].PublicKey()),
	})
}

// client is SFTP as acme.
func (r *rig) client() *sftp.Client {
	r.t.Helper()
	c, err := r.dial("acme", ssh.PublicKeys(r.key))
	if err != nil {
		r.t.Fatal(err)
	}
	s, err := sftp.NewClient(c)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { s.Close(); c.Close() })
	return s
}

// openSSH runs the sftp command with a batch and returns what it said.
func (r *rig) openSSH(batch string) (string, error) {
	r.t.Helper()
	if _, err := exec.LookPath("sftp"); err != nil {
		r.t.Skip("no sftp command: apt-get install openssh-client")
	}
	host, port, _ := net.SplitHostPort(r.addr)
	cmd := exec.Command("sftp", "-q", "-b", "-", "-i", r.keyFile, "-P", port, "-F", "none",
		"-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "acme@"+host)
	cmd.Stdin = strings.NewReader(batch)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// mustSFTP is openSSH that must succeed.
func (r *rig) mustSFTP(batch string) string {
	r.t.Helper()
	out, err := r.openSSH(batch)
	if err != nil {
		r.t.Fatalf("sftp: %v\n%s", err, out)
	}
	return out
}

// local makes a file for a client to upload.
func (r *rig) local(name string, data []byte) string {
	r.t.Helper()
	path := filepath.Join(r.t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		r.t.Fatal(err)
	}
	return path
}

// stands checks what is under a name on the server's disk; nil: nothing.
func (r *rig) stands(name string, want []byte) {
	r.t.Helper()
	got, err := os.ReadFile(filepath.Join(r.home, name))
	switch {
	case want == nil && errors.Is(err, fs.ErrNotExist):
	case want == nil:
		r.t.Errorf("%s stands there: %d bytes, %v", name, len(got), err)
	case err != nil:
		r.t.Error(err)
	case !bytes.Equal(got, want):
		r.t.Errorf("%s: %d bytes, want %d", name, len(got), len(want))
	}
}

// told checks what Arrived heard.
func (r *rig) told(want ...string) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.arrived, want) {
		r.t.Errorf("arrived: %q, want %q", r.arrived, want)
	}
}

// parts is how many unfinished uploads there are on disk.
func (r *rig) parts() int {
	names, _ := filepath.Glob(filepath.Join(r.home, ".ingestd/uploads/*.part"))
	return len(names)
}

// until waits for something that happens by itself.
func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("waited in vain: %s\n%s", what, r.log)
		}
	}
}

// data is n bytes that are nowhere the same.
func data(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8*13 + i>>16*31)
	}
	return b
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// BenchmarkUpload puts 64 MiB with OpenSSH's own client.
func BenchmarkUpload(b *testing.B) {
	r := newRig(b, nil)
	const size = 64 << 20
	file := r.local("big", data(size))
	b.SetBytes(size)
	for i := 0; b.Loop(); i++ {
		r.mustSFTP(fmt.Sprintf("put %s orders/%d\n", file, i))
	}
}

// BenchmarkSmall is what one small file costs, fsync included.
func BenchmarkSmall(b *testing.B) {
	r := newRig(b, nil)
	c, text := r.client(), data(1000)
	for i := 0; b.Loop(); i++ {
		f, err := c.Create(fmt.Sprintf("orders/%d", i))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := f.Write(text); err != nil {
			b.Fatal(err)
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
