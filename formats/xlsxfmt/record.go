package xlsxfmt

import (
	"bytes"
	"cmp"
	"slices"

	"ingestd/ingest"
)

// take adds r.row to the chunk, as a record or a fault, or to the header.
func (r *reader) take(c *ingest.Chunk) error {
	w := &r.row
	if head, err := r.heads.wants(r, w); head || err != nil {
		return err
	}
	if !r.area.hasRow(w.number) { // a header row outside of the range
		return nil
	}
	if w.fault != "" {
		slices.SortStableFunc(w.cells, func(a, b cell) int { return cmp.Compare(a.col, b.col) })
	}
	r.record++
	pos := ingest.Position{Record: r.record, Line: int64(w.number), Offset: -1}
	first, from := len(c.Fields), len(c.Buf)
	out := assembly{c: c, prev: r.area.firstCol - 1}
	out.c.Buf = append(out.c.Buf, '[')
	i := 0
	for _, col := range r.heads.columns {
		for ; i < len(w.cells) && w.cells[i].col < col.number; i++ {
			out.add(w.cells[i], r.heads.other(w.cells[i].col))
		}
		if i < len(w.cells) && w.cells[i].col == col.number {
			out.add(w.cells[i], col.name)
			i++
		} else {
			out.add(cell{col: col.number, kind: ingest.Null}, col.name)
		}
	}
	for ; i < len(w.cells); i++ {
		out.add(w.cells[i], r.heads.other(w.cells[i].col))
	}
	c.Buf = append(c.Buf, ']')
	raw := c.Buf[from:len(c.Buf):len(c.Buf)]
	if w.fault != "" {
		c.Fields = c.Fields[:first]
		pos.Column = w.faultAt
		c.Faults = append(c.Faults, ingest.Fault{
			Pos: pos, Stage: ingest.StageParse, Reason: w.fault,
			Raw: raw[:min(len(raw), ingest.MaxRawFault)],
		})
	} else {
		c.Records = append(c.Records, ingest.Record{
			Fields: c.Fields[first:len(c.Fields):len(c.Fields)],
			Pos:    pos,
			Raw:    raw,
		})
	}
	if r.output += int64(len(raw)); r.output > r.opts.Limits.Output {
		return refuseAt(w.number, 0, "the sheet's rows take more than %d bytes", r.opts.Limits.Output)
	}
	return nil
}

// An assembly writes a row as fields and as a JSON array at once.
type assembly struct {
	c    *ingest.Chunk
	prev int // the column last added
	some bool
}

func (a *assembly) add(v cell, name string) {
	buf := a.c.Buf
	if a.some {
		buf = append(buf, ',')
	}
	a.some = true
	apart := v.col != a.prev+1
	if apart {
		buf = append(buf, '{', '"')
		buf = append(append(buf, colName(v.col)...), '"', ':')
	}
	a.prev = v.col
	from := len(buf)
	buf = ingest.AppendValue(buf, v.kind, v.raw)
	field := ingest.Field{Name: name, Kind: v.kind}
	switch {
	case v.kind == ingest.Null:
	case v.kind != ingest.String:
		field.Raw = buf[from:len(buf):len(buf)]
	case len(buf)-from == len(v.raw)+2:
		field.Raw = buf[from+1 : len(buf)-1 : len(buf)-1]
	default: // it has escapes
		field.Raw = bytes.Clone(v.raw)
	}
	if apart {
		buf = append(buf, '}')
	}
	a.c.Buf = buf
	a.c.Fields = append(a.c.Fields, field)
}
