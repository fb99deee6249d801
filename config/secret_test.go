package config

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every way to write a secret, each with a mistake on its line or in itself.
func TestSecretsNeverShow(t *testing.T) {
	t.Setenv("INGESTD_TEST_CANARY", "c4nary")
	for name, text := range map[string]string{
		"misspelt key":      "sinks: {a: {type: http, url: http://x.example, auth: {type: bearer, tokne: c4nary}}}\n",
		"in no auth":        "sinks: {a: {type: http, url: http://x.example, token: c4nary}}\n",
		"odd auth":          "sinks: {a: {type: http, url: http://x.example, auth: {type: basik, whatever: c4nary}}}\n",
		"auth list":         "sinks: {a: {type: http, url: http://x.example, auth: [c4nary]}}\n",
		"auth text":         "sinks: {a: {type: http, url: http://x.example, auth: Bearer c4nary}}\n",
		"wrong type":        "sinks: {a: {type: http, url: http://x.example, auth: {type: bearer, token: [c4nary, c4nary]}}}\n",
		"map":               "sinks: {a: {type: http, url: http://x.example, auth: {type: bearer, token: {x: c4nary}}}}\n",
		"block":             "sinks:\n  a:\n    type: http\n    url: http://x.example\n    auth:\n      type: bearer\n      token: |\n        c4nary\n    x: 1\n",
		"folded, no YAML":   "sinks:\n  a:\n    token: >\n      c4nary\n\t  c4nary\n    x: 1\n",
		"quoted over lines": "sinks:\n  a:\n    type: http\n    url: http://x.example\n    auth:\n      type: bearer\n      token: \"c4nary\n        c4nary \\q\"\n",
		"list, no YAML":     "webhooks:\n  secrets:\n    - c4nary\n    - [c4nary\n",
		"user in a URL":     "sinks: {a: {type: http, url: \"https://c4nary:c4nary@x.example/\"}}\n",
		"broken URL":        "sinks: {a: {type: http, url: \"https://c4nary@x.example:99999/?api_key=c4nary\"}}\n",
		"env as URL":        "sinks: {a: {type: http, url: \"${env:INGESTD_TEST_CANARY}\"}}\n",
		"env as number":     "sinks: {a: {type: http, url: http://x.example, concurrency: \"${env:INGESTD_TEST_CANARY}\"}}\n",
		"env as word":       "log: {level: \"${env:INGESTD_TEST_CANARY}\"}\n",
		"env as bool":       "pipelines: {p: {source: {type: dir, path: x, recursive: \"${env:INGESTD_TEST_CANARY}\"}, sinks: []}}\n",
		"env as duration":   "retention: {done: \"${env:INGESTD_TEST_CANARY}\"}\n",
		"env as unit":       "retention: {done: \"5${env:INGESTD_TEST_CANARY}\"}\n",
		"env as size":       "pipelines: {p: {source: {type: dir, path: x, max_size: \"5${env:INGESTD_TEST_CANARY}\"}, sinks: []}}\n",
		"env as glob":       "pipelines: {p: {source: {type: dir, path: x, match: [\"[${env:INGESTD_TEST_CANARY}\"]}, sinks: []}}\n",
		"env as address":    "admin: {listen: \"${env:INGESTD_TEST_CANARY}\"}\n",
		"env as open admin": "admin: {listen: \"${env:INGESTD_TEST_CANARY}.example.com:80\"}\n",
		"env as list":       "pipelines: {p: {source: {type: dir, path: x}, sinks: \"${env:INGESTD_TEST_CANARY}\"}}\n",
		"env as sink":       "pipelines: {p: {source: {type: dir, path: x}, sinks: [\"${env:INGESTD_TEST_CANARY}\"]}}\n",
		"env as key":        "pipelines: {p: {source: {type: dir, path: x}, record: {key: [\"${env:INGESTD_TEST_CANARY}\", \"${env:INGESTD_TEST_CANARY}\"]}, sinks: [a]}}\n",
		"env as column":     "pipelines: {p: {source: {type: dir, path: x}, format: {type: csv, columns: [\"${env:INGESTD_TEST_CANARY}\", \"${env:INGESTD_TEST_CANARY}\"]}, sinks: [a]}}\n",
		"env as path":       "sinks: {a: {type: file, path: \"{${env:INGESTD_TEST_CANARY}}\"}}\n",
		"env as to":         "pipelines: {p: {source: {type: dir, path: x, when_done: {to: \"{${env:INGESTD_TEST_CANARY}}\"}}, sinks: [a]}}\n",
		"env as include":    "include: [\"${env:INGESTD_TEST_CANARY}.yaml\"]\n",
		"env as user":       "pipelines: {p: {source: {type: sftp_drop, user: \"${env:INGESTD_TEST_CANARY}\"}, sinks: [a]}}\n",
		"env as alert":      "alerts: [{sink: \"${env:INGESTD_TEST_CANARY}\", pipelines: [\"${env:INGESTD_TEST_CANARY}\"]}]\n",
		"header":            "sinks: {a: {type: http, url: http://x.example, headers: {X-Api-Key: c4nary}, x: 1}}\n",
		"header line end":   "sinks: {a: {type: http, url: http://x.example, headers: {Cookie: \"c4nary\\n\"}}}\n",
		"private key":       "pipelines: {p: {source: {type: sftp, auth: {private_key: c4nary, passphrse: c4nary}}}}\n",
		"verify":            "pipelines: {p: {source: {type: webhook, verify: {scheme: githb, secret: c4nary, secrets: [c4nary]}}}}\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := tree(t, map[string]string{"c.yaml": text})
			c, problems := Load(filepath.Join(dir, "c.yaml"))
			if c != nil || len(problems) == 0 {
				t.Fatal("no problem was found")
			}
			asJSON, err := json.Marshal(problems)
			if err != nil {
				t.Fatal(err)
			}
			for _, shown := range []string{rendered(problems, dir), problems.Error(), problems.Err().Error(), fmt.Sprintf("%v", problems), string(asJSON)} {
				if strings.Contains(shown, "c4nary") {
					t.Errorf("shows:\n%s", shown)
				}
			}
		})
	}
}

