package sftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/source"
	"ingestd/ingest/spool"

	"github.com/pkg/sftp"
)

// Dispose decides where an ended arrival's file goes, without asking the
// server: where the name turns out to be taken, PutAway finds another.
func (s *Source) Dispose(_ context.Context, a *ingest.Arrival) (ingest.Disposition, error) {
	when := s.done
	switch a.State {
	case ingest.Done, ingest.DuplicateState:
	case ingest.Failed:
		when = s.failed
	default:
		return ingest.Disposition{}, fmt.Errorf("decide where %q goes: it is %s, not ended", a.Name, a.State)
	}
	from, ours := s.fromOrigin(a.Origin)
	if a.Keep || !ours || !s.o.Spool.Holds(a.Path) {
		return ingest.Disposition{Action: source.Keep}, nil
	}
	if when.Action != source.Move {
		return ingest.Disposition{Action: when.Action}, nil
	}
	dir, base := when.Destination(s.o.Pipeline, a.Name, a.FoundAt)
	if !path.IsAbs(dir) {
		dir = path.Join(folderOf(from, a.Name), dir)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	base, err := spool.FreeName(base, func(name string) (bool, error) {
		return s.taken[path.Join(dir, name)], nil
	})
	if err != nil {
		return ingest.Disposition{}, fmt.Errorf("decide where %q goes: %w", a.Name, err)
	}
	to := path.Join(dir, base)
	s.taken[to] = true
	return ingest.Disposition{Action: source.Move, To: s.origin(to)}, nil
}

// folderOf is the folder in which a file was found, also if the source has
// another by now.
func folderOf(remote, name string) string {
	dir := strings.TrimSuffix(remote, name)
	if dir == "" {
		return "."
	}
	return path.Clean(dir)
}

// PutAway carries a.Away out on the server and keeps our copy for a replay, where
// there is room. It may be
// repeated after a crash at any instant: a file that is gone was put away, and
// one that is not the one that was read, by size and mtime, is left alone. Where
// the destination is taken the file gets a numbered name and a.Away.To is set to
// it.
func (s *Source) PutAway(ctx context.Context, a *ingest.Arrival) error {
	if a.Keep || !s.o.Spool.Holds(a.Path) {
		return nil
	}
	promised := a.Away.To
	err := s.putAway(ctx, a)
	s.mu.Lock()
	if err != nil {
		if len(s.stuck) == 0 {
			s.since = time.Now()
		}
		s.stuck[a.ID], s.reason = true, err
	} else {
		delete(s.stuck, a.ID)
		if to, ok := s.fromOrigin(promised); ok {
			delete(s.taken, to)
		}
	}
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("put %q away (%s): %w", a.Name, a.Away.Action, err)
	}
	return nil
}

func (s *Source) putAway(ctx context.Context, a *ingest.Arrival) error {
	switch a.Away.Action {
	case source.Move, source.Delete, source.Keep:
	default:
		return fmt.Errorf("action %q was not decided by this source", a.Away.Action)
	}
	from, ours := s.fromOrigin(a.Origin)
	if ours && a.Away.Action != source.Keep {
		if err := s.pool.using(ctx, func(c *conn) error { return s.carryOut(ctx, c, a, from) }); err != nil {
			return err
		}
	}
	// The copy goes last: as long as it is there, the arrival is ours to end.
	if a.State == ingest.DuplicateState || s.o.Spare != nil && !s.o.Spare() {
		return s.o.Spool.Remove(a.Path) // what it is a duplicate of is kept, or there is no room
	}
	return s.o.Spool.Keep(a.Path, a.State == ingest.Failed, time.Now())
}

