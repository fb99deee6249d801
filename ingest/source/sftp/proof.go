package sftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"ingestd/ingest"
	"ingestd/ingest/source"
	"ingestd/ingest/spool"

	"github.com/pkg/sftp"
)

// A doubtError says why a file that was fetched is not what its sidecar or its
// trailer says.
type doubtError struct{ err error }

func (e *doubtError) Error() string { return e.err.Error() }
func (e *doubtError) Unwrap() error { return e.err }

// prove returns a *doubtError where what was fetched is not what its sidecar and
// its trailer say. A mailbox has no sidecars, and is not waited for: what reads
// the file asks for the trailer.
func (f *fetch) prove(ctx context.Context) error {
	if f.s.o.Mailbox {
		return nil
	}
	if sidecar := f.s.filter.Sidecar(f.e.Name); sidecar != "" {
		sum, err := f.sidecar(sidecar)
		if err != nil {
			return err
		}
		err = sum.Verify(ctx, io.NewSectionReader(f.part.w, 0, f.e.Size))
		var mismatch *source.MismatchError
		switch {
		case errors.As(err, &mismatch):
			return &doubtError{mismatch}
		case err != nil:
			return &localError{fmt.Errorf("compare it with its sidecar: %w", err)}
		}
	}
	if f.s.o.Trailer == nil {
		return nil
	}
	err := f.s.o.Trailer(ctx, ingest.Input{Name: f.e.Name, Size: f.e.Size, ReaderAt: f.part.w})
	var unreadable *ingest.ReadError
	switch {
	case errors.As(err, &unreadable):
		return &doubtError{unreadable}
	case err != nil:
		return &localError{fmt.Errorf("look for its trailer: %w", err)}
	}
	return nil
}

// sidecar reads what the sidecar called name says of the file.
func (f *fetch) sidecar(name string) (source.Checksum, error) {
	doubt := func(err error) error {
		return &doubtError{fmt.Errorf("its sidecar %q cannot be read: %w", path.Base(name), err)}
	}
	text, err := f.small(f.s.remote(name), source.MaxSidecar)
	switch {
	case lost(err):
		return source.Checksum{}, err
	case err != nil:
		return source.Checksum{}, doubt(err)
	}
	sum, err := source.ParseChecksum(text, f.e.Name)
	if err != nil {
		return source.Checksum{}, &doubtError{err}
	}
	return sum, nil
}

// small reads a file of at most most bytes, and one more of a larger one.
func (f *fetch) small(remote string, most int) ([]byte, error) {
	var fi fs.FileInfo
	err := f.c.ask("look", func() (err error) {
		fi, err = f.c.Lstat(remote)
		return err
	})
	if err == nil && !fi.Mode().IsRegular() {
		err = spool.ErrIrregular
	}
	if err != nil {
		return nil, err
	}
	var file *sftp.File
	if err := f.c.ask("open", func() (err error) {
		file, err = f.c.Open(remote)
		return err
	}); err != nil {
		return nil, err
	}
	text := make([]byte, 0, 512)
	for len(text) <= most {
		buf := make([]byte, min(chunk, most+1-len(text)))
		n, err := f.at(file, buf, int64(len(text)))
		if err != nil {
			f.c.ask("close", file.Close)
			return nil, err
		}
		if text = append(text, buf[:n]...); n < len(buf) {
			break
		}
	}
	if err := f.c.ask("close", file.Close); lost(err) {
		return nil, err
	}
	return text, nil
}

// doubted decides what becomes of a file that was fetched and is not proven. It
// reports true where nothing more will come: the file is handed over to fail.
// Until then nothing is kept of it, for its bytes are what is in doubt.
func (p *pass) doubted(f *flight, doubt *doubtError) (finally bool) {
	if !p.tracker.Unproven(f.e.Name, doubt.err) {
		return false
	}
	if f.err = f.commit(); f.err != nil {
		return false
	}
	f.found.Refused = doubt.Error()
	return true
}

// putSidecarAway carries a.Away out for the sidecar of a file: it goes beside
// its file, which goes to dest. It goes before its file, since of a file that is
// gone nothing more is done.
func (s *Source) putSidecarAway(ctx context.Context, c *conn, a *ingest.Arrival, from, dest string) error {
	side := s.filter.Sidecar(from)
	if side == "" {
		return nil
	}
	var fi fs.FileInfo
	err := c.do(ctx, "look at its sidecar", func() (err error) {
		fi, err = c.Lstat(side)
		return err
	})
	switch {
	case err != nil:
		return unlessGone(err)
	case !fi.Mode().IsRegular():
		return nil
	case a.Away.Action == source.Delete:
		return unlessGone(c.do(ctx, "delete its sidecar", func() error { return c.Remove(side) }))
	}
	dir, as := path.Split(s.filter.Sidecar(dest))
	base, err := spool.FreeName(as, func(name string) (bool, error) { return s.exists(ctx, c, path.Join(dir, name)) })
	if err != nil {
		return err
	}
	err = c.do(ctx, "move its sidecar", func() error { return rename(c, side, path.Join(dir, base)) })
	return unlessGone(err)
}

// exists reports whether anything is called p on the server.
func (s *Source) exists(ctx context.Context, c *conn, p string) (bool, error) {
	err := c.do(ctx, "look at its destination", func() error {
		_, err := c.Lstat(p)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
