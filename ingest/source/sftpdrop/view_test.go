package sftpdrop_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ingestd/ingest/source/sftpdrop"
)

func TestRename(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	file, next := r.local("a", data(100)), r.local("b", data(200))
	r.mustSFTP("put " + file + " orders/a.csv.tmp\nrename orders/a.csv.tmp orders/a.csv\n")
	r.stands("orders/a.csv", data(100))
	r.told("orders/a.csv.tmp", "orders/a.csv")
	// OpenSSH's rename replaces, the protocol's own does not.
	r.mustSFTP("put " + next + " orders/b.tmp\n")
	c := r.client()
	if err := c.Rename("orders/b.tmp", "orders/a.csv"); err == nil {
		t.Error("a rename replaced a file")
	}
	r.stands("orders/a.csv", data(100))
	r.mustSFTP("rename orders/b.tmp orders/a.csv\n")
	r.stands("orders/a.csv", data(200))

	r.broken("orders/c.tmp", data(50))
	if err := c.Rename("orders/c.tmp", "orders/a.csv"); err == nil {
		t.Error("a broken upload replaced a file")
	}
	if err := c.Rename("orders/c.tmp", "orders/c.csv"); err != nil {
		t.Error(err)
	}
	r.stands("orders/c.csv", nil)
	r.restart()
	if e, err := r.client().Stat("orders/c.csv"); err != nil || e.Size() != 50 {
		t.Errorf("the renamed upload: %v, %v", e, err)
	}
	r.mustSFTP("rename orders/a.csv orders/c.csv\n") // over the broken one
	r.stands("orders/c.csv", data(200))
	if n := r.parts(); n != 0 {
		t.Errorf("%d parts", n)
	}
}

func TestFolders(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	file := r.local("a", data(10))
	r.mustSFTP("mkdir in\nmkdir in/deep\nput " + file + " in/deep/a\nrename in/deep in/other\nls -l in/other\nrm in/other/a\nrmdir in/other\nrmdir in\n")
	c := r.client()
	for what, do := range map[string]func() error{
		"rmdir a source":         func() error { return c.RemoveDirectory("orders") },
		"rename a source":        func() error { return c.PosixRename("orders", "gone") },
		"rm a folder":            func() error { return c.Remove("orders") },
		"rm nothing":             func() error { return c.Remove("none") },
		"rmdir nothing":          func() error { return c.RemoveDirectory("none") },
		"mkdir a second time":    func() error { return c.Mkdir("orders") },
		"mkdir in nothing":       func() error { return c.Mkdir("none/x") },
		"list nothing":           func() error { _, err := c.ReadDir("none"); return err },
		"rename nothing":         func() error { return c.PosixRename("none", "some") },
		"create in nothing":      func() error { _, err := c.Create("none/a"); return err },
		"create the home":        func() error { _, err := c.Create("/"); return err },
		"create over a folder":   func() error { _, err := c.Create("orders"); return err },
		"symlink":                func() error { return c.Symlink("orders", "link") },
		"hard link":              func() error { return c.Link("orders/x", "link") },
		"rmdir the home":         func() error { return c.RemoveDirectory("/") },
		"rename the home":        func() error { return c.PosixRename("/", "x") },
		"mkdir our own":          func() error { return c.Mkdir(".ingestd") },
		"mkdir like our own":     func() error { return c.Mkdir("orders/.INGESTD-x") },
		"list our own":           func() error { _, err := c.ReadDir(".ingestd"); return err },
		"create in our own":      func() error { _, err := c.Create(".ingestd/uploads/x.part"); return err },
		"rename our own":         func() error { return c.PosixRename("orders/.ingestd", "x") },
		"a name too long":        func() error { return c.Mkdir(strings.Repeat("x", 256)) },
		"a path too deep":        func() error { return c.MkdirAll(strings.Repeat("x/", 40)) },
		"a folder into itself":   func() error { return c.Rename("orders", "orders/x") },
		"a folder over a folder": func() error { return c.PosixRename("x", "orders") },
	} {
		if err := do(); err == nil {
			t.Errorf("%s succeeded", what)
		}
	}
	r.broken("orders/sub", data(10))
	if err := c.Mkdir("orders/sub"); err == nil {
		t.Error("a folder hides an unfinished upload")
	}
	if err := c.Mkdir("orders/d"); err != nil {
		t.Fatal(err)
	}
	r.broken("orders/d/a", data(10))
	if err := c.RemoveDirectory("orders/d"); err == nil {
		t.Error("a folder with an unfinished upload was removed")
	}
	if err := c.Rename("orders/d", "orders/e"); err == nil {
		t.Error("a folder with an unfinished upload was renamed")
	}
	if err := c.Remove("orders/d/a"); err != nil {
		t.Error(err)
	}
	if err := c.RemoveDirectory("orders/d"); err != nil {
		t.Error(err)
	}
}

