package formats

import (
	"bytes"
	"fmt"
	"strings"

	"ingestd/formats/csvfmt"
	"ingestd/ingest"
)

// detectDialect fills in the delimiter where opt names none: Excel's `sep=`
// line, or the candidate that cuts the first rows most evenly.
func (o *opener) detectDialect(opt *csvfmt.Options, head []byte) {
	if opt.Delimiter != "" {
		return
	}
	if opt.SkipRows == 0 {
		if d := sepLine(head); d != "" {
			opt.Delimiter = d
			opt.SkipRows = 1
			o.note("delimiter", d, "the first line is Excel's sep="+d)
			return
		}
	}
	if len(head) == headSize {
		// The last line is cut.
		head = head[:bytes.LastIndexAny(head, "\r\n")+1]
	}
	var (
		best shape
		c    ingest.Chunk
	)
	opt.Delimiter = ","
	for _, d := range []string{",", ";", "\t", "|"} {
		s := o.shapeOf(&c, *opt, d, head)
		if s.width < 2 || s.worth() < best.worth() || s.worth() == best.worth() && s.width <= best.width {
			continue
		}
		best = s
		opt.Delimiter = d
	}
	if best.width == 0 {
		o.note("delimiter", ",", "no delimiter is found in the first rows: one column")
		return
	}
	o.note("delimiter", opt.Delimiter, fmt.Sprintf("%d of the first %d rows have %d cells", best.even, best.rows, best.width))
}

// sepLine is the delimiter that a first line like `sep=;` names, or empty.
func sepLine(head []byte) string {
	end := bytes.IndexAny(head[:min(len(head), 16)], "\r\n")
	if end < 0 {
		return ""
	}
	line := strings.Trim(string(head[:end]), `"`)
	if len(line) < 5 || !strings.EqualFold(line[:4], "sep=") {
		return ""
	}
	if d := line[4:]; len([]rune(d)) == 1 {
		return d
	}
	return ""
}

// A shape is how a delimiter cuts the first rows.
type shape struct {
	rows  int
	width int // cells of the first row
	even  int // rows that have as many, and nothing else wrong
}

// worth is the share of even rows.
func (s shape) worth() float64 {
	if s.rows == 0 {
		return 0
	}
	return float64(s.even) / float64(s.rows)
}

// shapeOf reads the first rows, a chunk of them, with d as delimiter.
func (o *opener) shapeOf(c *ingest.Chunk, opt csvfmt.Options, d string, head []byte) shape {
	opt.Delimiter = d
	opt.NoHeader, opt.Columns, opt.SkipFooter, opt.Pad = true, nil, 0, false
	r, err := csvfmt.New(bytes.NewReader(head), opt)
	if err != nil {
		return shape{} // d is the quote or the like
	}
	defer r.Close()
	if err := r.Read(o.ctx, c); err != nil || len(c.Records) == 0 {
		return shape{}
	}
	return shape{
		rows:  len(c.Records) + len(c.Faults),
		width: len(c.Records[0].Fields),
		even:  len(c.Records),
	}
}
