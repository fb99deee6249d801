package daemon

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"

	"ingestd/formats"
	"ingestd/ingest"
	"ingestd/ingest/admin"
)

// ExportLetters implements admin.Letters. Letters of several arrivals make one
// file if all were read in the same way; nothing is written before that is sure.
func (d *Daemon) ExportLetters(ctx context.Context, f ingest.LetterFilter, w io.Writer) error {
	f.ByRecord = true
	spec, details, err := d.formOf(ctx, f)
	if err != nil || details == nil {
		return err
	}
	out, err := formats.NewMend(w, spec, *details)
	if err != nil {
		return admin.Conflict("ingestd dead export --raw, or --json, writes them as they are", "%v", err)
	}
	var last ingest.Letter
	for l, err := range d.ledger.Letters(ctx, f) {
		if err != nil {
			return err
		}
		if l.Arrival == last.Arrival && l.Pos.Record == last.Pos.Record {
			continue // the same record, refused by several targets
		}
		last = l
		if err := out.Write(formats.Reject{Line: l.Pos.Line, Column: l.Pos.Column, Reason: l.Reason, Raw: l.Raw}); err != nil {
			return fmt.Errorf("export dead letter %d: %w", l.ID, err)
		}
	}
	return out.Close()
}

// formOf says how the files were read that letters are of; nil where there are
// none.
func (d *Daemon) formOf(ctx context.Context, f ingest.LetterFilter) (spec formats.Spec, how *ingest.Details, err error) {
	var first, last *ingest.Arrival
	for l, err := range d.ledger.Letters(ctx, f) {
		if err != nil {
			return spec, nil, err
		}
		if last != nil && l.Arrival == last.ID {
			continue
		}
		a, line, err := d.of(ctx, l.Arrival)
		if err != nil {
			return spec, nil, err
		}
		details, err := d.ledger.Details(ctx, l.Arrival)
		if err != nil {
			return spec, nil, err
		}
		last = a
		if first == nil {
			r, err := formatSpec(line.cfg)
			if err != nil {
				return spec, nil, err
			}
			first, how, spec = a, &details, r.spec
			continue
		}
		if a.Pipeline != first.Pipeline || !alike(*how, details) {
			return spec, nil, admin.Conflict("choose those of one with --arrival", "the files of arrivals %d and %d do not have the same form", first.ID, a.ID)
		}
	}
	return spec, how, nil
}

// alike reports whether records of two files can stand in one.
func alike(a, b ingest.Details) bool {
	for _, what := range []string{"delimiter", "quote", "escape", "trim", "record"} {
		if noted(a, what) != noted(b, what) {
			return false
		}
	}
	return a.Format == b.Format && slices.Equal(a.Header, b.Header) && cmp.Or(a.Encoding, "utf-8") == cmp.Or(b.Encoding, "utf-8")
}

// noted is what was detected of a file.
func noted(d ingest.Details, what string) string {
	for _, n := range d.Notes {
		if n.What == what {
			return n.Value
		}
	}
	return ""
}
