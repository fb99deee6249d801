package ingest

import (
	"context"
	"io"
)

// A Reporter is a Source that can put reports on an arrival where its partner
// finds them. Names are relative to the place that was configured for reports,
// local, with slashes; the directories on the way are made. Whatever stands in
// that place is never taken up by the source. Both methods may be called at any
// time from one goroutine at a time.
type Reporter interface {
	// Reported reports whether anything is called name.
	Reported(ctx context.Context, name string) (bool, error)
	// Report writes the report called name. It is there whole or not at all:
	// written under a temporary name that the source ignores, made durable,
	// renamed over what stood there. content may be called once, and its error
	// is returned with nothing changed. A nil content takes the report away;
	// one that is gone is no error. Safe to repeat after a crash at any instant.
	Report(ctx context.Context, name string, content func(io.Writer) error) error
}

// A Receipt is where the report on one arrival stands.
type Receipt struct {
	Arrival  int64
	Pipeline string
	Name     string // its files' names begin with this; "" until it was chosen
	Version  int64  // counts up whenever the arrival's books change
	Written  int64  // the version that was written last; 0 = none
	Error    string // why it could not be written at the last try
}

// Due reports whether it is to be written.
func (r *Receipt) Due() bool { return r.Written < r.Version }
