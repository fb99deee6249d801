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
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"ingestd/cmd/internal/daemon"
	"ingestd/ingest/pipeline"
	"ingestd/sinks/sinktest"
)

// What a daemon of these tests is told by its environment.
const (
	dieAt   = "INGESTD_TEST_DIE_AT"   // "after claim:3": kill -9 when it is there the third time
	clockBy = "INGESTD_TEST_CLOCK_BY" // how far the ledger's wall clock is off: "-40h"
)

// harmed is what the environment does to the daemon; nil: nothing.
func harmed() func(*daemon.Options) {
	at, by := os.Getenv(dieAt), os.Getenv(clockBy)
	if at == "" && by == "" {
		return nil
	}
	return func(o *daemon.Options) {
		if off, err := time.ParseDuration(by); err == nil {
			o.Now = func() time.Time { return time.Now().Add(off) }
		}
		point, nth, _ := strings.Cut(at, ":")
		left := atomic.Int64{}
		n, _ := strconv.ParseInt(nth, 10, 64)
		left.Store(n)
		o.Reach = func(p pipeline.Point) {
			if string(p) == point && left.Add(-1) == 0 {
				syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		}
	}
}

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

// A rack is a daemon under torture, its folder, and a target in a process of
// its own that outlives every kill.
type rack struct {
	t      *testing.T
	ctx    context.Context
	rnd    *rand.Rand
	dir    string
	target *sinktest.Process
	env    []string
	binary string // what is tortured
	script sinktest.Script

	files   int
	perFile int
	next    int // id
	mix     mix
	extras  []*extra
	born    time.Time
	closed  bool             // the mix's hours
	first   map[string]place // of ids: where they were dropped first
	looped  map[string]bool  // files that went behind the others

	ids     map[string]bool // the target is to have
	dropped map[string]bool // all
	refused map[string]bool // the target refuses
}

// newRack makes one whose target answers 500, 503 and 429, cuts connections
// before and after it took a request, hangs, answers by half, and refuses some
// ids. Files have perFile records.
func newRack(t *testing.T, within time.Duration, perFile int, seed uint64) *rack {
	return newMixedRack(t, within, perFile, seed, mix{})
}

// newMixedRack is newRack with more sinks.
func newMixedRack(t *testing.T, within time.Duration, perFile int, seed uint64, m mix) *rack {
	r := &rack{
		mix: m, born: time.Now(), first: map[string]place{}, looped: map[string]bool{},
		t: t, rnd: rand.New(rand.NewPCG(seed, 2)), dir: t.TempDir(), perFile: perFile, binary: os.Args[0],
		ids: map[string]bool{}, dropped: map[string]bool{}, refused: map[string]bool{},
	}
	var cancel context.CancelFunc
	r.ctx, cancel = context.WithTimeout(t.Context(), within)
	t.Cleanup(cancel)
	var refuse []string
	for id := 500; id < 2_000_000; id += 997 {
		refuse = append(refuse, fmt.Sprintf("r%d", id))
		r.refused[refuse[len(refuse)-1]] = true
	}
	r.script = sinktest.Script{Refuse: refuse, Weather: []sinktest.Chance{
		{P: 0.05, Step: sinktest.Step{Do: sinktest.Status, Status: 500}},
		{P: 0.05, Step: sinktest.Step{Do: sinktest.Status, Status: 503}},
		{P: 0.02, Step: sinktest.Step{Do: sinktest.Status, Status: 429, RetryAfter: "0"}},
		{P: 0.05, Step: sinktest.Step{Do: sinktest.Reset}},
		{P: 0.05, Step: sinktest.Step{Do: sinktest.Reset, After: true}},
		{P: 0.05, Step: sinktest.Step{Do: sinktest.Status, Status: 500, After: true}},
		{P: 0.02, Step: sinktest.Step{Do: sinktest.Half}},
		{P: 0.02, Step: sinktest.Step{Do: sinktest.Cut}},
		{P: 0.002, Step: sinktest.Step{Do: sinktest.Hang}},
	}}
	r.spawn(seed)
	r.add(seed)
	if err := os.Mkdir(r.path("drop"), 0o700); err != nil {
		t.Fatal(err)
	}
	r.settings(0)
	return r
}

// spawn starts the target; it goes on from its journal.
func (r *rack) spawn(seed uint64) {
	r.t.Helper()
	var err error
	r.target, err = sinktest.Spawn(r.ctx, sinktest.Options{Seed: seed, Journal: r.path("journal"), Script: r.script})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = r.target.Stop() })
}

func (r *rack) path(name string) string { return filepath.Join(r.dir, name) }

