package dir

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/source"
	"ingestd/ingest/spool"
)

// take makes a batch ours and hands it over. Even where it fails in the
// middle, what is ours is handed over.
func (p *pass) take(ctx context.Context, batch []source.Entry) (int, error) {
	var (
		found []ingest.Found
		err   error
	)
	if p.s.copies() {
		found, err = p.copy(ctx, batch)
	} else {
		found, err = p.claim(ctx, batch)
	}
	if len(found) == 0 {
		return 0, err
	}
	if _, acceptErr := p.to.Accept(ctx, found); acceptErr != nil {
		if p.s.copies() {
			// It may have been stored all the same: the next start looks.
			for _, f := range found {
				p.s.orphans = append(p.s.orphans, f.Path)
			}
		}
		return 0, errors.Join(&refusal{fmt.Errorf("hand over what was found in %q: %w", p.s.path, acceptErr)}, err)
	}
	if p.s.copies() {
		copied := make(map[string]bool, len(found))
		for i := range found {
			copied[found[i].Name] = true
		}
		for i := range batch {
			if copied[batch[i].Name] {
				p.tracker.Taken(batch[i])
			}
		}
	}
	return len(found), err
}

// A claim moves files of one batch into a token directory of their own.
//
// The order makes a crash harmless at any instant: a done_file and a sidecar go
// first, into marks/, their file second, into work/, and all are durable before
// the done_file is removed; the sidecar stays until its file is put away.
// Restoring (see adopt.go) needs nothing else than what stands in the two.
type claim struct {
	p     *pass
	root  *os.File
	token string
	marks map[string]bool // the done_files and sidecars that were taken, by relative name
	// refused are those that will never be what their proof says, and why.
	refused map[string]string
}

func (p *pass) claim(ctx context.Context, batch []source.Entry) ([]ingest.Found, error) {
	root, err := p.folder.open()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	c := &claim{p: p, root: root, token: newToken(p.s.o.Pipeline), marks: map[string]bool{}, refused: map[string]string{}}

	// Directory by directory, so that each is made durable once; handed over in
	// their order.
	byDir := make([]int, len(batch))
	for i := range byDir {
		byDir[i] = i
	}
	slices.SortStableFunc(byDir, func(a, b int) int {
		return cmp.Compare(path.Dir(batch[a].Name), path.Dir(batch[b].Name))
	})
	found := make([]*ingest.Found, len(batch))
	for len(byDir) > 0 && err == nil && ctx.Err() == nil {
		dir := path.Dir(batch[byDir[0]].Name)
		n := slices.IndexFunc(byDir, func(i int) bool { return path.Dir(batch[i].Name) != dir })
		if n < 0 {
			n = len(byDir)
		}
		err = c.directory(ctx, dir, batch, byDir[:n], found)
		byDir = byDir[n:]
	}
	if err == nil {
		err = c.dropMarks()
	}
	if err != nil {
		// What is in work/ already is not known to be durable; it is adopted when
		// the folder is attached again.
		return nil, p.explain(err)
	}
	var out []ingest.Found
	for _, f := range found {
		if f != nil {
			out = append(out, *f)
		}
	}
	return out, nil
}

// directory claims those files of batch that are at index; all are in dir.
func (c *claim) directory(ctx context.Context, dir string, batch []source.Entry, index []int, found []*ingest.Found) error {
	from, err := spool.OpenBeneath(c.root, dir, 0)
	if err != nil {
		for _, i := range index { // its directory is gone, or a link now
			c.p.tracker.Gone(batch[i].Name)
		}
		return nil
	}
	defer from.Close()
	if index, err = c.prove(ctx, from, batch, index); err != nil || len(index) == 0 {
		return err
	}
	work, err := spool.OpenBeneath(c.root, workDir, ownMode)
	if err != nil {
		return err
	}
	defer work.Close()
	to, err := spool.MakeBeneath(work, path.Join(c.token, dir), ownMode)
	if err != nil {
		return err
	}
	defer to.Close()
	if index, err = c.takeMarks(from, dir, batch, index); err != nil {
		return err
	}
	for _, i := range index {
		if found[i], err = c.file(from, to, &batch[i]); err != nil {
			return err
		}
	}
	if err := errors.Join(spool.SyncBeneath(work, path.Join(c.token, dir)), from.Sync()); err != nil {
		return err
	}
	return spool.RemoveEmpty(work, path.Join(c.token, dir)) // where none was to be had
}

