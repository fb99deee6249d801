package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"ingestd/ingest"
)

// Format is how an arrival is read. Type says which of the structs counts.
type Format struct {
	Type  string // auto, csv, json, xml, xlsx, fixed, raw
	CSV   CSV
	JSON  JSON
	XML   XML
	XLSX  XLSX
	Fixed Fixed
}

func (f *Format) short() string         { return "type" }
func (f *Format) discriminator() string { return "type" }
func (f *Format) chosen() string        { return f.Type }
func (f *Format) keys() []key           { return f.variant(f.Type) }
func (f *Format) variants() []string {
	return []string{"auto", "csv", "json", "xml", "xlsx", "fixed", "raw"}
}

func (f *Format) variant(of string) []key {
	ks := []key{{
		name: "type", to: oneOf(&f.Type, "auto", "csv", "json", "xml", "xlsx", "raw", "fixed"), required: true,
		doc: "The format; auto tells by content and name, raw is one record: the file as it is.",
	}}
	switch of {
	case "csv":
		return append(ks, f.CSV.keys()...)
	case "json":
		return append(ks, f.JSON.keys()...)
	case "xml":
		return append(ks, f.XML.keys()...)
	case "xlsx":
		return append(ks, f.XLSX.keys()...)
	case "fixed":
		return append(ks, f.Fixed.keys()...)
	}
	return ks
}

func (f *Format) check(say func(key, message, hint string)) {
	if f.Type == "csv" {
		f.CSV.check(say)
	}
	if f.Type == "fixed" {
		f.Fixed.check(say)
	}
}

// CSV is the dialect of separated values.
type CSV struct {
	Delimiter  string   // one or more characters
	Quote      string   // one ASCII character, "" = none
	Escape     string   // "" or the quote itself = a quote is doubled; `\` = after a backslash
	Header     int      // rows of the header; 0 = none, the fields are Columns or column_1, column_2, …
	Columns    []string // names in place of the header's
	Encoding   string   // "" = by byte order mark, else UTF-8
	SkipRows   int
	SkipFooter int
	Comment    string // "" = none
	Trim       bool
	Null       []string
	Ragged     string // dead_letter, pad

	header *int // as written, nil = not at all
}

func (c *CSV) keys() []key {
	return []key{
		{name: "delimiter", to: text{p: &c.Delimiter, check: upTo(16)}, def: `","`, doc: "What stands between cells."},
		{name: "quote", to: text{p: &c.Quote, empty: true, check: oneASCII}, def: `'"'`, doc: "What stands around cells; `\"\"` is none."},
		{name: "escape", to: text{p: &c.Escape, empty: true, check: oneASCII}, defDoc: "the quote itself", doc: "What stands before a quote inside a cell: the quote itself, or `\\`."},
		{name: "header", to: scalar[*int]{p: &c.header, want: "true, false or a number of rows", name: "true, false or number", parse: parseHeader, format: formatHeader}, defDoc: "`true`, `false` where `columns` are named", doc: "Whether the first row names the fields; a number joins so many rows by a space."},
		{name: "columns", to: texts(&c.Columns), defDoc: "the header's, else column_1, column_2, …", doc: "Names of the fields."},
		{name: "encoding", to: text{p: &c.Encoding, check: checkEncoding}, defDoc: "by byte order mark, else utf-8", doc: "The IANA name of the character encoding."},
		{name: "skip_rows", to: integer{&c.SkipRows, 0, 1 << 20}, def: "0", doc: "Lines above the header that are skipped."},
		{name: "skip_footer", to: integer{&c.SkipFooter, 0, 100}, def: "0", doc: "Rows at the end that are skipped."},
		{name: "comment", to: text{p: &c.Comment, check: upTo(16)}, defDoc: "none", doc: "Lines that begin so are skipped."},
		{name: "trim", to: boolean{&c.Trim}, def: "false", doc: "Whether white space around cells is cut."},
		{name: "null", to: list[string]{p: &c.Null, item: func(s *string) target { return text{p: s, empty: true, nulls: true} }, most: 64}, def: "[]", doc: "Cells that mean null."},
		{name: "ragged", to: oneOf(&c.Ragged, "dead_letter", "pad"), def: "dead_letter", doc: "What becomes of a row with too few or too many cells."},
	}
}

