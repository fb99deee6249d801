package xlsxfmt

import (
	"io"
	"math"
	"strconv"

	"ingestd/ingest"
)

// A row is the cells of one row that hold something, by rising column.
type row struct {
	number  int
	cells   []cell
	scratch []byte // what cells point into
	size    int    // bytes of all texts
	marked  bool   // holds a formula without a value, or #N/A: not empty, though all its cells are null
	fault   string // why it is no record; "" = it is one
	faultAt int    // the column of the cell to blame
}

// A cell is a value in its place. Raw belongs to the row or to the shared
// strings and is not to be changed.
type cell struct {
	col  int
	kind ingest.Kind
	raw  []byte
}

func (r *row) reset(number int) {
	*r = row{number: number, cells: r.cells[:0], scratch: r.scratch[:0]}
}

func (r *row) empty() bool { return len(r.cells) == 0 && !r.marked && r.fault == "" }

// blame makes the row a fault; the first reason counts.
func (r *row) blame(col int, why string) {
	if r.fault == "" {
		r.fault, r.faultAt = why, col
	}
}

// A sheet reads the rows of one worksheet in order.
type sheet struct {
	*part
	area    area
	header  int // a row outside of area that is wanted as well
	limits  Limits
	styles  []style
	styled  bool // the workbook has styles
	strings *sharedStrings
	is1904  bool

	last int // the row last begun
	t    textBuilder
}

// begin moves to the first row.
func (s *sheet) begin() error {
	if err := s.root("worksheet"); err != nil {
		return err
	}
	for {
		t, err := s.part.next()
		if err != nil {
			return s.fail(err)
		}
		switch {
		case t == endTag:
			return refuse("%s holds no <sheetData>", s.member)
		case t == startTag && string(s.name) == "sheetData":
			return nil
		case t == startTag:
			if err := s.skip(); err != nil {
				return s.fail(err)
			}
		}
	}
}

// next reads the next row that is wanted and not empty. It returns io.EOF once
// the sheet has ended as it should.
func (s *sheet) next(r *row) error {
	for {
		t, err := s.part.next()
		if err != nil {
			return s.failAt(err)
		}
		switch {
		case t == endTag:
			return s.end()
		case t == text:
			if err := s.blank(); err != nil {
				return err
			}
			continue
		case string(s.name) != "row":
			return refuseAt(s.last, 0, "%s holds a <%.50s> among its rows", s.member, s.name)
		}
		n, err := s.rowNumber()
		if err != nil {
			return err
		}
		if !s.area.hasRow(n) && n != s.header {
			if err := s.skip(); err != nil {
				return s.failAt(err)
			}
			continue
		}
		r.reset(n)
		if err := s.cells(r); err != nil {
			return s.failAt(err)
		}
		if !r.empty() {
			return nil
		}
	}
}

// end reads what comes after the rows, to the last byte: only then it is
// certain that none is missing.
func (s *sheet) end() error {
	for {
		t, err := s.part.next()
		switch {
		case err != nil:
			return s.failAt(err)
		case t == endTag:
			if err := s.drain(); err != nil {
				return s.failAt(err)
			}
			return io.EOF
		case t == startTag && string(s.name) == "sheetData":
			return refuseAt(s.last, 0, "%s holds a second <sheetData>", s.member)
		case t == startTag:
			if err := s.skip(); err != nil {
				return s.failAt(err)
			}
		}
	}
}

func (s *sheet) failAt(err error) error { return partError(s.member, s.last, err) }

// blank checks that the last token, text between elements, is white space.
func (s *sheet) blank() error {
	if len(trim(s.raw)) > 0 {
		return refuseAt(s.last, 0, "%s holds text between its cells", s.member)
	}
	return nil
}

// rowNumber is the number of the row whose start tag was the last token: the
// one it says, else one more than the last.
func (s *sheet) rowNumber() (int, error) {
	n := s.last + 1
	for i := range s.attrs {
		if a := &s.attrs[i]; string(a.name) == "r" {
			n = index(a.value, math.MaxInt32)
			if n < 1 || n > maxRows {
				return 0, refuseAt(s.last, 0, "%s holds a row %.20q, which no sheet has", s.member, a.value)
			}
			if n <= s.last {
				return 0, refuseAt(s.last, 0, "%s holds row %d after row %d", s.member, n, s.last)
			}
		}
	}
	if n > maxRows {
		return 0, refuseAt(s.last, 0, "%s holds more than %d rows", s.member, maxRows)
	}
	s.last = n
	return n, nil
}