// file claims one file; nil, nil: it is not to be had now, and the tracker
// knows.
func (c *claim) file(from, to *os.File, e *source.Entry) (*ingest.Found, error) {
	base := path.Base(e.Name)
	f, ok := c.p.open(from, e)
	if !ok {
		return nil, c.restoreMarks(from, e.Name)
	}
	defer f.Close()
	switch err := spool.RenameAt(from, base, to, base); {
	case errors.Is(err, fs.ErrNotExist):
		c.p.tracker.Gone(e.Name)
		return nil, c.restoreMarks(from, e.Name)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EROFS):
		return nil, errors.Join(err, c.restoreMarks(from, e.Name))
	case errors.Is(err, syscall.EXDEV):
		c.p.tracker.Refuse(e.Name, source.Unmovable, errors.New(
			"its directory is on another filesystem than the folder; make it a source of its own"))
		return nil, c.restoreMarks(from, e.Name)
	case err != nil: // this one's trouble, not the folder's
		c.p.tracker.Refuse(e.Name, source.Unmovable, fmt.Errorf("cannot be moved: %w", cause(err)))
		return nil, c.restoreMarks(from, e.Name)
	}
	// Between the last look and the rename it may have been written to, or
	// another file may have taken its name.
	info, err := spool.StatAt(to, base)
	if err != nil {
		return nil, err
	}
	now := c.p.folder.entry(e.Name, info)
	if !now.Same(e) || !info.Regular() || spool.Writing(f) && !c.p.tracker.Busy(e.Name) {
		if err := c.putBack(from, to, base); err != nil {
			return nil, err
		}
		c.p.tracker.Again(now)
		return nil, c.restoreMarks(from, e.Name)
	}
	c.p.tracker.Gone(e.Name)
	path := filepath.Join(c.p.s.path, workDir, c.token, e.Name)
	found := c.p.found(e, path, now.Device, now.Inode)
	found.Refused = c.refused[e.Name]
	return found, nil
}

// open opens a ripe file and looks at it for the last time before it is taken.
func (p *pass) open(from *os.File, e *source.Entry) (*os.File, bool) {
	t := p.tracker
	f, info, err := spool.OpenAt(from, path.Base(e.Name))
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, spool.ErrIrregular):
		t.Gone(e.Name)
		return nil, false
	case err != nil:
		t.Refuse(e.Name, source.Unreadable, fmt.Errorf("may not be read: %w", cause(err)))
		return nil, false
	}
	now := p.folder.entry(e.Name, info)
	switch {
	case now.Links > 1:
		t.Look(now)
	case !now.Same(e):
		t.Again(now)
	case spool.Writing(f) && !t.Busy(e.Name):
	default:
		return f, true
	}
	f.Close()
	return nil, false
}

// putBack gives a file that was not to be claimed its name back, or, where
// that was taken meanwhile, a numbered one beside it.
func (c *claim) putBack(from, to *os.File, base string) error {
	err := spool.RenameAt(to, base, from, base)
	if errors.Is(err, fs.ErrExist) {
		_, err = spool.MoveAt(context.Background(), to, base, from, base, spool.ID{})
	}
	return err
}

// found is what is handed over about a file.
func (p *pass) found(e *source.Entry, path string, device, inode uint64) *ingest.Found {
	return &ingest.Found{
		Source:  p.s.o.Type,
		Name:    e.Name,
		Origin:  filepath.Join(p.s.path, e.Name),
		Path:    path,
		Size:    e.Size,
		ModTime: e.ModTime,
		Device:  device,
		Inode:   inode,
		FoundAt: time.Now().UTC(),
	}
}

// explain adds what to do to errors that a person must mend.
func (p *pass) explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("take files up from %q: %w; let ingestd write to the folder, "+
			"or set when_done: {action: keep} to read copies", p.s.path, err)
	default:
		return fmt.Errorf("take files up from %q: %w", p.s.path, err)
	}
}

// A token names the directory that one batch is claimed into: 16 hex digits,
// of which the first half stands for the pipeline. Pipelines may share a
// folder, and none may adopt what is another's.
func newToken(pipeline string) string {
	var r [4]byte
	rand.Read(r[:])
	return tokenPrefix(pipeline) + hex.EncodeToString(r[:])
}

func tokenPrefix(pipeline string) string {
	sum := sha256.Sum256([]byte(pipeline))
	return hex.EncodeToString(sum[:4])
}

func isToken(s string) bool {
	return len(s) == 16 && strings.Trim(s, "0123456789abcdef") == ""
}
