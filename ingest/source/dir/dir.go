// Package dir is local folders as a source.
//
// It promises:
//
//   - A file is taken up only when it is ripe (package source says when) and,
//     where the kernel can tell, nobody has it open for writing. A folder with
//     a settle of zero gets files within milliseconds of their rename.
//   - Where a proof is asked for, what is taken up was compared with it first,
//     but for what stays without for so long that nothing more will come: that
//     is handed over as refused. A sidecar goes where its file goes.
//   - What is taken up is ours before anybody hears of it: renamed, durably,
//     into .ingestd/work/ of the folder, or, where when_done is keep, copied
//     into the spool while the original stays untouched.
//   - A crash at any instant loses nothing and repeats nothing that was stored:
//     what stands in work/ without an arrival is handed over at the next start,
//     a done_file that was taken without its file is put back.
//   - Only regular files are opened. Links are never followed, neither at the
//     end of a name nor on the way to it; FIFOs, sockets, devices and
//     directories are never opened as files.
//   - Notifications are hints: the listing decides, so a lost one costs time,
//     never a file. Without notifications (network mounts, limits reached) the
//     folder is listed every rescan.
//   - A folder that goes away is an error that is shown until it is back, never
//     an empty folder.
//   - At the end only the very file that was read is moved or deleted, and a
//     move never overwrites.
package dir

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/source"
	"ingestd/ingest/spool"
)

// Type is Found.Source of what this package finds, where nothing else is asked
// for.
const Type = "dir"

const (
	workDir  = source.Home + "/work"  // <token>/<name>: taken up
	marksDir = source.Home + "/marks" // <token>/<name>: done_files on their way out, sidecars of what is in work/

	ownMode    = 0o700 // directories in .ingestd
	othersMode = 0o755 // directories that when_done and when_failed name

	perAccept = 256 // files handed over in one commit
)

// Options are what a Source is made of.
type Options struct {
	Type     string // Found.Source of what is found; "": Type
	Pipeline string
	Path     string // the folder
	Rules    source.Rules
	// Known says which names a format knows; for empty Rules.Match. Nil: all.
	Known func(name string) bool
	// Trailer says, as an *ingest.ReadError, why a file does not end as it
	// should; nil: any end will do.
	Trailer func(ctx context.Context, in ingest.Input) error
	Rescan  time.Duration // between full listings; 0: 30 s
	Poll    bool          // never ask for notifications
	// WhenDone and WhenFailed: a zero value stands for the contract's default,
	// where a when_done of keep makes the default of when_failed keep too.
	WhenDone   source.When
	WhenFailed source.When
	// Exclude names directories (absolute, or relative to Path) in which nothing
	// is taken up, beside those of WhenDone, WhenFailed and Reports.
	Exclude []string
	Reports string       // where reports go, absolute or relative to Path; "": nowhere
	Spool   *spool.Spool // for copies; required where an action is keep
	Logger  *slog.Logger // nil: none
	// OnState hears of an error that stops the source, once for each, and of nil
	// when it works (again). OnProblem hears of files that cannot be taken up.
	// Both were logged; they are called from Run and Sweep.
	OnState   func(error)
	OnProblem func(*source.Problem)
}

// A Source is one folder. Run and Sweep exclude each other; Dispose and
// PutAway may be called at any time from anywhere.
type Source struct {
	o      Options
	path   string
	rules  source.Rules
	done   source.When
	failed source.When
	filter *source.Filter
	skip   map[string]bool // relative directories that are never entered
	log    *slog.Logger

	running sync.Mutex      // held by Run or Sweep, whose are:
	closed  map[string]bool // directories that may not be listed, and were told about
	orphans []string        // spool copies whose Accept failed
	shown   string          // the error that OnState heard last
	told    bool            // OnState heard anything since Run or Sweep began
	polling string          // why it polls, as it was logged

	mu    sync.Mutex
	taken map[string]bool // destinations promised by Dispose and not yet used
	watch *watch          // of the Run that is under way, if any
}

var _ ingest.Source = (*Source)(nil)

