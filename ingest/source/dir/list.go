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

	"ingestd/ingest/source"
	"ingestd/ingest/spool"
)

// maxDepth bounds how many directories deep a recursive source looks.
const maxDepth = 64

// A folder is the source's folder as it was when attached.
type folder struct {
	path    string
	device  uint64
	inode   uint64
	mounted bool // a filesystem of its own begins here
	volume  spool.Volume
}

// attach looks at the folder. was is what it was before, or nil: where a
// filesystem was mounted and is no more, what is left is not the folder.
func attach(path string, was *folder) (*folder, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, fmt.Errorf("look into the folder %q: %w", path, cause(err))
	}
	here, err := spool.Stat(real)
	if err == nil && !here.Mode.IsDir() {
		err = errors.New("it is no directory")
	}
	if err != nil {
		return nil, fmt.Errorf("look into the folder %q: %w", path, cause(err))
	}
	above, err := spool.Stat(filepath.Dir(real))
	if err != nil {
		return nil, fmt.Errorf("look above the folder %q: %w", path, cause(err))
	}
	f := &folder{
		path:    path,
		device:  here.Device,
		inode:   here.Inode,
		mounted: here.Device != above.Device,
	}
	if was != nil && was.mounted && !f.mounted {
		return nil, fmt.Errorf("look into the folder %q: the filesystem that was mounted there is gone; "+
			"mount it again, or reload if this is meant", path)
	}
	if f.volume, err = spool.VolumeOf(path); err != nil {
		return nil, err
	}
	return f, nil
}

// open opens the folder, if it is still the one that was attached: between
// two looks anything may have been mounted, unmounted or renamed.
func (f *folder) open() (*os.File, error) {
	root, err := spool.OpenDir(f.path)
	if err != nil {
		return nil, fmt.Errorf("look into the folder %q: %w", f.path, cause(err))
	}
	now, err := spool.StatAt(root, ".")
	if err == nil && (now.Device != f.device || f.volume.Inodes && now.Inode != f.inode) {
		err = errReplaced
	}
	if err != nil {
		root.Close()
		return nil, err
	}
	return root, nil
}

// cause drops the operation and path that a message already has.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// A lister lists the folder, never through a link.
type lister struct {
	s      *Source
	f      *folder
	filter *source.Filter
	enter  func(path string) // called before a directory is read
}

var _ source.Lister = (*lister)(nil)

// List yields the wanted entries of the folder.
func (l *lister) List(ctx context.Context, yield func(source.Entry) error) error {
	root, err := l.f.open()
	if err != nil {
		return err
	}
	defer root.Close()
	if l.enter != nil {
		l.enter(l.f.path)
	}
	if err := l.walk(ctx, root, "", 0, yield); err != nil {
		return fmt.Errorf("list the folder %q: %w", l.f.path, err)
	}
	return nil
}

// walk lists d, whose relative name is rel ("" or ending in a slash).
func (l *lister) walk(ctx context.Context, d *os.File, rel string, depth int, yield func(source.Entry) error) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		es, err := d.ReadDir(1024)
		for _, e := range es {
			if err := l.entry(ctx, d, rel, e, depth, yield); err != nil {
				return err
			}
		}
		if err == io.EOF || err == nil && len(es) == 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (l *lister) entry(ctx context.Context, d *os.File, rel string, e os.DirEntry, depth int, yield func(source.Entry) error) error {
	if e.IsDir() {
		return l.descend(ctx, d, rel, e.Name(), depth, yield)
	}
	if !e.Type().IsRegular() || !l.filter.WantsBase(rel, e.Name()) {
		return nil
	}
	info, err := spool.StatAt(d, e.Name())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return yield(l.f.entry(rel+e.Name(), info))
}

// descend lists a directory on the way. One that cannot be opened (it has just
// become a link, or is closed to us) hides only its own files.
func (l *lister) descend(ctx context.Context, d *os.File, rel, base string, depth int, yield func(source.Entry) error) error {
	if depth >= maxDepth || l.s.skip[rel+base] || !l.filter.Enters(rel+base) {
		return nil
	}
	sub, err := spool.OpenBeneath(d, base, 0)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) && !l.s.closed[rel+base] {
			l.s.closed[rel+base] = true
			l.s.problem(&source.Problem{Kind: source.Unreadable, Name: rel + base, Err: cause(err)})
		}
		return nil
	}
	defer sub.Close()
	delete(l.s.closed, rel+base)
	if l.enter != nil {
		l.enter(filepath.Join(l.f.path, rel, base))
	}
	return l.walk(ctx, sub, rel+base+"/", depth+1, yield)
}

// look is what one name looks like now. A directory is listed, new files in it
// included.
func (l *lister) look(ctx context.Context, name string, t *source.Tracker) error {
	root, err := l.f.open()
	if err != nil {
		return err
	}
	defer root.Close()
	parent, err := spool.OpenBeneath(root, path.Dir(name), 0)
	if err != nil {
		t.Gone(name) // its directory is gone, or a link now
		return nil
	}
	defer parent.Close()
	info, err := spool.StatAt(parent, path.Base(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		t.Gone(name)
	case err != nil:
		return fmt.Errorf("look at %q: %w", name, cause(err))
	case info.Mode.IsDir():
		dir, base := path.Split(name)
		return l.descend(ctx, parent, dir, base, 0, func(e source.Entry) error {
			t.Look(e)
			return nil
		})
	case l.filter.Wants(name):
		t.Look(l.f.entry(name, info))
	}
	return nil
}

// entry is an Entry of what was seen. Where inode numbers mean nothing they
// are left out.
func (f *folder) entry(name string, info spool.Info) source.Entry {
	e := source.Entry{
		Name:    name,
		Size:    info.Size,
		ModTime: info.ModTime,
		Device:  info.Device,
		Inode:   info.Inode,
		Mode:    info.Mode,
		Links:   info.Links,
	}
	if !f.volume.Inodes {
		e.Inode = 0
	}
	return e
}
