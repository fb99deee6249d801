package sftpdrop

import (
	"context"
	"time"
)

// Pauses has the answers to failed logins wait in f.
func (s *Server) Pauses(f func(time.Duration)) {
	s.guard.pause = func(_ context.Context, d time.Duration) error {
		f(d)
		return nil
	}
}
