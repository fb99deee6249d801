package main

import (
	"crypto/md5"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ingestd/ingest/source/sftp/sshdtest"
)

const joinConfig = `
state_dir: state
admin: {listen: "unix:admin.sock", token: open-sesame}
sinks:
  api: {type: http, url: TARGET/orders, retry: {initial: 20ms, max: 1s}}
  log: {type: file, path: alerts.ndjson}
alerts: [{sink: log}]
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
      proof: {sidecar: "{name}.sha256"}
      when_done: {action: move, to: done/}
    record: {key: [id]}
    receipt: {dir: receipts/}
    expect: {by: "06:00", zone: Europe/Berlin}
    sinks: [api]
`

// TestSFTPJoined is a partner's server with all that a pipeline may ask for:
// checksums, receipts that are written back, expected files, alerts.
func TestSFTPJoined(t *testing.T) {
	t.Parallel()
	sshd := sshdtest.Start(t)
	s := newShop(t, joinConfig)
	s.write("key", sshd.Key)
	s.fill("HOST", sshd.Addr, "USER", sshd.User, "DROP", filepath.Join(s.dir, "drop"), "PIN", sshd.HostKeys[0])
	const good, cut = "id,n\n1,x\n2,y\n", "id,n\n3,x\n4,"
	s.drop("drop", "good.csv", good)
	s.drop("drop", "good.csv.sha256", fmt.Sprintf("%x  good.csv\n", sha256.Sum256([]byte(good))))
	s.drop("drop", "cut.csv", cut)
	s.drop("drop", "cut.csv.sha256", fmt.Sprintf("%x\n", sha256.Sum256([]byte(cut+"z\n"))))

	p := s.start("run")
	s.arrival("good.csv", "done")
	s.until("the file and its sidecar to be moved", func() bool {
		return fmt.Sprint(s.names("drop/done")) == "[good.csv good.csv.sha256]"
	})
	s.until("the receipt", func() bool {
		b, _ := os.ReadFile(filepath.Join(s.dir, "drop", "receipts", "good.csv.receipt.json"))
		return strings.Contains(string(b), `"delivered": 2`)
	})
	if got := s.names("drop"); fmt.Sprint(got) != "[cut.csv cut.csv.sha256]" {
		t.Errorf("left in the folder: %q", got)
	}
	if said := s.ask(0, "status", "--json"); !strings.Contains(said, `"expect`) {
		t.Errorf("status: %s", said)
	}

	// Another host key: people are told of it as what it is, and nothing is read.
	sshd.Kill()
	sshd.NewHostKeys("ed25519")
	sshd.Start()
	s.drop("drop", "late.csv", good+"5,z\n")
	s.drop("drop", "late.csv.sha256", fmt.Sprintf("%x\n", sha256.Sum256([]byte(good+"5,z\n"))))
	s.until("the alert", func() bool {
		s.ask(0, "run-now", "-p", "acme")
		b, _ := os.ReadFile(filepath.Join(s.dir, "alerts.ndjson"))
		return strings.Contains(string(b), `"kind":"host_key"`)
	})
	if log, err := os.ReadFile(filepath.Join(s.dir, "alerts.ndjson")); err != nil || strings.Count(string(log), "SHA256:") < 2 {
		t.Errorf("the alert has no fingerprints: %v\n%s", err, log)
	}
	if said := s.ask(0, "arrivals"); strings.Contains(said, "late.csv") {
		t.Errorf("read from a server with another key:\n%s", said)
	}
	if said := s.ask(0, "status"); !strings.Contains(said, "has changed") {
		t.Errorf("status: %s", said)
	}

	// The partner confirms it: the new key is pinned, and all goes on.
	s.fill(s.line("host_keys: ["), `host_keys: ["`+sshd.HostKeys[0]+`"]`)
	s.ask(0, "reload")
	s.until("the file", func() bool {
		s.ask(0, "run-now", "-p", "acme")
		return strings.Contains(s.ask(0, "arrivals"), "late.csv")
	})
	s.arrival("late.csv", "done")
	_ = p.cmd.Process.Signal(os.Interrupt)
	p.ends(0, 15*time.Second)
	s.ask(0, "audit")
}

// line is the line of the config that begins so.
func (s *shop) line(begin string) string {
	s.t.Helper()
	b, err := os.ReadFile(s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, begin) {
			return line
		}
	}
	s.t.Fatalf("the config has no line %s", begin)
	return ""
}

// TestDropJoined is the same on our own server: the partner fetches its receipt.
func TestDropJoined(t *testing.T) {
	t.Parallel()
	s := newDropShop(t)
	s.fill("path: orders/}", `path: orders/, proof: {sidecar: "{name}.md5"}}`, "    sinks: [api]", "    receipt: {dir: receipts/}\n    sinks: [api]")
	d := s.start("run")
	addr := s.address(d)
	s.write("a.csv", "id\n1\n")
	s.write("b.csv", "id\n2\n")
	s.put(addr, "put b.csv orders/b.csv\nput a.csv orders/a.csv\n")
	if got := s.ask(0, "arrivals"); strings.Contains(got, ".csv") {
		t.Errorf("taken up without a sidecar:\n%s", got)
	}
	s.write("a.md5", md5Line("id\n2\n")) // not its sum
	s.put(addr, "put a.md5 orders/a.csv.md5\n")
	s.write("a.md5", md5Line("id\n1\n"))
	s.put(addr, "put a.md5 orders/a.csv.md5\n") // in place of the wrong one
	s.arrival("a.csv", "done")
	s.write("b.md5", md5Line("id\n2\n"))
	s.put(addr, "put b.md5 orders/b.csv.md5\n")
	s.arrival("b.csv", "done")
	s.write("c.csv", "id\n3\n")
	s.write("c.md5", md5Line("id\n3\n"))
	s.put(addr, "put c.md5 orders/c.csv.md5\nput c.csv orders/c.csv\n") // the sidecar first
	s.arrival("c.csv", "done")
	s.until("the receipt", func() bool {
		_, err := s.sftp(addr, "acme", "get orders/receipts/c.csv.receipt.json got.json\n")
		return err == nil
	})
	if b, err := os.ReadFile(filepath.Join(s.dir, "got.json")); err != nil || !strings.Contains(string(b), `"delivered": 1`) {
		t.Errorf("receipt: %v, %s", err, b)
	}
	if out, err := s.sftp(addr, "acme", "ls -1 orders\n"); err != nil || strings.Contains(out, "md5") || strings.Contains(out, ".csv\n") {
		t.Errorf("left: %v\n%s", err, out)
	}
	_ = d.cmd.Process.Signal(os.Interrupt)
	d.ends(0, 15*time.Second)
	s.ask(0, "audit")
}

func md5Line(text string) string { return fmt.Sprintf("%x *x.csv\n", md5.Sum([]byte(text))) }
