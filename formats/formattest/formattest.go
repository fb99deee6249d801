// Package formattest runs the golden tests of every format.
//
// A case is a folder that holds one input file, `input.*`, perhaps `spec.json`
// (the options, in whatever form the package under test decodes), and
// `expected.ndjson`: what the reader must give, one line each, in order:
//
//	{"record":{…},"line":N}
//	{"reject":{"line":N,"column":N,"reason":"…","raw":"…"}}
//	{"error":"…"}       last, where the file is unreadable from there on
//
// A reject's column and raw are compared where the expected line names them.
// `details.json`, where it exists, is compared with what the reader says it
// found. `go test -update` writes both anew (details.json only where it exists).
//
// The runner also holds every reader to the contract of ingest.Reader: ordinals
// leave no gap, a chunk without an error is not empty, the end is sticky, and
// how the input is cut into reads changes nothing.
package formattest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"ingestd/ingest"
)

var update = flag.Bool("update", false, "write expected.ndjson anew from what the readers give")

// An Opener makes the reader under test from an arrival's bytes and the case's
// spec.json (nil where there is none).
type Opener func(in ingest.Input, spec []byte) (ingest.Reader, error)

// A StreamOpener is an Opener for packages that read a stream.
type StreamOpener func(r io.Reader, spec []byte) (ingest.Reader, error)

// RunStream runs every case under dir, each three times: with its bytes in
// large pieces, one at a time, and with the end reported beside the last bytes.
func RunStream(t *testing.T, dir string, open StreamOpener) {
	t.Helper()
	cuts := []struct {
		name string
		cut  func(io.Reader) io.Reader
	}{
		{"whole", func(r io.Reader) io.Reader { return r }},
		{"bytewise", iotest.OneByteReader},
		{"dataerr", iotest.DataErrReader},
	}
	for _, cut := range cuts {
		t.Run(cut.name, func(t *testing.T) {
			Run(t, dir, func(in ingest.Input, spec []byte) (ingest.Reader, error) {
				return open(cut.cut(io.NewSectionReader(in, 0, in.Size)), spec)
			})
		})
	}
}

// Run runs every case under dir as a subtest. A folder without an input file
// is a group of cases.
func Run(t *testing.T, dir string, open Opener) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	ran := false
	for _, e := range entries {
		if !e.IsDir() || e.Name() == "fuzz" {
			continue
		}
		ran = true
		t.Run(e.Name(), func(t *testing.T) {
			sub := filepath.Join(dir, e.Name())
			inputs, err := filepath.Glob(filepath.Join(sub, "input*"))
			if err != nil {
				t.Fatal(err)
			}
			switch len(inputs) {
			case 0:
				Run(t, sub, open)
			case 1:
				runCase(t, sub, inputs[0], open)
			default:
				t.Fatalf("%s holds %d input files, want one", sub, len(inputs))
			}
		})
	}
	if !ran {
		t.Fatalf("%s holds no cases", dir)
	}
}

func runCase(t *testing.T, dir, input string, open Opener) {
	data, err := os.ReadFile(input)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := os.ReadFile(filepath.Join(dir, "spec.json"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	in := ingest.Input{Name: filepath.Base(input), Size: int64(len(data)), ReaderAt: bytes.NewReader(data)}
	var got []string
	var details ingest.Details
	r, err := open(in, spec)
	if err != nil {
		got = []string{errorLine(err)}
	} else {
		got, details = Lines(t, r)
		if err := r.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	compareFile(t, filepath.Join(dir, "expected.ndjson"), got)
	compareDetails(t, filepath.Join(dir, "details.json"), details)
}

func compareDetails(t *testing.T, path string, got ingest.Details) {
	want, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(got); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(bytes.TrimSpace(want), bytes.TrimSpace(b.Bytes())) {
		t.Errorf("%s:\ngot  %s\nwant %s", path, b.Bytes(), want)
	}
}

func compareFile(t *testing.T, path string, got []string) {
	if *update {
		text := strings.Join(got, "\n")
		if len(got) > 0 {
			text += "\n"
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (write it with -update, then read it)", err)
	}
	var want []string
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" {
			want = append(want, line)
		}
	}
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("%s:%d: missing\nwant %s", path, i+1, want[i])
		case i >= len(want):
			t.Errorf("%s:%d: one too many\ngot  %s", path, i+1, got[i])
		default:
			if err := same(got[i], want[i]); err != nil {
				t.Errorf("%s:%d: %v\ngot  %s\nwant %s", path, i+1, err, got[i], want[i])
			}
		}
		if t.Failed() && i > 20 {
			t.Fatal("and more")
		}
	}
}

