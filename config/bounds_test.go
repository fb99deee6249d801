package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// message loads text and returns the problems' messages.
func messages(t *testing.T, text string) string {
	t.Helper()
	_, problems := Load(filepath.Join(tree(t, map[string]string{"c.yaml": text}), "c.yaml"))
	var out []string
	for _, p := range problems {
		out = append(out, p.Message)
	}
	return strings.Join(out, "\n")
}

func wants(t *testing.T, text, want string) {
	t.Helper()
	if got := messages(t, text); !strings.Contains(got, want) {
		t.Errorf("problems %.300q, want %q", got, want)
	}
}

func TestFileSize(t *testing.T) {
	fits := small + strings.Repeat("#", maxFile-len(small))
	if got := messages(t, fits); got != "" {
		t.Errorf("1 MiB: %s", got)
	}
	wants(t, fits+"#", "cannot be read: is larger than 1MiB")
}

func TestDepth(t *testing.T) {
	nested := func(n int) string {
		return small + "    record: {fields: {f: {value: " + strings.Repeat("[", n) + strings.Repeat("]", n) + "}}}\n"
	}
	if got := messages(t, nested(40)); got != "" {
		t.Errorf("depth 40: %s", got)
	}
	wants(t, nested(100), "exceeded max depth of 64")
	wants(t, nested(100_000), "exceeded max depth of 64")
	wants(t, strings.Repeat("- ", 400_000), "exceeded max depth of 64")

	// Aliases go deeper than the text.
	var b strings.Builder
	b.WriteString("x-0: &a0 [1]\n")
	for i := range 70 {
		fmt.Fprintf(&b, "x-%d: &a%d [*a%d]\n", i+1, i+1, i)
	}
	wants(t, b.String()+small+"    record: {fields: {f: {value: *a70}}}\n", "nested deeper than 64")
}

func TestAliasBomb(t *testing.T) {
	var b strings.Builder
	b.WriteString("x-0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n")
	for i := range 12 {
		fmt.Fprintf(&b, "x-%d: &a%d [%s*a%d]\n", i+1, i+1, strings.Repeat(fmt.Sprintf("*a%d, ", i), 9), i)
	}
	// Under x-… it harms nobody; used, it is refused.
	if got := messages(t, b.String()+small); got != "" {
		t.Errorf("unused: %s", got)
	}
	wants(t, b.String()+small+"    record: {fields: {f: {value: *a12}}}\n", "more than 100000 values, aliases counted at each use")
	wants(t, b.String()+strings.Replace(small, "{type: dir", "{<<: *a12, type: dir", 1), "more than 100000 values")
}

func TestManyOfEverything(t *testing.T) {
	var b strings.Builder
	b.WriteString("sinks: {out: {type: stdout}}\ndefaults: {pipeline: {sinks: [out], dedupe: {keep: 10d}}}\npipelines:\n")
	for i := range 2000 {
		fmt.Fprintf(&b, "  p%d: {source: {type: dir, path: in/%d}}\n", i, i)
	}
	if got := messages(t, b.String()); got != "" {
		t.Errorf("2,000 pipelines: %s", got)
	}
	wants(t, small+"    record: {key: ["+strings.Repeat("k,", 65)+"]}\n", "`key` has more than 64 entries")
	wants(t, small+"    record: {fields: {"+strings.Repeat("k", 10)+": "+strings.Repeat("x", 100)+", "+manyKeys(maxItems+1)+"}}\n", "has more than 16384 entries")
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "f%d: x, ", i)
	}
	return b.String()
}

func TestIncludeBounds(t *testing.T) {
	dir := tree(t, map[string]string{"c.yaml": "include: [\"deep/*/*/*.yaml\"]\n" + small, "deep/a/b/c.yaml": "x-a: 1\n"})
	listed := 3
	if _, err := expand(dir, "deep/*/*/*.yaml", &listed); err == nil || !strings.Contains(err.Error(), "name a folder") {
		t.Errorf("3 entries were not too many: %v", err)
	}
	listed = 100
	if got, err := expand(dir, "deep/*/*/*.yaml", &listed); err != nil || len(got) != 1 {
		t.Errorf("%q, %v", got, err)
	}
	if _, problems := Load(filepath.Join(dir, "c.yaml")); len(problems) != 0 {
		t.Error(rendered(problems, dir))
	}
	if got, err := expand(filepath.Join(dir, "deep"), "../c.yaml", &listed); err != nil || len(got) != 1 || got[0] != filepath.Join(dir, "c.yaml") {
		t.Errorf("%q, %v", got, err)
	}
}

