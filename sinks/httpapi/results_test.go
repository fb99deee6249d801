package httpapi_test

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"ingestd/ingest"
	"ingestd/sinks/httpapi"
)

// outcome names what Send says of each record: d delivered, h had, x refused,
// a again, ? unknown.
func outcome(n int, a ingest.Answer, err error) string {
	var m *ingest.Mixed
	switch {
	case errors.As(err, &m):
		var b strings.Builder
		for _, r := range m.Records {
			b.WriteByte("?dhxa"[r.Fate])
		}
		return b.String()
	case err != nil:
		return kind(err)
	case a.Had:
		return strings.Repeat("h", n)
	}
	return strings.Repeat("d", n)
}

func TestResults(t *testing.T) {
	dots := httpapi.Results{Path: "data.items", Status: "index.status", Error: "index.error.reason"}
	plain := httpapi.Results{Path: "results", Error: "message"}
	index := httpapi.Results{Path: "results", Index: "i"}
	for _, c := range []struct {
		name   string
		r      httpapi.Results
		status int
		body   string
		want   string
		text   string // of the first record that was not taken
	}{
		{"all", plain, 207, `{"results":[{"status":200},{"status":201},{"status":"204"}]}`, "ddd", ""},
		{"each by its own", plain, 200, `{"x":[1,{"y":2}],"results":[{"status":200},{"status":422,"message":"no \"qty\""},{"status":503}]}`, "dxa", `no "qty"`},
		{"had", plain, 207, `{"results":[{"status":409},{"status":409},{"status":409}]}`, "hhh", ""},
		{"some had", plain, 207, `{"results":[{"status":200},{"status":409},{"status":200}]}`, "dhd", ""},
		{"weather", plain, 207, `{"results":[{"status":408},{"status":425},{"status":429}]}`, "aaa", `{"status":408}`},
		{"texts", plain, 207, `{"results":[{"status":" 200 OK"},{"status":"HTTP/1.1 404 Not Found"},{"status":"500 oh"}]}`, "dxa", `{"status":"HTTP/1.1 404 Not Found"}`},
		{"refusals", plain, 207, `{"results":[{"status":401},{"status":302},{"status":413}]}`, "xxx", `{"status":401}`},
		{"all at the door", plain, 207, `{"results":[{"status":401},{"status":404},{"status":302}]}`, "xxx", `{"status":401}`},
		{"reason is no text", plain, 207, `{"results":[{"status":200},{"status":200},{"status":400,"message":{"a": [1]}}]}`, "ddx", `{"a": [1]}`},
		{"fewer", plain, 207, `{"results":[{"status":200},{"status":400}]}`, "dx?", `{"status":400}`},
		{"none", plain, 207, `{"results":[]}`, "???", "the answer holds 0 results for 3 records"},
		{"more", plain, 207, `{"results":[{"status":200},{"status":400},{"status":200},{"status":500},{}]}`, "dxd", `{"status":400}`},
		{"no statuses", plain, 207, `{"results":[{"status":"ok"},{"status":true},{"message":"m"}]}`, "???", `its status is no HTTP status: "ok"`},
		{"odd statuses", plain, 207, `{"results":[{"status":2e2},{"status":99},{"status":600}]}`, "???", "its status is no HTTP status: 2e2"},
		{"no objects", plain, 207, `{"results":[200,null,"x"]}`, "???", "it has no status: 200"},
		{"nested", dots, 200, `{"data":{"n":1,"items":[{"index":{"status":201}},{"index":{"status":400,"error":{"reason":"bad"}}},{"create":{"status":201}}]}}`, "dx?", "bad"},
		{"top", httpapi.Results{}, 207, `[{"status":200},{"status":400,"error":"e"},{"status":200}]`, "dxd", "e"},
		{"by index", index, 207, `{"results":[{"i":2,"status":400,"error":"e"},{"i":0,"status":200},{"i":"1","status":200}]}`, "ddx", "e"},
		{"by index, strange ones", index, 207, `{"results":[{"i":3,"status":400},{"i":-1,"status":400},{"i":1.5,"status":400},{"status":400},{"i":1,"status":200}]}`, "?d?", "the answer holds 5 results for 3 records"},
		{"by index, twice", index, 207, `{"results":[{"i":0,"status":200},{"i":0,"status":400},{"i":1,"status":200},{"i":1,"status":200},{"i":2,"status":200}]}`, "?dd", "there are two results for it, with status 200 and 400"},
		{"members twice", plain, 207, `{"results":[{"status":200,"status":400},{"status":200},{"status":200}],"results":[]}`, "ddd", ""},
		{"broken behind it", plain, 207, `{"results":[{"status":200},{"status":200},{"status":200}],,,`, "ddd", ""},
		{"broken in it", plain, 207, `{"results":[{"status":200},{"status":400},`, "retry", ""},
		{"no content", plain, 204, ``, "ddd", ""},
		{"a refusal as a whole", plain, 400, `{"results":[{"status":200}]}`, "reject", ""},
		{"weather as a whole", plain, 503, `{"results":[{"status":200}]}`, "retry", ""},
		{"deep", plain, 207, `{"results":` + strings.Repeat("[", 20_000), "retry", ""},
		{"no list", plain, 200, `{"result":[{"status":200}]}`, "retry", ""},
		{"no list but a text", plain, 200, `{"results":"none"}`, "retry", ""},
		{"a page", plain, 200, `<html>log in`, "retry", ""},
		{"empty", plain, 200, ``, "retry", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := 0
			srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if n++; n == 1 { // it has sent a list before
					io.WriteString(w, warm(c.r))
					return
				}
				w.WriteHeader(c.status)
				io.WriteString(w, c.body)
			})
			s := newSink(t, httpapi.Options{URL: srv.URL, Results: &c.r})
			r := request()
			r.Records = 3
			if a, err := s.Send(t.Context(), r); err != nil || a.Had {
				t.Fatalf("the first: %+v, %v", a, err)
			}
			a, err := s.Send(t.Context(), r)
			if got := outcome(3, a, err); got != c.want {
				t.Fatalf("%s, %v; want %s", got, err, c.want)
			}
			var m *ingest.Mixed
			if !errors.As(err, &m) || c.text == "" {
				return
			}
			for _, rec := range m.Records {
				if rec.Fate == ingest.FateDelivered || rec.Fate == ingest.FateHad {
					continue
				}
				if rec.Body != c.text || rec.Reason == "" || (rec.Fate == ingest.FateUnknown) != (rec.Reason == "no result") {
					t.Errorf("%+v, want %q", rec, c.text)
				}
				break
			}
		})
	}
}

