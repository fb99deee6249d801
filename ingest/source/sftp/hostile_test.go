package sftp

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/source"
	"ingestd/ingest/source/sftp/sshdtest"

	"golang.org/x/crypto/ssh"
)

// A server that answers fewer bytes than it was asked for is within its
// rights.
func TestShortReads(t *testing.T) {
	for _, mailbox := range []bool{false, true} {
		f := newFake(t, nil)
		f.short = 1000
		want := content(1, 300_000)
		f.put("a.csv", want)
		r := f.rig(t, func(o *Options) { o.Mailbox = mailbox })
		if err := r.sweep(); err != nil {
			t.Fatal(err)
		}
		got := r.in.all()
		if len(got) != 1 {
			t.Fatalf("mailbox=%v: %d files came", mailbox, len(got))
		}
		r.check(&got[0], want)
	}
}

// Sizes that are not those of the bytes, and what is no file, are not taken.
func TestSizeLies(t *testing.T) {
	f := newFake(t, nil)
	f.put("smaller.csv", content(1, 100_000)).size = 99_000
	f.put("larger.csv", content(2, 100_000)).size = 101_000
	f.put("negative.csv", content(3, 10)).size = -5
	f.put("huge.csv", content(4, 10)).size = 1 << 62
	f.put("device.csv", content(5, 10)).mode = fs.ModeDevice | 0o644
	f.put("link.csv", content(6, 10)).mode = fs.ModeSymlink | 0o777
	f.put("fifo.csv", content(7, 10)).mode = fs.ModeNamedPipe | 0o644
	f.put("good.csv", content(8, 10))
	r := f.rig(t, func(o *Options) { o.Rules.MaxSize = 10 << 30 })
	if err := r.sweep(); err != nil {
		t.Fatal(err)
	}
	got := r.in.all()
	if len(got) != 1 || got[0].Name != "good.csv" {
		t.Errorf("came: %+v", got)
	}
	var kinds []string
	for _, p := range r.problems {
		kinds = append(kinds, p.Name+" "+p.Kind.String())
	}
	slices.Sort(kinds)
	want := []string{"huge.csv too large", "larger.csv unreadable", "smaller.csv unreadable"}
	if !slices.Equal(kinds, want) {
		t.Errorf("problems %q, want %q", kinds, want)
	}
}

func TestHostileNames(t *testing.T) {
	f := newFake(t, nil)
	for i, name := range []string{"a\x00.csv", "b\n.csv", "\x1b[2J.csv", "c\x7f.csv", strings.Repeat("x", 300) + ".csv", "../../etc/passwd.csv"} {
		f.put(string(rune('a'+i)), []byte("x")).name = name
	}
	f.put("-rf `id` $(id) \u202e.csv", []byte("fine"))
	f.put("l\xe4nder.csv", []byte("fine"))
	r := f.rig(t, nil)
	if err := r.sweep(); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, g := range r.in.all() {
		names = append(names, g.Name)
	}
	slices.Sort(names)
	if want := []string{"-rf `id` $(id) \u202e.csv", "l\xe4nder.csv"}; !slices.Equal(names, want) {
		t.Errorf("came: %q, want %q", names, want)
	}
	if len(r.problems) != 1 || r.problems[0].Kind != source.BadName || !strings.Contains(r.problems[0].Error(), "5 names") {
		t.Errorf("problems: %v", r.problems)
	}
}

// A mailbox gives each file once; nobody may look at it before.
func TestMailbox(t *testing.T) {
	f := newFake(t, nil)
	f.gone = true
	want := content(1, 200_000)
	f.put("a.csv", want)
	r := f.rig(t, func(o *Options) {
		o.Mailbox = true
		o.Rules.Settle = 100 * time.Millisecond
	})
	if err := r.sweep(); err != nil {
		t.Fatal(err)
	}
	got := r.in.all()
	if len(got) != 1 {
		t.Fatalf("%d files came", len(got))
	}
	r.check(&got[0], want)
	if f.looks > 0 {
		t.Errorf("it was looked at %d times", f.looks)
	}
	next := int64(0)
	for _, b := range f.back {
		if b[0] != next {
			t.Errorf("read at %d, want %d: in order", b[0], next)
		}
		next = min(b[0]+b[1], int64(len(want)))
	}
}

