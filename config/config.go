package config

import (
	"errors"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"ingestd/ingest"
)

// Config is a config file with all that it includes, checked, defaults filled
// in, relative paths made absolute. It does not change after Load.
type Config struct {
	File string // as it was named to Load
	Dir  string // its directory, absolute: where relative paths start

	Include    []string
	StateDir   string
	Log        Log
	Retention  Retention
	MinFree    MinFree
	Admin      Admin
	Webhooks   Webhooks
	SFTPServer SFTPServer
	Sinks      []Sink     // as written, included files last
	Alerts     []Alert    // as written, included files last
	Heartbeat  *Heartbeat // nil where there is none
	Pipelines  []Pipeline // as written, included files last

	defaults Defaults
	places   map[string]*node
	veil     *veil
	later    Problems
	files    []*file
}

// Sink returns the sink of that name, or nil.
func (c *Config) Sink(name string) *Sink {
	for i := range c.Sinks {
		if c.Sinks[i].Name == name {
			return &c.Sinks[i]
		}
	}
	return nil
}

// Pipeline returns the pipeline of that name, or nil.
func (c *Config) Pipeline(name string) *Pipeline {
	for i := range c.Pipelines {
		if c.Pipelines[i].Name == name {
			return &c.Pipelines[i]
		}
	}
	return nil
}

// Files are the files that were read: the one named to Load, then the included
// ones.
func (c *Config) Files() []string {
	out := make([]string, len(c.files))
	for i, f := range c.files {
		out[i] = f.name
	}
	return out
}

func (c *Config) keys() []key {
	return []key{
		{name: "include", to: list[string]{p: &c.Include, item: glob, most: 256}, doc: "Further config files: globs relative to this file, read in sorted order. They hold `sinks`, `pipelines`, `alerts`, `sftp_server.users` and `x-…`; a name defined twice is an error."},
		{name: "defaults", to: blockTarget{&c.defaults}, doc: "What pipelines and sinks take where they say nothing: maps are merged deeply, lists and single values replaced. Keys that a type has no use for are left out."},
		{name: "state_dir", to: location{&c.StateDir}, defDoc: "`$STATE_DIRECTORY`, else `./ingestd-state`", doc: "The directory of ledger.db, spool/, kept/, outbox/ and control.sock."},
		{name: "log", to: blockTarget{&c.Log}, doc: "Logging, to stderr."},
		{name: "retention", to: blockTarget{&c.Retention}, doc: "How long what is over is kept."},
		{name: "min_free", to: parsed(&c.MinFree, "percentage or size", "a percentage such as 2% or a size such as 10GiB", parseMinFree), def: "2%", doc: "Free space below which, on any filesystem that ingestd writes to, sources pause and uploads and webhooks are refused."},
		{name: "admin", to: blockTarget{&c.Admin}, doc: "The admin API: dashboard, /metrics, /healthz, /readyz."},
		{name: "webhooks", to: blockTarget{&c.Webhooks}, doc: "The listener of `webhook` sources."},
		{name: "sftp_server", to: blockTarget{&c.SFTPServer}, doc: "The built-in drop server, for `sftp_drop` sources."},
		{name: "sinks", to: named[Sink]{p: &c.Sinks, is: "sink", check: checkName, name: func(s *Sink) string { return s.Name }, item: func(name string, s *Sink) target {
			s.Name = name
			return blockTarget{s}
		}}, doc: "Where records go."},
		{name: "alerts", to: list[Alert]{p: &c.Alerts, item: func(a *Alert) target { return blockTarget{a} }}, doc: "Who is told when something needs a person."},
		{name: "heartbeat", to: maybe(&c.Heartbeat), doc: "A request that is made as long as all is well, for a dead man's switch."},
		{name: "pipelines", to: named[Pipeline]{p: &c.Pipelines, is: "pipeline", check: checkName, name: func(p *Pipeline) string { return p.Name }, item: func(name string, p *Pipeline) target {
			p.Name = name
			return blockTarget{p}
		}}, doc: "The ways in."},
	}
}

