package dir_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ingestd/ingest"
	"ingestd/ingest/source"
	"ingestd/ingest/source/dir"
	"ingestd/ingest/spool"
)

var errCommit = errors.New("disk full")

// refuseOnce makes the next Accept fail, as a crash before or after its
// commit would.
func (w *world) refuseOnce(stored bool) {
	w.t.Helper()
	w.eng.refuse, w.eng.stored = errCommit, stored
	if err := w.src.Sweep(context.Background(), w.eng); !errors.Is(err, errCommit) {
		w.t.Fatalf("Sweep: %v", err)
	}
}

// Killed after the rename, before the arrival was stored: handed over at the
// next start under its old name, once.
func TestCrashBeforeAccept(t *testing.T) {
	w := newWorld(t, func(o *dir.Options) { o.Rules.Recursive = true })
	w.write("b.csv", "bb")
	w.write("sub/a\n.csv", "a")
	w.refuseOnce(false)
	w.gone(w.path("b.csv"))
	w.renew()
	w.sweep()
	var got []string
	for range 2 {
		a := w.eng.next()
		got = append(got, a.Name)
		if a.Origin != w.path(a.Name) || int64(len(w.read(a.Path))) != a.Size || a.Inode == 0 || a.ModTime.IsZero() {
			t.Errorf("found %+v", a.Found)
		}
		w.end(a, ingest.Done)
	}
	if slices.Sort(got); !slices.Equal(got, []string{"b.csv", "sub/a\n.csv"}) {
		t.Errorf("took %q", got)
	}
	w.renew()
	w.sweep()
	w.eng.none()
	if es, _ := os.ReadDir(w.path(".ingestd/work")); len(es) != 0 {
		t.Errorf("left in work: %v", es)
	}
}

// Killed after the commit, before the source heard of it: not handed over
// again.
func TestCrashAfterAccept(t *testing.T) {
	w := newWorld(t, nil)
	w.write("a.csv", "a")
	w.refuseOnce(true)
	w.renew()
	w.sweep()
	w.eng.none()
	if got := w.eng.names(); len(got) != 1 {
		t.Fatalf("arrivals: %q", got)
	}
	w.end(w.eng.arrivals[0], ingest.Done)
	if w.read(w.path(".ingestd/done/a.csv")) != "a" {
		t.Error("lost")
	}
}

// The folder is reached by another path after a restart: what is under way is
// known all the same.
func TestCrashAndOtherPath(t *testing.T) {
	w := newWorld(t, nil)
	w.write("a.csv", "a")
	w.sweep()
	a := w.eng.next()
	link := w.folder + "-link"
	w.must(os.Symlink(w.folder, link))
	t.Cleanup(func() { os.Remove(link) })
	w.o.Path = link
	w.renew()
	w.sweep()
	w.eng.none()
	w.end(a, ingest.Done)
	if w.read(w.path(".ingestd/done/a.csv")) != "a" {
		t.Error("lost")
	}
}

// Pipelines that share a folder leave each other's work alone.
func TestSharedFolder(t *testing.T) {
	w := newWorld(t, func(o *dir.Options) { o.Rules.Match = []string{"*.csv"} })
	w.write("a.csv", "a")
	w.write("a.xml", "a")
	w.refuseOnce(false)
	o := w.o
	o.Pipeline, o.Rules.Match = "invoices", []string{"*.xml"}
	other, err := dir.New(o)
	w.must(err)
	eng := newEngine(t)
	w.must(other.Sweep(context.Background(), eng))
	if got := eng.names(); !slices.Equal(got, []string{"a.xml"}) {
		t.Errorf("the other took %q", got)
	}
	w.renew()
	w.sweep()
	if a := w.eng.next(); a.Name != "a.csv" {
		t.Errorf("took %q", a.Name)
	}
}

// PutAway may be broken off anywhere and is done again, once.
func TestCrashInPutAway(t *testing.T) {
	ctx := context.Background()
	for _, action := range []string{"move", "delete", "keep"} {
		t.Run(action, func(t *testing.T) {
			w := newWorld(t, func(o *dir.Options) {
				o.WhenDone = source.When{Action: action}
				if action == "move" {
					o.WhenDone.To = "done/"
				}
				if action == "keep" { // decided after it was claimed
					o.WhenDone = source.When{}
				}
			})
			w.write("a.csv", "a")
			w.sweep()
			a := w.eng.next()
			a.State = ingest.Done
			if action == "keep" {
				w.o.WhenDone.Action = "keep"
				w.renew()
			}
			var err error
			a.Away, err = w.src.Dispose(ctx, a)
			w.must(err)
			for range 3 {
				w.renew() // the process died after this step
				w.must(w.src.PutAway(ctx, a))
			}
			want := map[string][]string{"move": {"done/a.csv"}, "delete": nil, "keep": {"a.csv"}}[action]
			if got := w.files(); !slices.Equal(got, want) {
				t.Errorf("there are %q, want %q", got, want)
			}
			a.PutAway = true
			w.renew()
			w.sweep()
			w.eng.none()
		})
	}
	t.Run("between link and unlink", func(t *testing.T) {
		w := newWorld(t, nil)
		w.write("a.csv", "a")
		w.sweep()
		a := w.eng.next()
		a.State = ingest.Done
		var err error
		a.Away, err = w.src.Dispose(ctx, a)
		w.must(err)
		w.must(os.MkdirAll(filepath.Dir(a.Away.To), 0o755))
		w.must(os.Link(a.Path, a.Away.To))
		w.must(w.src.PutAway(ctx, a))
		if got := w.files(); !slices.Equal(got, []string{".ingestd/done/a.csv"}) {
			t.Errorf("there are %q", got)
		}
	})
}

