package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/admin"
)

// OnceOptions say what Once takes up.
type OnceOptions struct {
	Pipelines []string // nil: all
	// Files are read where they are, by the one pipeline, and not moved.
	Files []string
}

// A OnceResult is what Once came to.
type OnceResult struct {
	Arrivals           []admin.Arrival // that it worked on, in order
	Dead, Held, Failed int64           // records; arrivals; arrivals
}

// Once takes up what is there now, waiting until it has settled, and finishes
// it. ErrUnfinished, beside the result, says that something is left.
func (d *Daemon) Once(ctx context.Context, o OnceOptions) (*OnceResult, error) {
	e := engagement{once: true, only: o.Pipelines}
	if len(o.Files) > 0 {
		if len(o.Pipelines) != 1 {
			return nil, errors.New("files are taken up by one pipeline")
		}
		e.in = o.Pipelines[0]
		for _, f := range o.Files {
			found, err := foundAt(f)
			if err != nil {
				return nil, admin.Invalid("%v", err)
			}
			e.files = append(e.files, found)
		}
	}
	crew := d.current()
	if err := makeDropFolders(crew.cfg); err != nil {
		return nil, err
	}
	if err := crew.engage(e); err != nil {
		return nil, err
	}
	begun, before, err := d.unfinished(ctx, o.Pipelines)
	if err != nil {
		return nil, err
	}
	err = d.serving(ctx, func(ctx context.Context) error { return crew.run(ctx, o.Pipelines) })
	if lerr := d.ledger.Err(); lerr != nil {
		return nil, fmt.Errorf("the ledger broke; it is safe to run it again: %w", lerr)
	}
	res, rerr := d.result(context.WithoutCancel(ctx), o.Pipelines, begun, before)
	return res, errors.Join(err, rerr)
}

// serving runs do while others can ask over the control socket.
func (d *Daemon) serving(ctx context.Context, do func(context.Context) error) error {
	var wg sync.WaitGroup
	ctl, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer wg.Wait()
	defer stop()
	if err := d.serveControl(ctl, &wg); err != nil {
		return err
	}
	return do(ctx)
}

// unfinished is what is left from before, and the newest arrival's number.
func (d *Daemon) unfinished(ctx context.Context, pipelines []string) (newest int64, left map[int64]bool, err error) {
	for a, err := range d.ledger.Arrivals(ctx, ingest.ArrivalFilter{Limit: 1}) {
		if err != nil {
			return 0, nil, err
		}
		newest = a.ID
	}
	left = map[int64]bool{}
	for _, l := range d.current().lines {
		if pipelines != nil && l.cfg.Name != pipelines[0] {
			continue
		}
		list, err := d.ledger.Unfinished(ctx, l.cfg.Name)
		if err != nil {
			return 0, nil, err
		}
		for i := range list {
			if a := &list[i]; !a.State.Ended() && a.State != ingest.Held {
				left[a.ID] = true
				d.meter.expect(a.Size)
			}
		}
		if l.box == nil {
			continue
		}
		// Bundles have their numbers since their first event was stored.
		stored, err := l.box.journal.Stored()
		if err != nil {
			return 0, nil, err
		}
		for _, number := range stored {
			left[number] = true
		}
	}
	return newest, left, nil
}

// result collects what became of arrivals newer than newest, and of those that
// were left before.
func (d *Daemon) result(ctx context.Context, pipelines []string, newest int64, left map[int64]bool) (*OnceResult, error) {
	r := &OnceResult{}
	add := func(a *ingest.Arrival) {
		r.Arrivals = append(r.Arrivals, admin.ViewArrival(a))
		r.Dead += a.Counts.Dead
		switch a.State {
		case ingest.Held:
			r.Held++
		case ingest.Failed:
			r.Failed++
		}
	}
	for _, id := range slices.Sorted(maps.Keys(left)) {
		a, err := d.ledger.Find(ctx, id)
		if errors.Is(err, ingest.ErrNotFound) {
			continue // it was broken off before
		}
		if err != nil {
			return r, err
		}
		add(a)
	}
	var fresh []ingest.Arrival
	for a, err := range d.ledger.Arrivals(ctx, ingest.ArrivalFilter{}) {
		if err != nil {
			return r, err
		}
		if a.ID <= newest {
			break // the newest come first
		}
		if !left[a.ID] && (pipelines == nil || a.Pipeline == pipelines[0]) {
			fresh = append(fresh, a)
		}
	}
	for i := len(fresh) - 1; i >= 0; i-- {
		add(&fresh[i])
	}
	return r, nil
}

// foundAt is a file that a person named: it stays the person's.
func foundAt(path string) (ingest.Found, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return ingest.Found{}, err
	}
	// What is opened later must be what stood here, so links are followed now.
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return ingest.Found{}, err
	}
	if !fi.Mode().IsRegular() {
		return ingest.Found{}, fmt.Errorf("%s is no regular file", path)
	}
	f := ingest.Found{
		Source: "file", Name: filepath.Base(path), Origin: path, Path: real, Size: fi.Size(),
		ModTime: fi.ModTime(), FoundAt: time.Now(), Keep: true,
	}
	if sys, ok := fi.Sys().(*syscall.Stat_t); ok {
		f.Device, f.Inode = sys.Dev, sys.Ino
	}
	return f, nil
}

// Progress is how far Once or Deliver is.
func (d *Daemon) Progress() Progress { return d.meter.progress() }

// Deliver lets the engines work while do asks for deliveries and waits for
// them. No source is looked at. What is not delivered when do returns is in the
// ledger, for the next who runs.
func (d *Daemon) Deliver(ctx context.Context, do func(context.Context) error) error {
	crew := d.current()
	if err := crew.engage(engagement{once: true, hold: true}); err != nil {
		return err
	}
	return d.serving(ctx, func(ctx context.Context) error {
		work, stop := context.WithCancel(ctx)
		defer stop()
		done := make(chan error, 1)
		go func() { done <- crew.run(work, nil) }()
		var err error
		for _, l := range crew.lines {
			err = errors.Join(err, l.started(ctx))
		}
		if err == nil {
			err = do(ctx)
		}
		stop()
		if rerr := <-done; rerr != nil && !errors.Is(rerr, ErrUnfinished) && !errors.Is(rerr, errNotStopped) {
			err = errors.Join(err, rerr)
		}
		return err
	})
}
