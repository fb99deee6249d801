package admin_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"ingestd/ingest"
	"ingestd/ingest/admin"
)

type answered struct {
	code int
	body string
	head http.Header
}

func request(h http.Handler, method, path, body string, edits ...func(*http.Request)) answered {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for _, edit := range edits {
		edit(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return answered{w.Code, w.Body.String(), w.Header()}
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func TestGuard(t *testing.T) {
	h := admin.Guard(ingest.NewSecret("s3cret"), handler(sample(), &desk{}))
	basic := func(user, password string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(user, password) }
	}
	for name, c := range map[string]struct {
		path string
		edit func(*http.Request)
		want int
	}{
		"nothing":         {"/v1/status", func(*http.Request) {}, 401},
		"bearer":          {"/v1/status", header("Authorization", "Bearer s3cret"), 200},
		"bearer, case":    {"/v1/status", header("Authorization", "bearer s3cret"), 200},
		"wrong bearer":    {"/v1/status", header("Authorization", "Bearer s3cre"), 401},
		"longer":          {"/v1/status", header("Authorization", "Bearer s3crett"), 401},
		"empty bearer":    {"/v1/status", header("Authorization", "Bearer "), 401},
		"basic":           {"/v1/status", basic("anybody", "s3cret"), 200},
		"wrong basic":     {"/v1/status", basic("s3cret", ""), 401},
		"other scheme":    {"/v1/status", header("Authorization", "Token s3cret"), 401},
		"metrics":         {"/metrics", func(*http.Request) {}, 401},
		"health is open":  {"/healthz", func(*http.Request) {}, 200},
		"ready is open":   {"/readyz", func(*http.Request) {}, 200},
		"nothing beneath": {"/healthz/../v1/status", func(*http.Request) {}, 401},
	} {
		t.Run(name, func(t *testing.T) {
			w := request(h, "GET", c.path, "", c.edit)
			if w.code != c.want {
				t.Fatalf("%d, want %d", w.code, c.want)
			}
			if c.want == 401 && !strings.HasPrefix(w.head.Get("WWW-Authenticate"), "Basic ") {
				t.Error("a browser would not ask")
			}
			if strings.Contains(w.body, "s3cret") {
				t.Error("the token is in the answer")
			}
		})
	}
}

// Without a token only what was addressed to this machine gets in.
func TestGuardLoopback(t *testing.T) {
	h := admin.Guard(ingest.Secret{}, handler(sample(), &desk{}))
	for host, want := range map[string]int{
		"localhost:8081": 200, "127.0.0.1:8081": 200, "127.0.0.1": 200, "[::1]:8081": 200, "[::1]": 200, "LOCALHOST": 200,
		"evil.example:8081": 403, "127.0.0.1.evil.example": 403, "localhost.evil.example": 403, "10.0.0.1": 403, "": 403,
	} {
		w := request(h, "GET", "/v1/status", "", func(r *http.Request) { r.Host = host })
		if w.code != want {
			t.Errorf("host %q: %d, want %d", host, w.code, want)
		}
	}
}

func TestOtherSites(t *testing.T) {
	d := &desk{}
	h := handler(sample(), d)
	for name, edit := range map[string]func(*http.Request){
		"fetch metadata": header("Sec-Fetch-Site", "cross-site"),
		"origin":         header("Origin", "https://evil.example"),
	} {
		if w := request(h, "POST", "/v1/arrivals/1/release", "", edit); w.code != 403 {
			t.Errorf("%s: %d", name, w.code)
		}
	}
	if d.last() != "" {
		t.Errorf("done all the same: %s", d.last())
	}
	if w := request(h, "POST", "/v1/arrivals/1/release", "", header("Sec-Fetch-Site", "same-origin")); w.code != 200 {
		t.Errorf("same origin: %d %s", w.code, w.body)
	}
}