type line struct {
	Record json.RawMessage `json:"record,omitempty"`
	Line   int64           `json:"line,omitempty"`
	Reject *reject         `json:"reject,omitempty"`
	Error  string          `json:"error,omitempty"`
}

type reject struct {
	Line      int64   `json:"line"`
	Column    *int    `json:"column,omitempty"`
	Reason    string  `json:"reason"`
	Raw       *string `json:"raw,omitempty"`
	RawBase64 *string `json:"raw_base64,omitempty"`
}

// same compares two lines, ignoring white space and what want leaves out.
func same(got, want string) error {
	var g, w line
	if err := json.Unmarshal([]byte(got), &g); err != nil {
		return fmt.Errorf("read what was given: %w", err)
	}
	dec := json.NewDecoder(strings.NewReader(want))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&w); err != nil {
		return fmt.Errorf("read what is expected: %w", err)
	}
	if g.Reject != nil && w.Reject != nil {
		if w.Reject.Column == nil {
			g.Reject.Column = nil
		}
		if w.Reject.Raw == nil && w.Reject.RawBase64 == nil {
			g.Reject.Raw, g.Reject.RawBase64 = nil, nil
		}
	}
	gb, err := json.Marshal(g)
	if err != nil {
		return err
	}
	wb, err := json.Marshal(w)
	if err != nil {
		return err
	}
	if !bytes.Equal(gb, wb) {
		return errors.New("differs")
	}
	return nil
}

// Lines reads r to its end as lines in the form of expected.ndjson, and checks
// on the way that r keeps the contract of ingest.Reader. It does not close r.
func Lines(t testing.TB, r ingest.Reader) ([]string, ingest.Details) {
	t.Helper()
	var (
		out     []string
		c       ingest.Chunk
		enc     ingest.Encoder
		ordinal int64
	)
	for {
		err := r.Read(context.Background(), &c)
		if err == nil && len(c.Records)+len(c.Faults) == 0 {
			t.Fatal("Read gave nil and an empty chunk")
		}
		if err == io.EOF && len(c.Records)+len(c.Faults) > 0 {
			t.Fatal("Read gave io.EOF and a chunk that is not empty")
		}
		records, faults := c.Records, c.Faults
		for len(records)+len(faults) > 0 {
			ordinal++
			switch {
			case len(records) > 0 && records[0].Pos.Record == ordinal:
				out = append(out, recordLine(t, &enc, &records[0]))
				records = records[1:]
			case len(faults) > 0 && faults[0].Pos.Record == ordinal:
				out = append(out, rejectLine(t, &faults[0]))
				faults = faults[1:]
			default:
				t.Fatalf("ordinal %d is neither a record nor a fault", ordinal)
			}
		}
		if err == nil {
			continue
		}
		if err != io.EOF {
			out = append(out, errorLine(err))
		}
		if again := r.Read(context.Background(), &c); again == nil || len(c.Records)+len(c.Faults) > 0 {
			t.Fatalf("Read after %v gave %v and %d records", err, again, len(c.Records))
		}
		return out, r.Details()
	}
}

func recordLine(t testing.TB, enc *ingest.Encoder, rec *ingest.Record) string {
	for _, f := range rec.Fields {
		if !utf8.ValidString(f.Name) || !utf8.Valid(f.Raw) {
			t.Fatalf("record %d: field %q is no valid UTF-8: %q", rec.Pos.Record, f.Name, f.Raw)
		}
	}
	b := enc.Append(nil, rec.Fields)
	if !json.Valid(b) {
		t.Fatalf("record %d is no valid JSON: %s", rec.Pos.Record, b)
	}
	return fmt.Sprintf(`{"record":%s,"line":%d}`, b, rec.Pos.Line)
}

func rejectLine(t testing.TB, f *ingest.Fault) string {
	if f.Reason == "" || f.Stage != ingest.StageParse {
		t.Fatalf("fault %d: stage %q, reason %q", f.Pos.Record, f.Stage, f.Reason)
	}
	if len(f.Raw) > ingest.MaxRawFault {
		t.Fatalf("fault %d keeps %d raw bytes", f.Pos.Record, len(f.Raw))
	}
	rj := reject{Line: f.Pos.Line, Column: &f.Pos.Column, Reason: f.Reason}
	if raw := string(f.Raw); utf8.ValidString(raw) {
		rj.Raw = &raw
	} else {
		raw = base64.StdEncoding.EncodeToString(f.Raw)
		rj.RawBase64 = &raw
	}
	return marshal(line{Reject: &rj})
}

func errorLine(err error) string { return marshal(line{Error: err.Error()}) }

func marshal(l line) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(l); err != nil {
		return fmt.Sprintf(`{"error":%q}`, err)
	}
	return strings.TrimSpace(b.String())
}
