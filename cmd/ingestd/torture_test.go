package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ingestd/sinks/sinktest"
)

// knob is a number from the environment: `make torture` runs the long form.
func knob(t *testing.T, name string, short int) int {
	s := os.Getenv(name)
	if s == "" {
		return short
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// TestTorture kills the daemon with SIGKILL at random moments while files are
// dropped and the target, in a process of its own, answers 500 and 503 and
// cuts connections before and after it took a request. Then one run goes
// through, and the judge counts: no id is missing at the target, none was
// taken under two keys, no key came with two bodies, and the books balance.
func TestTorture(t *testing.T) {
	kills := knob(t, "TORTURE_KILLS", 8)
	records := knob(t, "TORTURE_RECORDS", 36_000)
	seed := uint64(knob(t, "TORTURE_SEED", 1))
	const files = 6
	rnd := rand.New(rand.NewPCG(seed, 2))
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()

	target, err := sinktest.Spawn(ctx, sinktest.Options{
		Seed: seed, Journal: filepath.Join(dir, "journal"),
		Script: sinktest.Script{Weather: []sinktest.Chance{
			{P: 0.06, Step: sinktest.Step{Do: sinktest.Status, Status: 500}},
			{P: 0.06, Step: sinktest.Step{Do: sinktest.Status, Status: 503}},
			{P: 0.05, Step: sinktest.Step{Do: sinktest.Reset}},
			{P: 0.05, Step: sinktest.Step{Do: sinktest.Reset, After: true}},
			{P: 0.05, Step: sinktest.Step{Do: sinktest.Status, Status: 500, After: true}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer target.Stop()

	conf := filepath.Join(dir, "ingestd.yaml")
	text := fmt.Sprintf(`
state_dir: state
log: {level: warn}
sinks:
  api:
    type: http
    url: %s/orders
    batch: {max_records: 100}
    retry: {initial: 5ms, max: 200ms}
  copy: {type: file, path: "out/{pipeline}.ndjson", batch: {max_records: 70}}
pipelines:
  orders:
    source: {type: dir, path: drop, settle: 0s}
    record: {key: [id]}
    sinks: [api, copy]
`, target.URL)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	drop := filepath.Join(dir, "drop")
	if err := os.Mkdir(drop, 0o700); err != nil {
		t.Fatal(err)
	}
	command := func(args ...string) (*exec.Cmd, *bytes.Buffer) {
		cmd := exec.CommandContext(ctx, os.Args[0], append(args, "-c", conf)...)
		cmd.Env = append(os.Environ(), asMain+"=1", "INGESTD_CONFIG=")
		out := &bytes.Buffer{}
		cmd.Stdout, cmd.Stderr = out, out
		return cmd, out
	}

	ids := map[string]bool{}
	next := 0
	dropFile := func(n int) {
		var sb strings.Builder
		sb.WriteString("id,name,note\n")
		for i := range records / files {
			id := n*(records/files) + i
			if i%10 == 9 {
				id -= 1 + rnd.IntN(min(id, 3000)) // a tenth was there before, also in earlier files
			}
			ids[fmt.Sprintf("r%d", id)] = true
			fmt.Fprintf(&sb, "r%d,name %d,\"a, note\"\n", id, id)
		}
		tmp := filepath.Join(drop, fmt.Sprintf(".f%d", n))
		if err := os.WriteFile(tmp, []byte(sb.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, filepath.Join(drop, fmt.Sprintf("f%d.csv", n))); err != nil {
			t.Fatal(err)
		}
	}
	for kill := range kills {
		for next < files && next <= kill*files/kills {
			dropFile(next)
			next++
		}
		cmd, out := command("run")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(100+rnd.IntN(700))*time.Millisecond, func() { cmd.Process.Kill() })
		err := cmd.Wait()
		timer.Stop()
		var ee *exec.ExitError
		if !errors.As(err, &ee) || ee.ExitCode() != -1 {
			t.Fatalf("the daemon ended by itself: %v\n%s", err, out)
		}
	}
	for ; next < files; next++ {
		dropFile(next)
	}
	for try := 0; ; try++ {
		cmd, out := command("once")
		err := cmd.Run()
		if err == nil {
			break
		}
		var ee *exec.ExitError
		if errors.As(err, &ee) && ee.ExitCode() == 3 && try < 5 {
			continue
		}
		t.Fatalf("once: %v\n%s", err, out)
	}
	verdict, err := target.Judge(slices.Collect(maps.Keys(ids)))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d kills: %v", kills, verdict)
	if !verdict.OK() {
		t.Errorf("the target: %v", verdict)
	}
	copied(t, filepath.Join(dir, "out", "orders.ndjson"), ids)
	cmd, out := command("audit")
	if err := cmd.Run(); err != nil {
		t.Errorf("audit: %v\n%s", err, out)
	}
	cmd, out = command("arrivals", "--json")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), `"state":"done"`); n != files {
		t.Errorf("%d arrivals are done, want %d:\n%s", n, files, out)
	}
}

// copied checks that a file sink wrote every record, whole, once.
func copied(t *testing.T, path string, ids map[string]bool) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for line := range bytes.Lines(b) {
		var rec struct{ ID string }
		if err := json.Unmarshal(line, &rec); err != nil {
			t.Errorf("%s holds the line %.100q: %v", path, line, err)
			continue
		}
		if seen[rec.ID] {
			t.Errorf("%s was written twice", rec.ID)
		}
		seen[rec.ID] = true
	}
	if len(seen) != len(ids) {
		t.Errorf("%d records were copied, want %d", len(seen), len(ids))
	}
}
