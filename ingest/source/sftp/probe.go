package sftp

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"ingestd/ingest/source"
)

// probeName starts the name of the file by which a probe finds out what is
// allowed; the default ignore keeps it from being taken up.
const probeName = ".ingestd-check-"

// Probe tries what the source will do: log in, list the folder, read a file,
// and, where files are to be moved or deleted, rename and delete, on a file of
// its own that it makes for that. The error says what is missing; the notes what
// could not be found out. No file of anybody else is touched, but read.
func (s *Source) Probe(ctx context.Context) (notes []string, err error) {
	err = s.pool.using(ctx, func(c *conn) error {
		name, size, err := s.probeList(ctx, c)
		if err != nil {
			return err
		}
		switch {
		case s.o.Mailbox:
			notes = append(notes, "no file was read: that would take it out of the mailbox")
		case name == "":
			notes = append(notes, "no file is there now, so reading was not tried")
		default:
			if err := s.probeRead(ctx, c, name, size); err != nil {
				return err
			}
		}
		if s.done.Action == source.Keep && s.failed.Action == source.Keep {
			return nil
		}
		more, err := s.probeWrite(ctx, c)
		notes = append(notes, more...)
		return err
	})
	return notes, err
}

// probeList lists the folder and returns the first file that is wanted.
func (s *Source) probeList(ctx context.Context, c *conn) (name string, size int64, err error) {
	filter, err := source.NewFilter(s.rules)
	if err != nil {
		return "", 0, err
	}
	err = s.lister(c, filter).List(ctx, func(e source.Entry) error {
		if name == "" && e.Mode.IsRegular() {
			name, size = e.Name, e.Size
		}
		return nil
	})
	return name, size, err
}

func (s *Source) probeRead(ctx context.Context, c *conn, name string, size int64) error {
	err := c.do(ctx, "read", func() error {
		f, err := c.Open(s.remote(name))
		if err != nil {
			return err
		}
		defer f.Close()
		if size == 0 {
			return nil
		}
		if _, err = f.ReadAt(make([]byte, 1), 0); err == io.EOF {
			err = nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("may list %s but not read %q: %w", s.place(), name, err)
	}
	return nil
}

// probeWrite makes a file, renames and deletes it.
func (s *Source) probeWrite(ctx context.Context, c *conn) (notes []string, err error) {
	var r [6]byte
	rand.Read(r[:])
	own := s.remote(probeName + hex.EncodeToString(r[:]))
	err = c.do(ctx, "make a file", func() error {
		f, err := c.OpenFile(own, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
		if err == nil {
			err = f.Close()
		}
		return err
	})
	if lost(err) {
		return nil, err
	}
	if err != nil {
		return []string{fmt.Sprintf("a file of our own may not be made there (%v), so renaming and deleting were not tried; "+
			"the user needs the right to do so for when_done and when_failed", err)}, nil
	}
	var errs []error
	for _, when := range []source.When{s.done, s.failed} {
		if when.Action != source.Move {
			continue
		}
		to := s.remote(path.Join(when.Fixed(), path.Base(own)))
		if to == own {
			to += "-2"
		}
		err := c.do(ctx, "rename", func() error { return rename(c, own, to) })
		switch {
		case lost(err):
			return nil, err
		case err == nil:
			own = to
		case s.isMissing(ctx, c, path.Dir(to)):
			notes = append(notes, fmt.Sprintf("the directory %q is not there yet; it is made when it is needed", path.Dir(to)))
			// Whether files may be renamed at all can be told all the same.
			to = own + "-2"
			if err := c.do(ctx, "rename", func() error { return rename(c, own, to) }); err == nil {
				own = to
			} else {
				errs = append(errs, fmt.Errorf("may not rename files in %s: %w", s.place(), err))
			}
		default:
			errs = append(errs, fmt.Errorf("may not move files from %s to %q: %w", s.place(), path.Dir(to), err))
		}
	}
	if err := c.do(ctx, "delete", func() error { return c.Remove(own) }); err != nil {
		errs = append(errs, fmt.Errorf("may not delete files in %s: %w; %q is left there", s.place(), err, own))
	}
	return notes, errors.Join(errs...)
}

func (s *Source) isMissing(ctx context.Context, c *conn, dir string) bool {
	return errors.Is(c.do(ctx, "look", func() error { _, err := c.Stat(dir); return err }), os.ErrNotExist)
}
