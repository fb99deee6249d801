package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"ingestd/ingest"
)

// Guard lets requests through to next that carry the token, as a bearer token
// or as the password of Basic, so that a browser can ask for it. /healthz and
// /readyz are open. Without a token (allowed on loopback only) it refuses
// requests that were not addressed to this machine by its own name, so that no
// web page can reach it through a name of its own that resolves to loopback.
func Guard(token ingest.Secret, next http.Handler) http.Handler {
	want := sha256.Sum256([]byte(token.Reveal()))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/healthz" || r.URL.Path == "/readyz":
		case token.IsZero():
			if !localHost(r.Host) {
				deny(w, http.StatusForbidden, "this listener answers to localhost only", "set admin.token to open it to others")
				return
			}
		default:
			// Hashing first makes the comparison take the same time whatever
			// the length.
			got := sha256.Sum256([]byte(presented(r)))
			if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
				w.Header().Set("WWW-Authenticate", `Basic realm="ingestd", charset="UTF-8"`)
				deny(w, http.StatusUnauthorized, "a token is needed", "Authorization: Bearer TOKEN, or Basic with the token as password")
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

func deny(w http.ResponseWriter, status int, message, hint string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = Encode(w, errorBody{&Error{Message: message, Hint: hint}})
}

func presented(r *http.Request) string {
	if _, password, ok := r.BasicAuth(); ok {
		return password
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	return ""
}

func localHost(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
