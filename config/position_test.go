package config

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestPositions(t *testing.T) {
	dir := tree(t, map[string]string{"c.yaml": `sinks:
  out:
    type: stdout
    batch:
      max_records: 3
pipelines:
  p.1:
    source: {type: dir, path: in}
    format: csv
    record:
      key: [a, b]
      fields:
        Artikel-Nr.: x
        y: {from: z}
    sinks:
      - out
`})
	path := filepath.Join(dir, "c.yaml")
	c, problems := Load(path)
	if len(problems) > 0 {
		t.Fatal(rendered(problems, dir))
	}
	for at, want := range map[string]string{
		"sinks.out":                                         "2:3",
		"sinks.out.batch":                                   "4:5",
		"sinks.out.batch.max_records":                       "5:20",
		"sinks.out.batch.max_bytes":                         "4:5",
		"sinks.out.retry.max":                               "2:3",
		`pipelines["p.1"].record.key[1]`:                    "11:16",
		`pipelines["p.1"].record.key`:                       "11:12",
		`pipelines["p.1"].record.fields["Artikel-Nr."]`:     "13:22",
		`pipelines["p.1"].record.fields.y.from`:             "14:19",
		`pipelines["p.1"].sinks[0]`:                         "16:9",
		`pipelines["p.1"].format.type`:                      "9:13",
		`pipelines["p.1"].format.csv.delimiter`:             "9:13",
		`pipelines["p.1"].source.when_done.to`:              "8:13",
		Join("pipelines", "p.1", "dedupe"):                  "7:3",
		Index(Join("pipelines", "p.1", "record", "key"), 0): "11:13",
	} {
		if got := strings.TrimPrefix(c.At(at).String(), path+":"); got != want {
			t.Errorf("%s stands at %s, want %s", at, got, want)
		}
	}
	for _, at := range []string{"", "admin.listen", "nonsense[", `["`, "[3]", "..", "pipelines.p"} {
		if got := c.At(at); got.File != path {
			t.Errorf("%s stands at %v", at, got)
		}
	}
	if !c.Given("sinks.out.batch") || c.Given("sinks.out.batch.max_bytes") || c.Given("admin") {
		t.Error("Given is wrong")
	}
	got := rendered(Problems{c.Problem(`pipelines["p.1"].record.key[1]`, "no such field", "did you mean `c`?")}, dir)
	want := "c.yaml:11:16: no such field\n          key: [a, b]\n                   ^ did you mean `c`?\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if got := rendered(Problems{c.Problem("state_dir", "is on a network", "")}, dir); got != "c.yaml: is on a network\n" {
		t.Errorf("got %s", got)
	}
}

func TestPaths(t *testing.T) {
	for path, want := range map[string][]string{
		"a.b.c":              {"a", "b", "c"},
		"a[0].b":             {"a", "[0]", "b"},
		`a["x.y"].b[12]`:     {"a", `["x.y"]`, "b", "[12]"},
		`a["q\"]"]`:          {"a", `["q\"]"]`},
		Join("", "x", "y z"): {"x", `["y z"]`},
		"":                   nil,
	} {
		if got := split(path); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if got := ancestors(`a["x.y"].b[12]`); !slices.Equal(got, []string{`a["x.y"].b[12]`, `a["x.y"].b`, `a["x.y"]`, "a"}) {
		t.Errorf("%q", got)
	}
	for path, want := range map[string]string{"a.b": "b", "a.b[3]": "b[3]", `a["x.y"]`: "x.y", "a": "a", "": ""} {
		if got := last(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}
