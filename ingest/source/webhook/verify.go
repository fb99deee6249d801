// Package webhook receives events over HTTP: it decides whether a request comes
// from whom it says, and stores it before it is answered.
package webhook

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"ingestd/ingest"
)

// VerifyOptions say how a request proves where it comes from. Which of them
// count depends on Scheme.
type VerifyOptions struct {
	Scheme    string          // standard, github, stripe, shopify, slack, hmac, basic, bearer, none
	Secrets   []ingest.Secret // several while one is changed; any of them will do
	Tolerance time.Duration   // how far a signed time may be off, either way

	User     string // basic
	Password ingest.Secret
	Token    ingest.Secret // bearer

	// hmac
	Header          string // holds the signature
	Algorithm       string // sha256, sha512, sha1
	Encoding        string // hex, base64
	Prefix          string // before the signature, such as "sha256="
	Signed          string // what is signed: {body}, {timestamp}, {nonce} and text
	TimestampHeader string
	NonceHeader     string
}

// A Message is a request as it came: nothing of it is decoded.
type Message struct {
	Header http.Header
	Body   []byte
	Now    time.Time
}

// A Proof is what a request that was verified is known by.
type Proof struct {
	// ID is the sender's id of the event, "" where the scheme has none.
	ID string
	// Signed says that the ID is covered by the signature: a repeat of it is a
	// repeat of the event. Where it is not, anybody who saw the request can send
	// it under another id.
	Signed bool
	// Verified says that the request was signed at all: for basic, bearer and
	// none an equal body is no repeat.
	Verified bool
}

// A RefusedError says why a request was not believed. It is for the log: the
// sender is told 401 and nothing else.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return e.Reason }

func refused(format string, args ...any) error {
	return &RefusedError{fmt.Sprintf(format, args...)}
}

// A Verifier decides whether a request comes from whom it says. Signatures are
// made over the bytes as received and compared in constant time. It is safe
// for concurrent use.
type Verifier struct {
	scheme  scheme
	secrets []ingest.Secret
}

// A scheme is one way to sign.
type scheme interface {
	verify(m *Message) (Proof, error)
}

// NewVerifier makes a Verifier. A secret that is empty, or not what the scheme
// asks for, is an error.
func NewVerifier(o VerifyOptions) (*Verifier, error) {
	s, err := newScheme(o)
	if err != nil {
		return nil, fmt.Errorf("scheme %s: %w", o.Scheme, err)
	}
	return &Verifier{scheme: s, secrets: o.Secrets}, nil
}

func newScheme(o VerifyOptions) (scheme, error) {
	switch o.Scheme {
	case "none":
		return open{}, nil
	case "basic":
		return newBasic(o)
	case "bearer":
		return newBearer(o)
	}
	if len(o.Secrets) == 0 {
		return nil, errors.New("it needs a secret")
	}
	for _, s := range o.Secrets {
		if s.IsZero() {
			return nil, errors.New("a secret is empty")
		}
	}
	switch o.Scheme {
	case "standard":
		return newStandard(o)
	case "stripe":
		return stripe{keys: texts(o.Secrets), clock: clock{o.Tolerance}}, nil
	case "slack":
		return slack{keys: texts(o.Secrets), clock: clock{o.Tolerance}}, nil
	case "github":
		return github{keys: texts(o.Secrets)}, nil
	case "shopify":
		return shopify{keys: texts(o.Secrets)}, nil
	case "hmac":
		return newHMAC(o)
	}
	return nil, errors.New("there is no such scheme")
}

// Verify returns what the request is known by, or a *RefusedError.
func (v *Verifier) Verify(m *Message) (Proof, error) {
	p, err := v.scheme.verify(m)
	if err != nil {
		return Proof{}, err
	}
	if p.ID != "" && !printable(p.ID) {
		return Proof{}, refused("the event's id is longer than %d characters, or holds others than printable ones", maxID)
	}
	return p, nil
}

func texts(secrets []ingest.Secret) [][]byte {
	keys := make([][]byte, len(secrets))
	for i, s := range secrets {
		keys[i] = []byte(s.Reveal())
	}
	return keys
}

// maxID bounds an event's id, in bytes.
const maxID = 255

func printable(s string) bool {
	if len(s) > maxID {
		return false
	}
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// single is the value of a header that must stand once.
func single(h http.Header, name string) (string, error) {
	switch vs := h.Values(name); {
	case len(vs) == 0 || len(vs) == 1 && vs[0] == "":
		return "", refused("it has no %s header", name)
	case len(vs) > 1:
		return "", refused("it has %d %s headers", len(vs), name)
	default:
		return vs[0], nil
	}
}

// A clock judges signed times.
type clock struct{ tolerance time.Duration }

// check takes the seconds since 1970 as they were signed.
func (c clock) check(text string, now time.Time) error {
	if len(text) > 11 {
		return refused("its time %.20q is none", text)
	}
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return refused("its time %.20q is none", text)
		}
	}
	sec, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return refused("its time %.20q is none", text)
	}
	// A second's fraction is not signed: an age of 300.9 s is 300 s.
	if off := now.Unix() - sec; off > int64(c.tolerance/time.Second) || -off > int64(c.tolerance/time.Second) {
		return refused("its time is %d s off, more than %v: check both clocks, or the request was kept back", off, c.tolerance)
	}
	return nil
}

// Challenges is what a 401 asks for (RFC 9110, 11.6.1); "" where requests are
// signed.
func (v *Verifier) Challenges() string {
	if l, ok := v.scheme.(login); ok {
		return l.asks
	}
	return ""
}

// carrier is the header that holds the signature where no preset names it, in
// lower case: it is not kept with an event.
func (v *Verifier) carrier() string {
	if c, ok := v.scheme.(custom); ok {
		return strings.ToLower(c.header)
	}
	return ""
}
