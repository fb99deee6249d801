// Package house holds the walls: who may import whom. It has no code of its own.
package house

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "ingestd"

// A rule says what the rooms that match may see of the house, whatever else
// they import. Patterns are path.Match's; "…" at the end means and all below.
// A room is under the first rule that matches it.
type rule struct {
	rooms string
	see   []string
}

// rules is design.md's list.
var rules = []rule{
	{"ingest", nil},
	{"config", []string{"ingest"}},
	{"samples", nil},

	{"formats/formattest", []string{"ingest", "formats"}},
	{"formats", []string{"ingest", "formats/*"}},
	{"formats/*fmt", []string{"ingest", "formats/window"}},
	{"formats/…", []string{"ingest"}},

	{"sinks", []string{"ingest"}},
	{"sinks/…", []string{"ingest"}},

	{"ingest/pipeline", []string{"ingest", "ingest/shape", "ingest/spool"}},
	{"ingest/bundle", []string{"ingest", "ingest/journal"}},
	{"ingest/source", []string{"ingest", "ingest/spool"}},
	{"ingest/source/…", []string{"ingest", "ingest/source", "ingest/spool"}},
	{"ingest/…", []string{"ingest"}},

	{"cmd/internal/daemon", []string{"…"}},
	{"cmd/internal/…", []string{"…"}},
	{"cmd/ingestd", []string{"cmd/internal/…", "config", "ingest", "samples", "ingest/admin"}},

	{"docs/…", nil},
}

// owners are the libraries that belong to some rooms only: import path (and
// all below it), rooms.
var owners = []struct {
	library string
	rooms   []string
}{
	{"database/sql", []string{"ingest/ledger"}},
	{"modernc.org", []string{"ingest/ledger/…"}},

	// Only sinks/httpapi sends to targets; the others serve, or talk to the
	// daemon over its socket.
	{"net/http", []string{
		"sinks/httpapi", "sinks/sinktest", "ingest/admin", "ingest/metrics", "ingest/alert", "ingest/source/webhook",
		"ingest/source/poll", "cmd/…", "docs/…",
	}},
	{"net", []string{
		"sinks/httpapi", "sinks/sinktest", "ingest/admin", "ingest/metrics", "ingest/alert", "ingest/source/webhook",
		"ingest/source/poll", "ingest/source/sftp/…", "ingest/source/sftpdrop", "config", "cmd/…", "docs/…",
	}},

	{"go.yaml.in", []string{"config", "cmd/internal/…"}},
	{"github.com/xuri/excelize", []string{"formats/xlsxfmt"}},
	{"github.com/pkg/sftp", []string{"ingest/source/sftp", "ingest/source/sftpdrop", "cmd/internal/…"}},
	{"golang.org/x/crypto/ssh", []string{"ingest/source/sftp/…", "ingest/source/sftpdrop", "cmd/internal/…"}},
	{"github.com/andybalholm/brotli", []string{"ingest/source/webhook"}},
	{"github.com/fsnotify/fsnotify", []string{"ingest/source/dir", "config", "cmd/internal/…"}},
	{"github.com/expr-lang", []string{"ingest/expr"}},
	{"github.com/dchest/siphash", []string{"ingest/shape"}},
	{"github.com/netresearch/go-cron", []string{"ingest/schedule"}},
	{"github.com/prometheus", []string{"ingest/metrics"}},
	{"github.com/spf13", []string{"cmd/ingestd"}},
	{"github.com/vbauerster/mpb", []string{"cmd/ingestd"}},
	{"github.com/jedib0t/go-pretty", []string{"cmd/ingestd"}},
	{"github.com/lmittmann/tint", []string{"cmd/ingestd", "cmd/internal/…"}},
	{"github.com/coreos/go-systemd", []string{"cmd/ingestd", "cmd/internal/…"}},
}

// forbidden names say nothing about what is inside.
var forbidden = []string{"util", "utils", "common", "types", "models", "helpers", "helper", "misc", "shared"}

func TestImports(t *testing.T) {
	rooms := imports(t)
	for _, known := range []string{"ingest", "ingest/shape", "cmd/internal/house"} {
		if rooms[known] == nil {
			t.Fatalf("the walk saw no room %s; it is of no use", known)
		}
	}
	for _, room := range slices.Sorted(maps.Keys(rooms)) {
		if slices.Contains(forbidden, path.Base(room)) {
			t.Errorf("%s: a package's name says what is in it", room)
		}
		for _, imp := range slices.Sorted(maps.Keys(rooms[room])) {
			if why := judge(room, imp); why != "" {
				t.Errorf("%s imports %s: %s (in %s)", room, imp, why, rooms[room][imp])
			}
		}
	}
}

