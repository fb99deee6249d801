package dir_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/source"
	"ingestd/ingest/source/dir"
)

func withSidecar(o *dir.Options) { o.Rules.Sidecar = "{name}.sha256" }

func sum(content string) string { return fmt.Sprintf("%x  x\n", sha256.Sum256([]byte(content))) }

// A sidecar goes where its file goes, and only files that match are taken.
func TestSidecar(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*dir.Options)
		state  ingest.State
		want   []string
	}{
		{"move", nil, ingest.Done, []string{".ingestd/done/s/a.csv", ".ingestd/done/s/a.csv.sha256"}},
		{"failed", nil, ingest.Failed, []string{".ingestd/failed/s/a.csv", ".ingestd/failed/s/a.csv.sha256"}},
		{"named", func(o *dir.Options) { o.WhenDone = source.When{Action: source.Move, To: "old/{name}.bak"} }, ingest.Done, []string{"old/s/a.csv.bak", "old/s/a.csv.bak.sha256"}},
		{"delete", func(o *dir.Options) { o.WhenDone = source.When{Action: source.Delete} }, ingest.Done, nil},
		{"keep", keep, ingest.Done, []string{"s/a.csv", "s/a.csv.sha256"}},
		{"keep, failed ones move", func(o *dir.Options) {
			keep(o)
			o.WhenFailed = source.When{Action: source.Move, To: "failed/"}
		}, ingest.Failed, []string{"failed/s/a.csv", "failed/s/a.csv.sha256"}},
		{"keep, failed ones go", func(o *dir.Options) {
			keep(o)
			o.WhenFailed = source.When{Action: source.Delete}
		}, ingest.Failed, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, func(o *dir.Options) {
				withSidecar(o)
				o.Rules.Recursive = true
				if tt.change != nil {
					tt.change(o)
				}
			})
			w.write("s/a.csv", "half")
			w.write("s/a.csv.sha256", sum("half and half"))
			w.write("alone.csv", "x")
			w.sweep()
			w.eng.none()
			if p := w.problem(); p.Kind != source.Unproven || p.Name != "s/a.csv" {
				t.Errorf("problem %v", p)
			}
			if p := w.problem(); p.Kind != source.Unmarked || p.Name != "alone.csv" {
				t.Errorf("problem %v", p)
			}
			w.write("s/a.csv", "half and half")
			w.renew()
			w.sweep()
			a := w.eng.next()
			if a.Name != "s/a.csv" || a.Refused != "" {
				t.Fatalf("found %+v", a.Found)
			}
			w.end(a, tt.state)
			w.must(os.Remove(w.path("alone.csv")))
			if got := w.files(); !slices.Equal(got, tt.want) {
				t.Errorf("at the end there are %q, want %q", got, tt.want)
			}
			w.renew()
			w.sweep()
			w.eng.none()
		})
	}
}

// What stays unproven is handed over after a while, to fail; kept files never
// are.
func TestSidecarNeverMatches(t *testing.T) {
	for name, change := range map[string]func(*dir.Options){"move": nil, "keep": keep} {
		w := newWorld(t, func(o *dir.Options) {
			withSidecar(o)
			o.Poll, o.Rules.Settle = true, time.Second
			if change != nil {
				change(o)
			}
		})
		w.write("a.csv", "half")
		w.write("a.csv.sha256", sum("whole"))
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), source.ProofFor+2*time.Hour)
			defer cancel()
			begun := time.Now()
			arrived := time.Duration(0)
			eng := &recording{engine: w.eng, on: func(f *ingest.Found) {
				arrived = time.Since(begun)
				if !strings.Contains(f.Refused, strings.Fields(sum("whole"))[0]) || !strings.Contains(f.Refused, strings.Fields(sum("half"))[0]) {
					t.Errorf("refused for %q", f.Refused)
				}
				cancel()
			}}
			if err := w.src.Run(ctx, eng); err != nil {
				t.Error(err)
			}
			switch {
			case name == "keep" && arrived != 0:
				t.Errorf("keep: handed over after %v", arrived)
			case name == "move" && (arrived < source.ProofFor || arrived > source.ProofFor+time.Minute):
				t.Errorf("handed over after %v", arrived)
			}
		})
		if p := w.problem(); p.Kind != source.Unproven {
			t.Errorf("%s: problem %v", name, p)
		}
	}
}

// A recording engine tells of what is accepted.
type recording struct {
	*engine
	on func(*ingest.Found)
}

