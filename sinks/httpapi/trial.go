package httpapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptrace"
	"slices"
	"time"

	"ingestd/ingest"
)

// How a Trial ended.
const (
	Reached = "reached" // the target answered, and does not turn us away
	Refused = "refused" // it, or the token endpoint, turns us away: a person must act
	Down    = "down"    // no answer, or one that says "later"
)

// trialMethods are the methods of a trial, the usual one first. None of them
// may change anything at the target (RFC 9110, section 9.2.1).
var trialMethods = []string{http.MethodHead, http.MethodOptions, http.MethodGet}

// A Trial is what one harmless request found out. It holds no secret.
type Trial struct {
	Method   string
	URL      string // without its query
	Address  string // that answered, IP and port: the target's, or the proxy's
	Protocol string // HTTP/1.1, HTTP/2.0
	TLS      string // version, or "" for plain http
	Subject  string // of the target's certificate
	Issuer   string
	Ends     time.Time // when it ends
	Status   int
	Answer   string // its beginning
	Took     time.Duration
	Outcome  string
	Means    string // in words, with what to do
}

// Try sends one harmless request with the headers, credentials and TLS of a
// delivery, and without a body. Places in the URL hold the word "ingestd-test".
// It returns an error where method is none of HEAD, OPTIONS, GET; "" is HEAD.
func (s *Sink) Try(ctx context.Context, method string) (Trial, error) {
	if method == "" {
		method = trialMethods[0]
	}
	t := Trial{Method: method, URL: s.url.shown, Outcome: Reached}
	if !slices.Contains(trialMethods, method) {
		return t, fmt.Errorf("method %q is none of %v: a test must change nothing", method, trialMethods)
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	began := time.Now()
	rep, err := s.try(ctx, &t)
	t.Took = time.Since(began)
	if err != nil {
		var halt *ingest.Halt
		if t.Outcome = Down; errors.As(err, &halt) {
			t.Outcome = Refused
		}
		t.Means = s.scrub(err).Error()
		return t, nil
	}
	t.Status, t.Answer = rep.status, rep.body
	t.Outcome, t.Means = s.means(method, rep)
	return t, nil
}

// try asks, and once more with a new token where the first one is refused.
func (s *Sink) try(ctx context.Context, t *Trial) (reply, error) {
	c, err := s.credentials(ctx)
	if err != nil {
		return reply{}, err
	}
	rep, err := s.tryWith(ctx, t, c)
	if err == nil && s.grant != nil && s.unauthorized(rep.status) {
		if c, err = s.renew(ctx, c); err != nil {
			return reply{}, err
		}
		rep, err = s.tryWith(ctx, t, c)
	}
	return rep, err
}

func (s *Sink) tryWith(ctx context.Context, t *Trial, c *credentials) (reply, error) {
	const word = "ingestd-test"
	target := c.target
	if target == nil {
		r := &ingest.Request{Pipeline: word}
		for _, name := range s.url.fields {
			r.Vars = append(r.Vars, ingest.Var{Name: name, Value: word})
		}
		var err error
		if target, err = s.url.expand(r, c.query); err != nil {
			return reply{}, err
		}
	}
	header := maps.Clone(s.header)
	if c.name != "" {
		header[c.name] = []string{c.value}
	}
	red := c.redact
	if c.signer != nil {
		red = red.with(c.signer.sign(header, t.Method, target.RequestURI(), "", nil, time.Now()))
	}
	req := (&http.Request{
		Method: t.Method, URL: target, Host: s.host, Header: header, Body: http.NoBody,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) { t.Address = i.Conn.RemoteAddr().String() },
	}))
	resp, err := s.transport.Load().RoundTrip(req)
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("no answer within %v: %w", s.timeout, err)
		}
		return reply{}, red.error(fmt.Errorf("%s %s: %w", t.Method, s.url.shown, s.explain(err)))
	}
	defer resp.Body.Close()
	t.Protocol = resp.Proto
	if resp.TLS != nil {
		t.TLS = tls.VersionName(resp.TLS.Version)
		if len(resp.TLS.PeerCertificates) > 0 {
			cert := resp.TLS.PeerCertificates[0]
			t.Subject, t.Issuer, t.Ends = red.clean(cert.Subject.String(), 200), red.clean(cert.Issuer.String(), 200), cert.NotAfter
		}
	}
	rep := reply{status: resp.StatusCode}
	if rep.status/100 == 3 {
		rep.location = location(resp, red)
	}
	if rep.status != http.StatusSwitchingProtocols && t.Method != http.MethodHead {
		rep.body = readAnswer(resp, red)
	}
	return rep, nil
}

// means says what an answer to a trial tells of deliveries.
func (s *Sink) means(method string, rep reply) (outcome, text string) {
	switch st := rep.status; {
	case includes(s.duplicate, st):
		return Reached, "it answers; a delivery answered so counts as had already"
	case includes(s.accept, st):
		text = "it answers; a delivery answered so counts as delivered"
		if s.weigh != nil {
			text += ", where accept_when holds"
		}
		return Reached, text
	case st == http.StatusUnauthorized, st == http.StatusForbidden:
		return Refused, "it refuses our credentials; deliveries would stop and wait: check the sink's auth"
	case st/100 == 3:
		text = "it redirects, and redirects are never followed; deliveries would stop and wait: check the sink's url"
		if rep.location != "" {
			text = "it redirects to " + rep.location + ", and redirects are never followed; deliveries would stop and wait: put the right address into the sink's url"
		}
		return Refused, text
	case st == http.StatusNotFound, st == http.StatusMethodNotAllowed, st == http.StatusGone, st == http.StatusNotImplemented:
		return Reached, fmt.Sprintf("it answers, but does not know %s here; whether it knows %s, only a delivery tells", method, s.method)
	case st == http.StatusRequestTimeout, st == http.StatusTooEarly, st == http.StatusTooManyRequests, st >= 500, st < 200:
		return Down, "it answers, but not now; a delivery answered so would be tried again"
	default:
		return Reached, "it answers; a delivery answered so would be refused, and its records become dead letters"
	}
}
