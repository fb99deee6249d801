package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"ingestd/sinks/sinktest"
)

// TestOrderTorture kills the daemon with SIGKILL at random while files are
// dropped one after the other and the target fails in all ways and refuses some
// records. Whatever happens, it takes the orders of a customer for the first
// time in the order of the files.
func TestOrderTorture(t *testing.T) {
	t.Parallel()
	kills := knob(t, "TORTURE_KILLS", 6)
	seed := uint64(knob(t, "TORTURE_SEED", 1))
	const files, each, customers = 6, 1500, 41
	rnd := rand.New(rand.NewPCG(seed, 5))
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	target, err := sinktest.New(sinktest.Options{Seed: seed, Script: sinktest.Script{
		Refuse: []string{"7", "8", "1499", "1500", "5000", "8999"},
		Weather: []sinktest.Chance{
			{P: 0.06, Step: sinktest.Step{Do: sinktest.Status, Status: 500}},
			{P: 0.06, Step: sinktest.Step{Do: sinktest.Status, Status: 503}},
			{P: 0.05, Step: sinktest.Step{Do: sinktest.Reset}},
			{P: 0.05, Step: sinktest.Step{Do: sinktest.Reset, After: true}},
			{P: 0.05, Step: sinktest.Step{Do: sinktest.Status, Status: 500, After: true}},
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := target.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	conf := filepath.Join(dir, "ingestd.yaml")
	if err := os.WriteFile(conf, fmt.Appendf(nil, `
state_dir: state
log: {level: warn}
admin: {listen: "unix:admin.sock"}
sinks:
  api:
    type: http
    url: %s/orders
    batch: {max_records: 60}
    concurrency: 5
    order_by: [customer]
    retry: {initial: 5ms, max: 200ms}
  copy: {type: file, path: "out/{pipeline}.ndjson", batch: {max_records: 70}}
pipelines:
  orders:
    source: {type: dir, path: drop, settle: 0s}
    record: {key: [id]}
    sinks: [copy, api]
`, target.URL()), 0o600); err != nil {
		t.Fatal(err)
	}
	drop := filepath.Join(dir, "drop")
	if err := os.Mkdir(drop, 0o700); err != nil {
		t.Fatal(err)
	}
	start := time.Now().Add(-time.Hour)
	dropFile := func(n int) {
		var sb strings.Builder
		sb.WriteString("id,customer\n")
		for i := range each {
			id := n*each + i
			fmt.Fprintf(&sb, "%d,c%d\n", id, id*7919%customers)
		}
		tmp := filepath.Join(drop, fmt.Sprintf(".f%d", n))
		if err := os.WriteFile(tmp, []byte(sb.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		at := start.Add(time.Duration(n) * time.Second)
		if err := errors.Join(os.Chtimes(tmp, at, at), os.Rename(tmp, filepath.Join(drop, fmt.Sprintf("f%d.csv", n)))); err != nil {
			t.Fatal(err)
		}
	}
	command := func(args ...string) (*exec.Cmd, *bytes.Buffer) {
		cmd := exec.CommandContext(ctx, os.Args[0], append(args, "-c", conf)...)
		cmd.Env = append(os.Environ(), asMain+"=1", "INGESTD_CONFIG=")
		out := &bytes.Buffer{}
		cmd.Stdout, cmd.Stderr = out, out
		return cmd, out
	}
	next := 0
	for kill := range kills {
		for next < files && next <= kill*files/kills {
			dropFile(next)
			next++
		}
		cmd, out := command("run")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(100+rnd.IntN(500))*time.Millisecond, func() { cmd.Process.Kill() })
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
		var ee *exec.ExitError
		if err == nil || errors.As(err, &ee) && ee.ExitCode() == codeNotClean {
			break // all is delivered, or dead as it should be
		}
		if try == 5 {
			t.Fatalf("once: %v\n%s", err, out)
		}
	}
	expect := 0
	last := map[int]int{}
	for _, s := range target.Accepted() {
		id, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		c := id * 7919 % customers
		if was, ok := last[c]; ok && was >= id {
			t.Fatalf("customer %d: %d was taken after %d", c, id, was)
		}
		last[c] = id
		expect++
	}
	if want := files*each - 6; expect != want {
		t.Errorf("%d records were taken, want %d", expect, want)
	}
	if v := target.Judge(nil); !v.OK() {
		t.Error(v)
	}
	if cmd, out := command("audit"); cmd.Run() != nil {
		t.Errorf("audit: %s", out)
	}
}

// A sink that a person paused stays so over a restart; the other gets its share
// meanwhile, arrivals are taken up, and status says why one waits.
func TestPausedSinkSurvivesRestart(t *testing.T) {
	t.Parallel()
	s := newShop(t, strings.Replace(shopConfig, "sinks: [api]", "sinks: [api, copy]", 1))
	text, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	s.write("ingestd.yaml", strings.Replace(string(text), "pipelines:\n", "  copy: {type: file, path: out.ndjson}\npipelines:\n", 1))
	d := s.start("run")
	s.drop("drop", "a.csv", "id,name\n1,one\n")
	s.arrival("a.csv", "done")
	if out := s.ask(0, "pause", "api", "--until", "2099-01-01"); !strings.Contains(out, "api is paused") {
		t.Error(out)
	}
	s.ask(0, "pause", "orders")
	s.ask(0, "resume", "orders")
	s.drop("drop", "b.csv", "id,name\n2,two\n3,three\n")
	copied := func(n int) func() bool {
		return func() bool {
			text, _ := os.ReadFile(filepath.Join(s.dir, "out.ndjson"))
			return bytes.Count(text, []byte("\n")) == n
		}
	}
	s.until("the other sink's share", copied(3))
	if err := d.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-d.done
	if out := s.ask(0, "status"); !strings.Contains(out, "paused by a person until 2099-01-01 00:00") {
		t.Errorf("status without a daemon: %s", out)
	}
	if out := s.ask(codeUnfinished, "once"); !strings.Contains(out, "sink api paused by a person until 2099-01-01") {
		t.Errorf("once: %s", out)
	}
	s.start("run")
	s.drop("drop", "c.csv", "id,name\n4,four\n")
	s.until("the other sink's share", copied(4))
	s.arrival("b.csv", "running")
	if n, err := s.target.Stats(t.Context()); err != nil || n.Requests != 1 {
		t.Errorf("%+v, %v", n, err)
	}
	s.ask(0, "reload")
	if out := s.ask(0, "status"); !strings.Contains(out, "paused by a person") {
		t.Errorf("status after a reload: %s", out)
	}
	s.ask(0, "resume", "api")
	s.arrival("b.csv", "done")
	s.arrival("c.csv", "done")
	s.ask(0, "audit")
	s.ask(2, "run-now", "-p", "api")
}

// A pipeline that a person paused stays so over a restart.
func TestPausedPipelineSurvivesRestart(t *testing.T) {
	t.Parallel()
	s := newShop(t, shopConfig)
	d := s.start("run")
	s.until("the daemon", func() bool { return strings.Contains(s.ask(0, "status"), "idle") })
	s.ask(0, "pause", "orders")
	if err := d.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-d.done
	s.start("run")
	s.until("the pause", func() bool { return strings.Contains(s.ask(0, "status"), "paused by a person") })
	s.drop("drop", "a.csv", "id,name\n1,one\n")
	s.ask(0, "resume", "orders")
	s.arrival("a.csv", "done")
}

// once outside the hours of a sink ends at once and says when they begin.
func TestOnceOutsideTheHours(t *testing.T) {
	t.Parallel()
	s := newShop(t, shopConfig)
	text, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	opens := time.Now().UTC().Add(12 * time.Hour)
	window := opens.Format("15:04") + "-" + opens.Add(time.Hour).Format("15:04")
	s.write("ingestd.yaml", strings.Replace(string(text), "    retry:", "    deliver: {window: \""+window+"\"}\n    retry:", 1))
	s.drop("drop", "a.csv", "id,name\n1,one\n")
	want := "sink api waits until " + opens.Format("15:04") + " (deliver)"
	if out := s.ask(codeUnfinished, "once"); !strings.Contains(out, want) {
		t.Errorf("%q is not in: %s", want, out)
	}
	if out := s.ask(0, "status"); !strings.Contains(out, "waiting") || !strings.Contains(out, "waits until "+opens.Format("15:04")+" (deliver)") {
		t.Errorf("status: %s", out)
	}
	s.arrival("a.csv", "running")
	s.write("ingestd.yaml", string(text))
	s.ask(0, "once")
	s.arrival("a.csv", "done")
}
