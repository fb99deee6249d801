package webhook

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"ingestd/ingest"
)

// A part is what becomes one event.
type part struct {
	contentType string
	name        string
	body        []byte
}

// maxParts bounds the parts of one multipart body, maxFields the fields of a
// form, maxName a file's name, in bytes.
const (
	maxParts  = 100
	maxFields = 1000
	maxName   = 255
)

// The media types that hold many documents, and those that hold one text.
var (
	lines   = []string{"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines", "application/json-seq"}
	textual = []string{"application/json", "text/json", "application/xml", "text/xml", "text/csv", "application/csv"}
	utf8s   = []string{"", "utf-8", "utf8", "us-ascii"}
)

func isJSON(kind string) bool {
	return kind == "application/json" || kind == "text/json" || strings.HasSuffix(kind, "+json")
}

// split makes events of a body: one, or one for each file of a multipart body.
// A pipeline's own format decides what a body is, whatever it says itself.
func split(contentType string, body []byte, format string, s *stay) ([]part, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, answer(http.StatusBadRequest, "the body is empty")
	}
	kind, params, err := mediaType(contentType)
	auto := format == "" || format == "auto"
	if err != nil && auto {
		return nil, answer(http.StatusUnsupportedMediaType, "its Content-Type cannot be read")
	}
	switch {
	case kind == "multipart/form-data" || kind == "multipart/mixed":
		return files(body, params["boundary"], s)
	case kind == "application/x-www-form-urlencoded" && (auto || format == "json"):
		return form(string(body), s)
	case !auto:
	case kind == "":
		return nil, answer(http.StatusUnsupportedMediaType, "it has no Content-Type")
	case !slices.Contains(textual, kind) && !slices.Contains(lines, kind) && !strings.HasSuffix(kind, "+json") && !strings.HasSuffix(kind, "+xml"):
		return nil, answer(http.StatusUnsupportedMediaType, "Content-Type %.60q is none of JSON, NDJSON, XML, CSV, form, multipart files", kind)
	case !slices.Contains(utf8s, strings.ToLower(params["charset"])) && !strings.HasSuffix(kind, "xml") && !strings.HasSuffix(kind, "csv"):
		return nil, answer(http.StatusUnsupportedMediaType, "charset %.40q: send UTF-8", params["charset"])
	}
	if isJSON(kind) && (auto || format == "json") {
		if err := readable(body); err != nil {
			return nil, err
		}
	}
	return []part{{contentType: kind, body: body}}, nil
}

// mediaType is mime.ParseMediaType, which is slow, past what nearly all send.
func mediaType(contentType string) (kind string, params map[string]string, err error) {
	switch contentType {
	case "", "application/json":
		return contentType, nil, nil
	}
	return mime.ParseMediaType(contentType)
}

// readable refuses what is no JSON text. What is one and bad in itself (names
// given twice, say) is taken, and becomes a dead letter with its reason.
func readable(body []byte) error {
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	if json.Valid(body) {
		return nil
	}
	var first json.RawMessage
	d := json.NewDecoder(bytes.NewReader(body))
	if err := d.Decode(&first); err != nil {
		return answer(http.StatusBadRequest, "the body is no JSON: %v", err)
	}
	return answer(http.StatusBadRequest, "something follows the JSON at byte %d; several documents are application/x-ndjson", d.InputOffset())
}

// files takes the files of a multipart body (RFC 7578). Fields beside them are
// passed over.
func files(body []byte, boundary string, s *stay) (parts []part, err error) {
	if boundary == "" {
		return nil, answer(http.StatusBadRequest, "a multipart body without a boundary")
	}
	if s.take(int64(len(body))) != nil { // the parts are copies
		return nil, tooMany("too much is being received", time.Second)
	}
	cut := answer(http.StatusBadRequest, "the multipart body cannot be read: it is cut short, or has another boundary")
	if end := []byte("--" + boundary + "--"); !bytes.HasPrefix(body, end) && !bytes.Contains(body, append([]byte("\n"), end...)) {
		return nil, cut // the reader does not always miss it
	}
	r := multipart.NewReader(bytes.NewReader(body), boundary)
	for n := 0; ; n++ {
		p, err := r.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, cut
		}
		if n >= maxParts {
			return nil, answer(http.StatusRequestEntityTooLarge, "more than %d parts", maxParts)
		}
		name := p.FileName()
		if name == "" {
			continue
		}
		if !printableName(name) {
			return nil, answer(http.StatusBadRequest, "a file's name holds control characters, or is longer than %d bytes", maxName)
		}
		b, err := io.ReadAll(p)
		if err != nil {
			return nil, cut
		}
		if len(b) == 0 {
			return nil, answer(http.StatusBadRequest, "file %q is empty", name)
		}
		kind, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type"))
		parts = append(parts, part{contentType: kind, name: name, body: b})
	}
	if len(parts) == 0 {
		return nil, answer(http.StatusBadRequest, "the multipart body holds no file")
	}
	return parts, nil
}

func printableName(s string) bool {
	return len(s) <= maxName && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || 0x7f <= r && r < 0xa0 })
}

// form makes one JSON object of a form's fields, in their order; a name that
// comes several times holds a list.
func form(body string, s *stay) ([]part, error) {
	if s.take(4*int64(len(body))) != nil { // unescaped, and as JSON
		return nil, tooMany("too much is being received", time.Second)
	}
	var names []string
	values := map[string][]string{}
	for pair := range strings.SplitSeq(body, "&") {
		if pair == "" {
			continue
		}
		k, v, _ := strings.Cut(pair, "=")
		name, ok := unescape(k)
		value, ok2 := unescape(v)
		if !ok || !ok2 {
			return nil, answer(http.StatusBadRequest, "the form cannot be read: it is not UTF-8, or a %% is not followed by two hex digits")
		}
		if values[name] == nil {
			if names = append(names, name); len(names) > maxFields {
				return nil, answer(http.StatusRequestEntityTooLarge, "more than %d fields", maxFields)
			}
		}
		values[name] = append(values[name], value)
	}
	if len(names) == 0 {
		return nil, answer(http.StatusBadRequest, "the form is empty")
	}
	var b []byte
	for i, name := range names {
		b = append(b, "{,"[min(i, 1)])
		b = append(ingest.AppendString(b, []byte(name)), ':')
		vs := values[name]
		if len(vs) == 1 {
			b = ingest.AppendString(b, []byte(vs[0]))
			continue
		}
		for j, v := range vs {
			b = append(b, "[,"[min(j, 1)])
			b = ingest.AppendString(b, []byte(v))
		}
		b = append(b, ']')
	}
	return []part{{contentType: "application/json", body: append(b, '}')}}, nil
}

// unescape is a name or value of a form; false where it is none.
func unescape(s string) (string, bool) {
	out, err := url.QueryUnescape(s)
	return out, err == nil && utf8.ValidString(out)
}

// bare is the event of a GET or DELETE without a body: its query is a form. A
// signature would cover none of that, so such requests cannot be signed.
func bare(query, suffix string) ([]part, error) {
	switch {
	case query != "":
		return form(query, &stay{room: &room{most: int64(8*len(query) + 8)}})
	case suffix != "":
		return []part{{contentType: "application/json", body: []byte("{}")}}, nil
	}
	return nil, answer(http.StatusBadRequest, "the body is empty")
}
