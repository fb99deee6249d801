package daemon

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ingestd/samples"

	"go.yaml.in/yaml/v4"
)

const packageDir = "../../../.ci/package"

// What the Debian package brings is right: its config, and each file that it
// takes from the repository.
func TestPackage(t *testing.T) {
	cfg, problems := Load(filepath.Join(packageDir, "ingestd.yaml"))
	if len(problems) > 0 {
		t.Error(problems)
	}
	if cfg == nil || cfg.StateDir != "/var/lib/ingestd" {
		t.Fatalf("the config is %+v", cfg)
	}
	tmpfiles, err := os.ReadFile(filepath.Join(packageDir, "tmpfiles.conf"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{cfg.StateDir, cfg.Pipelines[0].Source.Dir.Path} {
		if !strings.Contains(string(tmpfiles), "d "+dir+" ") {
			t.Errorf("nobody makes %s", dir)
		}
	}

	text, err := os.ReadFile(filepath.Join(packageDir, "nfpm.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var nfpm struct {
		Contents []struct{ Src, Dst string }
		Scripts  map[string]string
	}
	if err := yaml.Unmarshal(text, &nfpm); err != nil {
		t.Fatal(err)
	}
	files := nfpm.Scripts
	to := map[string]bool{}
	for _, c := range nfpm.Contents {
		to[c.Dst] = true
		if !strings.HasPrefix(c.Src, "${STAGE}/") && c.Src != "" {
			files[c.Dst] = c.Src
		}
	}
	for what, src := range files {
		if _, err := os.Stat(filepath.Join("../../..", src)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, dst := range []string{"/usr/bin/ingestd", "/usr/lib/systemd/system/ingestd.service", "/etc/ingestd/ingestd.yaml", "/usr/share/man/man1"} {
		if !to[dst] {
			t.Errorf("the package brings no %s", dst)
		}
	}
}

// The unit leaves no more open than it says.
func TestUnitIsHardened(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("there is no systemd-analyze")
	}
	if err := exec.Command(analyze, "security", "--help").Run(); err != nil {
		t.Skip("systemd-analyze does not work here: ", err)
	}
	path := filepath.Join(t.TempDir(), "ingestd.service")
	if err := os.WriteFile(path, samples.Unit(), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(analyze, "security", "--no-pager", "--offline=true", "--threshold=15", path).CombinedOutput()
	if strings.Contains(string(out), "unrecognized option") {
		t.Skip("systemd-analyze is too old")
	}
	if err != nil {
		t.Errorf("systemd-analyze: %v\n%s", err, out)
	}
}
