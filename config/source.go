package config

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"ingestd/ingest"
)

// Source is where things arrive. Type says which of the structs counts.
type Source struct {
	Type    string // dir, sftp, sftp_drop, webhook
	Dir     Dir
	SFTP    SFTP
	Drop    Drop
	Webhook Webhook
}

func (s *Source) discriminator() string { return "type" }
func (s *Source) chosen() string        { return s.Type }
func (s *Source) variants() []string    { return []string{"dir", "sftp", "sftp_drop", "webhook"} }
func (s *Source) keys() []key           { return s.variant(s.Type) }

func (s *Source) variant(of string) []key {
	typ := key{name: "type", to: oneOf(&s.Type, "dir", "sftp", "sftp_drop", "webhook"), required: true, doc: "What kind of place it is."}
	switch of {
	case "dir":
		return append([]key{typ}, s.Dir.keys()...)
	case "sftp":
		return append([]key{typ}, s.SFTP.keys()...)
	case "sftp_drop":
		return append([]key{typ}, s.Drop.keys()...)
	case "webhook":
		return append([]key{typ}, s.Webhook.keys()...)
	}
	return []key{typ}
}

func (s *Source) check(say func(key, message, hint string)) {
	switch s.Type {
	case "dir":
		s.Dir.Watch.check(say)
	case "sftp":
		s.SFTP.check(say)
	case "sftp_drop":
		s.Drop.Watch.check(say)
	case "webhook":
		s.Webhook.check(say)
	}
}

// Path is the folder that is watched, or "".
func (s *Source) Path() string {
	switch s.Type {
	case "dir":
		return s.Dir.Path
	case "sftp":
		return s.SFTP.Path
	case "sftp_drop":
		return s.Drop.Dir
	}
	return ""
}

// Watch is what the source's folder has in common with others, or nil.
func (s *Source) Watch() *Watch {
	switch s.Type {
	case "dir":
		return &s.Dir.Watch
	case "sftp":
		return &s.SFTP.Watch
	case "sftp_drop":
		return &s.Drop.Watch
	}
	return nil
}

// Watch is what watched folders have in common.
type Watch struct {
	Match      []string // doublestar globs, ASCII case ignored; nil = every name a format knows
	Ignore     []string // the same
	Recursive  bool
	Settle     time.Duration // size and mtime unchanged for this long
	DoneFile   string        // "" = off; holds {name}
	Order      string        // mtime, name
	Proof      *Proof        // nil = off
	WhenDone   Away
	WhenFailed Away
	MaxSize    int64 // bytes
}

// watchKeys are the keys of a Watch; done is what happens to ended files where
// nothing is said.
func (w *Watch) watchKeys(settle, away string) []key {
	return []key{
		{name: "match", to: globs(&w.Match), defDoc: "every name a format knows", doc: "Names that are taken: globs with `**`, relative to `path`. ASCII case is ignored."},
		{name: "ignore", to: globs(&w.Ignore), def: `[".*", "~*", "*.tmp", "*.part", "*.filepart", "*.swp"]`, doc: "Names that are left alone, whatever `match` says."},
		{name: "recursive", to: boolean{&w.Recursive}, def: "false", doc: "Whether folders below `path` are watched too."},
		{name: "settle", to: duration(&w.Settle, 0), def: settle, doc: "A file is whole when its size and mtime did not change for this long."},
		{name: "done_file", to: text{p: &w.DoneFile, check: checkDoneFile}, defDoc: "off", doc: "A file is whole when this one appears beside it, which is removed with it; `{name}` is the file's name."},
		{name: "order", to: oneOf(&w.Order, "mtime", "name"), def: "mtime", doc: "Which file of several is taken first."},
		{name: "proof", to: maybe(&w.Proof), defDoc: "off", doc: "Wholeness by content, beside `settle`; see [reliability](reliability.md)."},
		{name: "when_done", to: blockTarget{&ending{&w.WhenDone, away, ".ingestd/done/"}}, doc: "What happens to a file after its last outcome is on disk."},
		{name: "when_failed", to: blockTarget{&ending{&w.WhenFailed, away, ".ingestd/failed/"}}, doc: "What happens to a file that could not be read or was refused whole."},
		{name: "max_size", to: size(&w.MaxSize, 1), def: "10GiB", doc: "A larger file fails."},
	}
}

