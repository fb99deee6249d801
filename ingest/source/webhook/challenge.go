package webhook

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"

	"ingestd/ingest"
)

// maxChallenge bounds what is echoed, in bytes.
const maxChallenge = 1024

// shakes reports whether a request is a handshake that nobody signs.
func (h *Hook) shakes(r *http.Request) bool {
	q := r.URL.RawQuery
	switch h.o.Challenge {
	case "meta":
		return r.Method == http.MethodGet && strings.Contains(q, "hub.")
	case "generic":
		return r.Method == http.MethodGet && strings.HasPrefix(q, "challenge=") || r.Method == http.MethodPost && strings.HasPrefix(q, "validationToken=")
	}
	return false
}

// handshake answers those: Meta's (developers.facebook.com, webhooks,
// verification requests), a GET with the token that was agreed on; Dropbox's, a
// GET with a challenge, and Microsoft Graph's, a POST with a validationToken,
// which prove nothing and are told nothing else.
func (h *Hook) handshake(v *visit) error {
	q, err := url.ParseQuery(v.r.URL.RawQuery)
	if err != nil {
		return answer(http.StatusBadRequest, "the query cannot be read")
	}
	if h.o.Challenge == "generic" {
		return h.echo(v, q.Get("challenge")+q.Get("validationToken"))
	}
	if q.Get("hub.mode") != "subscribe" || !h.agreed(q.Get("hub.verify_token")) {
		h.refused(v, "a handshake with another verify token", nil)
		return answer(http.StatusUnauthorized, "the verify token is another")
	}
	return h.echo(v, q.Get("hub.challenge"))
}

// agreed reports whether a token is the one that was agreed on: the hook's, or
// where it has none, a secret that signs. Hashes are of one length: how much is
// right shows in no time.
func (h *Hook) agreed(token string) bool {
	wanted := h.o.Verifier.secrets
	if !h.o.Token.IsZero() {
		wanted = []ingest.Secret{h.o.Token}
	}
	ok, got := false, sha256.Sum256([]byte(token))
	for _, s := range wanted {
		want := sha256.Sum256([]byte(s.Reveal()))
		ok = subtle.ConstantTimeCompare(got[:], want[:]) == 1 || ok
	}
	return ok
}

// challenge answers handshakes that come as signed events: Slack's
// url_verification (docs.slack.dev, events API), or any JSON object with a
// challenge.
func (h *Hook) challenge(v *visit, body []byte) (done bool, err error) {
	if h.o.Challenge != "slack" && h.o.Challenge != "generic" || !strings.Contains(string(body[:min(len(body), 4*maxChallenge)]), `"challenge"`) {
		return false, nil
	}
	var m struct {
		Type      string  `json:"type"`
		Challenge *string `json:"challenge"`
	}
	if json.Unmarshal(body, &m) != nil || m.Challenge == nil || h.o.Challenge == "slack" && m.Type != "url_verification" {
		return false, nil
	}
	return true, h.echo(v, *m.Challenge)
}

// echo writes a challenge back: as text, which no browser runs.
func (h *Hook) echo(v *visit, text string) error {
	if text == "" || len(text) > maxChallenge {
		return answer(http.StatusBadRequest, "the challenge is empty, or longer than %d bytes", maxChallenge)
	}
	h.o.Observer(http.StatusOK, WasHandshake)
	v.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	v.w.Header()["X-Content-Type-Options"] = noSniff
	_, _ = io.WriteString(v.w, text)
	return nil
}
