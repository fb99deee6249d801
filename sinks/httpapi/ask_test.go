package httpapi_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"ingestd/ingest"
	"ingestd/sinks/httpapi"
)

// answerer is a target that notes what it was asked.
func answerer(t *testing.T, answer http.HandlerFunc) (url string, seen *[]*http.Request) {
	t.Helper()
	seen = &[]*http.Request{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*seen = append(*seen, r)
		answer(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL, seen
}

func sinkOf(t *testing.T, o httpapi.Options) *httpapi.Sink {
	t.Helper()
	s, err := httpapi.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TestAsk: a question goes out with path, query and credentials; what was asked
// can neither climb out of the sink's path nor replace its parameters.
func TestAsk(t *testing.T) {
	t.Parallel()
	url, seen := answerer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/x")
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "it is t0k3n-s3cr3t")
	})
	s := sinkOf(t, httpapi.Options{
		Name: "api", URL: url + "/api/?tenant=1", Auth: httpapi.Auth{Type: httpapi.AuthBearer, Token: ingest.NewSecret("t0k3n-s3cr3t")},
	})
	q := httpapi.Question{Pipeline: "p", Suffix: "/a%2Fb/c", Query: "x=1&tenant=2&y=%20", Header: http.Header{"Accept": {"text/x"}}}
	r, err := s.Ask(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if r.Status != http.StatusTeapot || r.ContentType != "text/x" || string(r.Body) != "it is <secret>" {
		t.Errorf("answered %d %s %q", r.Status, r.ContentType, r.Body)
	}
	got := (*seen)[0]
	if got.Method != http.MethodGet || got.RequestURI != "/api/a%2Fb/c?tenant=1&x=1&y=+" || got.Header.Get("Authorization") != "Bearer t0k3n-s3cr3t" || got.Header.Get("Accept") != "text/x" {
		t.Errorf("asked %s %s %v", got.Method, got.RequestURI, got.Header)
	}
	for _, suffix := range []string{"/..", "/a/../b", "/%2e%2e/x", "/a%2f..%2fb", `/..\x`, "x", "/" + strings.Repeat("x", 9000)} {
		if r, err := s.Ask(t.Context(), httpapi.Question{Suffix: suffix}); err == nil {
			t.Errorf("%.20q was asked: %d", suffix, r.Status)
		}
	}
	if len(*seen) != 1 {
		t.Errorf("%d requests", len(*seen))
	}
	fields := sinkOf(t, httpapi.Options{Name: "f", URL: url + "/{id}"})
	if _, err := fields.Ask(t.Context(), httpapi.Question{}); err == nil {
		t.Error("a URL with fields was asked")
	}
}

// TestAskRefused: redirects and refused credentials are none of who asks.
func TestAskRefused(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusFound, http.StatusUnauthorized} {
		url, _ := answerer(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
		})
		if r, err := sinkOf(t, httpapi.Options{Name: "a", URL: url}).Ask(t.Context(), httpapi.Question{}); err == nil {
			t.Errorf("%d was passed on: %+v", status, r)
		}
	}
}

// TestWhole: who waits gets all of an answer, a refusal's too; nobody else pays
// for it. A longer answer is cut.
func TestWhole(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("y", 100<<10)
	for name, x := range map[string]struct {
		status int
		body   string
		packed bool
		want   int
	}{
		"taken":    {201, long, false, len(long)},
		"refused":  {422, long, false, len(long)},
		"packed":   {200, long, true, len(long)},
		"too long": {200, strings.Repeat("z", ingest.MaxReply+1000), false, ingest.MaxReply},
		"empty":    {204, "", false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			url, _ := answerer(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/x")
				if !x.packed {
					w.WriteHeader(x.status)
					_, _ = io.WriteString(w, x.body)
					return
				}
				w.Header().Set("Content-Encoding", "gzip")
				w.WriteHeader(x.status)
				z := gzip.NewWriter(w)
				_, _ = io.WriteString(z, x.body)
				z.Close()
			})
			s := sinkOf(t, httpapi.Options{Name: "api", URL: url})
			ans, err := s.Send(t.Context(), &ingest.Request{Pipeline: "p", Key: "k", Records: 1, Body: []byte("[]"), Whole: true, Arrival: 4, Event: 2})
			if err != nil {
				ans = ingest.AnswerOf(err)
			}
			if ans.Reply == nil || ans.Reply.Status != x.status || len(ans.Reply.Body) != x.want || x.want > 0 && ans.Reply.ContentType != "text/x" {
				t.Errorf("%+.60v, %v", ans.Reply, err)
			}
			ans, err = s.Send(t.Context(), &ingest.Request{Pipeline: "p", Key: "k", Records: 1, Body: []byte("[]")})
			if err != nil {
				ans = ingest.AnswerOf(err)
			}
			if ans.Reply != nil {
				t.Error("all of an answer was kept for nobody")
			}
		})
	}
}
