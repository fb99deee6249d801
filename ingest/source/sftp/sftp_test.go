package sftp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/source"
	"ingestd/ingest/source/sftp/sshdtest"
)

// Thirty files of all sizes around the bounds of a chunk, in folders too.
func TestSweepMixed(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.Rules = source.Rules{Recursive: true, Settle: 50 * time.Millisecond}
		o.Concurrency = 4
		o.WhenDone = source.When{Action: source.Move, To: "done/"}
	})
	want := map[string][]byte{}
	for i, size := range []int{
		0, 1, 2, 100, chunk - 1, chunk, chunk + 1, 2*chunk - 1, 2 * chunk, 2*chunk + 1, 1 << 20, 1<<20 + 1, 3 << 20, 64 * chunk, 65*chunk + 7,
	} {
		for _, name := range []string{fmt.Sprintf("f%02d.csv", i), fmt.Sprintf("sub/deep/g%02d.json", i)} {
			want[name] = content(i, size)
			r.put(name, want[name])
		}
	}
	for _, left := range []string{"half.tmp", ".hidden.csv", "done/old.csv", ".ingestd/x.csv", "sub/y.part"} {
		r.put(left, []byte("no"))
	}
	if err := os.Symlink(filepath.Join(r.dir, "f00.csv"), filepath.Join(r.dir, "link.csv")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(r.dir, filepath.Join(r.dir, "loop")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(r.dir, "dir.csv"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := r.sweep(); err != nil {
		t.Fatal(err)
	}
	found := r.in.all()
	for i := range found {
		f := &found[i]
		content, ok := want[f.Name]
		if !ok {
			t.Errorf("%q came", f.Name)
			continue
		}
		delete(want, f.Name)
		r.check(f, content)
		if o := "sftp://" + r.sshd.User + "@" + r.sshd.Addr + r.dir + "/" + f.Name; f.Origin != o {
			t.Errorf("origin %s, want %s", f.Origin, o)
		}
	}
	if len(want) > 0 {
		t.Errorf("%d files did not come", len(want))
	}
	// All are known now: nothing is fetched twice.
	if err := r.sweep(); err != nil {
		t.Fatal(err)
	}
	if n := len(r.in.all()); n != len(found) {
		t.Errorf("%d files after a second sweep, %d before", n, len(found))
	}
}

// A file that grows, or comes under a temporary name, is taken up once, whole.
func TestRunSettles(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Rules.Settle = 300 * time.Millisecond })
	stop := r.run()
	path := filepath.Join(r.dir, "grow.csv")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	var whole []byte
	for i := range 8 { // 100 ms apart: never as old as settle
		part := content(i, 5000)
		whole = append(whole, part...)
		f.Write(part)
		sleep(context.Background(), 100*time.Millisecond, nil)
	}
	f.Close()
	got := r.in.wait(t, 1)
	r.check(&got[0], whole)
	if err := os.WriteFile(filepath.Join(r.dir, "x.csv.part"), content(9, 10), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(r.dir, "x.csv.part"), filepath.Join(r.dir, "x.csv")); err != nil {
		t.Fatal(err)
	}
	got = r.in.wait(t, 2)
	r.check(&got[1], content(9, 10))
	stop()
	if got := r.in.all(); len(got) != 2 {
		t.Errorf("%d files came, want 2", len(got))
	}
}

func TestDoneFile(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.Rules = source.Rules{DoneFile: "{name}.done", Settle: time.Hour, Match: []string{"*.csv"}}
		o.WhenDone = source.When{Action: source.Delete}
	})
	r.put("a.csv", content(1, 100))
	r.put("b.csv", content(2, 100))
	r.put("b.csv.done", nil)
	if err := r.sweep(); err != nil {
		t.Fatal(err)
	}
	got := r.in.all()
	if len(got) != 1 || got[0].Name != "b.csv" {
		t.Fatalf("came: %+v, want b.csv alone", got)
	}
	if err := r.src.PutAway(t.Context(), r.arrival(1, got[0], ingest.Done)); err != nil {
		t.Fatal(err)
	}
	if names := r.names("."); !slices.Equal(names, []string{"a.csv"}) {
		t.Errorf("left: %q, want a.csv alone", names)
	}
}

