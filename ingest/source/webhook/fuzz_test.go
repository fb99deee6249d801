package webhook

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"ingestd/ingest"
)

// FuzzBody: no body makes the receiver panic or pass its bounds, and what it
// makes of forms is JSON.
func FuzzBody(f *testing.F) {
	f.Add("application/json", "gzip", `{"a":1}`, "")
	f.Add("multipart/form-data; boundary=b", "", "--b\r\nContent-Disposition: form-data; name=a; filename=a.csv\r\n\r\na;b\r\n--b--\r\n", "")
	f.Add("application/x-www-form-urlencoded", "", "a=1&b=%C3%A4&a=2", "json")
	f.Add("text/csv; charset=latin1", "br", "\x0b\x02\x80hello\x03", "raw")
	f.Add("application/xml", "zstd", "\x28\xb5\x2f\xfd", "")
	f.Fuzz(func(t *testing.T, kind, coding, body, format string) {
		const most = 4096
		r := &room{most: 1 << 20}
		s := &stay{room: r}
		out, err := decode([]byte(body), []string{coding}, most, s)
		if err != nil {
			return
		}
		if coding != "" && len(out) > max(most, len(body)) {
			t.Fatalf("%d bytes", len(out))
		}
		parts, err := split(kind, out, format, s)
		if err == nil {
			for _, p := range parts {
				if len(p.body) == 0 || !utf8.ValidString(p.name) {
					t.Fatalf("%+v", p)
				}
			}
			if strings.HasPrefix(kind, "application/x-www-form-urlencoded") && parts[0].contentType == "application/json" && !json.Valid(parts[0].body) {
				t.Fatalf("%s", parts[0].body)
			}
		}
		s.leave()
		if r.used.Load() != 0 {
			t.Fatalf("%d bytes are not given back", r.used.Load())
		}
	})
}

// FuzzHead: a head is what encoding/json reads, whatever a request says.
func FuzzHead(f *testing.F) {
	f.Add("/a%20b", "a=1&token=x", "X-A", "b\xe4\x01", "name.csv", "id-1")
	f.Fuzz(func(t *testing.T, suffix, query, name, value, file, id string) {
		h := http.Header{"X-Signature": {"hush"}}
		if name != "" && !strings.ContainsAny(name, "\"\\") && utf8.ValidString(name) && strings.IndexFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f }) < 0 {
			h.Add(name, value)
			h.Add(name, value)
		}
		at := time.Unix(1_700_000_000, 123456789).UTC()
		e := &ingest.Event{At: at, Method: "POST", Suffix: plain(suffix), Query: queryKept(query), Remote: "::1", ID: id}
		b := appendHead(nil, e, part{contentType: "a/b", name: file}, h, "x-mine", []mark{{1}, {2}})
		var got ingest.Event
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if got.Suffix != plain(suffix) || got.Name != plain(file) || got.ID != plain(id) || !got.At.Equal(at) || len(got.Marks) != 2 || got.Marks[1][0] != 2 {
			t.Fatalf("%s", b)
		}
		want := headersKept(h, "x-mine")
		if len(got.Header) != len(want) {
			t.Fatalf("%v, %v", got.Header, want)
		}
		for k, v := range want {
			if got.Header[k] != v {
				t.Fatalf("%q: %q, not %q", k, got.Header[k], v)
			}
		}
	})
}

// FuzzAnswer: what we say is JSON, and no Accept makes us fail.
func FuzzAnswer(f *testing.F) {
	f.Add("text/xml;q=0.9, */*", "gzip;q=1, deflate", "a \"reason\"\n")
	f.Fuzz(func(t *testing.T, accept, coding, reason string) {
		prefersXML([]string{accept})
		preferredCoding([]string{coding})
		if b := appendJSON(nil, []line{{name: "error", values: []string{reason}}}); !json.Valid(b) {
			t.Fatalf("%s", b)
		}
	})
}
