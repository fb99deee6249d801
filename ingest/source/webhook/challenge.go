package webhook

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"io"
	"mime"
	"net/http"
)

// maxChallenge bounds what is echoed, in bytes.
const maxChallenge = 1024

// subscribe answers Meta's handshake (developers.facebook.com, webhooks,
// verification requests): a GET with the token that was agreed on, whose
// challenge is echoed.
func (h *Hook) subscribe(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	got, want := sha256.Sum256([]byte(q.Get("hub.verify_token"))), sha256.Sum256([]byte(h.o.Token.Reveal()))
	if h.o.Token.IsZero() || q.Get("hub.mode") != "subscribe" || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
		h.log.Warn("a handshake was refused", "reason", "its verify token is another")
		return answer(http.StatusUnauthorized, "the verify token is another")
	}
	return echo(w, q.Get("hub.challenge"))
}

// challenge answers handshakes that come as events: Slack's url_verification
// (docs.slack.dev, events API), or any JSON body with a challenge.
func (h *Hook) challenge(w http.ResponseWriter, r *http.Request, body []byte) (done bool, err error) {
	if h.o.Challenge != "slack" && h.o.Challenge != "generic" {
		return false, nil
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" && kind != "text/plain" && kind != "" {
		return false, nil
	}
	var m struct {
		Type      string
		Challenge *string
	}
	if json.Unmarshal(body, &m) != nil || m.Challenge == nil || h.o.Challenge == "slack" && m.Type != "url_verification" {
		return false, nil
	}
	return true, echo(w, *m.Challenge)
}

func echo(w http.ResponseWriter, text string) error {
	if text == "" || len(text) > maxChallenge {
		return answer(http.StatusBadRequest, "the challenge is empty, or longer than %d bytes", maxChallenge)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = io.WriteString(w, text)
	return nil
}
