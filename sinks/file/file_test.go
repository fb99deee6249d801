package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/ingest"
)

var day = time.Date(2026, 3, 5, 23, 30, 0, 0, time.FixedZone("", -3600)) // the 6th in UTC

func newSink(t testing.TB, path string) *Sink {
	t.Helper()
	s, err := New(Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// placed returns a request for body with its place.
func placed(t testing.TB, s *Sink, body string) *ingest.Request {
	t.Helper()
	r := &ingest.Request{Pipeline: "orders", Name: "a.csv", Arrived: day, Body: []byte(body)}
	var err error
	if r.PlacePath, r.Place, err = s.Place(t.Context(), r, int64(len(body))); err != nil {
		t.Fatal(err)
	}
	return r
}

func send(t testing.TB, s *Sink, r *ingest.Request) {
	t.Helper()
	if _, err := s.Send(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

func holds(t testing.TB, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Fatalf("%s holds\n%q, want\n%q", path, got, want)
	}
}

func TestPlacesFollowEachOther(t *testing.T) {
	dir := t.TempDir()
	s := newSink(t, dir+"/out/{pipeline}/{date}.ndjson")
	path := dir + "/out/orders/2026-03-06.ndjson"
	a, b := placed(t, s, "{\"a\":1}\n"), placed(t, s, "{\"b\":22}\n")
	if a.PlacePath != path || a.Place != 0 || b.Place != 8 {
		t.Errorf("places %q %d, %d", a.PlacePath, a.Place, b.Place)
	}
	send(t, s, a)
	send(t, s, b)
	send(t, s, b) // its answer was lost
	send(t, s, a)
	holds(t, path, "{\"a\":1}\n{\"b\":22}\n")
	if c := placed(t, s, "c\n"); c.Place != 17 {
		t.Errorf("next at %d", c.Place)
	}
}

func TestAnotherProcessGoesOnBehind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	s := newSink(t, path)
	send(t, s, placed(t, s, "one\n"))
	two, three := placed(t, s, "two\n"), placed(t, s, "three\n") // claimed, never sent
	s.Close()

	s = newSink(t, path)
	s.Resume(path, two.Place, two.Place+4)
	s.Resume(path, three.Place, three.Place+6)
	four := placed(t, s, "four\n")
	if four.Place != 14 {
		t.Errorf("a place that was given before: %d", four.Place)
	}
	send(t, s, two)
	send(t, s, three)
	send(t, s, four)
	holds(t, path, "one\ntwo\nthree\nfour\n")
}

// TestTornWrites: a crash left any part of a body, or zeros where a file
// system had lengthened the file only.
func TestTornWrites(t *testing.T) {
	body := "{\"id\":1}\n{\"id\":2}\n"
	for n := range len(body) + 1 {
		for _, rest := range []string{"", strings.Repeat("\x00", len(body)-n), strings.Repeat("\x00", n) + body[n:]} {
			path := filepath.Join(t.TempDir(), "out")
			torn := "first\n" + body[:n] + rest
			if strings.HasPrefix(rest, "\x00") && len(rest) == len(body) {
				torn = "first\n" + rest
			}
			if err := os.WriteFile(path, []byte(torn), 0o600); err != nil {
				t.Fatal(err)
			}
			s := newSink(t, path)
			s.Resume(path, 6, 6+int64(len(body)))
			r := &ingest.Request{PlacePath: path, Place: 6, Body: []byte(body)}
			send(t, s, r)
			holds(t, path, "first\n"+body)
		}
	}
}

func TestOthersBytesStay(t *testing.T) {
	for name, c := range map[string]struct{ before, want string }{
		"other bytes at the place": {"first\nforeign bytes here\n", "first\nforeign bytes here\nmine\nyours\n"},
		"a part of other bytes":    {"first\nmi_", "first\nmi_\nmine\nyours\n"},
		"truncated to nothing":     {"", "mine\nyours\n"},
		"truncated":                {"fi", "fi\nmine\nyours\n"},
		"one byte short":           {"first", "first\nmine\nyours\n"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "out")
			s := newSink(t, path)
			send(t, s, placed(t, s, "first\n"))
			mine, yours := placed(t, s, "mine\n"), placed(t, s, "yours\n")
			if err := os.WriteFile(path, []byte(c.before), 0o600); err != nil {
				t.Fatal(err)
			}
			send(t, s, mine)
			send(t, s, yours)
			holds(t, path, c.want)
			// From here on, places are what they say again.
			next := placed(t, s, "next\n")
			if next.Place != int64(len(c.want)) {
				t.Errorf("next at %d of %d", next.Place, len(c.want))
			}
			send(t, s, next)
			send(t, s, next)
			holds(t, path, c.want+"next\n")
		})
	}
}

func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	s := newSink(t, path)
	send(t, s, placed(t, s, "one\n"))
	two := placed(t, s, "two\n")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	send(t, s, two)
	send(t, s, placed(t, s, "three\n"))
	holds(t, path+".1", "one\n")
	holds(t, path, "two\nthree\n")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	send(t, s, placed(t, s, "four\n"))
	holds(t, path, "four\n")
}

