package formats

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"ingestd/formats/csvfmt"
	"ingestd/ingest"
)

// NewMend returns a writer of bad records in the form of the file that they are
// from, to be mended and to arrive once more: CSV with the header and in the
// dialect of the file, lines of fixed columns, JSON below the same path, XML below the same elements, the
// rows of a workbook as CSV. Records stand as they stood, byte for byte; what is
// written is UTF-8, with a byte order mark where the pipeline would expect
// another encoding. Lines and reasons are not in it.
func NewMend(w io.Writer, s Spec, d ingest.Details) (RejectWriter, error) {
	switch d.Format {
	case CSV:
		if err := writeMark(w, s, d); err != nil {
			return nil, err
		}
		return newMendCSV(w, s, d)
	case XLSX:
		t := &mendRows{w: w, width: len(d.Header)}
		if _, err := io.WriteString(w, "\uFEFF"); err != nil {
			return nil, err
		}
		if len(d.Header) == 0 {
			return t, nil
		}
		return t, t.row(d.Header)
	case Fixed:
		if err := writeMark(w, s, d); err != nil {
			return nil, err
		}
		m := &mendFixed{w: w, length: s.Fixed.Length, footer: s.Fixed.SkipFooter}
		return m, m.fill(s.Fixed.SkipRows)
	case JSON:
		return newMendJSON(w, s)
	case XML:
		return newMendXML(w, s, d)
	}
	return nil, fmt.Errorf("records of format %s cannot be written as a file of their own", cmp.Or(d.Format, "unknown"))
}

// mendCSV writes rows between what the options leave out.
type mendCSV struct {
	w      io.Writer
	footer int
}

const leftOut = "left out when this is read"

func newMendCSV(w io.Writer, s Spec, d ingest.Details) (*mendCSV, error) {
	o := fragmentOptions(s, d)
	m := &mendCSV{w: w, footer: s.CSV.SkipFooter}
	if err := m.fill(s.CSV.SkipRows); err != nil {
		return nil, err
	}
	rows := s.CSV.Header
	if rows == 0 && !s.CSV.NoHeader && len(s.CSV.Columns) == 0 {
		rows = 1
	}
	if s.CSV.NoHeader {
		rows = 0
	}
	var head []byte
	for i := range rows {
		for k, name := range d.Header {
			if k > 0 {
				head = append(head, o.Delimiter...)
			}
			if i == 0 {
				head = appendName(head, name, o)
			}
		}
		head = append(head, '\n')
	}
	_, err := w.Write(head)
	return m, err
}

// appendName appends a column's name in the dialect.
func appendName(b []byte, name string, o csvfmt.Options) []byte {
	quote := byte('"')
	if o.Quote != "" {
		quote = o.Quote[0]
	}
	if o.NoQuote {
		return append(b, name...)
	}
	if o.Escape == "" || o.Escape == o.Quote {
		return appendCell(b, name, o.Delimiter, quote)
	}
	for _, special := range []string{o.Escape, string(rune(quote))} {
		name = strings.ReplaceAll(name, special, o.Escape+special)
	}
	b = append(b, quote)
	b = append(b, name...)
	return append(b, quote)
}

// fill writes lines that are left out.
func (m *mendCSV) fill(n int) error {
	_, err := io.WriteString(m.w, strings.Repeat(leftOut+"\n", n))
	return err
}

// Write implements RejectWriter.
func (m *mendCSV) Write(r Reject) error {
	_, err := m.w.Write(append(bytes.Clone(r.Raw), '\n'))
	return err
}

// Close implements RejectWriter.
func (m *mendCSV) Close() error { return m.fill(m.footer) }

// mendFixed writes lines, or records without line ends, between what the
// options leave out.
type mendFixed struct {
	w              io.Writer
	length, footer int
}

func (m *mendFixed) fill(n int) error {
	for range n {
		if err := m.Write(Reject{Raw: []byte(leftOut)}); err != nil {
			return err
		}
	}
	return nil
}

