package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/ingest"
	"ingestd/sinks/httpapi"
)

const clientSecret = "c4n/ary+1 %:é"

func oauth(tokenURL string) httpapi.Auth {
	return httpapi.Auth{
		Type: httpapi.AuthOAuth2, TokenURL: tokenURL, ClientID: "id:1", ClientSecret: ingest.NewSecret(clientSecret),
		Scopes: []string{"read", "write"}, Audience: "https://crm.example",
	}
}

// issuer is a token endpoint that gives token-1, token-2, …
type issuer struct {
	*httptest.Server
	asked atomic.Int64
}

func newIssuer(t *testing.T, answer func(n int64, w http.ResponseWriter, r *http.Request)) *issuer {
	i := &issuer{}
	i.Server = serve(t, func(w http.ResponseWriter, r *http.Request) {
		answer(i.asked.Add(1), w, r)
	})
	return i
}

func give(w http.ResponseWriter, n int64, more string) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"access_token":"token-%d","token_type":"bearer"%s}`, n, more)
}

// wants answers 401 to all but one token.
func wants(token *atomic.Int64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.Header.Get("Authorization") != fmt.Sprintf("Bearer token-%d", token.Load()) {
			w.WriteHeader(401)
		}
	}
}

// What goes to the endpoint is RFC 6749's, header or body.
func TestTokenRequest(t *testing.T) {
	for name, inBody := range map[string]bool{"header": false, "body": true} {
		t.Run(name, func(t *testing.T) {
			var form url.Values
			endpoint := newIssuer(t, func(n int64, w http.ResponseWriter, r *http.Request) {
				_ = r.ParseForm()
				id, secret, ok := r.BasicAuth()
				if inBody {
					id, secret, ok = url.QueryEscape(r.PostForm.Get("client_id")), url.QueryEscape(r.PostForm.Get("client_secret")), r.PostForm.Has("client_secret")
				}
				if !ok || id != "id%3A1" || secret != url.QueryEscape(clientSecret) {
					w.WriteHeader(401)
					io.WriteString(w, `{"error":"invalid_client"}`)
					return
				}
				form = r.PostForm
				give(w, n, "")
			})
			var ok atomic.Int64
			ok.Store(1)
			if inBody {
				ok.Store(2)
			}
			srv := serve(t, wants(&ok))
			s := newSink(t, httpapi.Options{URL: srv.URL, Auth: oauth(endpoint.URL + "/token?x=1")})
			for range 3 {
				if _, err := s.Send(t.Context(), request()); err != nil {
					t.Fatal(err)
				}
			}
			if n := endpoint.asked.Load(); n != ok.Load() {
				t.Errorf("the endpoint was asked %d times", n)
			}
			if form.Get("grant_type") != "client_credentials" || form.Get("scope") != "read write" || form.Get("audience") != "https://crm.example" {
				t.Errorf("%v", form)
			}
			// The endpoint remembers nothing, we do: the way that worked is taken again.
			ok.Store(ok.Load() + 1)
			if _, err := s.Send(t.Context(), request()); err != nil || endpoint.asked.Load() != ok.Load() {
				t.Errorf("%v, asked %d times", err, endpoint.asked.Load())
			}
		})
	}
}

// Hundreds of senders share one fetch: at the start, and when the target refuses
// the token.
func TestTokenSingleFlight(t *testing.T) {
	endpoint := newIssuer(t, func(n int64, w http.ResponseWriter, r *http.Request) { give(w, n, `,"expires_in":3600`) })
	var ok atomic.Int64
	srv := serve(t, wants(&ok))
	s := newSink(t, httpapi.Options{URL: srv.URL, MaxConns: 16, Auth: oauth(endpoint.URL)})
	for round := int64(1); round <= 3; round++ {
		ok.Store(round)
		var all sync.WaitGroup
		for range 300 {
			all.Go(func() {
				if _, err := s.Send(t.Context(), request()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := endpoint.asked.Load(); n != round {
			t.Fatalf("round %d: asked %d times", round, n)
		}
	}
	// A new token that is refused as well: one more fetch, then halt.
	ok.Store(99)
	if _, err := s.Send(t.Context(), request()); kind(err) != "halt" || endpoint.asked.Load() != 4 {
		t.Errorf("%v after %d fetches", err, endpoint.asked.Load())
	}
}

func TestTokenEndpointThatFails(t *testing.T) {
	for _, c := range []struct {
		name, want, text string
		answer           http.HandlerFunc
		asked            int64
	}{
		{"down", "unsent", "503", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(503) }, 1},
		{"busy", "unsent", "429", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "1800")
			w.WriteHeader(429)
		}, 1},
		{"reset", "unsent", "fetch a token", func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, 1},
		{"refused", "halt", "invalid_client: no such client <secret>", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(401)
			_, secret, _ := r.BasicAuth()
			secret, _ = url.QueryUnescape(secret)
			_ = json.NewEncoder(w).Encode(map[string]string{"error": "invalid_client", "error_description": "no such client " + secret})
		}, 2},
		{"scope", "halt", "invalid_scope", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(400)
			io.WriteString(w, `{"error":"invalid_scope"}`)
		}, 2},
		{"no JSON", "halt", "without an access_token", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>log in") }, 1},
		{"error inside", "halt", "nope", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"error":"nope"}`) }, 1},
		{"elsewhere", "halt", "token_url", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", http.StatusFound) }, 1},
		{"gone", "halt", "token_url", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(404) }, 1},
		{"other kind", "halt", "mac", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, `{"access_token":"a","token_type":"mac"}`)
		}, 1},
		{"bad token", "halt", "cannot be used", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, `{"access_token":"a\nb"}`)
		}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			endpoint := newIssuer(t, func(_ int64, w http.ResponseWriter, r *http.Request) { c.answer(w, r) })
			var sent atomic.Int64
			srv := serve(t, func(http.ResponseWriter, *http.Request) { sent.Add(1) })
			s := newSink(t, httpapi.Options{URL: srv.URL, Auth: oauth(endpoint.URL)})
			for range 20 {
				_, err := s.Send(t.Context(), request())
				if kind(err) != c.want || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "c4n") {
					t.Fatalf("%s: %v", kind(err), err)
				}
				var us *ingest.Unsent
				if errors.As(err, &us) && c.name == "busy" && time.Until(us.At) < 29*time.Minute {
					t.Errorf("Retry-After is not kept: %v", us.At)
				}
			}
			if n := endpoint.asked.Load(); n != c.asked && c.name != "bad token" {
				t.Errorf("asked %d times for 20 requests", n)
			}
			if sent.Load() != 0 {
				t.Error("a request went out without a token")
			}
		})
	}
}