func TestAFileThatEndsInTheMiddleOfALine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	if err := os.WriteFile(path, []byte("by hand"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSink(t, path)
	a := placed(t, s, "a\n")
	send(t, s, a)
	send(t, s, a)
	holds(t, path, "by hand\na\n")
	s = newSink(t, path)
	send(t, s, a)
	holds(t, path, "by hand\na\n")
}

// TestOrder: senders in any order, the file in the order of the places, and no
// zeros in it at any time.
func TestOrder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	s := newSink(t, path)
	var requests []*ingest.Request
	var want strings.Builder
	for i := range 200 {
		body := strings.Repeat(fmt.Sprintf("%03d ", i), 1+i%7) + "\n"
		requests = append(requests, placed(t, s, body))
		want.WriteString(body)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	rng.Shuffle(len(requests), func(i, j int) { requests[i], requests[j] = requests[j], requests[i] })
	var all sync.WaitGroup
	for _, r := range requests {
		all.Go(func() {
			if _, err := s.Send(t.Context(), r); err != nil {
				t.Error(err)
			}
			if b, err := os.ReadFile(path); err != nil || bytes.IndexByte(b, 0) >= 0 {
				t.Errorf("zeros in the file, %v", err)
			}
		})
	}
	all.Wait()
	holds(t, path, want.String())
}

func TestAPredecessorThatNeverComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "out")
		s := newSink(t, path)
		lost, next, third := placed(t, s, "lost\n"), placed(t, s, "next\n"), placed(t, s, "third\n")
		began := time.Now()
		send(t, s, next)
		if wait := time.Since(began); wait != orderWait {
			t.Errorf("waited %v", wait)
		}
		send(t, s, third) // does not wait once more
		if wait := time.Since(began); wait != orderWait {
			t.Errorf("waited %v in all", wait)
		}
		holds(t, path, "next\nthird\n")
		send(t, s, lost)
		holds(t, path, "next\nthird\nlost\n")
		if r := placed(t, s, "x\n"); r.Place != 16 {
			t.Errorf("next at %d", r.Place)
		}
	})
}

func TestAWaitEndsWithItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	s := newSink(t, path)
	placed(t, s, "first\n")
	second := placed(t, s, "second\n")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Send(ctx, second); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	holds(t, path, "")
}

// TestCrashes: at random moments the process dies, with any part of what was
// not acknowledged in the file. Every batch is in it once in the end.
func TestCrashes(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 7))
		path := filepath.Join(t.TempDir(), "out")
		s := newSink(t, path)
		var open []*ingest.Request // claimed, not settled
		var want strings.Builder
		for i := range 60 {
			switch rng.IntN(4) {
			case 0, 1:
				body := fmt.Sprintf("{\"batch\":%d}%s\n", i, strings.Repeat("x", rng.IntN(5000)))
				open = append(open, placed(t, s, body))
				want.WriteString(body)
			case 2:
				if len(open) > 0 {
					send(t, s, open[0])
					if rng.IntN(3) > 0 { // else it dies before it is settled
						open = open[1:]
					}
				}
			case 3:
				if len(open) > 0 && rng.IntN(2) == 0 {
					tear(t, path, open[0], rng)
				}
				s.Close()
				s = newSink(t, path)
				for _, r := range open {
					s.Resume(path, r.Place, r.Place+int64(len(r.Body)))
				}
			}
		}
		for _, r := range open {
			send(t, s, r)
		}
		holds(t, path, want.String())
	}
}

// tear writes what a crash in the middle of a write leaves.
func tear(t *testing.T, path string, r *ingest.Request, rng *rand.Rand) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(r.Body[:rng.IntN(len(r.Body))], r.Place); err != nil {
		t.Fatal(err)
	}
}

func TestManyFiles(t *testing.T) {
	dir := t.TempDir()
	s := newSink(t, dir+"/{name}")
	for round := range 2 {
		for i := range 3 * maxOpen {
			r := &ingest.Request{Name: fmt.Sprint(i), Arrived: day, Body: []byte("x\n")}
			var err error
			if r.PlacePath, r.Place, err = s.Place(t.Context(), r, 2); err != nil {
				t.Fatal(err)
			}
			send(t, s, r)
		}
		if len(s.files) > maxOpen+1 {
			t.Errorf("round %d: %d files kept", round, len(s.files))
		}
	}
	for i := range 3 * maxOpen {
		holds(t, filepath.Join(dir, fmt.Sprint(i)), "x\nx\n")
	}
}

