package sftp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"ingestd/ingest/spool"

	"github.com/pkg/sftp"
)

// report is the remote path of the report called name.
func (s *Source) report(name string) (string, error) {
	if s.o.Reports == "" {
		return "", errors.New("there is no directory for reports")
	}
	if !fs.ValidPath(name) || name == "." {
		return "", fmt.Errorf("%q is no name of a report", name)
	}
	return path.Join(s.remote(s.o.Reports), name), nil
}

// Reported reports whether anything in the directory for reports is called
// name, which is local, with slashes.
func (s *Source) Reported(ctx context.Context, name string) (there bool, err error) {
	to, err := s.report(name)
	if err != nil {
		return false, err
	}
	err = s.pool.using(ctx, func(c *conn) error {
		err := c.do(ctx, "look", func() error { _, err := c.Lstat(to); return err })
		there = err == nil
		return unlessGone(err)
	})
	if err != nil {
		return false, fmt.Errorf("look for the report %s: %w", s.origin(to), err)
	}
	return there, nil
}

// Report writes the report called name: under a temporary name, synced where the
// server can, renamed over what stood there. content is called at most once; its
// error is returned with nothing changed. A nil content takes the report away.
// It may be repeated after a crash at any instant.
func (s *Source) Report(ctx context.Context, name string, content func(io.Writer) error) error {
	to, err := s.report(name)
	if err != nil {
		return err
	}
	err = s.pool.using(ctx, func(c *conn) error {
		if content == nil {
			return unlessGone(c.do(ctx, "delete", func() error { return c.Remove(to) }))
		}
		if err := s.makeDirs(ctx, c, path.Dir(to)); err != nil {
			return err
		}
		return s.write(ctx, c, to, content)
	})
	if err != nil {
		return fmt.Errorf("write the report %s: %w", s.origin(to), err)
	}
	return nil
}

// write writes one file whole, or none.
func (s *Source) write(ctx context.Context, c *conn, to string, content func(io.Writer) error) error {
	stop := c.bind(ctx)
	defer stop()
	dir, base := path.Split(to)
	// Always the same, so that what a crash left is used up by the next try.
	tmp := path.Join(dir, spool.Numbered("."+base+".tmp", 0))
	var file *sftp.File
	err := c.ask("make "+tmp, func() (err error) {
		file, err = c.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		s.forget(path.Clean(dir)) // somebody removed the directory; the next try makes it
	}
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(asked{c, file}, chunk)
	err = content(out)
	if err == nil {
		err = out.Flush()
	}
	if _, can := c.HasExtension("fsync@openssh.com"); err == nil && can {
		err = c.ask("sync", file.Sync)
	}
	if cerr := c.ask("close", file.Close); err == nil {
		err = cerr
	}
	if err == nil {
		err = s.replace(c, tmp, to)
	}
	if err != nil && !lost(err) {
		_ = c.ask("delete", func() error { return c.Remove(tmp) })
	}
	return err
}

// replace renames over what stands at to. Where the server's rename does not
// overwrite, the old report goes first: the new one is whole beside it.
func (s *Source) replace(c *conn, tmp, to string) error {
	err := c.ask("rename", func() error { return rename(c, tmp, to) })
	if err == nil || lost(err) || c.posix {
		return err
	}
	if rerr := c.ask("delete", func() error { return c.Remove(to) }); rerr != nil {
		return err
	}
	return c.ask("rename", func() error { return rename(c, tmp, to) })
}

// asked is a file whose writes the watchdog sees.
type asked struct {
	c *conn
	f *sftp.File
}

func (a asked) Write(p []byte) (n int, err error) {
	err = a.c.ask("write", func() error {
		n, err = a.f.Write(p)
		return err
	})
	return n, err
}
