package httpapi

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"

	"ingestd/ingest"
)

// The types of Auth.
const (
	AuthNone   = ""
	AuthBasic  = "basic"   // User, Password
	AuthBearer = "bearer"  // Token
	AuthAPIKey = "api_key" // Value, in Header or Query
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
}

// credentials are an Auth made ready to use, with the redaction that it needs.
type credentials struct {
	name, value string // a header, or none
	query       string // a query parameter, escaped, or none
	target      *url.URL
	secrets     []string // of this Auth alone
	redact      *redactor
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
	default:
		return nil, fmt.Errorf("type %q is none of %s, %s, %s", auth.Type, AuthBasic, AuthBearer, AuthAPIKey)
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