// warm is an answer in which all of three records were taken.
func warm(r httpapi.Results) string {
	one := func(i int) string {
		if r.Status == "index.status" {
			return `{"index":{"status":200}}`
		}
		return fmt.Sprintf(`{"status":200,"i":%d}`, i)
	}
	text := "[" + one(0) + "," + one(1) + "," + one(2) + "]"
	switch r.Path {
	case "":
		return text
	case "data.items":
		return `{"data":{"items":` + text + `}}`
	}
	return `{"results":` + text + `}`
}

// Before a target has sent a list, an answer without one says that the sink is
// set up wrongly; so does one that refuses all at the door. Nothing is dead.
func TestResultsOfAWrongSink(t *testing.T) {
	for _, body := range []string{`{}`, ``, `<html>`, `{"results":{}}`, `{"results":[{"status":401},{"status":401}]}`, `{"results":[{"status":404},{"status":302}]}`} {
		srv := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, body) })
		s := newSink(t, httpapi.Options{URL: srv.URL, Results: &httpapi.Results{Path: "results"}})
		if _, err := s.Send(t.Context(), request()); kind(err) != "halt" {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// One record may be answered by one object, without a list.
func TestResultOfOneRecord(t *testing.T) {
	for body, want := range map[string]string{
		`{"results":{"status":422,"error":"bad"}}`: "x", `{"results":{"status":200}}`: "d", `{"results":[{"status":500}]}`: "a", `{"results":{}}`: "?",
	} {
		srv := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, body) })
		s := newSink(t, httpapi.Options{URL: srv.URL, Results: &httpapi.Results{Path: "results"}})
		r := request()
		r.Records = 1
		a, err := s.Send(t.Context(), r)
		if got := outcome(1, a, err); got != want {
			t.Errorf("%s: %s, %v; want %s", body, got, err, want)
		}
	}
}