// Killing the server in the middle of a large file costs the connection and no
// byte; nothing comes twice.
func TestServerKilled(t *testing.T) {
	sshd := sshdtest.Start(t)
	proxy := sshdtest.NewProxy(t, sshd.Addr)
	r := newRigOn(t, sshd, func(o *Options) { o.Server.Host = proxy.Addr })
	big := content(7, 60<<20)
	r.put("big.csv", big)
	r.put("small.csv", content(8, 1000))
	proxy.StallAfter(30 << 20)
	stop := r.run()
	for proxy.Stalled() == 0 {
		sleep(t.Context(), 10*time.Millisecond, nil)
	}
	sshd.Kill()
	proxy.Cut()
	proxy.Resume()
	r.state(func(states []error, _ []*source.Problem) bool { return len(states) > 0 && states[len(states)-1] != nil })
	sshd.Start()
	got := r.in.wait(t, 2)
	stop()
	for i := range got {
		if got[i].Name == "big.csv" {
			r.check(&got[i], big)
		}
	}
	if n := len(r.in.all()); n != 2 {
		t.Errorf("%d files came, want 2", n)
	}
	if sent := proxy.Passed(); sent > 85<<20 {
		t.Errorf("%d MiB were sent for 60: the fetch was not gone on with", sent>>20)
	}
}

// Where the file changed meanwhile the fetch begins anew.
func TestKilledAndChanged(t *testing.T) {
	sshd := sshdtest.Start(t)
	proxy := sshdtest.NewProxy(t, sshd.Addr)
	r := newRigOn(t, sshd, func(o *Options) { o.Server.Host = proxy.Addr })
	r.put("big.csv", content(1, 20<<20))
	proxy.StallAfter(10 << 20)
	r.run()
	for proxy.Stalled() == 0 {
		sleep(t.Context(), 10*time.Millisecond, nil)
	}
	sshd.Kill()
	proxy.Cut()
	proxy.Resume()
	again := content(2, 20<<20)
	r.put("big.csv", again) // the same size, and the same second maybe
	sshd.Start()
	got := r.in.wait(t, 1)
	r.check(&got[0], again)
}

// A server that is silent while it shakes hands, lists or sends is given up in
// time, and no goroutine stays.
func TestStalls(t *testing.T) {
	sshd := sshdtest.Start(t)
	for _, tt := range []struct {
		name  string
		bytes int64
	}{
		{"banner", 0}, {"handshake", 200}, {"login", 2500}, {"file", 300_000}, {"end of file", 1_000_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			proxy := sshdtest.NewProxy(t, sshd.Addr)
			r := newRigOn(t, sshd, func(o *Options) {
				o.Server.Host, o.Server.Timeout, o.Concurrency = proxy.Addr, 1500*time.Millisecond, 1
			})
			r.put("a.csv", content(3, 1<<20))
			proxy.StallAfter(tt.bytes)
			r.run()
			r.state(func(states []error, _ []*source.Problem) bool {
				return slices.ContainsFunc(states, func(err error) bool {
					return err != nil && (strings.Contains(err.Error(), "did not answer for") || strings.Contains(err.Error(), "within"))
				})
			})
			proxy.Resume()
			got := r.in.wait(t, 1)
			r.check(&got[0], content(3, 1<<20))
		})
	}
}

