package webhook

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // some senders have nothing else
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"
)

// custom is an HMAC as the config describes it.
type custom struct {
	keys     [][]byte
	hash     func() hash.Hash
	decode   func(string) ([]byte, error)
	header   string
	prefix   string
	signed   []string // text and placeholders, in turn
	atHeader string
	nonce    string // the header
	clock    clock
}

// The placeholders of what is signed.
const (
	bodyPlace  = "{body}"
	timePlace  = "{timestamp}"
	noncePlace = "{nonce}"
)

func newHMAC(o VerifyOptions) (scheme, error) {
	s := custom{
		keys: texts(o.Secrets), header: o.Header, prefix: o.Prefix,
		atHeader: o.TimestampHeader, nonce: o.NonceHeader, clock: clock{o.Tolerance},
	}
	switch o.Algorithm {
	case "", "sha256":
		s.hash = sha256.New
	case "sha512":
		s.hash = sha512.New
	case "sha1":
		s.hash = sha1.New
	default:
		return nil, fmt.Errorf("algorithm %q is none of sha256, sha512, sha1", o.Algorithm)
	}
	switch o.Encoding {
	case "", "hex":
		s.decode = hex.DecodeString
	case "base64":
		s.decode = decodeBase64
	default:
		return nil, fmt.Errorf("encoding %q is none of hex, base64", o.Encoding)
	}
	template := o.Signed
	if template == "" {
		template = bodyPlace
	}
	if s.header == "" {
		return nil, errors.New("it needs the header that holds the signature")
	}
	var err error
	if s.signed, err = parseSigned(template); err != nil {
		return nil, err
	}
	has := func(place string) bool { return strings.Contains(template, place) }
	switch {
	case !has(bodyPlace):
		return nil, fmt.Errorf("signed %q does not hold %s: whatever stands in the body would be believed", template, bodyPlace)
	case has(timePlace) != (s.atHeader != ""):
		return nil, fmt.Errorf("signed: %s and timestamp_header belong together", timePlace)
	case has(noncePlace) != (s.nonce != ""):
		return nil, fmt.Errorf("signed: %s and nonce_header belong together", noncePlace)
	}
	return s, nil
}

// decodeBase64 takes the alphabets and paddings that senders use.
func decodeBase64(text string) ([]byte, error) {
	text = strings.TrimRight(text, "=")
	if strings.ContainsAny(text, "-_") {
		return base64.RawURLEncoding.DecodeString(text)
	}
	return base64.RawStdEncoding.DecodeString(text)
}

// parseSigned splits a template into text and placeholders.
func parseSigned(template string) (parts []string, err error) {
	for rest := template; rest != ""; {
		open := strings.IndexByte(rest, '{')
		if open < 0 {
			return append(parts, rest), nil
		}
		end := strings.IndexByte(rest[open:], '}')
		if end < 0 {
			return append(parts, rest), nil
		}
		place := rest[open : open+end+1]
		switch place {
		case bodyPlace, timePlace, noncePlace:
		default:
			return nil, fmt.Errorf("signed: %s is none of %s, %s, %s", place, bodyPlace, timePlace, noncePlace)
		}
		if open > 0 {
			parts = append(parts, rest[:open])
		}
		parts = append(parts, place)
		rest = rest[open+end+1:]
	}
	return parts, nil
}

func (s custom) verify(m *Message) (Proof, error) {
	text, err := single(m.Header, s.header)
	if err != nil {
		return Proof{}, err
	}
	var at, nonce string
	if s.atHeader != "" {
		if at, err = single(m.Header, s.atHeader); err != nil {
			return Proof{}, err
		}
		if err := s.clock.check(at, m.Now); err != nil {
			return Proof{}, err
		}
	}
	if s.nonce != "" {
		if nonce, err = single(m.Header, s.nonce); err != nil {
			return Proof{}, err
		}
	}
	digits, ok := strings.CutPrefix(text, s.prefix)
	sig, err := s.decode(digits)
	if !ok || err != nil || !s.fits(sig, m.Body, at, nonce) {
		return Proof{}, refused("its %s is not that of a secret", s.header)
	}
	return Proof{ID: nonce, Signed: nonce != "", Verified: true}, nil
}

func (s custom) fits(sig, body []byte, at, nonce string) bool {
	ok := false
	for _, key := range s.keys {
		h := hmac.New(s.hash, key)
		for _, p := range s.signed {
			switch p {
			case bodyPlace:
				h.Write(body)
			case timePlace:
				h.Write([]byte(at))
			case noncePlace:
				h.Write([]byte(nonce))
			default:
				h.Write([]byte(p))
			}
		}
		if hmac.Equal(sig, h.Sum(nil)) {
			ok = true
		}
	}
	return ok
}
