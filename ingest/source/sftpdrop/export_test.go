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

// LoginWithin sets how long a login may take, before Serve.
func (s *Server) LoginWithin(d time.Duration) { s.login = d }

// MaxUnknown is how many may be logging in.
const MaxUnknown = maxUnknown
