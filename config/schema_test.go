package config_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"ingestd/config"
)

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := config.Schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("config.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("config.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// parse reads YAML as an editor does, into what JSON has.
func parse(t *testing.T, text []byte) any {
	t.Helper()
	var doc any
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	var plain func(v any) any
	plain = func(v any) any {
		switch v := v.(type) {
		case map[any]any:
			m := map[string]any{}
			for k, x := range v {
				if k == nil {
					k = "null" // a key of CSV's
				}
				m[fmt.Sprint(k)] = plain(x)
			}
			return m
		case map[string]any:
			for k, x := range v {
				v[k] = plain(x)
			}
			return v
		case []any:
			for i, x := range v {
				v[i] = plain(x)
			}
			return v
		case time.Time:
			return v.Format(time.DateOnly)
		}
		return v
	}
	return plain(doc)
}

// TestSchemaTakesWhatLoadTakes: an editor finds nothing wrong with configs that
// are right.
func TestSchemaTakesWhatLoadTakes(t *testing.T) {
	s := compiled(t)
	files, err := filepath.Glob("../samples/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("%v, %v", files, err)
	}
	alerts, _ := filepath.Glob("../samples/alerts/*.yaml")
	for _, f := range append(append(files, alerts...), "testdata/contract.yaml") {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(parse(t, text)); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}

// TestSchemaRefuses what Load refuses by itself: unknown keys, words and types.
func TestSchemaRefuses(t *testing.T) {
	s := compiled(t)
	for _, text := range []string{
		"sinkz: {}",
		"log: {level: loud}",
		"sinks: {a: {type: http, urll: x}}",
		"sinks: {a: {type: file, path: x, timeout: 3s}}",
		"sinks: {a: {type: ftp}}",
		"sinks: {a: {type: http, concurrency: many}}",
		"pipelines: {p: {source: {type: dir, path: x, host: y}}}",
		"pipelines: {p: {format: {type: csv, sheet: x}}}",
		"pipelines: {p: {sinks: a}}",
		"pipelines: {p: {record: {fields: {id: {frm: x}}}}}",
	} {
		if err := s.Validate(parse(t, []byte(text))); err == nil {
			t.Errorf("%s: taken", text)
		}
	}
	for _, text := range []string{
		"x-mine: {anything: [1]}",
		"sinks: {a: {type: http, concurrency: '${env:N}'}}",
		"pipelines: {p: {format: csv, record: {fields: {id: order_id}}}}",
	} {
		if err := s.Validate(parse(t, []byte(text))); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}
