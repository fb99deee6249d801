package httpapi

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"ingestd/ingest"
)

// canary is a secret that every way of writing alters.
const canary = `c4n/ary+"<é>&x=1 y`

// leaks reports whether text shows the canary in any form.
func leaks(text string) bool {
	quoted, _ := json.Marshal(canary)
	for _, form := range []string{
		canary, strings.Trim(string(quoted), `"`), url.QueryEscape(canary), url.PathEscape(canary), escape(canary),
		base64.StdEncoding.EncodeToString([]byte(canary)), base64.StdEncoding.EncodeToString([]byte("me:" + canary)),
		"c4n", "ary", "x=1 y",
	} {
		if strings.Contains(text, form) {
			return true
		}
	}
	return false
}

// TestSecretsNeverShow: a target that sends back all it got, in every kind of
// answer, with every kind of credentials.
func TestSecretsNeverShow(t *testing.T) {
	const ascii = `c4n/ary+"<>&x=1 y` // for headers, which hold no é here
	for name, o := range map[string]Options{
		"basic":           {Auth: Auth{Type: AuthBasic, User: "me", Password: ingest.NewSecret(canary)}},
		"bearer":          {Auth: Auth{Type: AuthBearer, Token: ingest.NewSecret(canary)}},
		"api_key, header": {Auth: Auth{Type: AuthAPIKey, Header: "X-Api-Key", Value: ingest.NewSecret(canary)}},
		"api_key, query":  {Auth: Auth{Type: AuthAPIKey, Query: "k", Value: ingest.NewSecret(canary)}},
		"url query":       {URL: "/x?api_key=" + url.QueryEscape(canary)},
		"url user":        {URL: "me:" + url.PathEscape(canary) + "@"},
		"header by name":  {Headers: map[string]string{"X-Auth-Token": ascii}},
		"known":           {Headers: map[string]string{"X-Plain": ascii}, Secrets: []ingest.Secret{ingest.NewSecret(ascii)}},
		"header scheme":   {Headers: map[string]string{"Authorization": "Token " + ascii}},
	} {
		t.Run(name, func(t *testing.T) {
			status, text := 200, ""
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				dump, _ := httputil.DumpRequest(r, true)
				text = string(dump)
				values := fmt.Sprint(r.Header, r.URL.Query())
				quoted, _ := json.Marshal(values)
				if status == 302 {
					w.Header().Set("Location", "http://elsewhere.example/?"+r.URL.RawQuery+"&a="+url.QueryEscape(r.Header.Get("Authorization")))
				}
				w.WriteHeader(status)
				io.WriteString(w, text+values+string(quoted))
			}))
			defer srv.Close()
			switch {
			case strings.HasSuffix(o.URL, "@"):
				o.URL = "http://" + o.URL + strings.TrimPrefix(srv.URL, "http://")
			default:
				o.URL = srv.URL + o.URL
			}
			s, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			r := &ingest.Request{Pipeline: "p", Key: "k", Body: []byte("b")}
			for _, status = range []int{200, 302, 400, 401, 404, 409, 422, 429, 500} {
				a, err := s.Send(t.Context(), r)
				got := a.Body
				if err != nil {
					got += err.Error() + ingest.AnswerOf(err).Body
				}
				if !strings.Contains(got, secretMark) {
					t.Errorf("%d: nothing was cut out of %q", status, got)
				}
				if leaks(got) {
					t.Errorf("%d: shows the secret: %s", status, got)
				}
			}
			if s := fmt.Sprintf("%v %+v %#v", o.Auth, o.Auth, o.Auth); leaks(s) {
				t.Errorf("printing Auth shows it: %s", s)
			}
			// And an error of the network.
			srv.Close()
			if _, err := s.Send(t.Context(), r); err == nil || leaks(err.Error()) {
				t.Errorf("%v", err)
			}
		})
	}
}

