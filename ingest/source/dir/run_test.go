package dir_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/source"
	"ingestd/ingest/source/dir"
)

// Only a notification can bring these: the next listing is an hour away.
func hourly(o *dir.Options) { o.Rescan = time.Hour }

func TestNotified(t *testing.T) {
	tests := []struct {
		name string
		do   func(w *world)
	}{
		{"renamed in", func(w *world) { w.drop("a.csv", "x") }},
		{"written in place", func(w *world) { w.write("a.csv", "x") }},
		{"moved in from elsewhere", func(w *world) {
			out := filepath.Join(filepath.Dir(w.folder), "out")
			w.must(os.WriteFile(out, []byte("x"), 0o644))
			w.must(os.Rename(out, w.path("a.csv")))
		}},
		{"linked in, then unlinked, as OpenSSH renames", func(w *world) {
			out := filepath.Join(filepath.Dir(w.folder), "out")
			w.must(os.WriteFile(out, []byte("x"), 0o644))
			w.must(os.Link(out, w.path("a.csv")))
			w.must(os.Remove(out))
		}},
		{"renamed over another", func(w *world) {
			w.write("a.csv.part", "x")
			w.must(os.Rename(w.path("a.csv.part"), w.path("a.csv")))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, hourly)
			w.run()
			tt.do(w)
			if a := w.eng.next(); a.Name != "a.csv" || w.read(a.Path) != "x" {
				t.Errorf("got %+v", a.Found)
			}
			w.eng.none()
		})
	}
}

// A writer is never read early, whether it keeps the file open (with pauses
// much longer than settle, which the kernel tells of) or opens it anew for
// each piece, and the file is taken up after its end.
func TestSlowWriters(t *testing.T) {
	const settle, pieces = 100 * time.Millisecond, 7
	for _, settle := range []time.Duration{0, settle} {
		for _, reopens := range []bool{false, true} {
			if settle == 0 && reopens {
				continue // nothing could tell its pauses from its end
			}
			t.Run(fmt.Sprintf("settle=%v,reopens=%v", settle, reopens), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, func(o *dir.Options) { o.Rescan, o.Rules.Settle = 50*time.Millisecond, settle })
				w.run()
				pause := settle / 5
				if !reopens {
					pause = max(2*settle, 20*time.Millisecond)
				}
				f, err := os.Create(w.path("a.csv"))
				w.must(err)
				tick := time.NewTicker(max(pause, time.Millisecond))
				defer tick.Stop()
				for i := range pieces {
					<-tick.C
					if _, err := os.Stat(w.path("a.csv")); err != nil {
						t.Fatalf("taken up after %d of %d pieces", i, pieces)
					}
					if reopens {
						w.must(f.Close())
						f, err = os.OpenFile(w.path("a.csv"), os.O_APPEND|os.O_WRONLY, 0)
						w.must(err)
					}
					fmt.Fprintf(f, "%d\n", i)
				}
				w.must(f.Close())
				a := w.eng.next()
				if got := strings.Count(w.read(a.Path), "\n"); got != pieces || a.Size != int64(len(w.read(a.Path))) {
					t.Errorf("%d of %d pieces, size %d", got, pieces, a.Size)
				}
			})
		}
	}
}

// Without notifications a listing finds everything within rescan.
func TestPolled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(o *dir.Options) {
			o.Poll, o.Rescan, o.Rules.Settle = true, 30*time.Second, 2*time.Second
		})
		stop := w.run()
		defer stop()
		w.write("a.csv", "x")
		start := time.Now()
		w.eng.next()
		if d := time.Since(start); d != 32*time.Second {
			t.Errorf("taken up after %v", d)
		}
	})
}

// Who renames files into the folder is heard where nothing else is.
func TestHint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(o *dir.Options) { o.Poll, o.Rescan, o.Rules.Settle, o.Type = true, time.Hour, 0, "sftp_drop" })
		stop := w.run()
		defer stop()
		synctest.Wait()
		start := time.Now()
		w.write("a.csv", "x")
		w.src.Hint("a.csv")
		f := w.eng.next()
		if d := time.Since(start); d > time.Second {
			t.Errorf("taken up after %v", d)
		}
		if f.Source != "sftp_drop" || f.Name != "a.csv" {
			t.Errorf("found %+v", f)
		}
	})
}

