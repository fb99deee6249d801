// Package sinks holds what every sink needs around it: the policy of delivery
// as decorators that have the sink's own interface, and the bodies that
// requests are made of.
//
// A delivery reads Limit(Gate(Break(Observe(client)))), from the outside in. Trying
// again is the engine's, for seconds as for hours: it knows which batches wait
// (docs/decisions). Limit holds the sink's rate, over all pipelines that use it. Gate keeps a
// target's Retry-After: nothing goes from that pipeline to that host before it
// is over. It stands inside Limit, so that a request that waited for its turn
// still meets a gate that closed meanwhile. Break keeps requests from a host
// that is down, whatever pipeline and sink they are of. Observe sees each
// single try.
//
// Decorators add no goroutines and keep no requests. They pass verdicts
// (*ingest.Reject, *ingest.Halt, *ingest.RetryAfter, *ingest.Unsent) through as they are, and
// keep the ingest.Placer of a sink that has one.
package sinks

import (
	"context"
	"time"

	"ingestd/ingest"
)

// patience is the longest Retry-After that is waited out in the process; a
// longer one is handed to the ledger.
const patience = 2 * time.Second

// decorate gives s the further abilities of next, the sink it stands before.
func decorate(s, next ingest.Sink) ingest.Sink {
	if p, ok := next.(ingest.Placer); ok {
		return struct {
			ingest.Sink
			ingest.Placer
		}{s, p}
	}
	return s
}

// sleep waits for d and reports whether ctx lived that long.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
