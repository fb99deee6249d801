package sinks

import (
	"context"
	"fmt"

	"golang.org/x/time/rate"

	"ingestd/ingest"
)

type limit struct {
	next ingest.Sink
	l    *rate.Limiter
}

// Limit lets a request through when l has a token for it. All decorators of one
// sink share l, whatever pipeline they serve. Without a limiter it is next
// itself.
func Limit(next ingest.Sink, l *rate.Limiter) ingest.Sink {
	if l == nil {
		return next
	}
	return decorate(&limit{next: next, l: l}, next)
}

func (s *limit) Send(ctx context.Context, r *ingest.Request) (ingest.Answer, error) {
	if err := s.l.Wait(ctx); err != nil {
		return ingest.Answer{}, fmt.Errorf("wait for the sink's rate: %w", err)
	}
	return s.next.Send(ctx, r)
}
