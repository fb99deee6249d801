package webhook_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/source/webhook"
)

func TestReceive(t *testing.T) {
	s := open(t, githubHook(), webhook.ServerOptions{})
	a := signed(`{"a":1}`, "d-1")
	a.path = "/hooks/orders/eu/42%20b?x=1&token=hush&y=%C3%A4"
	a.header["X-Twice"] = []string{"a", "b\xe4"}
	a.header.Set("Authorization", "Bearer hush")
	a.header.Set("Cookie", "hush")
	a.header.Set("X-Gitlab-Token", "hush")
	got := s.send(t, a)
	if got.status != 202 || got.body != `{"arrival":"7.1"}`+"\n" || got.header.Get("Content-Type") != "application/json" || got.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Fatalf("%+v", got)
	}
	e := s.shelf.head(t, 0)
	if e.Method != "POST" || e.Suffix != "/eu/42%20b" || e.Query != "x=1&y=%C3%A4" || e.Remote != "127.0.0.1" || e.ID != "d-1" || e.ContentType != "application/json" || len(e.Marks) != 2 {
		t.Errorf("%+v", e)
	}
	if e.Header["x-github-event"] != "push" || e.Header["x-twice"] != "a, bä" {
		t.Errorf("headers %v", e.Header)
	}
	if head := string(s.shelf.events[0].Head); strings.Contains(head, "hush") || strings.Contains(head, "sha256=") {
		t.Errorf("a secret is kept: %s", head)
	}
	if time.Since(e.At) > time.Minute || e.At.Location() != time.UTC {
		t.Errorf("at %v", e.At)
	}
}

