package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

// maxSocketPath is how long the path of a unix socket may be (unix(7)), the
// final NUL left out.
const maxSocketPath = 107

// socketPath gives a name by which path can be bound or dialed though it is
// too long: through an open descriptor of its directory. done closes that.
func socketPath(path string) (short string, done func(), err error) {
	if len(path) <= maxSocketPath {
		return path, func() {}, nil
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, err
	}
	short = filepath.Join("/proc/self/fd", strconv.FormatUint(uint64(dir.Fd()), 10), filepath.Base(path))
	return short, func() { dir.Close() }, nil
}

// ListenUnix opens a unix socket of mode 0600. A socket left behind by a
// process that is gone is removed; one that answers is not. The caller holds
// the lock on the state directory, or the path is its own.
func ListenUnix(ctx context.Context, path string) (net.Listener, error) {
	short, done, err := socketPath(path)
	if err != nil {
		return nil, fmt.Errorf("admin: listen on %s: %w", path, err)
	}
	ln, err := listenUnix(ctx, short)
	if err != nil {
		done()
		return nil, fmt.Errorf("admin: listen on %s: %w", path, err)
	}
	return &unixListener{Listener: ln, path: path, done: done}, nil
}

func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	if fi, err := os.Lstat(path); err == nil {
		if fi.Mode().Type() != os.ModeSocket {
			return nil, errors.New("something that is no socket stands there")
		}
		if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
			conn.Close()
			return nil, errors.New("another process answers there")
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove the stale socket: %w", err)
		}
	}
	// Bound under a name that nobody knows, closed to others, and only then
	// given its own: there is no instant at which it is open to all.
	private, err := os.MkdirTemp(filepath.Dir(path), ".socket-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(private)
	dir, err := os.Open(private)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	name := filepath.Join("/proc/self/fd", strconv.FormatUint(uint64(dir.Fd()), 10), "s")
	ln, err := new(net.ListenConfig).Listen(ctx, "unix", name)
	if err != nil {
		return nil, err
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	if err = os.Chmod(name, 0o600); err == nil {
		err = os.Rename(name, path)
	}
	if err != nil {
		ln.Close()
		return nil, err
	}
	return ln, nil
}

// unixListener removes its socket when it is closed.
type unixListener struct {
	net.Listener
	path string
	done func()
	once sync.Once
}

// Addr is the path that was asked for.
func (l *unixListener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

func (l *unixListener) Close() error {
	err := net.ErrClosed
	l.once.Do(func() {
		os.Remove(l.path)
		err = l.Listener.Close()
		l.done()
	})
	return err
}
