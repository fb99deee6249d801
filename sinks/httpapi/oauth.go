package httpapi

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"ingestd/ingest"
)

// Limits of asking for a token.
const (
	tokenTimeout   = 30 * time.Second
	maxTokenAnswer = 1 << 20              // bytes of the answer that are read
	maxTokenLife   = 366 * 24 * time.Hour // a longer expires_in is cut
	maxTokenWait   = 30 * time.Second     // the longest pause between tries that failed
	refusedWait    = 10 * time.Second     // after the credentials were refused
)

// A grant has tokens from an OAuth 2.0 token endpoint by client credentials
// (RFC 6749, section 4.4). One fetch is under way at a time, under the sink's
// renewing lock; a failure is remembered for a while, so that a thousand
// senders ask once.
type grant struct {
	url    string
	shown  string // for messages: no query, no user
	id     string
	secret ingest.Secret
	form   url.Values // what is asked for, credentials aside
	client atomic.Pointer[http.Client]
	redact func(string) string

	// Guarded by the sink's renewing lock.
	inBody bool // the endpoint wants the credentials in the body
	failed error
	again  time.Time // not before, after failed
	fails  int
}

func newGrant(a Auth, redact func(string) string) (*grant, error) {
	u, err := url.Parse(a.TokenURL)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("token_url: is no http or https address")
	case u.User != nil || u.Fragment != "":
		return nil, errors.New("token_url: can hold neither a user nor a #fragment")
	case a.ClientID == "":
		return nil, errors.New("client_id: is empty")
	case a.ClientSecret.IsZero():
		return nil, errors.New("client_secret: is empty")
	}
	g := &grant{
		url: a.TokenURL, shown: u.Scheme + "://" + u.Host + u.EscapedPath(), id: a.ClientID, secret: a.ClientSecret,
		form: url.Values{"grant_type": {"client_credentials"}}, redact: redact,
	}
	if len(a.Scopes) > 0 {
		g.form.Set("scope", strings.Join(a.Scopes, " "))
	}
	if a.Audience != "" {
		g.form.Set("audience", a.Audience)
	}
	return g, nil
}

// grantSecrets are the forms in which a's client secret goes out.
func grantSecrets(a Auth) []string {
	if a.ClientSecret.IsZero() {
		return nil
	}
	s := a.ClientSecret.Reveal()
	pair := url.QueryEscape(a.ClientID) + ":" + url.QueryEscape(s)
	return []string{s, pair, base64.StdEncoding.EncodeToString([]byte(pair))}
}

// setTransport makes the client anew from the target's transport. The endpoint
// may be under a public authority while the target is under the one of
// ca_file, so it is checked against both.
func (g *grant) setTransport(t *http.Transport, tls TLS) error {
	t = t.Clone()
	if tls.CAFile != "" {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		pem, err := os.ReadFile(tls.CAFile)
		if err != nil {
			return fmt.Errorf("ca_file: %w", err)
		}
		pool.AppendCertsFromPEM(pem)
		t.TLSClientConfig.RootCAs = pool
	}
	t.MaxConnsPerHost, t.MaxIdleConnsPerHost = 1, 1
	old := g.client.Swap(&http.Client{
		Transport: t, Timeout: tokenTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	})
	if old != nil {
		old.CloseIdleConnections()
	}
	return nil
}

// A token is what the endpoint gave.
type token struct {
	auth Auth
	// renew is when a new one is fetched, dead when this one is not used any
	// more; zero: not known, the target will say. Both are of the monotonic
	// clock: a wall clock that is set changes nothing.
	renew, dead time.Time
}

// fetch returns a new token. Its error is a *ingest.Halt where the endpoint
// refuses us, and a *ingest.Unsent where it may give one later.
func (g *grant) fetch(ctx context.Context) (token, error) {
	if g.failed != nil && time.Now().Before(g.again) {
		return token{}, g.failed
	}
	t, wait, err := g.ask(ctx)
	if ctx.Err() != nil && err != nil {
		return token{}, fmt.Errorf("fetch a token: interrupted: %w", context.Cause(ctx))
	}
	if err == nil {
		g.failed, g.fails = nil, 0
		return t, nil
	}
	var halt *ingest.Halt
	if wait == 0 {
		if wait = refusedWait; !errors.As(err, &halt) {
			top := min(time.Second<<min(g.fails, 10), maxTokenWait)
			wait = top/2 + rand.N(top/2)
		}
	}
	g.fails++
	g.again = time.Now().Add(wait)
	if g.failed = err; !errors.As(err, &halt) {
		g.failed = &ingest.Unsent{At: g.again, Reason: err.Error(), Failures: g.fails}
	}
	return token{}, g.failed
}

