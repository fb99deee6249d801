package expr

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
)

func answer(t testing.TB, body string) map[string]any {
	t.Helper()
	v, err := JSON([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{"status": 200, "headers": map[string]string{"x-state": "ok"}, "body": v}
}

func options() Options {
	return Options{
		Names: map[string]any{"status": 0, "headers": map[string]string{}, "body": nil},
		Fold:  []string{"headers"}, Bool: true,
	}
}

func TestBool(t *testing.T) {
	for _, tt := range []struct {
		source, body string
		want         bool
		err          string
	}{
		{"body.ok == true", `{"ok":true}`, true, ""},
		{"body.ok == true", `{"ok":false}`, false, ""},
		{"body.ok == true", `{}`, false, ""},
		{"body.ok", `{}`, false, ""},
		{"body.ok", `{"ok":null}`, false, ""},
		{"body.ok", `{"ok":true}`, true, ""},
		{"body.ok", `{"ok":"yes"}`, false, "a text"},
		{"body.result.code == 0", `{"error":"x"}`, false, "cannot fetch code from <nil>"},
		{"body.result?.code == 0", `{"error":"x"}`, false, ""},
		{"body.code == 1", `{"code":1.0}`, true, ""},
		{"body.code == 9007199254740993", `{"code":9007199254740993}`, true, ""},
		{"body.code == 9007199254740993", `{"code":9007199254740992}`, false, ""},
		{"body.code > 1e300", `{"code":1e999}`, true, ""},
		{`headers["X-State"] == "ok" && status == 200`, `1`, true, ""},
		{`headers.nothing == ""`, `1`, true, ""},
		{`all(body.items, .ok)`, `{"items":[{"ok":true},{"ok":true}]}`, true, ""},
		{`all(body.items, .ok)`, `{"items":[{"ok":true},{"ok":false}]}`, false, ""},
		{`len(filter(body, # > 1)) == 2 && count(body, # == 1) == 1 && sum(map(body, # * 2)) == 12`, `[1,2,3]`, true, ""},
		{`any(body, all(body, # > 0))`, `[1,2,3]`, true, ""},
		{`body.x < 3`, `{"x":"a"}`, false, "<"},
		{`int(body) == 1`, `"1"`, true, ""},
		{"let n = body.n;\nn > 1", `{"n":2}`, true, ""},
	} {
		p, err := Compile(tt.source, options())
		if err != nil {
			t.Errorf("%s: %v", tt.source, err)
			continue
		}
		got, err := p.Bool(answer(t, tt.body))
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s over %s = %v, %v; want %v, %q", tt.source, tt.body, got, err, tt.want, tt.err)
		}
	}
}

func TestCompileErrors(t *testing.T) {
	for _, tt := range []struct {
		source, message string
		line, column    int
	}{
		{"", "empty", 1, 1},
		{strings.Repeat("1+", 4096), "longer than 4096", 1, 1},
		{strings.Repeat("1+", 1000) + "1 > 0", "node", 1, 502},
		{"bodi.ok == true", "unknown name bodi", 1, 1},
		{"status == 200 &&\n  bdy.ok", "unknown name bdy", 2, 3},
		{"status ==", "unexpected token EOF", 1, 9},
		{"status + 1", "a number, neither", 1, 1},
		{"status == 'x'", "mismatched types", 1, 8},
		{"now().Year() > 2000", "now", 1, 1},
		{`timezone("Europe/Berlin") != nil`, "timezone", 1, 1},
		{`"é" == bdy`, "unknown name bdy", 1, 8},
	} {
		_, err := Compile(tt.source, options())
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%.30s: %v", tt.source, err)
			continue
		}
		if !strings.Contains(e.Message, tt.message) || e.Line != tt.line || e.Column != tt.column {
			t.Errorf("%.30q: %q at %d:%d, want %q at %d:%d", tt.source, e.Message, e.Line, e.Column, tt.message, tt.line, tt.column)
		}
		if e.Error() == "" {
			t.Error("it says nothing")
		}
	}
	_, err := Compile("status == 200 &&\n  bdy.ok", options())
	if want := "unknown name bdy\n      bdy.ok\n      ^"; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
}

// What strangers send cannot make an innocent expression run for ever.
func TestBounds(t *testing.T) {
	many := "[" + strings.Repeat("1,", 20_000) + "1]"
	for _, source := range []string{
		`any(body, any(body, # == 2))`,
		`len(map(body, map(body, #))) == 0`,
		`sum(map(1..100000000, #)) > 0`,
		`any(body, count(body, # == 2) > 0)`,
	} {
		p, err := Compile(source, options())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Bool(answer(t, many)); err == nil {
			t.Errorf("%s went on to its end", source)
		}
	}
}

func TestJSON(t *testing.T) {
	for in, want := range map[string]any{
		`1`: int64(1), `-9223372036854775808`: int64(math.MinInt64), `9223372036854775808`: 9223372036854775808.0,
		`1.5`: 1.5, `1e2`: 100.0, `"a"`: "a", `true`: true, ` null `: nil, `"[[\"["`: `[["[`,
	} {
		if got, err := JSON([]byte(in)); got != want || err != nil {
			t.Errorf("%s: %#v, %v; want %#v", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", "{", `{"a":1} x`, "<html>", "1 2", "\"\xff", strings.Repeat("[", 65) + strings.Repeat("]", 65), strings.Repeat("[", 1<<20),
	} {
		if v, err := JSON([]byte(in)); err == nil {
			t.Errorf("%.20q is %v", in, v)
		}
	}
	if _, err := JSON([]byte(strings.Repeat("[", 64) + strings.Repeat("]", 64))); err != nil {
		t.Error(err)
	}
}

func FuzzCompile(f *testing.F) {
	for _, s := range []string{"body.ok == true", `headers["x"] in ["a"]`, "all(body, # > 1)", "let x = 1; x > 0", "1..3", "body?.a ?? false", "if status > 1 { true } else { false }"} {
		f.Add(s, `{"ok":true}`)
	}
	f.Fuzz(func(t *testing.T, source, body string) {
		p, err := Compile(source, options())
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Line < 1 || e.Column < 1 {
				t.Fatalf("%q: %#v", source, err)
			}
			_ = e.Error()
			return
		}
		v, err := JSON([]byte(body))
		if err != nil {
			return
		}
		_, _ = p.Bool(map[string]any{"status": 200, "headers": map[string]string{}, "body": v})
	})
}

func BenchmarkBool(b *testing.B) {
	for _, source := range []string{"body.ok == true", "all(body.items, .ok)"} {
		b.Run(fmt.Sprint(len(source)), func(b *testing.B) {
			p, err := Compile(source, options())
			if err != nil {
				b.Fatal(err)
			}
			values := answer(b, `{"ok":true,"items":[{"ok":true},{"ok":true},{"ok":true}]}`)
			b.ReportAllocs()
			for b.Loop() {
				if ok, err := p.Bool(values); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	}
}
