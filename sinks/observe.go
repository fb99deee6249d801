package sinks

import (
	"context"
	"errors"
	"time"

	"ingestd/ingest"
)

type observe struct {
	next ingest.Sink
	to   ingest.Observer
	name string
}

// Observe tells to of every try that passes through the sink called name.
func Observe(next ingest.Sink, to ingest.Observer, name string) ingest.Sink {
	return decorate(&observe{next: next, to: to, name: name}, next)
}

func (s *observe) Send(ctx context.Context, r *ingest.Request) (ingest.Answer, error) {
	began := time.Now()
	a, err := s.next.Send(ctx, r)
	var unsent *ingest.Unsent
	if err != nil && errors.As(err, &unsent) {
		return a, err // that was no try
	}
	class, status := classOf(err), a.Status
	if err != nil {
		status = ingest.AnswerOf(err).Status
	}
	s.to.Sent(r.Pipeline, s.name, class, status, len(r.Body), time.Since(began))
	return a, err
}

// classOf is err as ingest.Observer names it.
func classOf(err error) string {
	var (
		rj *ingest.Reject
		h  *ingest.Halt
		m  *ingest.Mixed
	)
	switch {
	case err == nil:
		return "delivered"
	case errors.As(err, &m):
		return "mixed"
	case errors.As(err, &rj):
		return "rejected"
	case errors.As(err, &h):
		return "halted"
	}
	return "retry"
}
