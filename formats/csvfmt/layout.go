package csvfmt

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// layOut finds, in the dialect found, where the table begins, whether its first
// rows name the columns, and what else stands in the file.
func (f *finder) layOut() {
	o := &f.found.Options
	rows := f.sample(*o, laidRows)
	if len(rows) == 0 {
		return
	}
	rows = f.comments(rows)
	width := commonest(rows)
	if width > 1 && o.SkipRows == 0 && f.given.SkipRows == 0 {
		var first int
		if first, width = f.tableStart(rows, width); first > 0 {
			o.SkipRows = int(rows[first].line) - 1
			f.note(NoteSkipRows, strconv.Itoa(o.SkipRows), "lines above the first row of %d cells; the first of them reads %s", width, f.quote(rows[0].raw))
			rows = rows[first:]
		}
	}
	f.header(rows, width)
	if w := len(rows[0].cells); !rows[0].bad && w > width && width > 1 {
		f.note(NoteRagged, strconv.Itoa(w), "the first row has %d cells and most others have %d; `ragged: pad` fills them up with empty cells", w, width)
		width = w
	}
	f.remarks(rows, width)
}

// quote is the beginning of a line for a note.
func (f *finder) quote(raw []byte) string {
	const most = 40
	s := []rune(strings.ToValidUTF8(string(raw), "\u00B7"))
	if len(s) > most {
		return strconv.QuoteToGraphic(string(s[:most]) + "\u2026")
	}
	return strconv.QuoteToGraphic(string(s))
}

// commonest is the commonest number of cells from 2 on, or 1.
func commonest(rows []sampleRow) int {
	widths, w := map[int]int{}, 1
	for _, r := range rows {
		if n := len(r.cells); !r.bad && n > 1 {
			widths[n]++
		}
	}
	for n, count := range widths {
		if w == 1 || count > widths[w] || count == widths[w] && n > w {
			w = n
		}
	}
	return w
}

// comments finds lines between the rows that begin with a mark and fit no row.
// Those above the header alone are left to skip_rows: a mark would leave out
// rows that begin so and that nobody has seen yet.
func (f *finder) comments(rows []sampleRow) []sampleRow {
	o := &f.found.Options
	width := commonest(rows)
	if f.given.Comment != "" || width < 2 || o.Delimiter == "" {
		return rows
	}
	fits := func(r sampleRow) bool { return !r.bad && len(r.cells) == width }
	for _, mark := range []string{"#", "//", "--", "%"} {
		n, between, begun, other := 0, 0, false, 0
		for _, r := range rows {
			if !bytes.HasPrefix(r.raw, []byte(mark)) {
				begun = begun || fits(r)
				continue
			}
			if fits(r) {
				other++
				continue
			}
			n++
			if begun {
				between++
			}
		}
		if between == 0 || other > 0 || 2*n > len(rows) {
			continue
		}
		o.Comment = mark
		f.note(NoteComment, mark, "%d of the first %d lines begin so and fit no row", n, len(rows))
		return f.sample(*o, laidRows)
	}
	return rows
}

// tableStart is the row at which the first table begins, and its width.
func (f *finder) tableStart(rows []sampleRow, width int) (first, w int) {
	// Three rows alike in a row are a table, though a later one may be longer.
	for i := 0; i+2 < len(rows); i++ {
		n := len(rows[i].cells)
		if n == width || n > 1 && !rows[i].bad && !rows[i+1].bad && !rows[i+2].bad && len(rows[i+1].cells) == n && len(rows[i+2].cells) == n {
			if n != width && n < width-1 {
				width = n
			}
			break
		}
	}
	first = slices.IndexFunc(rows, func(r sampleRow) bool { return !r.bad && len(r.cells) == width })
	if first == 0 {
		// Spreadsheets fill titles up with empty cells.
		for first < len(rows) && len(rows[first].cells) == width && width > 2 && filled(rows[first]) <= 1 {
			first++
		}
		if first == len(rows) || first > 0 && (2*filled(rows[first]) <= width || len(rows)-first < 2) {
			return 0, width
		}
		return first, width
	}
	// What is nearly as wide, or of several cells right above data, is a header
	// that does not fit: rows are not left out for it.
	above := rows[:first]
	last := above[first-1]
	if first > 100 || len(rows)-first < 2 || len(last.cells) >= width-1 && width > 2 {
		return 0, width
	}
	body := rows[first+1:]
	if len(last.cells) > 1 && !last.bad && !rows[first].gap && hasStrict(rows[first], body, width) {
		return 0, width
	}
	if width == 2 && (first > 1 || !hasNames(rows[first])) && !rows[first].gap && first < 2 {
		return 0, width
	}
	return first, width
}

// filled counts the cells that hold anything.
func filled(r sampleRow) int {
	n := 0
	for _, c := range r.cells {
		if len(bytes.TrimSpace(c)) > 0 {
			n++
		}
	}
	return n
}

// hasNames reports whether no cell of a row looks like data.
func hasNames(r sampleRow) bool {
	for _, c := range r.cells {
		if l := lookOf(c); l.strict() || l == looksEmpty {
			return false
		}
	}
	return true
}

