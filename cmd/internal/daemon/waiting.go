package daemon

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"

	"ingestd/config"
	"ingestd/formats"
	"ingestd/ingest/source"
	"ingestd/ingest/spool"
)

// waiting walks a folder as its source would list it.
func waiting(d *config.Dir, most int) ([]string, error) {
	r := rules(&d.Watch)
	r.Known = formats.Known
	filter, err := source.NewFilter(r)
	if err != nil {
		return nil, err
	}
	var found []string
	err = filepath.WalkDir(d.Path, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(d.Path, path)
		if err != nil || rel == "." {
			return err
		}
		switch {
		case e.IsDir() && (!d.Recursive || !filter.Enters(rel)):
			return fs.SkipDir
		case !e.Type().IsRegular() || !filter.Wants(rel):
			return nil
		}
		if _, mark := filter.Marks(e.Name()); mark {
			return nil
		}
		if _, side := filter.Proves(e.Name()); side {
			return nil
		}
		found = append(found, path)
		if len(found) == most {
			return fs.SkipAll
		}
		return nil
	})
	return found, err
}

// Newest fetches the newest file of a partner's server into a temporary
// directory, which drop removes, and leaves the server as it is. file is "" where
// there is no file.
func Newest(ctx context.Context, conf *config.Config, p *config.Pipeline) (file, origin string, drop func(), err error) {
	dir, err := os.MkdirTemp("", "ingestd-preview-")
	if err != nil {
		return "", "", nil, err
	}
	drop = func() { os.RemoveAll(dir) }
	file, origin, err = newest(ctx, conf, p, dir)
	if err != nil {
		drop()
		return "", "", nil, err
	}
	return file, origin, drop, nil
}

func newest(ctx context.Context, conf *config.Config, p *config.Pipeline, dir string) (file, origin string, err error) {
	sp, err := spool.Open(dir)
	if err != nil {
		return "", "", err
	}
	here := *conf
	here.StateDir = dir
	s, err := newSFTP(&here, p, formats.Known, sp, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		return "", "", err
	}
	found, err := s.Newest(ctx)
	if err = errors.Join(err, s.Close()); err != nil || found == nil {
		return "", "", err
	}
	// A format may be told by the name.
	file = filepath.Join(dir, path.Base(found.Name))
	return file, found.Origin, os.Rename(found.Path, file)
}
