package dir_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"ingestd/ingest"
	"ingestd/ingest/source/dir"
)

// A file is taken up when its done_file appears, and that is removed with it:
// the next file of the name waits for its own.
func TestDoneFile(t *testing.T) {
	w := newWorld(t, func(o *dir.Options) {
		hourly(o)
		o.Rules.DoneFile, o.Rules.Match, o.Rules.Recursive = "{name}.done", []string{"*.csv"}, true
	})
	w.run()
	for i := range 3 {
		name := []string{"a.csv", "sub/a.csv", "a.csv"}[i]
		w.drop(name, fmt.Sprint(i))
		w.write("probe.csv", "")
		w.write("probe.csv.done", "")
		if p := w.eng.next(); p.Name != "probe.csv" {
			t.Fatalf("took %q", p.Name)
		}
		w.write(name+".done", "")
		a := w.eng.next()
		if a.Name != name || w.read(a.Path) != fmt.Sprint(i) {
			t.Errorf("took %q", a.Name)
		}
		w.end(a, ingest.Done)
	}
	// In the other order too, and a done_file alone waits.
	w.write("b.csv.done", "")
	w.drop("b.csv", "b")
	if b := w.eng.next(); b.Name != "b.csv" {
		t.Errorf("took %q", b.Name)
	}
	w.eng.none()
	for _, f := range w.files() {
		if strings.HasSuffix(f, ".done") {
			t.Errorf("left: %s", f)
		}
	}
	if es, err := os.ReadDir(w.path(".ingestd/marks")); err != nil || len(es) != 0 {
		t.Errorf("left in marks: %v, %v", es, err)
	}
}

func TestManyDoneFiles(t *testing.T) {
	w := newWorld(t, func(o *dir.Options) { o.Rules.DoneFile = "{name}.ok" })
	const n = 600
	for i := range n {
		w.write(fmt.Sprintf("%03d.csv", i), "")
		if i%2 == 0 {
			w.write(fmt.Sprintf("%03d.csv.ok", i), "")
		}
	}
	w.must(os.Mkdir(w.path("001.csv.ok"), 0o755)) // marks nothing
	w.must(os.Symlink("x", w.path("003.csv.ok")))
	w.sweep()
	if got := len(w.eng.names()); got != n/2 {
		t.Errorf("took %d of %d", got, n/2)
	}
	for i := 1; i < n; i += 2 {
		w.read(w.path(fmt.Sprintf("%03d.csv", i)))
	}
}

// A file that is not to be had keeps its done_file.
func TestDoneFileStays(t *testing.T) {
	own, here := asNobody(t)
	if !here {
		return
	}
	w := inOwn(t, own, func(o *dir.Options) { o.Rules.DoneFile = "{name}.done" })
	w.write("a.csv", "1")
	w.write("a.csv.done", "")
	w.must(os.Chmod(w.path("a.csv"), 0))
	w.sweep()
	w.eng.none()
	w.problem()
	w.read(w.path("a.csv.done"))
	w.must(os.Chmod(w.path("a.csv"), 0o600))
	w.sweep()
	w.eng.next()
	w.gone(w.path("a.csv.done"))
}
