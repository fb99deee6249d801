package daemon

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"ingestd/ingest"
	"ingestd/sinks/httpapi"
)

func TestAcceptWhen(t *testing.T) {
	header := http.Header{"X-State": {"done"}}
	for _, tt := range []struct{ source, body, want, text string }{
		{"body.ok == true", `{"ok":true}`, "delivered", ""},
		{"body.ok == true", `{"ok":false}`, "refused", "(body.ok == true) does not hold"},
		{"body.ok == true", `{}`, "refused", ""},
		{"body.ok == true", `[1]`, "refused", "does not hold: column"},
		{"body.result.code == 0", `{"error":"x"}`, "refused", "cannot fetch code"},
		{"body.ok == true", `<html>log in`, "unknown", "no JSON"},
		{"body.ok == true", "", "unknown", "empty"},
		{"body.ok == true", `{"ok":tr`, "unknown", "no JSON"},
		{"body.ok == true", `{"ok":true} {}`, "unknown", "no JSON"},
		{"status == 200", "<html>", "delivered", ""},
		{"status in [200, 202]", "", "delivered", ""},
		{`body contains "OK"`, "all OK", "delivered", ""},
		{`body contains "OK"`, "no", "refused", ""},
		{`headers["X-STATE"] == "done"`, "", "delivered", ""},
		{`headers["x-other"] == "done"`, "", "refused", ""},
		{`body == nil`, "", "delivered", ""},
	} {
		f, err := acceptWhen(tt.source)
		if err != nil {
			t.Fatal(err)
		}
		err = f(httpapi.Reply{Status: 200, Header: header, Body: []byte(tt.body)})
		var reject *ingest.Reject
		got := "unknown"
		switch {
		case err == nil:
			got = "delivered"
		case errors.As(err, &reject):
			got = "refused"
		}
		if got != tt.want || err != nil && !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s over %q: %s (%v), want %s", tt.source, tt.body, got, err, tt.want)
		}
	}
}

// What is wrong with an expression is shown where it stands, however the YAML
// is written.
func TestExpressionsHavePlaces(t *testing.T) {
	const tail = "\npipelines: {p: {source: {type: dir, path: drop}, sinks: [out]}}\n"
	t.Setenv("WORD", "canary-word")
	for name, c := range map[string]struct{ yaml, want string }{
		"quoted":       {"sinks: {out: {type: http, url: \"http://x.example\", accept_when: 'status == 200 && bdy.ok'}}", ":1:83: unknown name bdy (valid here: body, headers, status)"},
		"plain":        {"sinks:\n  out:\n    type: http\n    url: http://x.example\n    accept_when: body.ok == tru", ":5:29: unknown name tru"},
		"block":        {"sinks:\n  out:\n    type: http\n    url: http://x.example\n    accept_when: |\n      body.ok &&\n        bdy.ok", ":7:9: unknown name bdy"},
		"escaped":      {"sinks: {out: {type: http, url: \"http://x.example\", accept_when: \"\\\"a\\\" == bdy\"}}", ":1:65: unknown name bdy"},
		"type":         {"sinks: {out: {type: http, url: \"http://x.example\", accept_when: 'status + 1'}}", ":1:66: the expression is a number"},
		"interpolated": {"sinks: {out: {type: http, url: \"http://x.example\", accept_when: \"${env:WORD} == 1\"}}", ":1:65: `accept_when`, with what"},
		"signed":       {"sinks: {out: {type: http, url: \"http://x.example\", auth: {type: hmac, header: x-sig, secret: abc, signed: \"{timestamp}\"}}}", ":1:107: `signed` holds {timestamp}"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg, problems := loadText(t, c.yaml+tail)
			if cfg != nil || !strings.Contains(problems.Error(), c.want) || strings.Contains(problems.Error(), "canary") {
				t.Errorf("%v, want %s", problems, c.want)
			}
		})
	}
}