func (c *CSV) check(say func(key, message, hint string)) {
	if c.header == nil {
		rows := 1
		if len(c.Columns) > 0 {
			rows = 0
		}
		c.header = &rows
	}
	c.Header = *c.header
	if strings.ContainsAny(c.Delimiter, "\r\n") {
		say("delimiter", "`delimiter` cannot hold a line end", "")
	}
	if strings.ContainsAny(c.Comment, "\r\n") {
		say("comment", "`comment` cannot hold a line end", "")
	}
	if c.Quote != "" && strings.Contains(c.Delimiter, c.Quote) {
		say("quote", "`delimiter` holds the `quote`", "")
	}
	if c.Escape != "" && strings.Contains(c.Delimiter, c.Escape) {
		say("escape", "`delimiter` holds the `escape`", "")
	}
	seen := map[string]bool{}
	for i, name := range c.Columns {
		if seen[name] {
			say(Index("columns", i), "a column is named twice", "")
		}
		seen[name] = true
	}
}

// upTo allows texts of at most n characters.
func upTo(n int) func(string) error {
	return func(s string) error {
		switch {
		case utf8.RuneCountInString(s) <= n:
			return nil
		case n == 1:
			return errors.New("is more than one character")
		}
		return fmt.Errorf("is more than %d characters", n)
	}
}

func oneASCII(s string) error {
	if len(s) > 1 || s > "\x7f" {
		return errors.New("is more than one ASCII character")
	}
	return nil
}

func parseHeader(s string) (*int, error) {
	rows := 0
	switch s {
	case "true":
		rows = 1
	case "false":
	default:
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 || n > 100 {
			return nil, errors.New("is neither true, false nor a number of rows up to 100")
		}
		rows = n
	}
	return &rows, nil
}

func formatHeader(rows *int) string {
	if rows == nil {
		return ""
	}
	return strconv.Itoa(*rows)
}

func checkEncoding(s string) error {
	for _, r := range s {
		if !word(string(r)) && r != ':' && r != '.' {
			return errors.New("is no name of an encoding; write one like windows-1252 or utf-16le")
		}
	}
	return nil
}

// JSON is where the records of a JSON document are.
type JSON struct {
	Records string // path to the array; "" = the document itself
}

func (j *JSON) keys() []key {
	return []key{{name: "records", to: words(&j.Records), defDoc: "the document itself", doc: "The path to the array of records, as in `data.orders`."}}
}

// XML is where the records of an XML document are, and how elements become
// fields.
type XML struct {
	Record          string // "" = detected
	AttributePrefix string
	TextKey         string
	Lists           []string
}

func (x *XML) keys() []key {
	return []key{
		{name: "record", to: words(&x.Record), defDoc: "detected", doc: "The path from the root to the element that is a record; a leading `/` and `*` are allowed."},
		{name: "attribute_prefix", to: text{p: &x.AttributePrefix, empty: true}, def: `"@"`, doc: "What stands before the names of attributes."},
		{name: "text_key", to: words(&x.TextKey), def: `"#text"`, doc: "The name of an element's own text where it has attributes or children."},
		{name: "lists", to: texts(&x.Lists), def: "[]", doc: "Elements that are lists even where there is one."},
	}
}

// XLSX is where the records of a workbook are.
type XLSX struct {
	Sheet     Sheet
	HeaderRow int    // from 1; 0 = the first row that holds anything; NoHeaderRow = there is none
	Range     string // "" = all
	Password  ingest.Secret
}

// NoHeaderRow says that no row names the fields: they are column_1, column_2, …
const NoHeaderRow = -1

// Sheet is a sheet by name, or by number from 1. The zero Sheet is the first
// visible one.
type Sheet struct {
	Name   string
	Number int
}

