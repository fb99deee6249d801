package httpapi

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

type roundTrip func(*http.Request) (int, string)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		r.Body.Close()
	}
	status, body := f(r)
	return &http.Response{
		StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: r,
	}, nil
}

// SetRoundTrip answers all requests of s, and for its tokens, without a network.
func (s *Sink) SetRoundTrip(_ testing.TB, f func(*http.Request) (int, string)) {
	t := &http.Transport{}
	t.RegisterProtocol("http", roundTrip(f))
	s.transport.Store(t)
	s.grant.client.Store(&http.Client{Transport: t})
}
