package sftpdrop_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ingestd/ingest/source/sftpdrop"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// broken uploads the first bytes of a file and lets the connection die.
func (r *rig) broken(name string, first []byte) {
	r.t.Helper()
	c, err := r.dial("acme", ssh.PublicKeys(r.key))
	if err != nil {
		r.t.Fatal(err)
	}
	s, err := sftp.NewClient(c)
	if err != nil {
		r.t.Fatal(err)
	}
	f, err := s.Create(name)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := f.Write(first); err != nil {
		r.t.Fatal(err)
	}
	before := strings.Count(r.log.String(), "upload broken off")
	c.Close()
	r.until("the upload to be broken off", func() bool { return strings.Count(r.log.String(), "upload broken off") > before })
}

func TestUpload(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	want := data(300_000)
	file := r.local("a.csv", want)
	r.mustSFTP("put " + file + " orders/a.csv\nput " + file + " orders/empty\n")
	r.stands("orders/a.csv", want)
	r.told("orders/a.csv", "orders/empty")
	if n := r.parts(); n != 0 {
		t.Errorf("%d unfinished", n)
	}
	got := filepath.Join(t.TempDir(), "back")
	r.mustSFTP("get orders/a.csv " + got + "\n")
	if b, err := os.ReadFile(got); err != nil || !bytes.Equal(b, want) {
		t.Errorf("read back: %d bytes, %v", len(b), err)
	}
}

// A broken upload is nobody's file, is seen by the partner, and is gone on with
// by OpenSSH's reput, across a restart too.
func TestBrokenAndResumed(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	want := data(500_000)
	r.broken("orders/a.csv", want[:200_001])
	r.stands("orders/a.csv", nil)
	r.told()
	for range 2 {
		e, err := r.client().Stat("/orders/a.csv")
		if err != nil || e.Size() != 200_001 {
			t.Fatalf("the partner sees %v, %v", e, err)
		}
		r.restart()
	}
	r.mustSFTP("ls -l orders\nreput " + r.local("a.csv", want) + " orders/a.csv\n")
	r.stands("orders/a.csv", want)
	r.told("orders/a.csv")
	if n := r.parts(); n != 0 {
		t.Errorf("%d unfinished", n)
	}
}

func TestOutOfOrder(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	want := data(100 * 1000)
	f, err := r.client().Create("orders/a.csv")
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range rand.Perm(100) {
		if _, err := f.WriteAt(want[i*1000:(i+1)*1000], int64(i*1000)); err != nil {
			t.Fatal(err)
		}
	}
	r.stands("orders/a.csv", nil)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	r.stands("orders/a.csv", want)
}

// A close does not make a file whole that has a gap, or of which a piece was
// refused.
func TestClosedButNotWhole(t *testing.T) {
	t.Parallel()
	want := data(50_000)
	for _, tt := range []struct {
		name   string
		write  func(f *sftp.File) error
		seen   int64
		change func(*sftpdrop.Settings)
	}{
		{"gap", func(f *sftp.File) error {
			f.WriteAt(want[:1000], 0)
			f.WriteAt(want[2000:3000], 2000)
			return nil
		}, 1000, nil},
		{"gap at the start", func(f *sftp.File) error {
			f.WriteAt(want[2000:3000], 2000)
			return nil
		}, 0, nil},
		{"last piece too large", func(f *sftp.File) error {
			f.WriteAt(want[:1000], 0)
			_, err := f.WriteAt(want[1000:1002], 1000)
			return err
		}, 1000, func(s *sftpdrop.Settings) { s.Users[0].MaxFile = 1001 }},
		{"quota", func(f *sftp.File) error {
			f.WriteAt(want[:1000], 0)
			_, err := f.WriteAt(want[1000:1002], 1000)
			return err
		}, 1000, func(s *sftpdrop.Settings) { s.Users[0].Quota = 1001 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, tt.change)
			c := r.client()
			f, err := c.Create("orders/a.csv")
			if err != nil {
				t.Fatal(err)
			}
			werr := tt.write(f)
			if tt.change != nil && werr == nil {
				t.Error("the piece was taken")
			}
			if err := f.Close(); err == nil {
				t.Error("the close was answered OK")
			}
			r.stands("orders/a.csv", nil)
			r.told()
			e, err := c.Stat("orders/a.csv")
			switch {
			case tt.seen == 0 && err == nil:
				t.Errorf("nothing came, and %d bytes are shown", e.Size())
			case tt.seen > 0 && (err != nil || e.Size() != tt.seen):
				t.Errorf("the partner sees %v, %v", e, err)
			}
		})
	}
}

