package httpapi_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ingestd/ingest"
	"ingestd/sinks/httpapi"
)

func TestTrial(t *testing.T) {
	const canary = "canary-0123456789"
	for _, c := range []struct {
		name, method string
		status       int
		outcome      string
		means        string
	}{
		{"well", "", 204, httpapi.Reached, "delivered"},
		{"get", "GET", 200, httpapi.Reached, "delivered"},
		{"no head", "", 405, httpapi.Reached, "does not know HEAD here; whether it knows POST"},
		{"bad", "OPTIONS", 422, httpapi.Reached, "dead letters"},
		{"conflict", "", 409, httpapi.Reached, "had already"},
		{"refused", "", 401, httpapi.Refused, "auth"},
		{"moved", "", 302, httpapi.Refused, "redirects to http://elsewhere.example/"},
		{"busy", "GET", 503, httpapi.Down, "tried again"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got *http.Request
			srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
				got = r
				w.Header().Set("Location", "http://elsewhere.example/?t="+canary)
				w.WriteHeader(c.status)
				fmt.Fprint(w, "hello ", r.Header)
			})
			s := newSink(t, httpapi.Options{
				URL: srv.URL + "/orders/{id}?token=" + canary, Headers: map[string]string{"X-Tenant": "acme"}, Auth: bearer(canary),
			})
			trial, err := s.Try(t.Context(), c.method)
			if err != nil {
				t.Fatal(err)
			}
			method := c.method
			if method == "" {
				method = "HEAD"
			}
			if got.Method != method || got.URL.Path != "/orders/ingestd-test" || got.Header.Get("Authorization") != "Bearer "+canary ||
				got.Header.Get("X-Tenant") != "acme" || got.Header.Get("Idempotency-Key") != "" || got.ContentLength != 0 {
				t.Errorf("sent %s %s %v", got.Method, got.URL, got.Header)
			}
			if trial.Outcome != c.outcome || !strings.Contains(trial.Means, c.means) || trial.Status != c.status || trial.Took <= 0 ||
				trial.Address != strings.TrimPrefix(srv.URL, "http://") || trial.Method != method || !strings.HasSuffix(trial.URL, "/orders/{id}") {
				t.Errorf("%+v", trial)
			}
			if method != "HEAD" && !strings.HasPrefix(trial.Answer, "hello") {
				t.Errorf("answer %q", trial.Answer)
			}
			if strings.Contains(fmt.Sprintf("%+v", trial), "canary") {
				t.Errorf("shows the secret: %+v", trial)
			}
		})
	}
}

func TestTrialChangesNothing(t *testing.T) {
	s := newSink(t, httpapi.Options{URL: "http://127.0.0.1:1"})
	if _, err := s.Try(t.Context(), "POST"); err == nil {
		t.Error("POST was taken")
	}
	trial, err := s.Try(t.Context(), "")
	if err != nil || trial.Outcome != httpapi.Down || !strings.Contains(trial.Means, "refused") {
		t.Errorf("%+v, %v", trial, err)
	}
}

func TestTrialShowsTheCertificate(t *testing.T) {
	ca := newAuthority(t)
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	writePEM(t, caFile, "CERTIFICATE", ca.cert.Raw)
	end := time.Now().Add(time.Hour).Truncate(time.Second)
	url := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "127.0.0.1", end)}}, func(http.ResponseWriter, *http.Request) {})
	s := newSink(t, httpapi.Options{URL: url, TLS: httpapi.TLS{CAFile: caFile}})
	trial, err := s.Try(t.Context(), "")
	if err != nil || trial.Outcome != httpapi.Reached || !trial.Ends.Equal(end) || trial.TLS != "TLS 1.3" || trial.Protocol != "HTTP/2.0" ||
		trial.Subject != "CN=127.0.0.1" || trial.Issuer != "CN=test authority" {
		t.Errorf("%+v, %v", trial, err)
	}
}

// A trial proves the way to the token too.
func TestTrialWithToken(t *testing.T) {
	down := newIssuer(t, func(_ int64, w http.ResponseWriter, r *http.Request) { w.WriteHeader(503) })
	no := newIssuer(t, func(_ int64, w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(401)
		io.WriteString(w, `{"error":"invalid_client"}`)
	})
	yes := newIssuer(t, func(n int64, w http.ResponseWriter, r *http.Request) { give(w, n, "") })
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer token-2" {
			w.WriteHeader(401)
		}
	})
	for url, want := range map[string]string{down.URL: httpapi.Down, no.URL: httpapi.Refused, yes.URL: httpapi.Reached} {
		s := newSink(t, httpapi.Options{URL: srv.URL, Auth: oauth(url)})
		if trial, err := s.Try(t.Context(), ""); err != nil || trial.Outcome != want {
			t.Errorf("%+v, %v, want %s", trial, err, want)
		}
		err := s.Connect(t.Context())
		if (err == nil) != (want == httpapi.Reached) {
			t.Errorf("connect: %v, want %s", err, want)
		}
	}
}

func TestTrialIsSigned(t *testing.T) {
	var sig string
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) { sig = r.Header.Get("X-Sig"); io.WriteString(w, sig) })
	s := newSink(t, httpapi.Options{URL: srv.URL, Auth: httpapi.Auth{Type: httpapi.AuthHMAC, Header: "X-Sig", Secret: ingest.NewSecret("canary")}})
	if trial, err := s.Try(t.Context(), "GET"); err != nil || len(sig) != 64 || trial.Answer != "<secret>" {
		t.Errorf("%+v, %v, %q", trial, err, sig)
	}
}
