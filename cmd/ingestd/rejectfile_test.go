package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/gzip"

	"ingestd/sinks/sinktest"
)

// TestRejectFileFormats drops files of all formats of which the last record is
// bad, or which are cut short, under reject_file: nothing of them is sent, the
// bad record is a dead letter, the good ones are filtered.
func TestRejectFileFormats(t *testing.T) {
	const n = 1200
	dir := t.TempDir()
	drop := filepath.Join(dir, "drop")
	if err := os.Mkdir(drop, 0o700); err != nil {
		t.Fatal(err)
	}
	target, err := sinktest.New(sinktest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := target.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	conf := filepath.Join(dir, "ingestd.yaml")
	if err := os.WriteFile(conf, []byte(fmt.Sprintf(`
state_dir: state
log: {level: warn}
sinks: {api: {type: http, url: "%s/x"}}
defaults: {pipeline: {sinks: [api], record: {on_invalid: reject_file, bad_limit: 100%%}}}
pipelines:
  tables: {source: {type: dir, path: drop, match: ["*.csv", "*.csv.gz", "*.xlsx", "*.json"], settle: 0s}, record: {key: [id]}}
  xml: {source: {type: dir, path: drop, match: ["*.xml"], settle: 0s}, format: {type: xml, record: Orders/Order, lists: [Line]}, record: {key: ["@id"]}}
`, target.URL())), 0o600); err != nil {
		t.Fatal(err)
	}
	bad := func(format string) []order {
		list := orders(format, n)
		return append(list, order{Name: "without a key"})
	}
	save := func(name string, b []byte) {
		if err := os.WriteFile(filepath.Join(drop, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	asJSON, err := json.MarshalIndent(bad("json"), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	asXML, err := xml.Marshal(struct {
		XMLName xml.Name `xml:"Orders"`
		Order   []order
	}{Order: bad("xml")})
	if err != nil {
		t.Fatal(err)
	}
	writeCSV(t, filepath.Join(drop, "bad.csv"), bad("csv"))
	writeXLSX(t, filepath.Join(drop, "bad.xlsx"), bad("xlsx"))
	save("bad.json", asJSON)
	save("bad.xml", asXML)
	save("cut.json", asJSON[:len(asJSON)-200])
	save("cut.xml", asXML[:len(asXML)-200])
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	writeCSV(t, filepath.Join(dir, "good.csv"), orders("cut", n))
	plain, err := os.ReadFile(filepath.Join(dir, "good.csv"))
	if err != nil {
		t.Fatal(err)
	}
	z.Write(plain)
	z.Close()
	save("cut.csv.gz", packed.Bytes()[:packed.Len()-20])
	writeCSV(t, filepath.Join(drop, "good.csv"), orders("good", n))

	run := func(code int, args ...string) []byte {
		t.Helper()
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0], append(args, "-c", conf)...)
		cmd.Env = append(os.Environ(), asMain+"=1", "INGESTD_CONFIG=")
		out, err := cmd.Output()
		if cmd.ProcessState.ExitCode() != code {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		return out
	}
	run(1, "once")
	if got := target.Accepted(); len(got) != n {
		t.Errorf("the target has %d records, want the %d of good.csv", len(got), n)
	}
	seen := 0
	for line := range bytes.Lines(run(0, "arrivals", "--json")) {
		var a struct {
			Name, State, Error                         string
			Records, Delivered, Filtered, Dead, Number int
		}
		if err := json.Unmarshal(line, &a); err != nil {
			t.Fatal(err)
		}
		seen++
		kind, _, _ := bytes.Cut([]byte(a.Name), []byte("."))
		want := map[string][4]int{"bad": {n + 1, 0, n, 1}, "cut": {}, "good": {n, n, 0, 0}}[string(kind)]
		if got := [4]int{a.Records, a.Delivered, a.Filtered, a.Dead}; got != want {
			t.Errorf("%s: records, delivered, filtered, dead %v, want %v (%s)", a.Name, got, want, a.Error)
		}
		where := ".ingestd/failed/"
		if string(kind) == "good" {
			where = ".ingestd/done/"
		} else if a.State != "failed" {
			t.Errorf("%s is %s", a.Name, a.State)
		}
		if _, err := os.Stat(filepath.Join(drop, where, a.Name)); err != nil {
			t.Error(err)
		}
	}
	if seen != 8 {
		t.Errorf("%d arrivals", seen)
	}
	run(0, "audit")
}
