package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// guarded is a target with a login: a token endpoint, and two addresses that
// send back all they got and refuse records that hold "bad".
type guarded struct {
	*httptest.Server
	refuses atomic.Bool  // the token endpoint knows us no more
	tokens  atomic.Int64 // given
	valid   atomic.Int64 // the token that is taken
	mu      sync.Mutex
	sign    string // the signing secret of today
	took    []string
	wrong   []string
}

const (
	canaryClient = "canary-client-secret"
	canarySign   = "canary-signing-secret"
	canaryToken  = "canary-token-"
)

func newPartner(t *testing.T) *guarded {
	p := &guarded{sign: canarySign}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		id, secret, _ := r.BasicAuth()
		if p.refuses.Load() || id != "me" || secret != canaryClient {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(w, `{"error":"invalid_client","error_description":"%s is wrong for %s"}`, canaryClient, id)
			return
		}
		n := p.tokens.Add(1)
		p.valid.Store(n)
		fmt.Fprintf(w, `{"access_token":"%s%d","token_type":"Bearer","expires_in":"3600"}`, canaryToken, n)
	})
	mux.HandleFunc("/o", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != fmt.Sprintf("Bearer %s%d", canaryToken, p.valid.Load()) {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, r.Header)
			return
		}
		p.take(w, r)
	})
	mux.HandleFunc("/h", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		p.mu.Lock()
		mac := hmac.New(sha256.New, []byte(p.sign))
		p.mu.Unlock()
		fmt.Fprintf(mac, "%s.%s", r.Header.Get("X-Time"), body)
		if r.Header.Get("X-Sig") != "v1="+hex.EncodeToString(mac.Sum(nil)) {
			p.mu.Lock()
			p.wrong = append(p.wrong, r.Header.Get("X-Sig"))
			p.mu.Unlock()
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		p.take(w, r)
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

func (p *guarded) take(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if bytes.Contains(body, []byte("bad")) {
		w.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprintf(w, "refused %v %s", r.Header, canarySign)
		return
	}
	p.mu.Lock()
	p.took = append(p.took, r.URL.Path+string(body))
	p.mu.Unlock()
}

const loginConfig = `
state_dir: state
sinks:
  o:
    type: http
    url: PARTNER/o
    auth: {type: oauth2, token_url: "PARTNER/token", client_id: me, client_secret: "${env:CLIENT_SECRET}"}
    retry: {initial: 20ms, max: 1s}
  h:
    type: http
    url: PARTNER/h
    auth: {type: hmac, header: X-Sig, secret: "${file:sign.secret}", signed: "{timestamp}.{body}", timestamp_header: X-Time, prefix: v1=}
pipelines:
  orders:
    source: {type: dir, path: drop, settle: 0s, rescan: 1s}
    record: {key: [id]}
    sinks: [o, h]
`

// TestLogins: tokens and signatures through the real daemon, a token that the
// target forgets, credentials that are refused and mended, and no secret of all
// that anywhere on disk or in what was printed.
func TestLogins(t *testing.T) {
	t.Parallel()
	p := newPartner(t)
	s := newShop(t, strings.ReplaceAll(loginConfig, "PARTNER", p.URL))
	s.write("sign.secret", canarySign+"\n")
	s.env = []string{"CLIENT_SECRET=" + canaryClient}
	var said []string
	ask := func(code int, args ...string) string {
		out := s.ask(code, args...)
		said = append(said, out)
		return out
	}
	ask(0, "check", "--connect")
	if out := ask(0, "sink", "test", "o", "--method", "GET"); !strings.Contains(out, "reached") {
		t.Error(out)
	}
	d := s.start("run")
	s.drop("drop", "a.csv", "id,name\n1,one\n2,bad\n3,three\n")
	s.arrival("a.csv", "done")
	ask(0, "dead", "list")
	if out := ask(0, "dead", "list", "--json"); strings.Count(out, "<secret>") < 2 {
		t.Errorf("nothing was cut out of %s", out)
	}

	// The target forgets the token: one more is fetched, and nothing stops.
	before := p.tokens.Load()
	p.valid.Store(-1)
	s.drop("drop", "b.csv", "id,name\n4,four\n")
	s.arrival("b.csv", "done")
	if n := p.tokens.Load(); n != before+1 {
		t.Errorf("%d tokens for one that was forgotten", n-before)
	}

	// The credentials are refused: the sink stops, records wait, the other sink
	// goes on. Mended, they are delivered.
	p.refuses.Store(true)
	p.valid.Store(-1)
	s.drop("drop", "c.csv", "id,name\n5,five\n")
	s.until("the sink to stop", func() bool { return strings.Contains(ask(0, "status", "--json"), `"stopped"`) })
	if out := ask(0, "status", "--json"); !strings.Contains(out, "invalid_client") {
		t.Errorf("status does not say why: %s", out)
	}
	ask(1, "sink", "test", "o")
	p.refuses.Store(false)
	// The other secret was changed too: the file is read again.
	s.write("sign.secret", canarySign+"-2")
	p.mu.Lock()
	p.sign = canarySign + "-2"
	p.mu.Unlock()
	ask(0, "reload")
	s.arrival("c.csv", "done")
	s.drop("drop", "d.csv", "id,name\n6,six\n")
	s.arrival("d.csv", "done")
	ask(0, "audit")
	ask(0, "show", "1", "--json")
	if out := ask(0, "dead", "list", "--json"); strings.Count(out, "\n") != 2 {
		t.Errorf("more became dead than the bad record at two sinks: %s", out)
	}
	p.mu.Lock()
	if len(p.wrong) > 0 || len(p.took) < 8 {
		t.Errorf("wrong signatures %v, took %v", p.wrong, p.took)
	}
	p.mu.Unlock()

	_ = d.cmd.Process.Signal(os.Interrupt)
	d.ends(0, within)
	for _, text := range append(said, d.out.String()) {
		if strings.Contains(text, "canary") {
			t.Errorf("shows a secret: %s", text)
		}
	}
	err := filepath.WalkDir(filepath.Join(s.dir, "state"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte("canary")) {
			t.Errorf("%s holds a secret", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