func TestHalts(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/dir", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/plain", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(dir+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("loop", dir+"/loop"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir + "/dir", dir + "/plain/x", dir + "/fifo", "/dev/full", "/dev/null", dir + "/loop", dir + "/" + strings.Repeat("x", 300)} {
		s := newSink(t, path)
		r := &ingest.Request{PlacePath: path, Body: []byte("x\n")}
		var h *ingest.Halt
		if _, _, err := s.Place(t.Context(), r, 2); !errors.As(err, &h) || !strings.Contains(err.Error(), path[:5]) {
			t.Errorf("place in %.60s: %v", path, err)
		}
		if _, err := s.Send(t.Context(), r); !errors.As(err, &h) {
			t.Errorf("send to %.60s: %v", path, err)
		}
	}
	if _, err := newSink(t, dir+"/x").Send(t.Context(), &ingest.Request{Body: []byte("x\n")}); err == nil {
		t.Error("a request without a place was written")
	}
}

// TestFullDisk fills a file system of its own.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("no file system of my own: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	ballast := dir + "/ballast"
	if err := os.WriteFile(ballast, make([]byte, 40<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSink(t, dir+"/out")
	send(t, s, placed(t, s, "one\n"))
	big := placed(t, s, strings.Repeat("x", 50<<10)+"\n")
	var h *ingest.Halt
	if _, err := s.Send(t.Context(), big); !errors.Is(err, syscall.ENOSPC) || errors.As(err, &h) {
		t.Fatalf("%v", err)
	}
	holds(t, dir+"/out", "one\n") // no torn tail stays
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	send(t, s, big)
	holds(t, dir+"/out", "one\n"+string(big.Body))
}

// TestASyncThatFails: what came with it is not delivered, and is written again
// through a new handle.
func TestASyncThatFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	s := newSink(t, path)
	r := placed(t, s, "one\n")
	target := s.use(path)
	h, seq, err := target.put(t.Context(), r.Body, r.Place)
	if err != nil {
		t.Fatal(err)
	}
	h.failed = errors.New("EIO") // as another sender's fdatasync found it
	if err := h.sync(seq, func() uint64 { return seq }); err == nil {
		t.Error("acknowledged after a sync that failed")
	}
	target.leave(h, true)
	s.unuse(target)
	send(t, s, r)
	if target.h == h {
		t.Error("the same handle")
	}
	holds(t, path, "one\n")
}

func TestPaths(t *testing.T) {
	for _, c := range []struct{ template, pipeline, name, want string }{
		{"/out/{pipeline}/{date}.ndjson", "orders", "", "/out/orders/2026-03-06.ndjson"},
		{"/out/{date}T{time}-{name}", "", "a.csv", "/out/2026-03-06T003000-a.csv"},
		{"/out/{name}", "", "../../etc/passwd", "/out/___.._etc_passwd"},
		{"/out/{name}", "", "..", "/out/__"},
		{"/out/{name}", "", ".hidden", "/out/_hidden"},
		{"/out/{name}", "", "", "/out/_"},
		{"/out/{name}", "", "sub/a.csv", "/out/sub_a.csv"},
		{"/out/{name}", "", `..\a`, "/out/___a"},
		{"/out/{name}", "", "a\n\x00\x1b\u202eb\xffc", "/out/a____b_c"},
		{"/out/{name}", "", "Bestellung März 1.csv", "/out/Bestellung März 1.csv"},
		{"/out/{pipeline}{name}", ".", ".", "/out/__"},
	} {
		p, err := parsePath(c.template)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.expand(&ingest.Request{Pipeline: c.pipeline, Name: c.name, Arrived: day}); err != nil || got != c.want {
			t.Errorf("%s with %q, %q: %q, %v, want %q", c.template, c.pipeline, c.name, got, err, c.want)
		}
	}
	long := strings.Repeat("é", 300)
	a, b := element(long+"a"), element(long+"b")
	if a == b || len(a) > maxElement || !strings.HasPrefix(a, "ééé") {
		t.Errorf("%q, %q", a, b)
	}
	for _, bad := range []string{"", "out", "out/{name}", "/out/", "/out/{field}", "/out/{", "/out/../x", "/out/./x", "/out/a\x00b"} {
		if _, err := New(Options{Path: bad}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func FuzzPaths(f *testing.F) {
	for _, s := range []string{"a", "..", "../x", "/", "\\", "\x00", "\xff", strings.Repeat("x", 400), "...", ". ."} {
		f.Add(s, s)
	}
	p, err := parsePath("/out/{pipeline}/x{pipeline}{name}/{name}.ndjson")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, pipeline, name string) {
		got, err := p.expand(&ingest.Request{Pipeline: pipeline, Name: name, Arrived: day})
		if err != nil {
			t.Fatal(err)
		}
		elements := strings.Split(got, "/")
		if len(elements) != 5 || elements[1] != "out" || got != filepath.Clean(got) {
			t.Fatalf("%q, %q: %q", pipeline, name, got)
		}
		if slices.ContainsFunc(elements[1:4], func(e string) bool { return e == "" || len(e) > 2*maxElement+1 }) {
			t.Fatalf("%q", got)
		}
	})
}

func BenchmarkSend(b *testing.B) {
	s := newSink(b, filepath.Join(b.TempDir(), "out"))
	body := strings.Repeat(strings.Repeat("x", 139)+"\n", 500)
	b.SetBytes(int64(len(body)))
	b.SetParallelism(2)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			send(b, s, placed(b, s, body))
		}
	})
}
