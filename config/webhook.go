package config

import (
	"errors"
	"net/netip"
	"strings"
	"time"

	"ingestd/ingest"
)

// Webhook is a path that senders call.
type Webhook struct {
	Path      string // "" = an unguessable one, made once and kept
	Methods   []string
	Mode      string // async, sync
	Timeout   time.Duration
	MaxBody   int64 // bytes, after decoding too
	Verify    Verify
	EventID   EventID
	Challenge string // "", meta, slack, generic
	// ChallengeToken is what a sender's handshake must show (meta); zero: a secret
	// of Verify.
	ChallengeToken ingest.Secret
	Respond        string // the sink whose answer a sync sender gets; "" = the first
	Rate           Rate   // of verified requests
	Concurrency    int    // verified requests at once
	Queue          int64  // bytes that may wait on disk
}

func (w *Webhook) keys() []key {
	return []key{
		{name: "path", to: text{p: &w.Path, check: checkHookPath}, defDoc: "an unguessable one, made once and kept", doc: "The path of the URL."},
		{name: "methods", to: list[string]{p: &w.Methods, some: true, item: func(s *string) target {
			return oneOf(s, "GET", "POST", "PUT", "PATCH", "DELETE")
		}}, def: "[POST]", doc: "Methods that are accepted."},
		{name: "mode", to: oneOf(&w.Mode, "async", "sync"), def: "async", doc: "async answers once the event is on disk; sync passes the target's own answer on."},
		{name: "timeout", to: duration(&w.Timeout, time.Millisecond), def: "10s", doc: "How long a sync sender waits for the target."},
		{name: "max_body", to: size(&w.MaxBody, 1), def: "1MiB", doc: "The largest body, before and after decoding."},
		{name: "verify", to: blockTarget{&w.Verify}, required: true, doc: "How a request proves where it comes from."},
		{name: "event_id", to: blockTarget{&w.EventID}, doc: "Where a sender puts the id that a repeat keeps."},
		{name: "challenge", to: oneOf(&w.Challenge, "meta", "slack", "generic"), defDoc: "none", doc: "The handshake that is answered."},
		{name: "challenge_token", to: secret{&w.ChallengeToken}, defDoc: "the secret of `verify`", doc: "The verify token that the handshake of `challenge: meta` must show."},
		{name: "respond", to: words(&w.Respond), defDoc: "the first of `sinks`", doc: "The sink whose answer a sync sender gets."},
		{name: "rate", to: parsed(&w.Rate, "rate", "a rate such as 50/s", parseRate), defDoc: "any", doc: "The most verified requests in a second (`/s`), minute (`/m`) or hour (`/h`); more are answered 429."},
		{name: "concurrency", to: integer{&w.Concurrency, 1, 65536}, def: "256", doc: "Verified requests at once; more are answered 429."},
		{name: "queue", to: size(&w.Queue, 1<<20), def: "1GiB", doc: "What may wait on disk; beyond it events are answered 429."},
	}
}

// maxEvent bounds max_body: it is what the journal takes.
const maxEvent = 256 << 20

func (w *Webhook) check(say func(key, message, hint string)) {
	if w.MaxBody > maxEvent {
		say("max_body", "`max_body` is at most 256MiB", "larger things are files: use `dir`, `sftp` or `sftp_drop`")
	}
	if !w.ChallengeToken.IsZero() && w.Challenge != "meta" {
		say("challenge_token", "`challenge_token` is for `challenge: meta` only", "")
	}
}

func checkHookPath(s string) error {
	if !strings.HasPrefix(s, "/") || strings.ContainsAny(s, "?#{} ") || strings.Contains(s, "//") {
		return errors.New("is no path; write one like /hooks/orders")
	}
	return nil
}

// EventID is where a sender puts an event's id.
type EventID struct {
	Header string
	Path   string // in the body
}

func (e *EventID) keys() []key {
	return []key{
		{name: "header", to: text{p: &e.Header, check: checkHeaderName}, doc: "A header's name."},
		{name: "path", to: words(&e.Path), doc: "A path in the body."},
	}
}

