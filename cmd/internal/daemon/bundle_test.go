package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ingestd/config"
	"ingestd/formats"
	"ingestd/ingest"
	"ingestd/ingest/journal"
	"ingestd/samples"
)

// sealed is a segment with these events.
func sealed(tb testing.TB, events ...journal.Event) ingest.Input {
	tb.Helper()
	j, err := journal.Open(journal.Options{
		Dir: tb.TempDir(), Reserve: func(context.Context) (int64, error) { return 7, nil },
	}, func(int64) bool { return false })
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := j.Append(tb.Context(), events...); err != nil {
		tb.Fatal(err)
	}
	s, err := j.Take(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	f, err := os.Open(s.Path)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { f.Close() })
	return ingest.Input{Size: s.Size, ReaderAt: f}
}

func eventOf(tb testing.TB, contentType, name, body string) journal.Event {
	tb.Helper()
	head, err := json.Marshal(&ingest.Event{
		At: time.Date(2026, 3, 5, 6, 0, 0, 0, time.UTC), Method: "POST", ContentType: contentType, Name: name,
		Header: map[string]string{"user-agent": "test", "x-github-event": "push", "accept": "*/*"},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return journal.Event{Head: head, Body: []byte(body)}
}

// TestBundle: events of all kinds, good and bad, are the records of one bundle:
// ordinals go on, what cannot be read is one fault, and it is known which event
// is which.
func TestBundle(t *testing.T) {
	t.Parallel()
	in := sealed(t,
		eventOf(t, "application/json", "", `{"id": "a"}`),
		eventOf(t, "application/json", "", `[{"id": "b"}, {"id": "b", "id": "x"}, {"id": "c"}]`),
		eventOf(t, "application/json", "", `[]`),
		eventOf(t, "text/csv", "", "id,n\nd,1\ne,2\n"),
		eventOf(t, "application/xml", "", `<o><id>f</id></o`), // cut short
		eventOf(t, "", "g.ndjson", "{\"id\": \"g\"}\n{\"id\": \"h\"}\n"),
		eventOf(t, "application/json", "", `no json`),
		eventOf(t, "application/vnd.api+json; charset=utf-8", "", `{"id": "i"}`),
	)
	r, err := reading{formats.Spec{Type: formats.Auto}}.openBundle(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got []string
	var spans [][2]int64
	next := int64(1)
	var c ingest.Chunk
	for {
		err := r.Read(t.Context(), &c)
		for _, s := range c.Spans {
			if s.Index > len(spans) {
				spans = append(spans, [2]int64{s.First, s.Last})
			} else {
				spans[s.Index-1][1] = s.Last
			}
		}
		recs, faults := c.Records, c.Faults
		for len(recs)+len(faults) > 0 {
			switch {
			case len(recs) > 0 && recs[0].Pos.Record == next:
				id, _ := recs[0].Lookup("id")
				got = append(got, string(id.Text()))
				recs = recs[1:]
			case len(faults) > 0 && faults[0].Pos.Record == next:
				got = append(got, "!")
				if len(faults[0].Raw) == 0 || faults[0].Reason == "" {
					t.Errorf("fault %+v", faults[0])
				}
				faults = faults[1:]
			default:
				t.Fatalf("record %d is left out", next)
			}
			next++
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if want := "a b ! c d e ! g h ! i"; strings.Join(got, " ") != want {
		t.Errorf("records %q, want %q", strings.Join(got, " "), want)
	}
	if want := [][2]int64{{1, 1}, {2, 4}, {5, 4}, {5, 6}, {7, 7}, {8, 9}, {10, 10}, {11, 11}}; !slices.Equal(spans, want) {
		t.Errorf("spans %v, want %v", spans, want)
	}
}

// TestHookWhen: the expression sees what the request brought.
func TestHookWhen(t *testing.T) {
	t.Parallel()
	e := &ingest.Event{Method: "POST", Suffix: "/a", Query: "x=1", Header: map[string]string{"x-github-event": "push"}}
	for source, want := range map[string]bool{
		`headers["X-GitHub-Event"] == "push"`:       true,
		`body.ref == "main" && method == "POST"`:    true,
		`query.x == "2"`:                            false,
		`suffix startsWith "/b" or body.ref == "x"`: false,
	} {
		when, err := hookWhen(source)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := when(e, []byte(`{"ref": "main"}`)); got != want || err != nil {
			t.Errorf("%s: %v, %v", source, got, err)
		}
	}
	if _, err := hookWhen("nothing.like == 1"); err == nil {
		t.Error("an unknown name compiles")
	}
}

// TestResultToken: a token of a result leads to its event alone, and cannot be
// guessed from another.
func TestResultToken(t *testing.T) {
	t.Parallel()
	secret := []byte("0123456789abcdef0123456789abcdef")
	one, two := resultToken(secret, ingest.Ref{Arrival: 1, Event: 1}), resultToken(secret, ingest.Ref{Arrival: 2, Event: 1})
	if one == two || one == resultToken([]byte("another"), ingest.Ref{Arrival: 1, Event: 1}) {
		t.Error("tokens are alike")
	}
	d := &Daemon{}
	for _, bad := range []string{"", "x", one[:len(one)-1], one + "A", one[:20] + two[20:], strings.Repeat("A", len(one))} {
		if _, err := d.replyFor(t.Context(), secret, bad); !errors.Is(err, ingest.ErrNotFound) {
			t.Errorf("token %q: %v", bad, err)
		}
	}
}

func BenchmarkBundle(b *testing.B) {
	const n = 1000
	events := make([]journal.Event, n)
	for i := range events {
		events[i] = eventOf(b, "application/json", "", fmt.Sprintf(`{"id": "e%d", "text": %q, "n": 1.50, "ok": true}`, i, strings.Repeat("x", 900)))
	}
	in := sealed(b, events...)
	spec, err := formatSpec(&config.Pipeline{Format: config.Format{Type: "auto"}})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(in.Size)
	for b.Loop() {
		r, err := spec.openBundle(b.Context(), in)
		if err != nil {
			b.Fatal(err)
		}
		records := 0
		var c ingest.Chunk
		for err == nil {
			err = r.Read(b.Context(), &c)
			records += len(c.Records)
		}
		if records != n || !errors.Is(err, io.EOF) {
			b.Fatalf("%d records, %v", records, err)
		}
		r.Close()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/event")
}

// TestWebhookSample: the sample can be used as it is.
func TestWebhookSample(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text, err := fs.ReadFile(samples.FS(), "webhook.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"c.yaml": text, "github_secret": []byte("s3cr3t\n")} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if cfg, problems := Load(filepath.Join(dir, "c.yaml")); cfg == nil || len(problems) > 0 {
		t.Errorf("%v", problems)
	}
}

// TestHookProblems: what the receiver refuses is told with its place.
func TestHookProblems(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "c.yaml")
	text := `state_dir: state
webhooks: {tls: {cert_file: none.pem, key_file: none.key}}
sinks: {api: {type: http, url: "http://127.0.0.1:1/"}}
pipelines:
  a: {source: {type: webhook, verify: {scheme: none, when: 'body.x == nothing'}}, sinks: [api]}
  b: {source: {type: webhook, verify: {scheme: hmac, header: X-Sig, secret: abc, signed: '{nothing}'}}, sinks: [api]}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, problems := Load(path)
	if cfg != nil {
		t.Fatal("it is taken")
	}
	var all strings.Builder
	for _, p := range problems {
		all.WriteString(p.Error() + "\n")
	}
	for _, want := range []string{"c.yaml:2:", "none.pem", "c.yaml:5:71: unknown name nothing", "c.yaml:6:", "{nothing}"} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("no %q in\n%s", want, &all)
		}
	}
}