// TestAnswers is the table of what a sender sees.
func TestAnswers(t *testing.T) {
	const json = `{"a":1}`
	with := func(a asked, pairs ...string) asked {
		for i := 0; i < len(pairs); i += 2 {
			a.header.Set(pairs[i], pairs[i+1])
		}
		return a
	}
	in := func(a asked, method, path string) asked { a.method, a.path = method, path; return a }
	for name, c := range map[string]struct {
		a      asked
		status int
		header string // "Name: value" of the answer
	}{
		"stored":                    {signed(json, ""), 202, ""},
		"another path":              {in(signed(json, ""), "POST", "/hooks/order"), 404, ""},
		"a longer name":             {in(signed(json, ""), "POST", "/hooks/ordersx"), 404, ""},
		"two slashes":               {in(signed(json, ""), "POST", "//hooks/orders"), 404, ""},
		"two slashes behind":        {in(signed(json, ""), "POST", "/hooks/orders//x"), 404, ""},
		"dots":                      {in(signed(json, ""), "POST", "/hooks/orders/../x"), 404, ""},
		"hidden dots":               {in(signed(json, ""), "POST", "/hooks/orders/%2e%2e/x"), 404, ""},
		"a hidden slash":            {in(signed(json, ""), "POST", "/hooks/orders/..%2fx"), 404, ""},
		"a hidden line end":         {in(signed(json, ""), "POST", "/hooks/orders/a%0ab"), 404, ""},
		"a slash behind":            {in(signed(json, ""), "POST", "/hooks/orders/"), 202, ""},
		"GET":                       {in(signed("", ""), "GET", ""), 405, "Allow: POST"},
		"HEAD":                      {in(signed("", ""), "HEAD", ""), 405, "Allow: POST"},
		"OPTIONS":                   {in(signed("", ""), "OPTIONS", ""), 405, "Allow: POST"},
		"TRACE":                     {in(signed("", ""), "TRACE", ""), 405, "Allow: POST"},
		"PUT":                       {in(signed(json, ""), "PUT", ""), 405, "Allow: POST"},
		"no signature":              {asked{body: json}, 401, ""},
		"no signature, odd coding":  {asked{body: json, header: header("Content-Encoding", "x")}, 401, ""},
		"no signature, odd type":    {asked{body: json, header: header("Content-Type", "a/b")}, 401, ""},
		"no signature, no JSON":     {asked{body: "{"}, 401, ""},
		"no body":                   {signed("", ""), 400, ""},
		"blank":                     {signed(" \n", ""), 400, ""},
		"no JSON":                   {signed(`{"a":`, ""), 400, ""},
		"NaN":                       {signed(`{"a":NaN}`, ""), 400, ""},
		"trailing":                  {signed(`{"a":1} x`, ""), 400, ""},
		"two documents":             {signed(`{"a":1}{"a":2}`, ""), 400, ""},
		"two lines of NDJSON":       {with(signed("{\"a\":1}\n{\"a\":2}\n", ""), "Content-Type", "application/x-ndjson"), 202, ""},
		"names given twice":         {signed(`{"a":1,"a":2}`, ""), 202, ""}, // a dead letter with its reason
		"digits":                    {signed(`{"a":12345678901234567890123456789,"b":1e400}`, ""), 202, ""},
		"deep":                      {signed(strings.Repeat("[", 500)+strings.Repeat("]", 500), ""), 202, ""},
		"too deep":                  {signed(strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000), ""), 400, ""},
		"a BOM":                     {signed("\xef\xbb\xbf{}", ""), 202, ""},
		"XML":                       {with(signed("<a/>", ""), "Content-Type", "application/xml; charset=iso-8859-1"), 202, ""},
		"CSV":                       {with(signed("a;b\n", ""), "Content-Type", "text/csv; charset=windows-1252; header=present"), 202, ""},
		"JSON of a kind":            {with(signed("{}", ""), "Content-Type", "application/cloudevents+json; charset=UTF-8"), 202, ""},
		"bad JSON of a kind":        {with(signed("{", ""), "Content-Type", "application/cloudevents+json"), 400, ""},
		"UTF-16":                    {with(signed(json, ""), "Content-Type", "application/json; charset=utf-16"), 415, ""},
		"plain text":                {with(signed(json, ""), "Content-Type", "text/plain"), 415, ""},
		"no type":                   {with(signed(json, ""), "Content-Type", ""), 415, ""},
		"a broken type":             {with(signed(json, ""), "Content-Type", "application/json; charset"), 415, ""},
		"an unknown coding":         {with(signed(json, ""), "Content-Encoding", "compress"), 415, ""},
		"two codings":               {with(signed(json, ""), "Content-Encoding", "gzip, gzip"), 415, ""},
		"no gzip":                   {with(signed(json, ""), "Content-Encoding", "gzip"), 400, ""},
		"identity":                  {with(signed(json, ""), "Content-Encoding", "identity"), 202, ""},
		"the limit":                 {signed(`"`+strings.Repeat("x", 1022)+`"`, ""), 202, ""},
		"past the limit":            {signed(`"`+strings.Repeat("x", 1023)+`"`, ""), 413, "Connection: close"},
		"a form":                    {with(signed("a=1&b=%C3%A4", ""), "Content-Type", "application/x-www-form-urlencoded"), 202, ""},
		"a form with a stray %":     {with(signed("a=%zz", ""), "Content-Type", "application/x-www-form-urlencoded"), 400, ""},
		"a form that is no UTF-8":   {with(signed("a=%ff", ""), "Content-Type", "application/x-www-form-urlencoded"), 400, ""},
		"a form of nothing":         {with(signed("&&", ""), "Content-Type", "application/x-www-form-urlencoded"), 400, ""},
		"multipart, no boundary":    {with(signed("x", ""), "Content-Type", "multipart/form-data"), 400, ""},
		"multipart, nothing":        {with(signed("--b--\r\n", ""), "Content-Type", "multipart/form-data; boundary=b"), 400, ""},
		"multipart, fields only":    {with(signed("--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--b--\r\n", ""), "Content-Type", "multipart/form-data; boundary=b"), 400, ""},
		"multipart, cut":            {with(signed("--b\r\nContent-Disposition: form-data; name=a; filename=a.csv\r\n\r\na;b\r\n", ""), "Content-Type", "multipart/form-data; boundary=b"), 400, ""},
		"multipart, an empty file":  {with(signed("--b\r\nContent-Disposition: form-data; name=a; filename=a.csv\r\n\r\n\r\n--b--\r\n", ""), "Content-Type", "multipart/form-data; boundary=b"), 400, ""},
		"multipart, cut at the end": {with(signed("--b\r\nContent-Disposition: form-data; name=a; filename=a.csv\r\n\r\na;b\r\n--b\r\n", ""), "Content-Type", "multipart/form-data; boundary=b"), 400, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := githubHook()
			h.MaxBody = 1024
			if strings.Contains(name, "deep") {
				h.MaxBody = 1 << 20
			}
			s := open(t, h, webhook.ServerOptions{})
			got := s.send(t, c.a)
			if got.status != c.status {
				t.Fatalf("%d %s, want %d", got.status, got.body, c.status)
			}
			if name, value, ok := strings.Cut(c.header, ": "); ok && got.header.Get(name) != value && !(name == "Connection" && value == "close") {
				t.Errorf("%s: %q", name, got.header.Get(name))
			}
			if stored := len(s.shelf.bodies()); (stored == 1) != (got.status == 202) {
				t.Errorf("%d events are stored", stored)
			}
			if got.status >= 400 && c.a.method != "HEAD" && !strings.Contains(got.body, `{"error":"`) {
				t.Errorf("it says %q", got.body)
			}
		})
	}
}