// A pipe as an included file or a ${file:…} would never end.
func TestPipesAreNotRead(t *testing.T) {
	dir := tree(t, map[string]string{"c.yaml": "include: [pipe.yaml]\nstate_dir: \"${file:pipe.yaml}\"\n" + small})
	mkfifo(t, filepath.Join(dir, "pipe.yaml"))
	_, problems := Load(filepath.Join(dir, "c.yaml"))
	got := rendered(problems, dir)
	if strings.Count(got, "is no regular file") != 2 {
		t.Errorf("got %s", got)
	}
}

func TestFilledInBounds(t *testing.T) {
	dir := tree(t, map[string]string{
		"big":  strings.Repeat("x", maxFile),
		"huge": strings.Repeat("x", maxFile+1),
		"c.yaml": "x-a: 1\nstate_dir: \"" + strings.Repeat("${file:big}", 17) + "\"\n" +
			"include: [\"${file:huge}\"]\n" + small,
	})
	_, problems := Load(filepath.Join(dir, "c.yaml"))
	got := rendered(problems, dir)
	for _, want := range []string{"bring in more than 16MiB", "${file:huge}`: is larger than 1MiB"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %.400s", want, got)
		}
	}
}

func TestReadError(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may read all")
	}
	dir := tree(t, map[string]string{"c.yaml": small})
	if err := os.Chmod(filepath.Join(dir, "c.yaml"), 0); err != nil {
		t.Fatal(err)
	}
	if _, problems := Load(filepath.Join(dir, "c.yaml")); !strings.Contains(rendered(problems, dir), "permission denied") {
		t.Error(rendered(problems, dir))
	}
}

// Texts that were made to be slow to read, to check or to show. What they
// lead to does not matter; that they end does.
func TestHostileTextsEnd(t *testing.T) {
	rep := func(s string, size int) string { return strings.Repeat(s, size/len(s)) }
	const size = maxFile / 6
	pipelines := func(n int, source string) string {
		var b strings.Builder
		b.WriteString("sinks: {out: {type: stdout}}\ndefaults: {pipeline: {sinks: [out]}}\npipelines:\n")
		for i := range n {
			fmt.Fprintf(&b, "  p%d: {source: {type: dir, "+source+"}}\n", i)
		}
		return b.String()
	}
	for name, text := range map[string]string{
		"colons":         rep(":", size),
		"keys":           rep("a: ", size),
		"secrets":        rep("token: [", size),
		"more secrets":   "{" + rep("token: 'x, ", size),
		"secret lines":   rep("token: |\n", size),
		"equals":         rep("token==", size),
		"URLs":           rep("://a@", size),
		"a long line":    "x: {" + rep("y: 1, ", size/8) + "}",
		"unknown keys":   "log: {" + manyKeys(5000) + "}\n" + small,
		"same folder":    pipelines(1000, "path: in, match: [x%[1]d*]"),
		"long globs":     pipelines(400, "path: in, match: ["+strings.TrimSuffix(rep(rep("*a", 400)+"%[1]d, ", 2000), ", ")+"]"),
		"alternatives":   pipelines(400, "path: in, match: [\""+rep("{a,b}", 500)+"%[1]d\"]"),
		"deep folder":    pipelines(200, "path: \""+rep("a/", 4000)+"%[1]d\""),
		"placeholders":   "sinks: {a: {type: http, url: \"http://x.example/" + rep("{a}", size/2) + "\"}}\n",
		"interpolations": "state_dir: \"" + rep("${env:PATH}", size) + "\"\n" + small,
		"missing sinks":  "pipelines: {p: {source: {type: dir, path: in}, sinks: [" + manyNames(16_000) + "]}}\nsinks: {out: {type: stdout}}\n",
	} {
		t.Run(name, func(t *testing.T) {
			_, problems := Load(filepath.Join(tree(t, map[string]string{"c.yaml": text}), "c.yaml"))
			rendered(problems, "")
		})
	}
}

func manyNames(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "s%d, ", i)
	}
	return b.String()
}
