package httpapi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"ingestd/ingest"
)

// A Question is passed on to the target as a GET, and changes nothing.
type Question struct {
	Pipeline string
	Suffix   string      // behind the URL's path, escaped; "" or with a slash
	Query    string      // added to the URL's own, escaped
	Header   http.Header // beside the sink's own
}

// Ask passes a question on with the credentials and TLS of a delivery and
// returns the answer, whatever its status. A redirect, or a refusal of the
// sink's own credentials, is an error: neither is for who asks.
func (s *Sink) Ask(ctx context.Context, q Question) (*ingest.Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	c, err := s.credentials(ctx)
	if err != nil {
		return nil, s.scrub(err)
	}
	r, err := s.ask(ctx, q, c)
	if err == nil && s.grant != nil && s.unauthorized(r.Status) {
		if c, err = s.renew(ctx, c); err != nil {
			return nil, s.scrub(err)
		}
		r, err = s.ask(ctx, q, c)
	}
	switch {
	case err != nil:
		return nil, err
	case r.Status/100 == 3 && r.Status != http.StatusNotModified:
		return nil, fmt.Errorf("GET %s answered %s: redirects are never followed", s.url.shown, statusText(r.Status))
	case r.Status == http.StatusUnauthorized:
		return nil, fmt.Errorf("GET %s answered %s: check the sink's auth", s.url.shown, statusText(r.Status))
	}
	return r, nil
}

func (s *Sink) ask(ctx context.Context, q Question, c *credentials) (*ingest.Reply, error) {
	target, err := s.askURL(q, c)
	if err != nil {
		return nil, err
	}
	header := maps.Clone(s.header)
	for name, values := range q.Header {
		if name = http.CanonicalHeaderKey(name); header[name] == nil {
			header[name] = values
		}
	}
	header.Set("X-Ingestd-Pipeline", plain(q.Pipeline))
	if c.name != "" {
		header[c.name] = []string{c.value}
	}
	red := c.redact
	if c.signer != nil {
		red = red.with(c.signer.sign(header, http.MethodGet, target.RequestURI(), "", nil, time.Now()))
	}
	req := (&http.Request{
		Method: http.MethodGet, URL: target, Host: s.host, Header: header, Body: http.NoBody,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	resp, err := s.transport.Load().RoundTrip(req)
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("no answer in time: %w", err)
		}
		return nil, red.error(fmt.Errorf("GET %s: %w", s.url.shown, s.explain(err)))
	}
	defer resp.Body.Close()
	s.see(resp)
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("GET %s answered %s", s.url.shown, statusText(resp.StatusCode))
	}
	body, err := readWhole(resp)
	if err != nil {
		return nil, red.error(fmt.Errorf("GET %s: %w", s.url.shown, err))
	}
	return wholeReply(resp, body, red), nil
}

// askURL is where a question goes: the sink's URL, and what was asked for behind
// it. Parameters that the URL has already are the sink's.
func (s *Sink) askURL(q Question, c *credentials) (*url.URL, error) {
	if len(s.url.fields) > 0 {
		return nil, errors.New("the sink's url holds fields of records, so it cannot be asked")
	}
	own, err := s.url.expand(&ingest.Request{Pipeline: q.Pipeline}, c.query)
	if err != nil {
		return nil, err
	}
	if err := checkDots(q.Suffix); err != nil {
		return nil, fmt.Errorf("the path climbs: %w", err)
	}
	if q.Suffix != "" && !strings.HasPrefix(q.Suffix, "/") || len(q.Suffix)+len(q.Query) > maxURL {
		return nil, errors.New("the path or query cannot be passed on")
	}
	asked, err := url.ParseQuery(q.Query)
	if err != nil {
		return nil, fmt.Errorf("the query cannot be read: %w", err)
	}
	have := own.Query()
	maps.DeleteFunc(asked, func(name string, _ []string) bool { return have.Has(name) })
	path := strings.TrimSuffix(own.EscapedPath(), "/") + q.Suffix
	if q.Suffix == "" {
		path = own.EscapedPath()
	}
	if own.Path, err = url.PathUnescape(path); err != nil {
		return nil, fmt.Errorf("the path cannot be read: %w", err)
	}
	own.RawPath = path
	if more := asked.Encode(); more != "" {
		if own.RawQuery != "" {
			own.RawQuery += "&"
		}
		own.RawQuery += more
	}
	return own, nil
}

// wholeReply is an answer for who waits for it, without our secrets.
func wholeReply(resp *http.Response, body []byte, red *redactor) *ingest.Reply {
	r := &ingest.Reply{Status: resp.StatusCode, ContentType: red.clean(resp.Header.Get("Content-Type"), 256), Body: body}
	if len(red.forms) > 0 {
		if text := red.text(string(body)); len(text) != len(body) || text != string(body) {
			r.Body = []byte(text)
		}
	}
	return r
}