func (x *XLSX) keys() []key {
	return []key{
		{name: "sheet", to: sheetTarget{&x.Sheet}, defDoc: "the first visible sheet", doc: "A sheet's name, or its number from 1."},
		{name: "header_row", to: scalar[int]{p: &x.HeaderRow, want: "a row's number", name: "number", parse: parseHeaderRow, format: formatHeaderRow}, defDoc: "the first row that holds anything", doc: "The row that names the fields, from 1; 0 is none."},
		{name: "range", to: text{p: &x.Range, check: checkRange}, defDoc: "all", doc: "The cells that are read, as in `A1:K5000`."},
		{name: "password", to: secret{&x.Password}, doc: "The workbook's password."},
	}
}

type sheetTarget struct{ p *Sheet }

func (t sheetTarget) decode(d *decoder, n *node, path string) {
	s, ok := d.scalar(n, path, "a sheet's name or number")
	if !ok {
		return
	}
	number, err := strconv.Atoi(s)
	switch {
	case n.plain && !n.interpolated() && err == nil:
		if number < 1 || number > 10_000 {
			d.problem(n, path, "sheets are counted from 1", "quote it where it is a name")
			return
		}
		*t.p = Sheet{Number: number}
	case s == "" || utf8.RuneCountInString(s) > 255:
		d.problem(n, path, "`sheet` is empty or longer than 255 characters", "")
	default:
		*t.p = Sheet{Name: s}
	}
}

func (t sheetTarget) encode(dst []byte) ([]byte, bool) {
	switch {
	case t.p.Number > 0:
		return strconv.AppendInt(dst, int64(t.p.Number), 10), true
	case t.p.Name != "":
		return ingest.AppendString(dst, []byte(t.p.Name)), true
	}
	return dst, false
}
func (sheetTarget) typ() string { return "text or number" }

func parseHeaderRow(s string) (int, error) {
	n, err := strconv.Atoi(s)
	switch {
	case err != nil || n < 0 || n > maxRow:
		return 0, errors.New("is no row; rows are counted from 1, and 0 is no header")
	case n == 0:
		return NoHeaderRow, nil
	}
	return n, nil
}

func formatHeaderRow(n int) string {
	switch n {
	case 0:
		return ""
	case NoHeaderRow:
		return "0"
	}
	return strconv.Itoa(n)
}

// checkRange allows A1:K5000, whole columns A:K and whole rows 2:5000.
func checkRange(s string) error {
	from, to, ok := strings.Cut(s, ":")
	fromKind, toKind := corner(from), corner(to)
	if !ok || fromKind == "" || fromKind != toKind {
		return errors.New("is no range of cells; write one like A1:K5000, A:K or 2:5000")
	}
	return nil
}

// What a worksheet can hold, XFD1048576.
const maxRow = 1_048_576

// corner says what a range's end names: a cell, a column, a row, or nothing.
// $ is allowed.
func corner(s string) string {
	s = strings.ToUpper(strings.ReplaceAll(s, "$", ""))
	letters := strings.IndexFunc(s, func(r rune) bool { return r < 'A' || r > 'Z' })
	if letters < 0 {
		letters = len(s)
	}
	column, digits := s[:letters], s[letters:]
	if len(column) > 3 || len(column) == 3 && column > "XFD" {
		return ""
	}
	if digits == "" {
		if column == "" {
			return ""
		}
		return "column"
	}
	row, err := strconv.ParseUint(digits, 10, 32)
	switch {
	case err != nil || row < 1 || row > maxRow:
		return ""
	case column == "":
		return "row"
	}
	return "cell"
}

// Fixed is columns of fixed width.
type Fixed struct {
	Columns    []FixedColumn
	Encoding   string
	Length     int // characters of a record in a file without line ends; 0 = a line is a record
	SkipRows   int
	SkipFooter int
	Comment    string // "" = none
	Trim       bool
	Null       []string
	Ragged     string // dead_letter, pad
}

