package httpapi

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"ingestd/ingest"
)

// staticHeader checks the configured headers and returns what every request
// carries, and the Host header where one is set.
func staticHeader(o Options, auth Auth) (http.Header, string, error) {
	agent := "ingestd"
	if o.Version != "" {
		agent += "/" + o.Version
	}
	h := http.Header{"User-Agent": {agent}}
	if !httpguts.ValidHeaderFieldValue(agent) {
		return nil, "", fmt.Errorf("version: %q cannot stand in a header", o.Version)
	}
	host := ""
	for _, name := range slices.Sorted(maps.Keys(o.Headers)) {
		value := o.Headers[name]
		key := http.CanonicalHeaderKey(name)
		if err := checkHeaderName(key); err != nil {
			return nil, "", fmt.Errorf("headers: %w", err)
		}
		// The value may be a secret: it is not shown.
		if !httpguts.ValidHeaderFieldValue(value) {
			return nil, "", fmt.Errorf("headers: the value of %s holds a line end or another control character", name)
		}
		switch {
		case key == "Host":
			if !httpguts.ValidHostHeader(value) {
				return nil, "", fmt.Errorf("headers: Host is no host name")
			}
			host = value
			continue
		case slices.Contains(auth.sets(), key):
			return nil, "", fmt.Errorf("headers: %s is set, and auth sets it too", key)
		case len(h[key]) > 0 && key != "User-Agent":
			return nil, "", fmt.Errorf("headers: %s is there twice", key)
		}
		h[key] = []string{value}
	}
	return h, host, nil
}

// sets lists the headers that a sets, api_key's aside: a configured header may
// stand for that one.
func (a *Auth) sets() []string {
	switch a.Type {
	case AuthBasic, AuthBearer, AuthOAuth2:
		return []string{"Authorization"}
	case AuthHMAC:
		return []string{http.CanonicalHeaderKey(a.Header), http.CanonicalHeaderKey(a.TimestampHeader)}
	}
	return nil
}

// checkHeaderName refuses names that are no header or that the sink, or HTTP
// itself, sets.
func checkHeaderName(key string) error {
	switch {
	case !httpguts.ValidHeaderFieldName(key):
		return fmt.Errorf("%q is no header name", key)
	case strings.HasPrefix(key, "X-Ingestd-"), slices.Contains([]string{
		"Idempotency-Key", "Content-Length", "Content-Encoding", "Transfer-Encoding", "Connection",
		"Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "Te", "Trailer", "Upgrade", "Expect",
	}, key):
		return fmt.Errorf("%s cannot be set: it is ingestd's own", key)
	}
	return nil
}

// requestHeader is the header of one request. A new map each time: net/http may
// still read it after the answer has come.
func (s *Sink) requestHeader(r *ingest.Request, c *credentials) http.Header {
	h := make(http.Header, len(s.header)+8)
	maps.Copy(h, s.header)
	values := make([]string, 0, 6)
	set := func(name, value string) {
		values = append(values, value)
		h[name] = values[len(values)-1 : len(values) : len(values)]
	}
	if h["Content-Type"] == nil && r.ContentType != "" {
		set("Content-Type", r.ContentType)
	}
	set("Idempotency-Key", r.Key)
	set("X-Ingestd-Pipeline", plain(r.Pipeline))
	if r.Arrival != 0 {
		set("X-Ingestd-Arrival", ingest.Ref{Arrival: r.Arrival, Event: r.Event}.String())
	}
	set("X-Ingestd-Records", strconv.Itoa(r.Records))
	if c.name != "" {
		set(c.name, c.value)
	}
	if v := s.encoder.header(); v != nil {
		h["Content-Encoding"] = v
	}
	return h
}

// plain is a name as a header may hold it: bytes that are not printable ASCII,
// and the percent sign, are percent-encoded.
func plain(s string) string {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '%' {
			return encodeName(s)
		}
	}
	return s
}

func encodeName(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '%' {
			writeEscaped(&b, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
