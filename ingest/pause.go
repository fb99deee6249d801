package ingest

import "time"

// A Pause is a person's: of a pipeline, which takes nothing up meanwhile, or of
// a sink, to which nothing is delivered.
type Pause struct {
	Sink  bool // Name is a sink's
	Name  string
	Since time.Time
	Until time.Time // it ends by itself then; zero: it does not
	Ended time.Time // a person ended it; zero: nobody did
}

// Lasts reports whether the pause is on.
func (p *Pause) Lasts(now time.Time) bool {
	return p.Ended.IsZero() && (p.Until.IsZero() || p.Until.After(now))
}
