package stdout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"

	"ingestd/ingest"
)

func TestRequestsComeOutWhole(t *testing.T) {
	var out bytes.Buffer
	s := New(&out)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 50 {
				body := strings.Repeat(fmt.Sprint(i), 100) + "\n"
				if _, err := s.Send(t.Context(), &ingest.Request{Body: []byte(body)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 400 {
		t.Fatalf("%d lines", len(lines))
	}
	for _, l := range lines {
		if l != strings.Repeat(l[:1], 100) {
			t.Fatalf("torn: %q", l)
		}
	}
}

// failing takes n bytes, then fails.
type failing struct {
	n   int
	err error
}

func (f failing) Write(p []byte) (int, error) { return min(f.n, len(p)), f.err }

func TestVerdicts(t *testing.T) {
	r := &ingest.Request{Body: []byte("abc\n")}
	for name, c := range map[string]struct {
		w    io.Writer
		halt bool
	}{
		"full":   {failing{2, syscall.ENOSPC}, false},
		"short":  {failing{2, nil}, false},
		"gone":   {failing{0, &os.PathError{Op: "write", Path: "stdout", Err: syscall.EPIPE}}, true},
		"closed": {failing{0, os.ErrClosed}, true},
	} {
		_, err := New(c.w).Send(t.Context(), r)
		var h *ingest.Halt
		if err == nil || errors.As(err, &h) != c.halt {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAPipeWhoseReaderHasGone(t *testing.T) {
	signal.Ignore(syscall.SIGPIPE)
	defer signal.Reset(syscall.SIGPIPE)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	s := New(w)
	if _, err := s.Send(t.Context(), &ingest.Request{Body: []byte("a\n")}); err != nil {
		t.Fatal(err)
	}
	r.Close()
	var h *ingest.Halt
	if _, err := s.Send(t.Context(), &ingest.Request{Body: []byte("b\n")}); !errors.As(err, &h) {
		t.Errorf("%v", err)
	}
}

func TestWaitsForItsTurnOnly(t *testing.T) {
	r, w := io.Pipe()
	s := New(w)
	first := make(chan error)
	go func() {
		_, err := s.Send(context.Background(), &ingest.Request{Body: []byte("first\n")})
		first <- err
	}()
	var b [1]byte
	if _, err := io.ReadFull(r, b[:]); err != nil { // the first is in its write now
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Send(ctx, &ingest.Request{Body: []byte("second\n")}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	rest := make([]byte, 5)
	if _, err := io.ReadFull(r, rest); err != nil || string(rest) != "irst\n" {
		t.Errorf("%q, %v", rest, err)
	}
	if err := <-first; err != nil {
		t.Error(err)
	}
}
