package webhook

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// maxSignatures bounds the signatures of one request that are tried, so that a
// header full of them costs nothing.
const maxSignatures = 8

// mac is the HMAC-SHA256 of parts, one after the other.
func mac(key []byte, parts ...string) []byte {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		h.Write([]byte(p))
	}
	return h.Sum(nil)
}

// anyMAC reports whether one of the given signatures is that of one of the
// keys. Every key is tried: which one fits shows in no time.
func anyMAC(keys, given [][]byte, parts ...string) bool {
	ok := false
	for _, key := range keys {
		want := mac(key, parts...)
		for _, g := range given {
			if hmac.Equal(g, want) {
				ok = true
			}
		}
	}
	return ok
}

var errWrong = errors.New("wrong")

// standard is Standard Webhooks 1.0.0 (standardwebhooks.com), and Svix, whose
// headers have another prefix: v1 is an HMAC under a whsec_ secret, v1a an
// Ed25519 signature that a whpk_ public key proves.
type standard struct {
	keys   [][]byte
	public []ed25519.PublicKey
	clock  clock
}

func newStandard(o VerifyOptions) (scheme, error) {
	s := standard{clock: clock{o.Tolerance}}
	for _, secret := range o.Secrets {
		text := secret.Reveal()
		rest, public := strings.CutPrefix(text, "whpk_")
		if !public {
			rest = strings.TrimPrefix(text, "whsec_")
		}
		key, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(rest, "="))
		switch {
		case err != nil:
			return nil, errors.New("a secret is not base64 behind whsec_ (or whpk_): copy it from the sender as it stands there")
		case public && len(key) != ed25519.PublicKeySize:
			return nil, fmt.Errorf("a public key has %d bytes, not %d", len(key), ed25519.PublicKeySize)
		case public:
			s.public = append(s.public, key)
		case len(key) == 0:
			return nil, errors.New("a secret is empty")
		default:
			s.keys = append(s.keys, key)
		}
	}
	return s, nil
}

func (s standard) verify(m *Message) (Proof, error) {
	family := "Webhook-"
	if m.Header.Get("Webhook-Signature") == "" && m.Header.Get("Svix-Signature") != "" {
		family = "Svix-"
	}
	id, err := single(m.Header, family+"Id")
	if err != nil {
		return Proof{}, err
	}
	at, err := single(m.Header, family+"Timestamp")
	if err != nil {
		return Proof{}, err
	}
	list, err := single(m.Header, family+"Signature")
	if err != nil {
		return Proof{}, err
	}
	if strings.Contains(id, ".") {
		return Proof{}, refused("its %sId holds a full stop", family)
	}
	if err := s.clock.check(at, m.Now); err != nil {
		return Proof{}, err
	}
	var given, signed [][]byte
	for i, one := range strings.SplitN(list, " ", maxSignatures+1) {
		if i == maxSignatures {
			break
		}
		version, text, _ := strings.Cut(one, ",")
		sig, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			continue
		}
		switch version {
		case "v1":
			given = append(given, sig)
		case "v1a":
			signed = append(signed, sig)
		}
	}
	ok := anyMAC(s.keys, given, id, ".", at, ".", string(m.Body))
	if len(s.public) > 0 && len(signed) > 0 {
		content := []byte(id + "." + at + "." + string(m.Body))
		for _, key := range s.public {
			for _, sig := range signed {
				ok = ok || ed25519.Verify(key, content, sig)
			}
		}
	}
	if !ok {
		return Proof{}, refused("no signature in %sSignature is that of a secret", family)
	}
	return Proof{ID: id, Signed: true, Verified: true}, nil
}

// stripe is Stripe's scheme (docs.stripe.com/webhooks): t=…,v1=…; the event's
// id stands in the body.
type stripe struct {
	keys  [][]byte
	clock clock
}

