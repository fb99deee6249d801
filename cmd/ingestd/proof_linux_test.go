package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ingestd/ingest/pipeline"
)

// TestFaultsAndProofs kills the daemon at each point while files with sidecars
// come under reject_file: nothing of a bad one is sent, nothing of a good one is
// lost, and every file ends with its sidecar beside it.
func TestFaultsAndProofs(t *testing.T) {
	t.Parallel()
	r := newRack(t, 10*time.Minute, 0, 31)
	config := fmt.Sprintf(`
state_dir: state
log: {level: warn}
min_free: 0%%
sinks:
  api: {type: http, url: %s/orders, timeout: 1s, batch: {max_records: 50}, retry: {initial: 5ms, max: 200ms}}
pipelines:
  orders:
    source: {type: dir, path: drop, settle: 0s, proof: {sidecar: "{name}.sha256", trailer: '^END (?P<count>\d+)$'}, when_done: {action: move, to: done/}, when_failed: {action: move, to: failed/}}
    record: {key: [id], on_invalid: reject_file, bad_limit: 100%%}
    receipt: {dir: receipts}
    sinks: [api]
`, r.target.URL)
	if err := os.WriteFile(r.path("ingestd.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	write := func(name string, b []byte) {
		if err := os.WriteFile(r.path("drop/."+name), b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(r.path("drop/."+name), r.path("drop/"+name)); err != nil {
			t.Fatal(err)
		}
	}
	const records = 600
	var points []pipeline.Point
	for range knob(t, "TORTURE_ROUNDS", 1) {
		points = append(points, pipeline.Points()...)
	}
	for i, p := range points {
		for _, kind := range []string{"good", "bad"} {
			var sb strings.Builder
			sb.WriteString("id,name\n")
			for k := range records {
				id := fmt.Sprintf("%s-%d-%d", kind, i, k)
				if kind == "good" {
					r.ids[id] = true
				} else if k == records-1 {
					id = ""
				}
				fmt.Fprintf(&sb, "%s,x\n", id)
			}
			fmt.Fprintf(&sb, "END %d\n", records)
			name := fmt.Sprintf("%s%d.csv", kind, i)
			write(name+".sha256", fmt.Appendf(nil, "%x  %s\n", sha256.Sum256([]byte(sb.String())), name))
			write(name, []byte(sb.String()))
		}
		r.kill(3*time.Second, nil, fmt.Sprintf("%s=%s:%d", dieAt, p, 1+i/len(pipeline.Points())%4))
	}
	r.finish()
	verdict, err := r.target.Judge(slices.Collect(maps.Keys(r.ids)))
	if err != nil || !verdict.OK() {
		t.Errorf("the target: %v, %v", verdict, err)
	}
	for i := range points {
		for _, place := range []string{fmt.Sprintf("done/good%d.csv", i), fmt.Sprintf("failed/bad%d.csv", i)} {
			for _, path := range []string{place, place + ".sha256"} {
				if _, err := os.Stat(r.path("drop/" + path)); err != nil {
					t.Error(err)
				}
			}
		}
	}
	left, _ := filepath.Glob(r.path("drop/.ingestd/*/*"))
	if len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	// Taken up again it is rejected again, and its books balance.
	cmd, out := r.command("arrivals", "--json", "--state", "failed")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(out.Bytes()) {
		var a struct {
			ID                                 string
			Records, Delivered, Filtered, Dead int
		}
		if err := json.Unmarshal(line, &a); err != nil {
			t.Fatal(err)
		}
		if a.Records != records || a.Delivered != 0 || a.Filtered != records-1 || a.Dead != 1 {
			t.Errorf("books %s", line)
		}
		if cmd, out := r.command("replay", a.ID); cmd.Run() == nil {
			t.Errorf("a replay of a rejected file went well:\n%s", out)
		}
		break
	}
	if again, err := r.target.Judge(slices.Collect(maps.Keys(r.ids))); err != nil || !again.OK() {
		t.Errorf("after a replay: %v, %v", again, err)
	}
	cmd, out = r.command("audit")
	if err := cmd.Run(); err != nil {
		t.Errorf("audit: %v\n%s", err, out)
	}
}
