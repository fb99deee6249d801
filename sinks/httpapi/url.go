package httpapi

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"ingestd/ingest"
)

// maxURL bounds a URL that values were put into, in bytes.
const maxURL = 8 << 10

// A urlTemplate is a sink's URL with places for values.
type urlTemplate struct {
	base     string    // scheme://host, as it stands before every path
	host     string    // as in the URL
	scheme   string    // http or https
	hostPort string    // with the scheme's default port
	parts    []urlPart // path and query
	fields   []string
	fixed    *url.URL // the URL itself, where it holds no place
	secrets  []string // literal query values that look like secrets
	shown    string   // for messages: no query, no user, no secret
}

// A urlPart is literal text, or the place of a value.
type urlPart struct {
	text    string // literal, or the name
	place   bool
	inQuery bool
}

// placeWord stands in every place while the template itself is judged.
const placeWord = "ingestd-place"

// pipelineField is the name that stands for the pipeline instead of a field.
const pipelineField = "pipeline"

// URLFields returns the names of the fields, {pipeline} aside, whose values the
// URL template needs, each once. Where there are any, every record needs a
// request of its own.
func URLFields(template string) ([]string, error) {
	var a Auth
	u, err := parseURL(template, &a)
	if err != nil {
		return nil, err
	}
	return u.fields, nil
}

var errNoScheme = errors.New("must begin with https:// or http://")

