package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// tree writes files into a directory and returns it. Files are readable by
// their owner only.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// good loads a config that must have no problem, not even a warning.
func good(t *testing.T, text string) *Config {
	t.Helper()
	c, problems := Load(filepath.Join(tree(t, map[string]string{"c.yaml": text}), "c.yaml"))
	if len(problems) > 0 {
		t.Fatalf("problems:\n%s", rendered(problems, ""))
	}
	return c
}

// rendered is the problems as a person sees them, with dir cut out.
func rendered(ps Problems, dir string) string {
	var b strings.Builder
	if err := ps.Render(&b, false); err != nil {
		panic(err)
	}
	return strings.ReplaceAll(b.String(), dir+string(filepath.Separator), "")
}

const small = `
sinks:
  out: {type: stdout}
  api: {type: http, url: http://127.0.0.1:9000/orders}
pipelines:
  p:
    source: {type: dir, path: in}
    sinks: [out]
`

// The contract's own example, every key once.
func TestContractExample(t *testing.T) {
	text, err := os.ReadFile("testdata/contract.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := tree(t, map[string]string{"c.yaml": string(text), "id_ed25519": "KEY\n", "cred/admin_token": "hunter2\n"})
	t.Setenv("CREDENTIALS_DIRECTORY", filepath.Join(dir, "cred"))
	t.Setenv("CRM_TOKEN", "crm-token")
	t.Setenv("HOOK_SECRET", "hook-secret")

	c, problems := Load(filepath.Join(dir, "c.yaml"))
	if problems.Err() != nil {
		t.Fatalf("problems:\n%s", rendered(problems, dir))
	}
	if got := rendered(problems, dir); got != `c.yaml:31:15: warning: `+"`template` is used with `body: template` only, and `body` is array"+`
        template: '{"orders": {records}}'
                  ^
` {
		t.Errorf("warnings:\n%s", got)
	}

	for _, x := range []struct {
		what      string
		got, want any
	}{
		{"token", c.Admin.Token.Reveal(), "hunter2"},
		{"retention", c.Retention, Retention{30 * 24 * time.Hour, 90 * 24 * time.Hour, 400 * 24 * time.Hour, 90 * 24 * time.Hour, 30 * 24 * time.Hour}},
		{"min_free", c.MinFree, MinFree{Percent: 2}},
		{"password_hash", c.SFTPServer.Users[0].PasswordHash.Reveal(), "$2a$10$abcdefghijklmnopqrstuv"},
		{"crm token", c.Sink("crm").HTTP.Auth.Token.Reveal(), "crm-token"},
		{"header", c.Sink("crm").HTTP.Headers[0].Value.Reveal(), "acme"},
		{"batch", c.Sink("crm").Batch, Batch{500, 1 << 20, time.Second}},
		{"retry", c.Sink("crm").Retry, Retry{500 * time.Millisecond, time.Minute, 24 * time.Hour}},
		{"rate", c.Sink("crm").HTTP.Rate, Rate{50, time.Second}},
		{"window", c.Sink("crm").HTTP.Deliver.Window.String(), "22:00-05:00"},
		{"out", c.Sink("audit_copy").File.Path, filepath.Join(dir, "out/{pipeline}/{date}.ndjson")},
		{"trailer", c.Pipeline("orders").Source.Dir.Proof.Trailer, `^TRAILER;(?P<count>\d+)$`},
		{"max_size", c.Pipeline("orders").Source.Dir.MaxSize, int64(10 << 30)},
		{"when_done", c.Pipeline("orders").Source.Dir.WhenDone, Away{"move", "done/{date}/"}},
		{"resolved", c.Pipeline("orders").Source.Resolve("receipts/"), "/srv/drops/orders/receipts"},
		{"bad_limit", c.Pipeline("orders").Record.BadLimit, 20.0},
		{"fields", c.Pipeline("orders").Record.Fields[2].Expr, "float(price) * int(quantity)"},
		{"value", string(c.Pipeline("orders").Record.Fields[3].Value), `"acme"`},
		{"expect", c.Pipeline("orders").Expect.Days.String(), "mon,tue,wed,thu,fri"},
		{"key", c.Pipeline("csv").Source.SFTP.Auth.PrivateKey.Reveal(), "KEY"},
		{"sftp failed", c.Pipeline("csv").Source.SFTP.WhenFailed, Away{Action: "keep"}},
		{"every", c.Pipeline("csv").Source.SFTP.Schedule.Every, Interval{Days: 14}},
		{"at", c.Pipeline("csv").Source.SFTP.Schedule.At.String(), "mon 06:00"},
		{"delimiter", c.Pipeline("csv").Format.CSV.Delimiter, ";"},
		{"header", c.Pipeline("csv").Format.CSV.Header, 1},
		{"sheet", c.Pipeline("xlsx").Format.XLSX.Sheet, Sheet{Name: "Orders"}},
		{"column", c.Pipeline("fixed").Format.Fixed.Columns[1], FixedColumn{"amount", 20, 10}},
		{"respond", c.Pipeline("xml").Source.Webhook.Respond, "crm"},
		{"heartbeat", c.Heartbeat.Every, time.Minute},
	} {
		if x.got != x.want {
			t.Errorf("%s: %#v, want %#v", x.what, x.got, x.want)
		}
	}

	var later []string
	for _, p := range c.Unsupported() {
		word, _, _ := strings.Cut(p.Message, " is valid")
		later = append(later, strings.Trim(word, "`"))
	}
	want := []string{
		"type", "required", "expr", "value", "where", "schema",
	}
	if !slices.Equal(later, want) {
		t.Errorf("unsupported:\n%q, want\n%q", later, want)
	}
}

func TestDefaults(t *testing.T) {
	t.Setenv("STATE_DIRECTORY", "")
	c := good(t, small+"  q: {source: {type: dir, path: /q, when_done: {action: keep}}, format: csv, sinks: [api]}\n"+
		"heartbeat: {url: \"${env:PATH}\"}\n")
	p := c.Pipeline("p")
	for _, x := range []struct {
		what      string
		got, want any
	}{
		{"state_dir", c.StateDir, filepath.Join(c.Dir, "ingestd-state")},
		{"log", c.Log, Log{"info", "auto"}},
		{"min_free", c.MinFree.Of(1000), uint64(20)},
		{"listen", c.Admin.Listen, "127.0.0.1:8081"},
		{"path", p.Source.Dir.Path, filepath.Join(c.Dir, "in")},
		{"match", len(p.Source.Dir.Match), 0},
		{"ignore", strings.Join(p.Source.Dir.Ignore, " "), ".* ~* *.tmp *.part *.filepart *.swp"},
		{"settle", p.Source.Dir.Settle, 2 * time.Second},
		{"rescan", p.Source.Dir.Rescan, 30 * time.Second},
		{"order", p.Source.Dir.Order, "mtime"},
		{"when_done", p.Source.Dir.WhenDone, Away{"move", ".ingestd/done/"}},
		{"when_failed", p.Source.Dir.WhenFailed, Away{"move", ".ingestd/failed/"}},
		{"format", p.Format.Type, "auto"},
		{"scope", p.Dedupe.Scope, "p"},
		{"keep", p.Dedupe.Keep, 90 * 24 * time.Hour},
		{"on_invalid", p.Record.OnInvalid, "dead_letter"},
		{"fields", p.Record.Fields == nil, true},
		{"body", c.Sink("out").Body, "ndjson"},
		{"batch", c.Sink("out").Batch.MaxRecords, 500},
		{"quote", c.Pipeline("q").Format.CSV.Quote, `"`},
		{"header", c.Pipeline("q").Format.CSV.Header, 1},
		{"http", c.Sink("api").HTTP.Concurrency, 4},
		{"accept", c.Sink("api").HTTP.Accept.Has(204), true},
		{"duplicate", c.Sink("api").HTTP.Duplicate.Has(409), true},
		{"timeout", c.Sink("api").HTTP.Timeout, 30 * time.Second},
	} {
		if x.got != x.want {
			t.Errorf("%s: %v, want %v", x.what, x.got, x.want)
		}
	}
}

func TestStateDirectory(t *testing.T) {
	t.Setenv("STATE_DIRECTORY", "/var/lib/ingestd:/var/lib/other")
	if c := good(t, small); c.StateDir != "/var/lib/ingestd" {
		t.Errorf("state_dir %s", c.StateDir)
	}
	if c := good(t, "state_dir: here\n"+small); c.StateDir != filepath.Join(c.Dir, "here") {
		t.Errorf("state_dir %s", c.StateDir)
	}
}

// What YAML would turn into something else stays text where text is wanted.
func TestTextsStayTexts(t *testing.T) {
	c := good(t, `
sinks: {out: {type: stdout}}
pipelines:
  no:
    source: {type: dir, path: 022}
    format: {type: csv, columns: [1.10, NO, on, 0x1F, 2026-01-02], null: [NULL, ~, "", n/a], header: 2}
    record: {key: [1e3], fields: {1.10: 007, yes: {from: Off}, nul: {value: ~}, n: {value: 1.10}, o: {value: 022}, "Artikel-Nr.": x, m: {value: {b: 1, a: [true, "1"]}}}}
    sinks: [out]
`)
	p := c.Pipeline("no")
	if got := strings.Join(p.Format.CSV.Columns, " "); got != "1.10 NO on 0x1F 2026-01-02" {
		t.Errorf("columns %s", got)
	}
	if got := strings.Join(p.Format.CSV.Null, "|"); got != "NULL|~||n/a" {
		t.Errorf("null %s", got)
	}
	if got := filepath.Base(p.Source.Dir.Path); got != "022" || p.Record.Key[0] != "1e3" || p.Format.CSV.Header != 2 {
		t.Errorf("path %s, key %s, header %d", got, p.Record.Key[0], p.Format.CSV.Header)
	}
	var fields []string
	for _, f := range p.Record.Fields {
		fields = append(fields, f.Name+"="+f.From+string(f.Value))
	}
	want := `1.10=007|yes=Off|nul=null|n=1.10|o="022"|Artikel-Nr.=x|m={"b":1,"a":[true,"1"]}`
	if got := strings.Join(fields, "|"); got != want {
		t.Errorf("fields %s, want %s", got, want)
	}
	for _, f := range p.Record.Fields {
		if f.Value != nil && !json.Valid(f.Value) {
			t.Errorf("%s: %s is no JSON", f.Name, f.Value)
		}
	}
}

func TestAnchorsAndMergeKeys(t *testing.T) {
	c := good(t, `
x-common: &common {type: http, timeout: 5s, batch: &batch {max_records: 7}}
x-more: &more {timeout: 9s, concurrency: 2}
sinks:
  a: {<<: *common, url: http://a.example/}
  b: {<<: [*more, *common], url: http://b.example/, batch: {<<: *batch, max_wait: 3s}}
pipelines:
  p: {source: {type: dir, path: in}, sinks: [a, b]}
`)
	a, b := c.Sink("a"), c.Sink("b")
	if a.HTTP.Timeout != 5*time.Second || a.Batch.MaxRecords != 7 || a.HTTP.Concurrency != 4 {
		t.Errorf("a: %v %v", a.HTTP.Timeout, a.Batch)
	}
	if b.HTTP.Timeout != 9*time.Second || b.Batch != (Batch{7, 1 << 20, 3 * time.Second}) || b.HTTP.Concurrency != 2 {
		t.Errorf("b: %v %v", b.HTTP.Timeout, b.Batch)
	}
}

func TestDefaultsBlock(t *testing.T) {
	c := good(t, `
defaults:
  pipeline:
    source: {type: dir, settle: 7s, match: ["*.csv"], when_done: {action: move, to: gone/}}
    dedupe: {keep: 10d, files: take}
    format: {type: csv, delimiter: ";"}
    sinks: [api, out]
  sink:
    timeout: 3s
    body: object
    retry: {max: 10s, initial: 1s}
sinks:
  api: {type: http, url: http://127.0.0.1/x, retry: {initial: 2s}}
  out: {type: stdout}
pipelines:
  a: {source: {path: a}}
  b: {source: {path: b, settle: 1s, match: ["*.xml"], when_done: {action: delete}}, dedupe: {keep: 20d}, format: {type: xml, record: R}, sinks: [out]}
  c: {source: {path: c}, format: raw, sinks: [out]}
`)
	a, b := c.Pipeline("a"), c.Pipeline("b")
	if a.Source.Dir.Settle != 7*time.Second || a.Format.CSV.Delimiter != ";" || !slices.Equal(a.Sinks, []string{"api", "out"}) || a.Dedupe.Keep != 240*time.Hour {
		t.Errorf("a: %+v", a)
	}
	if b.Source.Dir.Settle != time.Second || !slices.Equal(b.Source.Dir.Match, []string{"*.xml"}) || b.Source.Dir.WhenDone != (Away{Action: "delete"}) ||
		b.Dedupe.Keep != 480*time.Hour || b.Dedupe.Files != "take" || b.Format.XML.Record != "R" || !slices.Equal(b.Sinks, []string{"out"}) {
		t.Errorf("b: %+v", b)
	}
	if c.Pipeline("c").Format.Type != "raw" {
		t.Errorf("c: %+v", c.Pipeline("c").Format)
	}
	if s := c.Sink("api"); s.HTTP.Timeout != 3*time.Second || s.Retry != (Retry{2 * time.Second, 10 * time.Second, 24 * time.Hour}) || s.Body != "object" {
		t.Errorf("api: %+v", s)
	}
	if s := c.Sink("out"); s.Retry.Initial != time.Second || s.Body != "ndjson" {
		t.Errorf("out: %+v", s)
	}
	if got := c.At("pipelines.a.source.settle"); got.Line != 4 {
		t.Errorf("the inherited settle stands at %v", got)
	}
}

func TestInclude(t *testing.T) {
	dir := tree(t, map[string]string{
		"c.yaml":         "include: [conf.d/*.yaml, extra.yaml, conf.d/a.yaml]\nsinks: {out: {type: stdout}}\npipelines:\n",
		"conf.d/b.yaml":  "x-note: 1\npipelines: {b: {source: {type: dir, path: b}, sinks: [out, own]}}\nsinks: {own: {type: file, path: own.ndjson}}\n",
		"conf.d/a.yaml":  "pipelines: {a: {source: {type: dir, path: a}, sinks: [out]}}\n",
		"conf.d/.c.yaml": "nonsense",
		"conf.d/n.txt":   "nonsense",
		"extra.yaml":     "pipelines:\n  z: {source: {type: dir, path: z}, sinks: [out]}\nsftp_server: {users: {u: {home: h, password_hash: x}}}\nalerts: [{sink: out}]\n",
	})
	c, problems := Load(filepath.Join(dir, "c.yaml"))
	if len(problems) > 0 {
		t.Fatal(rendered(problems, dir))
	}
	var names []string
	for _, p := range c.Pipelines {
		names = append(names, p.Name+":"+p.Source.Dir.Path)
	}
	want := []string{"a:" + dir + "/a", "b:" + dir + "/b", "z:" + dir + "/z"}
	if !slices.Equal(names, want) {
		t.Errorf("pipelines %q, want %q", names, want)
	}
	if c.Sink("own").File.Path != filepath.Join(dir, "own.ndjson") || len(c.SFTPServer.Users) != 1 || len(c.Alerts) != 1 {
		t.Errorf("%+v %+v %+v", c.Sink("own"), c.SFTPServer.Users, c.Alerts)
	}
	if got := len(c.Files()); got != 4 {
		t.Errorf("%d files: %q", got, c.Files())
	}
	if got := c.At("pipelines.z.sinks[0]"); got.File != filepath.Join(dir, "extra.yaml") || got.Line != 2 {
		t.Errorf("z's sinks stand at %v", got)
	}
}

// TestStateDirOfABrokenConfig: whoever broke something else can still ask the
// daemon that runs.
func TestStateDirOfABrokenConfig(t *testing.T) {
	t.Setenv("STATE_DIRECTORY", "")
	dir := t.TempDir()
	path := filepath.Join(dir, "c.yaml")
	for text, want := range map[string]string{
		"state_dir: state\nbogus: 1\n":           filepath.Join(dir, "state"),
		"sinks: {a: {type: ftp}}\n":              filepath.Join(dir, "ingestd-state"),
		"state_dir: [a]\n":                       "",
		"state_dir: '${env:NOT_THERE_AT_ALL}'\n": "",
		"state_dir: state\nsinks: [\n":           "",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, problems := Load(path); problems.Err() == nil {
			t.Errorf("%q is taken", text)
		}
		if got := StateDir(path); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
