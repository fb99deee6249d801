package shape

import (
	"cmp"
	"slices"
	"strings"
	"unsafe"

	"ingestd/ingest"
)

// A pick says where in a record a name's value stands.
type pick struct {
	col  int      // -1: nowhere
	segs []string // the path below the column; nil: the column itself
}

// A layout is a Shape's names resolved against one order of field names.
type layout struct {
	names []string // whose layout this is
	keys  []pick
	out   []pick
	rest  []int // columns that come along
	order []int // columns by name, for the whole record as key
}

// matches reports whether fields have the names of this layout, in its order.
// Readers hand out the same string for the same column, so a comparison is
// nearly always one of pointers.
func (l *layout) matches(fields []ingest.Field) bool {
	if len(fields) != len(l.names) {
		return false
	}
	for i := range fields {
		a, b := fields[i].Name, l.names[i]
		if len(a) != len(b) || unsafe.StringData(a) != unsafe.StringData(b) && a != b {
			return false
		}
	}
	return true
}

// resolve makes l the layout of fields, in l's own memory.
func (l *layout) resolve(s *Shape, fields []ingest.Field) {
	l.names = l.names[:0]
	for i := range fields {
		l.names = append(l.names, fields[i].Name)
	}
	l.keys = l.keys[:0]
	for i := range s.keys {
		l.keys = append(l.keys, s.keys[i].find(l.names))
	}
	l.out = l.out[:0]
	for i := range s.fields {
		l.out = append(l.out, s.fields[i].find(l.names))
	}

	l.rest = l.rest[:0]
	if s.rest {
		for i, n := range l.names {
			// A column of the same name as a field that goes out gives way to
			// it: an object with a name twice is read by nobody the same way.
			if !s.taken[n] && !l.named(i) {
				l.rest = append(l.rest, i)
			}
		}
	}

	l.order = l.order[:0]
	if s.whole {
		for i := range l.names {
			l.order = append(l.order, i)
		}
		slices.SortStableFunc(l.order, func(a, b int) int {
			return cmp.Compare(l.names[a], l.names[b])
		})
	}
}

// named reports whether a field takes column col whole.
func (l *layout) named(col int) bool {
	for i := range l.out {
		if l.out[i].col == col && l.out[i].segs == nil {
			return true
		}
	}
	return false
}

// find looks n up: a column by its exact name, a column without surrounding
// white space, then the shortest beginning of the path that is a column.
func (n *name) find(names []string) pick {
	if col := n.column(names); col >= 0 {
		return pick{col: col}
	}
	for i := 1; i < len(n.segs); i++ {
		if col := prefixColumn(n.text, n.segs[:i], names); col >= 0 {
			return pick{col: col, segs: n.segs[i:]}
		}
	}
	return pick{col: -1}
}

func (n *name) column(names []string) int { return columnOf(n.text, n.trimmed, names) }

func prefixColumn(text string, segs []string, names []string) int {
	end := len(segs) - 1 // the dots between
	for _, s := range segs {
		end += len(s)
	}
	prefix := text[:end]
	return columnOf(prefix, strings.TrimSpace(prefix), names)
}

func columnOf(exact, trimmed string, names []string) int {
	if trimmed == "" {
		return -1
	}
	if i := slices.Index(names, exact); i >= 0 {
		return i
	}
	return slices.IndexFunc(names, func(s string) bool {
		// Most names cannot match; the length says so without looking.
		return len(s) >= len(trimmed) && strings.TrimSpace(s) == trimmed
	})
}
