package config

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"ingestd/ingest"

	"github.com/bmatcuk/doublestar/v4"
)

// A scalar is a single value with a type of its own.
type scalar[T any] struct {
	p      *T
	want   string // "a duration such as 2s", for messages
	name   string // for the reference
	parse  func(string) (T, error)
	format func(T) string // "" = not set
}

func (s scalar[T]) decode(d *decoder, n *node, path string) {
	text, ok := d.scalar(n, path, s.want)
	if !ok {
		return
	}
	v, err := s.parse(text)
	if err != nil {
		d.problem(n, path, fmt.Sprintf("`%s`: %s %s", d.name(path), n.quote(), err), "")
		return
	}
	*s.p = v
}

func (s scalar[T]) encode(dst []byte) ([]byte, bool) {
	text := s.format(*s.p)
	if text == "" {
		return dst, false
	}
	return ingest.AppendString(dst, []byte(text)), true
}

func (s scalar[T]) typ() string { return s.name }

// duration takes a time.Duration of at least low.
func duration(p *time.Duration, low time.Duration) target {
	return scalar[time.Duration]{
		p: p, want: "a duration such as 2s", name: "duration", format: formatDuration,
		parse: func(s string) (time.Duration, error) {
			v, err := parseDuration(s)
			if err == nil && v < low {
				return 0, fmt.Errorf("is too short; the least is %s", formatDuration(low))
			}
			return v, is(err)
		},
	}
}

// is puts a verb before an error that begins with what a value is not.
func is(err error) error {
	if err == nil {
		return nil
	}
	switch s := err.Error(); {
	case len(s) > 3 && s[:3] == "no ":
		return fmt.Errorf("is %w", err)
	}
	return err
}

// size takes a number of bytes of at least low.
func size(p *int64, low int64) target {
	return scalar[int64]{
		p: p, want: "a size such as 64KiB or 10MB", name: "size", format: formatSize,
		parse: func(s string) (int64, error) {
			v, err := parseSize(s)
			if err == nil && v < low {
				return 0, fmt.Errorf("is too small; the least is %s", formatSize(low))
			}
			return v, is(err)
		},
	}
}

// parsed takes a value of a type with a parser and a String method.
func parsed[T fmt.Stringer](p *T, name, want string, parse func(string) (T, error)) target {
	return scalar[T]{
		p: p, want: want, name: name, format: func(v T) string { return v.String() },
		parse: func(s string) (T, error) {
			v, err := parse(s)
			return v, is(err)
		},
	}
}

func percent(p *float64) target {
	return scalar[float64]{
		p: p, want: "a percentage such as 20%", name: "percentage", format: formatPercent,
		parse: func(s string) (float64, error) {
			v, err := parsePercent(s)
			return v, is(err)
		},
	}
}

// A text is any single value, as its characters stand in the file.
type text struct {
	p     *string
	empty bool // may be empty
	name  string
	nulls bool // null, ~ and NULL are texts too
	check func(string) error
}

func (t text) decode(d *decoder, n *node, path string) {
	if t.nulls && n.null && n.text != "" {
		*t.p = n.text
		return
	}
	s, ok := d.scalar(n, path, "a text")
	if !ok {
		return
	}
	if s == "" && !t.empty {
		d.problem(n, path, fmt.Sprintf("`%s` is empty", d.name(path)), "")
		return
	}
	if t.check != nil {
		if err := t.check(s); err != nil {
			d.problem(n, path, fmt.Sprintf("`%s`: %s %s", d.name(path), n.quote(), err), "")
			return
		}
	}
	*t.p = s
}

func (t text) encode(dst []byte) ([]byte, bool) {
	if *t.p == "" && !t.empty {
		return dst, false
	}
	return ingest.AppendString(dst, []byte(*t.p)), true
}

func (t text) typ() string {
	if t.name != "" {
		return t.name
	}
	return "text"
}

func words(p *string) text { return text{p: p} }

// maxPath bounds a path, in bytes, as Linux does.
const maxPath = 4096

func notLong(most int) func(string) error {
	return func(s string) error {
		if len(s) > most {
			return fmt.Errorf("is longer than %d bytes", most)
		}
		return nil
	}
}

// glob takes a doublestar glob.
func glob(p *string) target {
	return text{p: p, name: "glob", check: func(s string) error {
		if len(s) > maxGlob {
			return fmt.Errorf("is longer than %d bytes", maxGlob)
		}
		if !doublestar.ValidatePattern(s) {
			return fmt.Errorf("is no valid glob; `[`, `{` and `\\` need their partners")
		}
		return nil
	}}
}

// A location is a path on this machine; a relative one starts from the config
// file's directory.
type location struct{ p *string }

func (l location) decode(d *decoder, n *node, path string) {
	text{p: l.p, check: notLong(maxPath)}.decode(d, n, path)
	if *l.p != "" && !filepath.IsAbs(*l.p) {
		*l.p = filepath.Join(d.dir, *l.p)
	}
}

func (l location) encode(dst []byte) ([]byte, bool) { return text{p: l.p}.encode(dst) }
func (l location) typ() string                      { return "path" }

