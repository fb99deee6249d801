package httpapi

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"ingestd/ingest"
)

func TestURLFields(t *testing.T) {
	for _, c := range []struct {
		template string
		fields   []string
		wrong    string // part of the error
	}{
		{"https://crm.example/api", nil, ""},
		{"https://crm.example", nil, ""},
		{"https://crm.example:8443/{pipeline}", nil, ""},
		{"http://crm.example/o/{id}/l/{Artikel-Nr.}?x={id}&y={y}", []string{"id", "Artikel-Nr.", "y"}, ""},
		{"https://crm.example?x={id}", []string{"id"}, ""},
		{"", nil, "must begin"},
		{"crm.example/x", nil, "must begin"},
		{"ftp://crm.example/x", nil, "must begin"},
		{"https:///x", nil, "no host"},
		{"https://:80/x", nil, "no host"},
		{"https://crm.example", nil, ""},
		{"https://crm.example/#x", nil, "fragment"},
		{"https://crm.example/#", nil, "fragment"},
		{"https://crm.example/a/../b", nil, ".."},
		{"https://crm.example/a/%2e%2e/b", nil, ".."},
		{"https://crm.example/%zz", nil, "cannot be read"},
		{"https://crm.example/a\r\nb", nil, "cannot be read"},
		{"{scheme}://crm.example/x", nil, "scheme or the host"},
		{"{all}", nil, "scheme or the host"},
		{"https://{host}/x", nil, "scheme or the host"},
		{"https://{host}", nil, "scheme or the host"},
		{"https://{pipeline}.example/x", nil, "scheme or the host"},
		{"https://crm.example{port}/x", nil, "scheme or the host"},
		{"https://crm.example{port}", nil, "scheme or the host"},
		{"https://{user}@crm.example/x", nil, "scheme or the host"},
		{"https://crm.example/{id", nil, "without its }"},
		{"https://crm.example/id}", nil, "without its {"},
		{"https://crm.example/{a{b}}", nil, "without its }"},
		{"https://crm.example/{}", nil, "without a field"},
	} {
		got, err := URLFields(c.template)
		switch {
		case c.wrong == "" && err != nil:
			t.Errorf("%s: %v", c.template, err)
		case c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)):
			t.Errorf("%s: error %v, want one with %q", c.template, err, c.wrong)
		case !slices.Equal(got, c.fields):
			t.Errorf("%s: fields %q, want %q", c.template, got, c.fields)
		}
	}
}