// checkName: names stand in paths, headers, metrics and on command lines.
func checkName(s string) error {
	ok := s != "" && len(s) <= 64 && !strings.HasPrefix(s, ".") && !strings.HasPrefix(s, "-")
	for _, r := range s {
		if !word(string(r)) && r != '.' {
			ok = false
		}
	}
	if !ok {
		return errors.New("is no name; names have letters a-z, digits, `_`, `-` and `.`, 64 at most")
	}
	return nil
}

// Defaults is what pipelines and sinks take where they say nothing. It is
// merged into them by Load.
type Defaults struct {
	pipeline Pipeline
	sink     Sink
}

func (d *Defaults) keys() []key {
	return []key{
		{name: "pipeline", to: looseBlock{blockTarget{&d.pipeline}}, doc: "As a pipeline."},
		{name: "sink", to: looseBlock{blockTarget{&d.sink}}, doc: "As a sink, of any type."},
	}
}

// A looseBlock is checked for what it holds, not for what it lacks.
type looseBlock struct{ blockTarget }

func (l looseBlock) decode(d *decoder, n *node, path string) {
	was := d.loose
	d.loose = true
	l.decodeAt(d, n, place(d, n, path), path)
	d.loose = was
}

func (looseBlock) inner() block { return noBlock{} }

// Log is what is logged, and how.
type Log struct {
	Level  string // debug, info, warn, error
	Format string // auto, text, json
}

func (l *Log) keys() []key {
	return []key{
		{name: "level", to: oneOf(&l.Level, "debug", "info", "warn", "error"), def: "info", doc: "The least level that is logged."},
		{name: "format", to: oneOf(&l.Format, "auto", "text", "json"), def: "auto", doc: "auto is text on a terminal, JSON otherwise."},
	}
}

// Retention is how long things are kept after they ended.
type Retention struct {
	Done     time.Duration // files that ingestd itself moved
	Failed   time.Duration // the same
	Arrivals time.Duration
	Dead     time.Duration
	Events   time.Duration
}

func (r *Retention) keys() []key {
	const least = time.Minute
	return []key{
		{name: "done", to: duration(&r.Done, least), def: "30d", doc: "Done files that ingestd itself moved, and its copies of those from SFTP servers."},
		{name: "failed", to: duration(&r.Failed, least), def: "90d", doc: "Failed files that ingestd itself moved, and its copies of those from SFTP servers."},
		{name: "arrivals", to: duration(&r.Arrivals, least), def: "400d", doc: "What the ledger knows of arrivals."},
		{name: "dead", to: duration(&r.Dead, least), def: "90d", doc: "Dead letters."},
		{name: "events", to: duration(&r.Events, least), def: "30d", doc: "Bodies of webhook events."},
	}
}

// Admin is the admin API. Without an `admin` block in the file Listen is still
// its default; Config.Given("admin") tells.
type Admin struct {
	Listen string // host:port, or unix: and an absolute path
	Token  ingest.Secret
}

func (a *Admin) keys() []key {
	return []key{
		{name: "listen", to: address(&a.Listen, true), def: "127.0.0.1:8081", doc: "host:port, or unix:PATH."},
		{name: "token", to: secret{&a.Token}, doc: "What callers must show. Required unless `listen` is loopback or a unix socket."},
	}
}

func (a *Admin) check(say func(key, message, hint string)) {
	if a.Listen == "" || strings.HasPrefix(a.Listen, "unix:") || loopback(a.Listen) || !a.Token.IsZero() {
		return
	}
	say("listen", "this address can be reached from other machines, so `admin` needs a `token`", "or listen on 127.0.0.1:8081 or unix:/run/ingestd/admin.sock")
}

// Webhooks is the listener of webhook sources.
type Webhooks struct {
	Listen         string
	PublicURL      string
	TrustedProxies []netip.Prefix
	TLS            ServerTLS
	MaxHeader      int64 // bytes
	HeaderTimeout  time.Duration
	BodyTimeout    time.Duration
	IdleTimeout    time.Duration
	MaxConns       int
	MaxConnsPer    int // of one address
}