func (f *Fixed) keys() []key {
	return []key{
		{name: "columns", to: list[FixedColumn]{p: &f.Columns, some: true, item: func(c *FixedColumn) target { return blockTarget{c} }}, required: true, doc: "The columns, in order."},
		{name: "encoding", to: text{p: &f.Encoding, check: checkEncoding}, defDoc: "by byte order mark, else utf-8", doc: "The IANA name of the character encoding."},
		{name: "length", to: integer{&f.Length, 1, 1 << 20}, defDoc: "every line is a record", doc: "How many characters a record has, in a file without line ends."},
		{name: "skip_rows", to: integer{&f.SkipRows, 0, 1 << 20}, def: "0", doc: "Lines at the beginning that are skipped, headings among them."},
		{name: "skip_footer", to: integer{&f.SkipFooter, 0, 100}, def: "0", doc: "Lines at the end that are skipped."},
		{name: "comment", to: text{p: &f.Comment, check: upTo(16)}, defDoc: "none", doc: "Lines that begin so are skipped."},
		{name: "trim", to: boolean{&f.Trim}, def: "true", doc: "Whether the blanks around cells are cut."},
		{name: "null", to: list[string]{p: &f.Null, item: func(s *string) target { return text{p: s, empty: true, nulls: true} }, most: 64}, def: "[]", doc: "Cells that mean null."},
		{name: "ragged", to: oneOf(&f.Ragged, "dead_letter", "pad"), def: "dead_letter", doc: "What becomes of a line that is too short, or has text behind the last column."},
	}
}

func (f *Fixed) check(say func(key, message, hint string)) {
	if strings.ContainsAny(f.Comment, "\r\n") {
		say("comment", "`comment` cannot hold a line end", "")
	}
	at, end := 0, 0
	seen := map[string]bool{}
	for i, c := range f.Columns {
		if c.Start > 0 {
			at = c.Start - 1
		}
		at += c.Width
		end = max(end, at)
		if c.Name != "" && seen[c.Name] {
			say(join(Index("columns", i), "name"), "a column is named twice", "")
		}
		seen[c.Name] = true
	}
	if f.Length > 0 && f.Length < end {
		say("length", fmt.Sprintf("`length` is %d, but the columns take %d characters", f.Length, end), "")
	}
}

// FixedColumn is one column.
type FixedColumn struct {
	Name  string
	Start int // in characters, from 1; 0 = where the one before ends
	Width int // in characters
}

func (c *FixedColumn) keys() []key {
	return []key{
		{name: "name", to: words(&c.Name), required: true, doc: "The field's name."},
		{name: "start", to: integer{&c.Start, 1, 1 << 20}, defDoc: "where the one before ends", doc: "Its first character, from 1."},
		{name: "width", to: integer{&c.Width, 1, 1 << 20}, required: true, doc: "How many characters it has."},
	}
}

// Record is the shape of a record, and its key.
type Record struct {
	Key       []string // ["*"] = the whole record; empty = no deduplication of records
	Rest      bool
	Fields    []Field // nil = every field as it came
	Where     string
	Schema    string
	OnInvalid string  // dead_letter, reject_file
	BadLimit  float64 // percent of the first 1,000 records
}

func (r *Record) keys() []key {
	return []key{
		{name: "key", to: list[string]{p: &r.Key, item: func(s *string) target { return words(s) }, most: 64}, defDoc: "none", doc: "The source's fields that make two records the same; `[\"*\"]` is the whole record. Without a key only files are deduplicated."},
		{name: "rest", to: boolean{&r.Rest}, def: "false", doc: "Whether fields not named under `fields` come along as they are."},
		{name: "fields", to: named[Field]{p: &r.Fields, is: "field", name: func(f *Field) string { return f.Name }, check: checkFieldName, item: func(name string, f *Field) target {
			f.Name = name
			return blockTarget{f}
		}}, defDoc: "every field as it came", doc: "The fields of the record, in this order: a source's name, or a map."},
		{name: "where", to: words(&r.Where), later: true, defDoc: "none", doc: "An expression; records that fail it are `filtered`."},
		{name: "schema", to: location{&r.Schema}, later: true, defDoc: "none", doc: "A JSON Schema that the shaped record must meet."},
		{name: "on_invalid", to: oneOf(&r.OnInvalid, "dead_letter", "reject_file"), def: "dead_letter", doc: "What a bad record leads to: a dead letter, or the whole file refused before anything is sent."},
		{name: "bad_limit", to: percent(&r.BadLimit), def: "20%", doc: "The share of bad records, of the first 1,000 and at least 10, above which a file is held; 100% never holds."},
	}
}

