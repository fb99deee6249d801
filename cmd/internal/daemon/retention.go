package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"ingestd/config"
	"ingestd/ingest"
	"ingestd/ingest/admin"
	"ingestd/ingest/source"
	"ingestd/ingest/spool"
)

// pruneEvery is how often retention is applied.
const pruneEvery = time.Hour

// A pruner applies retention: to the files that ingestd itself moved away, and
// to what the ledger remembers.
type pruner struct {
	query ingest.Query
	rows  rowPruner
	keep  config.Retention
	now   func() time.Time
	// sidecar is the name of the sidecar that was moved along with a pipeline's
	// file; "" or nil: there is none.
	sidecar func(pipeline, path string) string
	// copies removes what was kept of files that are on other machines; nil: nothing
	// was. A zero time removes none.
	copies func(ctx context.Context, done, failed time.Time) (int, error)
	events eventPruner // nil: there are none
	log    *slog.Logger

	mu   sync.Mutex
	upTo map[ingest.State]time.Time // what was found before was looked at, long after
}

// lookBack is how long before the last look an arrival may have been found and
// still be looked at: it may have ended late.
const lookBack = 7 * 24 * time.Hour

// A rowPruner forgets what ended before these times, of arrivals with all that
// belongs to them, and of dead letters.
type rowPruner interface {
	Prune(ctx context.Context, arrivals, letters time.Time) (arrivalRows, letterRows int64, err error)
}

// An eventPruner removes events that ended before a time, and answers that are
// not kept any more.
type eventPruner interface {
	pruneEvents(ctx context.Context, before time.Time) (int64, error)
	pruneReplies(ctx context.Context, now time.Time) error
}

// run prunes at once and then every hour until ctx ends.
func (p *pruner) run(ctx context.Context) {
	tick := time.NewTicker(pruneEvery)
	defer tick.Stop()
	for {
		if r, err := p.prune(ctx); err != nil && ctx.Err() == nil {
			p.log.Error("retention could not be applied", "error", err)
		} else if r != nil && (r.Files > 0 || r.Arrivals > 0 || r.Letters > 0 || r.Events > 0) {
			p.log.Info("retention applied", "files", r.Files, "arrivals", r.Arrivals, "dead_letters", r.Letters, "events", r.Events)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// setKeep takes over what a reloaded config says.
func (p *pruner) setKeep(keep config.Retention) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keep = keep
}

// prune applies retention once. Files go first: the ledger's rows say which of
// them are ours.
func (p *pruner) prune(ctx context.Context) (*admin.PruneResult, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := &admin.PruneResult{}
	now := p.now()
	var failed error
	for _, kind := range []struct {
		state ingest.State
		keep  time.Duration
	}{
		{ingest.Done, p.keep.Done},
		{ingest.DuplicateState, p.keep.Done},
		{ingest.Failed, p.keep.Failed},
	} {
		if kind.keep <= 0 {
			continue
		}
		cutoff := now.Add(-kind.keep)
		// Nothing has ended before it was found, so Until finds all that count.
		f := ingest.ArrivalFilter{State: kind.state, Until: cutoff}
		if last, ok := p.upTo[kind.state]; ok {
			f.Since = last.Add(-lookBack)
		}
		for a, err := range p.query.Arrivals(ctx, f) {
			if err != nil {
				return r, fmt.Errorf("prune files: %w", err)
			}
			if a.FinishedAt.After(cutoff) || !a.PutAway || a.Away.Action != "move" || !filepath.IsAbs(a.Away.To) {
				continue
			}
			switch removed, err := removeMoved(&a); {
			case err != nil && failed == nil:
				failed = fmt.Errorf("prune files: %w", err)
			case removed:
				r.Files++
				if err := p.removeSidecar(&a); err != nil && failed == nil {
					failed = fmt.Errorf("prune files: %w", err)
				}
			}
		}
		if failed == nil {
			if p.upTo == nil {
				p.upTo = map[ingest.State]time.Time{}
			}
			p.upTo[kind.state] = cutoff
		}
	}
	before := func(keep time.Duration) (t time.Time) {
		if keep > 0 {
			t = now.Add(-keep)
		}
		return t
	}
	if p.copies != nil {
		n, err := p.copies(ctx, before(p.keep.Done), before(p.keep.Failed))
		r.Files += int64(n)
		failed = errors.Join(failed, err)
	}
	var err error
	if p.events != nil {
		if p.keep.Events > 0 {
			r.Events, err = p.events.pruneEvents(ctx, now.Add(-p.keep.Events))
		}
		failed = errors.Join(failed, err, p.events.pruneReplies(ctx, now))
	}
	if p.rows != nil {
		r.Arrivals, r.Letters, err = p.rows.Prune(ctx, before(p.keep.Arrivals), before(p.keep.Dead))
	}
	return r, errors.Join(failed, err)
}

// removeSidecar removes what went away with a file.
func (p *pruner) removeSidecar(a *ingest.Arrival) error {
	if p.sidecar == nil {
		return nil
	}
	side := p.sidecar(a.Pipeline, a.Away.To)
	if side == "" {
		return nil
	}
	dir, err := spool.OpenDir(filepath.Dir(side))
	if err != nil {
		return err
	}
	defer dir.Close()
	name := filepath.Base(side)
	switch got, err := spool.StatAt(dir, name); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !got.Regular() || got.Size > source.MaxSidecar:
		return nil // not what was moved
	}
	return spool.RemoveAt(dir, name)
}

// removeMoved removes the file that an arrival's end moved away, if what stands
// there still is that file: somebody may have put another in its place.
func removeMoved(a *ingest.Arrival) (bool, error) {
	dir, err := spool.OpenDir(filepath.Dir(a.Away.To))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer dir.Close()
	name := filepath.Base(a.Away.To)
	got, err := spool.StatAt(dir, name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	// A move from one filesystem to another gave it another inode.
	if !got.Regular() || got.Size != a.Size || !got.ModTime.Truncate(time.Microsecond).Equal(a.ModTime.Truncate(time.Microsecond)) {
		return false, nil
	}
	if err := spool.RemoveAt(dir, name); err != nil {
		return false, err
	}
	return true, nil
}