func (w *Webhooks) keys() []key {
	return []key{
		{name: "listen", to: address(&w.Listen, false), def: "127.0.0.1:8080", doc: "host:port."},
		{name: "public_url", to: text{p: &w.PublicURL, name: "URL", check: checkURL}, doc: "The address that senders see, for printed URLs and `Location`."},
		{name: "trusted_proxies", to: list[netip.Prefix]{p: &w.TrustedProxies, item: prefix}, def: "[]", doc: "Networks whose `X-Forwarded-For` is believed."},
		{name: "tls", to: blockTarget{&w.TLS}, doc: "TLS of the listener."},
		{name: "max_header", to: size(&w.MaxHeader, 8<<10), def: "16KiB", doc: "The longest request line and headers together."},
		{name: "header_timeout", to: duration(&w.HeaderTimeout, 100*time.Millisecond), def: "5s", doc: "How long a request's headers, and a TLS handshake, may take."},
		{name: "body_timeout", to: duration(&w.BodyTimeout, 100*time.Millisecond), def: "10s", doc: "How long a body may take."},
		{name: "idle_timeout", to: duration(&w.IdleTimeout, time.Second), def: "60s", doc: "How long a connection is kept without a request."},
		{name: "max_connections", to: integer{&w.MaxConns, 1, 1 << 20}, def: "1024", doc: "Connections at once."},
		{name: "max_connections_per_address", to: integer{&w.MaxConnsPer, 1, 1 << 20}, def: "64", doc: "Connections at once of one address that is no trusted proxy."},
	}
}

// ServerTLS is the files of a TLS listener.
type ServerTLS struct {
	CertFile     string
	KeyFile      string
	ClientCAFile string
}

func (t *ServerTLS) keys() []key {
	return []key{
		{name: "cert_file", to: location{&t.CertFile}, doc: "The certificate with its chain, PEM."},
		{name: "key_file", to: location{&t.KeyFile}, doc: "Its private key, PEM."},
		{name: "client_ca_file", to: location{&t.ClientCAFile}, doc: "Who may sign client certificates, PEM."},
	}
}

func (t *ServerTLS) check(say func(key, message, hint string)) {
	pair(t.CertFile, t.KeyFile, say)
	if t.ClientCAFile != "" && t.CertFile == "" {
		say("client_ca_file", "`client_ca_file` needs `cert_file` and `key_file`", "")
	}
}

func pair(cert, key string, say func(key, message, hint string)) {
	switch {
	case cert != "" && key == "":
		say("cert_file", "`cert_file` needs `key_file`", "")
	case key != "" && cert == "":
		say("key_file", "`key_file` needs `cert_file`", "")
	}
}

// SFTPServer is the built-in drop server.
type SFTPServer struct {
	Listen         string
	HostKeyFile    string
	MaxConnections int
	MaxPerAddress  int
	IdleTimeout    time.Duration
	KeepUnfinished time.Duration
	Users          []SFTPUser
}

func (s *SFTPServer) keys() []key {
	return []key{
		{name: "listen", to: address(&s.Listen, false), def: "127.0.0.1:2022", doc: "host:port."},
		{name: "host_key_file", to: location{&s.HostKeyFile}, defDoc: "made on first start under `state_dir`", doc: "The server's private key, OpenSSH or PEM format, mode 0600."},
		{name: "max_connections", to: integer{&s.MaxConnections, 1, 100_000}, def: "256", doc: "How many connections there may be at once."},
		{name: "max_per_address", to: integer{&s.MaxPerAddress, 1, 100_000}, def: "32", doc: "How many of them from one address (of IPv6, one /64)."},
		{name: "idle_timeout", to: duration(&s.IdleTimeout, time.Second), def: "15m", doc: "A connection over which nothing came for so long is closed."},
		{name: "keep_unfinished", to: duration(&s.KeepUnfinished, time.Minute), def: "7d", doc: "How long an upload that was broken off waits to be resumed."},
		{name: "users", to: named[SFTPUser]{p: &s.Users, is: "user", check: checkName, name: func(u *SFTPUser) string { return u.Name }, item: func(name string, u *SFTPUser) target {
			u.Name = name
			return blockTarget{u}
		}}, doc: "Who may upload."},
	}
}