func (s stripe) verify(m *Message) (Proof, error) {
	list, err := single(m.Header, "Stripe-Signature")
	if err != nil {
		return Proof{}, err
	}
	at, given := "", [][]byte(nil)
	for _, one := range strings.SplitN(list, ",", 4*maxSignatures) {
		name, value, _ := strings.Cut(strings.TrimSpace(one), "=")
		switch name {
		case "t":
			if at != "" {
				return Proof{}, refused("its Stripe-Signature holds two times")
			}
			at = value
		case "v1":
			if sig, err := prefixedHex(value, ""); err == nil && len(given) < maxSignatures {
				given = append(given, sig)
			}
		}
	}
	if err := s.clock.check(at, m.Now); err != nil {
		return Proof{}, err
	}
	if !anyMAC(s.keys, given, at, ".", string(m.Body)) {
		return Proof{}, refused("no v1 in Stripe-Signature is that of a secret")
	}
	id, _ := bodyText(m.Body, "id")
	return Proof{ID: usable(id), Signed: true, Verified: true}, nil
}

// github is GitHub's scheme (docs.github.com/webhooks): the delivery's id is
// not signed, and no time is.
type github struct{ keys [][]byte }

func (s github) verify(m *Message) (Proof, error) {
	text, err := single(m.Header, "X-Hub-Signature-256")
	if err != nil {
		return Proof{}, err
	}
	sig, err := prefixedHex(text, "sha256=")
	if err != nil || !anyMAC(s.keys, [][]byte{sig}, string(m.Body)) {
		return Proof{}, refused("its X-Hub-Signature-256 is not that of a secret")
	}
	return Proof{ID: usable(m.Header.Get("X-Github-Delivery")), Verified: true}, nil
}

// shopify is Shopify's scheme (shopify.dev/docs/apps/build/webhooks): no id and
// no time is signed.
type shopify struct{ keys [][]byte }

func (s shopify) verify(m *Message) (Proof, error) {
	name, id := "X-Shopify-Hmac-Sha256", "X-Shopify-Webhook-Id"
	if m.Header.Get(name) == "" && m.Header.Get("Shopify-Hmac-Sha256") != "" {
		name, id = "Shopify-Hmac-Sha256", "Shopify-Webhook-Id"
	}
	text, err := single(m.Header, name)
	if err != nil {
		return Proof{}, err
	}
	sig, err := base64.StdEncoding.DecodeString(text)
	if err != nil || !anyMAC(s.keys, [][]byte{sig}, string(m.Body)) {
		return Proof{}, refused("its %s is not that of a secret", name)
	}
	return Proof{ID: usable(m.Header.Get(id)), Verified: true}, nil
}

// slack is Slack's scheme (docs.slack.dev, verifying requests): the event's id
// stands in the body.
type slack struct {
	keys  [][]byte
	clock clock
}

func (s slack) verify(m *Message) (Proof, error) {
	text, err := single(m.Header, "X-Slack-Signature")
	if err != nil {
		return Proof{}, err
	}
	at, err := single(m.Header, "X-Slack-Request-Timestamp")
	if err != nil {
		return Proof{}, err
	}
	if err := s.clock.check(at, m.Now); err != nil {
		return Proof{}, err
	}
	sig, err := prefixedHex(text, "v0=")
	if err != nil || !anyMAC(s.keys, [][]byte{sig}, "v0:", at, ":", string(m.Body)) {
		return Proof{}, refused("its X-Slack-Signature is not that of a secret")
	}
	id, _ := bodyText(m.Body, "event_id")
	return Proof{ID: usable(id), Signed: true, Verified: true}, nil
}

// prefixedHex decodes lower-case hex digits behind a prefix.
func prefixedHex(text, prefix string) ([]byte, error) {
	digits, ok := strings.CutPrefix(text, prefix)
	if !ok || digits != strings.ToLower(digits) {
		return nil, errWrong
	}
	return hex.DecodeString(digits)
}

// usable is an id, or "" where it cannot be one: it was found beside what is
// signed, and the event is no worse for it.
func usable(id string) string {
	if !printable(id) {
		return ""
	}
	return id
}
