// Package ledger remembers what happened to every record, in one SQLite file.
//
// It promises: what a call reported as done is on disk (synchronous=FULL);
// nothing is sent before its claim is; a batch that is settled is never sent
// again; keys of open claims are pending from the first moment after a start.
// One goroutine writes and groups all that is due into one commit. Judge
// answers from memory. Readers have connections of their own that cannot write.
//
// After a failed write the ledger takes no more work (BrokenError): what the
// failed commit left on disk is unknown until it is opened and read again.
// DESIGN.md beside this file walks through the tables and the kill points.
package ledger

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"ingestd/ingest"
	_ "modernc.org/sqlite" // the database driver
)

// Options say where a ledger is and how long it remembers.
type Options struct {
	Dir    string       // the state directory; made where absent
	Logger *slog.Logger // required
	// Keep is how long a scope's keys are remembered since they were last
	// seen; 0 means for ever. Nil means 90 days for all.
	Keep func(scope string) time.Duration
	// Now is the wall clock; nil means time.Now.
	Now func() time.Time
}

const defaultKeep = 90 * 24 * time.Hour

// A Ledger is an open ledger. Its methods are safe for concurrent use.
type Ledger struct {
	opts    Options
	path    string
	lock    *os.File
	db      *sql.DB // one connection, the writer's
	conn    *sql.Conn
	readers *sql.DB
	w       *writer
	seed    [16]byte
	clock   clock
	files   map[string]uint64 // inodes of the database and its log
	guard   sync.WaitGroup
	quit    context.CancelFunc // ends the watch
	closing sync.Once
	closed  error

	epoch int64     // of the mark; the watch's, then Close's
	noted time.Time // when the clock was stored last; the watch's

	stmtMu sync.Mutex
	stmts  map[string]*sql.Stmt // of the readers

	mu       sync.Mutex // guards what follows; held for memory only, never for I/O
	scopes   map[string]*scope
	byID     map[int64]*scope
	arrivals map[int64]*arrival
	claims   map[int64]*claim
	begun    map[int64]bool // by this process
	changed  chan struct{}  // closed and made anew when an arrival moves on

	lastScope, lastClaim, lastBatch int64
}

var _ interface {
	ingest.Arrivals
	ingest.Lookups
	ingest.Claims
	ingest.Query
	ingest.Events
} = (*Ledger)(nil)

// A DamagedError says that the ledger's file cannot be trusted.
type DamagedError struct {
	Path string
	Err  error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("the ledger %s is damaged: %v. It was left as it is. Put it aside with its -wal and -shm files, then restore the latest backup in its place, or recover it with: sqlite3 %s .recover | sqlite3 %s.recovered",
		e.Path, e.Err, e.Path, e.Path)
}

func (e *DamagedError) Unwrap() error { return e.Err }

// Open takes the state directory's lock, opens or makes the ledger, migrates
// it, and loads what it must know before anything is claimed.
func Open(ctx context.Context, o Options) (_ *Ledger, err error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Keep == nil {
		o.Keep = func(string) time.Duration { return defaultKeep }
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	if kind := networkFS(o.Dir); kind != "" {
		return nil, fmt.Errorf("state directory %s is on %s: SQLite cannot keep its promises there; use a local disk", o.Dir, kind)
	}
	l := &Ledger{
		opts: o, path: filepath.Join(o.Dir, "ledger.db"),
		scopes: map[string]*scope{}, byID: map[int64]*scope{},
		arrivals: map[int64]*arrival{}, claims: map[int64]*claim{}, begun: map[int64]bool{},
		changed: make(chan struct{}),
	}
	l.lock, err = lockFile(filepath.Join(o.Dir, "lock"))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			l.shut()
		}
	}()
	mark, err := readMark(o.Dir)
	if err != nil {
		return nil, err
	}
	if _, serr := os.Stat(l.path); errors.Is(serr, fs.ErrNotExist) && mark != nil {
		return nil, fmt.Errorf("the ledger %s is gone, though %s says that there was one: put it back from a backup, or remove %s to begin anew (everything would be sent again)",
			l.path, mark.path, mark.path)
	}
	if err := l.start(ctx, mark); err != nil {
		if isDamage(err) {
			return nil, &DamagedError{Path: l.path, Err: err}
		}
		return nil, fmt.Errorf("open ledger %s: %w", l.path, err)
	}
	l.w = newWriter(l.conn, o.Logger, l.path, l.inPlace)
	go l.w.run()
	watched, quit := context.WithCancel(context.WithoutCancel(ctx))
	l.quit = quit
	l.guard.Go(func() { l.watch(watched) })
	return l, nil
}

// start opens the database, makes sure that it is the right one and whole, and
// loads it.
func (l *Ledger) start(ctx context.Context, m *mark) (err error) {
	if l.conn, err = l.open(ctx); err != nil {
		return err
	}
	if err := l.examine(ctx, m); err != nil {
		return err
	}
	if err := migrate(ctx, l.conn, l.path, func(from int) error {
		return copyTo(ctx, l.conn, fmt.Sprintf("%s.schema-%d", l.path, from))
	}); err != nil {
		return err
	}
	if err := l.identify(ctx, l.conn, m); err != nil {
		return err
	}
	if err := l.load(ctx, l.conn); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	l.files = map[string]uint64{}
	for _, name := range []string{l.path, l.path + "-wal"} {
		if l.files[name], err = inodeOf(name); err != nil {
			return err
		}
	}
	return nil
}

