// Package daemon is the composition root: it makes everything that a config
// names, joins it, and runs it. It is the only package that knows every
// concrete type.
//
// New makes all that can fail and starts nothing; each thing that was made is
// undone by Close, the last one first, also where New itself fails half-way.
// Run is the daemon, Once takes up what is there now, Deliver lets engines run
// while something is asked of them. All three answer on control.sock, so that
// there is one owner and everybody else asks it.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"ingestd/config"
	"ingestd/ingest"
	"ingestd/ingest/admin"
	"ingestd/ingest/alert"
	"ingestd/ingest/ledger"
	"ingestd/ingest/metrics"
	"ingestd/ingest/pipeline"
	"ingestd/ingest/source"
	"ingestd/ingest/source/sftpdrop"
	"ingestd/ingest/spool"
)

// Socket is the name of the control socket in the state directory.
const Socket = "control.sock"

// LockedError says that another process owns the state directory.
type LockedError = ledger.LockedError

// ErrUnfinished says that something is left for later: a target is down, or a
// source could not be read. It is safe to run again.
var ErrUnfinished = pipeline.ErrUnfinished

// Options are what a Daemon is made of.
type Options struct {
	Config  *config.Config
	Logger  *slog.Logger
	Version string
	Stdout  io.Writer // of stdout sinks
	// Reach hears where engines stand, see pipeline.Options; Now is the ledger's
	// wall clock. Both are nil but in tests.
	Reach func(pipeline.Point)
	Now   func() time.Time
	Haste int // of alerts: how many times sooner than usual they are told; 0 = 1
	// Load reads the config again, for reloads; nil: there are none.
	Load func() (*config.Config, config.Problems)
}

// Reopens reports whether err ended a daemon whose state directory the same
// process can open again: a write to the ledger failed.
func Reopens(err error) bool {
	var broken *ledger.BrokenError
	return errors.As(err, &broken)
}

// Damaged reports whether err says that the ledger cannot be trusted: a person
// has to mend it.
func Damaged(err error) bool {
	var damaged *ledger.DamagedError
	return errors.As(err, &damaged)
}

// A Daemon owns a state directory.
type Daemon struct {
	o       Options
	log     *slog.Logger
	started time.Time

	ledger  *ledger.Ledger
	spool   *spool.Spool
	pool    *pipeline.Pool
	weather weather
	metrics *metrics.Metrics
	meter   *meter
	news    *news
	teller  *alert.Teller
	heart   *alert.Heart
	sd      supervisor
	handler http.Handler
	keeps   atomic.Pointer[map[string]time.Duration] // scope → how long keys are kept
	undo    teardowns

	drop      *sftpdrop.Server
	numbers   *numbering
	postMu    sync.Mutex
	postboxes map[string]*postbox // by pipeline

	pruner *pruner
	reload chan reloadRequest

	mu       sync.Mutex
	crew     *crew
	paused   map[string]ingest.Pause // sinks' last pauses
	running  bool                    // Run, not Once
	hookAddr string                  // where webhooks are received; "" = nowhere
	disk     *diskWatch
	diskStop context.CancelFunc
	door     *dropDoor // of drop; nil: Run has not opened it
}

// New makes everything that o.Config names. A *LockedError says that another
// process owns the state directory.
func New(ctx context.Context, o Options) (_ *Daemon, err error) {
	d := &Daemon{
		o: o, log: o.Logger, started: time.Now(), sd: supervisor{o.Logger},
		pool: pipeline.NewPool(0), weather: newWeather(o.Logger), reload: make(chan reloadRequest),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.undo.drain(ctx))
		}
	}()
	cfg := o.Config
	d.drop = d.newDropServer()
	d.setKeeps(cfg)
	d.ledger, err = ledger.Open(ctx, ledger.Options{Dir: cfg.StateDir, Logger: o.Logger, Keep: d.keep, Now: o.Now})
	if err != nil {
		return nil, err
	}
	d.undo.add("close the ledger", 20*time.Second, func(context.Context) error { return d.ledger.Close() })
	if d.spool, err = spool.Open(cfg.StateDir); err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	d.numbers = &numbering{events: d.ledger}
	d.undo.add("close the journals", 5*time.Second, d.closePostboxes)
	d.metrics = metrics.New(names(cfg))
	d.metrics.WatchBacklog(d.ledger.Backlog)
	d.news = newNews(d.metrics)
	d.meter = newMeter(d.news)
	d.pruner = &pruner{
		query: d.ledger, rows: d.ledger, keep: cfg.Retention, now: time.Now, sidecar: d.sidecar, copies: d.pruneCopies, events: d, log: o.Logger,
	}
	if err := d.loadPauses(ctx); err != nil {
		return nil, err
	}
	if d.crew, err = d.newCrew(cfg); err != nil {
		return nil, err
	}
	d.newTellers()
	d.metrics.WatchAlerts(d.teller.Open)
	d.metrics.WatchSinks(d.sinksUp)
	d.undo.add("let go of the sinks", 5*time.Second, func(context.Context) error { return d.current().close() })
	if err := d.crew.engage(engagement{once: true}); err != nil {
		return nil, err
	}
	if err := d.sweepStores(ctx); err != nil {
		return nil, err
	}
	d.handler = admin.Handler(admin.Options{
		Query:   sight{d.ledger, d},
		Actions: admin.Actions{Status: d, Holds: d, Replays: d, Letters: d, Keys: d, Control: d, Ledger: d, Sinks: d, Alerts: d, Hooks: d},
		Metrics: d.metrics.Handler(), Ready: d.ready, Log: o.Logger,
	})
	return d, nil
}

