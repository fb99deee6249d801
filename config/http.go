package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"ingestd/ingest"
)

// HTTP is a target API.
type HTTP struct {
	URL         string // may hold {field} and {pipeline} after the host
	Method      string
	Headers     []Header
	Auth        Auth
	TLS         ClientTLS
	Concurrency int  // requests in flight
	Rate        Rate // zero = no limit
	Deliver     *Deliver
	Timeout     time.Duration // of one try
	Compress    string        // none, gzip, zstd
	Accept      Statuses
	AcceptWhen  string
	Duplicate   Statuses
	Results     *Results
}

func (h *HTTP) keys() []key {
	return []key{
		{name: "url", to: urlTarget{&h.URL}, required: true, doc: "The address. After the host it may hold `{pipeline}` and `{field}` of the record, escaped; a `{field}` makes a request per record."},
		{name: "method", to: oneOf(&h.Method, "POST", "PUT", "PATCH", "DELETE"), def: "POST", doc: "The method."},
		{name: "headers", to: named[Header]{p: &h.Headers, is: "value", check: checkSetHeader, name: func(h *Header) string { return h.Name }, item: func(name string, v *Header) target {
			v.Name = name
			return headerValue{v}
		}}, defDoc: "none", doc: "Further headers."},
		{name: "auth", to: blockTarget{&h.Auth}, defDoc: "none", doc: "How to log in."},
		{name: "tls", to: blockTarget{&h.TLS}, doc: "TLS to the target."},
		{name: "concurrency", to: integer{&h.Concurrency, 1, 1024}, def: "4", doc: "Requests in flight; 1 keeps strict order."},
		{name: "rate", to: parsed(&h.Rate, "rate", "a rate such as 50/s", parseRate), defDoc: "none", doc: "The most requests in a second (`/s`), minute (`/m`) or hour (`/h`)."},
		{name: "deliver", to: maybe(&h.Deliver), defDoc: "at once", doc: "When deliveries are made; until then they wait."},
		{name: "timeout", to: duration(&h.Timeout, time.Millisecond), def: "30s", doc: "The longest time for one try."},
		{name: "compress", to: oneOf(&h.Compress, "none", "gzip", "zstd"), def: "none", doc: "The Content-Encoding of the body."},
		{name: "accept", to: statuses(&h.Accept), def: "[2xx]", doc: "Statuses that mean delivered."},
		{name: "accept_when", to: words(&h.AcceptWhen), defDoc: "none", doc: "An expression over `status`, `headers` and `body` that must hold too, for targets that answer 200 with an error inside."},
		{name: "duplicate", to: statuses(&h.Duplicate), defDoc: "`[409]`, unless `accept` has it", doc: "Statuses that mean that the target had it already."},
		{name: "results", to: maybe(&h.Results), defDoc: "none", doc: "Where a 2xx answer says what became of each record."},
	}
}

func statuses(p *Statuses) target {
	return list[StatusRange]{p: (*[]StatusRange)(p), most: 64, item: func(r *StatusRange) target {
		return parsed(r, "status", "an HTTP status such as 200 or 2xx", parseStatus)
	}}
}

func (h *HTTP) check(say func(key, message, hint string)) {
	if h.Duplicate == nil && !h.Accept.Has(409) {
		h.Duplicate = Statuses{{409, 409}}
	}
	if len(h.Accept) == 0 {
		say("accept", "`accept` is empty, so nothing would ever be delivered", "")
	}
	seen := map[string]string{}
	for _, v := range h.Headers {
		name := strings.ToLower(v.Name)
		if first, twice := seen[name]; twice {
			say(join("headers", v.Name), "header `"+v.Name+"` is the same as `"+first+"`", "")
		}
		seen[name] = v.Name
		if (h.Auth.Type == "basic" || h.Auth.Type == "bearer" || h.Auth.Type == "oauth2") && strings.EqualFold(v.Name, "Authorization") {
			say(join("headers", v.Name), "`Authorization` is set by `auth` already", "")
		}
	}
}

// URLFields are the names of record fields in the URL, {pipeline} aside.
func (h *HTTP) URLFields() []string {
	var out []string
	for _, name := range placeholders(h.URL) {
		if name != "pipeline" {
			out = append(out, name)
		}
	}
	return out
}