// examine looks for damage before anything is written: every page, and a
// database that is empty where there was a ledger.
func (l *Ledger) examine(ctx context.Context, m *mark) error {
	var tables int
	if err := l.conn.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil {
		return err
	}
	if tables == 0 && m != nil {
		return fmt.Errorf("it is empty, though %s says that there was one: %w", m.path, errContradiction)
	}
	var what string
	if err := l.conn.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&what); err != nil {
		return err
	}
	if what != "ok" {
		return fmt.Errorf("%s: %w", what, errContradiction)
	}
	return nil
}

// dsn names the database in the form that takes options.
func (l *Ledger) dsn(pragmas ...string) string {
	q := url.Values{"_pragma": append(pragmas, "busy_timeout(1000)", "foreign_keys(1)", "journal_mode(WAL)", "synchronous(FULL)")}
	return "file:" + (&url.URL{Path: l.path}).EscapedPath() + "?" + q.Encode()
}

// open opens the writer's connection and the readers', and reads the options
// back: the driver ignores those it does not know.
func (l *Ledger) open(ctx context.Context) (*sql.Conn, error) {
	var err error
	if l.db, err = sql.Open("sqlite", l.dsn("wal_autocheckpoint(4000)", "journal_size_limit(67108864)", "cache_size(-8192)")); err != nil {
		return nil, err
	}
	l.db.SetMaxOpenConns(1)
	conn, err := l.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"} {
		var got string
		if err := conn.QueryRowContext(ctx, "PRAGMA "+pragma).Scan(&got); err != nil {
			return nil, err
		}
		if got != want {
			return nil, fmt.Errorf("%s is %s, want %s", pragma, got, want)
		}
	}
	if l.readers, err = sql.Open("sqlite", l.dsn("query_only(1)", "cache_size(-1024)")); err != nil {
		return nil, err
	}
	l.readers.SetMaxOpenConns(4)
	l.readers.SetMaxIdleConns(4) // their prepared statements go with them
	return conn, nil
}

// identify makes or reads the ledger's seed and compares it and its epoch with
// the mark beside it: an older ledger put in place of a newer one, or another
// one, has forgotten what was sent.
func (l *Ledger) identify(ctx context.Context, conn *sql.Conn, m *mark) error {
	var seed []byte
	err := conn.QueryRowContext(ctx, "SELECT value FROM meta WHERE key = 'seed'").Scan(&seed)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		seed = make([]byte, 16)
		rand.Read(seed)
		if _, err := conn.ExecContext(ctx, "INSERT INTO meta (key, value) VALUES ('seed', ?), ('epoch', 0)", seed); err != nil {
			return err
		}
	case err != nil:
		return err
	}
	copy(l.seed[:], seed)
	if err := conn.QueryRowContext(ctx, "SELECT value FROM meta WHERE key = 'epoch'").Scan(&l.epoch); err != nil {
		return err
	}
	switch {
	case m == nil || m.seed == "":
	case m.seed != l.seedSum():
		return fmt.Errorf("it is another ledger than the one this state directory last ran with: what that one sent would be sent again. Remove %s to accept that", m.path)
	case m.epoch > l.epoch:
		return fmt.Errorf("it is older than the one this state directory last ran with (epoch %d, %s says %d): records sent since would be sent again. Remove %s to accept that",
			l.epoch, m.path, m.epoch, m.path)
	}
	l.epoch++
	if _, err := conn.ExecContext(ctx, "UPDATE meta SET value = ? WHERE key = 'epoch'", l.epoch); err != nil {
		return err
	}
	return writeMark(l.opts.Dir, l.seedSum(), l.epoch)
}

// inPlace notices that the ledger's files were deleted or replaced under us:
// what is written to them then is lost.
func (l *Ledger) inPlace() error {
	for name, want := range l.files {
		if got, err := inodeOf(name); err != nil || got != want {
			return fmt.Errorf("%s was deleted or replaced while it was in use", name)
		}
	}
	return nil
}

func inodeOf(name string) (uint64, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(name, &st); err != nil {
		return 0, fmt.Errorf("look for %s: %w", name, err)
	}
	return st.Ino, nil
}

// watch looks after an idle ledger's files, and keeps the clock.
func (l *Ledger) watch(ctx context.Context) {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-l.w.stop:
			return
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := l.inPlace(); err != nil {
			l.w.fail(err)
			return
		}
		l.expire(ctx)
		if now := l.clock.now(); now.Sub(l.noted) >= noteEvery {
			l.noted = now
			l.note(now)
		}
	}
}

// Seed keys the hashes of this ledger's keys.
func (l *Ledger) Seed() [16]byte { return l.seed }

// Broken is closed when the ledger takes no more work: after Close or a failed
// write, which Err tells apart.
func (l *Ledger) Broken() <-chan struct{} { return l.w.stop }

// Err is the failed write, or nil.
func (l *Ledger) Err() error { return l.w.brokenErr() }

// Close finishes what is queued and closes the ledger. Arrivals under way do
// not count this as a start in vain.
func (l *Ledger) Close() error {
	l.closing.Do(func() {
		l.quit()
		l.guard.Wait()
		l.w.submit(op{done: func(error) {}, run: func(t *tx) error {
			_, err := t.exec("UPDATE arrivals SET starts = 0 WHERE put_away = 0 AND state = 'running' AND starts > 0")
			return err
		}})
		l.note(l.clock.now())
		l.w.close()
		l.closed = l.shut()
	})
	return l.closed
}

func (l *Ledger) shut() error {
	var errs []error
	if l.readers != nil {
		errs = append(errs, l.readers.Close())
	}
	if l.conn != nil {
		errs = append(errs, l.conn.Close())
	}
	if l.db != nil {
		errs = append(errs, l.db.Close())
	}
	if l.lock != nil {
		errs = append(errs, l.lock.Close())
	}
	return errors.Join(errs...)
}

func (l *Ledger) now() time.Time { return l.opts.Now() }
