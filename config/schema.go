package config

import (
	"encoding/json"
	"strings"
)

// schemaDialect is what the schema is written in.
const schemaDialect = "https://json-schema.org/draft/2020-12/schema"

// A shape is a JSON Schema, or a part of one.
type shape map[string]any

// Schema is the JSON Schema of a config, for editors: which keys there are, what
// they mean, and which words they take. Whether all is there that is needed, and
// fits together, is for Load to say: defaults and includes may bring it.
func Schema() ([]byte, error) {
	s := blockShape(&Config{})
	s["$schema"] = schemaDialect
	s["title"] = "ingestd"
	s["patternProperties"] = shape{"^x-": shape{}}
	// What pipelines and sinks take where they say nothing may be of any kind.
	sink := blockShape(&Sink{})
	delete(sink, "allOf")
	s["properties"].(shape)["defaults"] = shape{
		"type":                 []string{"object", "null"},
		"additionalProperties": false,
		"properties":           shape{"pipeline": blockShape(&Pipeline{}), "sink": sink},
	}
	return json.MarshalIndent(s, "", "  ")
}

// blockShape is a map with known keys. Of a block whose keys depend on one of
// them, each kind has its own.
func blockShape(b block) shape {
	s := shape{"type": []string{"object", "null"}, "additionalProperties": false}
	v, ok := b.(variant)
	if !ok {
		s["properties"] = keyShapes(b.keys())
		return s
	}
	all := shape{}
	var kinds []shape
	for _, of := range v.variants() {
		own := keyShapes(v.variant(of))
		delete(own, v.discriminator())
		for name, k := range own {
			if old, ok := all[name]; ok && !sameShape(old, k) {
				k = shape{} // each kind says for itself what it is
			}
			all[name] = k
		}
		is := shape{v.discriminator(): shape{"const": of}}
		own[v.discriminator()] = true
		kinds = append(kinds, shape{
			"if":   shape{"properties": is, "required": []string{v.discriminator()}},
			"then": shape{"properties": own, "additionalProperties": false},
		})
	}
	for _, k := range kinds { // what is said once need not be said again
		own := k["then"].(shape)["properties"].(shape)
		for name := range own {
			if sameShape(all[name], own[name]) {
				own[name] = true
			}
		}
	}
	by, _ := find(v.variant(v.variants()[0]), v.discriminator())
	all[v.discriminator()] = keyShape(by)
	s["properties"], s["allOf"] = all, kinds
	return s
}

func sameShape(a, b any) bool {
	x, err := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err == nil && err2 == nil && string(x) == string(y)
}

func keyShapes(keys []key) shape {
	s := shape{}
	for _, k := range keys {
		s[k.name] = keyShape(k)
	}
	return s
}

func keyShape(k key) shape {
	s := targetShape(k.to)
	doc := k.doc
	if k.def != "" {
		doc += " Default: " + k.def + "."
	} else if k.defDoc != "" {
		doc += " Default: " + k.defDoc + "."
	}
	if k.later {
		doc += " Not in this build yet."
	}
	s["description"] = strings.ReplaceAll(doc, "`", "")
	return s
}

// aReference is a text that stands for a value: "${env:NAME}".
func aReference() shape { return shape{"type": "string", "pattern": `\$\{`} }

func targetShape(t target) shape {
	switch x := t.(type) {
	case choice:
		return shape{"anyOf": []shape{{"enum": x.valid()}, aReference()}}
	case boolean:
		return shape{"anyOf": []shape{{"type": "boolean"}, aReference()}}
	case integer:
		return shape{"anyOf": []shape{{"type": "integer", "minimum": x.low, "maximum": x.high}, aReference()}}
	case literal:
		return shape{}
	case interface{ element() target }:
		inner := targetShape(x.element())
		if strings.HasPrefix(t.typ(), "list of ") {
			return shape{"type": []string{"array", "null"}, "items": inner}
		}
		return shape{"type": []string{"object", "null"}, "additionalProperties": inner}
	case hasBlock:
		b := x.inner()
		s := blockShape(b)
		if short, ok := b.(shorthand); ok {
			k, _ := find(everyKey(b), short.short())
			return shape{"anyOf": []shape{targetShape(k.to), s}}
		}
		return s
	}
	switch typ := t.typ(); {
	case strings.HasPrefix(typ, "map"):
		return shape{"type": []string{"object", "null"}}
	case strings.HasPrefix(typ, "list"):
		return shape{"type": []string{"array", "null"}}
	}
	// YAML reads 22 as a number where we want "22".
	return shape{"type": []string{"string", "number", "boolean", "null"}}
}

// element is a list's item.
func (l list[T]) element() target { return l.item(new(T)) }

// element is what a name leads to.
func (m named[T]) element() target { return m.item("", new(T)) }