// TestJudge: the test of imports must be able to fail.
func TestJudge(t *testing.T) {
	for _, tt := range []struct {
		room, imp string
		ok        bool
	}{
		{"ingest", "encoding/json", true},
		{"ingest", "github.com/google/uuid", false},
		{"ingest", "ingestd/config", false},
		{"config", "ingestd/ingest", true},
		{"config", "ingestd/sinks", false},
		{"config", "go.yaml.in/yaml/v4", true},
		{"ingest/shape", "ingestd/ingest", true},
		{"ingest/shape", "ingestd/ingest/spool", false},
		{"ingest/ledger", "database/sql", true},
		{"ingest/ledger", "modernc.org/sqlite", true},
		{"ingest/ledger/ledgertest", "database/sql", false},
		{"ingest/pipeline", "database/sql", false},
		{"ingest/pipeline", "ingestd/ingest/shape", true},
		{"ingest/pipeline", "ingestd/ingest/ledger", false},
		{"ingest/pipeline", "ingestd/sinks/httpapi", false},
		{"ingest/pipeline", "net/http", false},
		{"ingest/source/dir", "ingestd/ingest/source", true},
		{"ingest/source/dir", "ingestd/ingest/pipeline", false},
		{"ingest/source/dir", "ingestd/ingest/source/sftp", false},
		{"formats", "ingestd/formats/csvfmt", true},
		{"formats/csvfmt", "ingestd/formats/jsonfmt", false},
		{"formats/csvfmt", "ingestd/formats", false},
		{"sinks/httpapi", "net/http", true},
		{"sinks/file", "net/http", false},
		{"sinks/httpapi", "ingestd/sinks/file", false},
		{"cmd/internal/daemon", "ingestd/ingest/ledger", true},
		{"cmd/internal/daemon", "database/sql", false},
		{"cmd/ingestd", "ingestd/cmd/internal/daemon", true},
		{"cmd/ingestd", "ingestd/ingest/ledger", false},
		{"somewhere/else", "fmt", false},
	} {
		if why := judge(tt.room, tt.imp); (why == "") != tt.ok {
			t.Errorf("%s imports %s: %q, want ok = %v", tt.room, tt.imp, why, tt.ok)
		}
	}
}

// judge says why room may not import imp, or "".
func judge(room, imp string) string {
	i := slices.IndexFunc(rules, func(r rule) bool { return matches(r.rooms, room) })
	if i < 0 {
		return "no rule knows this room; add it to the list, and to the design"
	}
	if own, ok := strings.CutPrefix(imp, module+"/"); ok {
		inside := strings.HasPrefix(own, room+"/internal/")
		if !inside && !slices.ContainsFunc(rules[i].see, func(p string) bool { return matches(p, own) }) {
			return "that is another room"
		}
		return ""
	}
	if room == "ingest" && strings.Contains(strings.Split(imp, "/")[0], ".") {
		return "the domain sees the standard library only"
	}
	for _, o := range owners {
		if (imp == o.library || o.library != "net" && strings.HasPrefix(imp, o.library+"/")) &&
			!slices.ContainsFunc(o.rooms, func(p string) bool { return matches(p, room) }) {
			return "that belongs to " + strings.Join(o.rooms, ", ")
		}
	}
	return ""
}

func matches(pattern, room string) bool {
	if pattern == "…" {
		return true
	}
	if base, ok := strings.CutSuffix(pattern, "/…"); ok {
		return room == base || strings.HasPrefix(room, base+"/")
	}
	ok, _ := path.Match(pattern, room)
	return ok
}

// imports parses the module: room → import path → one file that has it. Tests
// are left out: they may use real neighbours.
func imports(t *testing.T) map[string]map[string]string {
	t.Helper()
	root := moduleRoot(t)
	out := map[string]map[string]string{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if b := d.Name(); name != root && (b == "testdata" || b == "bin" || strings.HasPrefix(b, ".") || strings.HasPrefix(b, "_")) {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		room := path.Dir(filepath.ToSlash(rel))
		if out[room] == nil {
			out[room] = map[string]string{}
		}
		if strings.HasSuffix(name, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			out[room][imp] = rel
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = up
	}
}
