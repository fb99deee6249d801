package sftp

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/source"
)

func sumOf(b []byte) []byte { return fmt.Appendf(nil, "%x  whatever\n", sha256.Sum256(b)) }

// A file is taken up only when it is what its sidecar says, and both go away
// together.
func TestSidecar(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.Rules = source.Rules{Sidecar: "{name}.sha256", Settle: 20 * time.Millisecond, Match: []string{"*.csv"}}
		o.WhenDone = source.When{Action: source.Move, To: "done/"}
		o.WhenFailed = source.When{Action: source.Delete}
	})
	good, large := content(1, 100), content(2, 3<<20)
	r.put("good.csv", good)
	r.put("good.csv.sha256", sumOf(good))
	r.put("large.csv", large)
	r.put("large.csv.sha256", sumOf(large))
	r.put("none.csv", good)         // has no sidecar yet
	r.put("cut.csv", large[:2<<20]) // is not all that was meant
	r.put("cut.csv.sha256", sumOf(large))
	r.put("text.csv", good)
	r.put("text.csv.sha256", []byte("it will come later"))
	r.put("huge.csv", good)
	r.put("huge.csv.sha256", []byte(strings.Repeat("x", source.MaxSidecar+1)))
	r.put("link.csv", good)
	if err := os.Symlink(filepath.Join(r.dir, "good.csv.sha256"), filepath.Join(r.dir, "link.csv.sha256")); err != nil {
		t.Fatal(err)
	}
	if err := r.sweep(); err != nil {
		t.Fatal(err)
	}
	found := r.in.all()
	if len(found) != 2 {
		t.Fatalf("%+v", found)
	}
	r.mu.Lock()
	said := map[string]string{}
	for _, p := range r.problems {
		if p.Kind == source.Unmarked { // one is told of, the other counted with it
			continue
		}
		if p.Kind != source.Unproven {
			t.Error(p)
		}
		said[p.Name] = p.Err.Error()
	}
	r.mu.Unlock()
	for name, want := range map[string]string{
		"cut.csv": "the sidecar says", "text.csv": "is no checksum", "huge.csv": "more than 65536 bytes",
	} {
		if !strings.Contains(said[name], want) {
			t.Errorf("%s: %q, want %q", name, said[name], want)
		}
	}
	if len(said) != 3 {
		t.Errorf("%q", said)
	}
	for i, f := range found {
		r.check(&f, map[string][]byte{"good.csv": good, "large.csv": large}[f.Name])
		a := r.arrival(int64(i), f, ingest.Done)
		if f.Name == "large.csv" { // its place is taken
			r.put("done/large.csv", nil)
			r.put("done/large.csv.sha256", nil)
		}
		for range 2 { // the second time nothing is left to do
			if err := r.src.PutAway(t.Context(), a); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := fmt.Sprint(r.names("done")); strings.Count(got, "sha256") != 3 || strings.Count(got, "csv") != 6 {
		t.Errorf("done: %s", got)
	}
	if got, err := os.ReadFile(filepath.Join(r.dir, "done", "good.csv.sha256")); err != nil || string(got) != string(sumOf(good)) {
		t.Errorf("its sidecar: %q, %v", got, err)
	}

	// What comes later proves it.
	r.put("none.csv.sha256", sumOf(good))
	r.put("cut.csv", large)
	if err := r.sweep(); err != nil {
		t.Fatal(err)
	}
	if found = r.in.all()[2:]; len(found) != 2 {
		t.Fatalf("%+v", found)
	}
	a := r.arrival(9, found[0], ingest.Failed)
	if err := r.src.PutAway(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(r.names(".")); strings.Contains(got, found[0].Name) {
		t.Errorf("deleted with its sidecar, and there are %s", got)
	}
}

// A trailer that is not there yet is waited for, also where the mtime of what
// comes then is no other.
func TestTrailer(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.Rules = source.Rules{Settle: 20 * time.Millisecond}
		o.Trailer = func(_ context.Context, in ingest.Input) error {
			b, err := io.ReadAll(io.NewSectionReader(in.ReaderAt, 0, in.Size))
			if err != nil {
				return err
			}
			if !strings.HasSuffix(string(b), "END\n") {
				return &ingest.ReadError{Reason: "no END"}
			}
			return nil
		}
	})
	stop := r.run()
	r.put("a.csv", []byte("1\n2\nEN"))
	r.put("b.csv", []byte("END\n"))
	r.in.wait(t, 1)
	r.put("a.csv", []byte("1\n2\nEND\n"))
	found := r.in.wait(t, 2)
	stop()
	r.check(&found[1], []byte("1\n2\nEND\n"))
	if found[1].Refused != "" {
		t.Error(found[1].Refused)
	}
}

// What is not proven for long is handed over to fail.
func TestNeverProven(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Rules = source.Rules{Sidecar: "{name}.sha256", Settle: time.Second} })
	synctest.Test(t, func(t *testing.T) {
		p := &pass{s: r.src, to: r.in, ctx: t.Context()}
		var err error
		if p.tracker, err = source.NewTracker(r.src.rules, func(*source.Problem) {}); err != nil {
			t.Fatal(err)
		}
		e := source.Entry{Name: "a.csv", ModTime: time.Now().Truncate(time.Second)}
		land := func() *flight {
			w, err := r.spool.Create("")
			if err != nil {
				t.Fatal(err)
			}
			f := &flight{fetch: fetch{s: r.src, e: e, part: &partial{e: e, w: w}}, over: true, err: &doubtError{io.ErrUnexpectedEOF}}
			p.flights = []*flight{f}
			if err := p.land(); err != nil {
				t.Fatal(err)
			}
			return f
		}
		p.tracker.Look(e)
		p.tracker.Look(source.Entry{Name: "a.csv.sha256"})
		time.Sleep(time.Second)
		p.tracker.Look(e)
		for range 2 {
			if land(); len(p.flights) > 0 {
				t.Fatal("it is handed over at once")
			}
			time.Sleep(source.DoubtedFor)
		}
		time.Sleep(source.ProofFor)
		f := land()
		if len(p.flights) != 1 || f.found == nil || f.found.Refused != io.ErrUnexpectedEOF.Error() {
			t.Fatalf("%+v", f)
		}
		r.check(f.found, nil)
	})
}
