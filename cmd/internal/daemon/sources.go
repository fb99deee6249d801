package daemon

import (
	"fmt"
	"log/slog"

	"ingestd/config"
	"ingestd/ingest"
	"ingestd/ingest/source"
	"ingestd/ingest/source/dir"
	"ingestd/ingest/spool"
)

// newSource makes a pipeline's source.
func newSource(conf *config.Config, p *config.Pipeline, known func(string) bool, sp *spool.Spool, log *slog.Logger, state func(error)) (ingest.Source, error) {
	switch p.Source.Type {
	case "dir", "sftp_drop":
		d := folderOf(&p.Source)
		spec, err := formatSpec(p)
		if err != nil {
			return nil, err
		}
		return dir.New(dir.Options{
			Type:       p.Source.Type,
			Pipeline:   p.Name,
			Path:       d.Path,
			Rules:      rules(&d.Watch),
			Known:      known,
			Trailer:    spec.trailer(),
			Rescan:     d.Rescan,
			WhenDone:   source.When{Action: d.WhenDone.Action, To: d.WhenDone.To},
			WhenFailed: source.When{Action: d.WhenFailed.Action, To: d.WhenFailed.To},
			Reports:    reports(p),
			Spool:      sp,
			Logger:     log,
			OnState:    state,
		})
	case "sftp":
		return newSFTP(conf, p, known, sp, log, state)
	}
	return nil, fmt.Errorf("source type %q is not built yet", p.Source.Type)
}

// reports is where a source puts reports on arrivals; "" where none are asked for.
func reports(p *config.Pipeline) string {
	if p.Receipt == nil {
		return ""
	}
	return p.Source.Resolve(p.Receipt.Dir)
}

// folderOf is the local folder that a source watches, or nil. What stands under
// its name in a drop is whole, so a drop is a folder in which nothing settles.
func folderOf(s *config.Source) *config.Dir {
	switch s.Type {
	case "dir":
		return &s.Dir
	case "sftp_drop":
		return &config.Dir{Path: s.Drop.Dir, Watch: s.Drop.Watch}
	}
	return nil
}

func rules(w *config.Watch) source.Rules {
	r := source.Rules{
		Match: w.Match, Ignore: w.Ignore, Recursive: w.Recursive, Settle: w.Settle,
		DoneFile: w.DoneFile, Order: w.Order, MaxSize: w.MaxSize,
	}
	if w.Proof != nil {
		r.Sidecar = w.Proof.Sidecar
	}
	return r
}
