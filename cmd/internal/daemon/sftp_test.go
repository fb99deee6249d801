package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ingestd/ingest/source/sftp/sshdtest"
	"ingestd/samples"
)

// TestSFTPConfig: the shipped sample is right once its key and known_hosts are
// there, and what the room finds wrong has its place in the file.
func TestSFTPConfig(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key := write("id_ed25519", sshdtest.NewKey(t, "ed25519"))
	write("known_hosts", "")
	sample := string(samples.SFTP())
	if _, problems := Load(write("sftp.yaml", sample)); len(problems) > 0 {
		t.Errorf("the sample: %v", problems)
	}
	const known = "      known_hosts: known_hosts\n"
	for _, tt := range []struct{ name, old, new, want string }{
		{"pin", known, "      host_keys: [\"ssh-ed25519 nonsense\"]\n", "sftp.yaml:19:18: line 1 is no host key"},
		{"move", `to: "done/{date}/"`, "to: ./", "is not kept apart from what arrives"},
		{"schedule", "poll: 1m", "schedule: {cron: nonsense}", "cron"},
		{"nothing pinned", known, "", "`ingestd sftp trust HOST` prints the lines"},
	} {
		_, problems := Load(write("sftp.yaml", strings.Replace(sample, tt.old, tt.new, 1)))
		if err := problems.Err(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	if err := os.WriteFile(key, []byte("canary"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, problems := Load(write("sftp.yaml", sample))
	if err := problems.Err(); err == nil || !strings.Contains(err.Error(), "is no private key in OpenSSH or PEM format") || strings.Contains(err.Error(), "canary") {
		t.Errorf("no key: %v", err)
	}
}
