package daemon

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"ingestd/config"
	"ingestd/formats"
	"ingestd/formats/csvfmt"
	"ingestd/formats/fixedfmt"
	"ingestd/formats/jsonfmt"
	"ingestd/formats/xlsxfmt"
	"ingestd/formats/xmlfmt"
	"ingestd/ingest"
	"ingestd/ingest/bundle"
)

// A reading is how a pipeline's arrivals are read.
type reading struct {
	spec formats.Spec
}

// formatSpec turns what the config says into what the readers want.
func formatSpec(p *config.Pipeline) (reading, error) {
	f := &p.Format
	s := formats.Spec{Type: f.Type}
	if t := p.Trailer(); t != "" {
		var err error
		if s.Trailer, err = regexp.Compile(t); err != nil {
			return reading{}, fmt.Errorf("proof.trailer: %w", err)
		}
	}
	switch f.Type {
	case "auto", "raw", "":
	case "csv":
		c := &f.CSV
		s.Encoding = c.Encoding
		s.CSV = csvfmt.Options{
			Delimiter: c.Delimiter, Quote: c.Quote, NoQuote: c.Quote == "", Escape: c.Escape,
			NoHeader: c.Header == 0, Header: c.Header, Columns: c.Columns,
			SkipRows: c.SkipRows, SkipFooter: c.SkipFooter, Comment: c.Comment,
			Trim: c.Trim, Null: c.Null, Pad: c.Ragged == "pad",
		}
	case "fixed":
		x := &f.Fixed
		s.Encoding = x.Encoding
		s.Fixed = fixedfmt.Options{
			Length: x.Length, SkipRows: x.SkipRows, SkipFooter: x.SkipFooter, Comment: x.Comment,
			KeepBlanks: !x.Trim, Null: x.Null, Pad: x.Ragged == "pad",
		}
		for _, c := range x.Columns {
			s.Fixed.Columns = append(s.Fixed.Columns, fixedfmt.Column{Name: c.Name, Start: c.Start, Width: c.Width})
		}
	case "json":
		s.JSON = jsonfmt.Options{Records: f.JSON.Records}
	case "xml":
		s.XML = xmlfmt.Options{
			Record: f.XML.Record, AttributePrefix: f.XML.AttributePrefix, TextKey: f.XML.TextKey, Lists: f.XML.Lists,
		}
	case "xlsx":
		x := &f.XLSX
		s.XLSX = xlsxfmt.Options{
			Sheet: x.Sheet.Name, HeaderRow: max(x.HeaderRow, 0), NoHeader: x.HeaderRow == config.NoHeaderRow, Range: x.Range, Password: x.Password,
		}
		if x.Sheet.Number > 0 {
			s.XLSX.Sheet = strconv.Itoa(x.Sheet.Number)
		}
	default:
		return reading{}, fmt.Errorf("format %q is not built yet", f.Type)
	}
	return reading{s}, s.Check()
}

// openBundle reads an arrival that holds events.
func (r reading) openBundle(_ context.Context, in ingest.Input) (ingest.Reader, error) {
	return bundle.NewReader(in, r.openEvent), nil
}

// openEvent reads one event: as the pipeline's format says, or, where that is
// auto, as its sender said.
func (r reading) openEvent(ctx context.Context, e *ingest.Event, body []byte) (ingest.Reader, error) {
	spec := r.spec
	if spec.Type == "" || spec.Type == formats.Auto {
		spec.Type = typeOf(e.ContentType)
	}
	if spec.Type == formats.JSON && spec.Trailer == nil && len(body) > 0 && (body[0] == '{' || body[0] == '[') && utf8.Valid(body) {
		// What nearly all events are: there is nothing to unpack or decode.
		o := spec.JSON
		o.Block = len(body) + 1
		return jsonfmt.New(bytes.NewReader(body), o)
	}
	in := ingest.Input{Name: e.Name, Size: int64(len(body)), ReaderAt: bytes.NewReader(body)}
	if in.Name == "" && spec.Type == formats.Raw {
		in.Name = cmp.Or(e.ID, "event")
	}
	return formats.Open(ctx, spec, in)
}

// typeOf is the format that a media type names; auto where it names none, as
// that of a file often does.
func typeOf(contentType string) string {
	kind, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	switch kind = strings.TrimSpace(kind); {
	case strings.HasSuffix(kind, "json"), strings.HasSuffix(kind, "jsonl"), strings.HasSuffix(kind, "jsonlines"):
		return formats.JSON
	case strings.HasSuffix(kind, "/xml"), strings.HasSuffix(kind, "+xml"):
		return formats.XML
	case strings.HasSuffix(kind, "/csv"):
		return formats.CSV
	}
	return formats.Auto
}

func (r reading) open(ctx context.Context, in ingest.Input) (ingest.Reader, error) {
	return formats.Open(ctx, r.spec, in)
}

// trailer says whether a file ends with its trailer; nil where none is asked for.
func (r reading) trailer() func(context.Context, ingest.Input) error {
	if r.spec.Trailer == nil {
		return nil
	}
	return func(ctx context.Context, in ingest.Input) error { return formats.CheckTrailer(ctx, r.spec, in) }
}
