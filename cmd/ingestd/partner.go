package main

import (
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/template"

	"ingestd/cmd/internal/daemon"
	"ingestd/config"
)

//go:embed partner.txt
var partnerLetter string

// A partner is somebody who will upload to the drop server.
type partner struct {
	Name, Key, Home, Path, Host string
	Sinks                       []string

	Password string // made here, where there is no key
	Hash     string
	Port     string
	Prints   []string
	Known    []string // lines of known_hosts
}

// initPartner writes the config of one partner and prints the letter to it.
func (a *app) initPartner(p partner, keyFile string) error {
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	if err := p.complete(cfg, keyFile, a.in); err != nil {
		return usage("init --partner: %w", err)
	}
	path := filepath.Join(cfg.Dir, "conf.d", p.Name+".yaml")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return usage("init --partner: %w", err)
	}
	if err := writeLike(path, p.config(), cfg.File, p.Hash != ""); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return usage("init --partner: %s is there already; nothing was changed", path)
		}
		return usage("init --partner: %w", err)
	}
	now, problems := daemon.Load(cfg.File)
	if now == nil {
		_ = problems.Render(a.err, a.errTerminal)
		return usage("init --partner: what was made for %s does not go with the config; it was taken back: %w", p.Name, os.Remove(path))
	}
	fmt.Fprintf(a.err, "wrote  %s\n", path)
	if now.Pipeline(p.Name) == nil {
		fmt.Fprintf(a.err, "\n%s does not read it yet; add this line there:\n\n  include: [conf.d/*.yaml]\n", cfg.File)
	}
	if mayMakeKeys(cfg.StateDir) {
		if err := daemon.MakeDropKeys(cfg); err != nil {
			return usage("init --partner: %w", err)
		}
	}
	if p.Prints, p.Known, err = daemon.DropFingerprints(cfg); err != nil {
		fmt.Fprintf(a.err, "warning: the letter has no fingerprints: %v\n", err)
	}
	host, port, _ := net.SplitHostPort(cfg.SFTPServer.Listen)
	p.Port = port
	at := "[" + p.Host + "]:" + port
	if port == "22" {
		at = p.Host
	}
	for i := range p.Known {
		p.Known[i] = at + " " + p.Known[i]
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		fmt.Fprintf(a.err, "\nsftp_server.listen is %s, which only this machine can reach; for a partner elsewhere use 0.0.0.0:%s\n", cfg.SFTPServer.Listen, port)
	}
	fmt.Fprintf(a.err, "\nThen:\n  ingestd check -c %s\n  ingestd reload -c %s\n\nThe letter to the partner follows on standard output.\n\n", cfg.File, cfg.File)
	t, err := template.New("letter").Parse(partnerLetter)
	if err != nil {
		return err
	}
	return t.Execute(a.out, p)
}

// complete fills in what was not said, and says what cannot be.
func (p *partner) complete(cfg *config.Config, keyFile string, in io.Reader) error {
	if strings.Trim(p.Name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" || p.Name[0] == '-' || len(p.Name) > 32 {
		return fmt.Errorf("%q is no name for a partner: letters a-z, digits, _ and -, 32 at most", p.Name)
	}
	for _, u := range cfg.SFTPServer.Users {
		if u.Name == p.Name {
			return fmt.Errorf("sftp_server has a user %s already", p.Name)
		}
		if p.Home == "" { // beside the others
			p.Home = filepath.Join(filepath.Dir(u.Home), p.Name)
		}
	}
	if cfg.Pipeline(p.Name) != nil {
		return fmt.Errorf("there is a pipeline %s already", p.Name)
	}
	if p.Home == "" {
		base := filepath.Join(cfg.Dir, "drops")
		if strings.HasPrefix(cfg.Dir, "/etc/") {
			base = "/srv/drops"
		}
		p.Home = filepath.Join(base, p.Name)
	}
	home, err := filepath.Abs(p.Home)
	if err != nil {
		return err
	}
	p.Home = home
	p.Path = strings.Trim(p.Path, "/") + "/"
	switch {
	case len(p.Sinks) > 0:
	case len(cfg.Pipelines) > 0:
		p.Sinks = slices.Clone(cfg.Pipelines[0].Sinks)
	case len(cfg.Sinks) > 0:
		p.Sinks = []string{cfg.Sinks[0].Name}
	default:
		return errors.New("the config has no sink that records could go to")
	}
	if p.Host == "" {
		if p.Host, err = os.Hostname(); err != nil {
			return err
		}
	}
	if keyFile != "" {
		return p.readKey(keyFile, in)
	}
	p.Password = strings.ToLower(rand.Text()[:24]) // 120 bits, and easy to type
	p.Hash, err = daemon.HashPassword([]byte(p.Password))
	return err
}

func (p *partner) readKey(file string, in io.Reader) error {
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, 16<<10))
	if err != nil {
		return err
	}
	p.Key = strings.TrimSpace(string(text))
	if strings.Contains(p.Key, "PRIVATE KEY") {
		return fmt.Errorf("%s is a private key; the partner keeps that one and sends the public one (.pub)", file)
	}
	if err := daemon.CheckKey(p.Key); err != nil {
		return fmt.Errorf("the key in %s: %w", file, err)
	}
	return nil
}

// config is the partner's file in conf.d.
func (p *partner) config() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# The partner %s: who may upload, and what becomes of it.\nsftp_server:\n  users:\n    %s:\n", p.Name, p.Name)
	if p.Key != "" {
		fmt.Fprintf(&b, "      authorized_keys: [%s]\n", strconv.Quote(p.Key))
	} else {
		fmt.Fprintf(&b, "      password_hash: %s\n", strconv.Quote(p.Hash))
	}
	fmt.Fprintf(&b, "      home: %s\n      # quota: 10GiB\n      # names: [\"*.csv\", \"*.xml\"]\n\n", strconv.Quote(p.Home))
	fmt.Fprintf(&b, "pipelines:\n  %s:\n    source: {type: sftp_drop, user: %s, path: %s}\n    format: auto\n", p.Name, p.Name, strconv.Quote(p.Path))
	b.WriteString("    # record: {key: [order_id]}    # what makes two records the same\n")
	fmt.Fprintf(&b, "    sinks: [%s]\n", strings.Join(p.Sinks, ", "))
	return []byte(b.String())
}

// writeLike writes a file that is not there yet, for those who may read the
// main config; what holds a hash is not for everybody.
func writeLike(path string, data []byte, main string, secret bool) error {
	fi, err := os.Stat(main)
	if err != nil {
		return err
	}
	mode := fi.Mode().Perm() | 0o600
	if secret {
		mode &^= 0o007
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if sys, ok := fi.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		err = errors.Join(err, f.Chown(int(sys.Uid), int(sys.Gid)))
	}
	err = errors.Join(err, f.Chmod(mode), f.Close())
	if err != nil {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// mayMakeKeys reports whether host keys that this user makes can be read by the
// daemon: not where root makes them for it.
func mayMakeKeys(state string) bool {
	fi, err := os.Stat(state)
	if errors.Is(err, fs.ErrNotExist) {
		return os.Geteuid() != 0
	}
	if err != nil {
		return false
	}
	sys, ok := fi.Sys().(*syscall.Stat_t)
	return ok && int(sys.Uid) == os.Geteuid()
}
