package webhook_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ingestd/ingest/source/webhook"
)

// An unsigned is what testdata/senders/sign.mjs signs.
type unsigned struct {
	Scheme string `json:"scheme"`
	Secret string `json:"secret"`
	ID     string `json:"id"`
	Time   int64  `json:"time"`
	Body   string `json:"body"`
}

// senderPackages is a folder with the packages of testdata/senders installed, in
// the user's cache: npm checks each against the hash in package-lock.json.
func senderPackages(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"node", "npm"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("the senders' own libraries are not tried: there is no %s; `make test` installs it", name)
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	lock, err := os.ReadFile("testdata/senders/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(lock)
	dir := filepath.Join(cache, "ingestd-test", "senders-"+hex.EncodeToString(sum[:6]))
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); err == nil {
		return dir
	}
	fresh, err := os.MkdirTemp("", "ingestd-senders-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(fresh) })
	if err := os.CopyFS(fresh, os.DirFS("testdata/senders")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-timeout=20000")
	npm.Dir = fresh
	if out, err := npm.CombinedOutput(); err != nil {
		if bytes.Contains(out, []byte("EINTEGRITY")) {
			t.Fatalf("a package is not the one that package-lock.json names:\n%s", out)
		}
		t.Skipf("the senders' own libraries are not tried: npm ci cannot fetch them: %v\n%s", err, out)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(fresh, dir); err != nil {
		return fresh // another filesystem, or another test was first
	}
	return dir
}

// signBy has events signed by the senders' own libraries.
func signBy(t *testing.T, dir string, events []unsigned) (out []http.Header) {
	t.Helper()
	script, err := filepath.Abs("testdata/senders/sign.mjs")
	if err != nil {
		t.Fatal(err)
	}
	var in bytes.Buffer
	for _, e := range events {
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		in.Write(append(line, '\n'))
	}
	var faults bytes.Buffer
	node := exec.CommandContext(t.Context(), "node", script)
	node.Dir, node.Stdin, node.Stderr = dir, &in, &faults
	got, err := node.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, &faults)
	}
	d := json.NewDecoder(bytes.NewReader(got))
	for range events {
		var h map[string]string
		if err := d.Decode(&h); err != nil {
			t.Fatal(err)
		}
		header := http.Header{}
		for name, value := range h {
			header.Set(name, value)
		}
		out = append(out, header)
	}
	return out
}

// TestSendersOwnLibraries: what Stripe's, Svix's, Standard Webhooks' and GitHub's
// own libraries sign is taken; every variant of it is not.
func TestSendersOwnLibraries(t *testing.T) {
	dir := senderPackages(t)
	const std = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	bodies := []string{
		`{"id":"evt_%d","object":"event","text":"größer ✓ \u0000 \\ /"}`,
		"{\n  \"id\": \"evt_%d\",\n  \"spaces\": [ 1,\t2 ]\n}\n",
		`{"id":"evt_%d","digits":123456789012345678901234567890.10}`,
	}
	now := time.Now()
	for scheme, c := range map[string]struct {
		verify, secret string
		carrier        string
		timed          bool
	}{
		"stripe":   {"stripe", "whsec_stripes_text", "Stripe-Signature", true},
		"svix":     {"standard", std, "Svix-Signature", true},
		"standard": {"standard", std, "Webhook-Signature", true},
		"github":   {"github", secret, "X-Hub-Signature-256", false},
	} {
		t.Run(scheme, func(t *testing.T) {
			var events []unsigned
			add := func(body string, at time.Time, secret string) {
				n := len(events)
				events = append(events, unsigned{scheme, secret, fmt.Sprintf("msg_%d", n), at.Unix(), fmt.Sprintf(body, n)})
			}
			for _, b := range bodies {
				add(b, now, c.secret)
			}
			good := len(events)
			add(bodies[0], now, c.secret[:len(c.secret)-1]+"X") // another secret
			stale := len(events)
			if c.timed {
				add(bodies[0], now.Add(-10*time.Minute), c.secret)
				add(bodies[0], now.Add(10*time.Minute), c.secret)
			}
			headers := signBy(t, dir, events)
			s := open(t, webhook.HookOptions{Verifier: verifier(t, webhook.VerifyOptions{Scheme: c.verify, Secrets: secrets("whsec_b3RoZXIgdGhpbmc=", c.secret)})}, webhook.ServerOptions{})
			for i := range good {
				if got := s.send(t, asked{header: headers[i].Clone(), body: events[i].Body}); got.status != 202 {
					t.Errorf("event %d: %+v", i, got)
				}
				if got := s.send(t, asked{header: headers[i].Clone(), body: events[i].Body}); got.status != 200 {
					t.Errorf("event %d again: %+v", i, got)
				}
			}
			if got := s.shelf.bodies(); len(got) != good || got[1] != events[1].Body {
				t.Fatalf("%d events are stored", len(got))
			}
			no := func(what string, h http.Header, body string) {
				t.Helper()
				if got := s.send(t, asked{header: h.Clone(), body: body}); got.status != 401 {
					t.Errorf("%s: %+v", what, got)
				}
			}
			no("another secret", headers[good], events[good].Body)
			for i := stale; i < len(events); i++ {
				no(fmt.Sprint("time ", events[i].Time-now.Unix()), headers[i], events[i].Body)
			}
			body := events[0].Body
			for what, changed := range map[string]string{
				"a byte": strings.Replace(body, "evt_", "evu_", 1), "a space": body + " ", "cut": body[:len(body)-1], "empty": "",
				"written anew": strings.ReplaceAll(body, `\u0000`, "\\u0000 "), "another": events[1].Body,
			} {
				no(what, headers[0], changed)
			}
			sig := headers[0].Get(c.carrier)
			for what, text := range map[string]string{"no signature": "", "cut": sig[:len(sig)-4], "of another event": headers[1].Get(c.carrier), "upper case": strings.ToUpper(sig)} {
				h := headers[0].Clone()
				h.Set(c.carrier, text)
				no(what, h, body)
			}
			if c.verify == "standard" {
				for _, name := range []string{"-Id", "-Timestamp"} {
					h := headers[0].Clone()
					name = strings.TrimSuffix(c.carrier, "-Signature") + name
					h.Set(name, headers[0].Get(name)+"1")
					no(name, h, body)
				}
			}
			if n := len(s.shelf.bodies()); n != good {
				t.Errorf("%d events are stored", n)
			}
		})
	}
}

// TestCurl: an operator's own tool, with an HMAC of his own.
func TestCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("there is no curl; `make test` installs it")
	}
	v := verifier(t, webhook.VerifyOptions{Scheme: "hmac", Secrets: secrets("own"), Header: "X-Sig", Prefix: "sha256=", Signed: "{timestamp}.{body}", TimestampHeader: "X-At"})
	s := open(t, webhook.HookOptions{Verifier: v}, webhook.ServerOptions{})
	file := filepath.Join(t.TempDir(), "event.json")
	if err := os.WriteFile(file, []byte(`{"a": 1}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(key string, more ...string) string {
		at := fmt.Sprint(time.Now().Unix())
		sig := hex.EncodeToString(sign(sha256.New, []byte(key), at+"."+`{"a": 1}`+"\n"))
		args := append([]string{"-sS", "-m", "20", "--compressed", "-w", "%{http_code}", "-H", "Content-Type: application/json", "-H", "X-At: " + at, "-H", "X-Sig: sha256=" + sig, "--data-binary", "@" + file}, more...)
		out, err := exec.CommandContext(t.Context(), curl, append(args, s.url+"/hooks/orders")...).CombinedOutput()
		if err != nil {
			t.Fatalf("curl: %v\n%s", err, out)
		}
		return string(out)
	}
	if got := run("own"); got != `{"arrival":"7.1"}`+"\n202" {
		t.Errorf("%s", got)
	}
	if got := run("own", "-H", "Transfer-Encoding: chunked"); got != `{"arrival":"7.1"}`+"\n200" {
		t.Errorf("in chunks, again: %s", got)
	}
	if got := run("other"); !strings.HasSuffix(got, "401") {
		t.Errorf("another secret: %s", got)
	}
}
