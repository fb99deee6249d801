package source_test

import (
	"strings"
	"testing"
	"time"

	"ingestd/ingest/source"
)

func TestFilter(t *testing.T) {
	csv := func(name string) bool { return strings.HasSuffix(name, ".csv") }
	tests := []struct {
		rules source.Rules
		name  string
		want  bool
	}{
		{source.Rules{}, "anything", true},
		{source.Rules{Known: csv}, "a.csv", true},
		{source.Rules{Known: csv}, "a.exe", false},
		{source.Rules{Known: csv, Match: []string{"*.exe"}}, "a.csv", false},
		{source.Rules{Match: []string{"*.csv"}}, "A.CSV", true},
		{source.Rules{Match: []string{"*.CSV"}}, "a.csv", true},
		{source.Rules{Match: []string{"[A-C]*.csv"}}, "b.csv", true},
		{source.Rules{Match: []string{"*.{csv,csv.gz}"}}, "a.csv.gz", true},
		{source.Rules{Match: []string{"Ä*"}}, "ä", false}, // ASCII only
		{source.Rules{}, ".hidden.csv", false},
		{source.Rules{}, "~$book.xlsx", false},
		{source.Rules{}, "a.csv.PART", false},
		{source.Rules{}, "a.filepart", false},
		{source.Rules{Ignore: []string{}}, ".hidden.csv", true},
		{source.Rules{Ignore: []string{}}, ".ingestd", false},
		{source.Rules{Ignore: []string{}}, ".ingestd-0123.part", false},
		{source.Rules{}, "a/b.csv", false}, // not recursive
		{source.Rules{Recursive: true}, "a/b.csv", true},
		{source.Rules{Recursive: true, Match: []string{"*.csv"}}, "a/b.csv", true},
		{source.Rules{Recursive: true, Match: []string{"in/**/*.csv"}}, "in/x/y/b.csv", true},
		{source.Rules{Recursive: true, Match: []string{"in/**/*.csv"}}, "out/b.csv", false},
		{source.Rules{Recursive: true, Ignore: []string{"tmp"}}, "a/tmp/b.csv", false},
		{source.Rules{Recursive: true, Ignore: []string{"a/tmp"}}, "a/tmp/b.csv", false},
		{source.Rules{Recursive: true, Ignore: []string{"a/tmp"}}, "b/tmp/b.csv", true},
		{source.Rules{Recursive: true}, "a/.git/b.csv", false},
		{source.Rules{Recursive: true, Ignore: []string{}}, "a/.ingestd/work/0123456789abcdef/b.csv", false},
		{source.Rules{Match: []string{"*.csv"}, DoneFile: "{name}.done"}, "a.csv.done", true},
		{source.Rules{Match: []string{"*.csv"}, DoneFile: ".{name}.ok"}, ".a.csv.ok", true},
		// Names are bytes.
		{source.Rules{Match: []string{"*.csv"}}, "\xff\xfe\n\x1b[2J.csv", true},
		{source.Rules{Match: []string{"*.csv"}}, "-rf.csv", true},
		{source.Rules{Match: []string{"*.csv"}}, "..\\..\\x.csv", false}, // a leading dot
		{source.Rules{Match: []string{"*.csv"}}, strings.Repeat("x", 251) + ".csv", true},
	}
	for _, tt := range tests {
		f, err := source.NewFilter(tt.rules)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Wants(tt.name); got != tt.want {
			t.Errorf("%+v: Wants(%q) = %v", tt.rules, tt.name, got)
		}
	}
}

