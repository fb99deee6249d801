// Package sftp is folders on partners' servers as a source.
//
// It promises:
//
//   - Nothing is sent to a server before its host key was found to be one of
//     those that are pinned; another one is an *ingest.HostKeyError, and
//     nothing is read.
//   - No call hangs. Dialling, handshake and login have a deadline; on a
//     connection at work a watchdog closes the socket when for `timeout` no
//     request was answered and hardly a byte came.
//   - A file is fetched only when two looks of ours, `settle` apart, saw the
//     same size and mtime, or when its done_file is there. It is handed over
//     only if its bytes are as many as it had before and has after, and its
//     mtime is the same.
//   - Where a sidecar or a trailer is asked for, what was fetched is what they say,
//     or it is not handed over before nothing more will come, to fail.
//   - What is handed over is durable in the spool. The server's file stays as
//     it is until the arrival's last outcome is on disk; then it is moved or
//     deleted if it is still the very file that was read, as far as size and
//     mtime tell. A move goes to a name that was free right before, and deletes
//     nothing first.
//   - What the server says is not believed: listings are bounded in time,
//     bytes and names, a name must be one element without control bytes, links
//     and devices are never opened.
//   - A connection that breaks is made anew with growing, jittered pauses; a
//     large file goes on where it broke off, if it is still the same file.
//     Wrong credentials and changed host keys are tried far less often, so that
//     no server bans us.
//
// Two daemons must not poll one folder: nothing on the server says that a file
// is taken.
package sftp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"sync"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/source"
	"ingestd/ingest/spool"
)

// Type is Found.Source of what this package finds.
const Type = "sftp"

// Defaults of Options.
const (
	DefaultTimeout     = time.Minute
	DefaultPoll        = 30 * time.Second
	DefaultConcurrency = 2
	MaxConcurrency     = 32
)

// Options are what a Source is made of.
type Options struct {
	Pipeline string
	Server   Server
	Path     string // the remote folder; relative to where the login leads where it is not absolute
	Rules    source.Rules
	Known    func(name string) bool // which names a format knows, for empty Rules.Match; nil: all
	Poll     time.Duration          // between listings; 0: DefaultPoll
	// Next, where set, is asked after each listing for the time of the next, in
	// place of Poll.
	Next func(after time.Time) time.Time
	// Stamp, with Next, is the path of a file of ours whose mtime is the time of
	// the last listing, so that one that was missed is made up for after a
	// restart; "": it is not.
	Stamp       string
	Concurrency int // files fetched at once; 0: DefaultConcurrency
	// Trailer says whether a file ends with its trailer, an *ingest.ReadError where
	// it does not; nil: none is asked for.
	Trailer func(context.Context, ingest.Input) error
	// Mailbox is for servers that remove a file when it was read or looked at:
	// the listing alone is believed, and a file is read once, in order.
	Mailbox bool
	// WhenDone and WhenFailed: a zero value is keep.
	WhenDone   source.When
	WhenFailed source.When
	Reports    string       // the remote directory of Report, in which nothing is taken up; "": none
	Spool      *spool.Spool // required
	// Room says why size more bytes may not be fetched now; nil: they always may.
	Room func(size int64) error
	// Spare says whether there is room for copies that only a replay would need;
	// nil: there always is.
	Spare  func() bool
	Logger *slog.Logger // nil: none
	// OnState hears of an error that stops the source, once for each, and of nil
	// when it works (again). OnProblem hears of files that cannot be taken up.
	// Both were logged; they are called from Run and Sweep.
	OnState   func(error)
	OnProblem func(*source.Problem)
}

// A Source is one remote folder. Run and Sweep exclude each other; all else may
// be called at any time from anywhere.
type Source struct {
	o      Options
	path   string
	rules  source.Rules
	filter *source.Filter // of rules
	done   source.When
	failed source.When
	skip   map[string]bool // relative directories that are never entered
	log    *slog.Logger
	pool   *pool
	wake   chan struct{} // RunNow

	running  sync.Mutex // held by Run or Sweep, whose are:
	orphans  []string   // spool files whose Accept failed
	shown    string     // the error that OnState heard last
	told     bool       // OnState heard anything since Run or Sweep began
	refused  int        // names that the last listing refused
	partials partials

	mu     sync.Mutex
	taken  map[string]bool // destinations promised by Dispose and not yet used
	stuck  map[int64]bool  // arrivals that could not be put away
	since  time.Time       // when the first of them was
	reason error           // of the last of them
	made   map[string]bool // remote directories that were made
	orders sync.Mutex      // one rename at a time, so that no two choose one name
}

var _ ingest.Source = (*Source)(nil)

