package xlsxfmt

import (
	"fmt"
	"strconv"

	"ingestd/ingest"
)

// take adds the cell whose text was just collected in s.t to the row.
func (s *sheet) take(r *row, col int, typ cellType, xf int) error {
	switch typ {
	case typeShared:
		return s.takeShared(r, col)
	case typeInline, typeFormula:
		v, bad := s.t.finish()
		r.scratch = s.t.buf
		s.put(r, col, ingest.String, v, bad)
		return nil
	}
	// The rest has no escapes.
	r.scratch = s.t.buf
	v, bad := s.t.literal()
	if bad != "" {
		s.put(r, col, ingest.String, v, bad)
		return nil
	}
	if typ == typeNumber && isNumber(v) {
		s.takeNumber(r, col, v, xf)
		return nil
	}
	if v = trim(v); len(v) == 0 {
		return nil
	}
	switch typ {
	case typeNumber:
		if n, ok := number(v); ok {
			s.takeNumber(r, col, n, xf)
			return nil
		}
		s.put(r, col, ingest.String, v, fmt.Sprintf("holds %.50q where a number must stand", v))
	case typeBool:
		switch string(v) {
		case "1", "true":
			s.putBool(r, col, "true")
		case "0", "false":
			s.putBool(r, col, "false")
		default:
			s.put(r, col, ingest.String, v, fmt.Sprintf("holds %.50q where true or false must stand", v))
		}
	case typeError:
		if string(v) == "#N/A" {
			r.marked = true
			return nil
		}
		s.put(r, col, ingest.String, v, fmt.Sprintf("holds the error %.50s", v))
	case typeDate:
		why := ""
		if !isISODate(v) {
			why = fmt.Sprintf("holds %.50q where a date must stand", v)
		}
		s.put(r, col, ingest.String, v, why)
	default:
		s.put(r, col, ingest.String, v, "is of a type that workbooks do not have")
	}
	return nil
}

// takeShared adds the shared string whose number was collected.
func (s *sheet) takeShared(r *row, col int) error {
	v := s.t.buf[s.t.from:]
	if len(trim(v)) == 0 {
		return nil
	}
	i := index(v, len(s.strings.places))
	if i < 0 {
		return refuseAt(r.number, col, "cell %s refers to the shared string %.20q, and the workbook has %d of them",
			cellName(col, r.number), v, len(s.strings.places))
	}
	text, bad := s.strings.get(i)
	s.put(r, col, ingest.String, text, bad)
	return nil
}

// takeNumber adds a number, or the date or time it stands for.
func (s *sheet) takeNumber(r *row, col int, v []byte, xf int) {
	var st style
	if xf >= 0 && xf < len(s.styles) {
		st = s.styles[xf]
	} else if s.styled && xf != 0 {
		st.shape = unknown
	}
	switch st.shape {
	case plain:
		s.put(r, col, ingest.Number, v, "")
		return
	case unknown:
		s.put(r, col, ingest.Number, v, "has a style that the workbook does not define, so that it may be a number or a date")
		return
	}
	f, err := strconv.ParseFloat(string(v), 64)
	if err == nil {
		from := len(r.scratch)
		if out, ok := appendSerial(r.scratch, f, st, s.is1904); ok {
			r.scratch = out
			s.put(r, col, ingest.String, out[from:], "")
			return
		}
	}
	system := 1900
	if s.is1904 {
		system = 1904
	}
	s.put(r, col, ingest.Number, v, fmt.Sprintf("holds %.50s as a date, and the %d date system has none for it", v, system))
}

func (s *sheet) putBool(r *row, col int, v string) {
	from := len(r.scratch)
	r.scratch = append(r.scratch, v...)
	s.put(r, col, ingest.Bool, r.scratch[from:], "")
}

// put adds a value, unless it is an empty text, which is no value. bad says
// why it makes the row a fault, and reads on from "cell C7".
func (s *sheet) put(r *row, col int, kind ingest.Kind, v []byte, bad string) {
	if bad != "" {
		r.blame(col, "cell "+cellName(col, r.number)+" "+bad)
	}
	if len(v) == 0 {
		return
	}
	if r.size += len(v); r.size > s.limits.Record {
		r.blame(col, fmt.Sprintf("the row holds more than %d bytes", s.limits.Record))
		return
	}
	r.cells = append(r.cells, cell{col, kind, v})
}