func TestMarks(t *testing.T) {
	f, err := source.NewFilter(source.Rules{DoneFile: "ok.{name}.done"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ marker, data string }{
		{"ok.a.csv.done", "a.csv"},
		{"d/ok.a.csv.done", "d/a.csv"},
		{"ok.x.done", "x"},
		{"ok..done", ""},
		{"ok.done", ""},
		{"a.csv", ""},
		{"ok./a.csv.done", ""},
	} {
		data, ok := f.Marks(tt.marker)
		if data != tt.data || ok != (tt.data != "") {
			t.Errorf("Marks(%q) = %q, %v", tt.marker, data, ok)
		}
		if ok && f.Marker(data) != tt.marker {
			t.Errorf("Marker(%q) = %q", data, f.Marker(data))
		}
	}
}

func TestRulesErrors(t *testing.T) {
	_, err := source.NewFilter(source.Rules{
		Match: []string{"[", "ok"}, Ignore: []string{""}, DoneFile: "done", Order: "size", Settle: -1,
	})
	for _, want := range []string{`match: "["`, `ignore: ""`, "done_file", "order", "settle"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
	for _, bad := range []string{"{name}", "x/{name}", "{name}{name}", "{stem}.done"} {
		if _, err := source.NewFilter(source.Rules{DoneFile: bad}); err == nil {
			t.Errorf("done_file %q was taken", bad)
		}
	}
}

func TestWhen(t *testing.T) {
	at := time.Date(2026, 3, 5, 23, 4, 5, 0, time.FixedZone("", -2*3600))
	tests := []struct {
		to, name, fixed, dir, base string
	}{
		{"done/", "a.csv", "done", "done", "a.csv"},
		{"done", "a.csv", "done", "done", "a.csv"},
		{"done/{date}/", "s/t/a.csv", "done", "done/2026-03-06/s/t", "a.csv"},
		{"done/{date}/{time}-{name}", "s/a.csv", "done", "done/2026-03-06/s", "010405-a.csv"},
		{"done-{date}/x/", "a.csv", ".", "done-2026-03-06/x", "a.csv"},
		{"/archive/{pipeline}/", "a.csv", "/archive", "/archive/orders", "a.csv"},
		{"../out/{name}", "a.csv", "../out", "../out", "a.csv"},
		{"{name}.bak", "a.csv", ".", "", "a.csv.bak"},
		{"done/{name}", "{date}{name}.csv", "done", "done", "{date}{name}.csv"}, // a name is no template
	}
	for _, tt := range tests {
		w := source.When{Action: source.Move, To: tt.to}
		if err := w.Check(); err != nil {
			t.Errorf("%q: %v", tt.to, err)
		}
		dir, base := w.Destination("orders", tt.name, at)
		if w.Fixed() != tt.fixed || dir != tt.dir || base != tt.base {
			t.Errorf("%q, %q: fixed %q, to %q %q", tt.to, tt.name, w.Fixed(), dir, base)
		}
	}
	for _, w := range []source.When{
		{},
		{Action: "zip"},
		{Action: "move"},
		{Action: "delete", To: "x"},
		{Action: "keep", To: "x"},
		{Action: "move", To: "{nmae}"},
		{Action: "move", To: "a{"},
		{Action: "move", To: "{name}/x"},
		{Action: "move", To: "{name}/"},
		{Action: "move", To: "a\x00"},
	} {
		if w.Check() == nil {
			t.Errorf("%+v was taken", w)
		}
	}
}

// Whatever the names and patterns, compiling and matching end without a panic,
// and what is ours is never wanted.
func FuzzFilter(f *testing.F) {
	f.Add("*.csv", ".*", "{name}.done", "a/b.csv")
	f.Add("**/[a-z]{1,2}", "\\", "{name}", "\xff/.ingestd/x")
	f.Fuzz(func(t *testing.T, match, ignore, done, name string) {
		flt, err := source.NewFilter(source.Rules{Match: []string{match}, Ignore: []string{ignore}, DoneFile: done, Recursive: true})
		if err != nil {
			return
		}
		wants := flt.Wants(name)
		if wants && strings.HasPrefix(name, ".ingestd/") {
			t.Errorf("wants %q", name)
		}
		if data, ok := flt.Marks(name); ok && flt.Marker(data) != name {
			t.Errorf("%q marks %q, whose marker is %q", name, data, flt.Marker(data))
		}
	})
}
