package csvfmt

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"ingestd/ingest"
)

const bom = "\uFEFF"

// start passes over what stands before the first row and reads the header. On
// io.EOF the file ends there.
func (r *reader) start(ctx context.Context, c *ingest.Chunk) error {
	for len(r.data) < len(bom) && r.srcErr == nil {
		if err := r.more(ctx, c); err != nil {
			return err
		}
	}
	if bytes.HasPrefix(r.data, []byte(bom)) {
		r.pos = len(bom)
	}
	for ; r.skipRows > 0 && !(r.pos == len(r.data) && r.atEnd()); r.skipRows-- {
		if err := r.skipLine(ctx, r.pos); err != nil {
			return err
		}
	}
	var rows [][]string
	for len(rows) < r.headerRows {
		row, err := r.headerRow(ctx, c)
		if err != nil {
			return err
		}
		if row == nil {
			break
		}
		rows = append(rows, row)
	}
	if len(rows) > 0 {
		names := joined(rows)
		if r.fixed && !(len(names) <= len(r.names) && slices.Equal(names, r.names[:len(names)])) {
			r.note("columns", strconv.Itoa(len(r.names)), fmt.Sprintf("named by the config; the header row reads %q", names))
		} else if !r.fixed {
			r.setNames(names)
		}
	}
	r.started = true
	return nil
}

// headerRow reads one row of names; nil where the file ends.
func (r *reader) headerRow(ctx context.Context, c *ingest.Chunk) ([]string, error) {
	for {
		s := r.skipBlank()
		var out row
		if s == took {
			c.Fields = c.Fields[:0]
			out = r.parse(c)
			s = out.state
		}
		switch s {
		case ended:
			return nil, nil
		case comment:
			if err := r.skipLine(ctx, r.pos); err != nil {
				return nil, err
			}
			continue
		case starved:
			if err := r.more(ctx, c); err != nil {
				return nil, err
			}
			continue
		case oversize:
			out.reason, out.at = fmt.Sprintf("over the record limit of %s", size(r.maxRecord)), r.pos
		}
		raw := r.data[r.pos:max(out.end, r.pos)]
		switch {
		case out.reason != "":
		case out.wide >= 0:
			out.reason, out.at = fmt.Sprintf("%d cells, over the limit of %d columns", out.cells, r.maxColumns), out.wide
		case out.large >= 0:
			out.reason, out.at = fmt.Sprintf("a cell over the limit of %s", size(r.maxField)), out.large
		case !utf8.Valid(raw):
			out.at = r.pos + invalid(raw)
			out.reason = r.unreadable(r.data[out.at]) + "; is `encoding` right?"
		}
		if out.reason != "" {
			pos := r.position(0)
			pos.Record = 0
			if n := r.lines(r.pos, out.at); n > 0 {
				pos.Line += int64(n)
			} else {
				pos.Column = out.at - r.pos + 1
			}
			return nil, &ingest.ReadError{Format: "csv", Pos: pos, Reason: "the header row cannot be read: " + out.reason}
		}
		names := make([]string, len(c.Fields))
		for i, f := range c.Fields {
			names[i] = string(f.Raw)
		}
		c.Fields = c.Fields[:0]
		r.line += int64(r.lines(r.pos, out.next))
		r.pos = out.next
		return names, nil
	}
}

// joined puts the parts of every column's name together.
func joined(rows [][]string) []string {
	if len(rows) == 1 {
		return rows[0]
	}
	var names []string
	for _, row := range rows {
		for len(names) < len(row) {
			names = append(names, "")
		}
	}
	for _, row := range rows {
		for i, part := range row {
			if part = strings.TrimSpace(part); part == "" {
				continue
			}
			if names[i] != "" {
				names[i] += " "
			}
			names[i] += part
		}
	}
	return names
}

// setNames makes names usable: none empty, no two the same, and notes what it
// changed.
func (r *reader) setNames(names []string) {
	taken := make(map[string]bool, len(names))
	for _, n := range names {
		taken[n] = true
	}
	seen := make(map[string]bool, len(names))
	next := make(map[string]int)
	unique := func(base string, n int) string {
		for ; ; n++ {
			if s := base + "_" + strconv.Itoa(n); !taken[s] {
				next[base], taken[s] = n+1, true
				return s
			}
		}
	}
	nameless := !slices.ContainsFunc(names, func(s string) bool { return s != "" })
	r.names = make([]string, len(names))
	changed := 0
	for i, n := range names {
		n = strings.Clone(n)
		switch {
		case strings.TrimSpace(n) == "":
			r.names[i] = "column_" + strconv.Itoa(i+1)
			if taken[r.names[i]] {
				r.names[i] = unique(r.names[i], 2)
			}
			taken[r.names[i]] = true
			if !nameless {
				changed++
				r.noteName(changed, r.names[i], fmt.Sprintf("column %d has no name", i+1))
			}
		case seen[n]:
			r.names[i] = unique(n, max(next[n], 2))
			changed++
			r.noteName(changed, r.names[i], fmt.Sprintf("column %d is called %q like one before it", i+1, n))
		default:
			seen[n] = true
			r.names[i] = n
		}
	}
}

// noteName notes the first few names that were made up.
func (r *reader) noteName(nth int, name, why string) {
	const most = 20
	switch {
	case nth <= most:
		r.note("name", name, why)
	case nth == most+1:
		r.note("name", "…", "and more columns without a name of their own")
	}
}

func (r *reader) note(what, value, why string) {
	r.notes = append(r.notes, ingest.Note{What: what, Value: value, Why: why})
}

// extraName is the name of the i-th cell, counted from 0, of a row that is
// longer than the header.
func (r *reader) extraName(i int) string {
	for k := len(r.names) + len(r.extra); k <= i; k++ {
		name := "column_" + strconv.Itoa(k+1)
		for n := 2; slices.Contains(r.names, name); n++ {
			name = "column_" + strconv.Itoa(k+1) + "_" + strconv.Itoa(n)
		}
		r.extra = append(r.extra, name)
	}
	return r.extra[i-len(r.names)]
}
