package httpapi_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"ingestd/ingest"
	"ingestd/sinks/httpapi"
)

func TestSignatureVectors(t *testing.T) {
	var header http.Header
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) { header = r.Header })
	for _, c := range []struct {
		name   string
		auth   httpapi.Auth
		body   string
		header string
		want   string
	}{
		{
			// GitHub's published example.
			"sha256, hex, prefix",
			httpapi.Auth{Header: "X-Hub-Signature-256", Secret: ingest.NewSecret("It's a Secret to Everybody"), Prefix: "sha256="},
			"Hello, World!", "X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
		},
		{
			// RFC 2202, test case 2.
			"sha1",
			httpapi.Auth{Header: "x-sig", Secret: ingest.NewSecret("Jefe"), Algorithm: "sha1"},
			"what do ya want for nothing?", "X-Sig", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
		},
		{
			// RFC 4231, test case 2.
			"sha512",
			httpapi.Auth{Header: "x-sig", Secret: ingest.NewSecret("Jefe"), Algorithm: "sha512"},
			"what do ya want for nothing?", "X-Sig",
			"164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
		},
		{
			"base64",
			httpapi.Auth{Header: "x-sig", Secret: ingest.NewSecret("Jefe"), Encoding: "base64"},
			"what do ya want for nothing?", "X-Sig", "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.auth.Type = httpapi.AuthHMAC
			s := newSink(t, httpapi.Options{URL: srv.URL, Auth: c.auth})
			r := request()
			r.Body = []byte(c.body)
			if _, err := s.Send(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			if got := header.Get(c.header); got != c.want {
				t.Errorf("%s", got)
			}
		})
	}
}

// The target recomputes the signature from what it received: the bytes of the
// wire, the request line, the timestamp that it was told.
func TestSignatureHoldsOnTheWire(t *testing.T) {
	const secret = "canary-secret"
	for name, c := range map[string]struct {
		auth     httpapi.Auth
		compress string
	}{
		"timestamp header": {httpapi.Auth{Signed: "{timestamp}.{body}", TimestampHeader: "X-Time"}, ""},
		"compressed":       {httpapi.Auth{Signed: "{timestamp}.{body}", TimestampHeader: "X-Time"}, "gzip"},
		"in the prefix":    {httpapi.Auth{Signed: "{timestamp}.{body}", Prefix: "t={timestamp},v1="}, "zstd"},
		"all words":        {httpapi.Auth{Signed: "{method}\n{path}\n{key}\n{timestamp}\n{body}", TimestampHeader: "X-Time"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var failed string
			srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				sig, stamp := r.Header.Get("X-Sig"), r.Header.Get("X-Time")
				if c.auth.Prefix != "" {
					stamp, sig, _ = strings.Cut(strings.TrimPrefix(sig, "t="), ",v1=")
				}
				n, err := strconv.ParseInt(stamp, 10, 64)
				if age := time.Since(time.Unix(n, 0)); err != nil || age > time.Minute || age < -time.Minute {
					failed = "timestamp " + stamp
				}
				text := strings.NewReplacer("{timestamp}", stamp, "{body}", string(body), "{method}", r.Method,
					"{path}", r.RequestURI, "{key}", r.Header.Get("Idempotency-Key")).Replace(c.auth.Signed)
				mac := hmac.New(sha256.New, []byte(secret))
				mac.Write([]byte(text))
				if sig != hex.EncodeToString(mac.Sum(nil)) {
					failed = "signature " + sig
				}
				// A target that sends back what it got.
				w.WriteHeader(422)
				io.WriteString(w, sig+" "+secret)
			})
			c.auth.Type, c.auth.Header, c.auth.Secret = httpapi.AuthHMAC, "X-Sig", ingest.NewSecret(secret)
			s := newSink(t, httpapi.Options{URL: srv.URL + "/a%20b/{id}?x=1", Auth: c.auth, Compress: c.compress})
			r := request()
			r.Vars = []ingest.Var{{Name: "id", Value: "ü/1"}}
			_, err := s.Send(t.Context(), r)
			if failed != "" {
				t.Error(failed)
			}
			if a := ingest.AnswerOf(err); a.Body != "<secret> <secret>" {
				t.Errorf("kept: %q", a.Body)
			}
		})
	}
}

func TestSignatureConfig(t *testing.T) {
	for want, a := range map[string]httpapi.Auth{
		"secret: is empty":         {Header: "x"},
		"is no header name":        {Header: "a b", Secret: ingest.NewSecret("s")},
		"ingestd's own":            {Header: "Idempotency-Key", Secret: ingest.NewSecret("s")},
		"the same":                 {Header: "x-a", TimestampHeader: "X-A", Secret: ingest.NewSecret("s")},
		"algorithm":                {Header: "x", Secret: ingest.NewSecret("s"), Algorithm: "md5"},
		"encoding":                 {Header: "x", Secret: ingest.NewSecret("s"), Encoding: "hex64"},
		"`signed` may hold {body}": {Header: "x", Secret: ingest.NewSecret("s"), Signed: "{bdoy}"},
		"timestamp_header":         {Header: "x", Secret: ingest.NewSecret("s"), Signed: "{timestamp}.{body}"},
		"`prefix` may hold":        {Header: "x", Secret: ingest.NewSecret("s"), Prefix: "{body}"},
		"stand in a header":        {Header: "x", Secret: ingest.NewSecret("s"), Prefix: "a\r\nb"},
	} {
		a.Type = httpapi.AuthHMAC
		_, err := httpapi.New(httpapi.Options{URL: "http://x.example", Auth: a})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	_, err := httpapi.New(httpapi.Options{
		URL: "http://x.example", Headers: map[string]string{"x-sig": "a"},
		Auth: httpapi.Auth{Type: httpapi.AuthHMAC, Header: "X-Sig", Secret: ingest.NewSecret("s")},
	})
	if err == nil {
		t.Error("a header that auth sets was taken")
	}
}
