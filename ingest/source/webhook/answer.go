package webhook

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"

	"ingestd/ingest"
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

// with adds a header.
func (e *statusError) with(name, value string) *statusError {
	if e.header == nil {
		e.header = http.Header{}
	}
	e.header.Set(name, value)
	return e
}

// after asks to come again later (RFC 9110, 10.2.3): whole seconds, at least one.
func (e *statusError) after(d time.Duration) *statusError {
	return e.with("Retry-After", strconv.Itoa(max(1, int((d+time.Second-1)/time.Second))))
}

// A line of an answer: a name and what it holds.
type line struct {
	name   string
	values []string
	list   bool // of several values, whatever their number
}

// Headers of every answer of ours. They are only read.
var (
	typeJSON = []string{"application/json"}
	typeXML  = []string{"application/xml"}
	noSniff  = []string{"nosniff"}
	vary     = []string{"Accept, Accept-Encoding"}
)

// sayStored answers with the name of an event, or of those of one request.
func sayStored(w http.ResponseWriter, r *http.Request, status int, ref ingest.Ref, count int) error {
	out := []line{{name: "arrival", values: []string{ref.String()}}}
	if count > 1 {
		all := line{name: "arrivals", list: true}
		for range count {
			all.values = append(all.values, ref.String())
			ref.Event++
		}
		out = append(out, all)
	}
	return say(w, r, status, out...)
}

// say writes an answer of ours, as JSON or, where the sender prefers it, as
// XML, compressed where it asks for that.
func say(w http.ResponseWriter, r *http.Request, status int, what ...line) error {
	var few [128]byte
	out, h := few[:0], w.Header()
	if prefersXML(r.Header["Accept"]) {
		out, h["Content-Type"] = appendXML(out, what), typeXML
	} else {
		out, h["Content-Type"] = appendJSON(out, what), typeJSON
	}
	h["X-Content-Type-Options"] = noSniff
	h["Vary"] = vary
	if coding := preferredCoding(r.Header["Accept-Encoding"]); coding != "" {
		packed, err := pack(out, coding)
		if err != nil {
			return err
		}
		out = packed
		h.Set("Content-Encoding", coding)
	}
	h["Content-Length"] = []string{strconv.Itoa(len(out))}
	w.WriteHeader(status)
	_, _ = w.Write(out) // a sender that left asks again
	return nil
}

func appendJSON(b []byte, what []line) []byte {
	text := func(s string) { b = ingest.AppendString(b, []byte(strings.ToValidUTF8(s, "\uFFFD"))) }
	for i, l := range what {
		b = append(b, "{,"[min(i, 1)])
		text(l.name)
		b = append(b, ':')
		if !l.list {
			text(l.values[0])
			continue
		}
		for j, v := range l.values {
			b = append(b, "[,"[min(j, 1)])
			text(v)
		}
		b = append(b, ']')
	}
	return append(b, '}', '\n')
}

// appendXML writes <answer><arrival>…</arrival></answer>.
func appendXML(b []byte, what []line) []byte {
	var out bytes.Buffer
	out.WriteString(xml.Header + "<answer>")
	for _, l := range what {
		for _, v := range l.values {
			out.WriteString("<" + l.name + ">")
			_ = xml.EscapeText(&out, []byte(v)) // a buffer takes all
			out.WriteString("</" + l.name + ">")
		}
	}
	out.WriteString("</answer>\n")
	return append(b, out.Bytes()...)
}

// pack compresses an answer. It is short: what needs no tables is cheapest.
func pack(b []byte, coding string) ([]byte, error) {
	var out bytes.Buffer
	var z io.WriteCloser
	var err error
	if coding == "gzip" {
		z, err = gzip.NewWriterLevel(&out, gzip.StatelessCompression)
	} else {
		z, err = zlib.NewWriterLevel(&out, zlib.BestSpeed)
	}
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(b); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// preferredCoding is gzip or deflate where one of them is accepted, gzip first.
func preferredCoding(accepted []string) string {
	if len(accepted) == 0 {
		return ""
	}
	q := weights(accepted)
	switch {
	case q["gzip"] > 0 && q["gzip"] >= q["deflate"]:
		return "gzip"
	case q["deflate"] > 0:
		return "deflate"
	}
	return ""
}

// maxWeights bounds the words of an Accept that count.
const maxWeights = 32

// weights reads a list of weighted words (RFC 9110, 12.4.2).
func weights(lines []string) map[string]float64 {
	out := map[string]float64{}
	for _, line := range lines {
		for one := range strings.SplitSeq(line, ",") {
			if len(out) == maxWeights {
				return out
			}
			word, params, _ := strings.Cut(one, ";")
			q := 1.0
			if _, p, err := mime.ParseMediaType("x/x;" + params); err == nil && p["q"] != "" {
				if f, err := strconv.ParseFloat(p["q"], 64); err == nil && f >= 0 && f <= 1 {
					q = f
				}
			}
			out[strings.ToLower(strings.TrimSpace(word))] = q
		}
	}
	return out
}

func prefersXML(accept []string) bool {
	if !slices.ContainsFunc(accept, func(s string) bool { return strings.Contains(s, "xml") || strings.Contains(s, "XML") }) {
		return false
	}
	q := weights(accept)
	x, j := max(q["application/xml"], q["text/xml"]), q["application/json"]
	return x > 0 && x > j && (j > 0 || x >= q["*/*"])
}
