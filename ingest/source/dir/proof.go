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
	"ingestd/ingest/source"
	"ingestd/ingest/spool"
)

// prove returns those files in from that are what their proof says. Of the
// others the tracker knows, but for those that will never be: they are
// refused.
func (c *claim) prove(ctx context.Context, from *os.File, batch []source.Entry, index []int) ([]int, error) {
	p := c.p
	if !p.proves() {
		return index, nil
	}
	var proven []int
	for _, i := range index {
		e := &batch[i]
		f, ok := p.open(from, e)
		if !ok {
			continue
		}
		doubt, err := p.proven(ctx, from, f, e.Name, e.Size)
		f.Close()
		switch {
		case err != nil:
			return nil, err
		case doubt == nil:
		case p.tracker.Unproven(e.Name, doubt):
			c.refused[e.Name] = doubt.Error()
		default:
			continue
		}
		proven = append(proven, i)
	}
	return proven, nil
}

// proves reports whether files have to be what a proof says.
func (p *pass) proves() bool { return p.s.rules.Sidecar != "" || p.s.o.Trailer != nil }

// proven says why f, the file called name, is not what its sidecar and its
// trailer say; nil, nil: it is. side is the directory of its sidecar. err is what keeps ingestd from finding out.
func (p *pass) proven(ctx context.Context, side, f *os.File, name string, size int64) (doubt, err error) {
	if sidecar := p.tracker.Filter().Sidecar(path.Base(name)); sidecar != "" {
		sum, doubt := readSidecar(side, sidecar, name)
		if doubt != nil {
			return doubt, nil
		}
		err := sum.Verify(ctx, io.NewSectionReader(f, 0, size))
		var mismatch *source.MismatchError
		if errors.As(err, &mismatch) {
			return mismatch, nil
		}
		if err != nil {
			return nil, fmt.Errorf("compare %q with its sidecar: %w", name, err)
		}
	}
	if p.s.o.Trailer == nil {
		return nil, nil
	}
	err = p.s.o.Trailer(ctx, ingest.Input{Name: name, Size: size, ReaderAt: f})
	var unreadable *ingest.ReadError
	if errors.As(err, &unreadable) {
		return unreadable, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for the trailer of %q: %w", name, err)
	}
	return nil, nil
}

// readSidecar reads what the sidecar says of the file called name.
func readSidecar(dir *os.File, sidecar, name string) (source.Checksum, error) {
	f, _, err := spool.OpenAt(dir, sidecar)
	if err != nil {
		return source.Checksum{}, fmt.Errorf("its sidecar %q cannot be read: %w", sidecar, cause(err))
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, source.MaxSidecar+1))
	if err != nil {
		return source.Checksum{}, fmt.Errorf("its sidecar %q cannot be read: %w", sidecar, cause(err))
	}
	return source.ParseChecksum(b, name)
}

// provenIn looks once more at a file that was claimed and never handed over:
// why it was claimed has been forgotten. A file without a sidecar was claimed
// before one was asked for.
func (p *pass) provenIn(ctx context.Context, root, at *os.File, token, name string) (refused string, err error) {
	if !p.proves() {
		return "", nil
	}
	f, info, err := spool.OpenAt(at, path.Base(name))
	if err != nil {
		return "", nil // what reads it will say what is wrong
	}
	defer f.Close()
	side, err := spool.OpenBeneath(root, path.Join(marksDir, token, path.Dir(name)), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer side.Close()
	doubt, err := p.proven(ctx, side, f, name, info.Size)
	if doubt != nil {
		return doubt.Error(), nil
	}
	return "", err
}

// putSidecarAway carries a.Away out for the sidecar of a file in work/, where
// it has one and that is still there. dir is the file's, below work/.
func (s *Source) putSidecarAway(ctx context.Context, root *os.File, dir string, a *ingest.Arrival) error {
	side := s.filter.Sidecar(path.Base(a.Name))
	if side == "" {
		return nil
	}
	marks, err := spool.OpenBeneath(root, marksDir, 0)
	if err == nil {
		defer marks.Close()
		var from *os.File
		if from, err = spool.OpenBeneath(marks, dir, 0); err == nil {
			defer from.Close()
			if err = s.moveSidecar(ctx, root, from, side, a); err == nil {
				err = spool.RemoveEmpty(marks, dir)
			}
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// moveSidecar carries a.Away out for the sidecar called side in from: it goes
// beside its file.
func (s *Source) moveSidecar(ctx context.Context, root, from *os.File, side string, a *ingest.Arrival) error {
	info, err := spool.StatAt(from, side)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Regular() {
		return nil
	}
	if err != nil {
		return err
	}
	to := filepath.Join(folderOf(a), a.Name)
	switch a.Away.Action {
	case source.Delete:
		if err := spool.RemoveAt(from, side); err != nil {
			return err
		}
		return from.Sync()
	case source.Move:
		to = a.Away.To
	}
	return s.moveTo(ctx, root, from, side, s.filter.Sidecar(to), info.ID, nil)
}
