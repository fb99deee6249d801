package sftp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"ingestd/ingest/source"
)

// Bounds of a listing. The library keeps a whole directory's answer in memory,
// so it is bounded in bytes as they come.
const (
	maxDepth    = 64
	listWithin  = 10 * time.Minute
	listBytes   = 64 << 20  // of one directory: some 400,000 usual names
	listEntries = 1_000_000 // of all directories together
)

// errCapped says that a listing was cut off at one of the bounds.
var errCapped = errors.New("cut off")

// A lister lists the remote folder, never through a link.
type lister struct {
	s      *Source
	c      *conn
	filter *source.Filter
	within time.Duration
	bytes  int64
	left   int // entries that may still come

	refused int    // names that were not believed
	example string // one of them
	capped  bool
}

var _ source.Lister = (*lister)(nil)

func (s *Source) lister(c *conn, f *source.Filter) *lister {
	return &lister{s: s, c: c, filter: f, within: listWithin, bytes: listBytes, left: listEntries}
}

// List yields the wanted entries of the folder. Where there are more than the
// bounds allow, the first ones are all there are.
func (l *lister) List(ctx context.Context, yield func(source.Entry) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, l.within, fmt.Errorf("the listing took longer than %v", l.within))
	defer cancel()
	err := l.walk(ctx, "", 0, yield)
	if errors.Is(err, errCapped) {
		l.capped, err = true, nil
	}
	if err != nil {
		return fmt.Errorf("list %s: %w", l.s.place(), err)
	}
	return nil
}

// walk lists the directory rel, "" or ending in a slash.
func (l *lister) walk(ctx context.Context, rel string, depth int, yield func(source.Entry) error) error {
	infos, err := l.read(ctx, rel)
	if err != nil && !errors.Is(err, errCapped) {
		return err
	}
	for i, fi := range infos {
		infos[i] = nil // let go of as it is used: another directory may follow
		if l.left--; l.left < 0 {
			return errCapped
		}
		name := fi.Name()
		if judgeName(name) != nil {
			if l.refused++; l.example == "" {
				l.example = name
			}
			continue
		}
		switch {
		case fi.IsDir():
			if e := l.descend(ctx, rel+name, depth, yield); e != nil {
				return e
			}
		case fi.Mode().IsRegular() && l.filter.WantsBase(rel, name):
			if e := yield(entry(rel+name, fi)); e != nil {
				return e
			}
		}
	}
	return err
}

func (l *lister) descend(ctx context.Context, rel string, depth int, yield func(source.Entry) error) error {
	if depth >= maxDepth || l.s.skip[rel] || !l.filter.Enters(rel) {
		return nil
	}
	err := l.walk(ctx, rel+"/", depth+1, yield)
	if err != nil && refusal(err) {
		// Closed to us, or gone since: it hides only its own files.
		l.s.log.Debug("directory cannot be listed", "pipeline", l.s.o.Pipeline, "path", l.s.origin(l.s.remote(rel)), "error", err)
		return nil
	}
	return err
}

// read asks for one directory's entries: those that came before errCapped are
// returned with it.
func (l *lister) read(ctx context.Context, rel string) (infos []fs.FileInfo, err error) {
	lctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	l.c.watch.limit(l.bytes, func() { stop(errCapped) })
	defer l.c.watch.limit(0, nil)
	err = l.c.do(ctx, "read the directory", func() error {
		infos, err = l.c.ReadDirContext(lctx, l.s.remote(rel))
		if errors.Is(context.Cause(lctx), errCapped) {
			err = nil
		}
		return err
	})
	if err == nil && errors.Is(context.Cause(lctx), errCapped) {
		err = errCapped
	}
	return infos, err
}

// look is what one name looks like now.
func (l *lister) look(ctx context.Context, name string, t *source.Tracker) error {
	var fi fs.FileInfo
	err := l.c.do(ctx, fmt.Sprintf("look at %q", name), func() (err error) {
		fi, err = l.c.Lstat(l.s.remote(name))
		return err
	})
	switch {
	case lost(err):
		return err
	case err != nil:
		t.Gone(name)
	default:
		t.Look(entry(name, fi))
	}
	return nil
}

// entry is an Entry of what a server said.
func entry(name string, fi fs.FileInfo) source.Entry {
	e := source.Entry{Name: name, Size: fi.Size(), ModTime: fi.ModTime().UTC(), Mode: fi.Mode()}
	if e.Size < 0 { // beyond what a file can be: not one to be opened
		e.Mode |= fs.ModeIrregular
	}
	return e
}

// tell says what was left out of a listing, once while it stays so.
func (l *lister) tell(was int) {
	if l.refused > 0 && l.refused != was {
		l.s.problem(&source.Problem{Kind: source.BadName, Err: fmt.Errorf(
			"%d names are not one element of a path without control bytes, such as %q; their files are left alone", l.refused, path.Base(l.example))})
	}
	if l.capped {
		l.s.log.Warn("listing was cut off: the folder has too many names; move old files away",
			"pipeline", l.s.o.Pipeline, "path", l.s.place(), "bytes", l.bytes, "names", listEntries)
	}
}