// carryOut moves or deletes the file called from.
func (s *Source) carryOut(ctx context.Context, c *conn, a *ingest.Arrival, from string) error {
	var fi fs.FileInfo
	err := c.do(ctx, "look", func() (err error) {
		fi, err = c.Lstat(from)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	now := entry(a.Name, fi)
	if !now.Mode.IsRegular() || now.Size != a.Size || !now.ModTime.Equal(a.ModTime) {
		s.log.Info("file has changed since it was fetched and stays", "pipeline", s.o.Pipeline,
			"path", s.place(), "name", fmt.Sprintf("%q", a.Name))
		return nil
	}
	// The done_file first: a new file of that name would be taken for whole.
	if err := s.removeMarker(ctx, c, a.Name, from); err != nil {
		return err
	}
	if a.Away.Action == source.Delete {
		if err := s.putSidecarAway(ctx, c, a, from, ""); err != nil {
			return err
		}
		err := c.do(ctx, "delete", func() error { return c.Remove(from) })
		return unlessGone(err)
	}
	to, ok := s.fromOrigin(a.Away.To)
	if !ok {
		return fmt.Errorf("its destination %q is not on this server", a.Away.To)
	}
	return s.move(ctx, c, from, to, a)
}

func (s *Source) removeMarker(ctx context.Context, c *conn, name, from string) error {
	marker := s.filter.Marker(path.Base(name))
	if marker == "" {
		return nil
	}
	err := c.do(ctx, "delete its done_file", func() error { return c.Remove(path.Join(path.Dir(from), marker)) })
	return unlessGone(err)
}

func unlessGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// move renames to the first free name in the row of to. Where the server has
// posix-rename, which overwrites, the name is looked at first; the plain rename
// of most servers refuses a name that is taken.
func (s *Source) move(ctx context.Context, c *conn, from, to string, a *ingest.Arrival) error {
	s.orders.Lock()
	defer s.orders.Unlock()
	dir, as := path.Split(to)
	if err := s.makeDirs(ctx, c, path.Clean(dir)); err != nil {
		return err
	}
	base, err := spool.FreeName(as, func(name string) (bool, error) {
		if p := path.Join(dir, name); name != as && s.promised(p) {
			return true, nil
		}
		return s.exists(ctx, c, path.Join(dir, name))
	})
	if err != nil {
		return err
	}
	final := path.Join(dir, base)
	if err := s.putSidecarAway(ctx, c, a, from, final); err != nil {
		return fmt.Errorf("move its sidecar: %w", err)
	}
	err = c.do(ctx, fmt.Sprintf("rename it to %q", final), func() error { return rename(c, from, final) })
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.forget(path.Clean(dir)) // the directory may be gone
		return fmt.Errorf("rename to %q: %w", final, err)
	case err != nil && !lost(err):
		return fmt.Errorf("rename to %q: %w; the user needs the right to write in both directories, on one filesystem", final, err)
	case err != nil:
		return err
	}
	a.Away.To = s.origin(final)
	return nil
}

// rename renames by what the server has: posix-rename, where it has it, is one
// step for everybody who looks.
func rename(c *conn, from, to string) error {
	if c.posix {
		return c.PosixRename(from, to)
	}
	return c.Rename(from, to)
}

func (s *Source) promised(p string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken[p]
}

func (s *Source) forget(dir string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.made, dir)
}

// makeDirs makes a directory and its missing parents.
func (s *Source) makeDirs(ctx context.Context, c *conn, dir string) error {
	s.mu.Lock()
	made := s.made[dir]
	s.mu.Unlock()
	if made || dir == "/" || dir == "." {
		return nil
	}
	err := c.do(ctx, "look at the directory", func() error {
		fi, err := c.Stat(dir)
		if err == nil && !fi.IsDir() {
			return &sftp.StatusError{Code: uint32(sftp.ErrSSHFxFailure)}
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		if err := s.makeDirs(ctx, c, path.Dir(dir)); err != nil {
			return err
		}
		err = c.do(ctx, "make the directory", func() error { return c.Mkdir(dir) })
		if err != nil && !lost(err) { // another may have made it meanwhile
			if c.do(ctx, "look", func() error { _, err := c.Stat(dir); return err }) == nil {
				err = nil
			}
		}
	}
	if err != nil {
		return fmt.Errorf("make the directory %q: %w", dir, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.made) > 1000 { // {date} makes one a day
		clear(s.made)
	}
	s.made[dir] = true
	return nil
}
