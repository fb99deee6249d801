package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTemplateSecretsAreNotStored: what ${…} brings into a template is not in
// the snapshot, and comes back from the config of the day.
func TestTemplateSecretsAreNotStored(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	text := `
sinks: {s: {type: http, url: "http://h/x", body: template, template: '{"k":"${env:CANARY}","r":{records}}'}}
pipelines: {p: {source: {type: dir, path: d}, sinks: [s]}}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	load := func(value string) *Config {
		t.Helper()
		t.Setenv("CANARY", value)
		c, problems := Load(path)
		if err := problems.Err(); err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := load("canary-0123456789")
	snap, err := c.Pipelines[0].Snapshot(c.Sinks)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(snap), "canary-0123456789") {
		t.Errorf("the snapshot holds the secret: %s", snap)
	}
	_, settings, err := FromSnapshot(snap)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Unveil(settings); err != nil || settings[0].Template != c.Sinks[0].Template {
		t.Errorf("%q, %v", settings[0].Template, err)
	}
	_, settings, _ = FromSnapshot(snap)
	if err := load("rotated-0123456789").Unveil(settings); err == nil {
		t.Error("another value took the place of the one that the arrival began with")
	}
	if b := c.Sinks[0].Brought(); len(b) != 1 || b[0].Reveal() != "canary-0123456789" {
		t.Errorf("%d values brought in", len(b))
	}
}
