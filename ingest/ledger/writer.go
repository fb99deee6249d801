package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// A BrokenError says that a write failed and the ledger does no more work:
// what the last commit held is unknown until it is opened again (a failed
// fsync is never just retried).
type BrokenError struct{ Err error }

func (e *BrokenError) Error() string {
	return fmt.Sprintf("the ledger stopped after a failed write and must be opened again: %v", e.Err)
}

func (e *BrokenError) Unwrap() error { return e.Err }

// errClosed answers what is asked of a closed ledger.
var errClosed = errors.New("the ledger is closed")

// A refusal is an error of a request that changed nothing: the others of its
// group go on.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

func refuse(err error) error { return refusal{err} }

// An op is one request to the writer. run changes tables and memory inside the
// group's transaction; done is told once that is on disk, or failed.
type op struct {
	run  func(t *tx) error
	done func(error)
}

// maxGroup bounds the requests of one commit, so that no caller waits long.
const maxGroup = 2048

// writer is the one goroutine that writes: it takes all that is due into one
// transaction, so a busy ledger pays one fsync for many requests and an idle
// one answers at once.
type writer struct {
	conn  *sql.Conn
	log   *slog.Logger
	check func() error // asked before each commit: is the file still ours?
	path  string       // of the ledger, for its errors

	mu     sync.Mutex
	wake   sync.Cond
	queue  []op
	closed bool
	broken error
	stop   chan struct{} // closed with the first close or failure
	ended  chan struct{}
	busy   bool // another program holds the database's write lock
}

func newWriter(conn *sql.Conn, log *slog.Logger, path string, check func() error) *writer {
	w := &writer{conn: conn, log: log, path: path, check: check, stop: make(chan struct{}), ended: make(chan struct{})}
	w.wake.L = &w.mu
	return w
}

// submit queues a request. done is called exactly once, from the writer's
// goroutine, or at once where the ledger takes no more.
func (w *writer) submit(o op) {
	w.mu.Lock()
	if w.closed || w.broken != nil {
		err := w.broken
		w.mu.Unlock()
		if err == nil {
			err = errClosed
		}
		o.done(err)
		return
	}
	w.queue = append(w.queue, o)
	w.mu.Unlock()
	w.wake.Signal()
}

// do queues a request and waits for it. A caller that gives up is told so; the
// request may still be carried out.
func (w *writer) do(ctx context.Context, run func(t *tx) error) error {
	done := make(chan error, 1)
	w.submit(op{run: run, done: func(err error) { done <- err }})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run writes until close, then what is left in the queue, and returns.
func (w *writer) run() {
	defer close(w.ended)
	t := &tx{conn: w.conn, stmts: map[string]*sql.Stmt{}}
	defer t.close()
	var group []op
	for {
		w.mu.Lock()
		for len(w.queue) == 0 && !w.closed && w.broken == nil {
			w.wake.Wait()
		}
		n := min(len(w.queue), maxGroup)
		group = append(group[:0], w.queue[:n]...)
		clear(w.queue[:n])
		w.queue = w.queue[n:]
		if len(w.queue) == 0 {
			w.queue = nil
		}
		broken, closed := w.broken, w.closed
		w.mu.Unlock()
		if broken != nil {
			answer(group, broken)
			if n == 0 {
				return
			}
			continue
		}
		if n == 0 && closed {
			return
		}
		w.commit(t, group)
	}
}

func answer(group []op, err error) {
	for _, o := range group {
		o.done(err)
	}
}

// commit carries a group out in one transaction.
func (w *writer) commit(t *tx, group []op) {
	if err := w.begin(t); err != nil {
		w.fail(err)
		answer(group, w.brokenErr())
		return
	}
	errs, err := w.carry(t, group)
	if err != nil {
		t.exec("ROLLBACK")
		t.after = t.after[:0]
		w.fail(err)
		answer(group, w.brokenErr())
		return
	}
	for _, f := range t.after {
		f()
	}
	clear(t.after)
	t.after = t.after[:0]
	for i, o := range group {
		o.done(errs[i])
	}
}

// carry runs a group and commits it. errs are refusals, one for each request.
func (w *writer) carry(t *tx, group []op) (errs []error, err error) {
	errs = make([]error, len(group))
	for i, o := range group {
		err := o.run(t)
		var r refusal
		switch {
		case errors.As(err, &r):
			errs[i] = r.error
		case err != nil:
			return nil, err
		}
	}
	if err := w.check(); err != nil {
		return nil, err
	}
	if _, err := t.exec("COMMIT"); err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	return errs, nil
}

// begin opens the transaction. Where another program (a person's sqlite3
// shell) holds the write lock, nothing has been done yet, so it waits: the
// callers feel it as back-pressure.
func (w *writer) begin(t *tx) error {
	for {
		_, err := t.exec("BEGIN IMMEDIATE")
		if !isBusy(err) {
			if w.busy && err == nil {
				w.busy = false
				w.log.Info("the ledger can be written again")
			}
			return err
		}
		if !w.busy {
			w.busy = true
			w.log.Error("another program holds the ledger's write lock; everything waits until it lets go")
		}
		select {
		case <-w.stop:
			return errClosed
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func isBusy(err error) bool {
	var se *sqlite.Error
	return errors.As(err, &se) && se.Code()&0xff == sqlite3.SQLITE_BUSY
}

func (w *writer) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken == nil {
		if isDamage(err) {
			err = &DamagedError{Path: w.path, Err: err}
		}
		w.broken = &BrokenError{Err: err}
		if !w.closed {
			close(w.stop)
		}
	}
	w.wake.Broadcast()
}

func (w *writer) brokenErr() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.broken
}

// close lets the writer finish what is queued and waits for it.
func (w *writer) close() {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		if w.broken == nil {
			close(w.stop)
		}
	}
	w.mu.Unlock()
	w.wake.Broadcast()
	<-w.ended
}

// tx is the writer's transaction with its prepared statements.
type tx struct {
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
	after []func() // run once the transaction is on disk
}

// then has f run once the transaction is on disk: what others wait for must not
// show before.
func (t *tx) then(f func()) { t.after = append(t.after, f) }

func (t *tx) stmt(query string) (*sql.Stmt, error) {
	if s, ok := t.stmts[query]; ok {
		return s, nil
	}
	s, err := t.conn.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	t.stmts[query] = s
	return s, nil
}

func (t *tx) exec(query string, args ...any) (sql.Result, error) {
	s, err := t.stmt(query)
	if err != nil {
		return nil, err
	}
	return s.Exec(args...)
}

func (t *tx) query(query string, args ...any) (*sql.Rows, error) {
	s, err := t.stmt(query)
	if err != nil {
		return nil, err
	}
	return s.Query(args...)
}

func (t *tx) row(query string, args []any, dest ...any) error {
	s, err := t.stmt(query)
	if err != nil {
		return err
	}
	return s.QueryRow(args...).Scan(dest...)
}

func (t *tx) close() {
	for _, s := range t.stmts {
		s.Close()
	}
}
