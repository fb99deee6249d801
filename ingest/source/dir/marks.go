package dir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"ingestd/ingest/source"
	"ingestd/ingest/spool"
)

// takeMarks moves the done_files and sidecars of files in dir out of sight,
// durably, and returns those files that had all that is asked for.
func (c *claim) takeMarks(from *os.File, dir string, batch []source.Entry, index []int) ([]int, error) {
	if len(c.p.marksOf("x")) == 0 {
		return index, nil
	}
	marks, err := spool.OpenBeneath(c.root, marksDir, ownMode)
	if err != nil {
		return nil, err
	}
	defer marks.Close()
	to, err := spool.MakeBeneath(marks, path.Join(c.token, dir), ownMode)
	if err != nil {
		return nil, err
	}
	defer to.Close()
	var had []int
	for _, i := range index {
		all, err := c.takeMarksOf(from, to, batch[i].Name)
		if err != nil {
			return nil, err
		}
		if all {
			had = append(had, i)
		}
	}
	// No file may reach work/ durably before its done_file has left: the next
	// file of that name would be taken for whole.
	return had, errors.Join(spool.SyncBeneath(marks, path.Join(c.token, dir)), from.Sync())
}

// takeMarksOf takes those of one file: all, or none.
func (c *claim) takeMarksOf(from, to *os.File, name string) (all bool, err error) {
	for _, marker := range c.p.marksOf(name) {
		switch err := moveMark(from, to, path.Base(marker)); {
		case err == nil:
			c.marks[marker] = true
			continue
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, spool.ErrIrregular):
			c.p.tracker.Gone(marker)
		case errors.Is(err, fs.ErrPermission):
			c.p.tracker.Refuse(name, source.Unmovable, fmt.Errorf("%q beside it may not be moved: %w", path.Base(marker), cause(err)))
		default:
			return false, err
		}
		return false, c.restoreMarks(from, name)
	}
	return true, nil
}

// marksOf are the names of the files that have to stand beside a file.
func (p *pass) marksOf(name string) (marks []string) {
	f := p.tracker.Filter()
	for _, m := range []string{f.Marker(name), f.Sidecar(name)} {
		if m != "" {
			marks = append(marks, m)
		}
	}
	return marks
}

func moveMark(from, to *os.File, base string) error {
	info, err := spool.StatAt(from, base)
	if err != nil {
		return err
	}
	if !info.Regular() {
		return spool.ErrIrregular
	}
	return spool.RenameAt(from, base, to, base)
}

// restoreMarks puts back what stood beside a file because the file was not
// claimed.
func (c *claim) restoreMarks(from *os.File, name string) error {
	for _, marker := range c.p.marksOf(name) {
		if !c.marks[marker] {
			continue
		}
		delete(c.marks, marker)
		if err := restoreMark(c.root, from, c.token, marker); err != nil {
			return err
		}
	}
	return nil
}

// dropMarks removes the done_files of files that are durably in work/.
func (c *claim) dropMarks() error {
	for marker := range c.marks {
		if _, ok := c.p.tracker.Filter().Marks(marker); ok {
			if err := dropMark(c.root, c.token, marker); err != nil {
				return err
			}
		}
		c.p.tracker.Gone(marker)
	}
	return nil
}

// restoreMark moves a done_file or sidecar from marks/ back to where it stood.
func restoreMark(root, from *os.File, token, marker string) error {
	return atMark(root, token, marker, func(at *os.File, base string) error {
		err := spool.RenameAt(at, base, from, base)
		if errors.Is(err, fs.ErrExist) {
			return spool.RemoveAt(at, base) // a newer one says the same
		}
		return err
	})
}

// dropMark removes a done_file from marks/.
func dropMark(root *os.File, token, marker string) error {
	return atMark(root, token, marker, spool.RemoveAt)
}

// atMark calls f for the directory and name of what is in marks/, and
// removes the directory if that left it empty.
func atMark(root *os.File, token, marker string, f func(at *os.File, base string) error) error {
	marks, err := spool.OpenBeneath(root, marksDir, 0)
	if err != nil {
		return err
	}
	defer marks.Close()
	dir := path.Join(token, path.Dir(marker))
	at, err := spool.OpenBeneath(marks, dir, 0)
	if err != nil {
		return err
	}
	defer at.Close()
	if err := f(at, path.Base(marker)); err != nil {
		return err
	}
	return spool.RemoveEmpty(marks, dir)
}
