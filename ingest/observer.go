package ingest

import "time"

// An Observer is told what happens, for metrics. Its methods return at once
// and are safe for concurrent use.
type Observer interface {
	// ArrivalFound: a source handed something over.
	ArrivalFound(pipeline string, size int64)
	// ArrivalEnded: with its final state and books.
	ArrivalEnded(a *Arrival)
	// Settled: so many records of a pipeline got this outcome ("delivered",
	// "duplicate", "filtered", "dead").
	Settled(pipeline, outcome string, records int64)
	// Sent: one try of one request. class is "delivered", "rejected", "mixed",
	// "halted" or "retry".
	Sent(pipeline, sink, class string, status, bytes int, took time.Duration)
	// SourceError: a source could not do its work (nil = it can again).
	SourceError(pipeline string, err error)
}