// parseURL checks a template. A user in it becomes auth, where auth is none.
func parseURL(template string, auth *Auth) (*urlTemplate, error) {
	parts, err := splitURL(template)
	if err != nil {
		return nil, err
	}
	after, err := afterHost(parts)
	if err != nil {
		return nil, err
	}
	// Structure is judged with a plain word in each place.
	var flat strings.Builder
	for _, p := range parts {
		if p.place {
			flat.WriteString(placeWord)
		} else {
			flat.WriteString(p.text)
		}
	}
	u, err := url.Parse(flat.String())
	if err != nil {
		// url.Error shows the URL, which may hold a secret.
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	t := &urlTemplate{scheme: strings.ToLower(u.Scheme), host: u.Host}
	for name, values := range u.Query() {
		for _, v := range values {
			if soundsSecret(name) && !strings.Contains(v, placeWord) {
				t.secrets = append(t.secrets, v)
			}
		}
	}
	port := map[string]string{"http": "80", "https": "443"}[t.scheme]
	switch {
	case port == "":
		return nil, errNoScheme
	case u.Hostname() == "":
		return nil, errors.New("names no host")
	case u.Fragment != "" || strings.Contains(flat.String(), "#"):
		return nil, errors.New("cannot hold a #fragment")
	}
	if p := u.Port(); p != "" {
		port = p
	}
	t.hostPort = strings.ToLower(net.JoinHostPort(u.Hostname(), port))
	if err := userOf(u, auth); err != nil {
		return nil, err
	}
	if err := checkDots(u.EscapedPath()); err != nil {
		return nil, err
	}
	t.base = t.scheme + "://" + t.host
	t.parts = after
	t.shown = t.base
	for _, p := range t.parts {
		switch {
		case p.inQuery:
		case p.place:
			t.shown += "{" + p.text + "}"
		default:
			path, _, _ := strings.Cut(p.text, "?")
			t.shown += path
		}
		if p.place && p.text != pipelineField && !slices.Contains(t.fields, p.text) {
			t.fields = append(t.fields, p.text)
		}
	}
	if !slices.ContainsFunc(t.parts, func(p urlPart) bool { return p.place }) {
		u.User = nil
		t.fixed = u
	}
	return t, nil
}

// hide cuts secrets out of the path that messages show: that of a chat's webhook
// is a key in itself. The host stays, so that people can tell what failed.
func (t *urlTemplate) hide(secrets []ingest.Secret) {
	var cut []string
	for _, s := range secrets {
		text := s.Reveal()
		if u, err := url.Parse(text); err == nil && u.Host != "" {
			text = u.EscapedPath()
		}
		cut = append(cut, strings.Trim(text, "/"))
	}
	t.shown = t.base + newRedactor(cut).replace.Replace(strings.TrimPrefix(t.shown, t.base))
}

// userOf moves a user:password of the URL into auth.
func userOf(u *url.URL, auth *Auth) error {
	if u.User == nil {
		return nil
	}
	if auth.Type != AuthNone {
		return errors.New("holds a user, and auth is set too")
	}
	password, _ := u.User.Password()
	*auth = Auth{Type: AuthBasic, User: u.User.Username(), Password: ingest.NewSecret(password)}
	return nil
}

// splitURL finds the places.
func splitURL(template string) ([]urlPart, error) {
	var parts []urlPart
	for rest := template; rest != ""; {
		open := strings.IndexAny(rest, "{}")
		if open < 0 {
			parts = append(parts, urlPart{text: rest})
			break
		}
		if rest[open] == '}' {
			return nil, errors.New("holds a } without its {")
		}
		if open > 0 {
			parts = append(parts, urlPart{text: rest[:open]})
		}
		name, after, closed := strings.Cut(rest[open+1:], "}")
		switch {
		case !closed || strings.Contains(name, "{"):
			return nil, errors.New("holds a { without its }")
		case name == "":
			return nil, errors.New("holds {} without a field's name")
		}
		parts = append(parts, urlPart{text: name, place: true})
		rest = after
	}
	return parts, nil
}

// afterHost drops scheme and host, which must be in the first, literal part,
// and notes which places stand in the query.
func afterHost(parts []urlPart) ([]urlPart, error) {
	if len(parts) == 0 {
		return nil, errNoScheme
	}
	_, authority, ok := strings.Cut(parts[0].text, "://")
	end := strings.IndexAny(authority, "/?")
	switch {
	case len(parts) == 1 && !ok && !parts[0].place:
		return nil, errNoScheme
	case parts[0].place || !ok, end < 0 && len(parts) > 1:
		return nil, errors.New("a field cannot be part of the scheme or the host: data must not choose whom we talk to")
	case end < 0:
		end = len(authority)
	}
	parts = slices.Clone(parts)
	parts[0].text = authority[end:]
	query := false
	for i := range parts {
		parts[i].inQuery = query
		if !parts[i].place && strings.Contains(parts[i].text, "?") {
			query = true
		}
	}
	return parts, nil
}

// expand puts r's values, and a query parameter where one is given, into the
// URL. A value that cannot stand in it is a *ingest.Reject: the record is
// wrong, whenever it is sent.
func (t *urlTemplate) expand(r *ingest.Request, query string) (*url.URL, error) {
	var b strings.Builder
	b.WriteString(t.base)
	for _, p := range t.parts {
		if !p.place {
			b.WriteString(p.text)
			continue
		}
		v, ok := r.Pipeline, true
		if p.text != pipelineField {
			v, ok = lookup(r.Vars, p.text)
		}
		switch {
		case !ok || v == "" && !p.inQuery:
			return nil, refusef("field %q is empty or absent: the URL needs its value", p.text)
		case strings.ContainsFunc(v, func(c rune) bool { return c < ' ' || c == 0x7f }):
			return nil, refusef("field %q holds a line end or another control character: it cannot stand in the URL", p.text)
		case b.Len()+len(v) > maxURL:
			return nil, refusef("field %q makes the URL longer than %d bytes", p.text, maxURL)
		}
		for i := range len(v) {
			writeEscaped(&b, v[i])
		}
	}
	full := b.String()
	if query != "" {
		sep := "?"
		if strings.Contains(full, "?") {
			sep = "&"
		}
		full += sep + query
	}
	u, err := url.Parse(full)
	switch {
	case err != nil || u.Host != t.host || u.Scheme != t.scheme:
		return nil, refusef("the values make no URL")
	case len(full) > maxURL+len(query):
		return nil, refusef("the values make the URL longer than %d bytes", maxURL)
	}
	if err := checkDots(u.EscapedPath()); err != nil {
		return nil, refusef("the values would climb out of the URL's path: %v", err)
	}
	return u, nil
}

func refusef(format string, args ...any) error {
	return &ingest.Reject{Reason: fmt.Sprintf(format, args...)}
}

func lookup(vars []ingest.Var, name string) (string, bool) {
	for i := range vars {
		if vars[i].Name == name {
			return vars[i].Value, true
		}
	}
	return "", false
}

// checkDots refuses the segments "." and "..", also where a target that decodes
// %2F too early, or takes a backslash for a slash, would see them.
func checkDots(path string) error {
	for seg := range strings.SplitSeq(path, "/") {
		plain, err := url.PathUnescape(seg)
		if err != nil {
			return fmt.Errorf("path segment %q: %w", seg, err)
		}
		for piece := range strings.FieldsFuncSeq(plain, func(c rune) bool { return c == '/' || c == '\\' }) {
			if piece == "." || piece == ".." {
				return fmt.Errorf("it holds the path segment %q", piece)
			}
		}
	}
	return nil
}

// escape percent-encodes all but RFC 3986's unreserved characters.
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		writeEscaped(&b, s[i])
	}
	return b.String()
}

func writeEscaped(b *strings.Builder, c byte) {
	const hex = "0123456789ABCDEF"
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~':
		b.WriteByte(c)
	default:
		b.WriteByte('%')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
}