// At the limit is not over it.
func TestAtTheLimit(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(s *sftpdrop.Settings) { s.Users[0].MaxFile, s.Users[0].Quota = 1000, 2000 })
	f := r.local("a", data(1000))
	r.mustSFTP("put " + f + " orders/a\nput " + f + " orders/b\n")
	if _, err := r.openSSH("put " + f + " orders/c\n"); err == nil {
		t.Error("more than the quota was taken")
	}
	// What was taken up does not count: room is noticed by and by.
	os.Remove(filepath.Join(r.home, "orders/a"))
	r.until("the room to be noticed", func() bool {
		_, err := r.openSSH("put " + f + " orders/c\n")
		return err == nil
	})
}

// While a file is uploaded again the whole one stays, for whoever takes it up,
// and the partner sees the new one.
func TestUploadedAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	old, next := data(1000), data(3000)[1000:]
	r.mustSFTP("put " + r.local("a", old) + " orders/a.csv\n")
	r.broken("orders/a.csv", next[:500])
	r.stands("orders/a.csv", old)
	if out := r.mustSFTP("ls -l orders\n"); !strings.Contains(out, " 500 ") || strings.Contains(out, " 1000 ") {
		t.Errorf("the partner sees:\n%s", out)
	}
	r.mustSFTP("reput " + r.local("b", next) + " orders/a.csv\n")
	r.stands("orders/a.csv", next)
}

// Of two writers the last to open wins; the other one hears of it.
func TestTwoWriters(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	first, err := r.client().Create("orders/a.csv")
	if err != nil {
		t.Fatal(err)
	}
	first.Write([]byte("first"))
	second, err := r.client().Create("orders/a.csv")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Write([]byte("more")); err == nil {
		t.Error("the first one writes on")
	}
	second.Write([]byte("second"))
	if err := first.Close(); err == nil {
		t.Error("the first one's close was answered OK")
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	r.stands("orders/a.csv", []byte("second"))
	r.told("orders/a.csv")
}

// A whole file that is opened to be appended to is taken back until it is
// closed again, and keeps its bytes where it is not.
func TestAppend(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.mustSFTP("put " + r.local("a", []byte("one ")) + " orders/a.csv\n")
	c := r.client()
	f, err := c.OpenFile("orders/a.csv", os.O_WRONLY|os.O_APPEND)
	if err != nil {
		t.Fatal(err)
	}
	r.stands("orders/a.csv", nil)
	if _, err := f.WriteAt([]byte("over"), 0); err == nil {
		t.Error("an appending client overwrote the start")
	}
	f.Close()
	r.stands("orders/a.csv", nil) // a piece was refused: not whole
	f, err = c.OpenFile("orders/a.csv", os.O_WRONLY)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("two"), 4); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	r.stands("orders/a.csv", []byte("one two"))
	for _, flags := range []int{os.O_WRONLY, os.O_WRONLY | os.O_CREATE | os.O_EXCL} {
		name := map[bool]string{true: "orders/none", false: "orders/a.csv"}[flags == os.O_WRONLY]
		if f, err := c.OpenFile(name, flags); err == nil {
			f.Close()
			t.Errorf("%s was opened with %b", name, flags)
		}
	}
	r.stands("orders/a.csv", []byte("one two"))
}

