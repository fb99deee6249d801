package sftpdrop_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"ingestd/ingest/source/sftpdrop"
)

func TestHostKeys(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	if keys, err := sftpdrop.KnownHostKeys(dir, ""); err != nil || len(keys) != 0 {
		t.Errorf("before: %v, %v", keys, err)
	}
	var first [3]string
	var wg sync.WaitGroup
	for i := range first {
		wg.Go(func() {
			keys, err := sftpdrop.HostKeys(dir, "")
			if err != nil || len(keys) != 2 {
				t.Errorf("%d keys, %v", len(keys), err)
				return
			}
			first[i] = sftpdrop.Fingerprint(keys[0]) + sftpdrop.Fingerprint(keys[1])
		})
	}
	wg.Wait()
	if first[0] != first[1] || first[1] != first[2] || !strings.HasPrefix(first[0], "ED25519 SHA256:") || !strings.Contains(first[0], "RSA SHA256:") {
		t.Errorf("made at the same time: %q", first)
	}
	es, err := os.ReadDir(dir)
	if err != nil || len(es) != 2 {
		t.Errorf("left: %v, %v", es, err)
	}
	for _, e := range es {
		if fi, err := e.Info(); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", e.Name(), fi.Mode())
		}
	}
	one := filepath.Join(dir, "sftp_host_ed25519_key")
	if keys, err := sftpdrop.HostKeys(t.TempDir(), one); err != nil || len(keys) != 1 {
		t.Errorf("named: %v, %v", keys, err)
	}
	if err := os.Chmod(one, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := sftpdrop.HostKeys(dir, ""); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others may read: %v", err)
	}
	for name, text := range map[string]string{"none": "", "text": "no key"} {
		file := filepath.Join(dir, name)
		if text != "" {
			os.WriteFile(file, []byte(text), 0o600)
		}
		if _, err := sftpdrop.HostKeys(dir, file); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