// placeholders are the names in braces in s.
func placeholders(s string) (names []string) {
	for {
		_, after, ok := strings.Cut(s, "{")
		if !ok {
			return names
		}
		name, rest, ok := strings.Cut(after, "}")
		if !ok {
			return names
		}
		names = append(names, name)
		s = rest
	}
}

// A Header is sent with each request. Many a value is a key to something, so
// all are secret.
type Header struct {
	Name  string
	Value ingest.Secret
}

type headerValue struct{ h *Header }

func (t headerValue) decode(d *decoder, n *node, path string) {
	if sensitiveName(t.h.Name) {
		secret{&t.h.Value}.decode(d, n, path)
	} else if s, ok := d.scalar(n, path, "a text"); ok {
		t.h.Value = ingest.NewSecret(s)
	}
	if v := t.h.Value.Reveal(); strings.ContainsFunc(v, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		d.problem(n, path, fmt.Sprintf("the value of header `%s` holds a line end or control character", printable(t.h.Name)), "")
	}
}

func (headerValue) encode(dst []byte) ([]byte, bool) { return dst, false }
func (headerValue) typ() string                      { return "text" }

func checkHeaderName(s string) error {
	for _, r := range s {
		if !word(string(r)) && !strings.ContainsRune("!#$%&'*+.^`|~", r) {
			return errors.New("is no name of a header")
		}
	}
	return nil
}

// checkSetHeader refuses headers that are ours to set.
func checkSetHeader(s string) error {
	if s == "" || checkHeaderName(s) != nil {
		return errors.New("is no name of a header")
	}
	name := strings.ToLower(s)
	if strings.HasPrefix(name, "x-ingestd-") || slices.Contains([]string{
		"idempotency-key", "content-length", "content-encoding", "transfer-encoding", "connection",
		"keep-alive", "proxy-connection", "proxy-authorization", "te", "trailer", "upgrade", "expect",
	}, name) {
		return errors.New("is set by ingestd itself")
	}
	return nil
}

// Auth is how to log in to a target. Type says which keys count; "" is none.
type Auth struct {
	Type         string // basic, bearer, api_key, hmac, oauth2
	User         string
	Password     ingest.Secret
	Token        ingest.Secret
	Header       string // api_key, hmac
	Query        string // api_key: a query parameter in place of a header
	Value        ingest.Secret
	Secret       ingest.Secret
	Algorithm    string
	Encoding     string
	Signed       string
	Prefix       string
	TimeHeader   string // timestamp_header
	TokenURL     string
	ClientID     string
	ClientSecret ingest.Secret
	Scopes       []string
	Audience     string
}

func (*Auth) sensitive() {}

func (a *Auth) discriminator() string { return "type" }
func (a *Auth) chosen() string        { return a.Type }
func (a *Auth) keys() []key           { return a.variant(a.Type) }
func (a *Auth) variants() []string {
	return []string{"basic", "bearer", "api_key", "hmac", "oauth2"}
}

