package config

import (
	"fmt"
)

// A decoder fills blocks from nodes. It reports all that is wrong, and notes
// where everything stands.
type decoder struct {
	dir    string // that relative paths start from
	found  *collector
	later  *collector
	places map[string]*node  // where the value of a path stands
	failed map[string]bool   // paths that have a problem
	broken map[*node]bool    // scalars whose ${…} could not be filled in
	labels map[string]string // what a value is called, where that is not its key

	loose     bool // a defaults block: nothing is required
	inherited bool // the value came from a defaults block
	inLater   bool // within a key that is not acted on anyway
	defaults  defaultNodes
	literals  []*node // secrets that stand in the file itself
}

// problem reports at a node; a nil or default one is the whole file.
func (d *decoder) problem(at *node, path, message, hint string) {
	d.failed[path] = true
	d.found.add(at.problem(message, hint))
}

func (n *node) problem(message, hint string) Problem {
	if n == nil || n.src == nil {
		return Problem{File: "config", Message: message, Hint: hint}
	}
	return Problem{File: n.src.name, Line: n.line, Col: n.col, Message: message, Hint: hint, src: n.src}
}

// unsupported notes that a value is in use that this build does not act on.
func (d *decoder) unsupported(at *node, what string) {
	if d.inLater {
		return
	}
	d.later.add(at.problem(what+" is valid, but this build does not act on it yet", "take it out until it does"))
}

// name is what the value at path is called in messages.
func (d *decoder) name(path string) string {
	if l, ok := d.labels[path]; ok {
		return l
	}
	return last(path)
}

// scalar returns n's text where it is a single value, and reports where not.
func (d *decoder) scalar(n *node, path, want string) (string, bool) {
	switch {
	case d.broken[n]:
		d.failed[path] = true
		return "", false
	case n.kind != scalarNode:
		d.problem(n, path, fmt.Sprintf("`%s` must be %s, not %s", d.name(path), want, n.kind), "")
		return "", false
	case n.null:
		d.problem(n, path, fmt.Sprintf("`%s` has no value; it must be %s", d.name(path), want), "")
		return "", false
	}
	return n.text, true
}

// hide keeps the text of a secret out of shown source lines.
func (d *decoder) hide(n *node) {
	if n == nil || n.src == nil {
		return
	}
	switch n.kind {
	case scalarNode:
		n.src.secret(n.line, n.col)
	case mapNode:
		for _, e := range n.entries {
			d.hide(e.value)
		}
	case listNode:
		for _, i := range n.items {
			d.hide(i)
		}
	}
}

// block fills b from n. n may be nil: then all is default. at is where
// problems with the block as a whole stand.
func (d *decoder) block(b block, n, at *node, path string) {
	if n == nil {
		n = &node{kind: mapNode, src: at.source()}
	}
	if d.broken[n] {
		d.failed[path] = true
		return
	}
	if n.kind == scalarNode && !n.null {
		s, ok := b.(shorthand)
		if !ok {
			if _, secret := b.(sensitive); secret {
				d.hide(n)
			}
			d.problem(n, path, fmt.Sprintf("`%s` must be a map, not a single value", last(path)), listed(names(everyKey(b))))
			return
		}
		d.labels[join(path, s.short())] = last(path)
		n = &node{kind: mapNode, src: n.src, line: n.line, col: n.col, entries: []entry{{
			key: &node{src: n.src, line: n.line, col: n.col, text: s.short(), raw: s.short()}, value: n,
		}}}
	}
	if n.kind == listNode {
		d.problem(at, path, fmt.Sprintf("`%s` must be a map, not a list", last(path)), "")
		return
	}
	if v, ok := b.(variant); ok && !d.choose(v, n, at, path) {
		if _, secret := b.(sensitive); secret {
			for _, e := range n.entries {
				if e.key.text != v.discriminator() {
					d.hide(e.value)
				}
			}
		}
		return
	}
	d.entries(b, n, at, path)
	if c, ok := b.(checked); ok && !d.loose {
		c.check(func(key, message, hint string) { d.say(under(path, key), at, message, hint) })
	}
}

// say reports at a path, unless something is wrong there already.
func (d *decoder) say(path string, at *node, message, hint string) {
	if d.failed[path] {
		return
	}
	if p, ok := d.places[path]; ok {
		at = p
	}
	d.problem(at, path, message, hint)
}

// choose decodes the key that a variant's others depend on, and reports
// whether they can be read.
func (d *decoder) choose(v variant, n, at *node, path string) bool {
	name := v.discriminator()
	k, _ := find(v.variant(""), name)
	value := n.get(name)
	switch {
	case value != nil:
		d.key(v, k, entry{key: keyNode(n, name), value: value}, path)
		return !d.failed[join(path, name)]
	case k.def != "":
		d.fallback(k, path)
		return true
	case d.loose:
		return true
	}
	d.missing(v, k, at, path)
	every := everyKey(v)
	for _, e := range n.entries { // what cannot belong anywhere is wrong anyway
		if _, ok := find(every, e.key.text); !ok {
			d.unknown(v, e, path)
		}
	}
	return false
}

func keyNode(n *node, name string) *node {
	for _, e := range n.entries {
		if e.key.text == name {
			return e.key
		}
	}
	return nil
}

