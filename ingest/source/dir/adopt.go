package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"ingestd/ingest"
	"ingestd/ingest/source"
	"ingestd/ingest/spool"
)

// adopt takes over what an earlier pass left: done_files without their file go
// back, files in work/ that are nobody's arrival are handed over, spool copies
// that are nobody's are removed.
func (p *pass) adopt(ctx context.Context) error {
	owned, err := p.to.Owned(ctx)
	if err != nil {
		return &refusal{fmt.Errorf("ask what is under way from %q: %w", p.s.path, err)}
	}
	if err := p.dropOrphans(owned); err != nil {
		return err
	}
	root, err := p.folder.open()
	if err != nil {
		return err
	}
	defer root.Close()
	if err := p.restoreMarks(ctx, root); err != nil {
		return fmt.Errorf("put done_files back in %q: %w", p.s.path, err)
	}
	found, err := p.leftovers(ctx, root, owned)
	if err != nil {
		return fmt.Errorf("look for work left in %q: %w", p.s.path, err)
	}
	for batch := range slices.Chunk(found, perAccept) {
		if _, err := p.to.Accept(ctx, batch); err != nil {
			return &refusal{fmt.Errorf("hand over work left in %q: %w", p.s.path, err)}
		}
		for i := range batch {
			p.s.log.Info("work left by an earlier run was taken over", "pipeline", p.s.o.Pipeline,
				"path", p.s.path, "name", fmt.Sprintf("%q", batch[i].Name))
		}
	}
	return nil
}

func (p *pass) dropOrphans(owned map[string]bool) error {
	for _, path := range p.s.orphans {
		if owned[path] {
			continue
		}
		if err := p.s.o.Spool.Remove(path); err != nil {
			return err
		}
	}
	p.s.orphans = nil
	return nil
}

// leftovers finds files in work/ that no arrival owns. They are known by what
// comes after work/, which is unique: the folder may be configured by another
// path now.
func (p *pass) leftovers(ctx context.Context, root *os.File, owned map[string]bool) ([]ingest.Found, error) {
	ours := make(map[string]bool, len(owned))
	for path := range owned {
		if i := strings.LastIndex(path, "/"+workDir+"/"); i >= 0 {
			ours[path[i+len("/"+workDir+"/"):]] = true
		}
	}
	var found []ingest.Found
	err := p.eachOwn(ctx, root, workDir, func(at *os.File, token, name string, info spool.Info) error {
		if ours[token+"/"+name] {
			return nil
		}
		back, err := p.unfinished(root, at, name)
		if err != nil || back {
			return err
		}
		e := p.folder.entry(name, info)
		f := p.found(&e, filepath.Join(p.s.path, workDir, token, name), e.Device, e.Inode)
		if f.Refused, err = p.provenIn(ctx, root, at, token, name); err != nil {
			return err
		}
		found = append(found, *f)
		return nil
	})
	slices.SortFunc(found, func(a, b ingest.Found) int {
		if c := a.ModTime.Compare(b.ModTime); c != 0 && p.s.rules.Order != source.ByName {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return found, err
}

// unfinished puts a file back into the folder that somebody is still writing
// to: the pass that claimed it ended before it could see that.
func (p *pass) unfinished(root, at *os.File, name string) (bool, error) {
	f, _, err := spool.OpenAt(at, path.Base(name))
	if err != nil {
		return false, nil // what reads it will say what is wrong
	}
	defer f.Close()
	if !spool.Writing(f) {
		return false, nil
	}
	to, err := spool.OpenBeneath(root, path.Dir(name), othersMode)
	if err != nil {
		return false, err
	}
	defer to.Close()
	_, err = spool.MoveAt(context.Background(), at, path.Base(name), to, path.Base(name), spool.ID{})
	return true, err
}

// restoreMarks ends claims that were broken off between a done_file or sidecar
// and its file: where the file is in work/ the done_file goes and the sidecar
// stays, else it goes back.
func (p *pass) restoreMarks(ctx context.Context, root *os.File) error {
	return p.eachOwn(ctx, root, marksDir, func(at *os.File, token, marker string, _ spool.Info) error {
		data, done := p.tracker.Filter().Marks(marker)
		side := false
		if !done {
			data, side = p.tracker.Filter().Proves(marker)
		}
		if done || side {
			work, err := spool.OpenBeneath(root, path.Join(workDir, token, path.Dir(data)), 0)
			if err == nil {
				_, err = spool.StatAt(work, path.Base(data))
				work.Close()
			}
			if err == nil && side {
				return nil
			}
			if err == nil {
				return spool.RemoveAt(at, path.Base(marker))
			}
			if !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		from, err := spool.OpenBeneath(root, path.Dir(marker), othersMode)
		if err != nil {
			return err
		}
		defer from.Close()
		if err := restoreMark(root, from, token, marker); err != nil {
			return err
		}
		return errors.Join(from.Sync(), at.Sync())
	})
}

// eachOwn calls f for each regular file that this pipeline has in work/ or
// marks/, by token and name, and removes directories that are empty then.
func (p *pass) eachOwn(ctx context.Context, root *os.File, own string, f func(at *os.File, token, name string, info spool.Info) error) error {
	top, err := spool.OpenBeneath(root, own, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer top.Close()
	tokens, err := top.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, token := range tokens {
		if !isToken(token) || !strings.HasPrefix(token, tokenPrefix(p.s.o.Pipeline)) {
			continue
		}
		if err := eachIn(ctx, top, token, 0, func(at *os.File, rel string, info spool.Info) error {
			return f(at, token, rel, info)
		}); err != nil {
			return err
		}
	}
	return nil
}

// eachIn calls f for each regular file below dir, with its name relative to
// the first element of dir.
func eachIn(ctx context.Context, top *os.File, dir string, depth int, f func(at *os.File, rel string, info spool.Info) error) error {
	if err := ctx.Err(); err != nil || depth > maxDepth {
		return err
	}
	at, err := spool.OpenBeneath(top, dir, 0)
	if err != nil {
		return nil // gone, or no directory: none of ours
	}
	defer at.Close()
	names, err := at.Readdirnames(-1)
	if err != nil {
		return err
	}
	_, rel, _ := strings.Cut(dir, "/")
	for _, name := range names {
		info, err := spool.StatAt(at, name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return err
		case info.Mode.IsDir():
			err = eachIn(ctx, top, path.Join(dir, name), depth+1, f)
		case info.Regular():
			err = f(at, path.Join(rel, name), info)
		}
		if err != nil {
			return err
		}
	}
	return spool.RemoveEmpty(top, dir)
}
