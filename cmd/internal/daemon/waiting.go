package daemon

import (
	"io/fs"
	"path/filepath"

	"ingestd/config"
	"ingestd/formats"
	"ingestd/ingest/source"
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
		found = append(found, path)
		if len(found) == most {
			return fs.SkipAll
		}
		return nil
	})
	return found, err
}
