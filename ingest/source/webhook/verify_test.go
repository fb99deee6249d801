package webhook_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/source/webhook"
)

const tolerance = 300 * time.Second

func secrets(texts ...string) (out []ingest.Secret) {
	for _, t := range texts {
		out = append(out, ingest.NewSecret(t))
	}
	return out
}

func verifier(t *testing.T, o webhook.VerifyOptions) *webhook.Verifier {
	t.Helper()
	if o.Tolerance == 0 {
		o.Tolerance = tolerance
	}
	v, err := webhook.NewVerifier(o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

func sign(h func() hash.Hash, key []byte, text string) []byte {
	m := hmac.New(h, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// TestPublishedVectors: the examples that the senders themselves publish.
func TestPublishedVectors(t *testing.T) {
	for _, c := range []struct {
		name string
		o    webhook.VerifyOptions
		m    webhook.Message
		want webhook.Proof
	}{
		{
			"github",
			webhook.VerifyOptions{Scheme: "github", Secrets: secrets("It's a Secret to Everybody")},
			webhook.Message{
				Header: header("X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17", "X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
				Body:   []byte("Hello, World!"),
			},
			webhook.Proof{ID: "72d3162e-cc78-11e3-81ab-4c9367dc0958", Verified: true},
		},
		{
			"standard",
			webhook.VerifyOptions{Scheme: "standard", Secrets: secrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")},
			webhook.Message{
				Header: header("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp", "1614265330", "webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
				Body:   []byte(`{"test": 2432232314}`), Now: time.Unix(1614265330, 0),
			},
			webhook.Proof{ID: "msg_p5jXN8AQM9LWM0D4loKWxJek", Signed: true, Verified: true},
		},
		{
			"slack",
			webhook.VerifyOptions{Scheme: "slack", Secrets: secrets("8f742231b10e8888abcd99yyyzzz85a5")},
			webhook.Message{
				Header: header("X-Slack-Request-Timestamp", "1531420618", "X-Slack-Signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"),
				Body:   []byte("token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"),
				Now:    time.Unix(1531420618, 0),
			},
			webhook.Proof{Signed: true, Verified: true},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := verifier(t, c.o).Verify(&c.m)
			if err != nil || got != c.want {
				t.Fatalf("%+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}

// A sender signs as one of the schemes asks for.
type sender struct {
	o    webhook.VerifyOptions
	send func(body string, at time.Time) http.Header
	// timed: a time is signed.
	timed bool
	// carrier is the header with the signature.
	carrier string
}

func senders() map[string]sender {
	std := base64.StdEncoding.EncodeToString([]byte("a secret of four and twenty"))
	private := ed25519.NewKeyFromSeed([]byte("a seed of thirty-two bytes, just"))
	public := "whpk_" + base64.StdEncoding.EncodeToString(private.Public().(ed25519.PublicKey))
	sec := func(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }
	hexed := func(key, text string) string { return hex.EncodeToString(sign(sha256.New, []byte(key), text)) }
	return map[string]sender{
		"standard": {
			webhook.VerifyOptions{Scheme: "standard", Secrets: secrets("whsec_" + std)}, func(body string, at time.Time) http.Header {
				sig := base64.StdEncoding.EncodeToString(sign(sha256.New, []byte("a secret of four and twenty"), "msg_1."+sec(at)+"."+body))
				return header("webhook-id", "msg_1", "webhook-timestamp", sec(at), "webhook-signature", "v1,"+sig)
			}, true, "webhook-signature",
		},
		"svix": {
			webhook.VerifyOptions{Scheme: "standard", Secrets: secrets("whsec_" + strings.TrimRight(std, "="))}, func(body string, at time.Time) http.Header {
				sig := base64.StdEncoding.EncodeToString(sign(sha256.New, []byte("a secret of four and twenty"), "msg_1."+sec(at)+"."+body))
				return header("svix-id", "msg_1", "svix-timestamp", sec(at), "svix-signature", "v2,xxxx v1,"+sig)
			}, true, "svix-signature",
		},
		"ed25519": {
			webhook.VerifyOptions{Scheme: "standard", Secrets: secrets(public)}, func(body string, at time.Time) http.Header {
				sig := base64.StdEncoding.EncodeToString(ed25519.Sign(private, []byte("msg_1."+sec(at)+"."+body)))
				return header("webhook-id", "msg_1", "webhook-timestamp", sec(at), "webhook-signature", "v1a,"+sig)
			}, true, "webhook-signature",
		},
		"stripe": {
			webhook.VerifyOptions{Scheme: "stripe", Secrets: secrets("whsec_text")}, func(body string, at time.Time) http.Header {
				return header("Stripe-Signature", "t="+sec(at)+",v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39,v1="+hexed("whsec_text", sec(at)+"."+body))
			}, true, "Stripe-Signature",
		},
		"github": {
			webhook.VerifyOptions{Scheme: "github", Secrets: secrets("hub")}, func(body string, _ time.Time) http.Header {
				return header("X-Hub-Signature-256", "sha256="+hexed("hub", body), "X-Hub-Signature", "sha1=0", "X-GitHub-Delivery", "d-1")
			}, false, "X-Hub-Signature-256",
		},
		"shopify": {
			webhook.VerifyOptions{Scheme: "shopify", Secrets: secrets("shop")}, func(body string, _ time.Time) http.Header {
				return header("X-Shopify-Hmac-SHA256", base64.StdEncoding.EncodeToString(sign(sha256.New, []byte("shop"), body)), "X-Shopify-Webhook-Id", "w-1")
			}, false, "X-Shopify-Hmac-SHA256",
		},
		"slack": {
			webhook.VerifyOptions{Scheme: "slack", Secrets: secrets("sl")}, func(body string, at time.Time) http.Header {
				return header("X-Slack-Request-Timestamp", sec(at), "X-Slack-Signature", "v0="+hexed("sl", "v0:"+sec(at)+":"+body))
			}, true, "X-Slack-Signature",
		},
		"hmac": {
			webhook.VerifyOptions{
				Scheme: "hmac", Secrets: secrets("own"), Header: "X-Sig", Algorithm: "sha512", Encoding: "base64", Prefix: "v=",
				Signed: "{timestamp}:{nonce}:{body}!", TimestampHeader: "X-At", NonceHeader: "X-Nonce",
			}, func(body string, at time.Time) http.Header {
				sig := base64.URLEncoding.EncodeToString(sign(sha512.New, []byte("own"), sec(at)+":n-1:"+body+"!"))
				return header("X-Sig", "v="+sig, "X-At", sec(at), "X-Nonce", "n-1")
			}, true, "X-Sig",
		},
		"hmac sha1": {
			webhook.VerifyOptions{Scheme: "hmac", Secrets: secrets("own"), Header: "X-Sig", Algorithm: "sha1"}, func(body string, _ time.Time) http.Header {
				return header("X-Sig", hex.EncodeToString(sign(sha1.New, []byte("own"), body)))
			}, false, "X-Sig",
		},
		"basic": {
			webhook.VerifyOptions{Scheme: "basic", User: "me", Password: ingest.NewSecret("p:w")}, func(string, time.Time) http.Header {
				return header("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("me:p:w")))
			}, false, "Authorization",
		},
		"bearer": {
			webhook.VerifyOptions{Scheme: "bearer", Token: ingest.NewSecret("tok")}, func(string, time.Time) http.Header {
				return header("Authorization", "bearer tok")
			}, false, "Authorization",
		},
	}
}

func TestSchemes(t *testing.T) {
	const body = `{"id":"evt_1","event_id":"Ev1","amount":1}`
	now := time.Unix(1_700_000_000, 900_000_000)
	for name, s := range senders() {
		t.Run(name, func(t *testing.T) {
			v := verifier(t, s.o)
			good := func() http.Header { return s.send(body, now) }
			if p, err := v.Verify(&webhook.Message{Header: good(), Body: []byte(body), Now: now}); err != nil {
				t.Fatalf("a good request: %v", err)
			} else if want := s.o.Scheme != "basic" && s.o.Scheme != "bearer"; p.Verified != want {
				t.Fatalf("verified %v, want %v", p.Verified, want)
			}
			// A new secret beside the old one, in either order.
			if len(s.o.Secrets) > 0 {
				both := s.o
				other := ingest.NewSecret("whsec_b3RoZXIgdGhpbmc=")
				both.Secrets = []ingest.Secret{other, s.o.Secrets[0]}
				if _, err := verifier(t, both).Verify(&webhook.Message{Header: good(), Body: []byte(body), Now: now}); err != nil {
					t.Errorf("the old secret while a new one is brought in: %v", err)
				}
				both.Secrets = []ingest.Secret{other}
				if _, err := verifier(t, both).Verify(&webhook.Message{Header: good(), Body: []byte(body), Now: now}); err == nil {
					t.Error("another secret's signature was believed")
				}
			}
			edit := func(f func(text string) string) http.Header {
				h := good()
				h.Set(s.carrier, f(h.Get(s.carrier)))
				return h
			}
			twice := good()
			twice.Add(s.carrier, twice.Get(s.carrier))
			bad := map[string]http.Header{
				"without": func() http.Header { h := good(); h.Del(s.carrier); return h }(),
				"empty":   edit(func(string) string { return "" }),
				"cut":     edit(func(x string) string { return x[:len(x)-9] }),
				"changed": edit(func(x string) string { return x[:len(x)-6] + "AAAA" + x[len(x)-2:] }),
				"twice":   twice,
				"garbage": edit(func(string) string { return "\x00\xff,=,=;v1," }),
			}
			if strings.Contains(s.carrier, "Signature") && s.o.Scheme != "standard" {
				bad["upper case"] = edit(strings.ToUpper)
			}
			for what, h := range bad {
				if _, err := v.Verify(&webhook.Message{Header: h, Body: []byte(body), Now: now}); err == nil {
					t.Errorf("%s: believed: %v", what, h)
				} else if r := new(webhook.RefusedError); !errors.As(err, &r) {
					t.Errorf("%s: error %T", what, err)
				}
			}
			if len(s.o.Secrets) > 0 {
				for what, b := range map[string]string{"one byte": strings.Replace(body, "1", "2", 1), "a space": body + " ", "nothing": ""} {
					if _, err := v.Verify(&webhook.Message{Header: good(), Body: []byte(b), Now: now}); err == nil {
						t.Errorf("a body with %s changed was believed", what)
					}
				}
			}
			for _, off := range []time.Duration{-301, -300, -299, 299, 300, 301} {
				h := s.send(body, now.Add(off*time.Second))
				_, err := v.Verify(&webhook.Message{Header: h, Body: []byte(body), Now: now})
				if late := s.timed && (off < -300 || off > 300); (err != nil) != late {
					t.Errorf("%v s off: %v", int(off), err)
				}
			}
		})
	}
}

func TestTimesThatAreNone(t *testing.T) {
	s := senders()["hmac"]
	v := verifier(t, s.o)
	for _, at := range []string{"", "-1700000000", "+1700000000", "1.7e9", "17000000000000000000", "1700000000 ", "0x65538ac0", "९"} {
		h := header("X-At", at, "X-Nonce", "n", "X-Sig", "v="+base64.StdEncoding.EncodeToString(sign(sha512.New, []byte("own"), at+":n:b!")))
		if _, err := v.Verify(&webhook.Message{Header: h, Body: []byte("b"), Now: time.Unix(1_700_000_000, 0)}); err == nil {
			t.Errorf("time %q was believed", at)
		}
	}
}

func TestIDsAreBounded(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	v := verifier(t, webhook.VerifyOptions{Scheme: "standard", Secrets: secrets("whsec_YWJj")})
	for id, ok := range map[string]bool{
		strings.Repeat("a", 255): true, strings.Repeat("a", 256): false, "a.b": false, "a b": false, "a\u00e4": false, "a\r\nb": false,
	} {
		sig := base64.StdEncoding.EncodeToString(sign(sha256.New, []byte("abc"), id+".1700000000.{}"))
		h := http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {"1700000000"}, "Webhook-Signature": {"v1," + sig}}
		if _, err := v.Verify(&webhook.Message{Header: h, Body: []byte("{}"), Now: now}); (err == nil) != ok {
			t.Errorf("id %.20q…: %v", id, err)
		}
	}
}

// TestSignaturesAreBounded: of many signatures, some are tried.
func TestSignaturesAreBounded(t *testing.T) {
	s := senders()["standard"]
	now := time.Unix(1_700_000_000, 0)
	for n, ok := range map[int]bool{7: true, 8: false, 100_000: false} {
		h := s.send("{}", now)
		h.Set("webhook-signature", strings.Repeat("v1,AAAA ", n)+h.Get("webhook-signature"))
		if _, err := verifier(t, s.o).Verify(&webhook.Message{Header: h, Body: []byte("{}"), Now: now}); (err == nil) != ok {
			t.Errorf("behind %d others: %v", n, err)
		}
	}
}

func TestVerifierRefusesSettings(t *testing.T) {
	for _, o := range []webhook.VerifyOptions{
		{Scheme: "paypal", Secrets: secrets("x")},
		{Scheme: "github"},
		{Scheme: "github", Secrets: secrets("")},
		{Scheme: "github", Secrets: secrets("x", "")},
		{Scheme: "standard", Secrets: secrets("whsec_")},
		{Scheme: "standard", Secrets: secrets("whsec_!!!")},
		{Scheme: "standard", Secrets: secrets("whpk_YWJj")},
		{Scheme: "basic", User: "a"},
		{Scheme: "basic", User: "a:b", Password: ingest.NewSecret("x")},
		{Scheme: "bearer"},
		{Scheme: "hmac", Secrets: secrets("x")},
		{Scheme: "hmac", Secrets: secrets("x"), Header: "S", Algorithm: "md5"},
		{Scheme: "hmac", Secrets: secrets("x"), Header: "S", Encoding: "base32"},
		{Scheme: "hmac", Secrets: secrets("x"), Header: "S", Signed: "{timestamp}", TimestampHeader: "T"},
		{Scheme: "hmac", Secrets: secrets("x"), Header: "S", Signed: "{timestamp}.{body}"},
		{Scheme: "hmac", Secrets: secrets("x"), Header: "S", TimestampHeader: "T"},
		{Scheme: "hmac", Secrets: secrets("x"), Header: "S", Signed: "{nonce}{body}"},
		{Scheme: "hmac", Secrets: secrets("x"), Header: "S", Signed: "{bdoy}"},
	} {
		if _, err := webhook.NewVerifier(o); err == nil {
			t.Errorf("%+v: taken", o)
		} else if strings.Contains(err.Error(), "whsec_!!!") {
			t.Errorf("the error shows the secret: %v", err)
		}
	}
}

// FuzzVerify: no headers and no body make a verifier panic, or believe.
func FuzzVerify(f *testing.F) {
	f.Add("t=1700000000,v1=00", "v1,AAAA v1a,AAAA", "sha256=00", `{"id":"x"}`)
	f.Fuzz(func(t *testing.T, a, b, c, body string) {
		for name, s := range senders() {
			v := verifier(t, s.o)
			for _, text := range []string{a, b, c} {
				h := s.send("another body", time.Unix(1_700_000_000, 0))
				h.Set(s.carrier, text)
				_, err := v.Verify(&webhook.Message{Header: h, Body: []byte(body), Now: time.Unix(1_700_000_000, 0)})
				if err == nil && s.o.Scheme != "basic" && s.o.Scheme != "bearer" {
					t.Fatalf("%s believed %q", name, text)
				}
			}
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	body := []byte(`{"id":"evt_1","text":"` + strings.Repeat("x", 1000) + `"}`)
	now := time.Unix(1_700_000_000, 0)
	for _, name := range []string{"standard", "stripe", "github", "ed25519"} {
		s := senders()[name]
		v, err := webhook.NewVerifier(webhook.VerifyOptions{Scheme: s.o.Scheme, Secrets: s.o.Secrets, Tolerance: tolerance})
		if err != nil {
			b.Fatal(err)
		}
		m := &webhook.Message{Header: s.send(string(body), now), Body: body, Now: now}
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if _, err := v.Verify(m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