func TestExpand(t *testing.T) {
	for _, c := range []struct {
		template, value, want string
	}{
		{"https://crm.example/o/{id}", "17", "https://crm.example/o/17"},
		{"https://crm.example/o/{id}", "a/b?c#d&e=f g+h%", "https://crm.example/o/a%2Fb%3Fc%23d%26e%3Df%20g%2Bh%25"},
		{"https://crm.example/o/{id}", "ä€😀", "https://crm.example/o/%C3%A4%E2%82%AC%F0%9F%98%80"},
		{"https://crm.example/o/{id}", "\xff", "https://crm.example/o/%FF"},
		{"https://crm.example/o/{id}", "@evil.example", "https://crm.example/o/%40evil.example"},
		{"https://crm.example/{id}", "/evil.example/x", "https://crm.example/%2Fevil.example%2Fx"},
		{"https://crm.example/o-{id}-x", "...", "https://crm.example/o-...-x"},
		{"https://crm.example/o?q={id}&r=1", "a&r=2#", "https://crm.example/o?q=a%26r%3D2%23&r=1"},
		{"https://crm.example/o?q={id}", "", "https://crm.example/o?q="},
		{"https://crm.example/o?q={id}", "..", "https://crm.example/o?q=.."},
		{"https://crm.example?q={id}", "1", "https://crm.example?q=1"},
		{"https://crm.example/{pipeline}/{id}", "1", "https://crm.example/my%20orders/1"},
		// Refused: the record is wrong, not the sink.
		{"https://crm.example/o/{id}", "", ""},
		{"https://crm.example/o/{id}", ".", ""},
		{"https://crm.example/o/{id}", "..", ""},
		{"https://crm.example/o/{id}", "../../admin", ""},
		{"https://crm.example/o/{id}", `..\..\admin`, ""},
		{"https://crm.example/o/.{id}", ".", ""},
		{"https://crm.example/o/{id}{id}", ".", ""},
		{"https://crm.example/o/{id}", "a\r\nX-Evil: 1", ""},
		{"https://crm.example/o?q={id}", "a\nb", ""},
		{"https://crm.example/o/{id}", "a\x00b", ""},
		{"https://crm.example/o/{id}", strings.Repeat("x", maxURL), ""},
		{"https://crm.example/o/{id}/{id}", strings.Repeat("%", maxURL/3-20), ""},
		{"https://crm.example/o/{other}", "1", ""},
	} {
		u, err := parseURL(c.template, &Auth{})
		if err != nil {
			t.Fatal(err)
		}
		r := &ingest.Request{Pipeline: "my orders", Vars: []ingest.Var{{Name: "x", Value: "no"}, {Name: "id", Value: c.value}}}
		got, err := u.expand(r, "")
		if c.want == "" {
			var rj *ingest.Reject
			if !errors.As(err, &rj) {
				t.Errorf("%s with %.40q: %v, %v, want a *Reject", c.template, c.value, got, err)
			}
			continue
		}
		if err != nil || got.String() != c.want {
			t.Errorf("%s with %q: %v, %v, want %s", c.template, c.value, got, err, c.want)
		}
	}
}

// FuzzExpand: whatever a value is, scheme, host and the number of path segments
// and query parameters stay as the template has them.
func FuzzExpand(f *testing.F) {
	for _, s := range []string{"1", "..", "a/b", "?x=1", "#", "@h", "//h/", "\\", "%2e%2e", "a\r\nb", "é", "\xff", ";", "&a=b"} {
		f.Add(s, s)
	}
	u, err := parseURL("https://crm.example:8443/v1/{a}/x-{b}?p={a}&q={b}", &Auth{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		got, err := u.expand(&ingest.Request{Vars: []ingest.Var{{Name: "a", Value: a}, {Name: "b", Value: b}}}, "key=1")
		if err != nil {
			return
		}
		if got.Scheme != "https" || got.Host != "crm.example:8443" || got.User != nil || got.Fragment != "" || got.Opaque != "" {
			t.Fatalf("%q, %q: %v", a, b, got)
		}
		if p := got.EscapedPath(); strings.Count(p, "/") != 3 || !strings.HasPrefix(p, "/v1/") {
			t.Fatalf("%q, %q: path %s", a, b, p)
		}
		if got.Path != "/v1/"+a+"/x-"+b {
			t.Fatalf("%q, %q: path decodes to %q", a, b, got.Path)
		}
		q := got.Query()
		if len(q) != 3 || q.Get("p") != a || q.Get("q") != b || q.Get("key") != "1" {
			t.Fatalf("%q, %q: query %v", a, b, q)
		}
		if len(got.String()) > maxURL+10 || strings.ContainsAny(got.RequestURI(), " \r\n\t") {
			t.Fatalf("%q, %q: %q", a, b, got.RequestURI())
		}
	})
}

func TestParseStatusRange(t *testing.T) {
	for s, want := range map[string]StatusRange{
		"2xx": {200, 299}, "4XX": {400, 499}, "409": {409, 409}, "200-204": {200, 204}, "100": {100, 100}, "599": {599, 599},
	} {
		if got, err := ParseStatusRange(s); err != nil || got != want {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "2x", "xxx", "6xx", "0xx", "99", "600", "204-200", "200-", "-200", "200-204-208", "+20", "2 0"} {
		if got, err := ParseStatusRange(s); err == nil {
			t.Errorf("%q was read as %v", s, got)
		}
	}
}