// Verify is how a request proves where it comes from. Which keys count depends
// on Scheme.
type Verify struct {
	Scheme          string
	Secret          ingest.Secret
	Secrets         []ingest.Secret // new ones first; Secret is the same as a list of one
	Tolerance       time.Duration
	User            string
	Password        ingest.Secret
	Token           ingest.Secret
	Header          string
	Algorithm       string
	Encoding        string
	Prefix          string
	Signed          string
	TimestampHeader string
	NonceHeader     string
	Allow           []netip.Prefix
	ClientCert      bool
	When            string
	ReplayWindow    time.Duration
}

func (*Verify) sensitive() {}

func (v *Verify) discriminator() string { return "scheme" }
func (v *Verify) chosen() string        { return v.Scheme }
func (v *Verify) keys() []key           { return v.variant(v.Scheme) }
func (v *Verify) variants() []string {
	return []string{"standard", "github", "stripe", "shopify", "slack", "hmac", "basic", "bearer", "none"}
}

func (v *Verify) variant(of string) []key {
	ks := []key{{name: "scheme", to: oneOf(&v.Scheme, v.variants()...), required: true, doc: "How requests are signed."}}
	switch of {
	case "standard", "github", "stripe", "shopify", "slack", "hmac":
		ks = append(ks,
			key{name: "secret", to: secret{&v.Secret}, doc: "The secret that sender and receiver share."},
			key{name: "secrets", to: secrets(&v.Secrets), doc: "Several while one is changed, the new one first."},
			key{name: "replay_window", to: duration(&v.ReplayWindow, time.Minute), def: "24h", doc: "How long an event is remembered."})
	}
	switch of {
	case "standard", "stripe", "slack", "hmac":
		ks = append(ks, key{name: "tolerance", to: duration(&v.Tolerance, time.Second), def: "300s", doc: "How far the signed time may be off."})
	}
	switch of {
	case "basic":
		ks = append(ks,
			key{name: "user", to: words(&v.User), required: true, doc: "The user's name."},
			key{name: "password", to: secret{&v.Password}, required: true, doc: "The password."})
	case "bearer":
		ks = append(ks, key{name: "token", to: secret{&v.Token}, required: true, doc: "The token."})
	case "hmac":
		ks = append(ks,
			key{name: "header", to: text{p: &v.Header, check: checkHeaderName}, required: true, doc: "The header that holds the signature."},
			key{name: "algorithm", to: oneOf(&v.Algorithm, "sha256", "sha512", "sha1"), def: "sha256", doc: "The hash."},
			key{name: "encoding", to: oneOf(&v.Encoding, "hex", "base64"), def: "hex", doc: "How the signature is written."},
			key{name: "prefix", to: words(&v.Prefix), defDoc: "none", doc: "What stands before the signature."},
			key{name: "signed", to: words(&v.Signed), def: `"{body}"`, doc: "What is signed: `{body}`, `{timestamp}`, `{nonce}` and text."},
			key{name: "timestamp_header", to: text{p: &v.TimestampHeader, check: checkHeaderName}, defDoc: "none", doc: "The header that holds the time."},
			key{name: "nonce_header", to: text{p: &v.NonceHeader, check: checkHeaderName}, defDoc: "none", doc: "The header that holds the nonce."})
	}
	if of == "" {
		return ks
	}
	return append(ks,
		key{name: "allow", to: list[netip.Prefix]{p: &v.Allow, item: prefix}, defDoc: "anybody", doc: "Networks that may call."},
		key{name: "client_cert", to: boolean{&v.ClientCert}, def: "false", doc: "Whether a client certificate is required."},
		key{name: "when", to: words(&v.When), defDoc: "none", doc: "An expression that must hold."})
}

func (v *Verify) check(say func(key, message, hint string)) {
	switch v.Scheme {
	case "standard", "github", "stripe", "shopify", "slack", "hmac":
		switch {
		case !v.Secret.IsZero() && len(v.Secrets) > 0:
			say("secrets", "write `secret` or `secrets`, not both", "")
		case v.Secret.IsZero() && len(v.Secrets) == 0:
			say("secret", "`scheme: "+v.Scheme+"` needs `secret` or `secrets`", "")
		}
	}
}
