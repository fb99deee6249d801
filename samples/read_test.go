package samples_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ingestd/formats/csvfmt"
	"ingestd/formats/jsonfmt"
	"ingestd/formats/xlsxfmt"
	"ingestd/formats/xmlfmt"
	"ingestd/ingest"
	"ingestd/ingest/shape"
	"ingestd/samples"
)

// TestExpected reads every input with its format and compares what comes out
// with expected/, byte for byte, then keys it as the quick start does.
func TestExpected(t *testing.T) {
	keys := map[string]string{
		"orders_csv": "order_id", "orders_json": "order_id", "orders_xml": "@id", "orders_xlsx": "order_id",
	}
	delivered := map[string]map[ingest.Key]bool{}
	for _, in := range samples.Inputs() {
		t.Run(in.Name(), func(t *testing.T) {
			s, err := shape.Compile(shape.Options{Key: []string{keys[in.Pipeline]}})
			if err != nil {
				t.Fatal(err)
			}
			known := delivered[in.Pipeline]
			if known == nil {
				known = map[ingest.Key]bool{}
				delivered[in.Pipeline] = known
			}

			bind := s.Bind([16]byte{1}, in.Pipeline)
			here := map[ingest.Key]bool{}
			repeated, before := 0, 0
			var got []string
			var bad []samples.Bad
			read(t, open(t, in), func(rec *ingest.Record) {
				var enc ingest.Encoder
				got = append(got, string(enc.Append(nil, rec.Fields)))
				var out shape.Result
				bind.Apply(rec, &out)
				switch {
				case out.Fault != "":
					bad = append(bad, samples.Bad{Line: rec.Pos.Line, Stage: string(ingest.StageShape)})
				case here[out.Key]:
					repeated++
				case known[out.Key]:
					before++
				}
				here[out.Key] = true
			}, func(f ingest.Fault) {
				bad = append(bad, samples.Bad{Line: f.Pos.Line, Stage: string(f.Stage)})
			})
			for k := range here {
				known[k] = true
			}

			var want []string
			for _, line := range in.Expected() {
				want = append(want, string(line))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("records differ (-want +got):\n%s", diff)
			}
			slices.SortFunc(bad, func(a, b samples.Bad) int { return int(a.Line - b.Line) })
			if diff := cmp.Diff(in.Bad, bad); diff != "" {
				t.Errorf("bad records differ (-want +got):\n%s", diff)
			}
			if repeated != in.Repeated || before != in.Known {
				t.Errorf("%d repeated, %d known; want %d, %d", repeated, before, in.Repeated, in.Known)
			}
		})
	}
}

func open(t *testing.T, in samples.Input) ingest.Reader {
	t.Helper()
	body := in.Bytes()
	if path.Ext(in.Path) == ".gz" {
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if body, err = io.ReadAll(z); err != nil {
			t.Fatal(err)
		}
	}
	text := bytes.NewReader(bytes.TrimPrefix(body, []byte("\ufeff")))
	var r ingest.Reader
	var err error
	switch in.Format {
	case "csv":
		r, err = csvfmt.New(text, csvfmt.Options{})
	case "json":
		r, err = jsonfmt.New(text, jsonfmt.Options{})
	case "xml":
		r, err = xmlfmt.New(text, xmlfmt.Options{Record: "Orders/Order", Lists: []string{"Line"}})
	case "xlsx":
		r, err = xlsxfmt.New(ingest.Input{Name: in.Name(), Size: int64(len(body)), ReaderAt: bytes.NewReader(body)}, xlsxfmt.Options{Sheet: "Orders"})
	default:
		t.Fatalf("no format %q", in.Format)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func read(t *testing.T, r ingest.Reader, record func(*ingest.Record), fault func(ingest.Fault)) {
	t.Helper()
	var c ingest.Chunk
	for {
		err := r.Read(context.Background(), &c)
		if errors.Is(err, io.EOF) {
			return
		}
		for i := range c.Records {
			record(&c.Records[i])
		}
		for _, f := range c.Faults {
			fault(f)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
