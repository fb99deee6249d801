package config

import (
	"os"
	"strings"
	"testing"
)

// docs/config.md is written from the table of keys; go generate ./config
// writes it anew.
func TestReference(t *testing.T) {
	const path = "../docs/config.md"
	want := reference()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the table of keys says; run go generate ./config", path)
	}
}

// Every key says what it means, and every default can be read.
func TestTableIsComplete(t *testing.T) {
	seen := map[string]bool{}
	var walk func(path string, b block)
	walk = func(path string, b block) {
		if seen[path] {
			return
		}
		seen[path] = true
		names := map[string]bool{}
		for _, k := range everyKey(b) {
			at := join(path, k.name)
			if names[k.name] {
				t.Errorf("%s is there twice", at)
			}
			names[k.name] = true
			if k.doc == "" || !strings.HasSuffix(k.doc, ".") {
				t.Errorf("%s: its meaning is %q", at, k.doc)
			}
			if k.required && (k.def != "" || k.defDoc != "") {
				t.Errorf("%s is required and has a default", at)
			}
			if k.def != "" {
				var found, later collector
				d := &decoder{dir: "/", found: &found, later: &later, places: map[string]*node{}, failed: map[string]bool{}, labels: map[string]string{}, defaults: defaultNodes{}}
				d.fallback(k, path)
				if len(found.list)+len(later.list) > 0 {
					t.Errorf("%s: its default: %v %v", at, found.list, later.list)
				}
			}
			if h, ok := k.to.(hasBlock); ok {
				walk(at, h.inner())
			}
		}
	}
	walk("", &Config{})
	if len(seen) < 30 {
		t.Errorf("only %d blocks were seen", len(seen))
	}
}