// New checks the options and returns everything that is wrong with them,
// joined. It connects to nothing.
func New(o Options) (*Source, error) {
	var errs []error
	s := &Source{
		o:        o,
		path:     path.Clean(o.Path),
		rules:    o.Rules,
		done:     o.WhenDone,
		failed:   o.WhenFailed,
		skip:     map[string]bool{},
		wake:     make(chan struct{}, 1),
		partials: partials{},
		taken:    map[string]bool{},
		stuck:    map[int64]bool{},
		made:     map[string]bool{},
		log:      cmp.Or(o.Logger, slog.New(slog.DiscardHandler)),
	}
	if err := checkRemote(o.Path); err != nil {
		errs = append(errs, fmt.Errorf("path: %w", err))
	}
	if s.o.Poll <= 0 {
		s.o.Poll = DefaultPoll
	}
	if s.o.Concurrency == 0 {
		s.o.Concurrency = DefaultConcurrency
	}
	if s.o.Concurrency < 1 || s.o.Concurrency > MaxConcurrency {
		errs = append(errs, fmt.Errorf("concurrency: %d is not between 1 and %d", s.o.Concurrency, MaxConcurrency))
	}
	if s.rules.Known == nil {
		s.rules.Known = o.Known
	}
	if s.done == (source.When{}) {
		s.done = source.When{Action: source.Keep}
	}
	if s.failed == (source.When{}) {
		s.failed = source.When{Action: source.Keep}
	}
	var err error
	if s.filter, err = source.NewFilter(s.rules); err != nil {
		errs = append(errs, err)
	}
	if o.Mailbox && s.rules.Sidecar != "" {
		errs = append(errs, errors.New("sidecar: it does not go with mailbox: a file that is not proven could not be read again"))
	}
	for _, w := range []struct {
		key  string
		when source.When
	}{{"when_done", s.done}, {"when_failed", s.failed}} {
		if err := s.checkWhen(w.when); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", w.key, err))
		}
	}
	if o.Reports != "" {
		if rel, ok := s.within(o.Reports); ok && rel == "." {
			errs = append(errs, fmt.Errorf("dir: %q is not kept apart from what arrives; name a directory of its own, such as receipts/", o.Reports))
		} else if ok {
			s.skip[rel] = true
		}
	}
	d, err := newDialer(o.Server)
	if err != nil {
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	s.pool = newPool(d.connect, s.o.Concurrency+1)
	return s, nil
}

// checkWhen also keeps what is put away from being taken up again.
func (s *Source) checkWhen(w source.When) error {
	if err := w.Check(); err != nil {
		return err
	}
	if s.o.Mailbox && w.Action != source.Keep {
		return fmt.Errorf("action: %s does not go with mailbox: the server itself removes what was read", w.Action)
	}
	if w.Action != source.Move {
		return nil
	}
	if err := checkRemote(w.To); err != nil {
		return fmt.Errorf("to: %w", err)
	}
	rel, ok := s.within(w.Fixed())
	switch {
	case !ok:
		return nil
	case rel == ".":
		return fmt.Errorf("to: %q is not kept apart from what arrives, so it would be taken up again; "+
			"start with a fixed directory, such as done/", w.To)
	}
	s.skip[rel] = true
	return nil
}

// Close ends the connections that are idle. Run and Sweep have ended.
func (s *Source) Close() error {
	s.pool.close()
	return nil
}

// RunNow makes Run list the folder at once, pauses after errors cut short.
func (s *Source) RunNow() {
	s.pool.forgive()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Trouble says what ended arrivals wait for that could not be moved or deleted
// on the server, and since when; nil: nothing.
func (s *Source) Trouble() (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.stuck) == 0 {
		return time.Time{}, nil
	}
	return s.since, fmt.Errorf("%d delivered or failed files could not be put away on the server yet (they are not sent again): %w", len(s.stuck), s.reason)
}

// state tells of an error that stops the source, or that it is over; the same
// error only once.
func (s *Source) state(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if s.told && text == s.shown {
		return
	}
	was := s.shown
	s.told, s.shown = true, text
	switch {
	case text == was:
	case err != nil:
		s.log.Error("source does not work", "pipeline", s.o.Pipeline, "path", s.place(), "error", text)
	default:
		s.log.Info("source works again", "pipeline", s.o.Pipeline, "path", s.place())
	}
	if s.o.OnState != nil {
		s.o.OnState(err)
	}
}

func (s *Source) problem(p *source.Problem) {
	s.log.Warn("file needs attention", "pipeline", s.o.Pipeline, "path", s.place(),
		"name", fmt.Sprintf("%q", p.Name), "kind", p.Kind.String(), "error", p.Err.Error())
	if s.o.OnProblem != nil {
		s.o.OnProblem(p)
	}
}

// sleep waits for d, for wake, or for ctx to end.
func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) {
	t := time.NewTimer(max(d, 0))
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-wake:
	case <-t.C:
	}
}
