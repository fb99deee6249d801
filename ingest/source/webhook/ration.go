package webhook

import (
	"sync"
	"time"
)

// linesAMinute bounds what a hook logs of requests that go wrong: anybody can
// make as many as he likes.
const linesAMinute = 10

// A ration lets so many lines a minute be logged and counts the others.
type ration struct {
	mu      sync.Mutex
	since   time.Time
	n, left int
}

// next reports whether a line may be logged, and how many could not be since
// the last one that was.
func (r *ration) next(now time.Time) (left int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.since) >= time.Minute {
		r.since, r.n = now, 0
	}
	if r.n == linesAMinute {
		r.left++
		return 0, false
	}
	r.n++
	left, r.left = r.left, 0
	return left, true
}