// A done_file and its file are taken in two steps; killed in between, both are
// where they were. Killed after, the done_file marks no later file.
func TestCrashWithDoneFile(t *testing.T) {
	const token = "/37d2c0b500000000/"
	tests := []struct {
		name  string
		files []string // in the folder when it starts again
		want  []string // handed over
	}{
		{"done_file taken, file not", []string{"a.csv", "marks:a.csv.done"}, []string{"a.csv"}},
		{"both taken", []string{"work:a.csv", "marks:a.csv.done"}, []string{"a.csv"}},
		{"both taken, and a new upload without a done_file", []string{"work:a.csv", "marks:a.csv.done", "a.csv"}, []string{"a.csv"}},
		{"done_file taken, and a new one came", []string{"a.csv", "a.csv.done", "marks:a.csv.done"}, []string{"a.csv"}},
		{"in a directory", []string{"d/a.csv", "marks:d/a.csv.done"}, []string{"d/a.csv"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, func(o *dir.Options) { o.Rules.DoneFile, o.Rules.Recursive = "{name}.done", true })
			own := strings.Replace(token, "37d2c0b5", w.token()[:8], 1)
			for _, f := range tt.files {
				if rest, ok := strings.CutPrefix(f, "marks:"); ok {
					f = ".ingestd/marks" + own + rest
				} else if rest, ok := strings.CutPrefix(f, "work:"); ok {
					f = ".ingestd/work" + own + rest
				}
				w.write(f, "")
			}
			w.sweep()
			if got := w.eng.names(); !slices.Equal(got, tt.want) {
				t.Errorf("took %q, want %q", got, tt.want)
			}
			for _, f := range w.files() {
				if strings.HasSuffix(f, ".done") {
					t.Errorf("left: %s", f)
				}
			}
			w.renew()
			w.sweep()
			if got := w.eng.names(); !slices.Equal(got, tt.want) {
				t.Errorf("took %q in the end, want %q", got, tt.want)
			}
		})
	}
}

// token is one that the source uses.
func (w *world) token() string {
	w.t.Helper()
	probe := newWorld(w.t, nil)
	probe.write("a.csv", "")
	probe.sweep()
	rel, _ := filepath.Rel(probe.path(".ingestd/work"), probe.eng.next().Path)
	return filepath.Dir(rel)
}

// A claim that a writer still had open when the process died goes back.
func TestCrashWithWriter(t *testing.T) {
	w := newWorld(t, nil)
	w.write("a.csv", "a")
	w.refuseOnce(false)
	left := w.files()[0]
	f, err := os.OpenFile(w.path(left), os.O_WRONLY|os.O_APPEND, 0)
	w.must(err)
	r, err := os.Open(w.path(left))
	w.must(err)
	tells := spool.Writing(r)
	r.Close()
	if !tells {
		t.Skip("the kernel does not tell here")
	}
	w.renew()
	stop := w.run()
	defer stop()
	fmt.Fprint(f, "bc")
	w.must(f.Close())
	if a := w.eng.next(); a.Name != "a.csv" || a.Size != 3 || w.read(a.Path) != "abc" {
		t.Errorf("found %+v", a.Found)
	}
	w.eng.none()
}

// Only the very file that was read is put away.
func TestPutAwayOnlyThatFile(t *testing.T) {
	ctx := context.Background()
	for _, state := range []ingest.State{ingest.Done, ingest.Failed} {
		w := newWorld(t, nil)
		w.write("a.csv", "a")
		w.sweep()
		a := w.eng.next()
		a.State = state
		var err error
		a.Away, err = w.src.Dispose(ctx, a)
		w.must(err)
		w.must(os.WriteFile(a.Path, []byte("written to"), 0o644))
		err = w.src.PutAway(ctx, a)
		if state == ingest.Done && !errors.Is(err, spool.ErrOther) || state == ingest.Failed && err != nil {
			t.Errorf("%s, changed: %v", state, err)
		}
		w.must(os.MkdirAll(filepath.Dir(a.Path), 0o700))
		w.must(os.WriteFile(w.path("other"), []byte("a"), 0o644))
		w.must(os.Rename(w.path("other"), a.Path))
		if err := w.src.PutAway(ctx, a); !errors.Is(err, spool.ErrOther) {
			t.Errorf("replaced: %v", err)
		}
		w.must(os.Remove(a.Path))
		w.must(os.Symlink("/etc/hostname", a.Path))
		if err := w.src.PutAway(ctx, a); !errors.Is(err, spool.ErrOther) {
			t.Errorf("a link: %v", err)
		}
	}
}

// An unmounted folder is not one whose files were put away.
func TestPutAwayWithoutFolder(t *testing.T) {
	w := newWorld(t, nil)
	w.write("a.csv", "a")
	w.sweep()
	a := w.eng.next()
	a.State = ingest.Done
	var err error
	a.Away, err = w.src.Dispose(context.Background(), a)
	w.must(err)
	w.must(os.Rename(w.folder, w.folder+"-away"))
	if err := w.src.PutAway(context.Background(), a); err == nil {
		t.Error("put away in a folder that is not there")
	}
	w.must(os.Mkdir(w.folder, 0o755))
	if err := w.src.PutAway(context.Background(), a); err == nil {
		t.Error("put away in an empty folder")
	}
	w.must(os.Remove(w.folder))
	w.must(os.Rename(w.folder+"-away", w.folder))
	w.must(w.src.PutAway(context.Background(), a))
	if w.read(a.Away.To) != "a" {
		t.Error("lost")
	}
}
