package csvfmt

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ingestd/ingest"
)

// A Finding is the dialect that a text seems to be written in.
type Finding struct {
	Options Options       // those given, with what was found in place of what they left open
	Notes   []ingest.Note // what was found, and why; see the constants
	// Doubt is why the delimiter cannot be told; "" = it can. Options then hold
	// the likelier one.
	Doubt string
}

// What the notes of a Finding are about. Their values are those of the config
// keys of the same names, but for a quote that there is not.
const (
	NoteDelimiter = "delimiter"
	NoteQuote     = "quote" // NoneValue = no character quotes
	NoteEscape    = "escape"
	NoteTrim      = "trim"
	NoteComment   = "comment"
	NoteSkipRows  = "skip_rows"
	NoteHeader    = "header" // "true", "false" or a number of rows
	NoteColumns   = "columns"
	// These are said to people, and pin nothing.
	NoteTables  = "tables"
	NoteTotal   = "total"
	NoteDecimal = "decimal"
	NoteRagged  = "ragged"
)

// NoneValue is the value of NoteQuote where there is no quote.
const NoneValue = "none"

// How much of the head is looked at, in rows.
const (
	scoredRows = 150
	laidRows   = 2000
)

// Detect tells the dialect from a text's first bytes, by how evenly each
// candidate cuts them into rows, and by how many of the cells then look like
// something: a number, a date, a word. It keeps what o names: a delimiter, a
// quote, an escape, rows to skip, a comment, a header or columns. cut says that
// the text goes on behind head. The answer depends on head, cut and o alone.
//
// Where two delimiters explain the text about equally well, the Finding has a
// Doubt. Whatever it finds is a dialect that New accepts, if o is one.
func Detect(head []byte, cut bool, o Options) Finding {
	f := &finder{head: head, cut: cut, given: o, found: Finding{Options: o}}
	if cut {
		// The last line is not whole.
		if i := bytes.LastIndexAny(head, "\r\n"); i >= 0 {
			f.head = head[:i+1]
		}
	}
	f.delimiter()
	f.layOut()
	return f.found
}

// Dialect is o with the delimiter, quote, escape and trimming that the notes of
// an earlier Finding name, where o leaves them open.
func Dialect(o Options, notes []ingest.Note) Options {
	for _, n := range notes {
		switch n.What {
		case NoteDelimiter:
			o.Delimiter = cmp.Or(o.Delimiter, n.Value)
		case NoteQuote:
			if o.Quote == "" && !o.NoQuote {
				o.NoQuote = n.Value == NoneValue
				if !o.NoQuote {
					o.Quote = n.Value
				}
			}
		case NoteEscape:
			o.Escape = cmp.Or(o.Escape, n.Value)
		case NoteTrim:
			o.Trim = o.Trim || n.Value == "true"
		}
	}
	return o
}

// A finder is one Detect.
type finder struct {
	head  []byte
	cut   bool
	given Options
	found Finding
}

func (f *finder) note(what, value, why string, args ...any) {
	f.found.Notes = append(f.found.Notes, ingest.Note{What: what, Value: value, Why: fmt.Sprintf(why, args...)})
}

// SepLine is the delimiter that a first line like `sep=;`, which Excel writes
// and reads, names, or empty.
func SepLine(head []byte) string {
	end := bytes.IndexAny(head[:min(len(head), 24)], "\r\n")
	if end < 0 {
		return ""
	}
	line := strings.Trim(string(head[:end]), `"`)
	if len(line) < 5 || !strings.EqualFold(line[:4], "sep=") {
		return ""
	}
	d := line[4:]
	if strings.EqualFold(d, `\t`) {
		return "\t"
	}
	if len([]rune(d)) > 4 || strings.ContainsAny(d, `"`) {
		return ""
	}
	return d
}

