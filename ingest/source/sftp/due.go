package sftp

import (
	"errors"
	"os"
	"time"
)

// firstListing is when Run lists for the first time: at once, or, where there
// is a schedule, when it says, a time that was missed included.
func (s *Source) firstListing(now time.Time) time.Time {
	if s.o.Next == nil {
		return now
	}
	if s.o.Stamp != "" {
		if fi, err := os.Stat(s.o.Stamp); err == nil {
			return s.following(fi.ModTime())
		}
	}
	return s.following(now)
}

// following is when the listing after one at t is due.
func (s *Source) following(t time.Time) time.Time {
	if s.o.Next == nil {
		return t.Add(s.o.Poll)
	}
	n := s.o.Next(t)
	if n.IsZero() { // never again
		return t.AddDate(100, 0, 0)
	}
	return n
}

// stamp notes that the folder was listed, for the next process.
func (s *Source) stamp() {
	if s.o.Next == nil || s.o.Stamp == "" {
		return
	}
	f, err := os.OpenFile(s.o.Stamp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err == nil {
		_, err = f.WriteString(s.place() + "\n")
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		s.log.Warn("the time of the last listing could not be noted", "pipeline", s.o.Pipeline, "error", err)
	}
}