// The server's processes stand still while its sockets stay open.
func TestStallsReaddir(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Server.Timeout = 1500 * time.Millisecond })
	stop := r.run()
	r.state(func(states []error, _ []*source.Problem) bool { return len(states) == 1 && states[0] == nil })
	goOn := r.sshd.Stop()
	r.put("a.csv", content(1, 10))
	r.state(func(states []error, _ []*source.Problem) bool {
		return states[len(states)-1] != nil && strings.Contains(states[len(states)-1].Error(), "did not answer for")
	})
	goOn()
	r.in.wait(t, 1)
	stop()
}

func TestSweepUnreachable(t *testing.T) {
	r := newRig(t, nil)
	r.sshd.Kill()
	start := time.Now()
	if err := r.sweep(); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("Sweep: %v, want connection refused", err)
	}
	if d := time.Since(start); d > 30*time.Second {
		t.Errorf("it took %v", d)
	}
}

func TestHostKeyChanged(t *testing.T) {
	for _, tt := range []struct {
		name string
		with []string
	}{{"other key", []string{"ed25519"}}, {"other type", []string{"rsa"}}} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, nil)
			was := r.sshd.HostKeys[0]
			r.put("a.csv", content(1, 10))
			r.sshd.Kill()
			r.sshd.NewHostKeys(tt.with...)
			r.sshd.Start()
			err := r.sweep()
			var hk *ingest.HostKeyError
			if !errors.As(err, &hk) {
				t.Fatalf("Sweep: %v, want a HostKeyError", err)
			}
			pinned, shown := print(t, was), print(t, r.sshd.HostKeys[0])
			if hk.Got != shown || !slices.Equal(hk.Want, []string{pinned}) || hk.Host != r.sshd.Addr {
				t.Errorf("%+v, want got %s, pinned %s", hk, shown, pinned)
			}
			if len(r.in.all()) > 0 {
				t.Error("a file came from it")
			}
			if strings.Contains(r.sshd.Log(), "Accepted") {
				t.Error("it was logged in to")
			}
		})
	}
}

// Two pins, as while a key is changed: each will do, whatever the server
// likes best.
func TestPins(t *testing.T) {
	sshd := sshdtest.Start(t)
	other := sshdtest.Start(t)
	sshd.NewHostKeys("ed25519", "ecdsa", "rsa")
	ca, certLine := hostCA(t, sshd)
	for _, tt := range []struct {
		name string
		pins Pins
		want string // of the error; "": it works
	}{
		{"ed25519", Pins{Keys: sshd.HostKeys[:1]}, ""},
		{"ecdsa", Pins{Keys: sshd.HostKeys[1:2]}, ""},
		{"rsa", Pins{Keys: sshd.HostKeys[2:3]}, ""},
		{"two", Pins{Keys: []string{other.HostKeys[0], sshd.HostKeys[0]}}, ""},
		{"known_hosts", Pins{File: sshd.KnownHosts}, ""},
		{"as in known_hosts", Pins{Keys: []string{"[127.0.0.1]:* " + sshd.HostKeys[0]}}, ""},
		{"other", Pins{Keys: other.HostKeys}, "has changed"},
		{"other known_hosts", Pins{File: other.KnownHosts}, "is unknown"},
		{"revoked", Pins{Keys: []string{sshd.HostKeys[0], "@revoked * " + sshd.HostKeys[0]}}, "is revoked"},
		{"authority", Pins{Keys: []string{certLine}}, ""},
		{"other authority", Pins{Keys: []string{"@cert-authority * " + other.HostKeys[0]}}, "has changed"},
		{"revoked authority", Pins{Keys: []string{certLine, "@revoked * " + ca}}, "is revoked"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRigOn(t, sshd, func(o *Options) { o.Server.Pins = tt.pins })
			r.put("a.csv", []byte("x"))
			err := r.sweep()
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Sweep: %v, want %q", err, tt.want)
			}
			if n := len(r.in.all()); (n == 1) != (tt.want == "") {
				t.Errorf("%d files came", n)
			}
		})
	}
}