// Tokens are replaced before they end, by the monotonic clock, and whatever
// expires_in looks like.
func TestTokenLifetime(t *testing.T) {
	for _, c := range []struct {
		more   string
		renew  time.Duration // asked again then, not before; 0: never
		target int           // status
	}{
		{`,"expires_in":3600`, 59 * time.Minute, 200},
		{`,"expires_in":"3600"`, 59 * time.Minute, 200},
		{`,"expires_in":100.5`, 80400 * time.Millisecond, 200},
		{`,"expires_in":5`, 4 * time.Second, 200},
		{`,"expires_in":0`, 0, 200},
		{`,"expires_in":-5`, 0, 200},
		{`,"expires_in":null`, 0, 200},
		{`,"expires_in":"soon"`, 0, 200},
		{`,"expires_in":{}`, 0, 200},
		{``, 0, 200},
		{`,"expires_in":1e30`, 366*24*time.Hour - time.Minute, 200},
	} {
		t.Run(c.more, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked int
				s, err := httpapi.New(httpapi.Options{Name: "crm", URL: "http://crm.example/", Auth: oauth("http://id.example/token")})
				if err != nil {
					t.Fatal(err)
				}
				s.SetRoundTrip(t, func(r *http.Request) (int, string) {
					if r.URL.Host == "id.example" {
						asked++
						return 200, fmt.Sprintf(`{"access_token":"token-%d"%s}`, asked, c.more)
					}
					return 200, ""
				})
				send := func(want int) {
					t.Helper()
					if _, err := s.Send(context.Background(), request()); err != nil {
						t.Fatal(err)
					}
					if asked != want {
						t.Fatalf("asked %d times, want %d", asked, want)
					}
				}
				send(1)
				if c.renew == 0 {
					time.Sleep(400 * 24 * time.Hour)
					send(1)
					return
				}
				time.Sleep(c.renew - 100*time.Millisecond)
				send(1)
				time.Sleep(100 * time.Millisecond)
				send(2)
			})
		})
	}
}

// While the endpoint is down a token that is about to end is still used, and
// not a moment longer than it lives.
func TestTokenOutlivesItsEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := false
		s, err := httpapi.New(httpapi.Options{Name: "crm", URL: "http://crm.example/", Auth: oauth("http://id.example/token")})
		if err != nil {
			t.Fatal(err)
		}
		s.SetRoundTrip(t, func(r *http.Request) (int, string) {
			switch {
			case r.URL.Host != "id.example":
				return 200, ""
			case down:
				return 503, ""
			}
			return 200, `{"access_token":"token","expires_in":600}`
		})
		send := func() error {
			_, err := s.Send(context.Background(), request())
			return err
		}
		if err := send(); err != nil {
			t.Fatal(err)
		}
		down = true
		time.Sleep(595 * time.Second)
		if err := send(); err != nil {
			t.Fatalf("it still holds, but: %v", err)
		}
		time.Sleep(5 * time.Second)
		if err := send(); kind(err) != "unsent" {
			t.Fatalf("%v", err)
		}
		down = false
		time.Sleep(time.Minute)
		if err := send(); err != nil {
			t.Fatal(err)
		}
	})
}
