package sftp

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"ingestd/ingest/source"
)

func TestReport(t *testing.T) {
	for _, posix := range []bool{true, false} {
		r := newRig(t, func(o *Options) {
			o.Reports = "receipts/"
			o.Rules = source.Rules{Recursive: true}
		})
		r.plain(!posix)
		write := func(text string) func(io.Writer) error {
			return func(w io.Writer) error { _, err := io.WriteString(w, text); return err }
		}
		const name = "2026/a.csv.receipt.json"
		for _, text := range []string{"one", "another one"} {
			if err := r.src.Report(t.Context(), name, write(text)); err != nil {
				t.Fatal(err)
			}
			if b, err := os.ReadFile(filepath.Join(r.dir, "receipts", name)); err != nil || string(b) != text {
				t.Errorf("report %q, %v, want %q", b, err, text)
			}
		}
		bad := errors.New("no disk")
		if err := r.src.Report(t.Context(), name, func(w io.Writer) error { io.WriteString(w, "half"); return bad }); !errors.Is(err, bad) {
			t.Errorf("Report: %v", err)
		}
		if b, _ := os.ReadFile(filepath.Join(r.dir, "receipts", name)); string(b) != "another one" {
			t.Errorf("after a failure it is %q", b)
		}
		if names := r.names("receipts/2026"); !slices.Equal(names, []string{"a.csv.receipt.json"}) {
			t.Errorf("there are %q", names)
		}
		if there, err := r.src.Reported(t.Context(), name); err != nil || !there {
			t.Errorf("Reported: %v, %v", there, err)
		}
		if err := r.sweep(); err != nil || len(r.in.all()) > 0 {
			t.Errorf("it was taken up: %v, %v", r.in.all(), err)
		}
		for range 2 {
			if err := r.src.Report(t.Context(), name, nil); err != nil {
				t.Fatal(err)
			}
		}
		if there, err := r.src.Reported(t.Context(), name); err != nil || there {
			t.Errorf("Reported: %v, %v", there, err)
		}
		if err := r.src.Report(t.Context(), "../a.json", write("x")); err == nil {
			t.Error("a name that climbs out was taken")
		}
	}
}