func (a *Auth) variant(of string) []key {
	ks := []key{{name: "type", to: oneOf(&a.Type, a.variants()...), required: true, doc: "How to log in."}}
	switch of {
	case "basic":
		ks = append(ks,
			key{name: "user", to: words(&a.User), required: true, doc: "The user's name."},
			key{name: "password", to: secret{&a.Password}, required: true, doc: "The password."})
	case "bearer":
		ks = append(ks, key{name: "token", to: secret{&a.Token}, required: true, doc: "The token."})
	case "api_key":
		ks = append(ks,
			key{name: "header", to: text{p: &a.Header, check: checkHeaderName}, doc: "The header that carries it; this or `query`."},
			key{name: "query", to: words(&a.Query), doc: "The query parameter that carries it."},
			key{name: "value", to: secret{&a.Value}, required: true, doc: "The key."})
	case "hmac":
		ks = append(ks,
			key{name: "header", to: text{p: &a.Header, check: checkHeaderName}, required: true, doc: "The header that carries the signature."},
			key{name: "secret", to: secret{&a.Secret}, required: true, doc: "The secret that we share with the target."},
			key{name: "algorithm", to: oneOf(&a.Algorithm, "sha256", "sha512", "sha1"), def: "sha256", doc: "The hash."},
			key{name: "encoding", to: oneOf(&a.Encoding, "hex", "base64"), def: "hex", doc: "How the signature is written."},
			key{name: "signed", to: words(&a.Signed), def: `"{body}"`, doc: "What is signed: text with `{body}` (as it goes out, after `compress`), `{timestamp}`, `{method}`, `{path}` (with the query) and `{key}` (the Idempotency-Key) in it."},
			key{name: "prefix", to: words(&a.Prefix), defDoc: "none", doc: "What stands before the signature in the header, as in `sha256=`; may hold `{timestamp}`."},
			key{name: "timestamp_header", to: text{p: &a.TimeHeader, check: checkHeaderName}, defDoc: "none", doc: "The header that tells the timestamp, in seconds since 1970."})
	case "oauth2":
		ks = append(ks,
			key{name: "token_url", to: text{p: &a.TokenURL, name: "URL", check: checkURL}, required: true, doc: "Where tokens are had (client credentials)."},
			key{name: "client_id", to: words(&a.ClientID), required: true, doc: "The client's id."},
			key{name: "client_secret", to: secret{&a.ClientSecret}, required: true, doc: "The client's secret."},
			key{name: "scopes", to: texts(&a.Scopes), def: "[]", doc: "The scopes that are asked for."},
			key{name: "audience", to: words(&a.Audience), defDoc: "none", doc: "The audience that is asked for."})
	}
	return ks
}

func (a *Auth) check(say func(key, message, hint string)) {
	if a.Type != "api_key" {
		return
	}
	switch {
	case a.Header != "" && a.Query != "":
		say("query", "`api_key` goes into a `header` or the `query`, not both", "")
	case a.Header == "" && a.Query == "":
		say("header", "`type: api_key` needs `header` or `query`", "as in header: X-Api-Key")
	}
}

// ClientTLS is the files of TLS to a target.
type ClientTLS struct {
	CertFile string
	KeyFile  string
	CAFile   string
}

func (t *ClientTLS) keys() []key {
	return []key{
		{name: "cert_file", to: location{&t.CertFile}, defDoc: "none", doc: "Our certificate with its chain, PEM."},
		{name: "key_file", to: location{&t.KeyFile}, defDoc: "none", doc: "Its private key, PEM."},
		{name: "ca_file", to: location{&t.CAFile}, defDoc: "the system's", doc: "Who may sign the target's certificate, PEM."},
	}
}

func (t *ClientTLS) check(say func(key, message, hint string)) { pair(t.CertFile, t.KeyFile, say) }

// Deliver is when deliveries are made.
type Deliver struct {
	At     Clock
	Window Window
	Zone   Zone
}

func (v *Deliver) keys() []key {
	return []key{
		{name: "at", to: parsed(&v.At, "time of day", "a time of day such as \"02:00\"", parseClock), defDoc: "none", doc: "The time of day from which what has arrived by then is delivered; what arrives later waits for the next day's."},
		{name: "window", to: parsed(&v.Window, "span of the day", "a span such as \"22:00-05:00\"", parseWindow), defDoc: "none", doc: "The span of the day in which deliveries are made; an end before its beginning goes over midnight."},
		{name: "zone", to: parsed(&v.Zone, "time zone", "a time zone such as Europe/Berlin", parseZone), def: "UTC", doc: "The zone of both."},
	}
}

func (v *Deliver) check(say func(key, message, hint string)) {
	if !v.At.Set && !v.Window.From.Set {
		say("", "`deliver` needs `at` or `window`", "")
	}
	if w := v.Window; v.At.Set && w.From.Set && !w.Has(v.At) {
		say("at", fmt.Sprintf("`at` %s lies outside the `window` %s", v.At, w), "")
	}
}

// Results is where an answer says what became of each record.
type Results struct {
	Path   string // members' names, joined by dots; "": the answer itself
	Status string
	Error  string
	Index  string // "": results stand in the order of the records
}

func (r *Results) keys() []key {
	return []key{
		{name: "path", to: text{p: &r.Path, empty: true, check: checkMembers}, required: true, doc: "The path of the list, as in `data.items`; `\"\"`: the answer is the list."},
		{name: "status", to: text{p: &r.Status, check: checkMembers}, def: "status", doc: "The member of a result that holds the record's HTTP status; dots for nested ones."},
		{name: "error", to: text{p: &r.Error, check: checkMembers}, def: "error", doc: "The member that holds the reason."},
		{name: "index", to: text{p: &r.Index, check: checkMembers}, defDoc: "results in the order of the records", doc: "The member that says which record it is about, counted from 0 in the request."},
	}
}