// Nothing leads out of the home, neither a path nor a link that somebody on
// this machine made; links are not even seen.
func TestEscapes(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"orders/out": outside, "orders/file": filepath.Join(outside, "secret"), "in": "orders"} {
		if err := os.Symlink(to, filepath.Join(r.home, link)); err != nil {
			t.Fatal(err)
		}
	}
	c := r.client()
	for _, p := range []string{
		"/../../../../etc/passwd", "../secret", "orders/../../" + filepath.Base(outside) + "/secret", filepath.Join(outside, "secret"),
		"orders/out/secret", "orders/file", "orders/out", "in/x", "./orders/./out/../out/secret", ".ingestd/uploads", ".Ingestd", "orders/a\x00b", "orders/a\nb",
	} {
		if f, err := c.Open(p); err == nil {
			t.Errorf("%q was opened", p)
			f.Close()
		}
		if f, err := c.Create(p); err == nil {
			f.Close()
			t.Logf("%q made a file", p)
		}
		c.Remove(p)
		c.Chtimes(p, patienceTime, patienceTime)
		c.Mkdir(p + "/x")
		c.ReadDir(p)
		c.Rename(p, "orders/stolen")
		c.PosixRename("orders/stolen", p)
		c.Symlink(p, "orders/new")
		c.Link(p, "orders/new")
	}
	for link, to := range map[string]string{"orders/out": outside, "in": "orders"} {
		if got, err := os.Readlink(filepath.Join(r.home, link)); err != nil || got != to {
			t.Errorf("the link %s: %q, %v", link, got, err)
		}
	}
	es, err := os.ReadDir(outside)
	if err != nil || len(es) != 1 {
		t.Errorf("outside: %v, %v", es, err)
	}
	if b, _ := os.ReadFile(filepath.Join(outside, "secret")); string(b) != "secret" {
		t.Errorf("outside: %q", b)
	}
	if fi, err := os.Stat(filepath.Join(outside, "secret")); err != nil || fi.ModTime().Equal(patienceTime) {
		t.Error("its time was set")
	}
	var names []string
	for _, dir := range []string{"/", "/orders"} {
		es, err := c.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range es {
			names = append(names, e.Name())
			if e.Mode().Type()&os.ModeSymlink != 0 {
				t.Errorf("%s is a link", e.Name())
			}
		}
	}
	for _, n := range []string{"out", "file", "in", "new", "stolen", ".ingestd"} {
		if slices.Contains(names, n) {
			t.Errorf("%s is seen: %q", n, names)
		}
	}
	if strings.Contains(r.log.String(), "a\nb") {
		t.Error("a name broke a line of the log")
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(s *sftpdrop.Settings) { s.Users[0].Names = []string{"*.csv", "**/x/*.XML"} })
	file := r.local("a", data(10))
	r.mustSFTP("mkdir x\nput " + file + " orders/a.CSV\nput " + file + " x/a.xml\nput " + file + " orders/b.filepart\n")
	for _, batch := range []string{"put " + file + " orders/a.exe\n", "put " + file + " orders/a.xml\n", "rename orders/b.filepart orders/b.exe\n"} {
		if out, err := r.openSSH(batch); err == nil {
			t.Errorf("%q succeeded:\n%s", batch, out)
		}
	}
}

func TestUploadOnly(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(s *sftpdrop.Settings) {
		s.Users[0].UploadOnly, s.Users[0].Readable = true, []string{"orders/receipts/"}
	})
	r.mustSFTP("put " + r.local("a", data(10)) + " orders/a\nmkdir orders/receipts\nput " + r.local("b", data(10)) + " orders/receipts/b\nls -l orders\n")
	back := filepath.Join(t.TempDir(), "back")
	if _, err := r.openSSH("get orders/a " + back + "\n"); err == nil {
		t.Error("a file was read")
	}
	r.mustSFTP("get orders/receipts/b " + back + "\n")
	f, err := r.client().Create("orders/c")
	if err != nil {
		t.Fatal(err)
	}
	f.Write(data(10))
	if _, err := f.ReadAt(make([]byte, 5), 0); err == nil {
		t.Error("an upload was read back")
	}
	f.Close()
}

func TestOpenFiles(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(s *sftpdrop.Settings) { s.Users[0].MaxOpenFiles = 3 })
	c := r.client()
	for i := range 3 {
		if _, err := c.Create(fmt.Sprint("orders/", i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.client().Create("orders/3"); err == nil {
		t.Error("a fourth file was opened")
	}
	if _, err := c.ReadDir("/"); err == nil {
		t.Error("a folder was opened")
	}
	c.Close()
	r.until("the files to be given back", func() bool { _, err := r.client().ReadDir("/"); return err == nil })
}

func TestLongListing(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	for i := range 1000 {
		if err := os.WriteFile(filepath.Join(r.home, "orders", fmt.Sprint(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if es, err := r.client().ReadDir("orders"); err != nil || len(es) != 1000 {
		t.Errorf("%d names, %v", len(es), err)
	}
}

func TestStatVFS(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(s *sftpdrop.Settings) { s.Users[0].Quota = 1 << 20 })
	v, err := r.client().StatVFS("/orders")
	if err != nil || v.TotalSpace() != 1<<20 || v.FreeSpace() != 1<<20 {
		t.Errorf("%+v, %v", v, err)
	}
}
