package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"ingestd/cmd/internal/daemon"
	"ingestd/sinks/sinktest"

	"github.com/rogpeppe/go-internal/testscript"
)

// asMain makes the test binary the real one.
const asMain = "INGESTD_TEST_AS_MAIN"

// alertHaste lets scripts see in seconds what takes people minutes.
const alertHaste = 60

// noSleep keeps commands from waiting a second at their end, as the race
// detector has them do.
const noSleep = "atexit_sleep_ms=0"

func TestMain(m *testing.M) {
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", noSleep)
	}
	sinktest.MainIfAsked()
	if os.Getenv(asMain) == "1" {
		os.Exit(run(harmed()))
	}
	testscript.Main(m, map[string]func(){"ingestd": func() { os.Exit(run(hasty)) }})
}

// hasty tells alerts sooner.
func hasty(o *daemon.Options) { o.Haste = alertHaste }

// TestScript runs the command as its users do. Beside testscript's own
// commands there are:
//
//	code N CMD ARGS…     runs CMD, which must exit with N
//	target [SCRIPT]      starts a target in a process of its own; $TARGET is its
//	                     URL. Again: changes what it does
//	took N               the target took N records, each once
//	line N KEY=VALUE…    the N-th line of stdout (from 1, or -1 for the last) is
//	                     a JSON object with these values; a.b looks into objects,
//	                     a.0 into lists
//	has KEY…             every line of stdout is an object with these keys
//	save NAME N KEY      sets $NAME to a value of the N-th line
//	await KEY=VALUE… -- CMD…   runs CMD until a line of its output has these
//	                     values
func TestScript(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("INGESTD_CONFIG", "")
			e.Setenv("TMPDIR", e.WorkDir)
			e.Setenv("TZ", "UTC")
			e.Setenv("GORACE", noSleep)
			e.Values[targetKey{}] = &scriptTarget{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": cmdCode, "target": cmdTarget, "took": cmdTook, "line": cmdLine, "has": cmdHas, "save": cmdSave, "await": cmdAwait,
		},
	})
}

func cmdCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N CMD ARGS…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var ee *exec.ExitError
	if errors.As(err, &ee) {
		got = ee.ExitCode()
	} else {
		ts.Check(err)
	}
	ts.Logf("[stdout]\n%s[stderr]\n%s", ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

type targetKey struct{}

type scriptTarget struct{ p *sinktest.Process }

func cmdTarget(ts *testscript.TestScript, _ bool, args []string) {
	var script sinktest.Script
	if len(args) > 0 {
		ts.Check(json.Unmarshal([]byte(args[0]), &script))
	}
	t := ts.Value(targetKey{}).(*scriptTarget)
	if t.p != nil {
		ts.Check(t.p.Set(context.Background(), script))
		return
	}
	p, err := sinktest.Spawn(context.Background(), sinktest.Options{Journal: ts.MkAbs("target.journal"), Script: script})
	ts.Check(err)
	t.p = p
	ts.Defer(func() { _ = p.Stop() })
	ts.Setenv("TARGET", p.URL)
}

func cmdTook(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.ParseInt(args[0], 10, 64)
	ts.Check(err)
	t := ts.Value(targetKey{}).(*scriptTarget)
	s, err := t.p.Stats(context.Background())
	ts.Check(err)
	if s.IDs != want {
		ts.Fatalf("the target took %d records, want %d (%+v)", s.IDs, want, s)
	}
	v, err := t.p.Judge(nil)
	ts.Check(err)
	if v.TwoKeys.N > 0 || v.Doubled.N > 0 || v.TwoBodies.N > 0 || v.NoKey > 0 {
		ts.Fatalf("the target says: %v", v)
	}
}

// objects are the lines of stdout.
func objects(ts *testscript.TestScript) []any { return parseLines(ts, ts.ReadFile("stdout")) }

func parseLines(ts *testscript.TestScript, text string) []any {
	var out []any
	sc := bufio.NewScanner(strings.NewReader(text))
	sc.Buffer(nil, 16<<20)
	for sc.Scan() {
		var v any
		dec := json.NewDecoder(strings.NewReader(sc.Text()))
		dec.UseNumber()
		if err := dec.Decode(&v); err != nil {
			ts.Fatalf("no JSON: %s: %v", sc.Text(), err)
		}
		out = append(out, v)
	}
	return out
}

func nth(ts *testscript.TestScript, arg string) any {
	n, err := strconv.Atoi(arg)
	ts.Check(err)
	all := objects(ts)
	if n < 0 {
		n = len(all) + n + 1
	}
	if n < 1 || n > len(all) {
		ts.Fatalf("there are %d lines", len(all))
	}
	return all[n-1]
}

func lookup(v any, path string) (any, bool) {
	for key := range strings.SplitSeq(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			var ok bool
			if v, ok = x[key]; !ok {
				return nil, false
			}
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(x) {
				return nil, false
			}
			v = x[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// matches compares values as text; a value of lists or objects is their JSON.
func matches(v any, pairs []string) error {
	for _, pair := range pairs {
		path, want, ok := strings.Cut(pair, "=")
		if !ok {
			return fmt.Errorf("%q is no KEY=VALUE", pair)
		}
		got, ok := lookup(v, path)
		if !ok {
			return fmt.Errorf("there is no %q", path)
		}
		text := fmt.Sprint(got)
		switch got.(type) {
		case map[string]any, []any, nil:
			b, _ := json.Marshal(got)
			text = string(b)
		}
		if text != want {
			return fmt.Errorf("%s is %s, want %s", path, text, want)
		}
	}
	return nil
}

func cmdLine(ts *testscript.TestScript, neg bool, args []string) {
	err := matches(nth(ts, args[0]), args[1:])
	if (err != nil) != neg {
		ts.Fatalf("line %s: %v", args[0], err)
	}
}

func cmdHas(ts *testscript.TestScript, _ bool, args []string) {
	all := objects(ts)
	if len(all) == 0 {
		ts.Fatalf("there are no lines")
	}
	for _, v := range all {
		for _, key := range args {
			if _, ok := lookup(v, key); !ok {
				ts.Fatalf("no key %q in %v", key, v)
			}
		}
	}
}

func cmdSave(ts *testscript.TestScript, _ bool, args []string) {
	v, ok := lookup(nth(ts, args[1]), args[2])
	if !ok {
		ts.Fatalf("there is no %q", args[2])
	}
	ts.Setenv(args[0], fmt.Sprint(v))
}

func cmdAwait(ts *testscript.TestScript, _ bool, args []string) {
	var pairs []string
	for len(args) > 0 && args[0] != "--" {
		pairs, args = append(pairs, args[0]), args[1:]
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := ts.Exec(args[1], args[2:]...)
		if err == nil {
			err = errors.New("no line matches")
			for _, v := range objects(ts) {
				if matches(v, pairs) == nil {
					return
				}
			}
		}
		if time.Now().After(deadline) {
			ts.Fatalf("waited in vain: %v; last:\n%s%s", err, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
		}
	}
}
