package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ingestd/config"
	"ingestd/formats"
	"ingestd/ingest"
	"ingestd/ingest/alert"
	"ingestd/ingest/pipeline"
)

// A crew is all that one config makes: the sinks and a line for each pipeline.
// A reload brings a new crew; the ledger stays.
type crew struct {
	d       *Daemon
	cfg     *config.Config
	outlets map[string]*outlet
	lines   []*line
	tellers []*outlet // what alerts go through
	secured []*outlet // all sinks, for who looks at their certificates
	routes  []alert.Route
	certs   []alert.Fact // about certificates, when they were looked at last: the teller's alone
	certsAt time.Time
}

// A line is one pipeline at work.
type line struct {
	d       *Daemon
	cfg     *config.Pipeline
	conf    *config.Config
	plan    *pipeline.Plan
	source  ingest.Source
	sinks   []pipeline.SinkOptions
	box     *postbox // of a webhook; nil
	outlets map[string]*outlet
	report  *pipeline.Receipts // nil: none are asked for
	expect  *expectation       // nil: nothing is expected
	engine  atomic.Pointer[pipeline.Engine]

	mu       sync.Mutex
	runs     bool
	since    time.Time // that runs has been so
	heldList heldList
	ready    chan struct{} // closed when the engine has found what was left
	pauses
}

// newCrew makes sinks, sources and plans; it touches no file of a user's.
func (d *Daemon) newCrew(cfg *config.Config) (_ *crew, err error) {
	c := &crew{d: d, cfg: cfg, outlets: map[string]*outlet{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	for i := range cfg.Sinks {
		s := &cfg.Sinks[i]
		o, err := newOutlet(s, d.weather, d.meter, d.o.Stdout, d.o.Version)
		if err != nil {
			return nil, fmt.Errorf("sink %s: %w", s.Name, err)
		}
		c.outlets[s.Name] = o
		c.secured = append(c.secured, o)
	}
	if err := c.newRoutes(); err != nil {
		return nil, err
	}
	for i := range cfg.Pipelines {
		l, err := c.newLine(&cfg.Pipelines[i])
		if err != nil {
			return nil, fmt.Errorf("pipeline %s: %w", cfg.Pipelines[i].Name, err)
		}
		c.lines = append(c.lines, l)
	}
	return c, nil
}

func (c *crew) newLine(p *config.Pipeline) (*line, error) {
	l := &line{d: c.d, cfg: p, conf: c.cfg, since: time.Now(), expect: newExpectation(p)}
	snapshot, err := p.Snapshot(c.cfg.Sinks)
	if err != nil {
		return nil, err
	}
	if l.plan, err = l.compile(snapshot); err != nil {
		return nil, err
	}
	l.outlets = c.outlets
	if p.Source.Type == "webhook" {
		if l.box, err = c.d.postbox(context.Background(), p.Name, p.Source.Webhook.Queue); err != nil {
			return nil, err
		}
		l.source = l.box.inbox
	} else if l.source, err = newSource(c.cfg, p, formats.Known, c.d.spool, c.d.log, l.sourceSays); err != nil {
		return nil, err
	}
	if l.report, err = c.receiptsOf(l); err != nil {
		return nil, err
	}
	// An arrival ends with the sinks it began with, so every line can reach
	// every sink; what is not in its plan stays idle.
	for _, o := range c.outlets {
		l.sinks = append(l.sinks, o.SinkOptions)
	}
	slices.SortFunc(l.sinks, func(a, b pipeline.SinkOptions) int {
		return slices.Index(p.Sinks, a.Name) - slices.Index(p.Sinks, b.Name)
	})
	return l, nil
}

// compile makes a plan of a snapshot: the one of today, or the one that an
// arrival began under. Both take this way.
func (l *line) compile(snapshot []byte) (*pipeline.Plan, error) {
	p, settings, err := config.FromSnapshot(snapshot)
	if err != nil {
		return nil, err
	}
	p.TakeSecrets(l.cfg)
	if err := l.conf.Unveil(settings); err != nil {
		return nil, err
	}
	plan, err := compile(p, settings, l.d.meter)
	if err != nil {
		return nil, err
	}
	plan.Snapshot = snapshot
	return plan, nil
}

// An engagement is how engines are to work.
type engagement struct {
	once bool
	// files are taken up by the line called in in place of what its source has.
	in    string
	files []ingest.Found
	only  []string // lines whose sources are swept; nil: all
	hold  bool     // no source is swept, and engines do not end by themselves
}

// reserve tells the sinks which places in their files unsettled batches have.
// The engines that made them have ended.
func (c *crew) reserve() {
	for _, b := range c.d.ledger.Placed() {
		if o := c.outlets[b.Sink]; o != nil && o.resume != nil {
			o.resume(b.PlacePath, b.Place, b.PlaceEnd)
		}
	}
}

// engage gives every line a fresh engine. The old ones have ended, or never ran.
func (c *crew) engage(e engagement) error {
	c.reserve()
	for _, l := range c.lines {
		ready := make(chan struct{})
		o := pipeline.Options{
			Pipeline: l.cfg.Name, Ledger: c.d.ledger, Plan: l.plan, Compile: l.compile, Sinks: l.sinks,
			Source: l.source, Outbox: c.d.spool.Outbox(), Pool: c.d.pool, Observer: c.d.meter, Logger: c.d.log, Once: e.once,
			Reach:    c.d.o.Reach,
			Receipts: l.report, Replies: l.replies(),
		}
		if l.box != nil {
			o.Held = l.box.inbox.Leave
			l.box.inbox.Set(l.gathering())
		}
		switch {
		case e.hold:
			o.Source = idleSource{l.source, true}
		case e.in == l.cfg.Name && len(e.files) > 0:
			o.Files = e.files
		case e.only != nil && !slices.Contains(e.only, l.cfg.Name):
			o.Source = idleSource{Source: l.source}
		}
		o.Source = startedSource{o.Source, sync.OnceFunc(func() { close(ready) })}
		engine, err := pipeline.New(o)
		if err != nil {
			return fmt.Errorf("pipeline %s: %w", l.cfg.Name, err)
		}
		c.d.pauseSinks(engine)
		l.engine.Store(engine)
		l.mu.Lock()
		l.ready = ready
		l.mu.Unlock()
	}
	return nil
}

// A startedSource tells that the engine came to look at its source: it has
// found by then what an earlier process left.
type startedSource struct {
	ingest.Source
	start func()
}

func (s startedSource) Run(ctx context.Context, to ingest.Acceptor) error {
	s.start()
	return s.Source.Run(ctx, to)
}

func (s startedSource) Sweep(ctx context.Context, to ingest.Acceptor) error {
	s.start()
	return s.Source.Sweep(ctx, to)
}

// idleSource finds nothing; it still puts away what ended.
type idleSource struct {
	ingest.Source
	hold bool // Sweep takes as long as its context
}

func (s idleSource) Sweep(ctx context.Context, _ ingest.Acceptor) error {
	if s.hold {
		<-ctx.Done()
	}
	return nil
}

// run runs the chosen lines (nil: all) until ctx ends or, engaged for once,
// nothing is left to do. The first error that is no ErrUnfinished ends all.
func (c *crew) run(ctx context.Context, only []string) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
		left []error // why something is left
	)
	for _, l := range c.lines {
		if only != nil && !slices.Contains(only, l.cfg.Name) {
			continue
		}
		l.mark(true)
		wg.Go(func() {
			defer l.mark(false)
			err := l.engine.Load().Run(ctx)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, pipeline.ErrUnfinished):
				left = append(left, err)
			case err != nil:
				errs = append(errs, fmt.Errorf("pipeline %s: %w", l.cfg.Name, err))
				stop()
			}
		})
	}
	if !waitStopped(ctx, &wg) {
		return errNotStopped
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	return together(left)
}