// delimiter chooses delimiter, quote, escape and trimming.
func (f *finder) delimiter() {
	o := &f.found.Options
	if f.given.Delimiter == "" && f.given.SkipRows == 0 {
		if d := SepLine(f.head); d != "" {
			o.Delimiter, o.SkipRows = d, 1
			f.note(NoteDelimiter, d, "the first line is Excel's sep=%s", d)
			f.note(NoteSkipRows, "1", "Excel's sep= line")
		}
	}
	fixed := o.Delimiter != ""
	delims := []string{o.Delimiter}
	if !fixed {
		delims = f.delimiters()
	}
	var best, rival trial
	for _, d := range delims {
		if best.plain() && !usual(d) && !related(d, best.o.Delimiter) {
			continue
		}
		t := f.tryDelimiter(d)
		if t.width < 2 && !fixed {
			continue
		}
		switch {
		case best.rows == 0 || t.beats(best):
			best, rival = t, best
		case t.score > rival.score:
			rival = t
		}
	}
	if !fixed {
		one := f.oneColumn()
		if best.rows == 0 || one >= best.score {
			o.Delimiter = ","
			if best.rows == 0 {
				f.note(NoteDelimiter, ",", "no delimiter is found in the first rows: one column")
			} else {
				f.note(NoteDelimiter, ",", "no delimiter cuts the first rows evenly: one column; the next best is %s, of which %d of the first %d rows have %d cells",
					shown(best.o.Delimiter), best.even, best.rows, best.width)
			}
			return
		}
	}
	if best.rows == 0 {
		return
	}
	o.Delimiter, o.Quote, o.NoQuote, o.Escape, o.Trim = best.o.Delimiter, best.o.Quote, best.o.NoQuote, best.o.Escape, best.o.Trim
	if !fixed {
		also := ""
		if rival.rows > 0 && rival.score > best.score/2 {
			also = fmt.Sprintf("; the next best is %s with %d of %d rows of %d cells", shown(rival.o.Delimiter), rival.even, rival.rows, rival.width)
		}
		f.note(NoteDelimiter, o.Delimiter, "%d of the first %d rows have %d cells%s", best.even, best.rows, best.width, also)
		if rival.rows > 0 && rival.score > 0.97*best.score && !related(rival.o.Delimiter, o.Delimiter) {
			f.found.Doubt = fmt.Sprintf("%s cuts %d of the first %d rows into %d cells, and %s cuts %d of them into %d",
				shown(o.Delimiter), best.even, best.rows, best.width, shown(rival.o.Delimiter), rival.even, rival.width)
		}
	}
	if o.NoQuote && !f.given.NoQuote {
		f.note(NoteQuote, NoneValue, "with quotes %d of the first %d rows would be bad, without %d", best.badQuoted, best.rows, best.bad)
	} else if o.Quote != f.given.Quote && o.Quote != "" {
		f.note(NoteQuote, o.Quote, "%d of the first %d rows have cells between %s", best.quoted, best.rows, o.Quote)
	}
	if o.Escape != f.given.Escape && o.Escape != "" {
		f.note(NoteEscape, o.Escape, "quotes inside of cells stand behind %s", o.Escape)
	}
	if o.Trim && !f.given.Trim {
		f.note(NoteTrim, "true", "blanks stand before quoted cells")
	}
}

// related reports whether one delimiter holds the other.
func related(a, b string) bool { return strings.Contains(a, b) || strings.Contains(b, a) }

// shown is a delimiter for people.
func shown(d string) string {
	switch d {
	case "\t":
		return "a tab"
	case " ":
		return "a blank"
	}
	return strconv.QuoteToGraphic(d)
}

