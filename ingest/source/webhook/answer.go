package webhook

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"encoding/xml"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// say writes an answer of ours, as JSON or, where the sender prefers it, as
// XML, compressed where it asks for that.
func say(w http.ResponseWriter, r *http.Request, status int, what map[string]any) error {
	var b bytes.Buffer
	kind := "application/json"
	if prefersXML(r.Header.Values("Accept")) {
		kind = "application/xml"
		writeXML(&b, what)
	} else {
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(what); err != nil {
			return err
		}
	}
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Add("Vary", "Accept, Accept-Encoding")
	out := b.Bytes()
	if packed, coding := pack(out, r.Header.Values("Accept-Encoding")); coding != "" {
		h.Set("Content-Encoding", coding)
		out = packed
	}
	h.Set("Content-Length", strconv.Itoa(len(out)))
	w.WriteHeader(status)
	_, _ = w.Write(out) // a sender that left asks again
	return nil
}

// pack compresses an answer by what is accepted, gzip first.
func pack(b []byte, accepted []string) ([]byte, string) {
	if len(accepted) == 0 {
		return nil, ""
	}
	q := weights(accepted)
	var out bytes.Buffer
	var z io.WriteCloser
	coding := ""
	switch {
	case q["gzip"] > 0 && q["gzip"] >= q["deflate"]:
		coding, z = "gzip", gzip.NewWriter(&out)
	case q["deflate"] > 0:
		coding, z = "deflate", zlib.NewWriter(&out)
	default:
		return nil, ""
	}
	if _, err := z.Write(b); err != nil || z.Close() != nil || out.Len() >= len(b) {
		return nil, ""
	}
	return out.Bytes(), coding
}

// weights reads a list of weighted words (RFC 9110, 12.4.2). At most 32 count.
func weights(lines []string) map[string]float64 {
	out := map[string]float64{}
	for _, line := range lines {
		for one := range strings.SplitSeq(line, ",") {
			if len(out) == 32 {
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
	q := weights(accept)
	x := max(q["application/xml"], q["text/xml"])
	return x > 0 && x > q["application/json"] && (x > q["*/*"] || q["application/json"] == 0)
}

// writeXML writes a flat answer: <answer><arrival>…</arrival></answer>.
func writeXML(b *bytes.Buffer, what map[string]any) {
	b.WriteString(xml.Header + "<answer>")
	one := func(name, text string) {
		b.WriteString("<" + name + ">")
		_ = xml.EscapeText(b, []byte(text)) // a buffer takes all
		b.WriteString("</" + name + ">")
	}
	for _, name := range slices.Sorted(maps.Keys(what)) {
		switch v := what[name].(type) {
		case string:
			one(name, v)
		case []string:
			for _, s := range v {
				one(name, s)
			}
		}
	}
	b.WriteString("</answer>\n")
}