func TestMove(t *testing.T) {
	for _, posix := range []bool{true, false} {
		t.Run(fmt.Sprintf("posix-rename=%v", posix), func(t *testing.T) {
			r := newRig(t, func(o *Options) {
				o.WhenDone = source.When{Action: source.Move, To: "done/{date}/"}
				o.WhenFailed = source.When{Action: source.Move, To: "failed/{name}.bad"}
			})
			r.plain(!posix)
			for _, name := range []string{"a.csv", "b.csv", "c.csv", "d.csv"} {
				r.put(name, []byte(name))
			}
			if err := r.sweep(); err != nil {
				t.Fatal(err)
			}
			got := r.in.all()
			date := got[0].FoundAt.Format(time.DateOnly)
			r.put("done/"+date+"/a.csv", []byte("was here"))
			a := r.arrival(1, got[0], ingest.Done)
			for range 2 { // again, as after a crash
				if err := r.src.PutAway(t.Context(), a); err != nil {
					t.Fatal(err)
				}
				a.Away.To = strings.Replace(a.Away.To, "a-1.csv", "a.csv", 1)
			}
			b, err := os.ReadFile(filepath.Join(r.dir, "done", date, "a.csv"))
			if err != nil || string(b) != "was here" {
				t.Errorf("what stood there: %q, %v", b, err)
			}
			if names := r.names("done/" + date); !slices.Equal(names, []string{"a-1.csv", "a.csv"}) {
				t.Errorf("done: %q", names)
			}
			if err := r.src.PutAway(t.Context(), r.arrival(2, got[1], ingest.Failed)); err != nil {
				t.Fatal(err)
			}
			if names := r.names("failed"); !slices.Equal(names, []string{"b.csv.bad"}) {
				t.Errorf("failed: %q", names)
			}
			// Another file has taken its place since: it stays.
			r.put("c.csv", []byte("another one"))
			if err := r.src.PutAway(t.Context(), r.arrival(3, got[2], ingest.Done)); err != nil {
				t.Fatal(err)
			}
			if names := r.names("."); !slices.Equal(names, []string{"c.csv", "d.csv"}) {
				t.Errorf("left: %q", names)
			}
			for i := range 3 {
				if _, err := os.Stat(got[i].Path); !os.IsNotExist(err) {
					t.Errorf("the copy of %s: %v, want it gone", got[i].Name, err)
				}
			}
		})
	}
}

// A move or delete that is refused is an error each time, is shown, and loses
// nothing.
func TestPutAwayRefused(t *testing.T) {
	r := newRig(t, func(o *Options) { o.WhenDone = source.When{Action: source.Move, To: "done/"} })
	r.put("a.csv", []byte("x"))
	r.put("done", []byte("a file is in the way"))
	if err := r.sweep(); err != nil {
		t.Fatal(err)
	}
	a := r.arrival(1, r.in.all()[0], ingest.Done)
	trouble := func() error { _, err := r.src.Trouble(); return err }
	if err := r.src.PutAway(t.Context(), a); err == nil || trouble() == nil {
		t.Fatalf("PutAway: %v, trouble %v, want both", err, trouble())
	}
	if err := os.Remove(filepath.Join(r.dir, "done")); err != nil {
		t.Fatal(err)
	}
	if err := r.src.PutAway(t.Context(), a); err != nil || trouble() != nil {
		t.Fatalf("PutAway: %v, trouble %v", err, trouble())
	}
	if names := r.names("done"); !slices.Equal(names, []string{"a.csv"}) {
		t.Errorf("done: %q", names)
	}
}

func TestManyFiles(t *testing.T) {
	f := newFake(t, nil)
	for i := range 25_000 {
		f.put(fmt.Sprintf("order-%08d.csv", i), nil)
	}
	if n, capped := f.list(t, func(*lister) {}); n != 25_000 || capped {
		t.Errorf("listed %d files, cut off: %v", n, capped)
	}
}

