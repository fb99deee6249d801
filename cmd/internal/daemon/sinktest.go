package daemon

import (
	"context"
	"slices"
	"strings"

	"ingestd/ingest/admin"
	"ingestd/sinks/httpapi"
)

// TestSink implements admin.Sinks. The request goes past the breaker and the
// sink's rate: a person wants to know now.
func (d *Daemon) TestSink(ctx context.Context, name, method string) (*admin.SinkTest, error) {
	c := d.current()
	o, s := c.outlets[name], c.cfg.Sink(name)
	if o == nil || s == nil {
		names := make([]string, 0, len(c.outlets))
		for other := range c.outlets {
			names = append(names, other)
		}
		slices.Sort(names)
		e := admin.Invalid("the config has no sink %q", name)
		e.Hint = "there are: " + strings.Join(names, ", ")
		return nil, e
	}
	t, err := o.test(ctx, method)
	if err != nil {
		return nil, err
	}
	t.Sink, t.Type = name, s.Type
	return t, nil
}

func testHTTP(ctx context.Context, s *httpapi.Sink, method string) (*admin.SinkTest, error) {
	r, err := s.Try(ctx, method)
	if err != nil {
		return nil, admin.Invalid("%v", err)
	}
	t := &admin.SinkTest{
		Outcome: r.Outcome, Means: r.Means, Method: r.Method, URL: r.URL, Address: r.Address, Protocol: r.Protocol,
		TLS: r.TLS, Status: r.Status, Answer: r.Answer, Took: r.Took.Seconds(),
	}
	if !r.Ends.IsZero() {
		t.Certificate = &admin.Certificate{Subject: r.Subject, Issuer: r.Issuer, Ends: r.Ends.UTC()}
	}
	return t, nil
}

func testDir(dir string) *admin.SinkTest {
	if err := writable(dir); err != nil {
		return &admin.SinkTest{Outcome: httpapi.Refused, Means: err.Error()}
	}
	return &admin.SinkTest{Outcome: httpapi.Reached, Means: "files can be written in " + dir}
}
