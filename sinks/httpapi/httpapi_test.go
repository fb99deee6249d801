package httpapi_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ingestd/ingest"
	"ingestd/sinks/httpapi"
)

// newSink returns a sink for o, or fails the test.
func newSink(t testing.TB, o httpapi.Options) *httpapi.Sink {
	t.Helper()
	if o.Name == "" {
		o.Name = "crm"
	}
	s, err := httpapi.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// serve runs h until the test ends.
func serve(t testing.TB, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv
}

func request() *ingest.Request {
	return &ingest.Request{
		Pipeline: "orders", Arrival: 4711, Name: "a.csv", Key: "0123456789abcdef0123456789abcdef",
		Records: 2, ContentType: "application/json", Body: []byte(`[{"id":1},{"id":2}]`),
	}
}

// kind names the verdict of an error.
func kind(err error) string {
	var (
		rj *ingest.Reject
		h  *ingest.Halt
		ra *ingest.RetryAfter
		us *ingest.Unsent
	)
	switch {
	case errors.As(err, &us):
		return "unsent"
	case err == nil:
		return "delivered"
	case errors.As(err, &rj):
		return "reject"
	case errors.As(err, &h):
		return "halt"
	case errors.As(err, &ra):
		return "retry after"
	}
	return "retry"
}

// TestAnswers is the contract's table of answers, before and after the target
// has accepted anything.
func TestAnswers(t *testing.T) {
	only201 := httpapi.Options{Accept: []httpapi.StatusRange{{First: 201, Last: 201}}}
	for _, c := range []struct {
		status        int
		o             httpapi.Options
		before, after string
	}{
		{200, httpapi.Options{}, "delivered", "delivered"},
		{201, httpapi.Options{}, "delivered", "delivered"},
		{204, httpapi.Options{}, "delivered", "delivered"},
		{207, httpapi.Options{}, "delivered", "delivered"},
		{201, only201, "delivered", "delivered"},
		{200, only201, "reject", "reject"},
		{204, only201, "reject", "reject"},
		{409, httpapi.Options{}, "delivered", "delivered"},
		{409, httpapi.Options{Duplicate: []httpapi.StatusRange{}}, "reject", "reject"},
		{302, httpapi.Options{Accept: []httpapi.StatusRange{{First: 302, Last: 302}}}, "delivered", "delivered"},
		{300, httpapi.Options{}, "halt", "halt"},
		{301, httpapi.Options{}, "halt", "halt"},
		{302, httpapi.Options{}, "halt", "halt"},
		{303, httpapi.Options{}, "halt", "halt"},
		{304, httpapi.Options{}, "halt", "halt"},
		{307, httpapi.Options{}, "halt", "halt"},
		{308, httpapi.Options{}, "halt", "halt"},
		{400, httpapi.Options{}, "reject", "reject"},
		{401, httpapi.Options{}, "halt", "halt"},
		{403, httpapi.Options{}, "halt", "halt"},
		{404, httpapi.Options{}, "halt", "reject"},
		{405, httpapi.Options{}, "halt", "reject"},
		{410, httpapi.Options{}, "halt", "reject"},
		{406, httpapi.Options{}, "reject", "reject"},
		{408, httpapi.Options{}, "retry", "retry"},
		{411, httpapi.Options{}, "reject", "reject"},
		{413, httpapi.Options{}, "reject", "reject"},
		{415, httpapi.Options{}, "reject", "reject"},
		{418, httpapi.Options{}, "reject", "reject"},
		{422, httpapi.Options{}, "reject", "reject"},
		{425, httpapi.Options{}, "retry", "retry"},
		{429, httpapi.Options{}, "retry", "retry"},
		{451, httpapi.Options{}, "reject", "reject"},
		{500, httpapi.Options{}, "retry", "retry"},
		{501, httpapi.Options{}, "retry", "retry"},
		{502, httpapi.Options{}, "retry", "retry"},
		{503, httpapi.Options{}, "retry", "retry"},
		{504, httpapi.Options{}, "retry", "retry"},
		{507, httpapi.Options{}, "retry", "retry"},
		{599, httpapi.Options{}, "retry", "retry"},
		{700, httpapi.Options{}, "retry", "retry"},
	} {
		t.Run(fmt.Sprint(c.status), func(t *testing.T) {
			var status atomic.Int64
			srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(int(status.Load()))
				if status.Load() != 204 && status.Load() != 304 {
					io.WriteString(w, "because")
				}
			})
			c.o.URL = srv.URL
			s := newSink(t, c.o)
			check := func(when, want string) {
				status.Store(int64(c.status))
				a, err := s.Send(t.Context(), request())
				if got := kind(err); got != want {
					t.Errorf("%s anything was accepted: %s (%v), want %s", when, got, err, want)
				}
				if err != nil {
					a = ingest.AnswerOf(err)
				}
				if a.Status != c.status {
					t.Errorf("the answer's status is %d", a.Status)
				}
				if c.status != 204 && c.status != 304 && a.Body != "because" {
					t.Errorf("the answer's body is %q", a.Body)
				}
				if a.Had != (c.status == 409 && want == "delivered") {
					t.Errorf("had: %v", a.Had)
				}
				var rj *ingest.Reject
				if errors.As(err, &rj) && rj.TooLarge != (c.status == 413) {
					t.Errorf("too large: %v", rj.TooLarge)
				}
			}
			check("before", c.before)
			status.Store(200)
			if c.o.Accept != nil {
				status.Store(int64(c.o.Accept[0].First))
			}
			if _, err := s.Send(t.Context(), request()); err != nil {
				t.Fatal(err)
			}
			check("after", c.after)
		})
	}
}