// Write implements RejectWriter.
func (m *mendFixed) Write(r Reject) error {
	b := bytes.Clone(r.Raw)
	if m.length == 0 {
		b = append(b, '\n')
	} else if n := utf8.RuneCount(b); n < m.length {
		b = append(b, strings.Repeat(" ", m.length-n)...)
	} else if n > m.length {
		b = []byte(string([]rune(string(b))[:m.length])) // a line that is left out
	}
	_, err := m.w.Write(b)
	return err
}

// Close implements RejectWriter.
func (m *mendFixed) Close() error { return m.fill(m.footer) }

// mendRows writes a workbook's rows as CSV.
type mendRows struct {
	w     io.Writer
	width int
}

// Write implements RejectWriter.
func (m *mendRows) Write(r Reject) error {
	cells, ok := splitRow(r.Raw)
	if !ok {
		return fmt.Errorf("the bytes of line %d are no row", r.Line)
	}
	for len(cells) < m.width {
		cells = append(cells, "")
	}
	return m.row(cells)
}

func (m *mendRows) row(cells []string) error {
	var b []byte
	for i, c := range cells {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendCell(b, c, ",", '"')
	}
	_, err := m.w.Write(append(b, '\n'))
	return err
}

// Close implements RejectWriter.
func (m *mendRows) Close() error { return nil }

// mendJSON writes records below a path, or one after the other.
type mendJSON struct {
	w          io.Writer
	sep, close string
	any        bool
}

func newMendJSON(w io.Writer, s Spec) (*mendJSON, error) {
	m := &mendJSON{w: w, sep: "\n", close: "\n"}
	if s.JSON.Records == "" {
		return m, nil
	}
	names := strings.Split(s.JSON.Records, ".")
	open := ""
	for _, n := range names {
		b, err := json.Marshal(n)
		if err != nil {
			return nil, err
		}
		open += "{" + string(b) + ":"
	}
	m.sep, m.close = ",\n", "\n]"+strings.Repeat("}", len(names))+"\n"
	_, err := io.WriteString(w, open+"[\n")
	return m, err
}

// Write implements RejectWriter.
func (m *mendJSON) Write(r Reject) error {
	raw := r.Raw
	if m.any {
		raw = append([]byte(m.sep), raw...)
	}
	m.any = true
	_, err := m.w.Write(raw)
	return err
}

// Close implements RejectWriter.
func (m *mendJSON) Close() error {
	if !m.any && m.sep == "\n" {
		return nil
	}
	_, err := io.WriteString(m.w, m.close)
	return err
}

// mendXML writes elements below the same elements.
type mendXML struct {
	w     io.Writer
	close string
}

func newMendXML(w io.Writer, s Spec, d ingest.Details) (*mendXML, error) {
	path := s.XML.Record
	for _, n := range d.Notes {
		if path == "" && n.What == "record" {
			path = n.Value
		}
	}
	m := &mendXML{w: w}
	open := ""
	names := strings.Split(strings.Trim(path, "/"), "/")
	if len(names) < 2 {
		names = []string{"records", ""} // one root for many records
	}
	for _, n := range names[:len(names)-1] {
		if n == "*" || n == "" {
			n = "records"
		}
		open += "<" + n
		if prefix, _, ok := strings.Cut(n, ":"); ok && !strings.Contains(open, "xmlns:"+prefix+"=") {
			open += ` xmlns:` + prefix + `="urn:ingestd:` + prefix + `"` // whatever it was in the file
		}
		open += ">\n"
		m.close = "</" + n + ">\n" + m.close
	}
	_, err := io.WriteString(w, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"+open)
	return m, err
}

// Write implements RejectWriter.
func (m *mendXML) Write(r Reject) error {
	_, err := m.w.Write(append(bytes.Clone(r.Raw), '\n'))
	return err
}

// Close implements RejectWriter.
func (m *mendXML) Close() error {
	_, err := io.WriteString(m.w, m.close)
	return err
}