// cells reads the cells of the row whose start tag was the last token.
func (s *sheet) cells(r *row) error {
	col := 0
	for {
		t, err := s.part.next()
		if err != nil {
			return err
		}
		switch {
		case t == endTag:
			return nil
		case t == text:
			if err := s.blank(); err != nil {
				return err
			}
			continue
		case string(s.name) != "c":
			if string(s.name) != "extLst" {
				return refuseAt(r.number, 0, "%s holds a <%.50s> among its cells", s.member, s.name)
			}
			if err := s.skip(); err != nil {
				return err
			}
			continue
		}
		if col, err = s.cell(r, col); err != nil {
			return err
		}
	}
}

// cellType is a cell's t attribute.
type cellType uint8

const (
	typeNumber cellType = iota
	typeShared
	typeInline
	typeFormula
	typeBool
	typeError
	typeDate
	typeOther
)

func parseType(v []byte) cellType {
	switch string(v) {
	case "n", "":
		return typeNumber
	case "s":
		return typeShared
	case "inlineStr":
		return typeInline
	case "str":
		return typeFormula
	case "b":
		return typeBool
	case "e":
		return typeError
	case "d":
		return typeDate
	}
	return typeOther
}

// cell reads the cell whose start tag was the last token and returns its
// column; last is the column of the one before.
func (s *sheet) cell(r *row, last int) (int, error) {
	var (
		col = last + 1
		xf  = 0
		typ cellType
		err error
	)
	for i := range s.attrs {
		switch a := &s.attrs[i]; string(a.name) {
		case "r":
			if col, err = s.column(r, a.value); err != nil {
				return 0, err
			}
		case "s":
			xf = index(a.value, math.MaxInt32)
		case "t":
			typ = parseType(a.value)
		}
	}
	if col > maxCols {
		return 0, refuseAt(r.number, 0, "%s holds a cell beyond column %s", s.member, colName(maxCols))
	}
	if !s.area.hasCol(col) {
		return col, s.skip()
	}
	if col <= last {
		r.blame(col, "cell "+cellName(col, r.number)+" comes after cell "+cellName(last, r.number))
	}
	s.t.reset(r.scratch, s.limits.Field)
	var value, inline, formula bool
	for {
		tok, err := s.part.next()
		if err != nil {
			return 0, err
		}
		if tok == endTag {
			break
		}
		if tok == text {
			if err := s.blank(); err != nil {
				return 0, err
			}
			continue
		}
		switch string(s.name) {
		case "v":
			if value || inline {
				r.blame(col, "cell "+cellName(col, r.number)+" has two values")
			}
			value = true
			err = s.readText(&s.t)
		case "is":
			if value || inline {
				r.blame(col, "cell "+cellName(col, r.number)+" has two values")
			}
			inline = true
			err = s.richText(&s.t)
		default:
			formula = formula || string(s.name) == "f"
			err = s.skip()
		}
		if err != nil {
			return 0, err
		}
	}
	switch {
	case inline:
		typ = typeInline
	case formula && !value:
		r.marked = true
		return col, nil
	}
	err = s.take(r, col, typ, xf)
	return col, err
}

// column reads a cell's address.
func (s *sheet) column(r *row, ref []byte) (int, error) {
	n := 0
	for n < len(ref) && ref[n] > '9' {
		n++
	}
	col := colNumber(ref[:n])
	num := index(ref[n:], math.MaxInt32)
	if col == 0 || num < 0 {
		return 0, refuseAt(r.number, 0, "%s holds a cell %.20q, which no sheet has", s.member, ref)
	}
	if num != r.number {
		r.blame(col, "cell "+colName(col)+strconv.Itoa(num)+" stands in row "+strconv.Itoa(r.number))
	}
	return col, nil
}