// hasStrict reports whether a row holds data where the body does.
func hasStrict(r sampleRow, body []sampleRow, width int) bool {
	looks := columnLooks(body, width)
	for i, c := range r.cells {
		if i < width && looks[i].strict() && lookOf(c) == looks[i] {
			return true
		}
	}
	return false
}

// columnLooks is what nearly all filled cells of each column look like;
// looksText where they differ, looksEmpty where there are none.
func columnLooks(rows []sampleRow, width int) []look {
	counts := make([][looksText + 1]int, width)
	n := 0
	for _, r := range rows {
		if r.bad || len(r.cells) != width {
			continue
		}
		for i, c := range r.cells {
			counts[i][lookOf(c)]++
		}
		if n++; n == scoredRows {
			break
		}
	}
	out := make([]look, width)
	for i, c := range counts {
		total := 0
		for _, k := range c[looksNumber:] {
			total += k
		}
		switch {
		case total == 0:
			continue
		case 10*c[looksNumber] >= 8*total:
			out[i] = looksNumber
		case 10*c[looksTime] >= 8*total:
			out[i] = looksTime
		case 10*c[looksAddress] >= 8*total:
			out[i] = looksAddress
		case 10*(c[looksCode]+c[looksNumber]) >= 8*total:
			out[i] = looksCode
		default:
			out[i] = looksText
		}
	}
	return out
}

// isYear reports whether a cell is a year, which a header may hold.
func isYear(c []byte) bool {
	c = bytes.TrimSpace(c)
	return len(c) == 4 && allDigits(c) && (c[0] == '1' && c[1] >= '8' || c[0] == '2' && c[1] <= '1')
}

// header tells whether the first row, or the first few, name the columns.
func (f *finder) header(rows []sampleRow, width int) {
	g := f.given
	if g.NoHeader || g.Header > 0 || len(g.Columns) > 0 || len(rows) == 0 {
		return
	}
	o := &f.found.Options
	if f.trailing(rows, width) {
		return
	}
	first, body := rows[0], rows[1:]
	if first.bad || len(first.cells) != width {
		f.note(NoteHeader, "true", "assumed: the first row is of another form than the rest")
		return
	}
	looks := columnLooks(body, width)
	votes, names, data := 0.0, []string{}, []string{}
	for i, c := range first.cells {
		column, here := looks[i], lookOf(c)
		at := strconv.Itoa(i + 1)
		switch {
		case here == looksEmpty || here == looksNumber && isYear(c) && !manyYears(body, i, width):
		case here.strict() && (column == here || len(body) == 0):
			votes--
			data = append(data, at)
		case here.strict():
			votes -= 0.5
		case column.strict():
			votes++
			names = append(names, at)
		case column == looksCode && here == looksText:
			votes += 0.5
			names = append(names, at)
		case column == looksCode && here == looksCode, repeats(body, i, width, c):
			votes -= 0.5
			data = append(data, at)
		}
	}
	switch {
	case votes < 0:
		o.NoHeader = true
		why := "the first row holds data like the rows below it"
		if len(data) > 0 {
			why = "the first row holds data, in column " + few(data)
		}
		f.note(NoteHeader, "false", "%s", why)
	case votes > 0:
		if n := f.headerRows(rows, width); n > 1 {
			o.Header = n
			f.note(NoteHeader, strconv.Itoa(n), "the first %d rows hold words where the rows below them hold data; their words are joined by a blank", n)
			return
		}
		f.note(NoteHeader, "true", "the first row holds a name where the rows below it hold data, in column %s", few(names))
	default:
		f.note(NoteHeader, "true", "assumed: nothing tells the first row from the others")
	}
}

// few joins the first few of s.
func few(s []string) string {
	const most = 6
	if len(s) > most {
		return strings.Join(s[:most], ", ") + ", \u2026"
	}
	return strings.Join(s, ", ")
}

// manyYears reports whether a column is one of years.
func manyYears(rows []sampleRow, column, width int) bool {
	years, n := 0, 0
	for _, r := range rows[:min(len(rows), scoredRows)] {
		if !r.bad && len(r.cells) == width && lookOf(r.cells[column]) != looksEmpty {
			n++
			if isYear(r.cells[column]) {
				years++
			}
		}
	}
	return n > 0 && 2*years > n
}

// repeats reports whether a column holds a value again and again.
func repeats(rows []sampleRow, column, width int, value []byte) bool {
	if len(value) == 0 {
		return false
	}
	n := 0
	for _, r := range rows[:min(len(rows), scoredRows)] {
		if !r.bad && len(r.cells) == width && bytes.Equal(r.cells[column], value) {
			n++
		}
	}
	return n > 0
}