// SFTPUser is a partner of the drop server.
type SFTPUser struct {
	Name           string
	AuthorizedKeys []string
	PasswordHash   ingest.Secret // bcrypt
	Home           string
	Names          []string // globs; nil = every name
	UploadOnly     bool
	MaxConnections int
	MaxOpenFiles   int
	MaxFile        int64 // bytes
	Quota          int64 // bytes; 0 = none
}

func (u *SFTPUser) keys() []key {
	return []key{
		{name: "authorized_keys", to: texts(&u.AuthorizedKeys), doc: "Public keys, as in OpenSSH's file of that name."},
		{name: "password_hash", to: secret{&u.PasswordHash}, doc: "A bcrypt hash."},
		{name: "home", to: location{&u.Home}, required: true, doc: "The directory that the partner sees as /. It is made where absent."},
		{name: "names", to: globs(&u.Names), defDoc: "every name", doc: "Names that files may get: globs with `**`, ASCII case ignored. Names of temporary files (the default of `ignore`) are allowed besides."},
		{name: "upload_only", to: boolean{&u.UploadOnly}, def: "false", doc: "Whether files cannot be read back; receipts can."},
		{name: "max_connections", to: integer{&u.MaxConnections, 1, 100_000}, def: "32", doc: "How many connections the user may have at once."},
		{name: "max_open_files", to: integer{&u.MaxOpenFiles, 1, 100_000}, def: "128", doc: "How many files and folders the user may have open at once."},
		{name: "max_file", to: size(&u.MaxFile, 1), def: "10GiB", doc: "A larger file is refused."},
		{name: "quota", to: size(&u.Quota, 1), defDoc: "none", doc: "How much may stand in `home` at once; what was taken up does not count."},
	}
}

func (u *SFTPUser) check(say func(key, message, hint string)) {
	if len(u.AuthorizedKeys) == 0 && u.PasswordHash.IsZero() {
		say("", "user `"+u.Name+"` needs `authorized_keys` or `password_hash`", "")
	}
}

// Alert says who is told about what.
type Alert struct {
	Sink      string
	Pipelines []string // empty = all
	Kinds     []string
	Remind    time.Duration
}

func (a *Alert) keys() []key {
	return []key{
		{name: "sink", to: words(&a.Sink), required: true, doc: "The sink that carries the alert."},
		{name: "pipelines", to: texts(&a.Pipelines), defDoc: "all", doc: "Only alerts of these."},
		{name: "kinds", to: list[string]{p: &a.Kinds, item: func(s *string) target { return oneOf(s, AlertKinds()...) }, some: true}, def: "[all]", doc: "Only alerts of these kinds."},
		{name: "remind", to: duration(&a.Remind, time.Minute), def: "4h", doc: "How often it is said again while it lasts."},
	}
}

// AlertKinds are the words that `kinds` takes.
func AlertKinds() []string {
	return []string{
		"all", "held", "failed", "late", "missing", "empty", "size", "dead", "target", "refused", "source", "host_key",
		"disk", "certificate", "crash_loop", "body", "alerts",
	}
}

// Heartbeat is a request that is made while all is well.
type Heartbeat struct {
	URL   ingest.Secret // such URLs are keys in themselves
	Every time.Duration
}

func (h *Heartbeat) keys() []key {
	return []key{
		{name: "url", to: secret{&h.URL}, required: true, doc: "Where to."},
		{name: "every", to: duration(&h.Every, time.Second), def: "1m", doc: "How often."},
	}
}

// Pipeline is one named way in.
type Pipeline struct {
	Name    string
	Source  Source
	Format  Format
	Record  Record
	Dedupe  Dedupe
	Receipt *Receipt // nil where there is none
	Expect  *Expect  // nil where there is none
	Sinks   []string

	trailer string // of a snapshot, which holds no source
}

