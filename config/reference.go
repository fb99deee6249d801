package config

import (
	"fmt"
	"slices"
	"strings"
)

//go:generate go test -run ^TestReference$ -update .

// firstRelease is the version since which a key without `later` is acted on.
const firstRelease = "0.1"

// reference is docs/config.md, written from the table of keys.
func reference() string {
	var b strings.Builder
	b.WriteString(referenceHead)
	w := &referenceWriter{b: &b, done: map[string]bool{}}
	w.block("", &Config{}, false)
	return b.String()
}

type referenceWriter struct {
	b    *strings.Builder
	done map[string]bool // paths of blocks that were written
}

// block writes a block: one table, or for a variant one for the keys that all
// share and one for those of each kind. later says that none of it is acted
// on.
func (w *referenceWriter) block(path string, b block, later bool) {
	if w.done[path] {
		return
	}
	w.done[path] = true
	title := "`" + path + "`"
	if path == "" {
		title = "The file"
	}
	fmt.Fprintf(w.b, "\n## %s\n", title)
	if s, ok := b.(shorthand); ok {
		fmt.Fprintf(w.b, "\nWritten as a single value it is the `%s`.\n", s.short())
	}
	v, ok := b.(variant)
	if !ok {
		w.table(b.keys(), later)
		w.inner(path, b.keys(), later)
		return
	}
	shared := sharedKeys(v)
	w.table(shared, later)
	by, _ := find(shared, v.discriminator())
	choices, _ := by.to.(choice)
	written := map[string]bool{}
	for _, of := range v.variants() {
		own := except(v.variant(of), shared)
		if len(own) == 0 || written[of] {
			continue
		}
		var same []string
		for _, o := range v.variants() {
			if slices.Equal(names(except(v.variant(o), shared)), names(own)) {
				same, written[o] = append(same, "`"+o+"`"), true
			}
		}
		fmt.Fprintf(w.b, "\n### `%s` where `%s` is %s\n", path, v.discriminator(), either(same))
		w.table(own, later || slices.Contains(choices.later, of))
	}
	for _, of := range v.variants() {
		w.inner(path, v.variant(of), later || slices.Contains(choices.later, of))
	}
}

func except(ks, without []key) []key {
	return slices.DeleteFunc(slices.Clone(ks), func(k key) bool {
		_, ok := find(without, k.name)
		return ok
	})
}

// sharedKeys are the keys that every variant has, told the same way.
func sharedKeys(v variant) []key {
	var shared []key
	vs := v.variants()
	for _, k := range v.variant(vs[0]) {
		all := true
		for _, of := range vs[1:] {
			o, ok := find(v.variant(of), k.name)
			all = all && ok && o.doc == k.doc && o.def == k.def && o.to.typ() == k.to.typ()
		}
		if all {
			shared = append(shared, k)
		}
	}
	return shared
}

func (w *referenceWriter) table(keys []key, later bool) {
	w.b.WriteString("\n| key | type | default | meaning | since |\n| --- | --- | --- | --- | --- |\n")
	for _, k := range keys {
		since := firstRelease
		if later || k.later {
			since = "later"
		}
		fmt.Fprintf(w.b, "| `%s` | %s | %s | %s | %s |\n", k.name, tableCell(typeDoc(k)), tableCell(defaultDoc(k)), tableCell(k.doc), since)
	}
}

// inner writes the blocks that keys lead to.
func (w *referenceWriter) inner(path string, keys []key, later bool) {
	for _, k := range keys {
		if h, ok := k.to.(hasBlock); ok && len(everyKey(h.inner())) > 0 {
			w.block(join(path, k.name)+suffix(k.to), h.inner(), later || k.later)
		}
	}
}

// suffix is how the path goes on to the block inside a target.
func suffix(t target) string {
	switch typ := t.typ(); {
	case strings.HasPrefix(typ, "map: "):
		return ".NAME"
	case strings.HasPrefix(typ, "list of "):
		return "[]"
	}
	return ""
}

func typeDoc(k key) string {
	c, ok := k.to.(choice)
	if !ok {
		if t, ok := k.to.(blockTarget); ok {
			if s, ok := t.b.(shorthand); ok {
				short, _ := find(everyKey(t.b), s.short())
				return typeDoc(short) + "; or map"
			}
		}
		return k.to.typ()
	}
	words := make([]string, 0, len(c.from)+len(c.later))
	for _, v := range c.from {
		words = append(words, "`"+v+"`")
	}
	for _, v := range c.later {
		words = append(words, "`"+v+"` (later)")
	}
	return either(words)
}

func defaultDoc(k key) string {
	switch {
	case k.required:
		return "required"
	case k.def != "":
		return "`" + k.def + "`"
	case k.defDoc != "":
		return k.defDoc
	}
	return ""
}

// tableCell escapes what would end a table's cell.
func tableCell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