// What is read of an answer is bounded by the records of the request: 300 bytes
// a record fit however many there are; past the bound records have no result.
func TestResultsAreBounded(t *testing.T) {
	for _, c := range []struct {
		results, long, records int
		unknown                string // why the last record has no result
	}{
		{5000, 300, 5000, ""},
		{500, 2100, 500, ""},
		{500, 5000, 500, "the answer is longer than 2072576 bytes, of which the first hold 412 results for 500 records"},
		{10, 100_000, 10, ""},
		{11, 100_000, 10, ""},
	} {
		one := fmt.Sprintf(`{"status":422,"error":"%s"}`, strings.Repeat("x", c.long))
		body := `{"results":[` + strings.Repeat(one+",", c.results-1) + one + `]}`
		srv := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, body) })
		s := newSink(t, httpapi.Options{URL: srv.URL, Results: &httpapi.Results{Path: "results"}})
		r := request()
		r.Records = c.records
		_, err := s.Send(t.Context(), r)
		var m *ingest.Mixed
		if !errors.As(err, &m) {
			t.Fatal(err)
		}
		first, last := m.Records[0], m.Records[c.records-1]
		if first.Fate != ingest.FateRefused || len(first.Body) != min(c.long, 2048) || (last.Fate == ingest.FateUnknown) != (c.unknown != "") {
			t.Errorf("%+v: %.80v, %.80v", c, first, last)
		}
		if c.unknown != "" && last.Body != c.unknown {
			t.Errorf("%+v", last)
		}
	}
}

// An answer that breaks off says nothing for certain, whatever its status was.
func TestResultsBreakOff(t *testing.T) {
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		io.WriteString(w, `{"results":[{"status":200},`)
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	s := newSink(t, httpapi.Options{URL: srv.URL, Results: &httpapi.Results{Path: "results"}})
	_, err := s.Send(t.Context(), request())
	if kind(err) != "retry" || !strings.Contains(err.Error(), "broke off") || ingest.AnswerOf(err).Status != 200 {
		t.Error(err)
	}
}

// Silence that is asked for beside results holds for those that see it.
func TestResultsAndRetryAfter(t *testing.T) {
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "120")
		w.Header().Set("Content-Encoding", "gzip")
		w.WriteHeader(207)
		z := gzip.NewWriter(w)
		io.WriteString(z, `{"results":[{"status":200},{"status":429,"error":"hush s3cret-token"}]}`)
		z.Close()
	})
	s := newSink(t, httpapi.Options{URL: srv.URL, Results: &httpapi.Results{Path: "results"}, Secrets: []ingest.Secret{ingest.NewSecret("s3cret-token")}})
	a, err := s.Send(t.Context(), request())
	if got := outcome(2, a, err); got != "da" {
		t.Fatal(got, err)
	}
	var ra *ingest.RetryAfter
	if !errors.As(err, &ra) || time.Until(ra.At) < 100*time.Second {
		t.Errorf("%v", ra)
	}
	if got := fmt.Sprintf("%+v", err.(*ingest.Mixed).Records); strings.Contains(got, "s3cret") || !strings.Contains(got, "hush <secret>") {
		t.Error(got)
	}
	if strings.Contains(ingest.AnswerOf(err).Body, "s3cret") {
		t.Error(ingest.AnswerOf(err).Body)
	}
}
