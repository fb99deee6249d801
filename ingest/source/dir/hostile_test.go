package dir_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ingestd/ingest"
	"ingestd/ingest/source"
	"ingestd/ingest/source/dir"
	"ingestd/ingest/spool"
)

// Names are bytes: whatever they hold, the file is delivered under its name,
// put away under it, and logged quoted.
func TestHostileNames(t *testing.T) {
	names := []string{
		"new\nline.csv", "esc\x1b[2J.csv", "\xff\xfe.csv", "-rf.csv", strings.Repeat("n", 251) + ".csv",
		"a..\\b.csv", "%2e%2e%2fx.csv", "\u202egnp.csv", "quotes\"'`$(id).csv", " lead and trail .csv",
		"\u00e9.csv", "e\u0301.csv", // NFC and NFD
		"{date}{name}.csv", "*.csv", "[a].csv", "...csv.csv"[2:], "a\\.csv", strings.Repeat("€", 83) + ".csv",
	}
	w := newWorld(t, func(o *dir.Options) {
		o.Rules.Match = []string{"*.csv"}
		o.Rules.Ignore = []string{}
		o.WhenDone = source.When{Action: "move", To: "done/{name}"}
	})
	for i, n := range names {
		w.write(n, fmt.Sprint(i))
	}
	w.sweep()
	var first []*ingest.Arrival
	for range names {
		first = append(first, w.eng.next())
	}
	for _, a := range first {
		i := slices.Index(names, a.Name)
		if i < 0 || w.read(a.Path) != fmt.Sprint(i) {
			t.Errorf("found %q", a.Name)
			continue
		}
		if to := w.end(a, ingest.Done); to != w.path("done/"+a.Name) || w.read(to) != fmt.Sprint(i) {
			t.Errorf("%q went to %q", a.Name, to)
		}
		// And once more: a suffix, within 255 bytes.
		w.write(a.Name, "again")
		w.sweep()
		b := w.eng.next()
		to := w.end(b, ingest.Done)
		if base := filepath.Base(to); len(base) > 255 || filepath.Ext(base) != ".csv" || base == a.Name || w.read(to) != "again" {
			t.Errorf("%q went to %q", b.Name, to)
		}
	}
	w.eng.none()
	if w.log.count("\x1b") > 0 {
		t.Error("an escape reached the log")
	}
}

// What is no regular file is never opened, followed, moved or removed, and
// keeps nobody up.
func TestIrregular(t *testing.T) {
	w := newWorld(t, func(o *dir.Options) { o.Rules.Recursive = true })
	outside := tempDir(t)
	secret := filepath.Join(outside, "secret.csv")
	w.must(os.WriteFile(secret, []byte("secret"), 0o644))
	w.must(os.Symlink(secret, w.path("link.csv")))
	w.must(os.Symlink(outside, w.path("linkdir")))
	w.must(os.Symlink(outside, w.path("linkdir.csv")))
	w.must(os.Symlink("none", w.path("dangling.csv")))
	w.must(os.Symlink(".", w.path("loop")))
	w.must(os.Mkdir(w.path("dir.csv"), 0o755))
	w.must(unix.Mkfifo(w.path("fifo.csv"), 0o644))
	if err := unix.Mknod(w.path("dev.csv"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))); err != nil {
		t.Logf("no device: %v", err)
	}
	l, err := net.Listen("unix", w.path("socket.csv"))
	w.must(err)
	defer l.Close()
	w.write("dir.csv/inside.csv", "1")
	w.write("good.csv", "1")

	w.sweep()
	got := []string{w.eng.next().Name, w.eng.next().Name}
	slices.Sort(got)
	if !slices.Equal(got, []string{"dir.csv/inside.csv", "good.csv"}) {
		t.Errorf("took %q", got)
	}
	w.eng.none()
	for _, n := range []string{"link.csv", "linkdir", "dangling.csv", "fifo.csv", "socket.csv"} {
		if _, err := os.Lstat(w.path(n)); err != nil {
			t.Error(err)
		}
	}
	if w.read(secret) != "secret" {
		t.Error("the target was touched")
	}
}