// delimiters lists the candidates that the head holds, the usual ones first.
func (f *finder) delimiters() []string {
	var out []string
	for _, d := range []string{",", ";", "\t", "|", ", ", "; ", " ", ":", "~", "^", "\x1f", "\x01", "\u00A6"} {
		if bytes.Contains(f.head, []byte(d)) {
			out = append(out, d)
		}
	}
	// Runs of punctuation that nearly every line holds: `||`, `::`, `|~|`.
	const lines, most = 50, 64
	var (
		seen  [][]byte
		count = map[string]int{}
	)
	for line := range bytes.Lines(f.head) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if seen = append(seen, line); len(seen) == lines {
			break
		}
		for i := 0; i < len(line); {
			j := i
			for j < len(line) && strings.IndexByte("|~^:;,#@$%&*+=<>/!- \t", line[j]) >= 0 {
				j++
			}
			if run := line[i:j]; len(run) >= 2 && len(run) <= 4 && len(bytes.Trim(run, " \t-,;")) > 0 && len(count) < most {
				count[string(run)] = 0
			}
			i = max(j, i+1)
		}
	}
	var runs []string
	for run := range count {
		for _, line := range seen {
			if bytes.Contains(line, []byte(run)) {
				count[run]++
			}
		}
		if 10*count[run] >= 8*len(seen) && !slices.Contains(out, run) {
			runs = append(runs, run)
		}
	}
	slices.SortFunc(runs, func(a, b string) int { return cmp.Or(count[b]-count[a], strings.Compare(a, b)) })
	return append(out, runs[:min(len(runs), 4)]...)
}

// A trial is how one dialect cuts the first rows.
type trial struct {
	o      Options
	rows   int
	width  int // the commonest number of cells from 2 on, or 1
	even   int // rows that have as many
	bad    int // rows with wrong quotes
	quoted int // rows with a quote at the edge of a cell
	score  float64
	clean  float64 // the score without a bonus for many cells

	badQuoted int // of the dialect with quotes, where this one has none
}

// plain reports whether a dialect leaves nothing to ask.
func (t trial) plain() bool {
	return t.width > 2 && t.even == t.rows && t.rows > 2 && t.clean > 0.8
}

// usual reports whether a delimiter is always tried.
func usual(d string) bool { return d == "," || d == ";" || d == "\t" || d == "|" }

// beats reports whether t explains the text better. Of two delimiters of which
// one holds the other the shorter one makes more cells out of the same text,
// which is no merit.
func (t trial) beats(u trial) bool {
	a, b := t.o.Delimiter, u.o.Delimiter
	switch {
	case !related(a, b):
		return t.score > u.score
	case len(a) > len(b):
		return t.clean >= u.clean
	}
	return t.clean > u.clean
}

// tryDelimiter is the best dialect with this delimiter.
func (f *finder) tryDelimiter(d string) trial {
	o := f.found.Options
	o.Delimiter = d
	best := f.try(o)
	if f.given.Quote != "" || f.given.NoQuote {
		return best
	}
	holds := func(s string) bool { return bytes.Contains(f.head, []byte(s)) }
	better := func(o Options, factor float64) {
		if t := f.try(o); t.rows > 0 && t.score*factor > best.score {
			t.score, t.clean = t.score*factor, t.clean*factor
			t.badQuoted = best.bad
			best = t
		}
	}
	plain := best
	if f.given.Escape == "" && holds(`\"`) {
		e := o
		e.Escape = `\`
		better(e, 0.99)
	}
	if holds(d+"'") || holds("'"+d) {
		q := o
		q.Quote = "'"
		better(q, 0.99)
		if f.given.Escape == "" && holds(`\'`) {
			q.Escape = `\`
			better(q, 0.98)
		}
	}
	if !o.Trim && (holds(d+` "`) || holds(`" `+d)) {
		b := o
		b.Trim = true
		better(b, 0.95)
	}
	// One stray quote is a bad row. That quotes mean nothing takes more, and no
	// row in which they do.
	if plain.bad > 2 && plain.quoted == plain.bad && !related(d, `"`) {
		n := o
		n.NoQuote = true
		better(n, 0.8)
	}
	return best
}

