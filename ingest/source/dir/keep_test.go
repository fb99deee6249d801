package dir_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/source"
	"ingestd/ingest/source/dir"
	"ingestd/ingest/spool"
)

func keep(o *dir.Options) { o.WhenDone = source.When{Action: "keep"} }

func (w *world) spooled() int {
	w.t.Helper()
	es, err := os.ReadDir(w.spool.Dir())
	w.must(err)
	return len(es)
}

func TestKeep(t *testing.T) {
	w := newWorld(t, keep)
	w.write("a.csv", "a")
	before := w.files()
	w.sweep()
	a := w.eng.next()
	if !w.spool.Holds(a.Path) || w.read(a.Path) != "a" || a.Origin != w.path("a.csv") {
		t.Errorf("found %+v", a.Found)
	}
	// What reads it compares all of this.
	if info, err := spool.Stat(a.Path); err != nil || info.Inode != a.Inode || info.Size != a.Size || !info.ModTime.Equal(a.ModTime) {
		t.Errorf("at its path %+v, found %+v", info, a.Found)
	}
	if got := w.files(); !slices.Equal(got, before) {
		t.Errorf("there are %q", got)
	}
	if to := w.end(a, ingest.Done); to != "" || w.spooled() != 0 {
		t.Errorf("to %q, %d files in the spool", to, w.spooled())
	}
	w.must(w.src.PutAway(context.Background(), a))

	// Not again, neither by this process nor by the next, until it changes.
	stop := w.run()
	w.write("b.csv", "b")
	w.eng.next()
	stop()
	w.renew()
	w.sweep()
	w.eng.none()
	w.write("a.csv", "A")
	w.must(os.Chtimes(w.path("a.csv"), time.Time{}, time.Now().Add(time.Hour)))
	w.sweep()
	if a := w.eng.next(); a.Name != "a.csv" || w.read(a.Path) != "A" {
		t.Errorf("found %+v", a.Found)
	}
}

// What stays is asked about once, not at every listing.
func TestKeepAsksOnce(t *testing.T) {
	w := newWorld(t, func(o *dir.Options) { keep(o); o.Poll, o.Rescan = true, time.Millisecond })
	for _, n := range []string{"a.csv", "b.csv", "c.csv"} {
		w.write(n, n)
	}
	w.sweep()
	<-w.states
	w.renew()
	w.eng.known = 0
	stop := w.run()
	for range 20 { // listings, by what they find
		w.write("new.csv", "x")
		w.must(os.Chtimes(w.path("new.csv"), time.Time{}, time.Now().Add(time.Duration(len(w.eng.names()))*time.Second)))
		for a := w.eng.next(); a.Name != "new.csv"; a = w.eng.next() {
		}
	}
	stop()
	if w.eng.known > 3+2*20 {
		t.Errorf("asked %d times", w.eng.known)
	}
}

// A failed copy: the original goes where when_failed says, if it is still the
// one that was read.
func TestKeepFailed(t *testing.T) {
	for _, changed := range []bool{false, true} {
		w := newWorld(t, func(o *dir.Options) {
			keep(o)
			o.WhenFailed = source.When{Action: "move", To: "bad/"}
		})
		w.write("a.csv", "a")
		w.sweep()
		a := w.eng.next()
		want := []string{"bad/a.csv"}
		if changed {
			w.must(os.Remove(w.path("a.csv")))
			w.write("a.csv", "b")
			want = []string{"a.csv"}
		}
		for range 2 {
			w.end(a, ingest.Failed)
		}
		if got := w.files(); !slices.Equal(got, want) || w.spooled() != 0 {
			t.Errorf("changed %v: there are %q", changed, got)
		}
	}
	w := newWorld(t, keep)
	w.write("a.csv", "a")
	w.sweep()
	w.end(w.eng.next(), ingest.Failed)
	if got := w.files(); !slices.Equal(got, []string{"a.csv"}) {
		t.Errorf("by default: %q", got)
	}
}

// An Accept that failed leaves no copy behind, one that was stored all the
// same keeps its copy.
func TestKeepRefused(t *testing.T) {
	for _, stored := range []bool{false, true} {
		w := newWorld(t, keep)
		w.write("a.csv", "a")
		w.refuseOnce(stored)
		if w.spooled() != 1 {
			t.Errorf("%d files in the spool", w.spooled())
		}
		w.sweep()
		if stored {
			w.eng.none()
		} else {
			w.eng.next()
		}
		if got := w.eng.names(); len(got) != 1 || w.spooled() != 1 || w.read(w.eng.arrivals[0].Path) != "a" {
			t.Errorf("stored %v: arrivals %q, %d files in the spool", stored, got, w.spooled())
		}
	}
}

