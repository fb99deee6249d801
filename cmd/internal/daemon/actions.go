package daemon

import (
	"context"
	"errors"
	"slices"

	"ingestd/ingest"
	"ingestd/ingest/admin"
)

// of finds the line of an arrival.
func (d *Daemon) of(ctx context.Context, arrival int64) (*ingest.Arrival, *line, error) {
	a, err := d.ledger.Find(ctx, arrival)
	if err != nil {
		return nil, nil, err
	}
	l, err := d.lineOf(a.Pipeline)
	return a, l, err
}

func (d *Daemon) lineOf(name string) (*line, error) {
	if l := d.current().line(name); l != nil {
		return l, nil
	}
	return nil, admin.Conflict("put it back into the config", "the config has no pipeline %q", name)
}

// Release implements admin.Holds.
func (d *Daemon) Release(ctx context.Context, arrival int64) error {
	l, err := d.held(ctx, arrival)
	if err != nil {
		return err
	}
	return l.engine.Load().Release(ctx, arrival)
}

// Reject implements admin.Holds.
func (d *Daemon) Reject(ctx context.Context, arrival int64) error {
	l, err := d.held(ctx, arrival)
	if err != nil {
		return err
	}
	return l.engine.Load().Reject(ctx, arrival)
}

func (d *Daemon) held(ctx context.Context, arrival int64) (*line, error) {
	a, l, err := d.of(ctx, arrival)
	if err == nil && a.State != ingest.Held {
		err = admin.Conflict("ingestd arrivals --state held lists those that are", "arrival %d is %s, not held", arrival, a.State)
	}
	return l, err
}

// maxReplays bounds the arrivals of one request.
const maxReplays = 100_000

// Replay implements admin.Replays.
func (d *Daemon) Replay(ctx context.Context, r admin.ReplayRequest) (*admin.ReplayResult, error) {
	res := &admin.ReplayResult{DryRun: r.DryRun, Arrivals: []admin.Again{}}
	var chosen []ingest.Arrival
	if r.Arrival != 0 {
		a, err := d.ledger.Find(ctx, r.Arrival)
		if err != nil {
			return nil, err
		}
		if r.Event != 0 {
			span, err := d.ledger.SpanOf(ctx, ingest.Ref{Arrival: r.Arrival, Event: r.Event})
			if err != nil {
				return nil, err
			}
			if span.Last < span.First {
				return nil, admin.Conflict("", "the event holds no records")
			}
			r.First, r.Last = span.First, span.Last
		}
		chosen = append(chosen, *a)
	} else {
		if _, err := d.lineOf(r.Pipeline); err != nil {
			return nil, err
		}
		f := ingest.ArrivalFilter{Pipeline: r.Pipeline, Since: r.Since, Until: r.Until}
		for a, err := range d.ledger.Arrivals(ctx, f) {
			if err != nil {
				return nil, err
			}
			// What is itself a replay, or found nothing new, is in the others.
			if a.Replay != nil || a.State == ingest.DuplicateState {
				continue
			}
			if len(chosen) == maxReplays {
				return nil, admin.Invalid("more than %d arrivals: choose a shorter time", maxReplays)
			}
			chosen = append(chosen, a)
		}
		slices.Reverse(chosen) // the oldest first, as they came
	}
	for i := range chosen {
		a := &chosen[i]
		if r.Last > a.Counts.Records && a.State.Ended() {
			return nil, admin.Invalid("arrival %d has %d records, not %d", a.ID, a.Counts.Records, r.Last)
		}
		again := admin.Again{Of: a.ID, Pipeline: a.Pipeline, Name: a.Name, Records: a.Counts.Records}
		if r.First > 0 {
			again.Records = r.Last - r.First + 1
		}
		var id int64
		var err error
		if r.DryRun {
			again.Forecast, err = d.forecast(ctx, a, r)
		} else {
			id, err = d.replayOne(ctx, a, r)
		}
		if err != nil {
			if r.Arrival != 0 {
				return nil, err
			}
			if ctx.Err() != nil {
				return nil, err
			}
			res.Refused = append(res.Refused, admin.Refused{Of: a.ID, Name: a.Name, Reason: err.Error()})
			continue
		}
		again.Arrival = id
		res.Arrivals = append(res.Arrivals, again)
	}
	return res, nil
}

