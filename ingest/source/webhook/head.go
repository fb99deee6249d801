package webhook

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"ingestd/ingest"
)

// What names of headers and of query parameters hold where their values are
// secrets, or signatures that prove something to who holds them.
var secretive = []string{"authorization", "cookie", "signature", "hmac", "secret", "token", "password", "api-key", "api_key", "apikey"}

func isSecretive(lower []byte) bool {
	return slices.ContainsFunc(secretive, func(s string) bool { return bytes.Contains(lower, []byte(s)) })
}

// appendHead appends an ingest.Event as JSON: e, but with the part's type and
// name, the headers that are kept and the marks. It is what encoding/json would
// write, without a map for each request. hide is a header that is not kept.
func appendHead(b []byte, e *ingest.Event, p part, header http.Header, hide string, marks []mark) []byte {
	b = slices.Grow(b, 1024)
	b = append(b, `{"at":"`...)
	b = e.At.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","method":`...)
	b = appendText(b, e.Method)
	text := func(name, value string) {
		if value != "" {
			b = append(append(append(b, `,"`...), name...), `":`...)
			b = appendText(b, value)
		}
	}
	text("suffix", e.Suffix)
	text("query", e.Query)
	text("remote", e.Remote)
	b = appendHeaders(b, header, hide)
	text("content_type", p.contentType)
	text("name", p.name)
	text("id", e.ID)
	for i := range marks {
		if i == 0 {
			b = append(b, `,"marks":["`...)
		} else {
			b = append(b, `","`...)
		}
		b = base64.StdEncoding.AppendEncode(b, marks[i][:])
	}
	if len(marks) > 0 {
		b = append(b, `"]`...)
	}
	return append(b, '}')
}

// appendHeaders appends the headers that are kept, names in lower case and in
// order, several values of one joined as RFC 9110, 5.3 has it.
func appendHeaders(b []byte, header http.Header, hide string) []byte {
	var few [32]string
	names := few[:0]
	for name := range header {
		names = append(names, name)
	}
	slices.Sort(names)
	open := false
	for _, name := range names {
		start := len(b)
		if open {
			b = append(b, ',', '"')
		} else {
			b = append(b, `,"headers":{"`...)
		}
		at := len(b)
		b = appendLower(b, name)
		if lower := b[at:]; isSecretive(lower) || string(lower) == hide {
			b = b[:start]
			continue
		}
		b = append(b, '"', ':')
		if vs := header[name]; len(vs) == 1 {
			b = appendText(b, vs[0])
		} else {
			b = appendText(b, strings.Join(vs, ", "))
		}
		open = true
	}
	if open {
		b = append(b, '}')
	}
	return b
}

// appendLower appends a header's name, which is a token: it needs no escape.
func appendLower(b []byte, name string) []byte {
	for i := range len(name) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return b
}

func appendText(b []byte, s string) []byte { return ingest.AppendString(b, []byte(plain(s))) }

// plain is text as it is. Bytes that are no UTF-8 are Latin-1, which is what
// headers once were: nothing is lost, and both ways are told apart.
func plain(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	r := make([]rune, len(s))
	for i := range len(s) {
		r[i] = rune(s[i])
	}
	return string(r)
}

// headersKept is what appendHeaders writes, as a map.
func headersKept(header http.Header, hide string) map[string]string {
	out := make(map[string]string, len(header))
	for name, vs := range header {
		if lower := strings.ToLower(name); !isSecretive([]byte(lower)) && lower != hide {
			out[lower] = plain(strings.Join(vs, ", "))
		}
	}
	return out
}

// queryKept is a query without the parameters that hold secrets.
func queryKept(raw string) string {
	lower := []byte(strings.ToLower(raw))
	if !bytes.ContainsRune(lower, '%') && !isSecretive(lower) {
		return plain(raw)
	}
	var kept []string
	for pair := range strings.SplitSeq(raw, "&") {
		name, _, _ := strings.Cut(pair, "=")
		if text, ok := unescape(name); ok && !isSecretive([]byte(strings.ToLower(text))) {
			kept = append(kept, pair)
		}
	}
	return plain(strings.Join(kept, "&"))
}