func (r *Record) check(say func(key, message, hint string)) {
	seen := map[string]bool{}
	for i, k := range r.Key {
		at := Index("key", i)
		switch {
		case k == "*" && len(r.Key) > 1:
			say(at, "`*` is the whole record and stands alone", "")
		case seen[k]:
			say(at, "a field is named twice", "")
		}
		seen[k] = true
	}
	if r.Fields != nil && len(r.Fields) == 0 && !r.Rest {
		say("fields", "`fields` is empty, so records would be empty", "leave it out to take every field as it came")
	}
}

func checkFieldName(s string) error {
	if s == "" {
		return errors.New("is no name of a field")
	}
	return nil
}

// Field is one field of the shaped record. One of From, Expr and Value says
// what it holds.
type Field struct {
	Name      string
	From      string
	Type      string // "" = as it came
	Required  bool
	Optional  bool
	Default   json.RawMessage // nil = none
	Expr      string
	Value     json.RawMessage // nil = none
	Decimal   string
	Thousands string
	Layout    string
	Zone      Zone
}

func (f *Field) short() string { return "from" }

func (f *Field) keys() []key {
	return []key{
		{name: "from", to: words(&f.From), defDoc: "the field's own name", doc: "The source's name."},
		{name: "type", to: oneOf(&f.Type, "string", "integer", "number", "decimal", "boolean", "date", "datetime", "json"), later: true, defDoc: "as it came", doc: "What it is converted to."},
		{name: "required", to: boolean{&f.Required}, later: true, def: "false", doc: "Whether a record without it is bad."},
		{name: "optional", to: boolean{&f.Optional}, def: "false", doc: "Whether it may be absent from the source: then it is left out."},
		{name: "default", to: literal{&f.Default}, later: true, defDoc: "none", doc: "What it is where the source has none."},
		{name: "expr", to: words(&f.Expr), later: true, defDoc: "none", doc: "An expression in place of `from`."},
		{name: "value", to: literal{&f.Value}, later: true, defDoc: "none", doc: "A constant in place of `from`."},
		{name: "decimal", to: text{p: &f.Decimal, check: upTo(1)}, later: true, def: ".", doc: "The decimal sign."},
		{name: "thousands", to: text{p: &f.Thousands, check: upTo(1)}, later: true, defDoc: "none", doc: "The sign between thousands."},
		{name: "layout", to: words(&f.Layout), later: true, defDoc: "ISO 8601", doc: "How a date is written, as in `dd.mm.yyyy`."},
		{name: "zone", to: parsed(&f.Zone, "time zone", "a time zone such as Europe/Berlin", parseZone), later: true, def: "UTC", doc: "The zone of times that name none."},
	}
}

func (f *Field) check(say func(key, message, hint string)) {
	var has []string
	for _, k := range []struct {
		name string
		set  bool
	}{{"from", f.From != ""}, {"expr", f.Expr != ""}, {"value", f.Value != nil}} {
		if k.set {
			has = append(has, k.name)
		}
	}
	switch {
	case len(has) > 1:
		say(has[1], fmt.Sprintf("a field has one of `from`, `expr` and `value`, not `%s` and `%s`", has[0], has[1]), "")
	case len(has) == 0:
		f.From = f.Name
	}
	if f.Required && (f.Optional || f.Default != nil) {
		say("required", "a required field is neither `optional` nor has it a `default`", "")
	}
}
