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
// file if all were read in the same way.
func (d *Daemon) ExportLetters(ctx context.Context, f ingest.LetterFilter, w io.Writer) error {
	f.ByRecord = true
	var (
		out   formats.RejectWriter
		first *ingest.Arrival
		how   ingest.Details
		last  ingest.Letter
	)
	for l, err := range d.ledger.Letters(ctx, f) {
		if err != nil {
			return err
		}
		if l.Arrival == last.Arrival && l.Pos.Record == last.Pos.Record {
			continue // the same record, refused by several targets
		}
		if l.Arrival != last.Arrival {
			a, line, err := d.of(ctx, l.Arrival)
			if err != nil {
				return err
			}
			details, err := d.ledger.Details(ctx, l.Arrival)
			if err != nil {
				return err
			}
			switch {
			case out == nil:
				spec, err := formatSpec(&line.cfg.Format)
				if err != nil {
					return err
				}
				first, how = a, details
				if out, err = formats.NewMend(w, spec.spec, details); err != nil {
					return admin.Conflict("ingestd dead export --raw, or --json, writes them as they are", "%v", err)
				}
			case a.Pipeline != first.Pipeline || !alike(how, details):
				return admin.Conflict("choose those of one with --arrival", "the files of arrivals %d and %d do not have the same form", first.ID, a.ID)
			}
		}
		last = l
		if err := out.Write(formats.Reject{Line: l.Pos.Line, Column: l.Pos.Column, Reason: l.Reason, Raw: l.Raw}); err != nil {
			return fmt.Errorf("export dead letter %d: %w", l.ID, err)
		}
	}
	if out == nil {
		return nil
	}
	return out.Close()
}

// alike reports whether records of two files can stand in one.
func alike(a, b ingest.Details) bool {
	return a.Format == b.Format && slices.Equal(a.Header, b.Header) && noted(a, "delimiter") == noted(b, "delimiter") &&
		noted(a, "record") == noted(b, "record") && cmp.Or(a.Encoding, "utf-8") == cmp.Or(b.Encoding, "utf-8")
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
