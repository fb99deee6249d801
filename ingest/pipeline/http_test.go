package pipeline_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/pipeline"
	"ingestd/sinks/httpapi"
)

// timed notes when a sink was asked.
type timed struct {
	ingest.Sink
	at []time.Time
}

func (s *timed) Send(ctx context.Context, r *ingest.Request) (ingest.Answer, error) {
	s.at = append(s.at, time.Now())
	return s.Sink.Send(ctx, r)
}

// A target that turns us away makes nothing dead: it is asked politely, and
// when the cause is gone everything goes out.
func TestStoppedHTTPSinkGoesOnByItself(t *testing.T) {
	for name, first := range map[string]http.HandlerFunc{
		"401": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(401) },
		"403": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(403) },
		"302": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"308": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusPermanentRedirect)
		},
		"404 at first": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(404) },
		"410 at first": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(410) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var wrong atomic.Bool
			var followed atomic.Int64
			wrong.Store(true)
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				// No connection stays open: a test's clock stands still while one is read from.
				w.Header().Set("Connection", "close")
				_, _ = io.Copy(io.Discard, r.Body)
				if r.URL.Path == "/elsewhere" {
					followed.Add(1)
				}
				if wrong.Load() {
					first(w, r)
				}
			}))
			defer srv.Close()
			synctest.Test(t, func(t *testing.T) {
				client, err := httpapi.New(httpapi.Options{Name: "s", URL: srv.URL})
				if err != nil {
					t.Fatal(err)
				}
				defer client.Close()
				sink := &timed{Sink: client}
				b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: sink, Concurrency: 1, GiveUpAfter: time.Minute})
				e, stop := b.daemon()
				b.accept(e, b.file("a.csv", numbers(0, 900)))
				time.Sleep(2 * time.Hour)
				if h := e.Health(); h[0].State != "stopped" {
					t.Errorf("health %+v", h)
				}
				wrong.Store(false)
				b.ended(1)
				stop()
				tries := len(sink.at) - 9 // the nine batches were delivered in the end
				if tries < 24 || tries > 32 {
					t.Errorf("%d tries in two hours, want one each 5 minutes", tries)
				}
				if d := sink.at[1].Sub(sink.at[0]); d < 15*time.Second || d > 20*time.Second {
					t.Errorf("the second try after %v", d)
				}
				b.is(1, ingest.Done, ingest.Counts{Records: 900, Delivered: 900})
				b.audit()
			})
			if followed.Load() > 0 {
				t.Error("a redirect was followed")
			}
		})
	}
}
