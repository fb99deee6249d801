package httpapi

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"
)

func answerOf(body []byte) *http.Response {
	return &http.Response{StatusCode: 207, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body))}
}

func reader(t testing.TB, r Results) *itemReader {
	t.Helper()
	x, err := newItemReader(&r)
	if err != nil {
		t.Fatal(err)
	}
	x.taken = func(st int) bool { return st/100 == 2 }
	return x
}

// FuzzResults: whatever a target answers, each record gets one result with a
// status that is one or words that are clean and short.
func FuzzResults(f *testing.F) {
	for _, s := range []string{
		`{"results":[{"status":200},{"status":"422 x","error":"no"},{"status":503,"index":0}]}`, `[]`, `{"results":{"status":1}}`, `{"results":null}`,
		`{"a":{"results":[]},"results":[1,[2],{"status":{"status":200}}]}`, `<html>`, ``, `[[[[`, `{"results":[{"status":200},`, "{\"results\":[{\"status\":400,\"error\":\"\\u0000\\ud800 s3cret\xff\"}]}",
	} {
		f.Add([]byte(s), uint16(3), false)
		f.Add([]byte(s), uint16(1), true)
	}
	red := newRedactor([]string{"s3cret"})
	plain, index := reader(f, Results{Path: "results"}), reader(f, Results{Path: "results", Index: "index"})
	top := reader(f, Results{})
	f.Fuzz(func(t *testing.T, body []byte, n uint16, byIndex bool) {
		n = n%500 + 1
		x := plain
		if byIndex {
			x = index
		}
		for _, x := range []*itemReader{x, top} {
			head, l, err := x.read(answerOf(body), int(n), red)
			if (l == nil) != (err != nil) || strings.Contains(head, "s3cret") || len(head) > keptAnswer {
				t.Fatalf("%q, %v, %v", head, l, err)
			}
			if l == nil || l.why != "" {
				continue
			}
			if len(l.items) != int(n) {
				t.Fatalf("%d results for %d records", len(l.items), n)
			}
			for _, it := range l.items {
				if it.status != 0 && (it.status < 100 || it.status > 599) || it.status == 0 && it.text == "" || len(it.text) > keptAnswer ||
					!utf8.ValidString(it.text) || strings.Contains(it.text, "s3cret") {
					t.Fatalf("%+v", it)
				}
			}
		}
	})
}

// However many reasons there are, what is kept of them is bounded.
func TestReasonsAreBounded(t *testing.T) {
	if a, b := keptText(longTexts), keptText(longTexts+1); a != keptAnswer || b != shortText {
		t.Errorf("%d, then %d bytes of a reason are kept", a, b)
	}
}

// BenchmarkResults reads the answer to 500 records of which 7 were refused.
func BenchmarkResults(b *testing.B) {
	var body bytes.Buffer
	body.WriteString(`{"results":[`)
	for i := range 500 {
		if i > 0 {
			body.WriteByte(',')
		}
		if i%71 == 3 {
			fmt.Fprintf(&body, `{"id":"order-%06d","status":422,"message":"quantity must not be negative"}`, i)
		} else {
			fmt.Fprintf(&body, `{"id":"order-%06d","status":201}`, i)
		}
	}
	body.WriteString(`]}`)
	x, red := reader(b, Results{Path: "results", Error: "message"}), newRedactor(nil)
	b.SetBytes(int64(body.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if _, l, err := x.read(answerOf(body.Bytes()), 500, red); err != nil || l.why != "" {
			b.Fatal(err)
		}
	}
}
