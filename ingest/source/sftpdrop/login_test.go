package sftpdrop_test

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/source/sftpdrop"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

func TestLogin(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(s *sftpdrop.Settings) {
		key, _ := newKey(t)
		s.Users = append(s.Users, sftpdrop.User{
			Name: "keyed", Home: filepath.Join(t.TempDir(), "keyed"), AuthorizedKeys: []string{string(ssh.MarshalAuthorizedKey(key.PublicKey()))},
		})
	})
	var mu sync.Mutex
	var pauses []time.Duration
	r.server.Pauses(func(d time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		pauses = append(pauses, d)
	})
	other, _ := newKey(t)
	for _, tt := range []struct {
		what, user string
		auth       []ssh.AuthMethod
		in         bool
	}{
		{"key", "acme", []ssh.AuthMethod{ssh.PublicKeys(r.key)}, true},
		{"key after others", "acme", []ssh.AuthMethod{ssh.PublicKeys(other, r.key)}, true},
		{"password", "acme", []ssh.AuthMethod{ssh.Password("secret")}, true},
		{"other key", "acme", []ssh.AuthMethod{ssh.PublicKeys(other)}, false},
		{"another's key", "keyed", []ssh.AuthMethod{ssh.PublicKeys(r.key)}, false},
		{"wrong password", "acme", []ssh.AuthMethod{ssh.Password("secre")}, false},
		{"password of a user that has none", "keyed", []ssh.AuthMethod{ssh.Password("")}, false},
		{"unknown user", "nobody\n\x1b[31m", []ssh.AuthMethod{ssh.Password("secret")}, false},
		{"nothing", "acme", nil, false},
	} {
		c, err := r.dial(tt.user, tt.auth...)
		if (err == nil) != tt.in {
			t.Errorf("%s: %v", tt.what, err)
		}
		if err == nil {
			c.Close()
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(pauses) != 3 || !slices.IsSorted(pauses) || pauses[0] == pauses[2] {
		t.Errorf("failed passwords were answered after %v", pauses)
	}
	log := r.log.String()
	for _, want := range []string{"sftp login", "SHA256:", "127.0.0.1", "wrong user or password", "nobody logged in"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log has no %q", want)
		}
	}
	for _, never := range []string{"secre ", "$2a$", "\x1b"} {
		if strings.Contains(log, never) {
			t.Errorf("the log has %q", never)
		}
	}
}

// There is SFTP, and nothing else.
func TestNothingElse(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	c, err := r.dial("acme", ssh.PublicKeys(r.key))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, try := range []func(s *ssh.Session) error{
		func(s *ssh.Session) error { return s.Run("id") },
		func(s *ssh.Session) error { return s.Shell() },
		func(s *ssh.Session) error { return s.RequestPty("xterm", 24, 80, nil) },
		func(s *ssh.Session) error { return s.RequestSubsystem("netconf") },
		func(s *ssh.Session) error {
			ok, err := s.SendRequest("auth-agent-req@openssh.com", true, nil)
			if err == nil && !ok {
				err = net.ErrClosed
			}
			return err
		},
	} {
		s, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		if err := try(s); err == nil {
			t.Error("it was granted")
		}
		s.Close()
	}
	if _, err := c.Dial("tcp", r.addr); err == nil {
		t.Error("a connection was forwarded")
	}
	if ln, err := c.Listen("tcp", "127.0.0.1:0"); err == nil {
		ln.Close()
		t.Error("a listener was forwarded")
	}
	var sessions []*sftp.Client
	for range 4 {
		s, err := sftp.NewClient(c)
		if err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, s)
	}
	if s, err := sftp.NewClient(c); err == nil {
		s.Close()
		t.Error("a fifth session was opened")
	}
	for _, s := range sessions {
		if _, err := s.Getwd(); err != nil {
			t.Error(err)
		}
	}
}

