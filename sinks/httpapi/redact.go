package httpapi

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"html"
	"net/url"
	"os"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"ingestd/ingest"
)

const secretMark = "<secret>"

// A redactor cuts secrets out of text, in the forms in which targets echo them:
// plain, and as URLs, JSON, HTML and base64 write them.
type redactor struct {
	forms   []string
	replace *strings.Replacer
	longest int // bytes of the longest form
}

func newRedactor(secrets []string) *redactor { return new(redactor).with(secrets...) }

// with is a redactor that cuts out further secrets too.
func (r *redactor) with(secrets ...string) *redactor {
	forms := slices.Clone(r.forms)
	for _, s := range secrets {
		if s == "" {
			continue
		}
		forms = append(forms, s, escape(s), strings.ToLower(escape(s)), url.QueryEscape(s), url.PathEscape(s),
			html.EscapeString(s), base64.StdEncoding.EncodeToString([]byte(s)), base64.RawURLEncoding.EncodeToString([]byte(s)))
		for _, extra := range []string{"", "/", "<>&", "<>&'/", "\x80", "\x80/", "\x80<>&", "\x80<>&'/"} {
			forms = append(forms, quoted(s, extra))
		}
	}
	// The longest first: what holds another secret is cut out whole.
	slices.SortFunc(forms, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b))
	})
	forms = slices.Compact(forms)
	out := &redactor{forms: forms}
	pairs := make([]string, 0, 2*len(forms))
	for _, f := range forms {
		pairs = append(pairs, f, secretMark)
		out.longest = max(out.longest, len(f))
	}
	out.replace = strings.NewReplacer(pairs...)
	return out
}

// quoted is s as the inside of a JSON string. Encoders differ in what they
// escape without need: extra lists it, \x80 for all that is not ASCII.
func quoted(s, extra string) string {
	plain := ingest.AppendString(nil, []byte(s))
	var b strings.Builder
	for _, c := range string(plain[1 : len(plain)-1]) {
		switch {
		case c == '/' && strings.Contains(extra, "/"):
			b.WriteString(`\/`)
		case c < 0x80 && strings.ContainsRune(extra, c):
			fmt.Fprintf(&b, `\u%04x`, c)
		case c >= 0x10000 && strings.Contains(extra, "\x80"):
			hi, lo := utf16.EncodeRune(c)
			fmt.Fprintf(&b, `\u%04x\u%04x`, hi, lo)
		case c >= 0x80 && strings.Contains(extra, "\x80"):
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

func (r *redactor) text(s string) string { return r.replace.Replace(s) }

// error returns err, or, where its text holds a secret, a new error without it
// and without the chain that might show it after all.
func (r *redactor) error(err error) error {
	s := err.Error()
	if clean := r.text(s); clean != s {
		return errors.New(clean)
	}
	return err
}

// clean is s without secrets, as valid UTF-8 without control characters other
// than line end and tab, cut to limit bytes.
func (r *redactor) clean(s string, limit int) string {
	s = r.text(s)
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.Map(printable, s)
	s = r.text(s)
	if len(s) > limit {
		for limit > 0 && !utf8.RuneStart(s[limit]) {
			limit--
		}
		s = s[:limit]
	}
	return s
}

// printable makes a space of what would steer a terminal or turn text around.
func printable(c rune) rune {
	switch {
	case c == '\n', c == '\t':
		return c
	case unicode.IsControl(c), c >= 0x202a && c <= 0x202e, c >= 0x2066 && c <= 0x2069:
		return ' '
	}
	return c
}

// minGuessed is the shortest text that is taken for a secret by its name alone;
// cutting out shorter ones would spoil every answer.
const minGuessed = 6

// fixedSecrets are the secrets that do not come with the credentials: those
// that the caller knows, headers and query values whose names say so, and
// proxies with a user.
func fixedSecrets(o Options, u *urlTemplate) []string {
	var guessed []string
	out := grantSecrets(o.Auth)
	for _, s := range o.Secrets {
		out = append(out, s.Reveal())
		// Of a URL that is a key in itself a target sends back the path.
		if u, err := url.Parse(s.Reveal()); err == nil && u.Host != "" {
			guessed = append(guessed, u.RequestURI(), u.EscapedPath())
		}
	}
	guessed = append(guessed, u.secrets...)
	for name, value := range o.Headers {
		if soundsSecret(name) {
			guessed = append(guessed, value)
			// "Bearer x": the target may send back x alone.
			if _, token, ok := strings.Cut(value, " "); ok {
				guessed = append(guessed, strings.TrimSpace(token))
			}
		}
	}
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"} {
		if v := os.Getenv(name); strings.Contains(v, "@") {
			guessed = append(guessed, v)
		}
	}
	for _, s := range guessed {
		if len(s) >= minGuessed {
			out = append(out, s)
		}
	}
	return out
}

// soundsSecret reports whether a header or query parameter of this name usually
// holds a secret.
func soundsSecret(name string) bool {
	name = strings.ToLower(name)
	if name == "sig" || name == "code" {
		return true
	}
	return slices.ContainsFunc([]string{"auth", "key", "token", "secret", "passw", "cookie", "signature", "credential"},
		func(w string) bool { return strings.Contains(name, w) })
}
