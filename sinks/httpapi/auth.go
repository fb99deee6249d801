package httpapi

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"ingestd/ingest"
)

// The types of Auth.
const (
	AuthNone   = ""
	AuthBasic  = "basic"   // User, Password
	AuthBearer = "bearer"  // Token
	AuthAPIKey = "api_key" // Value, in Header or Query
	AuthHMAC   = "hmac"    // a signature of each request in Header, made with Secret
	AuthOAuth2 = "oauth2"  // a bearer token that TokenURL gives for ClientID and ClientSecret
)

// Auth says how the sink shows who it is.
type Auth struct {
	Type     string
	User     string
	Password ingest.Secret
	Token    ingest.Secret
	Header   string // api_key: the header's name
	Query    string // or the query parameter's
	Value    ingest.Secret

	// hmac. Signed (default {body}) is what is signed: {body} as it goes out,
	// after Content-Encoding, {timestamp} in seconds, {method}, {path} with its
	// query and {key}, the Idempotency-Key; other text stands for itself.
	Secret          ingest.Secret
	Algorithm       string // sha256 (default), sha512 or sha1
	Encoding        string // hex (default) or base64
	Signed          string
	Prefix          string // before the signature, as "sha256="; may hold {timestamp}
	TimestampHeader string // the header that tells {timestamp}

	// oauth2: client credentials (RFC 6749, section 4.4).
	TokenURL     string
	ClientID     string
	ClientSecret ingest.Secret
	Scopes       []string
	Audience     string
}

// credentials are an Auth made ready to use, with the redaction that it needs.
type credentials struct {
	name, value string // a header, or none
	query       string // a query parameter, escaped, or none
	signer      *signer
	target      *url.URL
	secrets     []string // of this Auth alone
	redact      *redactor

	// Of a token: whether there is none yet, and its times.
	missing     bool
	renew, dead time.Time
}

// usable reports whether requests may go out with c, and whether it is time to
// fetch new ones.
func (c *credentials) usable(now time.Time) (usable, old bool) {
	if c.missing {
		return false, true
	}
	return c.dead.IsZero() || now.Before(c.dead), !c.renew.IsZero() && !now.Before(c.renew)
}

// prepare makes auth ready. The secrets of old, which may still come back in
// answers, stay redacted.
func (s *Sink) prepare(auth Auth, old *credentials) (*credentials, error) {
	c := &credentials{}
	switch auth.Type {
	case AuthNone:
	case AuthBasic:
		if strings.Contains(auth.User, ":") {
			return nil, errors.New("basic: a user name cannot hold a colon (RFC 7617)")
		}
		pair := auth.User + ":" + auth.Password.Reveal()
		token := base64.StdEncoding.EncodeToString([]byte(pair))
		c.name, c.value = "Authorization", "Basic "+token
		c.secrets = []string{token, pair, auth.Password.Reveal()}
	case AuthBearer:
		if auth.Token.IsZero() {
			return nil, errors.New("bearer: the token is empty")
		}
		c.name, c.value = "Authorization", "Bearer "+auth.Token.Reveal()
		c.secrets = []string{auth.Token.Reveal()}
	case AuthAPIKey:
		if auth.Value.IsZero() {
			return nil, errors.New("api_key: the value is empty")
		}
		switch {
		case (auth.Header == "") == (auth.Query == ""):
			return nil, errors.New("api_key: set either header or query")
		case auth.Header != "":
			c.name, c.value = http.CanonicalHeaderKey(auth.Header), auth.Value.Reveal()
			if err := checkHeaderName(c.name); err != nil {
				return nil, fmt.Errorf("api_key: %w", err)
			}
		default:
			c.query = escape(auth.Query) + "=" + escape(auth.Value.Reveal())
		}
		c.secrets = []string{auth.Value.Reveal()}
	case AuthHMAC:
		var err error
		if c.signer, err = newSigner(auth); err != nil {
			return nil, err
		}
		c.secrets = []string{auth.Secret.Reveal()}
	case AuthOAuth2:
		c.missing = true
	default:
		return nil, fmt.Errorf("type %q is none of %s, %s, %s, %s, %s", auth.Type, AuthBasic, AuthBearer, AuthAPIKey, AuthHMAC, AuthOAuth2)
	}
	if !httpguts.ValidHeaderFieldValue(c.value) {
		return nil, fmt.Errorf("%s: holds a line end or another control character", auth.Type)
	}
	if s.url.fixed != nil {
		c.target = s.url.fixed
		if c.query != "" {
			u := *c.target
			u.RawQuery = joinQuery(u.RawQuery, c.query)
			c.target = &u
		}
	}
	secrets := append([]string(nil), s.fixed...)
	secrets = append(secrets, c.secrets...)
	if old != nil {
		secrets = append(secrets, old.secrets...)
	}
	c.redact = newRedactor(secrets)
	return c, nil
}

func joinQuery(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "&" + b
}