func TestConnectionLimits(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(*sftpdrop.Settings){
		"user":    func(s *sftpdrop.Settings) { s.Users[0].MaxConnections = 2 },
		"address": func(s *sftpdrop.Settings) { s.MaxPerAddress = 2 },
		"all":     func(s *sftpdrop.Settings) { s.MaxConnections = 2 },
	} {
		t.Run(what, func(t *testing.T) {
			r := newRig(t, change)
			a, err := r.dial("acme", ssh.PublicKeys(r.key))
			if err != nil {
				t.Fatal(err)
			}
			b := r.client()
			c, err := r.dial("acme", ssh.PublicKeys(r.key))
			if err == nil {
				_, err = sftp.NewClient(c)
			}
			if err == nil {
				t.Fatal("there is a third connection")
			}
			if _, err := b.Getwd(); err != nil {
				t.Error(err)
			}
			a.Close()
			r.until("the place to be given back", func() bool {
				c, err := r.dial("acme", ssh.PublicKeys(r.key))
				if err != nil {
					return false
				}
				defer c.Close()
				_, err = sftp.NewClient(c)
				return err == nil
			})
		})
	}
}

// Whoever says nothing is shown out: a stranger, and a partner.
func TestSilent(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(s *sftpdrop.Settings) { s.IdleTimeout = 200 * time.Millisecond })
	r.stop()
	r.server = r.newServer()
	r.server.LoginWithin(2 * time.Second)
	r.start()
	stranger, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	c, err := r.dial("acme", ssh.PublicKeys(r.key))
	if err != nil {
		t.Fatal(err)
	}
	c.Wait()
	stranger.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, stranger); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the stranger: %v", err)
	}
	r.until("all connections to be gone", func() bool { return r.server.Connections() == 0 })
}

// Strangers cannot take all the places.
func TestStrangers(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(s *sftpdrop.Settings) { s.MaxPerAddress = 1000 })
	c := r.client()
	for range sftpdrop.MaxUnknown {
		s, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
	}
	r.until("the strangers to be there", func() bool { return r.server.Connections() == sftpdrop.MaxUnknown+1 })
	more, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer more.Close()
	more.SetReadDeadline(time.Now().Add(patience))
	if n, err := io.Copy(io.Discard, more); n > 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("one more: %d bytes, %v", n, err)
	}
	if _, err := c.Getwd(); err != nil {
		t.Errorf("a partner: %v", err)
	}
}

// A reload throws out who would not get in any more, and nobody else.
func TestReconfigured(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	byKey := r.client()
	c, err := r.dial("acme", ssh.Password("secret"))
	if err != nil {
		t.Fatal(err)
	}
	byPassword, err := sftp.NewClient(c)
	if err != nil {
		t.Fatal(err)
	}
	r.set.Users[0].PasswordHash = ingest.NewSecret("")
	if err := r.server.Configure(r.set); err != nil {
		t.Fatal(err)
	}
	if _, err := byKey.Getwd(); err != nil {
		t.Errorf("the one with the key: %v", err)
	}
	r.until("the one with the password to be thrown out", func() bool { _, err := byPassword.Getwd(); return err != nil })
	bad := r.set
	bad.Users = []sftpdrop.User{{Name: "x", Home: "relative"}}
	if err := r.server.Configure(bad); err == nil || !strings.Contains(err.Error(), "authorized_keys or password_hash") {
		t.Errorf("bad settings: %v", err)
	}
	if _, err := byKey.Getwd(); err != nil {
		t.Errorf("after bad settings: %v", err)
	}
	r.set.Users = nil
	if err := r.server.Configure(r.set); err != nil {
		t.Fatal(err)
	}
	r.until("the last one to be thrown out", func() bool { _, err := byKey.Getwd(); return err != nil })
}

