package sftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// least is how many bytes within timeout count as progress though no request
// was answered by them: a server that sends a byte now and then is stalled.
const least = 4 << 10

// A conn is an SFTP connection with a watchdog.
type conn struct {
	*sftp.Client
	watch *watch
	ssh   *ssh.Client
	over  *ssh.Client // the jump host's, or nil
	ended sync.WaitGroup
	quit  chan struct{}
	idle  *time.Timer
	posix bool // the server has posix-rename
}

// A watch is a socket that is closed when nothing moves on it.
//
// It stands between the SSH library, which has no deadlines, and the network:
// only closing the socket frees a call that waits for a server that is silent.
type watch struct {
	net.Conn
	timeout time.Duration

	moved  atomic.Int64 // bytes read since the last progress
	budget atomic.Int64 // bytes that may still be read; meaningful while over is set
	over   atomic.Pointer[func()]

	mu    sync.Mutex
	busy  int // requests under way
	timer *time.Timer
	cause error // why it was closed by us
}

func newWatch(c net.Conn, timeout time.Duration) *watch {
	w := &watch{Conn: c, timeout: timeout}
	w.timer = time.AfterFunc(timeout, w.stalled)
	w.timer.Stop()
	return w
}

func (w *watch) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if f := w.over.Load(); f != nil && w.budget.Add(-int64(n)) < 0 {
		(*f)()
	}
	if w.moved.Add(int64(n)) >= least {
		w.mu.Lock()
		w.moved.Store(0)
		w.restart()
		w.mu.Unlock()
	}
	return n, err
}

// begin and end stand around each request. An answer is progress.
func (w *watch) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.busy++; w.busy == 1 {
		w.moved.Store(0)
		w.restart()
	}
}

func (w *watch) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy--
	w.moved.Store(0)
	w.restart()
}

func (w *watch) restart() {
	if w.busy > 0 && w.cause == nil {
		w.timer.Reset(w.timeout)
	} else {
		w.timer.Stop()
	}
}

func (w *watch) stalled() {
	w.mu.Lock()
	busy := w.busy > 0
	w.mu.Unlock()
	if busy {
		w.fail(fmt.Errorf("the server did not answer for %v, so the connection was closed", w.timeout))
	}
}

// fail closes the socket; what waits for it returns.
func (w *watch) fail(cause error) {
	w.mu.Lock()
	if w.cause == nil {
		w.cause = cause
	}
	w.timer.Stop()
	w.mu.Unlock()
	w.Conn.Close()
}

func (w *watch) why() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cause
}

// limit calls f once more than n bytes were read, until it is called with a
// nil f.
func (w *watch) limit(n int64, f func()) {
	if f == nil {
		w.over.Store(nil)
		return
	}
	w.budget.Store(n)
	w.over.Store(&f)
}

var errClosed = errors.New("the connection was closed")

// A lostError says that a connection broke, not that the server refused
// something.
type lostError struct {
	what string
	err  error
}

func (e *lostError) Error() string { return e.what + ": " + e.err.Error() }
func (e *lostError) Unwrap() error { return e.err }

// do asks the server for something. The connection is closed when ctx ends
// first. The server's own refusals are returned as they are, all else as a
// *lostError.
func (c *conn) do(ctx context.Context, what string, f func() error) error {
	stop := c.bind(ctx)
	defer stop()
	return c.ask(what, f)
}

// bind closes the connection when ctx ends before stop is called.
func (c *conn) bind(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { c.watch.fail(context.Cause(ctx)) })
}

// ask is do under a ctx that is bound.
func (c *conn) ask(what string, f func() error) error {
	c.watch.begin()
	err := f()
	c.watch.end()
	if err == nil || refusal(err) {
		return err
	}
	if why := c.watch.why(); why != nil {
		err = why
	}
	return &lostError{what, err}
}

// refusal reports whether err is an answer of the server.
func refusal(err error) bool {
	var status *sftp.StatusError
	if errors.As(err, &status) {
		return status.FxCode() != sftp.ErrSSHFxConnectionLost && status.FxCode() != sftp.ErrSSHFxNoConnection
	}
	return err == io.EOF || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)
}

// lost reports whether the connection is of no use any more, or there was none.
func lost(err error) bool {
	var l *lostError
	var d *dialError
	return errors.As(err, &l) || errors.As(err, &d)
}

// keepAlive asks the server for a sign of life while nothing else is asked, so
// that a firewall does not forget an idle connection and a dead one is noticed.
func (c *conn) keepAlive() {
	t := time.NewTicker(max(c.watch.timeout/4, 10*time.Millisecond))
	defer t.Stop()
	for {
		select {
		case <-c.quit:
			return
		case <-t.C:
		}
		c.watch.mu.Lock()
		busy := c.watch.busy > 0
		c.watch.mu.Unlock()
		if busy {
			continue
		}
		if c.ask("keep the connection alive", func() error {
			_, _, err := c.ssh.SendRequest("keepalive@openssh.com", true, nil)
			return err
		}) != nil {
			c.watch.fail(errClosed)
			return
		}
	}
}

// dead reports whether the connection is known to be broken.
func (c *conn) dead() bool { return c.watch.why() != nil }

// end closes the connection, made whole or not, and waits for what belongs to
// it.
func (c *conn) end() {
	if c.idle != nil {
		c.idle.Stop()
	}
	// The socket first: nothing below waits for a server then.
	c.watch.fail(errClosed)
	close(c.quit)
	if c.Client != nil {
		c.Client.Close()
	}
	for _, cl := range []*ssh.Client{c.ssh, c.over} {
		if cl != nil {
			cl.Close()
		}
	}
	c.ended.Wait()
}
