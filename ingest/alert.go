package ingest

import (
	"context"
	"time"
)

// An OpenAlert is something that needs a person, as one of those who are told
// about it has it. It is stored so that a restart neither says it again nor
// forgets to say that it is over.
type OpenAlert struct {
	To  string // the sink that tells
	Key string // what it is about: kind, pipeline and subject; one open alert each

	Kind     string
	Severity string
	Pipeline string // names joined by ", "; "" where it concerns all
	Arrival  int64  // 0 where there is none
	Name     string // the arrival's
	Message  string
	Action   string // what to do next
	Since    time.Time

	Opened time.Time // when it was seen first
	Told   time.Time // when it was told last; zero: not yet
	Said   int       // how often
	Mark   int64     // up to which of the things behind it was told
}

// An AlertBook remembers what was told to whom.
type AlertBook interface {
	// OpenAlerts lists all, by To and Key.
	OpenAlerts(ctx context.Context) ([]OpenAlert, error)
	// SaveAlerts stores some and forgets others, by To and Key, in one commit.
	SaveAlerts(ctx context.Context, save, forget []OpenAlert) error
	// WatchedSince is when this was asked first about an expectation of a
	// pipeline: nothing can have been missed before.
	WatchedSince(ctx context.Context, pipeline, expectation string, now time.Time) (time.Time, error)
}

// A Trouble is an error that people are told of by a kind of its own: a source
// returns one (wrapped or not) for what is more than "cannot be reached".
type Trouble struct {
	Kind   string // one of the Trouble kinds
	Err    error
	Action string // what a person should do, where that is known
}

// TroubleHostKey: a server showed another host key than the one that is known.
const TroubleHostKey = "host_key"

func (t *Trouble) Error() string { return t.Err.Error() }
func (t *Trouble) Unwrap() error { return t.Err }