func TestSweep(t *testing.T) {
	bubble := func(name string, change func(*dir.Options), test func(t *testing.T, w *world)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, func(o *dir.Options) {
					o.Rules.Settle = 2 * time.Second
					if change != nil {
						change(o)
					}
				})
				test(t, w)
			})
		})
	}
	bubble("waits settle out", nil, func(t *testing.T, w *world) {
		w.write("a.csv", "x")
		start := time.Now()
		w.sweep()
		w.eng.next()
		if d := time.Since(start); d != 2*time.Second {
			t.Errorf("it took %v", d)
		}
	})
	bubble("nothing there", nil, func(t *testing.T, w *world) {
		start := time.Now()
		w.sweep()
		if d := time.Since(start); d != 0 || w.state() != nil {
			t.Errorf("it took %v", d)
		}
	})
	bubble("waits for what grows, not for what comes", nil, func(t *testing.T, w *world) {
		w.write("a.csv", "x")
		go func() {
			for i := range 5 {
				time.Sleep(1500 * time.Millisecond)
				w.write("a.csv", strings.Repeat("x", i+2))
				w.write(fmt.Sprintf("new%d.csv", i), "x")
			}
		}()
		w.sweep()
		if a := w.eng.next(); a.Size != 6 {
			t.Errorf("%q of %d bytes", a.Name, a.Size)
		}
		w.eng.none()
	})
	bubble("gives up on what never ends", nil, func(t *testing.T, w *world) {
		w.write("a.csv", "x")
		w.write("b.csv", "x")
		ctx, cancel := context.WithCancel(t.Context())
		var writer sync.WaitGroup
		writer.Go(func() {
			for i := 2; ctx.Err() == nil; i++ {
				time.Sleep(time.Second)
				w.write("a.csv", strings.Repeat("x", i))
			}
		})
		w.must(w.src.Sweep(t.Context(), w.eng))
		cancel()
		writer.Wait()
		if a := w.eng.next(); a.Name != "b.csv" {
			t.Errorf("took %q", a.Name)
		}
		w.eng.none()
		if p := w.problem(); p.Kind != source.Unsettled || p.Name != "a.csv" {
			t.Errorf("told %v", p)
		}
	})
	bubble("no folder", nil, func(t *testing.T, w *world) {
		w.must(os.Remove(w.folder))
		if err := w.src.Sweep(t.Context(), w.eng); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), w.folder) {
			t.Errorf("got %v", err)
		}
	})
	bubble("interrupted", nil, func(t *testing.T, w *world) {
		w.write("a.csv", "x")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := w.src.Sweep(ctx, w.eng); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		w.eng.none()
	})
	bubble("too large", func(o *dir.Options) { o.Rules.MaxSize = 1 }, func(t *testing.T, w *world) {
		w.write("a.csv", "xx")
		w.sweep()
		w.eng.none()
		if p := w.problem(); p.Kind != source.TooLarge || !strings.Contains(p.Error(), "max_size") {
			t.Errorf("told %v", p)
		}
		w.read(w.path("a.csv"))
	})
}

func TestOneAtATime(t *testing.T) {
	w := newWorld(t, nil)
	stop := w.run()
	if err := w.src.Sweep(context.Background(), w.eng); err == nil {
		t.Error("swept while it ran")
	}
	stop()
	w.sweep()
}

// Thousands of files that come while it watches, each once; a flood past what
// is remembered of hints (or past the kernel's queue) is a listing.
func TestFlood(t *testing.T) {
	const n = 20_000
	w := newWorld(t, hourly)
	w.run()
	for i := range n {
		w.must(os.WriteFile(w.path(fmt.Sprintf("%05d.csv", i)), nil, 0o644))
	}
	seen := map[string]bool{}
	for range n {
		seen[w.eng.next().Name] = true
	}
	w.eng.none()
	if len(seen) != n {
		t.Errorf("%d names of %d", len(seen), n)
	}
	// One file after the other would have been as many commits.
	t.Logf("%d files in %d commits", n, w.eng.commits)
}

func TestBacklogInOrder(t *testing.T) {
	const n = 2000
	for _, order := range []string{source.ByName, source.ByModTime} {
		w := newWorld(t, func(o *dir.Options) { o.Rules.Order, o.Rules.Limit = order, 700 })
		want := make([]string, n)
		for i := range n {
			name := fmt.Sprintf("%04d.csv", i)
			want[i] = name
			w.write(name, "")
			w.must(os.Chtimes(w.path(name), time.Time{}, time.Unix(int64(n-i), 0)))
		}
		if order == source.ByModTime {
			slices.Reverse(want)
		}
		w.sweep()
		if got := w.eng.names(); !slices.Equal(got, want) {
			t.Errorf("by %s: %d files, not in order", order, len(got))
		}
		if got, most := w.eng.commits, n/256+4; got > most {
			t.Errorf("%d commits, want at most %d", got, most)
		}
	}
}

