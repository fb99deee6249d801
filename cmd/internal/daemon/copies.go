package daemon

import (
	"context"
	"errors"
	"sync"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/spool"
)

// owned are the files that arrivals need which have not been put away.
func (d *Daemon) owned(ctx context.Context) (map[string]bool, error) {
	owned := map[string]bool{}
	for _, state := range []ingest.State{ingest.Waiting, ingest.Running, ingest.Held} {
		for a, err := range d.ledger.Arrivals(ctx, ingest.ArrivalFilter{State: state}) {
			if err != nil {
				return nil, err
			}
			owned[a.Path] = true
		}
	}
	backlog, err := d.ledger.Backlog(ctx)
	if err != nil {
		return nil, err
	}
	for _, b := range backlog {
		list, err := d.ledger.Unfinished(ctx, b.Pipeline)
		if err != nil {
			return nil, err
		}
		for i := range list {
			owned[list[i].Path] = true
		}
	}
	return owned, nil
}

// needed reports which files arrivals need; it asks the ledger when it is called
// first. Where that fails all are, and err says why.
func (d *Daemon) needed(ctx context.Context) (needed func(path string) bool, err *error) {
	err = new(error)
	owned := sync.OnceValue(func() (owned map[string]bool) {
		owned, *err = d.owned(ctx)
		return owned
	})
	return func(path string) bool {
		o := owned()
		return *err != nil || o[path]
	}, err
}

// pruneCopies removes copies of files on other machines that ended before these
// times.
func (d *Daemon) pruneCopies(ctx context.Context, done, failed time.Time) (int, error) {
	needed, err := d.needed(ctx)
	n, perr := d.spool.PruneKept(done, failed, needed)
	return n, errors.Join(*err, perr)
}

// spare reports whether there is room for copies in dir. They must not make the
// disk watch warn, which it does below twice of what need says of the total.
func spare(dir string, need func(total uint64) uint64) bool {
	free, total, err := spool.Free(dir)
	return err != nil || free/5 >= need(total)/2
}

// shedCopies removes such copies, the oldest first, until there is room for them:
// nobody is warned, and no source pauses, for want of what they take.
func (d *Daemon) shedCopies(ctx context.Context, dir string, need func(total uint64) uint64) {
	needed, failed := d.needed(ctx)
	n, err := d.spool.ShedKept(func() bool { return spare(dir, need) }, needed)
	err = errors.Join(*failed, err)
	if n > 0 {
		d.log.Warn("the disk is filling up: copies that a replay would need were removed", "files", n)
	}
	if err != nil {
		d.log.Warn("copies of delivered files cannot be removed", "error", err)
	}
}