// A file that is replaced and rewritten all the time is copied whole or not at
// all.
func TestKeepRace(t *testing.T) {
	w := newWorld(t, func(o *dir.Options) { keep(o); o.Poll, o.Rescan = true, time.Millisecond })
	const size = 1 << 20
	versions := make([][]byte, 3)
	for i := range versions {
		versions[i] = slices.Repeat([]byte{byte('a' + i)}, size+i)
	}
	stop := w.run()
	for i := range 60 {
		tmp := w.path(".tmp")
		w.must(os.WriteFile(tmp, versions[i%3], 0o644))
		w.must(os.Rename(tmp, w.path("a.bin")))
	}
	w.drop("last", "")
	for {
		a := w.eng.next()
		if a.Name == "last" {
			break
		}
		b := w.read(a.Path)
		if v := versions[b[0]-'a']; b != string(v) || a.Size != int64(len(v)) {
			t.Fatalf("%d bytes of %q, found with %d", len(b), b[0], a.Size)
		}
	}
	stop()
}

// Named files, and files that are nobody's of ours, stay whatever is decided.
func TestNotOurs(t *testing.T) {
	w := newWorld(t, func(o *dir.Options) { o.WhenDone = source.When{Action: "delete"} })
	w.write("a.csv", "a")
	for _, a := range []*ingest.Arrival{
		{Found: ingest.Found{Name: "a.csv", Origin: w.path("a.csv"), Path: w.path("a.csv"), Keep: true}},
		{Found: ingest.Found{Name: "a.csv", Origin: w.path("a.csv"), Path: w.path("a.csv")}},
	} {
		if w.end(a, ingest.Done); a.Away.Action != "keep" {
			t.Errorf("decided %+v", a.Away)
		}
		a.Away = ingest.Disposition{Action: "delete"}
		w.must(w.src.PutAway(context.Background(), a))
		w.read(w.path("a.csv"))
	}
}

func TestDispose(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, func(o *dir.Options) { o.WhenDone = source.When{Action: "move", To: "done/"} })
	// Two of one name that end together get two destinations.
	var as []*ingest.Arrival
	for i := range 3 {
		w.write("a.csv.gz", string(rune('0'+i)))
		w.sweep()
		a := w.eng.next()
		a.State = ingest.Done
		var err error
		a.Away, err = w.src.Dispose(ctx, a)
		w.must(err)
		as = append(as, a)
	}
	for i, want := range []string{"a.csv.gz", "a-1.csv.gz", "a-2.csv.gz"} {
		if as[i].Away.To != w.path("done/"+want) {
			t.Errorf("decided %s", as[i].Away.To)
		}
		w.must(w.src.PutAway(ctx, as[i]))
		if as[i].Away.To != w.path("done/"+want) || w.read(as[i].Away.To) != string(rune('0'+i)) {
			t.Errorf("went to %s", as[i].Away.To)
		}
	}
	// Taken by somebody else after the decision.
	w.write("b.csv", "b")
	w.sweep()
	b := w.eng.next()
	b.State = ingest.Done
	var err error
	b.Away, err = w.src.Dispose(ctx, b)
	w.must(err)
	w.write("done/b.csv", "theirs")
	w.must(w.src.PutAway(ctx, b))
	if b.Away.To != w.path("done/b-1.csv") || w.read(w.path("done/b.csv")) != "theirs" || w.read(b.Away.To) != "b" {
		t.Errorf("went to %s", b.Away.To)
	}
	for _, s := range []ingest.State{ingest.Waiting, ingest.Running, ingest.Held} {
		if _, err := w.src.Dispose(ctx, &ingest.Arrival{Found: b.Found, State: s}); err == nil {
			t.Errorf("decided where a %s arrival goes", s)
		}
	}
	if err := w.src.PutAway(ctx, &ingest.Arrival{Found: as[0].Found}); err == nil {
		t.Error("put away undecided")
	}
}

// Archives on another filesystem: whole under the final name or not there,
// never overwritten, and repeated safely.
func TestArchiveAcross(t *testing.T) {
	archive := t.TempDir()
	w := newWorld(t, func(o *dir.Options) {
		o.WhenDone = source.When{Action: "move", To: archive + "/{date}/{pipeline}/"}
	})
	content := string(slices.Repeat([]byte("0123456789abcdef"), 1<<17))
	for i := range 2 {
		w.write("a.csv", content)
		w.sweep()
		a := w.eng.next()
		to := w.end(a, ingest.Done)
		want := filepath.Join(archive, a.FoundAt.Format("2006-01-02"), "orders", []string{"a.csv", "a-1.csv"}[i])
		if to != want || w.read(to) != content {
			t.Errorf("went to %s, want %s", to, want)
		}
		w.must(w.src.PutAway(context.Background(), a))
		w.gone(a.Path)
		es, _ := os.ReadDir(filepath.Dir(want))
		if len(es) != i+1 {
			t.Errorf("%d files in the archive", len(es))
		}
	}
}
