package webhook_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/journal"
	"ingestd/ingest/source/webhook"
)

// diskStore is a Store on a journal, as the daemon's is; what is full is
// released at once.
type diskStore struct{ *journal.Journal }

func newDiskStore(dir string) (diskStore, error) {
	var number atomic.Int64
	j, err := journal.Open(journal.Options{Dir: dir, Reserve: func(context.Context) (int64, error) { return number.Add(1), nil }}, func(int64) bool { return true })
	return diskStore{j}, err
}

func (s diskStore) Append(ctx context.Context, events []webhook.Stored) (ingest.Ref, error) {
	var few [4]journal.Event
	out := few[:0]
	for _, e := range events {
		out = append(out, journal.Event{Head: e.Head, Body: e.Body})
	}
	refs, err := s.Journal.Append(ctx, out...)
	if errors.Is(err, journal.ErrFull) {
		return ingest.Ref{}, webhook.ErrFull
	}
	if err != nil {
		return ingest.Ref{}, err
	}
	return ingest.Ref{Arrival: refs[0].Segment, Event: refs[0].Index}, nil
}

func (diskStore) Died(context.Context, ingest.Ref) (bool, error) { return false, nil }

// release takes segments as they fill and removes their files, so that a long
// run fills no disk.
func (s diskStore) release(ctx context.Context) {
	for {
		seg, err := s.Take(ctx)
		if err != nil {
			return
		}
		s.Release(seg.Number)
		os.Remove(seg.Path)
		select { // segments of a tenth of a second, as under way in the daemon
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return
		}
	}
}

var kilobyte = `{"id":"evt_1","text":"` + strings.Repeat("x", 1000) + `"}`

// BenchmarkAccept is the way of an event of 1 KB from its request to its answer,
// without a network or a disk.
func BenchmarkAccept(b *testing.B) {
	for _, scheme := range []string{"none", "github"} {
		b.Run(scheme, func(b *testing.B) {
			h := noneHook()
			if scheme == "github" {
				h = githubHook()
			}
			h.Store = &forgetful{}
			_, s := closed(h)
			head := http.Header{
				"Content-Type": {"application/json"}, "User-Agent": {"GitHub-Hookshot/044aadd"}, "Accept": {"*/*"},
				"X-Github-Event": {"push"}, "X-Github-Hook-Id": {"292430182"}, "X-Github-Hook-Installation-Target-Id": {"79929171"},
			}
			w := &nowhere{header: http.Header{}}
			b.SetBytes(int64(len(kilobyte)))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				body := kilobyte
				if scheme == "github" {
					b.StopTimer()
					body = fmt.Sprintf(`{"n":%d,%s`, i+1e9, kilobyte[1:])
					head.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(sign(sha256.New, []byte(secret), body)))
					head.Set("X-Github-Delivery", fmt.Sprint(i))
					b.StartTimer()
				}
				r := httptest.NewRequest("POST", "/hooks/orders", strings.NewReader(body))
				r.Header = head
				clear(w.header)
				if s.ServeHTTP(w, r); w.status != 202 {
					b.Fatal(w.status)
				}
			}
		})
	}
}

type forgetful struct{ n int }

func (s *forgetful) Append(context.Context, []webhook.Stored) (ingest.Ref, error) {
	s.n++
	return ingest.Ref{Arrival: 1, Event: s.n}, nil
}
func (*forgetful) Died(context.Context, ingest.Ref) (bool, error) { return false, nil }

type nowhere struct {
	header http.Header
	status int
}

func (w *nowhere) Header() http.Header         { return w.header }
func (w *nowhere) WriteHeader(status int)      { w.status = status }
func (w *nowhere) Write(p []byte) (int, error) { return len(p), nil }

// TestBenchServer is what docs/bench/webhook.sh loads: it answers at
// WEBHOOK_BENCH's address until it is killed. "bare" stores nothing.
func TestBenchServer(t *testing.T) {
	kind, addr, ok := strings.Cut(os.Getenv("WEBHOOK_BENCH"), " ")
	if !ok {
		t.Skip("for docs/bench/webhook.sh")
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if kind == "bare" {
		http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var b bytes.Buffer
			if _, err := b.ReadFrom(http.MaxBytesReader(w, r.Body, 1<<20)); err != nil {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusAccepted)
			io.WriteString(w, `{"arrival":"4711.3"}`)
		}))
		return
	}
	store, err := newDiskStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	go store.release(ctx)
	h := noneHook()
	if kind == "bearer" {
		h.Verifier = must(webhook.NewVerifier(webhook.VerifyOptions{Scheme: "bearer", Token: ingest.NewSecret("t")}))
	}
	h.Store, h.Path, h.Methods, h.Logger = store, "/hooks/orders", []string{"POST"}, slog.New(slog.DiscardHandler)
	s := webhook.NewServer(webhook.ServerOptions{Logger: h.Logger, MaxConnsPer: 256})
	s.Route(webhook.Routes{Hooks: []*webhook.Hook{webhook.NewHook(h)}})
	if err := s.Serve(ctx, ln, time.Second); err != nil && ctx.Err() == nil {
		t.Error(err)
	}
}