func TestDuplicateThatIsConfigured(t *testing.T) {
	var status atomic.Int64
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(int(status.Load())) })
	one := func(n int) []httpapi.StatusRange { return []httpapi.StatusRange{{First: n, Last: n}} }
	for _, c := range []struct {
		o      httpapi.Options
		status int
		had    bool
	}{
		{httpapi.Options{Duplicate: one(200)}, 200, true}, // beats the default accept
		{httpapi.Options{Duplicate: one(200)}, 201, false},
		{httpapi.Options{Accept: []httpapi.StatusRange{{First: 200, Last: 409}}}, 409, false}, // beats the default duplicate
		{httpapi.Options{Accept: one(409), Duplicate: one(409)}, 409, true},
	} {
		status.Store(int64(c.status))
		c.o.URL = srv.URL
		a, err := newSink(t, c.o).Send(t.Context(), request())
		if err != nil || a.Had != c.had {
			t.Errorf("%d under %+v: had %v, %v", c.status, c.o, a.Had, err)
		}
	}
}

func TestWhatATargetSees(t *testing.T) {
	type seen struct {
		method, uri, host, body string
		header                  http.Header
		length                  int64
	}
	var got seen
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got = seen{r.Method, r.RequestURI, r.Host, string(b), r.Header, r.ContentLength}
	})
	s := newSink(t, httpapi.Options{
		URL: srv.URL + "/api/orders?v=2", Version: "1.2.3",
		Headers: map[string]string{"x-tenant": "acme", "Host": "crm.example"},
	})
	if _, err := s.Send(t.Context(), request()); err != nil {
		t.Fatal(err)
	}
	if got.method != "POST" || got.uri != "/api/orders?v=2" || got.host != "crm.example" {
		t.Errorf("%s %s at %s", got.method, got.uri, got.host)
	}
	if got.body != `[{"id":1},{"id":2}]` || got.length != int64(len(got.body)) {
		t.Errorf("body %q, length %d", got.body, got.length)
	}
	wantHeader := map[string]string{
		"Content-Type": "application/json", "Idempotency-Key": "0123456789abcdef0123456789abcdef",
		"User-Agent": "ingestd/1.2.3", "X-Ingestd-Pipeline": "orders", "X-Ingestd-Arrival": "4711",
		"X-Ingestd-Records": "2", "X-Tenant": "acme", "Content-Length": "19",
	}
	for name, v := range wantHeader {
		if g := got.header.Values(name); len(g) != 1 || g[0] != v {
			t.Errorf("%s: %q, want %q", name, g, v)
		}
	}
	if len(got.header) != len(wantHeader) {
		t.Errorf("more headers than promised: %v", got.header)
	}

	r := request()
	r.Arrival, r.Pipeline, r.ContentType = 0, "bestellungen/öst 1%\r\nX-Evil: 1", "application/x-ndjson"
	s = newSink(t, httpapi.Options{URL: srv.URL, Method: "PUT", Headers: map[string]string{"Content-Type": "text/plain", "User-Agent": "own"}})
	if _, err := s.Send(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if _, there := got.header["X-Ingestd-Arrival"]; there {
		t.Error("an arrival where there is none")
	}
	if v := got.header.Get("X-Ingestd-Pipeline"); v != "bestellungen/%C3%B6st%201%25%0D%0AX-Evil:%201" {
		t.Errorf("pipeline %q", v)
	}
	if got.header.Get("Content-Type") != "text/plain" || got.header.Get("User-Agent") != "own" || got.method != "PUT" {
		t.Errorf("what is configured does not win: %s %v", got.method, got.header)
	}
}

