package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"ingestd/config"
	"ingestd/ingest/source"

	"golang.org/x/sys/unix"
)

// connectWithin bounds the try of one source or sink.
const connectWithin = 15 * time.Second

// A Connection is the result of one try.
type Connection struct {
	What  string `json:"what"`           // "source of pipeline orders", "sink crm"
	Error string `json:"error"`          // "" = it works
	Note  string `json:"note,omitempty"` // what could not be tried
}

// Connect tries every source and every sink of a config, without taking
// anything up and without sending anything.
func Connect(ctx context.Context, cfg *config.Config, version string) iter.Seq[Connection] {
	return func(yield func(Connection) bool) {
		try := func(what string, f func(context.Context) error) bool {
			return yield(connection(ctx, what, func(ctx context.Context) (string, error) { return "", f(ctx) }))
		}
		if !try("state directory "+cfg.StateDir, func(context.Context) error { return writable(cfg.StateDir) }) {
			return
		}
		for i := range cfg.Pipelines {
			p := &cfg.Pipelines[i]
			if d := folderOf(&p.Source); d != nil && !try("source of pipeline "+p.Name, func(context.Context) error {
				if _, err := os.Lstat(d.Path); p.Source.Type == "sftp_drop" && errors.Is(err, fs.ErrNotExist) {
					return writable(d.Path) // made at the first start
				}
				return tryDir(d)
			}) {
				return
			}
			if to := reports(p); to != "" && p.Source.Type == "dir" &&
				!try("receipts of pipeline "+p.Name, func(context.Context) error { return writable(to) }) {
				return
			}
			if p.Source.Type == "sftp" && !yield(connection(ctx, "source of pipeline "+p.Name, func(ctx context.Context) (string, error) {
				return trySFTP(ctx, cfg, p)
			})) {
				return
			}
		}
		w := newWeather(slog.New(slog.DiscardHandler))
		for i := range cfg.Sinks {
			s := &cfg.Sinks[i]
			if !try("sink "+s.Name, func(ctx context.Context) error {
				o, err := newOutlet(s, w, deaf{}, os.Stdout, version)
				if err != nil {
					return err
				}
				if o.connect != nil {
					err = o.connect(ctx)
				}
				return errors.Join(err, o.close())
			}) {
				return
			}
		}
	}
}

// connection is the result of one try.
func connection(ctx context.Context, what string, f func(context.Context) (string, error)) Connection {
	ctx, cancel := context.WithTimeoutCause(ctx, connectWithin, fmt.Errorf("not done within %v", connectWithin))
	defer cancel()
	note, err := f(ctx)
	c := Connection{What: what, Note: note}
	if err != nil {
		c.Error = err.Error()
	}
	return c
}

// tryDir makes sure that a folder can be listed, that files can be taken out of
// it, and warns where a move out of it would be a copy.
func tryDir(d *config.Dir) error {
	dir, err := os.Open(d.Path)
	if err != nil {
		return err
	}
	defer dir.Close()
	if fi, err := dir.Stat(); err != nil {
		return err
	} else if !fi.IsDir() {
		return fmt.Errorf("%s is no directory", d.Path)
	}
	if _, err := dir.Readdirnames(1); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("list %s: %w", d.Path, err)
	}
	if d.WhenDone.Action == "keep" {
		return nil // files are copied
	}
	if err := unix.Access(d.Path, unix.W_OK|unix.X_OK); err != nil {
		return fmt.Errorf("files cannot be taken out of %s: %w", d.Path, err)
	}
	own := filepath.Join(d.Path, source.Home)
	if err := unix.Access(own, unix.W_OK|unix.X_OK); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s cannot be written: %w", own, err)
	}
	if other, err := otherDevice(d.Path, own); err == nil && other {
		return fmt.Errorf("%s is on another filesystem than %s: files could not be taken up by renaming them", own, d.Path)
	}
	return nil
}

func otherDevice(a, b string) (bool, error) {
	var sa, sb unix.Stat_t
	if err := unix.Stat(a, &sa); err != nil {
		return false, err
	}
	if err := unix.Stat(b, &sb); err != nil {
		return false, err
	}
	return sa.Dev != sb.Dev, nil
}