// Handler is the admin API for callers in this process.
func (d *Daemon) Handler() http.Handler { return d.handler }

// Close undoes what New did. Nothing may be running any more.
func (d *Daemon) Close() error { return d.undo.drain(context.Background()) }

func (d *Daemon) current() *crew {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.crew
}

// setKeeps notes how long the keys of each scope are kept: as long as the most
// patient of its pipelines asks for.
func (d *Daemon) setKeeps(cfg *config.Config) {
	keeps := make(map[string]time.Duration, len(cfg.Pipelines))
	for i := range cfg.Pipelines {
		p := &cfg.Pipelines[i].Dedupe
		keeps[p.Scope] = max(keeps[p.Scope], p.Keep)
	}
	d.keeps.Store(&keeps)
}

// keep is how long a scope's keys are kept. Those of a scope that the config
// does not name any more stay as long as ever: it may come back.
func (d *Daemon) keep(scope string) time.Duration {
	if k, ok := (*d.keeps.Load())[scope]; ok {
		return k
	}
	return 90 * 24 * time.Hour
}

// sidecar is the name of the sidecar that went with a pipeline's file to path,
// or "".
func (d *Daemon) sidecar(pipeline, path string) string {
	l := d.current().line(pipeline)
	if l == nil {
		return ""
	}
	w := l.cfg.Source.Watch()
	if w == nil || w.Proof == nil {
		return ""
	}
	f, err := source.NewFilter(source.Rules{Sidecar: w.Proof.Sidecar})
	if err != nil {
		return "" // the config was checked: it never is
	}
	return f.Sidecar(path)
}

func names(cfg *config.Config) (pipelines, sinkNames []string) {
	for i := range cfg.Pipelines {
		pipelines = append(pipelines, cfg.Pipelines[i].Name)
	}
	for i := range cfg.Sinks {
		sinkNames = append(sinkNames, cfg.Sinks[i].Name)
	}
	return pipelines, sinkNames
}

// sweepStores removes spool files that no arrival has: copies that a crash kept
// from being accepted.
func (d *Daemon) sweepStores(ctx context.Context) error {
	owned, err := d.owned(ctx)
	if err != nil {
		return err
	}
	if n, err := d.spool.RemoveUnowned(func(path string) bool { return owned[path] }); err != nil {
		return fmt.Errorf("clean the spool: %w", err)
	} else if n > 0 {
		d.log.Info("spool files without an arrival were removed", "files", n)
	}
	// A crash between a batch's settlement and the removal of its bytes leaves
	// them behind, and so does a dead letter that was dropped.
	outbox := d.spool.Outbox()
	stored, err := outbox.List()
	if err != nil {
		return fmt.Errorf("clean the outbox: %w", err)
	}
	for _, id := range stored {
		needed, err := d.ledger.Sendable(ctx, id)
		if err != nil {
			return err
		}
		if needed {
			continue
		}
		if err := outbox.Remove(id); err != nil {
			return fmt.Errorf("clean the outbox: %w", err)
		}
	}
	return nil
}

// ready says why the daemon is not ready, in words for anybody.
func (d *Daemon) ready() error {
	d.mu.Lock()
	running, crew, disk := d.running, d.crew, d.disk
	d.mu.Unlock()
	if !running {
		return errors.New("starting, or stopping")
	}
	if d.ledger.Err() != nil {
		return errors.New("the ledger takes no writes")
	}
	if disk != nil {
		if low, _ := disk.state(); low != "" {
			return errors.New("the disk is nearly full")
		}
	}
	bad := 0
	for _, l := range crew.lines {
		if l.engine.Load().Status().Source != nil {
			bad++
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d sources cannot do their work", bad, len(crew.lines))
	}
	return nil
}

func (d *Daemon) socket() string { return filepath.Join(d.o.Config.StateDir, Socket) }