func TestFilesOfOneRequest(t *testing.T) {
	body := "--b\r\nContent-Disposition: form-data; name=note\r\n\r\nhello\r\n" +
		"--b\r\nContent-Disposition: form-data; name=f; filename=\"a.csv\"\r\nContent-Type: text/csv; charset=utf-8\r\n\r\na;b\r\n1;2\r\n" +
		"--b\r\nContent-Disposition: form-data; name=f; filename=\"../b.xml\"\r\n\r\n<b/>\r\n--b--\r\n"
	s := open(t, githubHook(), webhook.ServerOptions{})
	a := signed(body, "d-1")
	a.header.Set("Content-Type", "multipart/form-data; boundary=b")
	if got := s.send(t, a); got.status != 202 || got.body != `{"arrival":"7.1","arrivals":["7.1","7.2"]}`+"\n" {
		t.Fatalf("%+v", got)
	}
	if e := s.shelf.head(t, 0); e.Name != "a.csv" || e.ContentType != "text/csv" {
		t.Errorf("%+v", e)
	}
	if e := s.shelf.head(t, 1); e.Name != "b.xml" || e.ContentType != "" {
		t.Errorf("%+v", e)
	}
	if got := s.shelf.bodies(); got[0] != "a;b\r\n1;2" || got[1] != "<b/>" {
		t.Errorf("%q", got)
	}
	if got := s.send(t, a); got.status != 200 || got.body != `{"arrival":"7.1","arrivals":["7.1","7.2"]}`+"\n" {
		t.Errorf("again: %+v", got)
	}
	// One of its files died: all are taken again, under new names.
	s.shelf.die(ingest.Ref{Arrival: 7, Event: 2})
	if got := s.send(t, a); got.status != 202 || !strings.Contains(got.body, `"arrival":"7.3"`) {
		t.Errorf("mended: %+v", got)
	}

	one := githubHook()
	one.Sync = true
	s = open(t, one, webhook.ServerOptions{})
	if got := s.send(t, a); got.status != 400 {
		t.Errorf("two files to a sync hook: %+v", got)
	}
	var many strings.Builder
	for range 101 {
		many.WriteString("--b\r\nContent-Disposition: form-data; name=f; filename=a\r\n\r\nx\r\n")
	}
	a = signed(many.String()+"--b--\r\n", "d-2")
	a.header.Set("Content-Type", "multipart/form-data; boundary=b")
	if got := open(t, githubHook(), webhook.ServerOptions{}).send(t, a); got.status != 413 {
		t.Errorf("101 files: %+v", got)
	}
}

