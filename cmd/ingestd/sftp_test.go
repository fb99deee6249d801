package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ingestd/ingest/source/sftp/sshdtest"
)

const sftpConfig = `
state_dir: state
admin: {listen: "unix:admin.sock", token: open-sesame}
sinks:
  api: {type: http, url: TARGET/orders, retry: {initial: 20ms, max: 1s}}
pipelines:
  acme:
    source:
      type: sftp
      host: HOST
      user: USER
      path: DROP
      auth: {private_key: "${file:key}"}
      host_keys: ["PIN"]
      poll: 1h
      settle: 100ms
      when_done: {action: move, to: done/}
      when_failed: {action: move, to: failed/}
    record: {key: [id]}
    sinks: [api]
`

// TestSFTP is a partner's server that is polled: the first connection, files
// that come, a server that goes away and comes back with another host key.
func TestSFTP(t *testing.T) {
	t.Parallel()
	sshd := sshdtest.Start(t)
	s := newShop(t, sftpConfig)
	s.write("key", sshd.Key)
	drop := filepath.Join(s.dir, "drop")

	trust := s.ask(0, "sftp", "trust", sshd.Addr)
	for _, line := range sshd.HostKeys {
		if !strings.Contains(trust, fmt.Sprintf("  - %q\n", line)) {
			t.Errorf("sftp trust does not say %s:\n%s", line, trust)
		}
	}
	s.fill("HOST", sshd.Addr, "USER", sshd.User, "DROP", drop, "PIN", sshd.HostKeys[0])
	s.drop("drop", "a.csv", "id,n\n1,x\n2,y\n")
	s.drop("drop", "bad.json", `[{"id": 3}, {"id":`)
	if said := s.ask(0, "check", "--connect"); !strings.Contains(said, "source of pipeline acme: ok") {
		t.Errorf("check --connect: %s", said)
	}
	if names := s.names("drop"); len(names) != 2 {
		t.Errorf("check --connect left %q", names)
	}
	s.drop("drop", "newest.csv", "id,n\n0,zero\n")
	if err := os.Chtimes(filepath.Join(drop, "newest.csv"), time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	tmp := t.TempDir()
	s.env = append(s.env, "TMPDIR="+tmp)
	if said := s.ask(0, "preview", "-p", "acme"); !strings.Contains(said, `"n":"zero"`) || !strings.Contains(said, "/newest.csv") {
		t.Errorf("preview: %s", said)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("preview left %v, %v", left, err)
	}
	if err := os.Remove(filepath.Join(drop, "newest.csv")); err != nil {
		t.Fatal(err)
	}
	s.ask(1, "once") // one file is cut short
	if got := s.names("drop/done"); fmt.Sprint(got) != "[a.csv]" {
		t.Errorf("done: %q", got)
	}
	if got := s.names("drop/failed"); fmt.Sprint(got) != "[bad.json]" {
		t.Errorf("failed: %q", got)
	}

	// Our copy is there for a replay, though the partner's file is not.
	if err := os.Remove(filepath.Join(drop, "done", "a.csv")); err != nil {
		t.Fatal(err)
	}
	if said := s.ask(0, "replay", "1"); !strings.Contains(said, "a.csv") {
		t.Errorf("replay: %s", said)
	}

	p := s.start("run")
	p.logs("running")
	s.drop("drop", "b.csv", "id,n\n4,x\n")
	s.until("run-now", func() bool { return strings.Contains(s.ask(0, "status"), "acme") })
	s.ask(0, "run-now", "-p", "acme")
	s.arrival("b.csv", "done")
	s.until("the move", func() bool { return fmt.Sprint(s.names("drop/done")) == "[b.csv]" })

	// The server comes back with another key: nothing is read, and status says
	// both fingerprints.
	sshd.Kill()
	sshd.NewHostKeys("ed25519")
	sshd.Start()
	s.drop("drop", "c.csv", "id,n\n5,x\n")
	s.until("the changed host key", func() bool {
		s.ask(0, "run-now", "-p", "acme")
		var v struct {
			Pipelines []struct{ State, Error string }
		}
		if err := json.Unmarshal([]byte(s.ask(0, "status", "--json")), &v); err != nil {
			t.Fatal(err)
		}
		e := v.Pipelines[0]
		return e.State == "error" && strings.Contains(e.Error, "has changed") && strings.Count(e.Error, "SHA256:") == 2
	})
	if names := s.names("drop"); fmt.Sprint(names) != "[c.csv]" {
		t.Errorf("drop: %q", names)
	}
	_ = p.cmd.Process.Signal(os.Interrupt)
	p.ends(0, 15*time.Second)
	if strings.Contains(p.out.String(), "PRIVATE KEY") {
		t.Error("the key is in the log")
	}
	s.ask(0, "audit")

	// Copies go when their time is over, and at once where the disk is full.
	kept := s.names("state/kept")
	if len(kept) != 3 { // a.csv, b.csv, and bad.json, which failed
		t.Fatalf("kept: %q", kept)
	}
	for _, name := range kept {
		if strings.HasPrefix(name, "failed-") {
			long := time.Now().Add(-100 * 24 * time.Hour)
			if err := os.Chtimes(filepath.Join(s.dir, "state", "kept", name), long, long); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.ask(0, "ledger", "prune")
	if kept = s.names("state/kept"); len(kept) != 2 {
		t.Errorf("kept: %q", kept)
	}
	s.fill("state_dir: state", "state_dir: state\nmin_free: 99%")
	p = s.start("run")
	s.until("room to be made", func() bool { return len(s.names("state/kept")) == 0 })
	_ = p.cmd.Process.Signal(os.Interrupt)
	p.ends(0, 15*time.Second)
	if said := s.ask(2, "replay", "1"); !strings.Contains(said, "our copy of sftp://") {
		t.Errorf("replay: %s", said)
	}
}

// fill puts values into the config.
func (s *shop) fill(pairs ...string) {
	s.t.Helper()
	b, err := os.ReadFile(s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	s.write("ingestd.yaml", strings.NewReplacer(pairs...).Replace(string(b)))
}

// names lists the files of a folder.
func (s *shop) names(folder string) (names []string) {
	s.t.Helper()
	es, err := os.ReadDir(filepath.Join(s.dir, folder))
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	for _, e := range es {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}

// TestSFTPKilled kills the daemon, and the server, again and again: in the end
// each record was taken once, and each file is where it belongs, its sidecar
// with it.
func TestSFTPKilled(t *testing.T) {
	t.Parallel()
	t.Run("plain", func(t *testing.T) { killSFTP(t, "") })
	t.Run("sidecar", func(t *testing.T) { killSFTP(t, ".sha256") })
}

func killSFTP(t *testing.T, sidecar string) {
	t.Parallel()
	sshd := sshdtest.Start(t)
	settle := "settle: 50ms"
	if sidecar != "" {
		settle += "\n      proof: {sidecar: \"{name}" + sidecar + "\"}"
	}
	s := newShop(t, strings.NewReplacer("poll: 1h", "poll: 1s", "settle: 100ms", settle).Replace(sftpConfig))
	s.write("key", sshd.Key)
	s.fill("HOST", sshd.Addr, "USER", sshd.User, "DROP", filepath.Join(s.dir, "drop"), "PIN", sshd.HostKeys[0])
	const files, records = 60, 50
	var ids, names []string
	for f := range files {
		var b strings.Builder
		b.WriteString("id,n\n")
		for r := range records {
			id := fmt.Sprintf("r%d", f*records+r)
			ids = append(ids, id)
			fmt.Fprintf(&b, "%s,x\n", id)
		}
		names = append(names, fmt.Sprintf("f%02d.csv", f))
		s.drop("drop", fmt.Sprintf("f%02d.csv", f), b.String())
		if sidecar != "" {
			names = append(names, fmt.Sprintf("f%02d.csv", f)+sidecar)
			s.drop("drop", names[len(names)-1], fmt.Sprintf("%x\n", sha256.Sum256([]byte(b.String()))))
		}
	}
	for round := range 6 {
		p := s.start("run")
		for range 40 { // until some files more are through, or nothing happens any more
			if len(s.names("drop/done")) >= (round+1)*len(names)/8 {
				break
			}
			time.Sleep(25 * time.Millisecond)
		}
		if round%2 == 1 {
			sshd.Kill()
			sshd.Start()
		}
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	s.ask(0, "once")
	if got := s.names("drop/done"); fmt.Sprint(got) != fmt.Sprint(names) {
		t.Errorf("done: %q", got)
	}
	if got := s.names("drop"); len(got) > 0 {
		t.Errorf("left: %q", got)
	}
	verdict, err := s.target.Judge(ids)
	if err != nil || !verdict.OK() {
		t.Errorf("the target: %v, %v", verdict, err)
	}
	s.ask(0, "audit")
	if spooled := s.names("state/spool"); len(spooled) > 0 {
		t.Errorf("the spool holds %q", spooled)
	}
}
