package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"ingestd/cmd/internal/daemon"
	"ingestd/samples"
)

// demoPipeline is what the demo adds to the quick start: our own SFTP server,
// with a partner, and a pipeline that takes up what it uploads.
const demoPipeline = `
  orders_partner:
    source: {type: sftp_drop, user: acme, path: orders/}
    format: csv
    record: {key: [order_id]}
    receipt: {dir: receipts/}

sftp_server:
  listen: 127.0.0.1:0
  users:
    acme: {home: drops/acme, authorized_keys: ["KEY"]}

state_dir: state
admin: {listen: "unix:admin.sock"}
`

// A demoPartner uploads a file as a partner does, with OpenSSH's sftp where it
// is installed.
type demoPartner struct {
	*daemon.Partner
	dir     string   // with its key and what it downloads
	keys    []string // the server's
	address string
	command string // sftp, or "": there is none that works
}

func newDemoPartner(dir string) (p *demoPartner, config string, err error) {
	p = &demoPartner{dir: filepath.Join(dir, "partner")}
	if p.Partner, err = daemon.NewPartner("acme"); err != nil {
		return nil, "", err
	}
	line, err := p.Authorized()
	if err != nil {
		return nil, "", err
	}
	key, err := p.PrivateKey()
	if err != nil {
		return nil, "", err
	}
	if err := os.Mkdir(p.dir, 0o700); err != nil {
		return nil, "", err
	}
	p.command, _ = exec.LookPath("sftp")
	return p, strings.ReplaceAll(demoPipeline, "KEY", line), os.WriteFile(p.path("id"), key, 0o600)
}

func (p *demoPartner) path(name string) string { return filepath.Join(p.dir, name) }

// meet is told where the server is, and by which keys it is known.
func (p *demoPartner) meet(address string, keys []string) error {
	p.address, p.keys = address, keys
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	var known strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&known, "[%s]:%s %s\n", host, port, k)
	}
	return os.WriteFile(p.path("known_hosts"), []byte(known.String()), 0o600)
}

// login is the command by which anybody may log in as the partner.
func (p *demoPartner) login() []string {
	host, port, _ := net.SplitHostPort(p.address)
	return []string{
		"sftp", "-q", "-F", "none", "-i", p.path("id"), "-o", "IdentitiesOnly=yes",
		"-o", "UserKnownHostsFile=" + p.path("known_hosts"), "-P", port, p.Name + "@" + host,
	}
}

// batch runs commands of sftp. It reports false where there is no sftp that
// works here.
func (p *demoPartner) batch(ctx context.Context, commands string) bool {
	if p.command == "" {
		return false
	}
	args := slices.Insert(p.login()[1:], 0, "-b", "-", "-o", "StrictHostKeyChecking=yes")
	cmd := exec.CommandContext(ctx, p.command, args...)
	cmd.Stdin = strings.NewReader(commands)
	if cmd.Run() != nil {
		p.command = ""
	}
	return p.command != ""
}

// upload puts a file into the partner's folder and says how.
func (p *demoPartner) upload(ctx context.Context, in samples.Input, name string) (how string, err error) {
	file := p.path(name)
	if err := os.WriteFile(file, in.Bytes(), 0o600); err != nil {
		return "", err
	}
	if p.batch(ctx, fmt.Sprintf("put %q %q\n", file, "/orders/"+name)) {
		return "with OpenSSH's sftp", nil
	}
	return "with a client of ours, since no sftp command works here", p.Upload(ctx, p.address, p.keys, "/orders/"+name, in.Bytes())
}

// A demoReceipt is what the demo shows of a receipt.
type demoReceipt struct {
	State, Message string
	Delivered      int
	Rejects        []struct {
		Line   int64
		Reason string
	}
}

// receipt fetches what the partner is told about a file; it is there a moment
// after the file's end.
func (p *demoPartner) receipt(ctx context.Context, name string) (*demoReceipt, error) {
	remote, file := "/orders/receipts/"+name+".receipt.json", p.path(name+".receipt.json")
	for {
		text, err := p.Download(ctx, p.address, p.keys, remote)
		if err == nil {
			r := &demoReceipt{}
			if err := json.Unmarshal(text, r); err != nil {
				return nil, err
			}
			return r, os.WriteFile(file, text, 0o600)
		}
		if !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		if err := pause(ctx); err != nil {
			return nil, err
		}
	}
}