func (r *recording) Accept(ctx context.Context, found []ingest.Found) ([]int64, error) {
	for i := range found {
		r.on(&found[i])
	}
	return r.engine.Accept(ctx, found)
}

// Killed between the sidecar and the file, between the file and its arrival,
// and between the sidecar's way out and its file's.
func TestCrashWithSidecar(t *testing.T) {
	w := newWorld(t, withSidecar)
	w.write("a.csv", "a")
	w.write("a.csv.sha256", sum("a"))
	w.refuseOnce(false)
	token := w.claimed()
	// As if the file had not been moved yet.
	w.must(os.Rename(w.path(".ingestd/work/"+token+"/a.csv"), w.path("a.csv")))
	w.renew()
	w.refuseOnce(false)
	token = w.claimed()
	w.gone(w.path("a.csv.sha256"))

	// As if it had been claimed as one that will never match.
	w.write(".ingestd/marks/"+token+"/a.csv.sha256", sum("b"))
	w.renew()
	w.refuseAdopted(false)
	w.write(".ingestd/marks/"+token+"/a.csv.sha256", sum("a"))
	w.renew()
	w.sweep()
	a := w.eng.next()
	if a.Refused != "" {
		t.Errorf("refused for %q", a.Refused)
	}

	a.State = ingest.Done
	var err error
	a.Away, err = w.src.Dispose(t.Context(), a)
	w.must(err)
	w.must(os.MkdirAll(w.path(".ingestd/done"), 0o700))
	w.must(os.Rename(w.path(".ingestd/marks/"+token+"/a.csv.sha256"), w.path(".ingestd/done/a.csv.sha256")))
	w.renew()
	w.sweep() // an adoption while its end is under way
	w.must(w.src.PutAway(t.Context(), a))
	w.must(w.src.PutAway(t.Context(), a))
	if got := w.files(); !slices.Equal(got, []string{".ingestd/done/a.csv", ".ingestd/done/a.csv.sha256"}) {
		t.Errorf("at the end there are %q", got)
	}
	w.eng.none()
}

// claimed is the one token in work/.
func (w *world) claimed() string {
	w.t.Helper()
	es, err := os.ReadDir(w.path(".ingestd/work"))
	if err != nil || len(es) != 1 {
		w.t.Fatalf("in work there are %v, %v", es, err)
	}
	return es[0].Name()
}

// refuseAdopted makes the next Accept of what is in work/ fail, and checks that
// it was refused as unproven.
func (w *world) refuseAdopted(stored bool) {
	w.t.Helper()
	w.eng.refuse, w.eng.stored = errCommit, stored
	var refused string
	eng := &recording{engine: w.eng, on: func(f *ingest.Found) { refused = f.Refused }}
	if err := w.src.Sweep(context.Background(), eng); err == nil || !strings.Contains(refused, "but the sidecar says") {
		w.t.Errorf("Sweep: %v, refused for %q", err, refused)
	}
}

// A sidecar may be anything.
func TestHostileSidecar(t *testing.T) {
	w := newWorld(t, withSidecar)
	for _, name := range []string{"link", "dir", "huge", "bin"} {
		w.write(name, "a")
	}
	w.write("elsewhere/real", sum("a"))
	w.must(os.Symlink(w.path("elsewhere/real"), w.path("link.sha256")))
	w.must(os.Mkdir(w.path("dir.sha256"), 0o755))
	w.write("huge.sha256", sum("a")+strings.Repeat("x", source.MaxSidecar))
	w.write("bin.sha256", "\x00\xff\x00")
	w.sweep()
	w.eng.none()
}

// A trailer is looked for before the file is taken up.
func TestTrailer(t *testing.T) {
	w := newWorld(t, func(o *dir.Options) {
		o.Trailer = func(_ context.Context, in ingest.Input) error {
			b := make([]byte, in.Size)
			if _, err := in.ReadAt(b, 0); err != nil {
				return err
			}
			if !strings.HasSuffix(string(b), "END\n") {
				return &ingest.ReadError{Format: "trailer", Reason: "none"}
			}
			return nil
		}
	})
	w.write("a.csv", "1\n")
	w.sweep()
	w.eng.none()
	if p := w.problem(); p.Kind != source.Unproven {
		t.Errorf("problem %v", p)
	}
	w.write("a.csv", "1\nEND\n")
	w.sweep()
	if a := w.eng.next(); a.Name != "a.csv" {
		t.Errorf("took %q", a.Name)
	}
}