func TestForms(t *testing.T) {
	s := open(t, noneHook(), webhook.ServerOptions{})
	s.send(t, asked{body: "b=2&a=1&b=%223%0a&c&%20=+", header: header("Content-Type", "application/x-www-form-urlencoded")})
	if got := s.shelf.bodies(); len(got) != 1 || got[0] != `{"b":["2","\"3\n"],"a":"1","c":""," ":" "}` {
		t.Errorf("%q", got)
	}
	if got := s.send(t, asked{body: strings.Repeat("a=1&", 1001), header: header("Content-Type", "application/x-www-form-urlencoded")}); got.status != 202 {
		t.Errorf("one name 1,001 times: %+v", got)
	}
	var many strings.Builder
	for i := range 1001 {
		many.WriteString("&n" + strings.Repeat("x", i) + "=1")
	}
	if got := s.send(t, asked{body: many.String(), header: header("Content-Type", "application/x-www-form-urlencoded")}); got.status != 413 {
		t.Errorf("1,001 names: %d", got.status)
	}
}

// TestFormatDecides: where the pipeline has a format, a Content-Type that says
// nothing, or something else, keeps nobody out.
func TestFormatDecides(t *testing.T) {
	for _, c := range []struct {
		format, kind, body string
		status             int
	}{
		{"raw", "application/json", "no json", 202},
		{"raw", "", "x", 202},
		{"raw", "application/x-www-form-urlencoded", "a=1", 202},
		{"raw", "text/plain; charset", "x", 202},
		{"csv", "text/plain", "a;b", 202},
		{"json", "text/plain", `{"a":1}`, 202},
		{"json", "text/plain", "{}\n{}", 202},
		{"json", "application/json", `{"a":`, 400},
		{"json", "application/x-www-form-urlencoded", "a=1", 202},
		{"raw", "text/plain", "", 400},
		{"auto", "text/plain", "x", 415},
	} {
		h := noneHook()
		h.Format = c.format
		s := open(t, h, webhook.ServerOptions{})
		if got := s.send(t, asked{body: c.body, header: http.Header{"Content-Type": {c.kind}}}); got.status != c.status {
			t.Errorf("%s, %q, %q: %d %s", c.format, c.kind, c.body, got.status, got.body)
		}
	}
}

// TestBareRequests: a GET or DELETE without a body is its query, unless it would
// have to be signed.
func TestBareRequests(t *testing.T) {
	h := noneHook()
	h.Methods = []string{"GET", "DELETE"}
	s := open(t, h, webhook.ServerOptions{})
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/hooks/orders?a=1&b=%20", 202},
		{"DELETE", "/hooks/orders/42", 202},
		{"DELETE", "/hooks/orders", 400},
		{"HEAD", "/hooks/orders?a=1", 405},
	} {
		if got := s.send(t, asked{method: c.method, path: c.path}); got.status != c.status {
			t.Errorf("%s %s: %+v", c.method, c.path, got)
		}
	}
	if got := s.shelf.bodies(); len(got) != 2 || got[0] != `{"a":"1","b":" "}` || got[1] != "{}" {
		t.Errorf("%q", got)
	}
	h = githubHook()
	h.Methods = []string{"GET"}
	a := signed("", "")
	a.method, a.path = "GET", "/hooks/orders?a=1"
	if got := open(t, h, webhook.ServerOptions{}).send(t, a); got.status != 400 {
		t.Errorf("a signature that covers nothing: %+v", got)
	}
}