// Names and directories are swapped for links to the outside while the source
// lists, claims and puts away: nothing outside is ever read, moved or removed.
func TestSwapRace(t *testing.T) {
	w := newWorld(t, func(o *dir.Options) { o.Rules.Recursive, o.Poll, o.Rescan = true, true, time.Millisecond })
	outside := tempDir(t)
	for _, d := range []string{outside, filepath.Join(outside, "sub")} {
		w.must(os.MkdirAll(d, 0o755))
		w.must(os.WriteFile(filepath.Join(d, "x.csv"), []byte("secret"), 0o644))
	}
	stop := w.run()
	ctx, cancel := context.WithCancel(context.Background())
	var swapper sync.WaitGroup
	swapper.Go(func() {
		for ctx.Err() == nil {
			os.Mkdir(w.path("d"), 0o755)
			os.WriteFile(w.path("d/x.csv"), []byte("mine"), 0o644)
			// Renamed in: a link that was put back there would be written through.
			os.WriteFile(w.path(".x"), []byte("mine"), 0o644)
			os.Rename(w.path(".x"), w.path("x.csv"))
			os.Rename(w.path("d"), w.path(".away"))
			os.Symlink(outside, w.path("d"))
			os.Remove(w.path("x.csv"))
			os.Symlink(filepath.Join(outside, "x.csv"), w.path("x.csv"))
			os.Remove(w.path("d"))
			os.Remove(w.path("x.csv"))
			os.RemoveAll(w.path(".away"))
		}
	})
	for range 120 {
		a := w.eng.next()
		info, err := os.Lstat(a.Path)
		if err != nil || !info.Mode().IsRegular() || w.read(a.Path) != "mine" {
			t.Fatalf("took %q: %v", a.Name, err)
		}
		w.end(a, ingest.Done)
	}
	cancel()
	swapper.Wait()
	stop()
	for _, n := range []string{"x.csv", "sub/x.csv"} {
		if w.read(filepath.Join(outside, n)) != "secret" {
			t.Errorf("%s was touched", n)
		}
	}
}

// Our own directories swapped for links are refused, not followed.
func TestOwnDirectoriesSwapped(t *testing.T) {
	w := newWorld(t, func(o *dir.Options) {
		o.WhenDone = source.When{Action: "move", To: "done/"}
	})
	outside := tempDir(t)
	w.must(os.Symlink(outside, w.path(".ingestd")))
	w.write("a.csv", "1")
	if err := w.src.Sweep(context.Background(), w.eng); err == nil {
		t.Error("a link called .ingestd was followed")
	}
	w.must(os.Remove(w.path(".ingestd")))
	w.sweep()
	a := w.eng.next()
	w.must(os.Symlink(outside, w.path("done")))
	a.State = ingest.Done
	var err error
	a.Away, err = w.src.Dispose(context.Background(), a)
	w.must(err)
	if err := w.src.PutAway(context.Background(), a); err == nil {
		t.Error("a link called done was followed")
	}
	w.must(os.Remove(w.path("done")))
	w.must(w.src.PutAway(context.Background(), a))
	if w.read(w.path("done/a.csv")) != "1" {
		t.Error("lost")
	}
	if es, _ := os.ReadDir(outside); len(es) != 0 {
		t.Errorf("made outside: %v", es)
	}
}

// A hard link to a file outside keeps it from being taken; without it, it is.
func TestHardLink(t *testing.T) {
	w := newWorld(t, nil)
	out := filepath.Join(filepath.Dir(w.folder), "out.csv")
	w.must(os.WriteFile(out, []byte("1"), 0o644))
	w.must(os.Link(out, w.path("a.csv")))
	w.write("b.csv", "1")
	w.sweep()
	if b := w.eng.next(); b.Name != "b.csv" {
		t.Errorf("took %q", b.Name)
	}
	w.eng.none()
	if p := w.problem(); p.Kind != source.Linked || p.Name != "a.csv" {
		t.Errorf("told %v", p)
	}
	w.must(os.Remove(out))
	w.sweep()
	w.eng.next()
}

// Uploaded, deleted, uploaded again, replaced, all at once: what is taken is
// one version, whole, and what was found says which.
func TestFlapping(t *testing.T) {
	w := newWorld(t, hourly)
	w.run()
	version := func(i int) string { return strings.Repeat(fmt.Sprint(i%10), 100+i%7) }
	for i := range 3000 {
		w.drop("a.csv", version(i))
		switch i % 3 {
		case 0:
			os.Remove(w.path("a.csv"))
		case 1:
			w.drop("a.csv", version(i+1))
		}
	}
	w.drop("last.csv", "")
	for taken := 0; ; taken++ {
		a := w.eng.next()
		if a.Name == "last.csv" {
			t.Logf("%d versions were taken", taken)
			break
		}
		b := w.read(a.Path)
		info, err := spool.Stat(a.Path)
		w.must(err)
		if int64(len(b)) != a.Size || strings.Trim(b, b[:1]) != "" || info.Inode != a.Inode || !info.ModTime.Equal(a.ModTime) {
			t.Fatalf("%d bytes, inode %d, found with %d, %d: %.20q…", len(b), info.Inode, a.Size, a.Inode, b)
		}
	}
}
