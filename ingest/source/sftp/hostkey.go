package sftp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"ingestd/ingest"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

// Pins say which host keys a server may show: at least one of the two.
type Pins struct {
	// Keys are lines such as "ssh-ed25519 AAAA…", several while a server changes
	// its key, or lines of a known_hosts file, @cert-authority and @revoked
	// included; where those name no host, they are for this one.
	Keys []string
	File string // a known_hosts file, read at each connection; "": none
}

// maxPins bounds the lines of Pins.Keys.
const maxPins = 64

// hostKeys are the keys that one server may show.
type hostKeys struct {
	addr    string
	keys    []ssh.PublicKey
	cas     []ssh.PublicKey
	revoked [][]byte
	file    string
	legacy  bool
}

func newHostKeys(addr string, p Pins, legacy bool) (*hostKeys, error) {
	h := &hostKeys{addr: addr, file: p.File, legacy: legacy}
	if len(p.Keys) == 0 && p.File == "" {
		return nil, fmt.Errorf("no host key is pinned: give host_keys or known_hosts; `ingestd sftp trust %s` prints the lines", addr)
	}
	if len(p.Keys) > maxPins {
		return nil, fmt.Errorf("host_keys: more than %d lines", maxPins)
	}
	var errs []error
	for i, line := range p.Keys {
		if err := h.pin(line); err != nil {
			errs = append(errs, fmt.Errorf("host_keys: line %d %w", i+1, err))
		}
	}
	if len(errs) == 0 && len(h.keys) == 0 && len(h.cas) == 0 && p.File == "" {
		errs = append(errs, fmt.Errorf("host_keys: no line is for %s", addr))
	}
	return h, errors.Join(errs...)
}

// pin takes one line.
func (h *hostKeys) pin(line string) error {
	fields := strings.Fields(line)
	marker := ""
	if len(fields) > 0 && strings.HasPrefix(fields[0], "@") {
		marker, fields = fields[0], fields[1:]
	}
	hosts := ""
	if len(fields) > 2 && !isKeyType(fields[0]) && isKeyType(fields[1]) {
		hosts, fields = fields[0], fields[1:]
	}
	if len(fields) < 2 || !isKeyType(fields[0]) {
		return errors.New(`is no host key; write one like "ssh-ed25519 AAAA…"`)
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(fields[0] + " " + fields[1]))
	if err != nil {
		return errors.New("is no host key: what comes after its type is cut short or misspelt")
	}
	if hosts != "" && !matchHosts(hosts, h.addr) {
		return nil
	}
	switch marker {
	case "":
		h.keys = append(h.keys, key)
	case "@cert-authority":
		h.cas = append(h.cas, key)
	case "@revoked":
		h.revoked = append(h.revoked, key.Marshal())
	default:
		return fmt.Errorf("begins with %s, which is neither @cert-authority nor @revoked", marker)
	}
	return nil
}

func isKeyType(s string) bool {
	return strings.HasPrefix(s, "ssh-") || strings.HasPrefix(s, "ecdsa-sha2-") || strings.HasPrefix(s, "sk-") || strings.HasPrefix(s, "rsa-sha2-")
}

// matchHosts reports whether a known_hosts line's list of host patterns means
// addr, a host:port. Hashed names are left to known_hosts files.
func matchHosts(patterns, addr string) (ok bool) {
	plain := knownhosts.Normalize(addr)
	host, port, _ := net.SplitHostPort(addr)
	bracketed := "[" + host + "]:" + port
	for p := range strings.SplitSeq(patterns, ",") {
		p, not := strings.CutPrefix(p, "!")
		if wild(p, plain) || wild(p, bracketed) {
			if not {
				return false
			}
			ok = true
		}
	}
	return ok
}