// New checks the options and returns everything that is wrong with them,
// joined. It touches no file.
func New(o Options) (*Source, error) {
	var errs []error
	path, err := filepath.Abs(o.Path)
	if o.Path == "" {
		err = errors.New("is empty")
	}
	if err != nil {
		errs = append(errs, fmt.Errorf("path: %w", err))
	}
	s := &Source{
		o:      o,
		path:   path,
		rules:  o.Rules,
		done:   o.WhenDone,
		failed: o.WhenFailed,
		skip:   map[string]bool{},
		taken:  map[string]bool{},
		closed: map[string]bool{},
		log:    cmp.Or(o.Logger, slog.New(slog.DiscardHandler)),
	}
	s.o.Type = cmp.Or(s.o.Type, Type)
	if s.o.Rescan <= 0 {
		s.o.Rescan = 30 * time.Second
	}
	if s.rules.Known == nil {
		s.rules.Known = o.Known
	}
	if s.done == (source.When{}) {
		s.done = source.When{Action: source.Move, To: source.Home + "/done/"}
	}
	if s.failed == (source.When{}) {
		s.failed = source.When{Action: source.Move, To: source.Home + "/failed/"}
		if s.done.Action == source.Keep {
			s.failed = source.When{Action: source.Keep}
		}
	}
	if s.filter, err = source.NewFilter(s.rules); err != nil {
		errs = append(errs, err)
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
		if err := s.checkReports(); err != nil {
			errs = append(errs, fmt.Errorf("receipt: %w", err))
		}
	}
	for _, d := range o.Exclude {
		if rel, ok := s.within(d); ok && rel != "." {
			s.skip[rel] = true
		}
	}
	if s.done.Action == source.Keep && o.Spool == nil {
		errs = append(errs, errors.New("when_done: keep copies files into a spool, and there is none"))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return s, nil
}

// checkWhen also keeps what is put away from being taken up again.
func (s *Source) checkWhen(w source.When) error {
	if err := w.Check(); err != nil || w.Action != source.Move {
		return err
	}
	rel, ok := s.within(w.Fixed())
	switch {
	case !ok:
		return nil
	case rel == ".":
		return fmt.Errorf("to: %q is not kept apart from what arrives, so it would be taken up again; "+
			"start with a fixed directory, such as done/", w.To)
	case rel == workDir, rel == marksDir, strings.HasPrefix(rel, workDir+"/"), strings.HasPrefix(rel, marksDir+"/"):
		return fmt.Errorf("to: %q is where ingestd keeps what it works on", w.To)
	}
	s.skip[rel] = true
	return nil
}

// checkReports keeps reports from being taken up.
func (s *Source) checkReports() error {
	rel, ok := s.within(s.o.Reports)
	switch {
	case !ok:
		return nil
	case rel == ".", rel == source.Home, strings.HasPrefix(rel, source.Home+"/"):
		return fmt.Errorf("dir: %q is not kept apart from what arrives or is worked on; name a directory of its own, such as receipts/", s.o.Reports)
	}
	s.skip[rel] = true
	return nil
}

// within returns path, absolute or relative to the folder, as relative to the
// folder, if it is in it.
func (s *Source) within(path string) (rel string, ok bool) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(s.path, path)
	}
	rel, err := filepath.Rel(s.path, path)
	return rel, err == nil && filepath.IsLocal(rel)
}

// Path is the folder, absolute.
func (s *Source) Path() string { return s.path }

// copies reports whether files are copied rather than claimed.
func (s *Source) copies() bool { return s.done.Action == source.Keep }

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
		s.log.Error("source does not work", "pipeline", s.o.Pipeline, "path", s.path, "error", text)
	default:
		s.log.Info("source works again", "pipeline", s.o.Pipeline, "path", s.path)
	}
	if s.o.OnState != nil {
		s.o.OnState(err)
	}
}

func (s *Source) problem(p *source.Problem) {
	s.log.Warn("file needs attention", "pipeline", s.o.Pipeline, "path", s.path,
		"name", fmt.Sprintf("%q", p.Name), "kind", p.Kind.String(), "error", p.Err.Error())
	if s.o.OnProblem != nil {
		s.o.OnProblem(p)
	}
}