// A listing that is too long is cut off, and what came is used.
func TestListingCapped(t *testing.T) {
	f := newFake(t, nil)
	for i := range 3000 {
		f.put(fmt.Sprintf("order-%08d.csv", i), nil)
	}
	for _, set := range []func(*lister){
		func(l *lister) { l.left = 100 },
		func(l *lister) { l.bytes = 100 << 10 },
		func(l *lister) { l.bytes, f.endless = 1<<20, true },
	} {
		if n, capped := f.list(t, set); n == 0 || !capped {
			t.Errorf("listed %d files, cut off: %v", n, capped)
		}
	}
}

func TestAcceptFails(t *testing.T) {
	r := newRig(t, nil)
	r.put("a.csv", []byte("x"))
	r.in.fail = errors.New("disk full")
	if err := r.src.Run(t.Context(), r.in); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Fatalf("Run: %v", err)
	}
	r.in.fail = nil
	if err := r.sweep(); err != nil {
		t.Fatal(err)
	}
	if got := r.in.all(); len(got) != 1 {
		t.Fatalf("%d files came", len(got))
	}
	if es, err := os.ReadDir(r.spool.Dir()); err != nil || len(es) != 1 {
		t.Errorf("spool: %v, %v; want one file", es, err)
	}
}

// Without room nothing is fetched, and others still are.
func TestNoRoom(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.Room = func(size int64) error {
			if size > 1000 {
				return errors.New("the disk is nearly full")
			}
			return nil
		}
	})
	r.put("big.csv", content(1, 2000))
	r.put("small.csv", content(2, 1000))
	r.run()
	r.in.wait(t, 1)
	r.state(func(_ []error, ps []*source.Problem) bool {
		return len(ps) == 1 && ps[0].Kind == source.NoRoom && ps[0].Name == "big.csv"
	})
}

func TestRunNow(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Poll = time.Hour })
	r.run()
	r.state(func(states []error, _ []*source.Problem) bool { return len(states) == 1 })
	r.put("a.csv", []byte("x"))
	r.src.RunNow()
	got := r.in.wait(t, 1)
	if !bytes.HasSuffix([]byte(got[0].Origin), []byte("/a.csv")) {
		t.Errorf("origin %q", got[0].Origin)
	}
}

// A connection that died while nobody used it is noticed, and not used again.
func TestIdleConnectionDies(t *testing.T) {
	sshd := sshdtest.Start(t)
	proxy := sshdtest.NewProxy(t, sshd.Addr)
	r := newRigOn(t, sshd, func(o *Options) {
		o.Server.Host, o.Server.Timeout, o.Poll = proxy.Addr, 1500*time.Millisecond, time.Hour
	})
	r.run()
	r.state(func(states []error, _ []*source.Problem) bool { return len(states) == 1 && states[0] == nil })
	proxy.StallAfter(0)
	for {
		r.src.pool.mu.Lock()
		dead := len(r.src.pool.idle) == 1 && r.src.pool.idle[0].dead()
		r.src.pool.mu.Unlock()
		if dead {
			break
		}
		sleep(t.Context(), 10*time.Millisecond, nil)
	}
	proxy.Resume()
	r.put("a.csv", []byte("x"))
	r.src.RunNow()
	r.in.wait(t, 1)
}

// A folder that may not be listed is the source's trouble until it may.
func TestFolderMissing(t *testing.T) {
	r := newRig(t, nil)
	away := r.dir + ".away"
	if err := os.Rename(r.dir, away); err != nil {
		t.Fatal(err)
	}
	if err := r.sweep(); err == nil || !strings.Contains(err.Error(), "list sftp://") {
		t.Errorf("Sweep: %v", err)
	}
	r.run()
	r.state(func(states []error, _ []*source.Problem) bool { return len(states) > 0 && states[len(states)-1] != nil })
	if err := os.Rename(away, r.dir); err != nil {
		t.Fatal(err)
	}
	r.put("a.csv", []byte("x"))
	r.src.RunNow()
	r.in.wait(t, 1)
}
