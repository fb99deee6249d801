// Package shape turns a source's records into a target's: which fields go out,
// under which names, and which values make two records the same.
//
// It promises:
//
//   - What a pipeline asks for is compiled once, by Compile, and every mistake
//     is found there, each as an *Error that names its place in the config.
//   - A header that lacks a needed field is told before the first record, with
//     the nearest name that the header has (Shape.Check).
//   - Shaping costs no allocation per record and no map: a Binding resolves
//     names to column numbers once for a run of records with the same names.
//     Where no fields are configured the record's own fields go out untouched.
//   - Values are never altered: digits, spaces and case go out as they came.
//   - A key depends on the texts of its fields and on nothing else, so that "1"
//     from a CSV and 1 from a workbook are one key (see key.go).
//
// A name is a column first, matched exactly, then without surrounding white
// space; a dotted path into an object or list second: "customer.address.city",
// "lines.0.sku".
package shape

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Options is what a pipeline says under `record`.
type Options struct {
	// Key names the fields that make two records the same; ["*"] is the whole
	// record, none means that records are not deduplicated.
	Key []string
	// Rest lets fields that are not named in Fields come along, in the order of
	// the file, after the named ones.
	Rest bool
	// Fields are what goes out, in this order; none means every field as it came.
	Fields []Field
}

// A Field is one field that goes out.
type Field struct {
	Name     string // as it goes out
	From     string // the source's name or path; "" = Name
	Optional bool   // left out where the source has none, instead of a fault
}

// An Error is one mistake in the config.
type Error struct {
	// Path is the place in the config, below the pipeline: record.key[0],
	// record.fields.id, record.fields["Artikel-Nr."].
	Path    string
	Message string // what is wrong, for people
}

func (e *Error) Error() string { return e.Path + ": " + e.Message }

// A Shape is a compiled Options. It is safe for concurrent use.
type Shape struct {
	keys   []name
	whole  bool // key ["*"]
	fields []field
	taken  map[string]bool // names that go out by Fields; nil without rest
	rest   bool
}

// A name is a source name, ready to be looked up.
type name struct {
	text    string
	trimmed string
	segs    []string // more than one where it may be a path
}

type field struct {
	name
	out      string
	optional bool
	fault    string // where it is absent
}

// whole is the key that stands for every field.
const whole = "*"

// maxSegments bounds a path: values are not nested deeper than readers allow.
const maxSegments = 64

// Compile checks o and makes it ready. All mistakes come back at once, joined;
// each is an *Error.
func Compile(o Options) (*Shape, error) {
	s := &Shape{}
	var errs []error
	bad := func(path, format string, args ...any) {
		errs = append(errs, &Error{Path: path, Message: fmt.Sprintf(format, args...)})
	}

	seen := map[string]bool{}
	for i, k := range o.Key {
		path := "record.key[" + strconv.Itoa(i) + "]"
		switch {
		case strings.TrimSpace(k) == "":
			bad(path, "an empty name; name a field of the source, or \"*\" for the whole record")
		case k == whole && len(o.Key) > 1:
			bad(path, "\"*\" is the whole record and stands alone")
		case k == whole:
			s.whole = true
		case seen[k]:
			bad(path, "%q is named twice", k)
		default:
			n, err := compileName(k)
			if err != "" {
				bad(path, "%s", err)
			}
			s.keys = append(s.keys, n)
		}
		seen[k] = true
	}

	if len(o.Fields) > 0 {
		s.rest = o.Rest
		s.taken = make(map[string]bool, len(o.Fields))
	}
	for _, f := range o.Fields {
		path := fieldPath(f.Name)
		switch {
		case f.Name == "":
			bad("record.fields", "a field without a name")
			continue
		case s.taken[f.Name]:
			bad(path, "%q goes out twice", f.Name)
			continue
		case strings.Contains(f.Name, "."):
			bad(path, "a name that goes out may not hold a dot; dots are for paths into the source (from)")
		}
		s.taken[f.Name] = true
		from := f.From
		if from == "" {
			from = f.Name
		}
		n, err := compileName(from)
		if err != "" {
			bad(path, "%s", err)
		}
		s.fields = append(s.fields, field{
			name: n, out: f.Name, optional: f.Optional, fault: "no field " + from,
		})
	}

	if errs != nil {
		return nil, errors.Join(errs...)
	}
	return s, nil
}

func fieldPath(name string) string {
	plain := strings.IndexFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-'
	}) < 0
	if plain {
		return "record.fields." + name
	}
	return "record.fields[" + strconv.Quote(name) + "]"
}

func compileName(text string) (n name, mistake string) {
	n = name{text: text, trimmed: strings.TrimSpace(text)}
	if n.trimmed == "" {
		return n, "an empty name; name a field of the source"
	}
	n.segs = strings.Split(text, ".")
	if len(n.segs) > maxSegments {
		return n, fmt.Sprintf("a path of %d steps; at most %d", len(n.segs), maxSegments)
	}
	return n, ""
}

// Keyed reports whether records have keys at all.
func (s *Shape) Keyed() bool { return s.whole || len(s.keys) > 0 }