func (d *decoder) entries(b block, n, at *node, path string) {
	keys := b.keys()
	v, isVariant := b.(variant)
	if isVariant && d.loose && v.chosen() == "" {
		keys = everyKey(b)
	}
	for _, e := range n.entries {
		if isVariant && e.key.text == v.discriminator() {
			continue // choose did it
		}
		k, ok := find(keys, e.key.text)
		switch {
		case ok:
			d.key(b, k, e, path)
		case e.inherited || d.inherited:
			// Defaults are for all types; what this one has no use for is left.
		default:
			d.unknown(b, e, path)
		}
	}
	for _, k := range keys {
		if n.get(k.name) != nil || isVariant && k.name == v.discriminator() {
			continue
		}
		if k.required && !d.loose {
			d.missing(b, k, at, path)
			continue
		}
		d.absent(k, at, path)
	}
}

// key decodes one entry.
func (d *decoder) key(b block, k key, e entry, path string) {
	path = join(path, k.name)
	at := position(e.key, e.value)
	d.places[path] = at
	inherited, inLater := d.inherited, d.inLater
	d.inherited = d.inherited || e.inherited
	if k.later {
		d.unsupported(e.key, "`"+k.name+"`")
		d.inLater = true
	}
	if t, ok := k.to.(blockTarget); ok {
		t.decodeAt(d, e.value, at, path)
	} else {
		k.to.decode(d, e.value, path)
	}
	d.inherited, d.inLater = inherited, inLater
}

// absent gives a key that is not written its default.
func (d *decoder) absent(k key, at *node, path string) {
	if k.def != "" {
		d.fallback(k, path)
		return
	}
	if t, ok := k.to.(blockTarget); ok && !d.loose {
		if t.always() {
			t.decodeAt(d, nil, at, join(path, k.name))
		}
	}
}

// fallback decodes a default; it is wrong only if the table is.
func (d *decoder) fallback(k key, path string) {
	n, err := d.defaults.node(k.def)
	if err != nil {
		panic(fmt.Sprintf("config: default of %s: %v", join(path, k.name), err))
	}
	if t, ok := k.to.(blockTarget); ok {
		t.decodeAt(d, n, n, join(path, k.name))
		return
	}
	k.to.decode(d, n, join(path, k.name))
}

func (d *decoder) missing(b block, k key, at *node, path string) {
	full := join(path, k.name)
	d.failed[full] = true
	what := "the config"
	if path != "" {
		what = "`" + last(path) + "`"
	}
	hint := ""
	if t, ok := k.to.(interface{ valid() []string }); ok {
		hint = "`" + k.name + "` is " + either(t.valid())
	}
	d.found.add(at.problem(what+" needs `"+k.name+"`", hint))
	d.failed[path] = true
}

// unknown reports a key that has no place here, and says what was meant.
func (d *decoder) unknown(b block, e entry, path string) {
	name := e.key.text
	if d.found.plenty() {
		d.hide(e.value)
		d.problem(e.key, join(path, name), "unknown key `"+printable(name)+"`", "")
		return
	}
	keys := b.keys()
	_, hide := b.(sensitive)
	if v, ok := b.(variant); ok && d.loose && v.chosen() == "" {
		keys = everyKey(b)
	}
	message := "unknown key `" + printable(name) + "`"
	if path != "" {
		message += " in `" + last(path) + "`"
	}
	var hint string
	if v, ok := b.(variant); ok && v.chosen() != "" {
		var others []string
		for _, of := range v.variants() {
			if _, ok := find(v.variant(of), name); ok {
				others = append(others, of)
			}
		}
		if len(others) > 0 {
			message = fmt.Sprintf("`%s` does not go with `%s: %s`", printable(name), v.discriminator(), v.chosen())
			hint = fmt.Sprintf("it goes with `%s` %s", v.discriminator(), either(others))
			hide = isSecret(v.variant(others[0]), name)
		}
	}
	near := nearest(name, names(keys))
	if hint == "" {
		hint = didYouMean(name, names(keys))
	}
	if hint == "" {
		if under := below(b, name); under != "" {
			hint = "`" + printable(name) + "` belongs under `" + under + "`"
		}
	}
	if hint == "" {
		hint = listed(names(keys))
	}
	if hide || near != "" && isSecret(keys, near) {
		d.hide(e.value)
	}
	d.problem(e.key, join(path, name), message, hint)
}

func isSecret(keys []key, name string) bool {
	k, _ := find(keys, name)
	s, ok := k.to.(interface{ secret() bool })
	return ok && s.secret()
}

// defaultNodes parses the defaults of the table, each once.
type defaultNodes map[string]*node

func (c defaultNodes) node(text string) (*node, error) {
	if n, ok := c[text]; ok {
		return n, nil
	}
	n, err := parseValue(text)
	if err != nil {
		return nil, err
	}
	c[text] = n
	return n, nil
}

// parseValue reads the YAML of a default. Nothing in it is filled in.
func parseValue(text string) (*node, error) {
	var found collector
	r := &reader{found: &found}
	f := newFile("default", 0, nil)
	n := r.parse(f, []byte("v: "+text+"\n"))
	if n == nil || len(found.list) > 0 {
		return nil, Problems(found.list)
	}
	return strip(n.get("v")), nil
}

// strip takes the positions off, which mean nothing to a person.
func strip(n *node) *node {
	n.src, n.line, n.col = nil, 0, 0
	for _, e := range n.entries {
		strip(e.key)
		strip(e.value)
	}
	for _, i := range n.items {
		strip(i)
	}
	return n
}

func (n *node) source() *file {
	if n == nil {
		return nil
	}
	return n.src
}