// together is why work is left, of several lines, or nil: what concerns more
// than one of them, such as a sink that is down, is said once.
func together(left []error) error {
	if len(left) == 0 {
		return nil
	}
	var whys []string
	for _, err := range left {
		why, told := strings.CutPrefix(err.Error(), pipeline.ErrUnfinished.Error()+": ")
		if told && !slices.Contains(whys, why) {
			whys = append(whys, why)
		}
	}
	const most = 5
	if slices.Sort(whys); len(whys) > most {
		whys = append(whys[:most], fmt.Sprintf("and %d more", len(whys)-most))
	}
	if len(whys) == 0 {
		return pipeline.ErrUnfinished
	}
	return fmt.Errorf("%w: %s", pipeline.ErrUnfinished, strings.Join(whys, "; "))
}

// errNotStopped says that engines were left to themselves.
var errNotStopped = errors.New("some work did not stop in time and was left; it goes on after the next start")

// stopWithin is how long engines may take to stop. They bound what is in flight
// themselves; whatever else holds one of them up must not hold up the process:
// what is on disk is enough to go on from.
const stopWithin = 9 * time.Second

// waitStopped waits for wg; once ctx has ended, no longer than stopWithin.
func waitStopped(ctx context.Context, wg *sync.WaitGroup) bool {
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-ctx.Done():
	}
	select {
	case <-done:
		return true
	case <-time.After(stopWithin):
		return false
	}
}

func (c *crew) close() error {
	var errs []error
	for name, o := range c.outlets {
		if err := o.close(); err != nil {
			errs = append(errs, fmt.Errorf("sink %s: %w", name, err))
		}
	}
	for _, o := range c.tellers {
		if err := o.close(); err != nil {
			errs = append(errs, fmt.Errorf("sink %s, of alerts: %w", o.Name, err))
		}
	}
	c.outlets = nil
	for _, l := range c.lines {
		if s, ok := l.source.(io.Closer); ok { // it has connections
			if err := s.Close(); err != nil {
				errs = append(errs, fmt.Errorf("source of pipeline %s: %w", l.cfg.Name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// line is the pipeline of that name, or nil.
func (c *crew) line(name string) *line {
	for _, l := range c.lines {
		if l.cfg.Name == name {
			return l
		}
	}
	return nil
}

func (l *line) mark(runs bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs, l.since = runs, time.Now()
}

// sourceSays is told by the source whether it can do its work.
func (l *line) sourceSays(err error) {
	if e := l.engine.Load(); e != nil {
		e.SourceState(err)
	}
}

// startWithin is how long a line's engine may take to find what was left. One
// whose source is paused never says that it has.
const startWithin = 2 * time.Second

// started waits until the line's engine has found what was left.
func (l *line) started(ctx context.Context) error {
	l.mu.Lock()
	ready := l.ready
	l.mu.Unlock()
	select {
	case <-ready:
	case <-time.After(startWithin):
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}