// A secret's value is never shown.
type secret struct{ p *ingest.Secret }

func (s secret) decode(d *decoder, n *node, path string) {
	d.hide(n)
	v, ok := d.scalar(n, path, "a text")
	if !ok {
		return
	}
	if v == "" {
		d.problem(n, path, fmt.Sprintf("`%s` is empty", d.name(path)), "")
		return
	}
	if !n.interpolated() && n.src != nil {
		d.literals = append(d.literals, n)
	}
	*s.p = ingest.NewSecret(v)
}

func (secret) encode(dst []byte) ([]byte, bool) { return dst, false }
func (secret) typ() string                      { return "secret" }
func (secret) secret() bool                     { return true }

type boolean struct{ p *bool }

func (b boolean) decode(d *decoder, n *node, path string) {
	s, ok := d.scalar(n, path, "true or false")
	if !ok {
		return
	}
	v, err := strconv.ParseBool(s)
	if err != nil || len(s) < 4 || !n.plain && !n.interpolated() {
		d.problem(n, path, fmt.Sprintf("`%s` must be true or false, not %s", d.name(path), n.quote()), "")
		return
	}
	*b.p = v
}

func (b boolean) encode(dst []byte) ([]byte, bool) { return strconv.AppendBool(dst, *b.p), true }
func (boolean) typ() string                        { return "true, false" }

// An integer lies between low and high.
type integer struct {
	p         *int
	low, high int
}

func (i integer) decode(d *decoder, n *node, path string) {
	s, ok := d.scalar(n, path, "a number")
	if !ok {
		return
	}
	v, err := strconv.Atoi(s)
	switch {
	case err != nil || !n.plain && !n.interpolated():
		d.problem(n, path, fmt.Sprintf("`%s` must be a whole number, not %s", d.name(path), n.quote()), "")
	case v < i.low || v > i.high:
		d.problem(n, path, fmt.Sprintf("`%s` must be between %d and %d, not %s", d.name(path), i.low, i.high, n.quote()), "")
	default:
		*i.p = v
	}
}

func (i integer) encode(dst []byte) ([]byte, bool) {
	if *i.p == 0 && i.low > 0 {
		return dst, false
	}
	return strconv.AppendInt(dst, int64(*i.p), 10), true
}
func (integer) typ() string { return "number" }

// A choice is one of a few words.
type choice struct {
	p     *string
	from  []string
	later []string // valid too, but not acted on by this build
}

func oneOf(p *string, from ...string) choice { return choice{p: p, from: from} }

func (c choice) notYet(words ...string) choice {
	c.later = words
	return c
}

func (c choice) valid() []string { return append(slices.Clone(c.from), c.later...) }

func (c choice) decode(d *decoder, n *node, path string) {
	s, ok := d.scalar(n, path, either(c.valid()))
	if !ok {
		return
	}
	if !slices.Contains(c.valid(), s) {
		hint := didYouMean(s, c.valid())
		message := fmt.Sprintf("`%s` is %s, not %s", d.name(path), either(c.valid()), n.quote())
		d.problem(n, path, message, hint)
		return
	}
	if slices.Contains(c.later, s) {
		d.unsupported(n, fmt.Sprintf("`%s: %s`", d.name(path), s))
	}
	*c.p = s
}

func (c choice) encode(dst []byte) ([]byte, bool) { return words(c.p).encode(dst) }
func (c choice) typ() string                      { return "" } // the words themselves say it

// A literal is any value, kept as compact JSON: a number keeps its digits, map
// keys their order.
type literal struct{ p *json.RawMessage }

func (l literal) decode(d *decoder, n *node, path string) {
	if d.bad(n) {
		d.failed[path] = true
		return
	}
	*l.p = appendJSON(nil, n)
}

// bad reports whether some value in n could not be filled in.
func (d *decoder) bad(n *node) bool {
	return d.broken[n] ||
		slices.ContainsFunc(n.entries, func(e entry) bool { return d.bad(e.value) }) ||
		slices.ContainsFunc(n.items, d.bad)
}

func appendJSON(dst []byte, n *node) []byte {
	switch n.kind {
	case mapNode:
		dst = append(dst, '{')
		for i, e := range n.entries {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(ingest.AppendString(dst, []byte(e.key.text)), ':')
			dst = appendJSON(dst, e.value)
		}
		return append(dst, '}')
	case listNode:
		dst = append(dst, '[')
		for i, item := range n.items {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendJSON(dst, item)
		}
		return append(dst, ']')
	}
	switch {
	case n.null:
		return append(dst, "null"...)
	case n.plain && !n.interpolated() && (n.text == "true" || n.text == "false" || n.text != "" && n.text[0] != '"' && json.Valid([]byte(n.text))):
		return append(dst, n.text...)
	}
	return ingest.AppendString(dst, []byte(n.text))
}

func (l literal) encode(dst []byte) ([]byte, bool) {
	if *l.p == nil {
		return dst, false
	}
	return append(dst, *l.p...), true
}
func (literal) typ() string { return "any value" }