func TestNewRefuses(t *testing.T) {
	const u = "http://crm.example/"
	for name, o := range map[string]httpapi.Options{
		"no url":              {},
		"method":              {URL: u, Method: "TRACE"},
		"method line end":     {URL: u, Method: "POST\r\nX: 1"},
		"header line end":     {URL: u, Headers: map[string]string{"X-A": "1\r\nX-Evil: 2"}},
		"header name":         {URL: u, Headers: map[string]string{"X A": "1"}},
		"header twice":        {URL: u, Headers: map[string]string{"x-a": "1", "X-A": "2"}},
		"host":                {URL: u, Headers: map[string]string{"Host": "a b/"}},
		"own key":             {URL: u, Headers: map[string]string{"idempotency-key": "1"}},
		"own header":          {URL: u, Headers: map[string]string{"X-Ingestd-Records": "1"}},
		"length":              {URL: u, Headers: map[string]string{"Content-Length": "1"}},
		"version":             {URL: u, Version: "1\r\n"},
		"compress":            {URL: u, Compress: "lzma"},
		"auth type":           {URL: u, Auth: httpapi.Auth{Type: "magic"}},
		"auth twice":          {URL: u, Auth: bearer("t0ken-canary"), Headers: map[string]string{"authorization": "x"}},
		"user twice":          {URL: "http://u:p@crm.example/", Auth: bearer("t0ken-canary")},
		"bearer empty":        {URL: u, Auth: bearer("")},
		"bearer line end":     {URL: u, Auth: bearer("t0ken-canary\n")},
		"basic colon":         {URL: u, Auth: httpapi.Auth{Type: "basic", User: "a:b", Password: ingest.NewSecret("t0ken-canary")}},
		"api_key nowhere":     {URL: u, Auth: httpapi.Auth{Type: "api_key", Value: ingest.NewSecret("t0ken-canary")}},
		"api_key twice":       {URL: u, Auth: httpapi.Auth{Type: "api_key", Header: "X-K", Query: "k", Value: ingest.NewSecret("t0ken-canary")}},
		"api_key empty":       {URL: u, Auth: httpapi.Auth{Type: "api_key", Header: "X-K"}},
		"api_key header name": {URL: u, Auth: httpapi.Auth{Type: "api_key", Header: "X K", Value: ingest.NewSecret("t0ken-canary")}},
		"tls without https":   {URL: u, TLS: httpapi.TLS{CAFile: "ca.pem"}},
		"tls half":            {URL: "https://crm.example/", TLS: httpapi.TLS{CertFile: "c.pem"}},
		"tls absent":          {URL: "https://crm.example/", TLS: httpapi.TLS{CAFile: "/nonexistent/ca.pem"}},
		"url with secret":     {URL: "http://u:t0ken-canary@crm.example:port/"},
	} {
		_, err := httpapi.New(o)
		if err == nil {
			t.Errorf("%s: taken", name)
		} else if strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: shows a secret: %v", name, err)
		}
	}
}

func bearer(token string) httpapi.Auth {
	return httpapi.Auth{Type: httpapi.AuthBearer, Token: ingest.NewSecret(token)}
}