func TestOverload(t *testing.T) {
	s := open(t, githubHook(), webhook.ServerOptions{})
	s.shelf.fail(webhook.ErrFull)
	if got := s.send(t, signed("{}", "1")); got.status != 429 || got.header.Get("Retry-After") != "10" {
		t.Errorf("full: %+v", got)
	}
	s.shelf.fail(errors.New("no space left on device"))
	if got := s.send(t, signed("{}", "1")); got.status != 503 || got.header.Get("Retry-After") != "10" || strings.Contains(got.body, "device") {
		t.Errorf("disk: %+v", got)
	}
	if !strings.Contains(s.log.String(), "no space left on device") {
		t.Errorf("not logged: %s", s.log)
	}
	s.shelf.fail(nil)
	if got := s.send(t, signed("{}", "1")); got.status != 202 {
		t.Errorf("after that: %+v", got)
	}

	h := githubHook()
	h.Rate, h.Burst = 0.1, 2
	s = open(t, h, webhook.ServerOptions{})
	for range 20 { // what proves nothing takes nothing from those who do
		if got := s.send(t, asked{body: "{}"}); got.status != 401 {
			t.Fatalf("%+v", got)
		}
	}
	for i, want := range []int{202, 202, 429} {
		got := s.send(t, signed("{}", string(rune('a'+i))))
		if i == 1 {
			want = 200 // the same bytes
		}
		if got.status != want || want == 429 && got.header.Get("Retry-After") != "10" {
			t.Errorf("request %d: %+v", i, got)
		}
	}

	h = noneHook()
	h.Concurrency = 1
	h.Store = &shelf{slow: make(chan struct{})}
	s = open(t, h, webhook.ServerOptions{})
	first := make(chan told, 1)
	go func() {
		got, _ := s.try(asked{body: "1"})
		first <- got
	}()
	for { // until the first one has the place
		got := s.send(t, asked{body: "{", header: header("Content-Type", "application/json")})
		if got.status == 429 {
			if got.header.Get("Retry-After") != "1" {
				t.Errorf("%+v", got)
			}
			break
		}
	}
	close(s.shelf.slow)
	if got := <-first; got.status != 202 {
		t.Errorf("%+v", got)
	}
}

func TestDrain(t *testing.T) {
	s := open(t, noneHook(), webhook.ServerOptions{})
	s.Drain()
	if got := s.send(t, asked{body: "1"}); got.status != 503 || got.header.Get("Retry-After") != "5" {
		t.Errorf("%+v", got)
	}
	if len(s.shelf.bodies()) > 0 {
		t.Error("it was stored")
	}
}

// TestOwnAnswers: Accept and Accept-Encoding are honoured.
func TestOwnAnswers(t *testing.T) {
	s := open(t, noneHook(), webhook.ServerOptions{})
	const js, xml = `{"arrival":"7.`, `<?xml version="1.0" encoding="UTF-8"?>` + "\n<answer><arrival>7."
	for _, c := range []struct{ accept, coding, begins, wantCoding string }{
		{"", "", js, ""},
		{"*/*", "*", js, ""},
		{"text/html", "", js, ""},
		{"application/xml", "", xml, ""},
		{"text/xml;q=0.9, application/json;q=0.5", "", xml, ""},
		{"application/json, application/xml", "", js, ""},
		{"application/xml;q=0", "", js, ""},
		{"application/xml;q=0.5, */*", "", js, ""},
		{"application/json", "gzip, deflate, br", js, "gzip"},
		{"application/xml", "deflate", xml, "deflate"},
		{"", "gzip;q=0, deflate;q=0", js, ""},
		{"", "gzip;q=0.1, deflate", js, "deflate"},
	} {
		h := http.Header{"Content-Type": {"application/json"}}
		if c.accept != "" {
			h.Set("Accept", c.accept)
		}
		if c.coding != "" {
			h.Set("Accept-Encoding", c.coding)
		}
		got := s.send(t, asked{body: "1", header: h})
		if got.header.Get("Content-Encoding") != c.wantCoding {
			t.Errorf("%+v: %v", c, got.header)
		}
		if text := unpack(t, got); !strings.HasPrefix(text, c.begins) {
			t.Errorf("%+v: %q", c, text)
		}
		if got.header.Get("Vary") != "Accept, Accept-Encoding" {
			t.Errorf("Vary %q", got.header.Get("Vary"))
		}
	}
	if got := s.send(t, asked{body: `{"<&": `, header: header("Accept", "application/xml", "Content-Type", "application/json")}); got.status != 400 || !strings.Contains(got.body, "<answer><error>the body is no JSON") {
		t.Errorf("%+v", got)
	}
}