func (d *Daemon) replayOne(ctx context.Context, a *ingest.Arrival, r admin.ReplayRequest) (int64, error) {
	l, err := d.lineOf(a.Pipeline)
	if err != nil {
		return 0, err
	}
	id, err := l.engine.Load().Replay(ctx, ingest.Replay{Of: a.ID, First: r.First, Last: r.Last, Force: r.Force})
	return id, conflict(err)
}

// forecast says what a replay of one arrival would do.
func (d *Daemon) forecast(ctx context.Context, a *ingest.Arrival, r admin.ReplayRequest) (*admin.Forecast, error) {
	l, err := d.lineOf(a.Pipeline)
	if err != nil {
		return nil, err
	}
	f, err := l.engine.Load().Forecast(ctx, ingest.Replay{Of: a.ID, First: r.First, Last: r.Last, Force: r.Force})
	if err != nil {
		return nil, conflict(err)
	}
	return &admin.Forecast{Send: f.Send, Known: f.Known, Filtered: f.Filtered, Bad: f.Bad, Waiting: f.Waiting, Held: f.Held, Error: f.Error}, nil
}

// conflict marks what a person can mend, so that it is no failure of ours.
func conflict(err error) error {
	if err == nil || errors.Is(err, ingest.ErrNotFound) || errors.Is(err, context.Canceled) {
		return err
	}
	return admin.Conflict("", "%v", err)
}

// DropLetters implements admin.Letters.
func (d *Daemon) DropLetters(ctx context.Context, f ingest.LetterFilter) (int64, error) {
	const perCommit = 1000
	var ids []int64
	for l, err := range d.ledger.Letters(ctx, f) {
		if err != nil {
			return 0, err
		}
		ids = append(ids, l.ID)
	}
	var total int64
	for part := range slices.Chunk(ids, perCommit) {
		n, err := d.ledger.Drop(ctx, part)
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// Reload implements admin.Control.
func (d *Daemon) Reload(ctx context.Context) error {
	d.mu.Lock()
	running := d.running
	d.mu.Unlock()
	if !running {
		return admin.Conflict("start it with: ingestd run", "no daemon runs")
	}
	done := make(chan error, 1)
	select {
	case d.reload <- reloadRequest{done}:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-done:
		if err != nil {
			return admin.Conflict("the old config goes on; ingestd check shows the places", "the new config was refused: %v", err)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// RunNow implements admin.Control. A source that cannot be asked to list its
// folder anew does so after a pause of an instant.
func (d *Daemon) RunNow(_ context.Context, name string) error {
	l, err := d.steeredLine(name)
	if err != nil {
		return err
	}
	l.mu.Lock()
	paused := len(l.why) > 0
	l.mu.Unlock()
	if paused {
		return admin.Conflict("ingestd resume "+name, "pipeline %s is paused", name)
	}
	if s, ok := l.source.(interface{ RunNow() }); ok {
		s.RunNow()
		return nil
	}
	l.pause(byRunNow, "looks at once")
	l.resume(byRunNow)
	return nil
}

// Stats implements admin.Ledger.
func (d *Daemon) Stats(ctx context.Context) (*admin.LedgerStats, error) {
	s, err := d.ledger.Stats(ctx)
	if err != nil {
		return nil, err
	}
	return &admin.LedgerStats{
		Path: s.Path, Bytes: s.Bytes, Arrivals: s.Arrivals, Batches: s.Batches, Letters: s.Letters, Keys: s.Keys,
	}, nil
}

// Prune implements admin.Ledger.
func (d *Daemon) Prune(ctx context.Context) (*admin.PruneResult, error) { return d.pruner.prune(ctx) }

// Backup implements admin.Ledger.
func (d *Daemon) Backup(ctx context.Context, path string) error {
	return d.ledger.Backup(ctx, path)
}