func TestSecretsOfAConfig(t *testing.T) {
	t.Setenv("INGESTD_TEST_CANARY", "c4nary")
	c := good(t, `
admin: {token: "${env:INGESTD_TEST_CANARY}"}
sinks:
  a: {type: http, url: http://x.example, auth: {type: basic, user: u, password: "${env:INGESTD_TEST_CANARY}"}, headers: {X-Key: "${env:INGESTD_TEST_CANARY}"}}
pipelines:
  p: {source: {type: dir, path: in}, format: {type: xlsx, password: "${env:INGESTD_TEST_CANARY}"}, sinks: [a]}
`)
	asJSON, err := json.Marshal(c.Sinks)
	if err != nil {
		t.Fatal(err)
	}
	snap, err := c.Pipelines[0].Snapshot(c.Sinks)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{fmt.Sprintf("%v %+v", c.Sinks, c.Pipelines), fmt.Sprintf("%#v", c.Admin), string(asJSON), string(snap)} {
		if strings.Contains(shown, "c4nary") {
			t.Errorf("shows: %s", shown)
		}
	}
	back, _, err := FromSnapshot(snap)
	if err != nil {
		t.Fatal(err)
	}
	if !back.Format.XLSX.Password.IsZero() {
		t.Error("a password came from a snapshot")
	}
	back.TakeSecrets(&c.Pipelines[0])
	if back.Format.XLSX.Password.Reveal() != "c4nary" {
		t.Error("the password was not taken over")
	}
}

func TestReadableSecrets(t *testing.T) {
	const literal = "admin: {token: hunter2}\n" + small
	for _, x := range []struct {
		text string
		mode os.FileMode
		warn bool
	}{
		{literal, 0o644, true},
		{literal, 0o640, false},
		{"admin: {token: \"${env:PATH}\"}\n" + small, 0o644, false},
		{small, 0o644, false},
	} {
		path := filepath.Join(tree(t, map[string]string{"c.yaml": x.text}), "c.yaml")
		if err := os.Chmod(path, x.mode); err != nil {
			t.Fatal(err)
		}
		c, problems := Load(path)
		if c == nil || problems.Err() != nil || (len(problems) == 1) != x.warn {
			t.Errorf("%o: %v", x.mode, problems)
		}
		if x.warn && rendered(problems, filepath.Dir(path)) != "c.yaml:1:16: warning: this file holds a secret and every user of this machine may read it\n"+
			"    admin: {token: ***}\n                   ^ chmod o-r, or ${file:…}, ${credential:…} or ${env:…}\n" {
			t.Errorf("got %s", rendered(problems, filepath.Dir(path)))
		}
	}
}

func TestInterpolation(t *testing.T) {
	dir := tree(t, map[string]string{"one": "1\n", "two": "2\r\n", "three": "3\n\n", "four": "4", "sub/cred": "secret\n"})
	t.Setenv("INGESTD_TEST_WORD", "word")
	t.Setenv("INGESTD_TEST_EMPTY", "")
	t.Setenv("CREDENTIALS_DIRECTORY", filepath.Join(dir, "sub"))
	f := newFiller(dir)
	for text, want := range map[string]string{
		"plain":                                           "plain",
		"${env:INGESTD_TEST_WORD}":                        "word",
		"a${env:INGESTD_TEST_WORD}b":                      "awordb",
		"[${env:INGESTD_TEST_EMPTY}]":                     "[]",
		"${file:one}${file:two}${file:three}${file:four}": "123\n4",
		"${file:" + dir + "/one}":                         "1",
		"${credential:cred}":                              "secret",
		"$${env:X}":                                       "${env:X}",
		"$$${env:X}":                                      "$${env:X}",
		"$ {x} $x $$":                                     "$ {x} $x $$",
	} {
		got, err := f.expand(text)
		if err != nil || got != want {
			t.Errorf("%s: %q, %+v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{
		"${", "${}", "${env:}", "${env}", "${env:INGESTD_TEST_NONE}", "${file:none}", "${file:sub}", "${credential:../one}", "${credential:none}", "${ENV:X}", "a ${env:X",
	} {
		if got, err := f.expand(text); err == nil {
			t.Errorf("%s: %q", text, got)
		}
	}
	// What comes in is a value, never YAML, and has no ${…} of its own.
	t.Setenv("INGESTD_TEST_YAML", "{x: 1} ${env:INGESTD_TEST_WORD} # no comment")
	c := good(t, "state_dir: ${env:INGESTD_TEST_YAML}\n"+small)
	if got := filepath.Base(c.StateDir); got != "{x: 1} ${env:INGESTD_TEST_WORD} # no comment" {
		t.Errorf("state_dir %s", got)
	}
}
