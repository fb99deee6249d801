package dir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"ingestd/ingest"
	"ingestd/ingest/source"
	"ingestd/ingest/spool"
)

// copy copies those files of a batch into the spool that were not taken up
// before; the originals stay as they are.
func (p *pass) copy(ctx context.Context, batch []source.Entry) ([]ingest.Found, error) {
	root, err := p.folder.open()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	var found []ingest.Found
	for i := range batch {
		if ctx.Err() != nil {
			break
		}
		f, err := p.copyFile(ctx, root, &batch[i])
		if err != nil {
			return found, err
		}
		if f != nil {
			found = append(found, *f)
		}
	}
	return found, nil
}

func (p *pass) copyFile(ctx context.Context, root *os.File, e *source.Entry) (*ingest.Found, error) {
	known, err := p.to.Known(ctx, filepath.Join(p.s.path, e.Name), e.Size, e.ModTime)
	if err != nil {
		return nil, &refusal{fmt.Errorf("ask whether %q was taken up before: %w", e.Name, err)}
	}
	if known {
		p.tracker.Taken(*e)
		return nil, nil
	}
	from, err := spool.OpenBeneath(root, path.Dir(e.Name), 0)
	if err != nil {
		p.tracker.Gone(e.Name) // its directory is gone, or a link now
		return nil, nil
	}
	defer from.Close()
	f, ok := p.open(from, e)
	if !ok {
		return nil, nil
	}
	defer f.Close()
	doubt, err := p.proven(ctx, from, f, e.Name, e.Size)
	if err != nil {
		return nil, err
	}
	if doubt != nil {
		// It stays, and so may yet become whole.
		if p.tracker.Unproven(e.Name, doubt) {
			p.tracker.Refuse(e.Name, source.Unproven, doubt)
		}
		return nil, nil
	}
	c, err := p.s.o.Spool.Copy(ctx, f, originLabel(e))
	if errors.Is(err, spool.ErrChanged) {
		err = nil
	} else if err != nil {
		return nil, fmt.Errorf("take %q up: %w", e.Name, err)
	}
	info, statErr := spool.StatAt(from, path.Base(e.Name))
	if now := p.folder.entry(e.Name, info); statErr != nil || !now.Same(e) || c.Path == "" {
		// Written to or replaced while it was copied.
		if c.Path != "" {
			err = p.s.o.Spool.Remove(c.Path)
		}
		if statErr != nil {
			p.tracker.Gone(e.Name)
		} else {
			p.tracker.Again(now)
		}
		return nil, err
	}
	return p.found(e, c.Path, c.Device, c.Inode), nil
}

// originLabel notes in a copy's name which file it is of, so that whoever puts
// the original away later knows it again without asking anybody.
func originLabel(e *source.Entry) string {
	return strconv.FormatUint(e.Inode, 16)
}

// original is the ID of the file that an arrival's spool file is a copy of.
func original(a *ingest.Arrival) (spool.ID, error) {
	label, _, _ := strings.Cut(spool.Label(a.Path), "-")
	inode, err := strconv.ParseUint(label, 16, 64)
	if err != nil {
		return spool.ID{}, fmt.Errorf("the spool file %q does not say what it is a copy of", a.Path)
	}
	return spool.ID{Inode: inode, Size: a.Size, ModTime: a.ModTime}, nil
}