func TestParallel(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			c, err := r.dial("acme", ssh.PublicKeys(r.key))
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			s, err := sftp.NewClient(c)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			f, err := s.Create(fmt.Sprintf("orders/%d", i))
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := f.ReadFrom(bytes.NewReader(data(100_000 + i))); err != nil {
				t.Error(err)
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range 20 {
		r.stands(fmt.Sprintf("orders/%d", i), data(100_000+i))
	}
	if r.parts() != 0 || len(r.arrived) != 20 {
		t.Errorf("%d unfinished, %d arrived", r.parts(), len(r.arrived))
	}
}

// Clients look at what they uploaded, which was taken up already.
func TestSeenAfterItWasTakenUp(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	other, c := r.client(), r.client()
	f, err := c.Create("orders/a.csv")
	if err != nil {
		t.Fatal(err)
	}
	f.Write(data(1234))
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(r.home, "orders/a.csv")); err != nil {
		t.Fatal(err)
	}
	if e, err := c.Stat("orders/a.csv"); err != nil || e.Size() != 1234 {
		t.Errorf("it sees %v, %v", e, err)
	}
	if err := c.Chtimes("orders/a.csv", time.Now(), time.Now()); err != nil {
		t.Errorf("set its time: %v", err)
	}
	if es, err := c.ReadDir("orders"); err != nil || len(es) != 0 {
		t.Errorf("listed: %v, %v", es, err)
	}
	if err := c.Rename("orders/a.csv", "orders/b.csv"); err == nil {
		t.Error("it was renamed")
	}
	if err := c.Remove("orders/a.csv"); err == nil {
		t.Error("it was removed")
	}
	if e, err := other.Stat("orders/a.csv"); err != nil || e.Size() != 1234 {
		t.Errorf("over another connection it sees %v, %v", e, err)
	}
	if _, err := r.client().Stat("orders/a.csv"); err == nil {
		t.Error("a connection that was made later sees it")
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	when := time.Unix(1_700_000_000, 0)
	file := r.local("a", data(10))
	if err := os.Chtimes(file, when, when); err != nil {
		t.Fatal(err)
	}
	r.mustSFTP("put -p " + file + " orders/a\nchmod 777 orders/a\n")
	fi, err := os.Stat(filepath.Join(r.home, "orders/a"))
	if err != nil || !fi.ModTime().Equal(when) || fi.Mode().Perm()&0o007 != 0 {
		t.Errorf("it has %v, %v", fi, err)
	}
	if err := r.client().Truncate("orders/a", 3); err == nil {
		t.Error("it was cut short")
	}
	r.stands("orders/a", data(10))
}

func TestExpire(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.broken("orders/old", data(10))
	r.broken("orders/new", data(10))
	old := time.Now().Add(-8 * 24 * time.Hour)
	r.stop()
	notes, _ := filepath.Glob(filepath.Join(r.home, ".ingestd/uploads/*.json"))
	for _, n := range notes {
		if b, err := os.ReadFile(n); err == nil && strings.Contains(string(b), "b3JkZXJzL29sZA") { // orders/old
			os.Chtimes(strings.TrimSuffix(n, ".json")+".part", old, old)
		}
	}
	r.restart()
	if out := r.mustSFTP("ls -1 orders\n"); strings.Contains(out, "old") || !strings.Contains(out, "new") {
		t.Errorf("left:\n%s", out)
	}
	if n := r.parts(); n != 1 {
		t.Errorf("%d parts", n)
	}
}

// What a crash leaves between two steps is cleaned away, and bytes behind the
// last note are not believed.
func TestLeftByACrash(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.broken("orders/a", data(1000))
	r.stop()
	dir := filepath.Join(r.home, ".ingestd/uploads")
	for name, text := range map[string]string{
		"00.part": "bytes without a note", "01.json": `{"name":"YQ==","front":3}`, "02.tmp": "{", "03.json": "{", "03.part": "x",
		"04.json": `{"name":"Li4vLi4vZXRj","front":1}`, "04.part": "x", "05.json": `{"name":"Yg==","front":9223372036854775807}`, "05.part": "all of it",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parts, _ := filepath.Glob(filepath.Join(dir, "????????????????.part"))
	f, err := os.OpenFile(parts[0], os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.Write(data(500)) // came after the note
	f.Close()
	r.restart()
	c := r.client()
	for name, size := range map[string]int64{"orders/a": 1000, "b": 9} {
		if e, err := c.Stat(name); err != nil || e.Size() != size {
			t.Errorf("%s: %v, %v", name, e, err)
		}
	}
	if es, _ := os.ReadDir(dir); len(es) != 4 {
		t.Errorf("left: %v", es)
	}
}

func TestDiskFull(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	r.stop()
	r.full = "it is"
	r.restart()
	if out, err := r.openSSH("put " + r.local("a", data(10)) + " orders/a\n"); err == nil {
		t.Errorf("it was taken:\n%s", out)
	}
	r.stands("orders/a", nil)
}