// checkMembers wants names of nested members, joined by dots.
func checkMembers(s string) error {
	if s != "" && slices.Contains(strings.Split(s, "."), "") {
		return errors.New("has an empty name between its dots")
	}
	return nil
}

// A urlTarget takes the address of a target. Its text is never quoted: it may
// hold what should stand under auth.
type urlTarget struct{ p *string }

func (t urlTarget) decode(d *decoder, n *node, path string) {
	s, ok := d.scalar(n, path, "a URL")
	if !ok {
		return
	}
	u, err := parseURL(s)
	switch {
	case err != nil:
		d.problem(n, path, fmt.Sprintf("`%s` %s", last(path), err), "")
		return
	case u.User != nil:
		d.problem(n, path, fmt.Sprintf("`%s` holds a user or password", last(path)), "put them under `auth: {type: basic, user: …, password: …}`")
		return
	case u.Fragment != "":
		d.problem(n, path, fmt.Sprintf("`%s` has a fragment (#…), which is never sent", last(path)), "")
		return
	}
	*t.p = s
}

func (t urlTarget) encode(dst []byte) ([]byte, bool) { return words(t.p).encode(dst) }
func (urlTarget) typ() string                        { return "URL" }

// maxURL bounds a URL, in bytes.
const maxURL = 8 << 10

// parseURL parses an absolute http or https URL; placeholders stand after the
// host. Its errors hold nothing of s.
func parseURL(s string) (*url.URL, error) {
	if len(s) > maxURL {
		return nil, fmt.Errorf("is longer than %d bytes", maxURL)
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return nil, errors.New("holds white space or a control character; write %20")
	}
	scheme, rest, ok := strings.Cut(s, "://")
	scheme = strings.ToLower(scheme)
	if !ok || scheme != "http" && scheme != "https" {
		return nil, errNoURL
	}
	host := rest
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		host = rest[:i]
	}
	if strings.ContainsAny(host, "{}") {
		return nil, errors.New("has a placeholder in its host; placeholders stand after it")
	}
	plain := s
	for _, name := range placeholders(rest) {
		if name == "" {
			return nil, errors.New("has an empty placeholder {}")
		}
		plain = strings.Replace(plain, "{"+name+"}", "x", 1)
	}
	if strings.ContainsAny(plain, "{}") {
		return nil, errors.New("has a brace without its partner")
	}
	u, err := url.Parse(plain)
	if err != nil || u.Hostname() == "" {
		return nil, errNoURL
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 65535 {
			return nil, errors.New("has a port that is none")
		}
	}
	return u, nil
}

// An addressTarget takes where a listener listens.
type addressTarget struct {
	p    *string
	unix bool // unix:PATH is allowed
}

func address(p *string, unix bool) target { return addressTarget{p, unix} }

func (t addressTarget) decode(d *decoder, n *node, path string) {
	s, ok := d.scalar(n, path, "an address such as 127.0.0.1:8081")
	if !ok {
		return
	}
	if sock, ok := strings.CutPrefix(s, "unix:"); ok && t.unix {
		if sock == "" {
			d.problem(n, path, fmt.Sprintf("`%s` names no socket after unix:", last(path)), "as in unix:/run/ingestd/admin.sock")
			return
		}
		if !filepath.IsAbs(sock) {
			sock = filepath.Join(d.dir, sock)
		}
		*t.p = "unix:" + sock
		return
	}
	host, port, err := net.SplitHostPort(s)
	_, perr := strconv.ParseUint(port, 10, 16)
	if err != nil || perr != nil || strings.ContainsAny(host, " /") {
		d.problem(n, path, fmt.Sprintf("`%s`: %s is no address", last(path), n.quote()), "write host:port, as in 127.0.0.1:8081")
		return
	}
	*t.p = s
}

func (t addressTarget) encode(dst []byte) ([]byte, bool) { return words(t.p).encode(dst) }
func (addressTarget) typ() string                        { return "address" }

// loopback reports whether an address can be reached from this machine only.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
