package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"ingestd/ingest"
	"ingestd/ingest/spool"
)

var _ ingest.Reporter = (*Source)(nil)

// reportMode lets the partner, who has an account of its own, read reports.
const reportMode = 0o644

var errNoReports = errors.New("this source was given no place for reports")

// Reported implements ingest.Reporter.
func (s *Source) Reported(_ context.Context, name string) (bool, error) {
	d, err := s.reports(path.Dir(name), 0)
	if err == nil {
		defer d.Close()
		_, err = spool.StatAt(d, path.Base(name))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Report implements ingest.Reporter.
func (s *Source) Report(_ context.Context, name string, content func(io.Writer) error) error {
	if content == nil {
		d, err := s.reports(path.Dir(name), 0)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		defer d.Close()
		if err := spool.RemoveAt(d, path.Base(name)); err != nil {
			return err
		}
		return d.Sync()
	}
	d, err := s.reports(path.Dir(name), othersMode)
	if err != nil {
		return err
	}
	defer d.Close()
	return spool.ReplaceAt(d, path.Base(name), reportMode, content)
}

// reports opens the directory rel of the place for reports; with a mode, what is
// missing is made, but never the watched folder itself. Within that folder, and
// below the place, no link is followed; elsewhere the configuration names the way.
func (s *Source) reports(rel string, mode fs.FileMode) (*os.File, error) {
	if s.o.Reports == "" {
		return nil, errNoReports
	}
	if !filepath.IsLocal(rel) {
		return nil, fmt.Errorf("a report in %q: %w", rel, fs.ErrInvalid)
	}
	root, below := s.path, rel
	if in, ok := s.within(s.o.Reports); ok {
		below = filepath.Join(in, rel)
	} else {
		root = filepath.Clean(s.o.Reports)
		if mode != 0 {
			if err := spool.MakeDirs(root, mode); err != nil {
				return nil, err
			}
		}
	}
	d, err := spool.OpenDir(root)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return spool.OpenBeneath(d, below, mode)
}