func (w *Watch) check(say func(key, message, hint string)) {
	if w.Proof != nil && w.Proof.Sidecar != "" && w.Proof.Sidecar == w.DoneFile {
		say("proof.sidecar", "`sidecar` is the same file as `done_file`", "a sidecar says by itself when its file is whole; take `done_file` out")
	}
	if w.Match != nil && len(w.Match) == 0 {
		say("match", "`match` is empty, so nothing would ever be taken", "leave it out to take every name a format knows")
	}
}

func checkDoneFile(s string) error {
	rest, ok := withoutNames(s, "name")
	switch {
	case !strings.Contains(s, "{name}"):
		return errors.New("must hold {name}, as in \"{name}.done\"")
	case !ok:
		return errors.New("may hold {name} and nothing else in braces")
	case strings.ContainsAny(s, "/\\"):
		return errors.New("must name a file in the same folder")
	case rest == "":
		return errors.New("is the file itself")
	}
	return nil
}

// withoutNames takes the placeholders out of s; false where others remain.
func withoutNames(s string, names ...string) (string, bool) {
	for _, n := range names {
		s = strings.ReplaceAll(s, "{"+n+"}", "")
	}
	return s, !strings.ContainsAny(s, "{}")
}

// Away is what happens to a file that ended.
type Away struct {
	Action string // move, delete, keep
	To     string // move: as written, with {date} {time} {pipeline} {name}; Source.Resolve makes it whole
}

// An ending is an Away with what holds where nothing is said.
type ending struct {
	*Away
	action, to string
}

func (e *ending) discriminator() string { return "action" }
func (e *ending) chosen() string        { return e.Action }
func (e *ending) variants() []string    { return []string{"move", "delete", "keep"} }
func (e *ending) keys() []key           { return e.variant(e.Action) }

func (e *ending) variant(of string) []key {
	action := key{name: "action", to: oneOf(&e.Action, "move", "delete", "keep"), def: e.action, doc: "What happens to it."}
	if of != "move" {
		return []key{action}
	}
	return []key{action, {
		name: "to", to: text{p: &e.To, check: checkPlace}, def: e.to,
		doc: "The folder it is moved to, relative to the source's path, with `{date}`, `{time}` and `{pipeline}`; with `{name}` in its last element, the file itself. A name that is taken gets a suffix.",
	}}
}

func checkPlace(s string) error {
	if err := notLong(maxPath)(s); err != nil {
		return err
	}
	if _, ok := withoutNames(s, "date", "time", "pipeline", "name"); !ok {
		return errors.New("may hold {date}, {time}, {pipeline} and {name}, nothing else in braces")
	}
	if folder := s[:strings.LastIndexByte(s, '/')+1]; strings.Contains(folder, "{name}") {
		return errors.New("has {name} before its last element")
	}
	return nil
}

// Proof is wholeness by content.
type Proof struct {
	Sidecar string
	Trailer string // a regular expression
}

func (p *Proof) keys() []key {
	return []key{
		{name: "sidecar", to: text{p: &p.Sidecar, check: checkDoneFile}, defDoc: "none", doc: "A file beside it with its checksum, SHA-256 or by its length another; `{name}` is the file's name."},
		{name: "trailer", to: text{p: &p.Trailer, check: checkRegexp}, defDoc: "none", doc: "A regular expression that the last line that is not empty must match; the group `count` is the number of records. The line is no record."},
	}
}

func (p *Proof) check(say func(key, message, hint string)) {
	if p.Sidecar == "" && p.Trailer == "" {
		say("", "a proof needs `sidecar` or `trailer`", "")
	}
}

// Dir is a local folder.
type Dir struct {
	Path string
	Watch
	Rescan time.Duration // between full listings
}

