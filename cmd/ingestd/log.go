package main

import (
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lmittmann/tint"
)

// newLogger writes text for people or JSON, one line an event. format is
// "text", "json", or "auto": text where a terminal looks on.
func newLogger(w io.Writer, level slog.Level, format string, terminal bool) *slog.Logger {
	var h slog.Handler
	if format == "text" || format != "json" && terminal {
		h = tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.TimeOnly, NoColor: !terminal})
	} else {
		h = slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: durations})
	}
	return slog.New(newQuiet(h))
}

// logQueue is how many lines may wait for a reader who is slow.
const logQueue = 4096

// A spout hands lines to w from a goroutine of its own, so that a log that
// nobody reads never stops the work: what does not fit is counted and dropped.
type spout struct {
	w       io.Writer
	lines   chan []byte
	done    chan struct{}
	dropped atomic.Int64

	mu     sync.RWMutex
	closed bool
}

func newSpout(w io.Writer) *spout {
	s := &spout{w: w, lines: make(chan []byte, logQueue), done: make(chan struct{})}
	go s.run()
	return s
}

func (s *spout) run() {
	defer close(s.done)
	for line := range s.lines {
		_, _ = s.w.Write(line)
		if n := s.dropped.Swap(0); n > 0 {
			fmt.Fprintf(s.w, "%d log lines were dropped: their reader was too slow\n", n)
		}
	}
}

// Write never blocks and never fails. After Close it does nothing.
func (s *spout) Write(b []byte) (int, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return len(b), nil
	}
	select {
	case s.lines <- append([]byte(nil), b...):
	default:
		s.dropped.Add(1)
	}
	return len(b), nil
}

// Close waits up to a second for what is queued.
func (s *spout) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	close(s.lines)
	select {
	case <-s.done:
	case <-time.After(time.Second):
	}
}

// durations has them read as people write them, not as nanoseconds.
func durations(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}
