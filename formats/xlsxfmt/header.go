package xlsxfmt

import (
	"fmt"
	"strconv"
	"unicode/utf8"
)

// widestGap is how many unnamed columns may lie between two of a header and
// still have a field each in every record. Columns in a wider gap have one
// where a cell holds something.
const widestGap = 64

// maxNotes bounds the notes about single names.
const maxNotes = 20

// A header is the columns that every record has, and the names of others.
type header struct {
	known   bool
	columns []column       // by rising number
	used    map[string]int // for each name, how many were made from it
	others  map[int]string // names of columns that only some records have
}

// A column is a field of every record.
type column struct {
	number int // of the sheet, from 1
	name   string
}

// take reads the names from the header row, or, where there is none, the
// width from the first row.
func (h *header) take(r *reader, w *row) error {
	h.begin()
	prev, notes := r.area.firstCol-1, 0
	for i := range w.cells {
		c := &w.cells[i]
		if !utf8.Valid(c.raw) {
			return refuseAt(w.number, c.col, "the header is unreadable: %s", w.fault)
		}
		if c.col-prev-1 <= widestGap {
			for n := prev + 1; n < c.col; n++ {
				name := h.name(n, "")
				h.columns = append(h.columns, column{n, name})
				if notes++; notes <= maxNotes && !r.opts.NoHeader {
					r.note("header", name, "cell "+cellName(n, w.number)+" is empty")
				}
			}
		}
		prev = c.col
		text := string(c.raw)
		if r.opts.NoHeader {
			text = ""
		}
		name := h.name(c.col, text)
		h.columns = append(h.columns, column{c.col, name})
		if text != "" && name != text {
			if notes++; notes <= maxNotes {
				r.note("header", name, fmt.Sprintf("cell %s says %q again", cellName(c.col, w.number), text))
			}
		}
	}
	if notes > maxNotes {
		r.note("header", "", fmt.Sprintf("%d more empty or repeated names", notes-maxNotes))
	}
	return nil
}

func (h *header) begin() {
	h.known = true
	h.used = make(map[string]int)
}

// name makes a name unique: column_N for the empty one, name_2 for the second.
func (h *header) name(col int, text string) string {
	if text == "" {
		text = "column_" + strconv.Itoa(col)
	}
	name, n := text, max(1, h.used[text])
	for h.used[name] > 0 {
		n++
		name = text + "_" + strconv.Itoa(n)
	}
	h.used[text] = n
	h.used[name] = max(1, h.used[name])
	return name
}

// other is the name of a column that the header does not have.
func (h *header) other(col int) string {
	if name, ok := h.others[col]; ok {
		return name
	}
	if h.others == nil {
		h.others = make(map[int]string)
	}
	h.others[col] = h.name(col, "")
	return h.others[col]
}

func (h *header) names() []string {
	if !h.known {
		return nil
	}
	names := make([]string, len(h.columns))
	for i, c := range h.columns {
		names[i] = c.name
	}
	return names
}

// wants reports whether w is for the header, or before it, rather than a
// record, and takes it if so.
func (h *header) wants(r *reader, w *row) (bool, error) {
	if h.known {
		return w.number == r.opts.HeaderRow, nil
	}
	asked := r.opts.HeaderRow
	switch {
	case r.opts.NoHeader:
		r.note("header row", "none", "as configured; the width is row "+strconv.Itoa(w.number)+"'s")
		return false, h.take(r, w)
	case asked == 0:
		why := "the first row that holds anything"
		if r.opts.Range != "" {
			why += " in " + r.opts.Range
		}
		r.note("header row", strconv.Itoa(w.number), why)
		return true, h.take(r, w)
	case w.number < asked:
		return true, nil
	case w.number == asked:
		r.note("header row", strconv.Itoa(asked), "as configured")
		return true, h.take(r, w)
	}
	r.note("header row", strconv.Itoa(asked), "as configured; it is empty")
	h.begin()
	return false, nil
}

// finish says at the sheet's end that there was no header.
func (h *header) finish(r *reader) {
	switch {
	case h.known:
		return
	case r.opts.HeaderRow > 0:
		r.note("header row", strconv.Itoa(r.opts.HeaderRow), "as configured; the sheet ends before it")
	default:
		r.note("header row", "none", "the sheet holds nothing")
	}
	h.begin()
}