// try reads the first rows in a dialect.
func (f *finder) try(o Options) trial {
	t := trial{o: o, width: 1}
	if o.Quote == o.Delimiter || o.Escape == o.Delimiter {
		return t
	}
	rows := f.sample(o, scoredRows)
	widths := map[int]int{}
	for _, r := range rows {
		t.rows++
		switch {
		case r.bad:
			t.bad++
		default:
			widths[len(r.cells)]++
		}
		if r.quoted {
			t.quoted++
		}
	}
	even := 0.0
	for w, n := range widths {
		share := float64(n) / float64(t.rows)
		if w == 1 {
			even += share * share / 4
			continue
		}
		even += share * share
		if n > t.even || n == t.even && w > t.width {
			t.width, t.even = w, n
		}
	}
	if t.width < 2 || 10*t.even < 3*t.rows {
		t.width, t.even = 1, widths[1]
		return t
	}
	sum, n := 0.0, 0
	for _, r := range rows {
		if r.bad || len(r.cells) != t.width {
			continue
		}
		for _, c := range r.cells {
			sum += worth(c, o)
			n++
		}
		if n > 4000 {
			break
		}
	}
	t.clean = even * sum / float64(n)
	t.score = t.clean * float64(t.width-1) / float64(t.width)
	switch o.Delimiter {
	case ",", ";", "\t", "|", ", ", "; ":
	case " ":
		t.score *= 0.55
	case ":", "-", "/":
		t.score *= 0.6
	default:
		t.score *= 0.9
	}
	return t
}

// oneColumn is the score of every line as one cell.
func (f *finder) oneColumn() float64 {
	sum, n := 0.0, 0
	for line := range bytes.Lines(f.head) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			sum += worth(line, Options{Delimiter: ","})
			n++
		}
		if n == scoredRows {
			break
		}
	}
	return 0.28 * sum / float64(max(n, 1))
}

// A sampleRow is one row of the head in some dialect.
type sampleRow struct {
	cells  [][]byte
	raw    []byte
	line   int64
	gap    bool // a blank or comment line stands before it
	bad    bool // its quotes are wrong
	quoted bool // a quote begins one of its cells
}

// sample reads the head's first rows in a dialect.
func (f *finder) sample(o Options, most int) []sampleRow {
	o.NoHeader, o.Header, o.Columns, o.SkipFooter, o.Null = true, 0, nil, 0, nil
	o.MaxRecord, o.MaxField = len(f.head)+1, len(f.head)+1
	p, err := New(bytes.NewReader(f.head), o)
	if err != nil {
		return nil
	}
	r := p.(*reader)
	r.target = len(f.head) + 1
	var c ingest.Chunk
	r.load(&c)
	for range o.SkipRows {
		if r.pos == len(r.data) {
			break
		}
		e := r.firstLineEnd(r.pos)
		if e == len(r.data) {
			return nil
		}
		r.pos, r.line = e+r.eol(e), r.line+1
	}
	var (
		rows  []sampleRow
		cells [][]byte
	)
	for len(rows) < most {
		before := r.line
		if r.skipBlank() != took {
			break
		}
		out := r.parse(&c)
		if out.state != took {
			break
		}
		row := sampleRow{line: r.line, gap: r.line > before && len(rows) > 0, raw: r.data[r.pos:out.end]}
		row.bad = out.reason != "" || out.wide >= 0
		n := len(c.Fields)
		if cap(cells)-len(cells) < n {
			cells = make([][]byte, 0, max(1024, n))
		}
		for _, field := range c.Fields {
			cells = append(cells, field.Raw)
		}
		row.cells = cells[len(cells)-n : len(cells) : len(cells)]
		if r.quoting {
			row.quoted = bytes.IndexByte(row.raw, r.quote) >= 0
		}
		rows = append(rows, row)
		c.Fields = c.Fields[:0]
		r.line += int64(r.lines(r.pos, out.next))
		r.pos = out.next
	}
	return rows
}