func (s *Dir) keys() []key {
	ks := []key{{name: "path", to: location{&s.Path}, required: true, doc: "The folder that is watched."}}
	ks = append(ks, s.watchKeys("2s", "move")...)
	return append(ks, key{name: "rescan", to: duration(&s.Rescan, 100*time.Millisecond), def: "30s", doc: "How often the folder is listed whole, beside the notifications; network mounts send none."})
}

// SFTP is a folder on a partner's server.
type SFTP struct {
	SFTPHost
	Path string // remote
	Watch
	Timeout     time.Duration
	Poll        time.Duration
	Schedule    *Schedule // nil = poll
	Jump        *SFTPHost // nil = none
	Concurrency int
	Mailbox     bool
}

func (s *SFTP) keys() []key {
	ks := s.SFTPHost.keys()
	at := slices.IndexFunc(ks, func(k key) bool { return k.name == "auth" })
	ks = slices.Insert(ks, at, key{name: "path", to: words(&s.Path), required: true, doc: "The remote folder; relative to where the login leads where it begins without a slash."})
	ks = append(ks,
		key{name: "jump", to: maybe(&s.Jump), defDoc: "none", doc: "An SSH server by way of which the host is reached."},
		key{name: "timeout", to: duration(&s.Timeout, time.Second), def: "60s", doc: "The longest time without a byte or an answer."},
		key{name: "poll", to: duration(&s.Poll, time.Second), def: "30s", doc: "How often the folder is listed."},
		key{name: "schedule", to: maybe(&s.Schedule), defDoc: "none", doc: "When the folder is listed, in place of `poll`."},
		key{name: "concurrency", to: integer{&s.Concurrency, 1, 32}, def: "2", doc: "How many files are fetched at once; there are at most that many connections and one more."},
		key{name: "mailbox", to: boolean{&s.Mailbox}, def: "false", doc: "The server removes a file once it was looked at or read: it is read once, in order, and listed sizes are believed."},
	)
	return append(ks, s.watchKeys("10s", "keep")...)
}

func (s *SFTP) check(say func(key, message, hint string)) {
	s.Watch.check(say)
	s.SFTPHost.check(say)
	if s.Mailbox && s.Proof != nil && s.Proof.Sidecar != "" {
		say("proof.sidecar", "a `sidecar` does not go with `mailbox: true`: a file that is not proven could not be read again", "a `trailer` proves what was read")
	}
	if s.Mailbox && s.WhenDone.Action != "keep" {
		say("when_done", "`mailbox: true` goes with `when_done: {action: keep}`: the server itself removes what was read", "")
	}
	if s.Mailbox && s.WhenFailed.Action != "keep" {
		say("when_failed", "`mailbox: true` goes with `when_failed: {action: keep}`: the server itself removes what was read", "")
	}
}

// SFTPHost is an SSH server and how to log in to it.
type SFTPHost struct {
	Host       string // host:port, or host
	User       string
	Auth       SFTPAuth
	HostKeys   []string
	KnownHosts string
	Legacy     bool
}

func (s *SFTPHost) keys() []key {
	return []key{
		{name: "host", to: words(&s.Host), required: true, doc: "host:port; the port is 22 where none is given."},
		{name: "user", to: words(&s.User), required: true, doc: "Whom to log in as."},
		{name: "auth", to: blockTarget{&s.Auth}, doc: "How to log in."},
		{name: "host_keys", to: texts(&s.HostKeys), doc: "The server's public keys, or `@cert-authority` lines; this or `known_hosts` is required."},
		{name: "known_hosts", to: location{&s.KnownHosts}, doc: "A file of host keys as OpenSSH writes it."},
		{name: "legacy", to: boolean{&s.Legacy}, def: "false", doc: "Also allow SHA-1 signatures and key exchanges, CBC ciphers and HMAC-SHA1, for servers that know nothing better."},
	}
}

func (s *SFTPHost) check(say func(key, message, hint string)) {
	if len(s.HostKeys) == 0 && s.KnownHosts == "" {
		say("", "an sftp source needs `host_keys` or `known_hosts`", "`ingestd sftp trust HOST` prints the lines")
	}
}

// SFTPAuth is how to log in to a partner's server.
type SFTPAuth struct {
	PrivateKey  ingest.Secret
	PrivateKeys []ingest.Secret
	Passphrase  ingest.Secret
	Password    ingest.Secret
	Agent       string
}