// A stop lets an upload come to its end.
func TestStop(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	c := r.client()
	f, err := c.Create("orders/a")
	if err != nil {
		t.Fatal(err)
	}
	f.Write(data(1000))
	stopped := make(chan struct{})
	go func() {
		r.stop()
		close(stopped)
	}()
	r.until("the listener to be closed", func() bool {
		c, err := net.Dial("tcp", r.addr)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	f.WriteAt(data(2000)[1000:], 1000)
	if err := f.Close(); err != nil {
		t.Errorf("an upload under way at the stop: %v", err)
	}
	<-stopped
	r.stands("orders/a", data(2000))
}

func TestCheck(t *testing.T) {
	t.Parallel()
	key, _ := newKey(t)
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key.PublicKey())))
	for _, tt := range []struct {
		user sftpdrop.User
		want string
	}{
		{sftpdrop.User{Home: "/srv/x", AuthorizedKeys: []string{line, "restrict,no-pty " + line + " me"}, PasswordHash: ingest.NewSecret(secretHash)}, ""},
		{sftpdrop.User{Home: "/srv/x", AuthorizedKeys: []string{"ssh-ed25519 AAAA"}}, "authorized_keys: key 1 is no public key"},
		{sftpdrop.User{Home: "/srv/x", AuthorizedKeys: []string{line, `from="10.0.0.1" ` + line}}, `authorized_keys: key 2 has the option "from"`},
		{sftpdrop.User{Home: "/srv/x", AuthorizedKeys: []string{line + "\n" + line}}, "second line"},
		{sftpdrop.User{Home: "/srv/x", PasswordHash: ingest.NewSecret("hunter2")}, "password_hash: it is no bcrypt hash"},
		{sftpdrop.User{Home: "/srv/x", PasswordHash: ingest.NewSecret("$2a$04$" + secretHash[7:])}, "password_hash: it has cost 4"},
		{sftpdrop.User{Home: "/", AuthorizedKeys: []string{line}}, "home:"},
		{sftpdrop.User{Home: "x", AuthorizedKeys: []string{line}}, "home:"},
		{sftpdrop.User{Home: "/srv/x", AuthorizedKeys: []string{line}, Names: []string{"["}}, "names:"},
		{sftpdrop.User{Home: "/srv/x"}, "needs authorized_keys or password_hash"},
	} {
		err := tt.user.Check()
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%+v: %v", tt.user, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("got %v, want %q", err, tt.want)
		case err != nil && strings.Contains(err.Error(), "hunter2"):
			t.Error("a secret is shown")
		}
	}
	for _, p := range []string{"", strings.Repeat("x", 73)} {
		if _, err := sftpdrop.HashPassword([]byte(p)); err == nil {
			t.Errorf("a password of %d bytes was taken", len(p))
		}
	}
}

// lftp is another client, with habits of its own.
func TestLFTP(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("lftp"); err != nil {
		t.Skip("no lftp command: apt-get install lftp")
	}
	r := newRig(t, nil)
	want := data(300_000)
	r.broken("orders/b.csv", want[:100_000])
	dir := filepath.Dir(r.local("a.csv", want))
	cmd := exec.Command("lftp", "-c", `set sftp:auto-confirm yes; set net:max-retries 1; set net:timeout 10;
		set sftp:connect-program "ssh -a -x -F none -o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -i `+r.keyFile+`";
		open -u acme,x sftp://`+r.addr+`;
		put `+dir+`/a.csv -o orders/a.csv; put -c `+dir+`/a.csv -o orders/b.csv; mkdir m; mirror -R `+dir+` m/all; ls -l orders; cls m/all; mv m/all/a.csv m/c.csv; rm m/c.csv`)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("lftp: %v\n%s\n%s", err, out, r.log)
	}
	r.stands("orders/a.csv", want)
	r.stands("orders/b.csv", want)
	r.stands("m/c.csv", nil)
}

// scp speaks SFTP, and fails where the server does not say that all went well.
func TestSCP(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	if _, err := exec.LookPath("scp"); err != nil {
		t.Skip("no scp command: apt-get install openssh-client")
	}
	want := data(300_000)
	_, port, _ := net.SplitHostPort(r.addr)
	tree := filepath.Join(t.TempDir(), "tree")
	for _, dir := range []string{tree, filepath.Join(tree, "sub")} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "a.csv"), want, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("scp", "-s", "-q", "-r", "-p", "-F", "none", "-P", port, "-i", r.keyFile, "-o", "IdentitiesOnly=yes",
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", tree, "acme@127.0.0.1:/orders/")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("scp: %v\n%s\n%s", err, out, r.log)
	}
	r.stands("orders/tree/a.csv", want)
	r.stands("orders/tree/sub/a.csv", want)
}

// A session ends with a status.
func TestExitStatus(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	conn, err := r.dial("acme", ssh.PublicKeys(r.key))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 20 {
		ended := make(chan string, 1)
		ch, reqs, err := conn.OpenChannel("session", nil)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			said := ""
			for req := range reqs {
				said += req.Type
			}
			ended <- said
		}()
		if ok, err := ch.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{"sftp"})); err != nil || !ok {
			t.Fatal(ok, err)
		}
		ch.CloseWrite()
		if said := <-ended; said != "exit-status" {
			t.Fatalf("it ended with %q", said)
		}
	}
}