func TestAuth(t *testing.T) {
	var got *http.Request
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) { got = r })
	for _, c := range []struct {
		name        string
		auth        httpapi.Auth
		url         string
		header, val string
		uri         string
	}{
		{"none", httpapi.Auth{}, "/a", "Authorization", "", "/a"},
		{
			"basic",
			httpapi.Auth{Type: "basic", User: "Aladdin", Password: ingest.NewSecret("open sesame")},
			"/a",
			"Authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "/a",
		}, // RFC 7617's example
		{"bearer", bearer("abc"), "/a", "Authorization", "Bearer abc", "/a"},
		{"key in a header", httpapi.Auth{Type: "api_key", Header: "x-api-key", Value: ingest.NewSecret("k&y")}, "/a", "X-Api-Key", "k&y", "/a"},
		{"key in the query", httpapi.Auth{Type: "api_key", Query: "key", Value: ingest.NewSecret("k&y =")}, "/a", "X-Api-Key", "", "/a?key=k%26y%20%3D"},
		{"key behind a query", httpapi.Auth{Type: "api_key", Query: "key", Value: ingest.NewSecret("k")}, "/a?v=1", "X-Api-Key", "", "/a?v=1&key=k"},
		{"key behind a template", httpapi.Auth{Type: "api_key", Query: "key", Value: ingest.NewSecret("k")}, "/{pipeline}", "X-Api-Key", "", "/orders?key=k"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSink(t, httpapi.Options{URL: srv.URL + c.url, Auth: c.auth})
			if _, err := s.Send(t.Context(), request()); err != nil {
				t.Fatal(err)
			}
			if v := got.Header.Get(c.header); v != c.val {
				t.Errorf("%s: %q, want %q", c.header, v, c.val)
			}
			if got.RequestURI != c.uri {
				t.Errorf("uri %q, want %q", got.RequestURI, c.uri)
			}
		})
	}
	t.Run("user in the url", func(t *testing.T) {
		s := newSink(t, httpapi.Options{URL: "http://u:p%20w@" + strings.TrimPrefix(srv.URL, "http://") + "/x"})
		if _, err := s.Send(t.Context(), request()); err != nil {
			t.Fatal(err)
		}
		if u, p, _ := got.BasicAuth(); u != "u" || p != "p w" {
			t.Errorf("%q %q", u, p)
		}
	})
}

func TestRetryAfterIsAVerdict(t *testing.T) {
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "120")
		w.WriteHeader(503)
	})
	before := time.Now()
	_, err := newSink(t, httpapi.Options{URL: srv.URL}).Send(t.Context(), request())
	var ra *ingest.RetryAfter
	if !errors.As(err, &ra) {
		t.Fatal(err)
	}
	if at := before.Add(120 * time.Second); ra.At.Before(at) || ra.At.After(time.Now().Add(120*time.Second)) {
		t.Errorf("not before %v, want %v", ra.At, at)
	}
	if ra.Answer.Status != 503 {
		t.Errorf("status %d", ra.Answer.Status)
	}
}

func TestNeverMoreConnections(t *testing.T) {
	var now, peak atomic.Int64
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for p := peak.Load(); n > p && !peak.CompareAndSwap(p, n); p = peak.Load() {
		}
		io.Copy(io.Discard, r.Body)
	})
	s := newSink(t, httpapi.Options{URL: srv.URL, MaxConns: 3})
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() {
			if _, err := s.Send(t.Context(), request()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if peak.Load() > 3 {
		t.Errorf("%d at once over 3 connections", peak.Load())
	}
}

func TestCompression(t *testing.T) {
	for _, c := range []string{httpapi.CompressGzip, httpapi.CompressZstd} {
		t.Run(c, func(t *testing.T) {
			var bad atomic.Int64
			srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
				want := strings.Repeat(r.Header.Get("Idempotency-Key"), 2000)
				got, err := unpack(c, r.Body)
				if err != nil || got != want || r.Header.Get("Content-Encoding") != c {
					bad.Add(1)
				}
			})
			s := newSink(t, httpapi.Options{URL: srv.URL, Compress: c})
			var all sync.WaitGroup
			for i := range 8 {
				all.Go(func() {
					for j := range 20 {
						r := request()
						r.Key = fmt.Sprintf("%016x%016x", i, j)
						r.Body = []byte(strings.Repeat(r.Key, 2000))
						if _, err := s.Send(t.Context(), r); err != nil {
							t.Error(err)
						}
					}
				})
			}
			all.Wait()
			if bad.Load() > 0 {
				t.Errorf("%d bodies do not unpack to what was sent", bad.Load())
			}
		})
	}
}