// ask asks the endpoint, in the way that it took before: credentials in the
// header, as the RFC wants it, or in the body. wait is the Retry-After of a
// failure.
func (g *grant) ask(ctx context.Context) (t token, wait time.Duration, err error) {
	ans, err := g.post(ctx, g.inBody)
	if err == nil && !g.inBody && ans.misunderstood() {
		// Some take the credentials from the body only.
		if second, serr := g.post(ctx, true); serr == nil && second.token() != "" {
			g.inBody, ans = true, second
		}
	}
	if err != nil {
		return t, 0, fmt.Errorf("fetch a token from %s: %s", g.shown, g.redact(err.Error()))
	}
	if ans.token() != "" && ans.status/100 == 2 {
		return g.read(ans)
	}
	said := g.redact(ans.said())
	switch st := ans.status; {
	case st >= 500, st == http.StatusRequestTimeout, st == http.StatusTooEarly, st == http.StatusTooManyRequests:
		return t, ans.wait, fmt.Errorf("the token endpoint %s answered %s%s", g.shown, statusText(st), said)
	case st/100 == 3:
		return t, 0, g.halt("answered %s; redirects are never followed, put the right address into auth.token_url", statusText(st))
	case st/100 == 2:
		return t, 0, g.halt("answered %s without an access_token%s; check auth.token_url", statusText(st), said)
	case st == http.StatusNotFound, st == http.StatusMethodNotAllowed, st == http.StatusGone:
		return t, 0, g.halt("answered %s; check auth.token_url", statusText(st))
	default:
		return t, 0, g.halt("answered %s%s; check auth.client_id, client_secret, scopes and audience", statusText(st), said)
	}
}

func (g *grant) halt(format string, args ...any) error {
	return &ingest.Halt{Reason: "the token endpoint " + g.shown + " " + fmt.Sprintf(format, args...)}
}

// read makes a token of an answer that holds one.
func (g *grant) read(ans tokenAnswer) (t token, wait time.Duration, err error) {
	if kind := text(ans.TokenType); kind != "" && !strings.EqualFold(kind, "bearer") {
		return t, 0, g.halt("gives tokens of type %q; only bearer is known", g.redact(cut(kind, 40)))
	}
	t.auth = Auth{Type: AuthBearer, Token: ingest.NewSecret(ans.token())}
	if life := lifetime(ans.ExpiresIn); life > 0 {
		// It counts from before the request, whatever the clocks say. The
		// margin is for the time that requests take, and for a target whose
		// clock runs ahead.
		t.dead = ans.asked.Add(life)
		t.renew = t.dead.Add(-min(life/5, time.Minute))
	}
	return t, 0, nil
}

// A tokenAnswer is what the endpoint sent. Its members are read loosely:
// servers write them in many ways.
type tokenAnswer struct {
	status int
	wait   time.Duration // Retry-After
	asked  time.Time

	AccessToken json.RawMessage `json:"access_token"`
	TokenType   json.RawMessage `json:"token_type"`
	ExpiresIn   json.RawMessage `json:"expires_in"`
	Error       json.RawMessage `json:"error"`
	Description json.RawMessage `json:"error_description"`
}

func (a *tokenAnswer) token() string { return text(a.AccessToken) }

// misunderstood reports whether the credentials may have been looked for
// elsewhere.
func (a *tokenAnswer) misunderstood() bool {
	return a.status == http.StatusBadRequest || a.status == http.StatusUnauthorized || a.status == http.StatusForbidden
}

// said is the endpoint's reason, for people.
func (a *tokenAnswer) said() string {
	code, why := text(a.Error), text(a.Description)
	switch {
	case code != "" && why != "":
		return ": " + code + ": " + why
	case cmp.Or(code, why) != "":
		return ": " + cmp.Or(code, why)
	}
	return ""
}

func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// lifetime reads expires_in: a number of seconds, which some write as a text
// or with a fraction. What is missing, not positive or unreadable is 0: the
// target itself will say when the token has ended.
func lifetime(raw json.RawMessage) time.Duration {
	s := text(raw)
	if s == "" {
		s = string(raw)
	}
	f, err := strconv.ParseFloat(s, 64)
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange), !(f > 0):
		return 0
	case f > maxTokenLife.Seconds():
		return maxTokenLife
	}
	return time.Duration(f * float64(time.Second))
}

// post asks once. An error means that there is no answer.
func (g *grant) post(ctx context.Context, inBody bool) (ans tokenAnswer, err error) {
	form := g.form
	if inBody {
		form = url.Values{"client_id": {g.id}, "client_secret": {g.secret.Reveal()}}
		for k, v := range g.form {
			form[k] = v
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url, strings.NewReader(form.Encode()))
	if err != nil {
		return ans, errors.New("the address cannot be used")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "ingestd")
	if !inBody {
		req.SetBasicAuth(url.QueryEscape(g.id), url.QueryEscape(g.secret.Reveal()))
	}
	ans.asked = time.Now()
	res, err := g.client.Load().Do(req)
	if err != nil {
		var ue *url.Error // it shows the URL
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return ans, err
	}
	defer res.Body.Close()
	ans.status = res.StatusCode
	ans.wait = retryAfter(res.Header.Get("Retry-After"), res.Header.Get("Date"), time.Now())
	body, err := io.ReadAll(io.LimitReader(res.Body, maxTokenAnswer))
	if err != nil && ans.status/100 == 2 {
		return ans, fmt.Errorf("the answer broke off: %w", err)
	}
	// What is no JSON holds no token: that is said by its status.
	_ = json.Unmarshal(body, &ans)
	return ans, nil
}

func cut(s string, most int) string {
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
