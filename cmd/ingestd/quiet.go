package main

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Of one kind of trouble so many lines a minute are logged; the rest is
// counted.
const (
	quietLines = 10
	quietKinds = 1024
)

// quiet is a log handler that keeps one trouble from filling the log: of each
// kind of warning or error (its message, pipeline and sink) it lets ten a
// minute through, and says with the next one how many it left out.
type quiet struct {
	next slog.Handler
	kind string // what WithAttrs knows of the kind
	seen *kinds
}

type kinds struct {
	mu sync.Mutex
	by map[string]*tally
}

type tally struct {
	since   time.Time
	lines   int
	leftOut int
}

func newQuiet(next slog.Handler) slog.Handler {
	return &quiet{next: next, seen: &kinds{by: map[string]*tally{}}}
}

func (q *quiet) Enabled(ctx context.Context, l slog.Level) bool { return q.next.Enabled(ctx, l) }

func (q *quiet) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *q
	for _, a := range attrs {
		c.kind += kindOf(a)
	}
	c.next = q.next.WithAttrs(attrs)
	return &c
}

func (q *quiet) WithGroup(name string) slog.Handler {
	c := *q
	c.next = q.next.WithGroup(name)
	return &c
}

func kindOf(a slog.Attr) string {
	if a.Key == "pipeline" || a.Key == "sink" {
		return "\x00" + a.Value.String()
	}
	return ""
}

func (q *quiet) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelWarn {
		return q.next.Handle(ctx, r)
	}
	kind := r.Message + q.kind
	r.Attrs(func(a slog.Attr) bool {
		kind += kindOf(a)
		return true
	})
	leftOut, ok := q.seen.admit(kind, r.Time)
	if !ok {
		return nil
	}
	if leftOut > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("repeated", leftOut))
	}
	return q.next.Handle(ctx, r)
}

func (k *kinds) admit(kind string, now time.Time) (leftOut int, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.by[kind]
	if t == nil {
		if len(k.by) >= quietKinds {
			clear(k.by)
		}
		t = &tally{since: now}
		k.by[kind] = t
	}
	if now.Sub(t.since) >= time.Minute {
		leftOut = t.leftOut
		*t = tally{since: now}
	}
	if t.lines >= quietLines {
		t.leftOut++
		return 0, false
	}
	t.lines++
	return leftOut, true
}