// A URL's path may be a key in itself, brought as a whole or in part.
func TestSecretInThePath(t *testing.T) {
	status := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status == 302 {
			w.Header().Set("Location", r.RequestURI)
		}
		w.WriteHeader(status)
		fmt.Fprintf(w, "no %s here", r.RequestURI)
	}))
	whole := srv.URL + "/hooks/T0/c4nary-key?v=c4nary"
	for name, o := range map[string]Options{
		"part":  {URL: srv.URL + "/hooks/c4nary-key", Secrets: []ingest.Secret{ingest.NewSecret("c4nary-key")}},
		"whole": {URL: whole, Secrets: []ingest.Secret{ingest.NewSecret(whole)}},
	} {
		s, err := New(o)
		if err != nil {
			t.Fatal(name, err)
		}
		t.Cleanup(func() { s.Close() })
		for _, status = range []int{200, 302, 401, 404, 422, 429, 503} {
			a, err := s.Send(t.Context(), &ingest.Request{Key: "k", Body: []byte("{}"), Records: 1})
			tried, terr := s.Try(t.Context(), "")
			if said := fmt.Sprintf("%+v %v %+v %+v %v", a, err, ingest.AnswerOf(err), tried, terr); strings.Contains(said, "c4nary") {
				t.Errorf("%s, %d: %s", name, status, said)
			}
		}
	}
	srv.Close()
	s, err := New(Options{URL: whole, Secrets: []ingest.Secret{ingest.NewSecret(whole)}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = s.Send(t.Context(), &ingest.Request{Key: "k", Body: []byte("{}"), Records: 1})
	if err == nil || strings.Contains(err.Error(), "c4nary") || !strings.Contains(err.Error(), srv.URL) {
		t.Errorf("%v: want the host, and no key", err)
	}
}

func TestSecretAtTheCut(t *testing.T) {
	red := newRedactor([]string{canary})
	for n := keptAnswer - len(canary) - 10; n < keptAnswer+10; n++ {
		all := strings.Repeat("-", n) + canary + "tail"
		head := all[:min(len(all), keptAnswer+red.longest)] // as readAnswer reads
		got := red.clean(head, keptAnswer)
		if strings.Contains(got, "c4n") || len(got) > keptAnswer {
			t.Fatalf("at %d: %q", n, got[n-10:])
		}
	}
}

func TestRedactorTakesTheLongest(t *testing.T) {
	red := newRedactor([]string{"abc", "abcdef", ""})
	if got := red.text("abcdef abc ab"); got != "<secret> <secret> ab" {
		t.Errorf("%q", got)
	}
}

func TestGuessedSecretsAreNotWords(t *testing.T) {
	s, err := New(Options{URL: "http://crm.example/?api_key={id}&token=abc", Headers: map[string]string{"X-Partition-Key": "on"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.creds.Load().redact.text("version of ingestd-place, abc"); got != "version of ingestd-place, abc" {
		t.Errorf("%q", got)
	}
}

func FuzzClean(f *testing.F) {
	f.Add("plain", "secret")
	f.Add("a\x00b\xffsec\x00ret secret\u202e", "secret")
	f.Add(strings.Repeat("é", 2000), "é")
	f.Fuzz(func(t *testing.T, text, secret string) {
		if len(secret) < 3 || len(secret) > 64 || len(text) > 8<<10 || strings.Contains(secretMark, secret) {
			return
		}
		got := newRedactor([]string{secret}).clean(text, keptAnswer)
		if len(got) > keptAnswer || !utf8.ValidString(got) {
			t.Fatalf("%d bytes, %q", len(got), got)
		}
		if strings.ContainsAny(got, "\x00\x1b\r\u202e\u009b") {
			t.Fatalf("control characters: %q", got)
		}
		// A mark beside other text may spell a secret that was not there.
		if strings.Contains(strings.ReplaceAll(got, secretMark, "\x00"), secret) {
			t.Fatalf("%q holds %q", got, secret)
		}
	})
}
