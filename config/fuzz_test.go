package config

import (
	"os"
	"strings"
	"testing"
)

// Whatever the bytes: no panic, and either a config or a reason.
func FuzzLoad(f *testing.F) {
	for _, name := range []string{"testdata/contract.yaml", "testdata/problems.txt"} {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, part := range strings.Split(string(text), "\n=== ") {
			config, _, _ := strings.Cut(part, "--- problems")
			f.Add([]byte(config))
		}
	}
	f.Add([]byte(everySetting))
	f.Add([]byte("x-a: &a {<<: *a}\nsinks: {<<: [*a, {b: 1}]}\n? !!str &k k: *k\n"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 64<<10 {
			return // larger ones are as slow as they are long
		}
		l := &loader{path: dir + "/c.yaml"}
		c, problems := l.load(data, 0o644)
		if (c == nil) == (problems.Err() == nil) {
			t.Fatalf("config %v, error %v", c, problems.Err())
		}
		rendered(problems, dir)
		if c == nil {
			return
		}
		c.Unsupported()
		for i := range c.Pipelines {
			p := &c.Pipelines[i]
			c.At(Join("pipelines", p.Name, "record", "key"))
			snap, err := p.Snapshot(c.Sinks)
			if err != nil {
				t.Fatal(err)
			}
			back, _, err := FromSnapshot(snap)
			if err != nil {
				t.Fatalf("%v: %s", err, snap)
			}
			if again, err := back.Snapshot(c.Sinks); err != nil || string(again) != string(snap) {
				t.Fatalf("%v:\n%s\n%s", err, snap, again)
			}
		}
	})
}

func FuzzOverlap(f *testing.F) {
	f.Add("*.{a,b}", "[!x]?.a", "xx.a")
	f.Add("**/a*", `\*[a-`, "")
	f.Fuzz(func(t *testing.T, a, b, name string) {
		if len(a)+len(b) > 2*maxGlob {
			return
		}
		steps := maxSteps
		got := overlap(a, b, &steps)
		if got != overlap(b, a, &steps) {
			t.Errorf("%q and %q: %v only one way", a, b, got)
		}
	})
}
