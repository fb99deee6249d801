package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

// Bounds on one config, all its files together.
const (
	maxNodes = 100_000 // values, each use of an alias counted anew
	maxDepth = 64
)

type nodeKind uint8

const (
	scalarNode nodeKind = iota
	mapNode
	listNode
)

func (k nodeKind) String() string {
	switch k {
	case mapNode:
		return "a map"
	case listNode:
		return "a list"
	}
	return "a single value"
}

// A node is a value of the file: aliases followed, merge keys merged, ${…}
// filled in.
type node struct {
	kind  nodeKind
	src   *file // nil for defaults
	line  int
	col   int
	text  string // a scalar's value
	raw   string // a scalar as it may be shown: before ${…} was filled in
	plain bool   // a scalar without quotes, whose look gives it a type
	null  bool   // an empty value, ~ or null
	block bool   // a map or list whose first entry stands on a line of its own

	entries []entry
	items   []*node
}

// An entry is one key of a map.
type entry struct {
	key       *node
	value     *node
	inherited bool // came from the defaults block
}

func (n *node) get(name string) *node {
	for _, e := range n.entries {
		if e.key.text == name {
			return e.value
		}
	}
	return nil
}

func (n *node) set(name string, v *node) {
	for i := range n.entries {
		if n.entries[i].key.text == name {
			n.entries[i].value = v
		}
	}
}

// interpolated reports whether some of the text came from outside the file.
func (n *node) interpolated() bool { return n.kind == scalarNode && n.text != n.raw }

// quote is the value for a message.
func (n *node) quote() string {
	const most = 60
	s := n.raw
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return "`" + strings.Join(strings.Fields(printable(s)), " ") + "`"
}

// printable drops what a terminal would obey.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '?'
		}
		return r
	}, s)
}

// position is where a person looks for n: a scalar itself, a block by its key.
func position(key, n *node) *node {
	if key != nil && (n.null || n.kind != scalarNode && n.block) {
		return key
	}
	return n
}

// A reader turns YAML texts into nodes.
type reader struct {
	found  *collector
	fill   *filler // nil: ${…} stays as it is
	nodes  int
	stop   bool // a bound was passed: nothing more is read
	active map[*yaml.Node]bool
}

func (r *reader) problem(f *file, line, col int, message, hint string) {
	r.found.add(Problem{File: f.name, Line: line, Col: col, Message: message, Hint: hint, src: f})
}

// parse reads the text of f as one map, or nil where it is none.
func (r *reader) parse(f *file, text []byte) *node {
	var doc yaml.Node
	err := yaml.Load(text, &doc, yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(maxDepth))))
	if err != nil {
		r.syntax(f, err)
		return nil
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		r.problem(f, 0, 0, "the file is empty", "")
		return nil
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		r.problem(f, root.Line, root.Column, "a config is a map of keys, such as `pipelines:`", "")
		return nil
	}
	r.active = map[*yaml.Node]bool{}
	n := r.convert(f, root, 0)
	if r.stop {
		return nil
	}
	return n
}

// syntax reports what the YAML library found.
func (r *reader) syntax(f *file, err error) {
	var le *yaml.LoadError
	if !errors.As(err, &le) {
		r.problem(f, 0, 0, "not readable as YAML: "+printable(err.Error()), "")
		return
	}
	switch {
	case strings.Contains(le.Message, "no documents"):
		r.problem(f, 0, 0, "the file is empty", "")
		return
	case strings.Contains(le.Message, "found multiple"):
		r.problem(f, 0, 0, "the file holds several YAML documents; a config is one", "put further files beside it and name them under `include`")
		return
	}
	message := "YAML: "
	if le.ContextMsg != "" {
		message += le.ContextMsg
		if le.ContextMark.Line > 0 && le.ContextMark.Line != le.Mark.Line {
			message += fmt.Sprintf(" that begins at line %d", le.ContextMark.Line)
		}
		message += ": "
	}
	message += printable(le.Message)
	line, col := le.Mark.Line, le.Mark.Column
	if line > len(f.lines) || line > 1 && line == len(f.lines) && f.lines[line-1] == "" {
		// The end of the file: where the unfinished thing began says more.
		if le.ContextMark.Line > 0 {
			line, col = le.ContextMark.Line, le.ContextMark.Column
		} else {
			line, col = 0, 0
		}
	}
	r.problem(f, line, col, message, yamlHint(f, line, le.Message))
}

// yamlHint explains the mistakes that people make most.
func yamlHint(f *file, line int, message string) string {
	text := ""
	if line >= 1 && line <= len(f.lines) {
		text = f.lines[line-1]
	}
	switch {
	case strings.Contains(message, "tab character"), strings.Contains(text, "\t") && strings.Contains(message, "cannot start any token"):
		return "indent with spaces, not tabs"
	case strings.Contains(message, "expected ',' or"):
		return "inside {…} and […], quote texts that hold braces, brackets or commas"
	case strings.Contains(message, "mapping values are not allowed"):
		return "a text that holds `: ` needs quotes"
	case strings.Contains(message, "unknown escape"):
		return "use 'single quotes' for texts with backslashes"
	}
	return ""
}

