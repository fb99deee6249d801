// Package stdout is the sink that writes batches to a stream, as NDJSON.
//
// Requests come out whole, one after the other. Delivered means that the stream
// took all bytes; what becomes of them is the reader's. A write that fails in
// the middle is tried again whole, so a reader may see a torn line before it. A
// reader that has gone (EPIPE, a closed stream) is a *ingest.Halt.
//
// On the process's own standard output a gone reader kills a Go program by
// SIGPIPE, unless it asked for that signal (signal.Ignore(syscall.SIGPIPE)).
package stdout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"

	"ingestd/ingest"
)

// A Sink writes to one stream. It is safe for concurrent use.
type Sink struct {
	w    io.Writer
	turn chan struct{} // holds one token: whose turn it is
}

// New returns a sink that writes to w.
func New(w io.Writer) *Sink {
	s := &Sink{w: w, turn: make(chan struct{}, 1)}
	s.turn <- struct{}{}
	return s
}

// Send writes r's body. ctx ends the wait for its turn, not a write that has
// begun.
func (s *Sink) Send(ctx context.Context, r *ingest.Request) (ingest.Answer, error) {
	if err := ctx.Err(); err != nil {
		return ingest.Answer{}, fmt.Errorf("write to the output: %w", context.Cause(ctx))
	}
	select {
	case <-s.turn:
	case <-ctx.Done():
		return ingest.Answer{}, fmt.Errorf("wait for the output: %w", context.Cause(ctx))
	}
	defer func() { s.turn <- struct{}{} }()
	n, err := s.w.Write(r.Body)
	if err == nil && n < len(r.Body) {
		err = io.ErrShortWrite
	}
	switch {
	case err == nil:
		return ingest.Answer{}, nil
	case errors.Is(err, syscall.EPIPE), errors.Is(err, io.ErrClosedPipe), errors.Is(err, fs.ErrClosed):
		return ingest.Answer{}, &ingest.Halt{Reason: "nobody reads the output any more: " + err.Error()}
	}
	return ingest.Answer{}, fmt.Errorf("write to the output: %w", err)
}