// Every way to log in, against what servers ask for.
func TestLogin(t *testing.T) {
	const user, password = "me", "open sesame"
	byPassword := func(c *ssh.ServerConfig) {
		c.PasswordCallback = func(m ssh.ConnMetadata, p []byte) (*ssh.Permissions, error) {
			if m.User() != user || string(p) != password {
				return nil, errNo
			}
			return nil, nil
		}
	}
	ask := func(rounds int, question string, echo bool) func(c *ssh.ServerConfig) {
		return func(c *ssh.ServerConfig) {
			c.KeyboardInteractiveCallback = func(_ ssh.ConnMetadata, challenge ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
				for range rounds {
					a, err := challenge("", "", []string{question}, []bool{echo})
					if err != nil || len(a) != 1 || a[0] != password {
						return nil, errNo
					}
				}
				challenge("", "welcome", nil, nil)
				return nil, nil
			}
		}
	}
	for _, tt := range []struct {
		name   string
		server func(*ssh.ServerConfig)
		auth   Auth
		ok     bool
	}{
		{"password", byPassword, Auth{Password: ingest.NewSecret(password)}, true},
		{"wrong password", byPassword, Auth{Password: ingest.NewSecret("canary")}, false},
		{"asked for it", ask(1, "Password: ", false), Auth{Password: ingest.NewSecret(password)}, true},
		{"asked twice", ask(2, "Password: ", false), Auth{Password: ingest.NewSecret(password)}, false},
		{"asked for more", ask(1, "Your mother's name: ", true), Auth{Password: ingest.NewSecret("canary")}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t, tt.server)
			r := f.rig(t, func(o *Options) { o.Server.Auth, o.Server.User = tt.auth, user })
			err := r.sweep()
			var login *LoginError
			if (err == nil) != tt.ok || !tt.ok && !errors.As(err, &login) {
				t.Errorf("Sweep: %v, want ok = %v", err, tt.ok)
			}
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}

// Wrong credentials are tried rarely, however many want a connection.
func TestLoginPause(t *testing.T) {
	f := newFake(t, func(c *ssh.ServerConfig) {
		c.PasswordCallback = func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) { return nil, errNo }
	})
	r := f.rig(t, nil)
	r.src.pool.pause = pause
	stop := r.run()
	r.state(func(states []error, _ []*source.Problem) bool { return len(states) > 0 && states[0] != nil })
	f.mu.Lock()
	once := f.logins
	f.mu.Unlock()
	for range 20 {
		if _, err := r.src.pool.get(t.Context()); err == nil {
			t.Fatal("there is a connection")
		}
	}
	stop()
	if f.logins != once {
		t.Errorf("%d tries, %d after the first", f.logins, once)
	}
}

func TestPause(t *testing.T) {
	key, login, other := &ingest.HostKeyError{}, &LoginError{}, errNo
	for _, tt := range []struct {
		err         error
		n           int
		least, most time.Duration
	}{
		{other, 1, 750 * time.Millisecond, time.Second},
		{other, 5, 12 * time.Second, 16 * time.Second},
		{other, 1000, 225 * time.Second, 5 * time.Minute},
		{login, 1, 22 * time.Second, 30 * time.Second},
		{login, 2, 7 * time.Minute, 10 * time.Minute},
		{login, 50, 45 * time.Minute, time.Hour},
		{key, 1, 225 * time.Second, 5 * time.Minute},
		{key, 9, 45 * time.Minute, time.Hour},
	} {
		if d := pause(&dialError{tt.err}, tt.n); d < tt.least || d > tt.most {
			t.Errorf("%T, %d in a row: %v, want between %v and %v", tt.err, tt.n, d, tt.least, tt.most)
		}
	}
}

// A server behind a jump host is known by its own key, and so is the jump host.
func TestJump(t *testing.T) {
	sshd := sshdtest.Start(t)
	jump := sshdtest.Start(t)
	auth := Auth{Keys: []ingest.Secret{ingest.NewSecret(jump.Key)}}
	for _, tt := range []struct {
		name string
		pins Pins
		ok   bool
	}{
		{"right", Pins{Keys: jump.HostKeys}, true}, {"wrong", Pins{Keys: sshd.HostKeys}, false},
	} {
		r := newRigOn(t, sshd, func(o *Options) {
			o.Server.Jump = &Server{Host: jump.Addr, User: jump.User, Auth: auth, Pins: tt.pins}
		})
		r.put("a.csv", content(1, 100_000))
		err := r.sweep()
		if (err == nil) != tt.ok || (len(r.in.all()) == 1) != tt.ok {
			t.Errorf("%s: Sweep: %v, %d files", tt.name, err, len(r.in.all()))
		}
		var hk *ingest.HostKeyError
		if !tt.ok && (!errors.As(err, &hk) || hk.Host != jump.Addr) {
			t.Errorf("%s: Sweep: %v, want a HostKeyError of the jump host", tt.name, err)
		}
	}
}

func FuzzName(f *testing.F) {
	for _, s := range []string{"a.csv", "", ".", "..", "../x", "a/b", "a\x00", "a\nb", "\x1b[0m", `..\x`, strings.Repeat("n", 256), "ü", "\xff"} {
		f.Add(s)
	}
	s := &Source{path: "/srv/out"}
	f.Fuzz(func(t *testing.T, name string) {
		err := judgeName(name)
		bad := name == "" || name == "." || name == ".." || len(name) > 255 ||
			strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == '/' })
		if (err != nil) != bad {
			t.Fatalf("%q: %v, want bad = %v", name, err, bad)
		}
		if err == nil {
			if p := s.remote(name); p != "/srv/out/"+name {
				t.Fatalf("%q leads to %q", name, p)
			}
			if rel, ok := s.within(s.remote(name)); !ok || rel != name {
				t.Fatalf("%q is %q within", name, rel)
			}
		}
	})
}

func FuzzPin(f *testing.F) {
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
	for _, s := range []string{key, "h " + key, "@cert-authority *.example " + key, "@revoked " + key, "@x " + key, "[h]:22,!*.b " + key, "", "ssh-rsa", "a b c d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		h := &hostKeys{addr: "h:22"}
		if err := h.pin(line); err != nil && len(h.keys)+len(h.cas)+len(h.revoked) > 0 {
			t.Fatalf("%q: %v, and yet something was pinned", line, err)
		}
	})
}