// convert turns a YAML node into ours. It never returns nil.
func (r *reader) convert(f *file, y *yaml.Node, depth int) *node {
	n := &node{src: f, line: y.Line, col: y.Column}
	if r.stop {
		return n
	}
	if r.nodes++; r.nodes > maxNodes {
		r.stop = true
		r.problem(f, y.Line, y.Column, fmt.Sprintf("more than %d values, aliases counted at each use", maxNodes), "")
		return n
	}
	if depth > maxDepth {
		r.stop = true
		r.problem(f, y.Line, y.Column, fmt.Sprintf("nested deeper than %d", maxDepth), "")
		return n
	}
	if y.Kind == yaml.AliasNode {
		if r.active[y.Alias] {
			r.problem(f, y.Line, y.Column, fmt.Sprintf("alias `*%s` stands inside its own anchor", y.Value), "")
			return n
		}
		r.active[y.Alias] = true
		defer delete(r.active, y.Alias)
		return r.convert(f, y.Alias, depth+1)
	}
	if y.Style&yaml.TaggedStyle != 0 && !knownTag(y.ShortTag()) {
		r.problem(f, y.Line, y.Column, fmt.Sprintf("the YAML tag `%s` means nothing here", printable(y.Tag)), "")
	}
	switch y.Kind {
	case yaml.MappingNode:
		r.mapping(n, f, y, depth)
	case yaml.SequenceNode:
		n.kind = listNode
		n.block = y.Style&yaml.FlowStyle == 0
		n.items = make([]*node, len(y.Content))
		for i, c := range y.Content {
			n.items[i] = r.convert(f, c, depth+1)
		}
	default:
		n.text, n.raw = y.Value, y.Value
		n.plain = y.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
		n.null = n.plain && y.ShortTag() == "!!null"
		if r.fill != nil && strings.Contains(n.text, "${") {
			r.interpolate(n)
		}
	}
	return n
}

func knownTag(tag string) bool {
	switch tag {
	case "!!str", "!!int", "!!float", "!!bool", "!!null", "!!map", "!!seq", "!!timestamp", "!!merge":
		return true
	}
	return false
}

// mapping reads a map with its merge keys. Keys that stand in the map itself
// win over merged ones, earlier merged ones over later ones.
func (r *reader) mapping(n *node, f *file, y *yaml.Node, depth int) {
	n.kind = mapNode
	n.block = y.Style&yaml.FlowStyle == 0
	var merges []*yaml.Node
	at := map[string]int{} // key → line
	for i := 0; i+1 < len(y.Content) && !r.stop; i += 2 {
		k, v := y.Content[i], y.Content[i+1]
		if k.Kind == yaml.AliasNode && k.Alias != nil {
			k = k.Alias
		}
		if k.Kind != yaml.ScalarNode {
			r.problem(f, k.Line, k.Column, "a key must be a text", "")
			continue
		}
		if k.ShortTag() == "!!merge" {
			merges = append(merges, v)
			continue
		}
		if line, twice := at[k.Value]; twice {
			r.problem(f, k.Line, k.Column, fmt.Sprintf("`%s` is written twice; first at line %d", printable(k.Value), line), "")
			continue
		}
		at[k.Value] = k.Line
		if depth == 0 && strings.HasPrefix(k.Value, "x-") {
			continue // a place for anchors
		}
		key := &node{src: f, line: k.Line, col: k.Column, text: k.Value, raw: k.Value}
		n.entries = append(n.entries, entry{key: key, value: r.convert(f, v, depth+1)})
	}
	for _, m := range merges {
		r.merge(n, r.convert(f, m, depth+1))
	}
}

// merge adds the entries of a merge key's value to n.
func (r *reader) merge(n, from *node) {
	if r.stop {
		return
	}
	maps := []*node{from}
	if from.kind == listNode {
		maps = from.items
	}
	have := make(map[string]bool, len(n.entries))
	for _, e := range n.entries {
		have[e.key.text] = true
	}
	for _, m := range maps {
		if m.kind != mapNode {
			r.problem(m.src, m.line, m.col, "`<<` wants a map, or a list of maps", "name an anchor: `<<: *name`")
			continue
		}
		for _, e := range m.entries {
			if !have[e.key.text] {
				have[e.key.text] = true
				n.entries = append(n.entries, e)
			}
		}
	}
}

// interpolate fills in the ${…} of a scalar.
func (r *reader) interpolate(n *node) {
	text, err := r.fill.expand(n.raw)
	if err != nil {
		line, col := n.line, n.col
		// Where the text stands as it is on its line, point into it.
		if runes := []rune(n.src.lines[min(line, len(n.src.lines))-1]); col >= 1 && col <= len(runes) {
			if rest := string(runes[col-1:]); err.at != "" {
				if before, _, ok := strings.Cut(rest, err.at); ok {
					col += len([]rune(before))
				}
			}
		}
		r.problem(n.src, line, col, err.message, err.hint)
		// The value is unknown: nothing more is said about it.
		n.text, n.null = "", false
		n.raw = err.at
		r.fill.failed[n] = true
		return
	}
	n.text = text
}

// overlay is own with what it leaves unsaid taken from def: maps are merged
// deeply, lists and single values replaced.
func overlay(own, def *node) *node {
	if own.null && def.kind == mapNode {
		own = &node{kind: mapNode, src: own.src, line: own.line, col: own.col}
	} else if own.null {
		return def
	}
	if own.kind != mapNode || def.kind != mapNode {
		return own
	}
	out := *own
	out.entries = slices.Clone(own.entries)
	at := make(map[string]int, len(out.entries))
	for i, e := range out.entries {
		at[e.key.text] = i
	}
	for _, e := range def.entries {
		if i, ok := at[e.key.text]; ok {
			out.entries[i].value = overlay(out.entries[i].value, e.value)
			continue
		}
		e.inherited = true
		out.entries = append(out.entries, e)
	}
	return &out
}
