package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"ingestd/ingest"
	"ingestd/ingest/source"
	"ingestd/ingest/spool"
)

// Dispose decides where an ended arrival goes, without touching anything. The
// destination's name was free when it was chosen and is not promised again by
// this Source.
func (s *Source) Dispose(ctx context.Context, a *ingest.Arrival) (ingest.Disposition, error) {
	when := s.done
	switch a.State {
	case ingest.Done, ingest.DuplicateState:
	case ingest.Failed:
		when = s.failed
	default:
		return ingest.Disposition{}, fmt.Errorf("decide where %q goes: it is %s, not ended", a.Name, a.State)
	}
	if a.Keep || !s.holds(a) {
		return ingest.Disposition{Action: source.Keep}, nil
	}
	if when.Action != source.Move {
		return ingest.Disposition{Action: when.Action}, nil
	}
	dir, base := when.Destination(s.o.Pipeline, a.Name, a.FoundAt)
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(folderOf(a), dir)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	base, err := spool.FreeName(base, func(name string) (bool, error) {
		to := filepath.Join(dir, name)
		if s.taken[to] {
			return true, nil
		}
		_, err := spool.Stat(to)
		if side := s.filter.Sidecar(to); side != "" && errors.Is(err, fs.ErrNotExist) {
			_, err = spool.Stat(side)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return ingest.Disposition{}, fmt.Errorf("decide where %q goes: %w", a.Name, err)
	}
	to := filepath.Join(dir, base)
	s.taken[to] = true
	return ingest.Disposition{Action: source.Move, To: to}, nil
}

// PutAway carries a.Away out. Where the destination was taken by somebody else
// since Dispose, the file gets a numbered name and a.Away.To is set to it. A
// file that is not the one that was read is left alone: spool.ErrOther.
func (s *Source) PutAway(ctx context.Context, a *ingest.Arrival) error {
	if a.Keep || !s.holds(a) {
		return nil
	}
	promised := a.Away.To
	err := s.putAway(ctx, a)
	if err != nil {
		return fmt.Errorf("put %q away (%s): %w", a.Name, a.Away.Action, err)
	}
	s.mu.Lock()
	delete(s.taken, promised)
	s.mu.Unlock()
	return nil
}

func (s *Source) putAway(ctx context.Context, a *ingest.Arrival) error {
	switch a.Away.Action {
	case source.Move, source.Delete, source.Keep:
	default:
		return fmt.Errorf("action %q was not decided by this source", a.Away.Action)
	}
	rel, claimed := workPath(a)
	if !claimed && a.Away.Action == source.Keep {
		return s.o.Spool.Remove(a.Path)
	}
	root, err := spool.OpenDir(folderOf(a))
	if err != nil {
		return err
	}
	defer root.Close()
	if claimed {
		return s.putWorkAway(ctx, root, rel, a)
	}
	// The copy goes last: its name says which file the original was.
	if err := s.putOriginalAway(ctx, root, a); err != nil {
		return err
	}
	return s.o.Spool.Remove(a.Path)
}

// holds reports whether an arrival's bytes are where this package put them.
func (s *Source) holds(a *ingest.Arrival) bool {
	_, ok := workPath(a)
	return ok || s.o.Spool != nil && s.o.Spool.Holds(a.Path)
}

// folderOf is the folder in which an arrival was found, also if the source has
// moved since.
func folderOf(a *ingest.Arrival) string {
	return strings.TrimSuffix(a.Origin, "/"+a.Name)
}

// workPath is where in work/ an arrival that was claimed stands.
func workPath(a *ingest.Arrival) (rel string, ok bool) {
	rel, ok = strings.CutPrefix(a.Path, folderOf(a)+"/"+workDir+"/")
	token, name, _ := strings.Cut(rel, "/")
	return rel, ok && isToken(token) && name == a.Name
}

// putWorkAway moves or deletes a file in work/. It is repeated after a crash,
// so a file that is gone was put away, if only work/ itself is there: without
// it the folder is not the one that it was.
func (s *Source) putWorkAway(ctx context.Context, root *os.File, rel string, a *ingest.Arrival) error {
	work, err := spool.OpenBeneath(root, workDir, 0)
	if err != nil {
		return err
	}
	defer work.Close()
	from, err := spool.OpenBeneath(work, path.Dir(rel), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer from.Close()
	base := path.Base(rel)
	info, err := spool.StatAt(from, base)
	if errors.Is(err, fs.ErrNotExist) {
		return spool.RemoveEmpty(work, path.Dir(rel))
	}
	if err != nil {
		return err
	}
	read := idOf(a)
	switch {
	case !info.Regular() || !info.SameFile(read):
		return spool.ErrOther
	case !info.Same(read) && (a.State != ingest.Failed || a.Away.Action == source.Delete):
		// A failed one may have failed for just that; moving it loses nothing.
		return fmt.Errorf("%w: it was written to since it was read", spool.ErrOther)
	}
	// The sidecar goes first: one without its file in work/ counts as never taken.
	if err := s.putSidecarAway(ctx, root, path.Dir(rel), a); err != nil {
		return err
	}
	switch a.Away.Action {
	case source.Delete:
		err = spool.RemoveAt(from, base)
		if err == nil {
			err = from.Sync()
		}
	case source.Keep:
		// It was claimed under other settings: back to where it stood.
		err = s.moveTo(ctx, root, from, base, filepath.Join(folderOf(a), a.Name), info.ID, nil)
	default:
		err = s.moveTo(ctx, root, from, base, a.Away.To, info.ID, &a.Away)
	}
	if err != nil {
		return err
	}
	return spool.RemoveEmpty(work, path.Dir(rel))
}

// putOriginalAway moves or deletes the file that a spool copy is of, as long
// as it is as it was when copied.
func (s *Source) putOriginalAway(ctx context.Context, root *os.File, a *ingest.Arrival) error {
	was, err := original(a)
	if err != nil {
		return err
	}
	from, err := spool.OpenBeneath(root, path.Dir(a.Name), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer from.Close()
	base := path.Base(a.Name)
	info, err := spool.StatAt(from, base)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.Regular() || !info.Same(was) {
		s.log.Info("original has changed since it was copied and stays", "pipeline", s.o.Pipeline,
			"path", root.Name(), "name", fmt.Sprintf("%q", a.Name))
		return nil
	}
	if side := s.filter.Sidecar(base); side != "" {
		if err := s.moveSidecar(ctx, root, from, side, a); err != nil {
			return err
		}
	}
	if a.Away.Action == source.Delete {
		if err := spool.RemoveAt(from, base); err != nil {
			return err
		}
		return from.Sync()
	}
	return s.moveTo(ctx, root, from, base, a.Away.To, info.ID, &a.Away)
}

// moveTo moves a file to the full path to. Within the folder no link is
// followed on the way; elsewhere the configuration names the way.
func (s *Source) moveTo(ctx context.Context, root, from *os.File, base, to string, id spool.ID, away *ingest.Disposition) error {
	dir, as := filepath.Split(to)
	var (
		dest *os.File
		err  error
	)
	if rel, relErr := filepath.Rel(root.Name(), dir); relErr == nil && filepath.IsLocal(rel) {
		mode := fs.FileMode(othersMode)
		if rel == source.Home || strings.HasPrefix(rel, source.Home+"/") {
			mode = ownMode
		}
		dest, err = spool.OpenBeneath(root, rel, mode)
	} else {
		if err = spool.MakeDirs(filepath.Clean(dir), othersMode); err == nil {
			dest, err = spool.OpenDir(dir)
		}
	}
	if err != nil {
		return err
	}
	defer dest.Close()
	final, err := spool.MoveAt(ctx, from, base, dest, as, id)
	if err == nil && away != nil {
		away.To = filepath.Join(dir, final)
	}
	return err
}

// idOf is the file that an arrival's bytes were read from.
func idOf(a *ingest.Arrival) spool.ID {
	return spool.ID{Device: a.Device, Inode: a.Inode, Size: a.Size, ModTime: a.ModTime}
}
