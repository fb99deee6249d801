package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"ingestd/ingest"
	"ingestd/ingest/bundle"
	"ingestd/ingest/journal"
	"ingestd/ingest/ledger"
)

// A sight is what people see: the ledger, and events that it does not know of
// yet, because their pipeline is paused or has much to do.
type sight struct {
	*ledger.Ledger
	d *Daemon
}

// Event implements ingest.Query.
func (s sight) Event(ctx context.Context, r ingest.Ref) (*ingest.ArrivalDetail, error) {
	got, err := s.Ledger.Event(ctx, r)
	switch {
	case r.Event == 0:
		return got, err
	case err == nil && (got.State != ingest.Waiting && got.State != ingest.Running || got.Last > 0):
		return got, nil
	case err != nil && !errors.Is(err, ingest.ErrNotFound):
		return nil, err
	}
	// It is stored, and was not read.
	dirs, rerr := os.ReadDir(filepath.Join(s.d.o.Config.StateDir, eventsDir))
	if rerr != nil {
		return got, err
	}
	for _, dir := range dirs {
		path := journal.Path(s.d.eventsOf(dir.Name()), r.Arrival)
		span, _, ferr := bundle.Find(path, r.Event)
		if ferr != nil {
			continue
		}
		a := ingest.Arrival{ID: r.Arrival, Pipeline: dir.Name(), State: ingest.Waiting}
		a.Source, a.Name, a.Path, a.Origin = ingest.SourceWebhook, dir.Name(), path, path
		if got != nil {
			a = got.Arrival
		}
		a.Event, a.EventID, a.FoundAt, a.Size = r.Event, span.Event.ID, span.Event.At, span.Size
		if span.Event.Name != "" {
			a.Name = span.Event.Name
		}
		return &ingest.ArrivalDetail{Arrival: a, Timeline: []ingest.TimelineEvent{{At: a.FoundAt, What: "stored"}}}, nil
	}
	return got, err
}