func TestRecursive(t *testing.T) {
	w := newWorld(t, func(o *dir.Options) {
		hourly(o)
		o.Rules.Recursive = true
		o.WhenDone = source.When{Action: "move", To: "done/{date}/"}
		o.WhenFailed = source.When{Action: "move", To: "bad/{name}"}
		o.Exclude = []string{"receipts/"}
	})
	w.write("x/y/old.csv", "1")
	w.run()
	old := w.eng.next()
	if old.Name != "x/y/old.csv" || old.Origin != w.path("x/y/old.csv") {
		t.Errorf("found %+v", old.Found)
	}
	if to := w.end(old, ingest.Done); !strings.HasSuffix(to, "/x/y/old.csv") || !strings.HasPrefix(to, w.path("done/")) {
		t.Errorf("went to %s", to)
	}

	w.write("receipts/old.csv", "1")
	w.write("x/.hidden/old.csv", "1")
	// A directory that appears is watched and what is in it already is found.
	w.write("x/new/deeper/a.csv", "1")
	a := w.eng.next()
	if to := w.end(a, ingest.Failed); a.Name != "x/new/deeper/a.csv" || to != w.path("bad/x/new/deeper/a.csv") {
		t.Errorf("%q went to %s", a.Name, to)
	}
	w.drop("x/new/deeper/b.csv", "1")
	if b := w.eng.next(); b.Name != "x/new/deeper/b.csv" {
		t.Errorf("found %q", b.Name)
	}
	// One moved in with all that is in it.
	out := filepath.Join(filepath.Dir(w.folder), "out")
	w.must(os.MkdirAll(out+"/sub", 0o755))
	w.must(os.WriteFile(out+"/sub/c.csv", nil, 0o644))
	w.must(os.Rename(out, w.path("moved")))
	if c := w.eng.next(); c.Name != "moved/sub/c.csv" {
		t.Errorf("found %q", c.Name)
	}
	w.eng.none()
}

// Where files are put away is no place to find them, however often it looks.
func TestArchiveInside(t *testing.T) {
	w := newWorld(t, func(o *dir.Options) {
		o.Rules.Recursive = true
		o.WhenDone = source.When{Action: "move", To: "archive/done/{date}/"}
	})
	w.write("a.csv", "1")
	w.sweep()
	w.end(w.eng.next(), ingest.Done)
	w.write("archive/b.csv", "1")
	w.sweep()
	if b := w.eng.next(); b.Name != "archive/b.csv" {
		t.Errorf("found %q", b.Name)
	}
	w.eng.none()
}

func TestNewRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(*dir.Options)
		want   string
	}{
		{"no path", func(o *dir.Options) { o.Path = "" }, "path"},
		{"bad glob", func(o *dir.Options) { o.Rules.Match = []string{"["} }, "match"},
		{"archive is the folder", func(o *dir.Options) { o.WhenDone = source.When{Action: "move", To: "./"} }, "when_done"},
		{"archive name in the folder", func(o *dir.Options) { o.WhenFailed = source.When{Action: "move", To: "{name}.bad"} }, "when_failed"},
		{"archive without a fixed part", func(o *dir.Options) { o.WhenDone = source.When{Action: "move", To: "{date}/"} }, "when_done"},
		{"archive is the folder, absolutely", func(o *dir.Options) { o.WhenDone = source.When{Action: "move", To: o.Path + "/"} }, "when_done"},
		{"archive in work", func(o *dir.Options) { o.WhenDone = source.When{Action: "move", To: ".ingestd/work/x/"} }, "when_done"},
		{"no such action", func(o *dir.Options) { o.WhenDone = source.When{Action: "zip"} }, "when_done"},
		{"keep without a spool", func(o *dir.Options) { o.WhenDone, o.Spool = source.When{Action: "keep"}, nil }, "when_done"},
	}
	for _, tt := range tests {
		o := dir.Options{Path: "/srv/drops"}
		tt.change(&o)
		if _, err := dir.New(o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	for _, to := range []string{"done/", "../done/", "/archive/{date}/", ".ingestd/ok/", "done/{name}"} {
		o := dir.Options{Path: "/srv/drops", WhenDone: source.When{Action: "move", To: to}}
		if _, err := dir.New(o); err != nil {
			t.Errorf("%s: %v", to, err)
		}
	}
}
