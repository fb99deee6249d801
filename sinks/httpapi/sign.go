package httpapi

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The words of Auth.Signed. Prefix may hold {timestamp}.
const (
	wordBody      = "{body}"      // the body as it goes out, after Content-Encoding
	wordTimestamp = "{timestamp}" // seconds since 1970, of this try
	wordMethod    = "{method}"
	wordPath      = "{path}" // path and query, as they stand in the request line
	wordKey       = "{key}"  // the Idempotency-Key
)

// A signer signs requests with HMAC (RFC 2104).
type signer struct {
	header     string // of the signature
	timeHeader string // of the timestamp, or ""
	prefix     string // before the signature; may hold {timestamp}
	signed     []string
	secret     []byte
	hash       func() hash.Hash
	encode     func([]byte) string
}

func newSigner(a Auth) (*signer, error) {
	g := &signer{
		header: http.CanonicalHeaderKey(a.Header), timeHeader: http.CanonicalHeaderKey(a.TimestampHeader),
		prefix: a.Prefix, secret: []byte(a.Secret.Reveal()),
	}
	if a.Secret.IsZero() {
		return nil, errors.New("secret: is empty")
	}
	if err := checkHeaderName(g.header); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if g.timeHeader != "" {
		if err := checkHeaderName(g.timeHeader); err != nil {
			return nil, fmt.Errorf("timestamp_header: %w", err)
		}
		if g.timeHeader == g.header {
			return nil, errors.New("timestamp_header: is the same as header")
		}
	}
	switch a.Algorithm {
	case "", "sha256":
		g.hash = sha256.New
	case "sha512":
		g.hash = sha512.New
	case "sha1":
		g.hash = sha1.New
	default:
		return nil, fmt.Errorf("algorithm: %q is none of sha256, sha512, sha1", a.Algorithm)
	}
	switch a.Encoding {
	case "", "hex":
		g.encode = hex.EncodeToString
	case "base64":
		g.encode = base64.StdEncoding.EncodeToString
	default:
		return nil, fmt.Errorf("encoding: %q is none of hex, base64", a.Encoding)
	}
	text := a.Signed
	if text == "" {
		text = wordBody
	}
	var err error
	if g.signed, err = words(text, wordBody, wordTimestamp, wordMethod, wordPath, wordKey); err != nil {
		return nil, fmt.Errorf("signed: `signed` %w", err)
	}
	if _, err := words(g.prefix, wordTimestamp); err != nil {
		return nil, fmt.Errorf("prefix: `prefix` %w", err)
	}
	if strings.ContainsFunc(g.prefix, func(r rune) bool { return r < ' ' || r > '~' }) {
		return nil, errors.New("prefix: holds what cannot stand in a header")
	}
	if slices.Contains(g.signed, wordTimestamp) && g.timeHeader == "" && !strings.Contains(g.prefix, wordTimestamp) {
		return nil, errors.New("signed: `signed` holds {timestamp}, which the target must be told: set `timestamp_header`, or put {timestamp} into `prefix`")
	}
	return g, nil
}

// words takes a template apart into its words and the text between them.
func words(text string, known ...string) (parts []string, err error) {
	for text != "" {
		at := strings.IndexByte(text, '{')
		if at < 0 {
			return append(parts, text), nil
		}
		if at > 0 {
			parts = append(parts, text[:at])
			text = text[at:]
		}
		i := slices.IndexFunc(known, func(w string) bool { return strings.HasPrefix(text, w) })
		if i < 0 {
			return nil, fmt.Errorf("may hold %s, no other word in braces", strings.Join(known, ", "))
		}
		parts = append(parts, known[i])
		text = text[len(known[i]):]
	}
	return parts, nil
}

// sign adds the signature to h and returns it. target is the request target
// and body what goes out.
func (g *signer) sign(h http.Header, method, target, key string, body []byte, now time.Time) string {
	stamp := strconv.FormatInt(now.Unix(), 10)
	mac := hmac.New(g.hash, g.secret)
	for _, p := range g.signed {
		switch p {
		case wordBody:
			mac.Write(body)
		case wordTimestamp:
			mac.Write([]byte(stamp))
		case wordMethod:
			mac.Write([]byte(method))
		case wordPath:
			mac.Write([]byte(target))
		case wordKey:
			mac.Write([]byte(key))
		default:
			mac.Write([]byte(p))
		}
	}
	signature := g.encode(mac.Sum(nil))
	h[g.header] = []string{strings.ReplaceAll(g.prefix, wordTimestamp, stamp) + signature}
	if g.timeHeader != "" {
		h[g.timeHeader] = []string{stamp}
	}
	return signature
}
