package formats

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"

	"ingestd/formats/csvfmt"
	"ingestd/formats/fixedfmt"
	"ingestd/ingest"
)

// A Reject is a bad record with what is to be said of it.
type Reject struct {
	Line   int64
	Column int // 0: not known
	Reason string
	Raw    []byte // as it stood in the decoded file
}

// A RejectWriter writes bad records to a file.
type RejectWriter interface {
	Write(r Reject) error
	// Close writes what ends the file. It does not close what is written to.
	Close() error
}

// RejectExt is the extension, with its dot, of a file of bad records of a format.
func RejectExt(format string) string {
	switch format {
	case JSON:
		return ".ndjson"
	case XML:
		return ".xml"
	}
	return ".csv"
}

// NewRejects returns a writer of bad records for people, with their lines and
// reasons, in the form of the file that they are from: a table for CSV,
// fixed columns and workbooks, else lines of JSON, or XML. In a table a cell that a spreadsheet
// would take for a formula has a ' before it: this file is to be looked at, not
// to be read again.
func NewRejects(w io.Writer, s Spec, d ingest.Details) (RejectWriter, error) {
	switch d.Format {
	case JSON:
		return &jsonRejects{w: w}, nil
	case XML:
		_, err := io.WriteString(w, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<rejected>\n")
		return &xmlRejects{w: w}, err
	}
	t := &tableRejects{w: w, cells: cellsOf(s, d)}
	if err := writeMark(w, s, d); err != nil {
		return nil, err
	}
	return t, t.row(append([]string{"line", "column", "reason"}, t.cells.names...))
}

// writeMark begins a file that stands for one of another encoding with a byte
// order mark: it says what it is.
func writeMark(w io.Writer, s Spec, d ingest.Details) error {
	switch {
	case d.Format != CSV && d.Format != Fixed:
		return nil
	case s.Encoding == "" && (d.Encoding == "" || d.Encoding == "utf-8"):
		return nil
	}
	_, err := io.WriteString(w, "\uFEFF")
	return err
}

// A splitter takes raw rows apart.
type splitter struct {
	names     []string
	delimiter string
	split     func(raw []byte) ([]string, bool)
}

func cellsOf(s Spec, d ingest.Details) splitter {
	c := splitter{names: d.Header, delimiter: ","}
	switch d.Format {
	case CSV:
		o := fragmentOptions(s, d)
		o.Pad, o.Columns, o.Header, o.NoHeader = true, nil, 0, true
		c.delimiter = o.Delimiter
		var chunk ingest.Chunk // its memory is used for all rows
		c.split = func(raw []byte) ([]string, bool) { return splitCSV(raw, o, &chunk) }
	case XLSX:
		c.split = splitRow
	case Fixed:
		c.split = func(raw []byte) ([]string, bool) { return splitFixed(raw, s) }
	default:
		c.split = func([]byte) ([]string, bool) { return nil, false }
	}
	if len(c.names) == 0 {
		c.names = []string{"record"}
	}
	return c
}

// fragmentOptions is Dialect with its delimiter spelt out.
func fragmentOptions(s Spec, d ingest.Details) csvfmt.Options {
	o := Dialect(s.CSV, d)
	o.Delimiter = cmp.Or(o.Delimiter, ",")
	return o
}

// splitCSV is a row's cells; false where its quotes are wrong.
func splitCSV(raw []byte, o csvfmt.Options, c *ingest.Chunk) ([]string, bool) {
	r, err := csvfmt.New(bytes.NewReader(raw), o)
	if err != nil {
		return nil, false
	}
	defer r.Close()
	if err := r.Read(context.Background(), c); err != nil || len(c.Records) != 1 || len(c.Faults) > 0 {
		return nil, false
	}
	cells := make([]string, len(c.Records[0].Fields))
	for i, f := range c.Records[0].Fields {
		cells[i] = string(f.Raw)
	}
	return cells, true
}

// splitFixed is a line's cells; false where it is no text.
func splitFixed(raw []byte, s Spec) ([]string, bool) {
	o := s.Fixed
	o.SkipRows, o.SkipFooter, o.Comment, o.Length, o.Pad = 0, 0, "", 0, true
	r, err := fixedfmt.New(bytes.NewReader(raw), o)
	if err != nil {
		return nil, false
	}
	defer r.Close()
	var c ingest.Chunk
	if err := r.Read(context.Background(), &c); err != nil || len(c.Records) != 1 || len(c.Faults) > 0 {
		return nil, false
	}
	cells := make([]string, len(c.Records[0].Fields))
	for i, f := range c.Records[0].Fields {
		cells[i] = string(f.Raw)
	}
	return cells, true
}

// splitRow is the cells of a workbook's row, which is kept as a JSON array; a
// cell after a gap names its column: {"K": value}.
func splitRow(raw []byte) ([]string, bool) {
	var values []json.RawMessage
	if json.Unmarshal(raw, &values) != nil {
		return nil, false
	}
	cells := make([]string, 0, len(values))
	for _, v := range values {
		var one map[string]json.RawMessage
		if v[0] == '{' && json.Unmarshal(v, &one) == nil {
			for name, inner := range one {
				v = inner
				at := columnOf(name)
				for len(cells) < at && len(cells) < maxGap {
					cells = append(cells, "")
				}
			}
		}
		var s string
		switch {
		case v[0] == '"' && json.Unmarshal(v, &s) == nil:
			cells = append(cells, s)
		case string(v) == "null":
			cells = append(cells, "")
		default:
			cells = append(cells, string(v))
		}
	}
	return cells, true
}

// maxGap is how many columns a workbook has.
const maxGap = 16384

// columnOf is the index of a workbook's column by its letters, from 0; -1 where
// it is none.
func columnOf(name string) int {
	n := 0
	for _, r := range name {
		if r < 'A' || r > 'Z' || n > maxGap {
			return -1
		}
		n = 26*n + int(r-'A') + 1
	}
	return n - 1
}

// tableRejects writes a table.
type tableRejects struct {
	w     io.Writer
	cells splitter
	line  []byte
}

// Write implements RejectWriter. A row that cannot be taken apart stands whole
// in its first cell.
func (t *tableRejects) Write(r Reject) error {
	column := ""
	if r.Column > 0 {
		column = strconv.Itoa(r.Column)
	}
	cells, ok := t.cells.split(r.Raw)
	if !ok {
		cells = []string{string(r.Raw)}
	}
	return t.row(append([]string{strconv.FormatInt(r.Line, 10), column, r.Reason}, cells...))
}

func (t *tableRejects) row(cells []string) error {
	t.line = t.line[:0]
	for i, c := range cells {
		if i > 0 {
			t.line = append(t.line, t.cells.delimiter...)
		}
		t.line = appendCell(t.line, harmless(c), t.cells.delimiter, '"')
	}
	t.line = append(t.line, '\n')
	_, err := t.w.Write(t.line)
	return err
}

// Close implements RejectWriter.
func (t *tableRejects) Close() error { return nil }

// harmless keeps a spreadsheet from taking text for a formula.
func harmless(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

// appendCell appends a cell, quoted where it has to be.
func appendCell(b []byte, s, delimiter string, quote byte) []byte {
	if !strings.Contains(s, delimiter) && !strings.ContainsAny(s, "\r\n"+string(rune(quote))) && strings.TrimSpace(s) == s {
		return append(b, s...)
	}
	b = append(b, quote)
	for i := range len(s) {
		if s[i] == quote {
			b = append(b, quote)
		}
		b = append(b, s[i])
	}
	return append(b, quote)
}

// jsonRejects writes an object a line.
type jsonRejects struct{ w io.Writer }

// Write implements RejectWriter.
func (j *jsonRejects) Write(r Reject) error {
	v := struct {
		Line   int64           `json:"line"`
		Column int             `json:"column,omitempty"`
		Reason string          `json:"reason"`
		Record json.RawMessage `json:"record,omitempty"`
		Text   string          `json:"text,omitempty"` // what is no JSON
	}{Line: r.Line, Column: r.Column, Reason: r.Reason}
	if json.Valid(r.Raw) {
		v.Record = r.Raw
	} else {
		v.Text = strings.ToValidUTF8(string(r.Raw), "\uFFFD")
	}
	enc := json.NewEncoder(j.w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// Close implements RejectWriter.
func (j *jsonRejects) Close() error { return nil }

// xmlRejects writes an element a record.
type xmlRejects struct{ w io.Writer }

// Write implements RejectWriter.
func (x *xmlRejects) Write(r Reject) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<reject line="%d"`, r.Line)
	if r.Column > 0 {
		fmt.Fprintf(&b, ` column="%d"`, r.Column)
	}
	b.WriteString(` reason="`)
	if err := xml.EscapeText(&b, []byte(r.Reason)); err != nil {
		return err
	}
	b.WriteString(`">`)
	if wholeElement(r.Raw) {
		b.Write(r.Raw)
	} else {
		b.WriteString("<text>")
		if err := xml.EscapeText(&b, r.Raw); err != nil {
			return err
		}
		b.WriteString("</text>")
	}
	b.WriteString("</reject>\n")
	_, err := x.w.Write(b.Bytes())
	return err
}

// Close implements RejectWriter.
func (x *xmlRejects) Close() error {
	_, err := io.WriteString(x.w, "</rejected>\n")
	return err
}

// wholeElement reports whether raw is one well-formed element and nothing else.
func wholeElement(raw []byte) bool {
	dec := xml.NewDecoder(bytes.NewReader(raw))
	depth, elements := 0, 0
	for {
		tok, err := dec.Token()
		if err == io.EOF {
			return depth == 0 && elements == 1
		}
		if err != nil {
			return false
		}
		switch t := tok.(type) {
		case xml.StartElement:
			if depth == 0 {
				elements++
			}
			depth++
		case xml.EndElement:
			depth--
		case xml.CharData:
			if depth == 0 && len(bytes.TrimSpace(t)) > 0 {
				return false
			}
		case xml.Directive, xml.ProcInst:
			return false
		}
	}
}
