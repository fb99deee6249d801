package dir_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ingestd/ingest/source/dir"
)

func says(text string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}
}

// A report is there whole or not at all, replaces the last one, and is never
// taken up.
func TestReport(t *testing.T) {
	elsewhere := t.TempDir()
	for _, place := range []string{"receipts/", "a/b", filepath.Join(elsewhere, "x/y")} {
		t.Run(place, func(t *testing.T) {
			w := newWorld(t, func(o *dir.Options) {
				hourly(o)
				o.Rules.Recursive = true
				o.Reports = place
			})
			full := place
			if !filepath.IsAbs(place) {
				full = w.path(place)
			}
			ctx := t.Context()
			const name = "sub/a.csv.rejected.csv"
			if there, err := w.src.Reported(ctx, name); there || err != nil {
				t.Errorf("before: %t, %v", there, err)
			}
			w.must(w.src.Report(ctx, name, nil)) // nothing to take away
			w.must(w.src.Report(ctx, name, says("1")))
			w.must(w.src.Report(ctx, name, says("22")))
			if there, err := w.src.Reported(ctx, name); !there || err != nil {
				t.Errorf("after: %t, %v", there, err)
			}
			if got := w.read(filepath.Join(full, name)); got != "22" {
				t.Errorf("it says %q", got)
			}
			broken := errors.New("no more")
			if err := w.src.Report(ctx, name, func(w io.Writer) error {
				fmt.Fprint(w, strings.Repeat("x", 1<<20))
				return broken
			}); !errors.Is(err, broken) {
				t.Errorf("broken: %v", err)
			}
			if got := w.read(filepath.Join(full, name)); got != "22" {
				t.Errorf("half a report: %q", got)
			}
			left, err := os.ReadDir(filepath.Join(full, "sub"))
			if err != nil || len(left) != 1 {
				t.Errorf("%v, %v", left, err)
			}
			w.write("new.csv", "1")
			w.sweep()
			if got := w.eng.names(); !slices.Equal(got, []string{"new.csv"}) {
				t.Errorf("took up %q", got)
			}
			w.must(w.src.Report(ctx, name, nil))
			w.gone(filepath.Join(full, name))
			for _, bad := range []string{"../x", "/x", ""} {
				if err := w.src.Report(ctx, bad, says("")); err == nil {
					t.Errorf("%q was written", bad)
				}
			}
		})
	}
}

// A partner who may write into the folder cannot have a report written through a
// link of theirs, neither on the way nor at the end.
func TestReportThroughLinks(t *testing.T) {
	w := newWorld(t, func(o *dir.Options) { o.Reports = "receipts" })
	outside := t.TempDir()
	victim := filepath.Join(outside, "victim")
	w.must(os.WriteFile(victim, []byte("keep me"), 0o600))
	w.must(os.Symlink(outside, w.path("receipts")))
	if err := w.src.Report(t.Context(), "victim", says("x")); err == nil {
		t.Error("written through a link on the way")
	}
	w.must(os.Remove(w.path("receipts")))
	w.must(os.Mkdir(w.path("receipts"), 0o777))
	w.must(os.Symlink(victim, w.path("receipts/a")))
	w.must(w.src.Report(t.Context(), "a", says("x")))
	if got := w.read(victim); got != "keep me" {
		t.Errorf("the file behind a link says %q", got)
	}
	if st, err := os.Lstat(w.path("receipts/a")); err != nil || st.Mode().Type() != 0 || st.Mode().Perm()&0o044 == 0 {
		t.Errorf("%v, %v", st, err)
	}
}

func TestReportPlaces(t *testing.T) {
	for _, place := range []string{".", "", ".ingestd", ".ingestd/work/receipts"} {
		o := dir.Options{Path: t.TempDir(), Reports: place}
		s, err := dir.New(o)
		if place == "" {
			if err := s.Report(t.Context(), "a", says("")); err == nil {
				t.Error("a report has a place that nobody gave")
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), "kept apart") {
			t.Errorf("%q: %v", place, err)
		}
	}
	// A folder that is gone is not made anew by a report.
	gone := filepath.Join(t.TempDir(), "gone")
	s, err := dir.New(dir.Options{Path: gone, Reports: "receipts"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Report(t.Context(), "a", says("")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("gone: %v", err)
	}
}