// settings writes the config, in one of three variants that make other bodies
// of the same records: an arrival under way ends under the one it began with.
func (r *rack) settings(variant int) {
	r.t.Helper()
	records := []int{100, 60, 100}[variant%3]
	fields := []string{"", "", ", fields: {id: id, label: {from: name}}"}[variant%3]
	text := fmt.Sprintf(`
state_dir: state
log: {level: warn}
min_free: 0%%
sinks:
  api:
    type: http
    url: %s/orders
    timeout: 1s
    batch: {max_records: %d}
    retry: {initial: 5ms, max: 200ms}
  copy: {type: file, path: "out/{pipeline}.ndjson", batch: {max_records: %d}}
%spipelines:
  orders:
    source: {type: dir, path: drop, settle: 0s}
    record: {key: [id]%s}
    sinks: [%s]
%s`, r.target.URL, records, records*7/10, r.moreSinks(variant), fields, strings.Join(r.sinkNames(), ", "), r.moreKeys())
	if err := os.WriteFile(r.path("new.yaml"), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(r.path("new.yaml"), r.path("ingestd.yaml")); err != nil {
		r.t.Fatal(err)
	}
}

// drop renames a file of new records in; a tenth of them was there before, also
// in earlier files.
func (r *rack) drop() {
	r.t.Helper()
	var sb strings.Builder
	header, row := "id,name,note\n", "r%d,name %d,\"a, note\"\n"
	if r.mix.order {
		header, row = "id,name,customer\n", "r%d,name %d,c%d\n"
	}
	sb.WriteString(header)
	for i := range r.perFile {
		id := r.next
		r.next++
		if i%10 == 9 {
			id -= 1 + r.rnd.IntN(min(id, 3000))
		}
		name := fmt.Sprintf("r%d", id)
		if r.dropped[name] = true; !r.refused[name] {
			r.ids[name] = true
		}
		if r.mix.order {
			fmt.Fprintf(&sb, row, id, id, customerOf(id))
		} else {
			fmt.Fprintf(&sb, row, id, id)
		}
		r.expect(name)
	}
	name := fmt.Sprintf("f%d.csv", r.files)
	r.files++
	tmp := r.path("drop/." + name)
	if err := os.WriteFile(tmp, []byte(sb.String()), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if r.mix.order { // a tick of the clock is too long to tell files apart
		at := r.born.Add(time.Duration(r.files) * time.Millisecond)
		if err := os.Chtimes(tmp, at, at); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := os.Rename(tmp, r.path("drop/"+name)); err != nil {
		r.t.Fatal(err)
	}
}

// backlog is how many files have not been put away.
func (r *rack) backlog() int {
	waiting, _ := filepath.Glob(r.path("drop/*.csv"))
	working, _ := filepath.Glob(r.path("drop/.ingestd/work/*/*.csv"))
	return len(waiting) + len(working)
}

func (r *rack) command(args ...string) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.CommandContext(r.ctx, r.binary, append(args, "-c", r.path("ingestd.yaml"))...)
	cmd.Env = append(append(os.Environ(), asMain+"=1", "INGESTD_CONFIG="), r.env...)
	out := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, out
	return cmd, out
}

// kill starts the daemon and kills it, at the point that env names or after a
// while. It reports whether the daemon died at its point.
func (r *rack) kill(after time.Duration, meanwhile func(pid int), env ...string) bool {
	r.t.Helper()
	r.env = env
	cmd, out := r.command("run")
	r.env = nil
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	var late atomic.Bool
	timer := time.AfterFunc(after, func() {
		late.Store(true)
		_ = cmd.Process.Kill()
	})
	if meanwhile != nil {
		meanwhile(cmd.Process.Pid)
	}
	err := cmd.Wait()
	timer.Stop()
	r.noteLoops(out.String())
	var ee *exec.ExitError
	if !errors.As(err, &ee) || ee.ExitCode() != -1 || r.ctx.Err() != nil {
		r.t.Fatalf("the daemon ended by itself: %v, %v\n%s", err, r.ctx.Err(), out)
	}
	return !late.Load()
}

// finish lets one run go through.
func (r *rack) finish() {
	r.t.Helper()
	for try := 0; ; try++ {
		cmd, out := r.command("once")
		err := cmd.Run()
		var ee *exec.ExitError
		switch {
		case err == nil:
			return
		case errors.As(err, &ee) && ee.ExitCode() == codeNotClean:
			return // what the target refused
		case errors.As(err, &ee) && ee.ExitCode() == codeUnfinished && try < 20:
			continue
		}
		r.t.Fatalf("once: %v, %v\n%s", err, r.ctx.Err(), out)
	}
}

// judge counts: no id is missing at the target, none was taken under two keys
// or twice in one body, no key came with two bodies, the other sink has every
// record once, and the books balance.
func (r *rack) judge(what string) {
	t := r.t
	t.Helper()
	verdict, err := r.target.Judge(slices.Collect(maps.Keys(r.ids)))
	if err != nil {
		t.Fatal(err)
	}
	stats, err := r.target.Stats(r.ctx)
	if err != nil {
		t.Fatal(err)
	}
	violations := verdict.Missing.N + verdict.Unexpected.N + verdict.TwoKeys.N + verdict.Doubled.N + verdict.TwoBodies.N + verdict.NoKey
	t.Logf("TORTURE %s; %d files, %d records, %d ids expected; %d requests, of which %d accepted and %d resent after they were; violations: %d",
		what, r.files, r.next, len(r.ids), stats.Requests, verdict.Requests, stats.Repeated, violations)
	if !verdict.OK() {
		t.Errorf("the target: %v", verdict)
	}
	r.judgeMix()
	copied(t, r.path("out/orders.ndjson"), r.dropped)
	cmd, out := r.command("audit")
	if err := cmd.Run(); err != nil {
		t.Errorf("audit: %v\n%s", err, out)
	}
	cmd, out = r.command("arrivals", "--json")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), `"state":"done"`); n != r.files {
		t.Errorf("%d arrivals are done, want %d:\n%s", n, r.files, out)
	}
	if n := r.backlog(); n > 0 {
		t.Errorf("%d files were not put away", n)
	}
}