// Trailer is the regular expression that the last line of the pipeline's files
// must match, or "".
func (p *Pipeline) Trailer() string {
	if w := p.Source.Watch(); w != nil && w.Proof != nil {
		return w.Proof.Trailer
	}
	return p.trailer
}

func (p *Pipeline) keys() []key {
	return []key{
		{name: "source", to: blockTarget{&p.Source}, required: true, doc: "Where things arrive."},
		{name: "format", to: blockTarget{&p.Format}, def: "auto", doc: "How an arrival is read: a type, or a map with `type` and its options."},
		{name: "record", to: blockTarget{&p.Record}, doc: "The shape of a record, and its key."},
		{name: "dedupe", to: blockTarget{&p.Dedupe}, doc: "What is not sent again."},
		{name: "receipt", to: maybe(&p.Receipt), doc: "A report on each arrival for the partner who sent it."},
		{name: "expect", to: maybe(&p.Expect), doc: "What should arrive; late, missing, empty, or far from the usual size raises an alert."},
		{name: "sinks", to: list[string]{p: &p.Sinks, item: func(s *string) target { return words(s) }, some: true, most: 64}, required: true, doc: "Where each record goes: to all of these, each at its own pace."},
	}
}

func (p *Pipeline) check(func(key, message, hint string)) {
	if p.Dedupe.Scope == "" {
		p.Dedupe.Scope = p.Name
	}
}

// Dedupe is what counts as sent before.
type Dedupe struct {
	Records string        // skip, take: records whose key was delivered
	Scope   string        // whose memory of keys; the pipeline's name, or one that several share
	Keep    time.Duration // how long a key is remembered after it was last seen
	Changed string        // skip, send: records with a known key and other content
	Files   string        // skip, take: arrivals whose content was delivered
}

func (d *Dedupe) keys() []key {
	return []key{
		{name: "records", to: oneOf(&d.Records, "skip", "take"), def: "skip", doc: "What becomes of a record whose key was delivered before."},
		{name: "scope", to: text{p: &d.Scope, check: checkName}, defDoc: "the pipeline's name", doc: "Pipelines with the same scope share their memory of keys."},
		{name: "keep", to: duration(&d.Keep, time.Minute), def: "90d", doc: "How long a key is remembered after it was last seen."},
		{name: "changed", to: oneOf(&d.Changed, "skip").notYet("send"), def: "skip", doc: "What becomes of a record with a known key and other content."},
		{name: "files", to: oneOf(&d.Files, "skip", "take"), def: "skip", doc: "What becomes of an arrival whose content was delivered before."},
	}
}

// Receipt is where reports on arrivals go.
type Receipt struct {
	Dir string // as written; Source.Resolve makes it whole
}

func (r *Receipt) keys() []key {
	return []key{{name: "dir", to: words(&r.Dir), required: true, doc: "The directory, relative to the source's path; a remote one for sftp."}}
}

// Expect is what should arrive.
type Expect struct {
	By         Clock
	Days       Weekdays
	Zone       Zone
	MinRecords int
}

func (e *Expect) keys() []key {
	return []key{
		{name: "by", to: parsed(&e.By, "time of day", "a time of day such as \"06:00\"", parseClock), required: true, doc: "The time by which something must have arrived."},
		{name: "days", to: parsed(&e.Days, "days", "days such as mon-fri", parseWeekdays), def: "mon-sun", doc: "On which days."},
		{name: "zone", to: parsed(&e.Zone, "time zone", "a time zone such as Europe/Berlin", parseZone), def: "UTC", doc: "The zone of `by`."},
		{name: "min_records", to: integer{&e.MinRecords, 0, 1 << 30}, def: "1", doc: "How many records it must hold at least."},
	}
}

// Resolve makes a path of when_done, when_failed or receipt whole: a relative
// one starts from the source's own path, on whatever machine that is.
func (s *Source) Resolve(path string) string {
	base := s.Path()
	if filepath.IsAbs(path) || base == "" {
		return path
	}
	return filepath.Join(base, path)
}
