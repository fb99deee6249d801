package xlsxfmt

import (
	"fmt"
	"strconv"
	"strings"

	"ingestd/ingest"
)

// The bounds of a worksheet (ECMA-376 part 1, section 18.3.1.73; Excel's own).
const (
	maxRows = 1 << 20
	maxCols = 1 << 14
)

// Options say which cells of a workbook are the records.
type Options struct {
	Sheet     string        // a name, or a number from 1; "" = the first visible worksheet
	HeaderRow int           // the row of the names, from 1; 0 = the first row that holds anything
	NoHeader  bool          // there is none: fields are column_1, column_2, …
	Range     string        // "A1:K5000", "A:K", "2:5000"; "" = all
	Password  ingest.Secret // of an encrypted workbook
	Limits    Limits
}

// Limits bound what a workbook may cost; zero fields take the defaults.
type Limits struct {
	Members  int   // files in the workbook's zip; 2,000
	Unzipped int64 // bytes of all members together, unpacked; 2 GiB
	Ratio    int64 // unpacked to packed size of a member over 32 MiB; 500
	Strings  int64 // bytes of memory for the shared strings; 512 MiB
	Field    int   // bytes of one text; 8 MiB, at most 16 MiB
	Record   int   // bytes of all texts of a row; 16 MiB
	Output   int64 // bytes of all rows together; 10 GiB
}

const maxField = 1<<24 - 1 // what a shared string's location can hold

func (l Limits) withDefaults() Limits {
	def(&l.Members, 2000)
	def(&l.Unzipped, 2<<30)
	def(&l.Ratio, 500)
	def(&l.Strings, 512<<20)
	def(&l.Field, 8<<20)
	def(&l.Record, 16<<20)
	def(&l.Output, 10<<30)
	l.Field = min(l.Field, maxField)
	return l
}

func def[T int | int64](p *T, v T) {
	if *p <= 0 {
		*p = v
	}
}

// Check reports what is wrong with the options themselves. The error begins
// with the option's key in the configuration.
func (o Options) Check() error {
	if o.HeaderRow < 0 || o.HeaderRow > maxRows {
		return fmt.Errorf("header_row: %d is not within 0 and %d", o.HeaderRow, maxRows)
	}
	if o.NoHeader && o.HeaderRow > 0 {
		return fmt.Errorf("header_row: %d, and none at once", o.HeaderRow)
	}
	_, err := parseArea(o.Range)
	return err
}

// An area is a rectangle of cells, both ends included.
type area struct {
	firstRow, lastRow int
	firstCol, lastCol int
}

func (a area) hasRow(n int) bool { return n >= a.firstRow && n <= a.lastRow }
func (a area) hasCol(n int) bool { return n >= a.firstCol && n <= a.lastCol }

// parseArea reads a range as Excel writes it: A1:K5000, $A$1:$K$5000, A:K
// (whole columns), 2:5000 (whole rows) or B7 (one cell). "" is everything.
func parseArea(s string) (area, error) {
	a := area{1, maxRows, 1, maxCols}
	if s == "" {
		return a, nil
	}
	bad := func() (area, error) {
		return area{}, fmt.Errorf("range: %q is no range of cells such as A1:K5000", s)
	}
	from, to, two := strings.Cut(strings.ReplaceAll(s, "$", ""), ":")
	if !two {
		to = from
	}
	c1, r1, ok1 := parseCorner(from)
	c2, r2, ok2 := parseCorner(to)
	// Both corners must name the same things, and one of them at least; a
	// single corner must be a cell.
	if !ok1 || !ok2 || (c1 == 0) != (c2 == 0) || (r1 == 0) != (r2 == 0) || !two && (c1 == 0 || r1 == 0) {
		return bad()
	}
	if c1 > 0 {
		a.firstCol, a.lastCol = min(c1, c2), max(c1, c2)
	}
	if r1 > 0 {
		a.firstRow, a.lastRow = min(r1, r2), max(r1, r2)
	}
	return a, nil
}

// parseCorner reads "K50", "K" or "50"; what is not there is 0.
func parseCorner(s string) (col, row int, ok bool) {
	n := 0
	for n < len(s) && (s[n]|0x20) >= 'a' && (s[n]|0x20) <= 'z' {
		n++
	}
	if n > 0 {
		if col = colNumber(s[:n]); col == 0 {
			return 0, 0, false
		}
	}
	if n < len(s) {
		v, err := strconv.ParseUint(s[n:], 10, 32)
		if err != nil || v < 1 || v > maxRows {
			return 0, 0, false
		}
		row = int(v)
	}
	return col, row, len(s) > 0
}

// colNumber is the number of the column with these letters, 0 if there is none.
func colNumber[T string | []byte](letters T) int {
	n := 0
	for i := range len(letters) {
		c := letters[i] | 0x20
		if c < 'a' || c > 'z' {
			return 0
		}
		if n = n*26 + int(c-'a') + 1; n > maxCols {
			return 0
		}
	}
	return n
}

// colName is the letters of column n, from 1.
func colName(n int) string {
	var b [4]byte
	i := len(b)
	for ; n > 0; n = (n - 1) / 26 {
		i--
		b[i] = byte('A' + (n-1)%26)
	}
	return string(b[i:])
}

// cellName is a cell's address, such as "C7".
func cellName(col, row int) string { return colName(col) + strconv.Itoa(row) }
