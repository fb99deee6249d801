package httpapi

import (
	"fmt"
	"net/http"
	"time"

	"ingestd/ingest"
)

// judge is the contract's table of answers.
func (s *Sink) judge(rep reply) (ingest.Answer, error) {
	if rep.list != nil && rep.list.why == "" {
		s.listed.Store(true)
		return s.judgeEach(rep)
	}
	a := rep.answer()
	a.Had = includes(s.duplicate, rep.status)
	if rep.list != nil && includes(s.accept, rep.status) {
		return a, s.unlisted(rep)
	}
	if a.Had || includes(s.accept, rep.status) {
		if s.weighs(rep.status) {
			if err := s.weighed(rep); err != nil {
				return a, err
			}
		}
		if !s.accepted.Load() {
			s.accepted.Store(true)
		}
		return a, nil
	}
	switch st := rep.status; {
	case st == http.StatusRequestTimeout, st == http.StatusTooEarly, st == http.StatusTooManyRequests,
		st >= 500, st < 200:
		return a, s.later(rep)
	case st == http.StatusUnauthorized, st == http.StatusForbidden:
		return a, s.halt(rep, "check the sink's auth")
	case st < 400 && st >= 300:
		hint := "redirects are never followed; check the sink's url"
		if rep.location != "" {
			hint = "it redirects to " + rep.location + ", and redirects are never followed; put the right address into the sink's url"
		}
		return a, s.halt(rep, hint)
	case (st == http.StatusNotFound || st == http.StatusMethodNotAllowed || st == http.StatusGone) && !s.accepted.Load():
		return a, s.halt(rep, "it has accepted nothing yet; check the sink's url and method")
	default:
		reason := "the target answered " + statusText(st)
		if st < 300 {
			reason += ", which is not in accept"
		}
		return a, &ingest.Reject{
			Reason:   reason,
			Answer:   a,
			TooLarge: st == http.StatusRequestEntityTooLarge,
		}
	}
}

func (s *Sink) halt(rep reply, hint string) error {
	return &ingest.Halt{
		Reason: fmt.Sprintf("sink %s: %s %s answered %s: %s", s.name, s.method, s.url.shown, statusText(rep.status), hint),
		Answer: rep.answer(),
	}
}

// later is the error for an answer that means "not now".
func (s *Sink) later(rep reply) error {
	now := time.Now()
	if wait := retryAfter(rep.retryAfter, rep.date, now); wait > 0 {
		return &ingest.RetryAfter{
			At:     now.Add(wait),
			Reason: fmt.Sprintf("%s answered %s with Retry-After", s.url.hostPort, statusText(rep.status)),
			Answer: rep.answer(),
		}
	}
	return &ingest.Unanswered{
		Err:    fmt.Errorf("%s %s answered %s", s.method, s.url.shown, statusText(rep.status)),
		Answer: rep.answer(),
	}
}