// wild matches s against a pattern with * and ?.
func wild(pattern, s string) bool {
	star, mark, i, j := -1, 0, 0, 0
	for j < len(s) {
		switch {
		case i < len(pattern) && (pattern[i] == '?' || pattern[i] == s[j]):
			i, j = i+1, j+1
		case i < len(pattern) && pattern[i] == '*':
			star, mark = i, j
			i++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[i:], "*") == ""
}

// algorithms are the host key algorithms to ask for: those of the pinned keys,
// since the server shows one key only, and its favourite need not be pinned.
func (h *hostKeys) algorithms() []string {
	var algos []string
	for _, k := range h.keys {
		algos = append(algos, h.algorithmsOf(k.Type())...)
	}
	if len(h.cas) > 0 {
		algos = append(algos, certAlgorithms()...)
	}
	if h.file != "" {
		if db, err := knownhosts.NewDB(h.file); err == nil {
			for _, a := range db.HostKeyAlgorithms(h.addr) {
				if a != ssh.KeyAlgoRSA || h.legacy {
					algos = append(algos, a)
				}
			}
		}
	}
	if len(algos) == 0 { // a host that the file does not know: its key is shown, and refused
		return h.all()
	}
	slices.Sort(algos)
	algos = slices.Compact(algos)
	rank := func(a string) int { return slices.Index(preferred(), a) }
	slices.SortStableFunc(algos, func(a, b string) int { return rank(a) - rank(b) })
	return algos
}

func (h *hostKeys) algorithmsOf(keyType string) []string {
	if keyType != ssh.KeyAlgoRSA {
		return []string{keyType}
	}
	algos := []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	if h.legacy {
		algos = append(algos, ssh.KeyAlgoRSA)
	}
	return algos
}

// all are those that a server is asked for whose keys nobody knows. A
// certificate would say nothing without its authority.
func (h *hostKeys) all() []string {
	algos := preferred()[len(certAlgorithms()):]
	if h.legacy {
		algos = append(algos, ssh.KeyAlgoRSA)
	}
	return algos
}

// preferred are all host key algorithms that are not broken, certificates and
// ed25519 first.
func preferred() []string {
	return append(certAlgorithms(), ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
		ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
}

func certAlgorithms() []string {
	return []string{
		ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01,
		ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01,
	}
}

// A checker looks at the key of one handshake. A host that a jump host leads
// to is known by its own name, whatever the address of the socket.
type checker struct {
	h       *hostKeys
	seen    bool
	passed  bool
	refused error
}

func (h *hostKeys) checker() *checker { return &checker{h: h} }

// see is an ssh.HostKeyCallback.
func (c *checker) see(_ string, remote net.Addr, key ssh.PublicKey) error {
	c.seen = true
	if c.refused == nil {
		c.refused = c.h.check(remote, key)
	}
	c.passed = c.refused == nil
	return c.refused
}

// check says why a key is not one that the server may show.
func (h *hostKeys) check(remote net.Addr, key ssh.PublicKey) error {
	no := &ingest.HostKeyError{Host: h.addr, Got: Fingerprint(key), Want: h.want()}
	cert, _ := key.(*ssh.Certificate)
	for _, r := range h.revoked {
		if bytes.Equal(r, key.Marshal()) || cert != nil && (bytes.Equal(r, cert.SignatureKey.Marshal()) || bytes.Equal(r, cert.Key.Marshal())) {
			no.Revoked = true
			return no
		}
	}
	if cert != nil && len(h.cas) > 0 {
		ca := ssh.CertChecker{IsHostAuthority: func(auth ssh.PublicKey, _ string) bool { return has(h.cas, auth) }}
		err := ca.CheckHostKey(h.addr, remote, key)
		if err == nil {
			return nil
		}
		if has(h.cas, cert.SignatureKey) {
			no.Reason = err.Error()
		}
	}
	if cert == nil && has(h.keys, key) {
		return nil
	}
	if h.file == "" {
		return no
	}
	// Read anew for each connection, so that a line that was added counts.
	db, err := knownhosts.NewDB(h.file)
	if err != nil {
		return fmt.Errorf("read known_hosts: %w", err)
	}
	err = db.HostKeyCallback()(h.addr, remote, key)
	if err == nil {
		return nil
	}
	var unknown *xknownhosts.KeyError
	var revoked *xknownhosts.RevokedError
	switch {
	case errors.As(err, &revoked):
		no.Revoked = true
	case errors.As(err, &unknown):
		for _, w := range unknown.Want {
			no.Want = append(no.Want, Fingerprint(w.Key))
		}
	case no.Reason == "":
		no.Reason = err.Error()
	}
	return no
}

func (h *hostKeys) want() (prints []string) {
	for _, k := range h.keys {
		prints = append(prints, Fingerprint(k))
	}
	for _, k := range h.cas {
		prints = append(prints, "any certified by "+Fingerprint(k))
	}
	return prints
}

func has(keys []ssh.PublicKey, k ssh.PublicKey) bool {
	m := k.Marshal()
	return slices.ContainsFunc(keys, func(o ssh.PublicKey) bool { return bytes.Equal(o.Marshal(), m) })
}

// Fingerprint is a key's type and SHA-256 fingerprint, as OpenSSH writes it. Of
// a certificate it is that of the key it is for.
func Fingerprint(k ssh.PublicKey) string {
	if c, ok := k.(*ssh.Certificate); ok {
		k = c.Key
	}
	return k.Type() + " " + ssh.FingerprintSHA256(k)
}

// An offerError says that a server has no host key of a pinned type. Which it
// has is found out by asking once more.
type offerError struct {
	addr string
	err  error
}

func (e *offerError) Error() string { return e.err.Error() }
func (e *offerError) Unwrap() error { return e.err }

// changed looks at the key that a server shows now that it has none of a pinned
// type. Nothing is sent to it but the handshake.
func (d *dialer) changed(ctx context.Context, oe *offerError) error {
	h := d.server
	if d.jump != nil {
		if oe.addr != d.jump.addr {
			// Behind the jump host it would take a login there to ask again.
			return &ingest.HostKeyError{Host: h.addr, Got: "a key of another type", Want: h.keys.want()}
		}
		h = d.jump
	}
	ctx, cancel := context.WithTimeout(ctx, d.within)
	defer cancel()
	key, err := offered(ctx, h.addr, h.keys.all(), h.legacy)
	if err != nil {
		return oe
	}
	return h.keys.check(&net.TCPAddr{}, key)
}
