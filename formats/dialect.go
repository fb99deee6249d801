package formats

import (
	"ingestd/formats/csvfmt"
	"ingestd/ingest"
)

// detectDialect fills in what opt leaves open. Where two delimiters fit about
// equally well the file is refused: neither is guessed.
func (o *opener) detectDialect(opt *csvfmt.Options, head []byte) error {
	f := csvfmt.Detect(head, len(head) == headSize, *opt)
	if f.Doubt != "" {
		return refuse(CSV, "its delimiter cannot be told: %s; set `format: {type: csv, delimiter: …}`", f.Doubt)
	}
	*opt = f.Options
	o.notes = append(o.notes, f.Notes...)
	return nil
}

// skipSep leaves out the line that Excel writes above rows whose delimiter is
// the configured one.
func (o *opener) skipSep(opt *csvfmt.Options, head []byte) {
	d := opt.Delimiter
	if d == "" {
		d = ","
	}
	if opt.SkipRows == 0 && csvfmt.SepLine(head) == d {
		opt.SkipRows = 1
		o.note(csvfmt.NoteSkipRows, "1", "Excel's sep= line")
	}
}

// Dialect is the dialect in which an arrival was read, for rows of it by
// themselves.
func Dialect(o csvfmt.Options, d ingest.Details) csvfmt.Options {
	o = csvfmt.Dialect(o, d.Notes)
	o.NoHeader, o.Header, o.Columns = true, 0, d.Header
	o.SkipRows, o.SkipFooter, o.Comment = 0, 0, ""
	return o
}