// TestTorture kills the daemon with SIGKILL at random moments and at each named
// point, while files come, settings change on disk and by SIGHUP, the ledger's
// clock jumps, and its log ends in a torn page. Then one run goes through, and
// the judge counts.
func TestTorture(t *testing.T) {
	t.Parallel()
	kills := knob(t, "TORTURE_KILLS", 12)
	seed := uint64(knob(t, "TORTURE_SEED", 1))
	m := mixOf(seed)
	r := newMixedRack(t, time.Duration(knob(t, "TORTURE_MINUTES", 8))*time.Minute, knob(t, "TORTURE_RECORDS", 3000), seed, m)
	at := map[string]int{}
	begun := time.Now()
	for kill := range kills {
		points, late := r.weather()
		for fresh := late < usualLate; r.backlog() < 2 || fresh; fresh = false {
			r.drop()
		}
		r.settings(r.rnd.IntN(3))
		env := []string{clockBy + "=" + []string{"", "40h", "-40h", "5m"}[r.rnd.IntN(4)]}
		var meanwhile func(int)
		after := late
		point := "at random"
		if kill%2 == 0 {
			p := points[kill/2%len(points)]
			nth := 1
			if p == pipeline.AfterClaim || p == pipeline.AfterSend || p == pipeline.AfterSettle {
				nth += r.rnd.IntN(20)
			}
			env = append(env, fmt.Sprintf("%s=%s:%d", dieAt, p, nth))
			point = string(p)
		} else {
			after = time.Duration(50+r.rnd.IntN(600)) * time.Millisecond
			if r.rnd.IntN(4) == 0 {
				meanwhile = func(pid int) {
					time.Sleep(after / 2) // a moment as random as the kill's
					r.settings(r.rnd.IntN(3))
					_ = syscall.Kill(pid, syscall.SIGHUP)
				}
			}
		}
		if r.kill(after, meanwhile, env...) != (point != "at random") {
			point = "late"
		}
		at[point]++
		if r.rnd.IntN(5) == 0 {
			tearLog(t, r.path("state/ledger.db-wal"), r.rnd)
		}
		if (kill+1)%50 == 0 {
			fmt.Fprintf(os.Stderr, "torture: %d of %d kills in %s, %d files\n", kill+1, kills, time.Since(begun).Round(time.Second), r.files)
		}
	}
	r.fair()
	r.finish()
	r.judge(fmt.Sprintf("%d kills (%s), seed %d (%s), %s", kills, counted(at), seed, m, time.Since(begun).Round(time.Second)))
}

// counted is a map of counts for people.
func counted(n map[string]int) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(n)) {
		parts = append(parts, fmt.Sprintf("%d %s", n[k], k))
	}
	return strings.Join(parts, ", ")
}

// tearLog leaves what a power cut leaves of a page that was being appended.
func tearLog(t *testing.T, path string, rnd *rand.Rand) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	torn := make([]byte, 1+rnd.IntN(6000))
	for i := range torn {
		torn[i] = byte(rnd.Uint32())
	}
	if _, err := f.Write(torn); err != nil {
		t.Fatal(err)
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
	for id := range ids {
		if !seen[id] {
			t.Errorf("%s was not copied", id)
		}
	}
	if len(seen) != len(ids) {
		t.Errorf("%d records were copied, want %d", len(seen), len(ids))
	}
}
