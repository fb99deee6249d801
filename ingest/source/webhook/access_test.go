package webhook_test

import (
	"net/netip"
	"testing"

	"ingestd/ingest"
	"ingestd/ingest/source/webhook"
)

// TestAllowedAddresses: the sender's is the connection's, unless a proxy that is
// trusted says another.
func TestAllowedAddresses(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}
	for _, c := range []struct {
		allow     string
		proxies   []netip.Prefix
		forwarded []string
		status    int
		remote    string
	}{
		{"127.0.0.1/32", nil, nil, 202, "127.0.0.1"},
		{"192.0.2.0/24", nil, nil, 403, ""},
		{"192.0.2.0/24", nil, []string{"192.0.2.7"}, 403, ""}, // nobody is trusted to say so
		{"192.0.2.0/24", proxies, []string{"192.0.2.7"}, 202, "192.0.2.7"},
		{"192.0.2.0/24", proxies, []string{"192.0.2.7, 10.1.1.1"}, 202, "192.0.2.7"},
		{"192.0.2.0/24", proxies, []string{"192.0.2.7", "10.1.1.1"}, 202, "192.0.2.7"},
		{"192.0.2.0/24", proxies, []string{"192.0.2.7:4711"}, 202, "192.0.2.7"},
		{"192.0.2.0/24", proxies, []string{"192.0.2.7, 198.51.100.1"}, 403, ""}, // said by whom nobody trusts
		{"192.0.2.0/24", proxies, []string{"192.0.2.7, nonsense"}, 403, ""},
		{"192.0.2.0/24", proxies, nil, 403, ""},
		{"2001:db8::/32", proxies, []string{"2001:db8::7"}, 202, "2001:db8::7"},
		{"192.0.2.0/24", proxies, []string{"::ffff:192.0.2.7"}, 202, "192.0.2.7"},
	} {
		h := noneHook()
		h.Allow = []netip.Prefix{netip.MustParsePrefix(c.allow)}
		s := open(t, h, webhook.ServerOptions{TrustedProxies: c.proxies})
		a := asked{body: "1", header: header("Content-Type", "application/json")}
		if c.forwarded != nil {
			a.header["X-Forwarded-For"] = c.forwarded
		}
		got := s.send(t, a)
		if got.status != c.status {
			t.Errorf("%+v: %+v", c, got)
		} else if c.status == 202 {
			if e := s.shelf.head(t, 0); e.Remote != c.remote {
				t.Errorf("%+v: from %s", c, e.Remote)
			}
		}
	}
}

// TestWhen: an expression sees the event as it will be stored, and is asked only
// about those that were proven.
func TestWhen(t *testing.T) {
	h := githubHook()
	calls := 0
	h.When = func(e *ingest.Event, body []byte) (bool, error) {
		calls++
		return e.Header["x-github-event"] == "push" && e.Header["x-hub-signature-256"] == "" && string(body) == "1" && e.Suffix == "/eu", nil
	}
	s := open(t, h, webhook.ServerOptions{})
	for _, c := range []struct {
		a      asked
		path   string
		status int
	}{{signed("1", ""), "/eu", 202}, {signed("2", ""), "/eu", 403}, {signed("1", ""), "", 403}, {asked{body: "1"}, "/eu", 401}} {
		c.a.path = "/hooks/orders" + c.path
		if got := s.send(t, c.a); got.status != c.status {
			t.Errorf("%+v: %+v", c, got)
		}
	}
	if calls != 3 || len(s.shelf.bodies()) != 1 {
		t.Errorf("%d calls, %d events", calls, len(s.shelf.bodies()))
	}
}

// TestRoutes: the longest path that fits is asked, and others after a reload.
func TestRoutes(t *testing.T) {
	seen := map[string][]string{}
	hook := func(path string) *webhook.Hook {
		h := noneHook()
		h.Store, h.Path = &forgetful{}, path
		h.When = func(e *ingest.Event, _ []byte) (bool, error) {
			seen[path] = append(seen[path], e.Suffix)
			return true, nil
		}
		got, _ := closedAt(h)
		return got
	}
	s := open(t, noneHook(), webhook.ServerOptions{})
	s.Route(webhook.Routes{Hooks: []*webhook.Hook{hook("/a"), hook("/a/b")}})
	for path, want := range map[string]int{"/a": 202, "/a/x": 202, "/a/b": 202, "/a/b/c/d": 202, "/a/bc": 202, "/b": 404, "/": 404, "/hooks/orders": 404, webhook.ResultsPath + "x": 404} {
		if got := s.send(t, asked{path: path, body: "1"}); got.status != want {
			t.Errorf("%s: %+v", path, got)
		}
	}
	if len(seen["/a"]) != 3 || len(seen["/a/b"]) != 2 {
		t.Errorf("%v", seen)
	}
}
