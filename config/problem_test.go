package config

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// Each case of testdata/problems.txt is a config and, below "--- problems", exactly what a
// person reads about it.
func TestProblems(t *testing.T) {
	t.Setenv("INGESTD_TEST_WORD", "hunter2")
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	const golden = "testdata/problems.txt"
	text, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for i, c := range strings.Split("\n"+string(text), "\n=== ") {
		if i == 0 {
			continue
		}
		name, rest, _ := strings.Cut(c, "\n")
		config, want, ok := strings.Cut(rest+"\n", "\n--- problems\n")
		if !ok {
			t.Fatalf("case %q has no --- problems", name)
		}
		config += "\n"
		t.Run(name, func(t *testing.T) {
			dir := tree(t, map[string]string{
				"c.yaml":        config,
				"more.yaml":     "sinks:\n  out: {type: file, path: x}\nadmin: {}\npipelins: {}\nalerts: {}\nsftp_server: {listen: x}\n",
				"conf.d/a.yaml": "",
			})
			cfg, problems := Load(filepath.Join(dir, "c.yaml"))
			if (cfg == nil) != (problems.Err() != nil) {
				t.Errorf("config %v with error %v", cfg, problems.Err())
			}
			got := rendered(problems, dir)
			fmt.Fprintf(&out, "=== %s\n%s--- problems\n%s", name, config, got)
			if !*update && strings.TrimRight(got, "\n") != strings.TrimRight(want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if shown := strings.ReplaceAll(got, "hunter2.example", ""); strings.Contains(shown, "hunter2") && !strings.Contains(name, "heartbeat") {
				t.Errorf("a secret shows:\n%s", shown)
			}
			if len(problems) == 0 {
				t.Error("no problem was found")
			}
		})
	}
	if *update && !t.Failed() {
		if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestProblemsAsErrors(t *testing.T) {
	warning := Problem{File: "c.yaml", Line: 3, Col: 4, Message: "doubtful", Warning: true}
	broken := Problem{File: "c.yaml", Line: 5, Col: 6, Message: "wrong", Hint: "write it right"}
	if err := (Problems{warning}).Err(); err != nil {
		t.Errorf("a warning is the error %v", err)
	}
	err := Problems{warning, broken}.Err()
	if err == nil || err.Error() != "c.yaml:5:6: wrong (write it right)" {
		t.Errorf("error %v", err)
	}
	if got := (Problems{warning, broken}).Warnings(); len(got) != 1 || got[0].Error() != "c.yaml:3:4: warning: doubtful" {
		t.Errorf("warnings %v", got)
	}
	var all Problems
	all = all.Append(nil).Append(fmt.Errorf("compile: %w", broken)).Append(err).Append(errors.New("odd"))
	if len(all) != 3 || all[2].Message != "odd" || len(Problems{broken}.Append(warning)) != 2 || (Problems{broken}).Append(warning)[0].Line != 3 {
		t.Errorf("appended %v", all)
	}
	var b strings.Builder
	if err := (Problems{broken}).Render(&b, true); err != nil || b.String() != "\x1b[1mc.yaml:5:6:\x1b[0m wrong\n    \x1b[32mwrite it right\x1b[0m\n" {
		t.Errorf("rendered %q, %v", b.String(), err)
	}
}

func TestTooManyProblems(t *testing.T) {
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, "k%d: 1\n", i)
	}
	_, problems := Load(filepath.Join(tree(t, map[string]string{"c.yaml": b.String()}), "c.yaml"))
	if len(problems) != maxProblems+1 || problems[maxProblems].Message != "and 801 more problems" {
		t.Errorf("%d problems, the last: %v", len(problems), problems[len(problems)-1])
	}
}

func TestNoFile(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		dir + "/none.yaml": "none.yaml: no such file\n    `ingestd init` writes a config to start from\n",
		dir + "/":          ": cannot be read: is a directory\n    `ingestd init` writes a config to start from\n",
	} {
		c, problems := Load(path)
		if c != nil || rendered(problems, dir) != want {
			t.Errorf("%s: %v %q", path, c, rendered(problems, dir))
		}
	}
}
