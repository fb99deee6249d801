package webhook

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// A statusError is an answer to a request that is not taken. What it says is
// for the sender, and holds nothing that he did not send.
type statusError struct {
	status int
	reason string
	header http.Header
}

func (e *statusError) Error() string { return e.reason }

func answer(status int, format string, args ...any) *statusError {
	return &statusError{status: status, reason: fmt.Sprintf(format, args...)}
}

// maxParts bounds the files of one multipart body, maxFields the fields of a
// form.
const (
	maxParts  = 100
	maxFields = 1000
)

// decode takes off what Content-Encoding (RFC 9110, 8.4) says was put on:
// one layer, within `most` bytes.
func decode(body []byte, encodings []string, most int64) ([]byte, error) {
	var codings []string
	for _, line := range encodings {
		for c := range strings.SplitSeq(line, ",") {
			if c = strings.ToLower(strings.TrimSpace(c)); c != "" && c != "identity" {
				codings = append(codings, c)
			}
		}
	}
	if len(codings) == 0 {
		return body, nil
	}
	if len(codings) > 1 {
		return nil, answer(http.StatusUnsupportedMediaType, "more than one Content-Encoding")
	}
	var r io.Reader
	var err error
	in := bytes.NewReader(body)
	switch codings[0] {
	case "gzip", "x-gzip":
		r, err = gzip.NewReader(in)
	case "deflate":
		// RFC 9110 means zlib; some senders mean bare deflate, which has no
		// header that would tell them apart from a broken one.
		r, err = zlib.NewReader(in)
	case "br":
		r = brotli.NewReader(in)
	case "zstd":
		var z *zstd.Decoder
		z, err = zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(uint64(most)+1<<20), zstd.WithDecoderMaxWindow(8<<20))
		if err == nil {
			defer z.Close()
			r = z
		}
	default:
		return nil, answer(http.StatusUnsupportedMediaType, "Content-Encoding %.40q is none of gzip, deflate, br, zstd", codings[0])
	}
	if err != nil {
		return nil, answer(http.StatusBadRequest, "the body is no %s", codings[0])
	}
	out, err := io.ReadAll(io.LimitReader(r, most+1))
	switch {
	case int64(len(out)) > most || errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return nil, answer(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes when it is decoded", most)
	case err != nil:
		return nil, answer(http.StatusBadRequest, "the body is no proper %s", codings[0])
	}
	if in.Len() > 0 && codings[0] != "br" {
		return nil, answer(http.StatusBadRequest, "something follows the %s body", codings[0])
	}
	return out, nil
}

// A part is what becomes one event.
type part struct {
	contentType string
	name        string
	body        []byte
}

// The media types that a body may have where the format is not fixed.
var textual = []string{
	"application/json", "text/json", "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines",
	"application/xml", "text/xml", "text/csv", "application/csv",
}

// split makes events of a body: one, or one for each file of a multipart body.
// Where fixed is set the pipeline's format decides what a body is, not its
// type.
func split(contentType string, body []byte, fixed bool) ([]part, error) {
	kind, params, err := mime.ParseMediaType(contentType)
	if contentType != "" && err != nil && !fixed {
		return nil, answer(http.StatusUnsupportedMediaType, "its Content-Type cannot be read")
	}
	if charset := strings.ToLower(params["charset"]); !fixed && charset != "" && !slices.Contains([]string{"utf-8", "utf8", "us-ascii"}, charset) &&
		!strings.HasSuffix(kind, "xml") && kind != "text/csv" {
		return nil, answer(http.StatusUnsupportedMediaType, "charset %.40q: send UTF-8", charset)
	}
	switch {
	case kind == "multipart/form-data" || kind == "multipart/mixed":
		return files(body, params["boundary"])
	case kind == "application/x-www-form-urlencoded" && !fixed:
		return form(string(body))
	case fixed:
	case slices.Contains(textual, kind) || strings.HasSuffix(kind, "+json") || strings.HasSuffix(kind, "+xml"):
	case kind == "":
		return nil, answer(http.StatusUnsupportedMediaType, "it has no Content-Type")
	default:
		return nil, answer(http.StatusUnsupportedMediaType, "Content-Type %.60q is none of JSON, NDJSON, XML, CSV, form, multipart files", kind)
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, answer(http.StatusBadRequest, "the body is empty")
	}
	if strings.HasSuffix(kind, "json") && !strings.Contains(kind, "ndjson") && kind != "application/jsonl" {
		if err := readable(body); err != nil {
			return nil, err
		}
	}
	return []part{{contentType: kind, body: body}}, nil
}

// readable refuses what is no JSON text. What is one and bad in itself (names
// given twice, too deep) is taken, and becomes a dead letter with its reason.
func readable(body []byte) error {
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
func files(body []byte, boundary string) (parts []part, err error) {
	if boundary == "" {
		return nil, answer(http.StatusBadRequest, "a multipart body without a boundary")
	}
	r := multipart.NewReader(bytes.NewReader(body), boundary)
	for n := 0; ; n++ {
		p, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, answer(http.StatusBadRequest, "the multipart body cannot be read: it is cut short or has another boundary")
		}
		if n >= maxParts {
			return nil, answer(http.StatusRequestEntityTooLarge, "more than %d parts", maxParts)
		}
		b, err := io.ReadAll(p)
		if err != nil {
			return nil, answer(http.StatusBadRequest, "the multipart body cannot be read: it is cut short")
		}
		if p.FileName() == "" {
			continue
		}
		if !printableName(p.FileName()) {
			return nil, answer(http.StatusBadRequest, "a file's name holds control characters, or is too long")
		}
		kind, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type"))
		parts = append(parts, part{contentType: kind, name: p.FileName(), body: b})
	}
	if len(parts) == 0 {
		return nil, answer(http.StatusBadRequest, "the multipart body holds no file")
	}
	return parts, nil
}

func printableName(s string) bool {
	return len(s) <= 255 && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// form makes one JSON object of a form's fields, in their order; a name that
// comes several times holds a list.
func form(body string) ([]part, error) {
	if body == "" {
		return nil, answer(http.StatusBadRequest, "the body is empty")
	}
	var names []string
	values := map[string][]string{}
	for pair := range strings.SplitSeq(body, "&") {
		if pair == "" {
			continue
		}
		k, v, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(k)
		value, err2 := url.QueryUnescape(v)
		if err != nil || err2 != nil {
			return nil, answer(http.StatusBadRequest, "the form cannot be read: a %% is not followed by two hex digits")
		}
		if !utf8.ValidString(name) || !utf8.ValidString(value) {
			return nil, answer(http.StatusBadRequest, "the form is not UTF-8")
		}
		if values[name] == nil {
			if names = append(names, name); len(names) > maxFields {
				return nil, answer(http.StatusRequestEntityTooLarge, "more than %d fields", maxFields)
			}
		}
		values[name] = append(values[name], value)
	}
	var b bytes.Buffer
	for i, name := range names {
		b.WriteByte("{,"[min(i, 1)])
		appendJSON(&b, name)
		b.WriteByte(':')
		if vs := values[name]; len(vs) == 1 {
			appendJSON(&b, vs[0])
		} else {
			appendJSON(&b, vs)
		}
	}
	if len(names) == 0 {
		return nil, answer(http.StatusBadRequest, "the form is empty")
	}
	b.WriteByte('}')
	return []part{{contentType: "application/json", body: b.Bytes()}}, nil
}

func appendJSON(b *bytes.Buffer, v any) {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // strings: a buffer takes all, and invalid UTF-8 is replaced
	b.Truncate(b.Len() - 1)
}
