package alert

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestBodies(t *testing.T) {
	n := Notice{Kind: "held", Severity: "warning", Pipeline: "orders", Arrival: "7", Message: `he said "no" \o/`, Since: "2026-03-05T06:00:00Z"}
	object := string(n.JSON())
	for name, c := range map[string]struct{ kind, template, want, contentType string }{
		"object":       {"object", "", object, "application/json"},
		"array":        {"array", "", "[" + object + "]", "application/json"},
		"ndjson":       {"ndjson", "", object + "\n", "application/x-ndjson"},
		"in a string":  {"template", `{"text": "*{severity}*: {message}"}`, `{"text": "*warning*: he said \"no\" \\o/"}`, "application/json"},
		"alone":        {"template", `{"m": {message}, "over": {over}, "all": {record}}`, `{"m": "he said \"no\" \\o/", "over": false, "all": ` + object + `}`, "application/json"},
		"after quotes": {"template", `{"a\"": {arrival}}`, `{"a\"": "7"}`, "application/json"},
		"a list":       {"template", `{records}`, `[` + object + `]`, "application/json"},
		"plain":        {"template", "Subject: {kind} of {pipeline}\n\n{message}", "Subject: held of orders\n\n" + n.Message, "text/plain; charset=utf-8"},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := NewBody(c.kind, c.template)
			if err != nil {
				t.Fatal(err)
			}
			if got, contentType := b.Render(&n); string(got) != c.want || contentType != c.contentType {
				t.Errorf("%s %s\nwant %s %s", contentType, got, c.contentType, c.want)
			}
		})
	}
	for name, c := range map[string]struct{ kind, template, want string }{
		"no field":      {"template", `{"text": "hello"}`, "holds no field"},
		"broken JSON":   {"template", `{"text": "{message}"`, "does not make valid JSON"},
		"unquoted word": {"template", `{text: "{message}"}`, "does not make valid JSON"},
		"a file":        {"file", "", "alerts go with object"},
	} {
		if _, err := NewBody(c.kind, c.template); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What compiles makes valid JSON, whatever the fields hold.
func FuzzTemplate(f *testing.F) {
	f.Add(`{"text": "{message}"}`, "a \"b\"\n\x00\xff")
	f.Add(`{"a": {record}, "b": "{record}", "c": [{since}, {over}]}`, "\\")
	f.Add(`[{records}]`, "{message}")
	f.Fuzz(func(t *testing.T, template, text string) {
		b, err := NewBody("template", template)
		if err != nil {
			return
		}
		n := Notice{Kind: text, Message: text, Name: text, Action: text, Pipeline: text}
		out, contentType := b.Render(&n)
		if contentType == "application/json" && utf8.ValidString(template) && !json.Valid(out) {
			t.Fatalf("%q with %q makes %q", template, text, out)
		}
	})
}
