package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"ingestd/formats"
	"ingestd/formats/csvfmt"
	"ingestd/formats/fixedfmt"
	"ingestd/formats/jsonfmt"
	"ingestd/formats/xmlfmt"
	"ingestd/ingest"
	"ingestd/ingest/bundle"
)

// fragment reads one record's bytes, as a dead letter keeps them, in the way in
// which its arrival was read.
func (r reading) fragment(ctx context.Context, d ingest.Details, raw []byte) (ingest.Reader, error) {
	in := bytes.NewReader(raw)
	switch d.Format {
	case formats.CSV:
		return csvfmt.New(in, formats.Dialect(r.spec.CSV, d))
	case formats.JSON:
		o := r.spec.JSON
		o.Records = ""
		return jsonfmt.New(in, o)
	case formats.XML:
		o := r.spec.XML
		o.Record = "*" // the bytes are the record element itself
		return xmlfmt.New(in, o)
	case formats.XLSX:
		return &rowReader{raw: raw, header: d.Header}, nil
	case formats.Fixed:
		o := r.spec.Fixed
		o.SkipRows, o.SkipFooter, o.Comment, o.Length = 0, 0, "", 0
		return fixedfmt.New(io.MultiReader(in, strings.NewReader("\n")), o)
	}
	if d.Format == bundle.Format {
		return r.eventFragment(ctx, raw)
	}
	return nil, fmt.Errorf("a record of format %s cannot be sent by itself; use: ingestd replay ARRIVAL --records", d.Format)
}

// eventFragment reads a record of an event. Events of one bundle may be of
// several formats, which their bytes tell.
func (r reading) eventFragment(ctx context.Context, raw []byte) (ingest.Reader, error) {
	switch text := bytes.TrimSpace(raw); {
	case len(text) > 0 && (text[0] == '{' || text[0] == '['):
		return r.fragment(ctx, ingest.Details{Format: formats.JSON}, raw)
	case len(text) > 0 && text[0] == '<':
		return r.fragment(ctx, ingest.Details{Format: formats.XML}, raw)
	}
	return nil, errors.New("a record of this event cannot be sent by itself; use: ingestd replay ARRIVAL")
}

// A rowReader reads one row of a workbook from the JSON array that stands for
// it in a dead letter.
type rowReader struct {
	raw    []byte
	header []string
	read   bool
}

// Read implements ingest.Reader.
func (r *rowReader) Read(_ context.Context, c *ingest.Chunk) error {
	c.Reset()
	if r.read {
		return io.EOF
	}
	r.read = true
	var cells []json.RawMessage
	if err := json.Unmarshal(r.raw, &cells); err != nil {
		return r.unreadable("its bytes are no row")
	}
	// A cell under no header has no name here, and shifts the others.
	if len(cells) != len(r.header) {
		return r.unreadable(fmt.Sprintf("it has %d cells for %d columns; use: ingestd replay ARRIVAL --records", len(cells), len(r.header)))
	}
	for i, v := range cells {
		f := ingest.Field{Name: r.header[i], Raw: v}
		switch {
		case v[0] == '{': // {"K": value}: after a gap
			var one map[string]json.RawMessage
			if json.Unmarshal(v, &one) != nil || len(one) != 1 {
				return r.unreadable("its bytes are no row")
			}
			for _, inner := range one {
				f.Raw = inner
			}
		case v[0] == '[':
			return r.unreadable("its bytes are no row")
		}
		switch f.Raw[0] {
		case '"':
			var s string
			if json.Unmarshal(f.Raw, &s) != nil {
				return r.unreadable("its bytes are no row")
			}
			f.Kind, f.Raw = ingest.String, []byte(s)
		case 't', 'f':
			f.Kind = ingest.Bool
		case 'n':
			f.Kind, f.Raw = ingest.Null, nil
		case '{', '[':
			return r.unreadable("its bytes are no row")
		default:
			f.Kind = ingest.Number
		}
		c.Fields = append(c.Fields, f)
	}
	c.Records = append(c.Records, ingest.Record{Fields: c.Fields, Raw: r.raw, Pos: ingest.Position{Record: 1, Line: 1, Offset: -1}})
	return nil
}

func (r *rowReader) unreadable(reason string) error {
	return &ingest.ReadError{Format: formats.XLSX, Reason: reason}
}

// Details implements ingest.Reader.
func (r *rowReader) Details() ingest.Details {
	return ingest.Details{Format: formats.XLSX, Header: r.header}
}

// Close implements ingest.Reader.
func (r *rowReader) Close() error { return nil }