// headerRows counts the rows that name the columns. A second one takes more
// than the first: two columns of data and nothing in it that looks like data.
func (f *finder) headerRows(rows []sampleRow, width int) int {
	const most = 3
	if len(rows) < most+2 {
		return 1
	}
	looks := columnLooks(rows[most:], width)
	strict := 0
	for _, l := range looks {
		if l.strict() {
			strict++
		}
	}
	if strict < 2 {
		return 1
	}
	n := 1
	for ; n < most; n++ {
		r := rows[n]
		if r.bad || len(r.cells) != width || r.gap {
			break
		}
		words := 0
		for i, c := range r.cells {
			here := lookOf(c)
			if here.strict() || here == looksEmpty && len(bytes.TrimSpace(c)) > 0 {
				return n
			}
			if looks[i].strict() && here != looksEmpty {
				words++
			}
		}
		if words < 2 || 2*words < strict {
			break
		}
	}
	return n
}

// trailing finds rows that end with a delimiter where the header does not: the
// empty cell behind it gets a name.
func (f *finder) trailing(rows []sampleRow, width int) bool {
	if width < 3 || len(rows) < 2 || rows[0].bad || len(rows[0].cells) != width-1 || !hasNames(rows[0]) {
		return false
	}
	for _, r := range rows[1:] {
		if !r.bad && len(r.cells) == width && len(r.cells[width-1]) > 0 {
			return false
		}
	}
	names := make([]string, 0, width)
	for _, c := range rows[0].cells {
		names = append(names, string(c))
	}
	names = append(names, "column_"+strconv.Itoa(width))
	o := &f.found.Options
	o.Header, o.Columns = 1, names
	f.note(NoteHeader, "true", "the first row holds no data")
	f.note(NoteColumns, "["+strings.Join(quotedAll(names), ", ")+"]", "the rows end with a delimiter and the header does not: %d cells below %d names", width, width-1)
	return true
}

func quotedAll(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = strconv.Quote(n)
	}
	return out
}

// remarks are what a person should know, and what changes nothing.
func (f *finder) remarks(rows []sampleRow, width int) {
	if f.found.Options.NoHeader {
		f.decimals(rows, width)
	} else if len(rows) > 1 {
		f.decimals(rows[1:], width)
	}
	f.tables(rows, width)
	f.total(rows, width)
}

// decimals notes numbers with a decimal comma.
func (f *finder) decimals(rows []sampleRow, width int) {
	commas, points, columns := 0, 0, []string{}
	for i := range width {
		here := 0
		for _, r := range rows[:min(len(rows), scoredRows)] {
			if r.bad || len(r.cells) != width {
				continue
			}
			switch decimalMark(r.cells[i]) {
			case ',':
				here++
			case '.':
				points++
			}
		}
		if commas += here; here > 0 {
			columns = append(columns, strconv.Itoa(i+1))
		}
	}
	if commas > 0 && commas > points {
		f.note(NoteDecimal, ",", "%d cells hold a decimal comma, in column %s; they are delivered as they stand", commas, few(columns))
	}
}

// tables notes where another table begins.
func (f *finder) tables(rows []sampleRow, width int) {
	if width < 2 {
		return
	}
	for i := 2; i+1 < len(rows); i++ {
		r, next := rows[i], rows[i+1]
		if r.bad || next.bad || len(r.cells) < 2 {
			continue
		}
		fits := func(r sampleRow) bool { return !r.bad && len(r.cells) == width }
		other := len(r.cells) != width && (r.gap || !slices.ContainsFunc(rows[i:], fits) && slices.ContainsFunc(rows[1:i], fits)) && len(next.cells) == len(r.cells) && (i+2 == len(rows) || len(rows[i+2].cells) == len(r.cells))
		again := !f.found.Options.NoHeader && bytes.Equal(r.raw, rows[0].raw)
		if !again && r.gap && len(r.cells) == width && hasNames(r) && hasStrict(next, rows[1:i], width) && !hasStrict(r, rows[1:i], width) {
			again = true
		}
		switch {
		case other:
			f.note(NoteTables, "2", "rows of %d cells begin on line %d: another table; they are rejected, as they do not fit the %d columns", len(r.cells), r.line, width)
			return
		case again:
			f.note(NoteTables, "2", "line %d looks like a header once more: another table of as many columns; its header is read as a row", r.line)
			return
		}
	}
}

// total notes a last row that sums up the others.
func (f *finder) total(rows []sampleRow, width int) {
	if f.cut || len(rows) < 3 || f.given.SkipFooter > 0 {
		return
	}
	last := rows[len(rows)-1]
	word := ""
	for _, c := range last.cells {
		if c = bytes.TrimSpace(c); len(c) > 0 {
			word = strings.ToLower(strings.TrimRight(string(c), " :"))
			break
		}
	}
	for _, w := range []string{"total", "totals", "grand total", "subtotal", "sum", "summe", "gesamt", "gesamtsumme", "insgesamt", "totale", "totaal", "suma", "razem", "somme", "yhteens\u00E4"} {
		if word == w || strings.HasPrefix(word, w+" ") {
			f.note(NoteTotal, f.quote(last.raw), "line %d looks like a total of the rows above; `skip_footer: 1` leaves it out", last.line)
			return
		}
	}
	if !last.bad && len(last.cells) < width && width > 2 && last.gap {
		f.note(NoteTotal, f.quote(last.raw), "line %d is shorter than the rows; `skip_footer: 1` leaves it out", last.line)
	}
}