func (*SFTPAuth) sensitive() {}

func (a *SFTPAuth) keys() []key {
	return []key{
		{name: "private_key", to: secret{&a.PrivateKey}, doc: "A private key, OpenSSH or PEM format."},
		{name: "private_keys", to: secrets(&a.PrivateKeys), doc: "Further ones, tried in this order, while a key is changed."},
		{name: "passphrase", to: secret{&a.Passphrase}, doc: "The passphrase of those that are encrypted."},
		{name: "password", to: secret{&a.Password}, doc: "A password, for servers that ask for it by whichever method."},
		{name: "agent", to: location{&a.Agent}, doc: "The socket of an SSH agent whose keys are offered."},
	}
}

// Schedule is when something is done.
type Schedule struct {
	Every Interval
	At    When
	From  time.Time // a date
	Cron  string
	Zone  Zone
}

func (s *Schedule) keys() []key {
	return []key{
		{name: "every", to: parsed(&s.Every, "interval", "an interval such as 2 weeks", parseInterval), doc: "How often, as in `2 weeks`, `1 day` or `90m`."},
		{name: "at", to: parsed(&s.At, "time", "a time such as \"mon 06:00\"", parseWhen), doc: "The time of day, with a weekday where `every` is weeks."},
		{name: "from", to: scalar[time.Time]{p: &s.From, want: "a date such as 2026-01-05", name: "date", parse: parseDate, format: formatDate}, doc: "The first day, from which intervals count."},
		{name: "cron", to: words(&s.Cron), doc: "A cron expression, in place of `every`."},
		{name: "zone", to: parsed(&s.Zone, "time zone", "a time zone such as Europe/Berlin", parseZone), def: "UTC", doc: "The zone of all times."},
	}
}

func formatDate(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.DateOnly)
}

func (s *Schedule) check(say func(key, message, hint string)) {
	every := s.Every != Interval{}
	switch {
	case every && s.Cron != "":
		say("cron", "a schedule has `every` or `cron`, not both", "")
	case !every && s.Cron == "":
		say("", "a schedule needs `every` or `cron`", "")
	}
}

// Drop is a folder of a partner on the built-in drop server.
type Drop struct {
	User string
	Path string // below the user's home
	Dir  string // absolute, on this machine; "" where the user is not known
	Watch
}

func (s *Drop) keys() []key {
	ks := []key{
		{name: "user", to: words(&s.User), required: true, doc: "A user of `sftp_server.users`."},
		{name: "path", to: text{p: &s.Path, check: checkDropPath}, def: ".", doc: "The folder below the user's home. It is made where absent."},
	}
	for _, k := range s.watchKeys("0s", "move") {
		if k.name != "settle" && k.name != "done_file" { // the client's close says it
			ks = append(ks, k)
		}
	}
	return ks
}

func checkDropPath(s string) error {
	switch {
	case !filepath.IsLocal(strings.Trim(s, "/")):
		return errors.New("lies outside the user's home; write a path like orders/")
	case len(s) > maxPath:
		return fmt.Errorf("is longer than %d bytes", maxPath)
	}
	for elem := range strings.SplitSeq(s, "/") {
		if strings.HasPrefix(strings.ToLower(elem), ".ingestd") {
			return errors.New("is where ingestd keeps what it works on")
		}
	}
	return nil
}

// prefix takes a network, 10.0.0.0/8, or a single address.
func prefix(p *netip.Prefix) target {
	return scalar[netip.Prefix]{
		p: p, want: "a network such as 10.0.0.0/8", name: "network",
		format: func(p netip.Prefix) string { return p.String() },
		parse: func(s string) (netip.Prefix, error) {
			if a, err := netip.ParseAddr(s); err == nil {
				return netip.PrefixFrom(a, a.BitLen()), nil
			}
			p, err := netip.ParsePrefix(s)
			if err != nil {
				return netip.Prefix{}, errors.New("is no network; write one like 10.0.0.0/8")
			}
			return p, nil
		},
	}
}
