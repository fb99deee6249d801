// Package pipeline is the engine: one arrival's life from its acceptance to its
// end.
//
// It promises: an arrival is read once it was accepted; every record is judged
// once, and its claim is on disk before anything of it is sent; a batch keeps
// its Idempotency-Key and its bytes however often it is sent; a refused batch
// is halved until the refused records stand alone; an arrival ends, and its
// source may move it, only when every record has an outcome on disk. After a
// kill at any instant the same code goes on from what the ledger says.
//
// Nothing of a pipeline is shared with another but the ledger's writer and the
// pool of memory. DESIGN.md beside this file walks through the kill points.
package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/shape"
	"ingestd/ingest/spool"
)

// A Plan is the settings under which an arrival begins and ends.
type Plan struct {
	// Snapshot is the settings as bytes: Compile makes the same Plan of them.
	Snapshot []byte
	// Open reads an arrival.
	Open func(ctx context.Context, in ingest.Input) (ingest.Reader, error)
	// OpenBundle reads an arrival that holds events; nil where the pipeline has
	// none.
	OpenBundle func(ctx context.Context, in ingest.Input) (ingest.Reader, error)
	// Fragment reads one record's raw bytes, as a dead letter keeps them.
	Fragment  func(ctx context.Context, d ingest.Details, raw []byte) (ingest.Reader, error)
	Shape     *shape.Shape
	Scope     string  // of the key memory
	Dedupe    bool    // records whose key was delivered are left out
	SkipFiles bool    // files whose content was delivered are left out
	BadLimit  float64 // share of the first 1,000 records; 1 = never hold
	// RejectFile refuses a file whole when one of its records is bad.
	RejectFile bool
	// Whole reads a file to its end before anything of it is sent: only there it
	// says whether it is whole.
	Whole bool
	Sinks []SinkPlan
}

// A SinkPlan is how records become the requests of one sink.
type SinkPlan struct {
	Name       string
	Body       ingest.Body
	Vars       []string // fields whose values the sink's URL needs
	MaxRecords int
	MaxBytes   int
	// OrderBy names the fields whose values decide a record's lane, of which
	// there are Lanes: at most MaxLanes, 0 for a sink without.
	OrderBy []string
	Lanes   int
}

// A SinkOptions is a sink as it is now, whatever plan an arrival has.
type SinkOptions struct {
	Name         string
	Sink         ingest.Sink
	Concurrency  int           // requests in flight
	RetryInitial time.Duration // first wait after a failure
	RetryMax     time.Duration // longest wait
	GiveUpAfter  time.Duration // since a batch was tried first; 0 = never
	Hours        Hours         // when deliveries are made; nil = always
}

// A Ledger is what the engine needs of one.
type Ledger interface {
	ingest.Arrivals
	ingest.Lookups
	ingest.Claims
	Replayer
	Secretary
	StoreSpans(ctx context.Context, arrival int64, spans []ingest.Span) error
	Seed() [16]byte
	Progress(arrival int64) (ingest.Counts, bool)
	Find(ctx context.Context, id int64) (*ingest.Arrival, error)
	// Barrier returns when all that was queued before it has been answered.
	Barrier(ctx context.Context) error
	OpenClaims(arrival int64) []*ingest.OpenClaim
}

// A Replayer is the part of the ledger that takes up what has ended.
type Replayer interface {
	Release(ctx context.Context, arrival int64) error
	Reopen(ctx context.Context, arrival int64) (*ingest.Arrival, func(), error)
	Replays(ctx context.Context, pipeline string) (map[int64][]*ingest.OpenClaim, error)
	GivenUp(ctx context.Context, batch int64) (*ingest.Batch, []ingest.Letter, error)
	Details(ctx context.Context, arrival int64) (ingest.Details, error)
	// Forms are how a pipeline's last arrivals that are done were read, the
	// newest first.
	Forms(ctx context.Context, pipeline string, most int) ([]ingest.Form, error)
	// Peek fills in what Judge would say, and changes nothing.
	Peek(scope string, recs []ingest.Judged)
}

// Options are what an Engine is made of.
type Options struct {
	Pipeline string
	Ledger   Ledger
	Source   ingest.Source // nil: arrivals are only handed in
	Plan     *Plan
	// Compile makes a Plan of the settings that an arrival began under.
	Compile  func(snapshot []byte) (*Plan, error)
	Sinks    []SinkOptions
	Outbox   *spool.Outbox
	Pool     *Pool
	Observer ingest.Observer
	Logger   *slog.Logger
	// Receipts are written when an arrival has ended; nil: there are none.
	Receipts *Receipts
	// Replies hand a target's answers to senders that wait; nil: nobody does.
	Replies *Replies
	// Held hears of an arrival that waits for a person; nil: nobody.
	Held func(arrival int64)
	// Once ends Run when nothing is left to do, or nothing within RetryMax.
	Once bool
	// Files are taken up by a Once run in place of the source's.
	Files []ingest.Found
	// StopTimeout is how long requests in flight may take after Run's context
	// ended; 0 means 8 s.
	StopTimeout time.Duration
	// Reach hears of each Point before the engine goes on. It is for tests, which
	// kill the process there; nil: nobody.
	Reach func(Point)
}

// Replies say whose answers go to senders that wait, each for an arrival of one
// event.
type Replies struct {
	Sink string // whose
	// Settled hears of an answer that is on disk.
	Settled func(arrival int64, r *ingest.Reply)
	// Ended hears of an arrival that has ended, answered or not.
	Ended func(a *ingest.Arrival)
}

// ErrUnfinished says that a Once run left work for later: a target is down or
// stopped, or the source could not be read.
var ErrUnfinished = errors.New("not finished: safe to run again")

// errStopped answers what is asked of an engine that has ended.
var errStopped = errors.New("the pipeline is stopping or being reloaded: try again")

// An Engine runs one pipeline.
type Engine struct {
	o    Options
	log  *slog.Logger
	hard context.Context // ends when requests in flight must stop
	kill context.CancelFunc
	soft context.Context // ends when nothing more is to begin

	forms forms // of the arrivals before

	deciding  sync.Mutex // one release or rejection at a time
	reporting sync.Mutex // one receipt at a time

	mu          sync.Mutex
	cancel      context.CancelCauseFunc // ends soft
	running     bool                    // from Run on
	stopped     bool                    // soft has ended
	queues      map[string]*queue       // made when they are needed first
	sending     sync.WaitGroup          // queues' workers
	todo        []int64                 // accepted arrivals in order
	later       []later                 // arrivals that wait for a time of their own
	runs        map[int64]*run          // nil until begun
	starting    map[int64]*outset       // of them, those that are about to begin
	reading     int                     // of runs, those that are being read
	limit       int                     // of them
	working     int                     // goroutines that do something else than wait
	replays     map[int64]bool          // arrivals whose letters are being replayed
	fails       map[int64]int           // runs of an arrival that could not go on
	foreign     map[int64]bool          // arrivals under other settings, of which order is asked
	behind      map[int64]bool          // arrivals that had to wait for their crashes
	stored      map[int64]bool          // batches in the outbox
	moves       int64                   // counts whatever gets on
	paused      string                  // why the source is paused; "" = it is not
	stopSource  context.CancelFunc
	swept       bool
	unfinished  bool
	receipting  bool  // receipts that could not be written are tried again
	source      error // why the source cannot do its work
	sourceSince time.Time
	fatal       error
	changed     chan struct{}
	wg          sync.WaitGroup
}

type later struct {
	id    int64
	at    time.Time
	first bool // where order is asked for, no later arrival goes before it
}

// New makes an engine. It starts nothing.
func New(o Options) (*Engine, error) {
	if o.StopTimeout <= 0 {
		o.StopTimeout = 8 * time.Second
	}
	if o.Pool == nil {
		o.Pool = NewPool(0)
	}
	e := &Engine{
		o: o, log: o.Logger.With("pipeline", o.Pipeline),
		queues: map[string]*queue{}, runs: map[int64]*run{}, starting: map[int64]*outset{}, replays: map[int64]bool{}, fails: map[int64]int{},
		foreign: map[int64]bool{}, behind: map[int64]bool{}, stored: map[int64]bool{}, changed: make(chan struct{}),
	}
	e.hard, e.kill = context.WithCancel(context.Background())
	e.soft, e.cancel = context.WithCancelCause(context.Background())
	for i := range o.Plan.Sinks {
		if e.queue(o.Plan.Sinks[i].Name) == nil {
			return nil, errors.New("pipeline " + o.Pipeline + ": sink " + o.Plan.Sinks[i].Name + " is not given")
		}
	}
	return e, nil
}

// enter begins what a person asks for beside Run, which waits for its end. An
// engine that has ended takes no more: the next one would not know of it.
func (e *Engine) enter() (leave func(), err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped {
		return nil, errStopped
	}
	e.wg.Add(1)
	return e.wg.Done, nil
}

// works notes that a goroutine has something to do, rests that it waits for
// others. Each returns what ends that.
func (e *Engine) works() (end func()) {
	e.work(1)
	return func() { e.work(-1) }
}

func (e *Engine) rests() (end func()) {
	e.work(-1)
	return func() { e.work(1) }
}

func (e *Engine) work(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.working += n
}

// enqueue takes an arrival up in its turn.
func (e *Engine) enqueue(ids ...int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.todo = append(e.todo, ids...)
	e.sortTodo()
	e.wake()
}

// Accept implements ingest.Acceptor.
func (e *Engine) Accept(ctx context.Context, found []ingest.Found) ([]int64, error) {
	ids, err := e.o.Ledger.Accept(ctx, e.o.Pipeline, e.o.Plan.Scope, found)
	if err != nil {
		return nil, err
	}
	for i := range found {
		e.o.Observer.ArrivalFound(e.o.Pipeline, found[i].Size)
	}
	e.enqueue(ids...)
	return ids, nil
}

// Known implements ingest.Acceptor.
func (e *Engine) Known(ctx context.Context, origin string, size int64, mtime time.Time) (bool, error) {
	return e.o.Ledger.Known(ctx, e.o.Pipeline, origin, size, mtime)
}

// Owned implements ingest.Acceptor.
func (e *Engine) Owned(ctx context.Context) (map[string]bool, error) {
	list, err := e.o.Ledger.Unfinished(ctx, e.o.Pipeline)
	if err != nil {
		return nil, err
	}
	paths := make(map[string]bool, len(list))
	for i := range list {
		paths[list[i].Path] = true
	}
	return paths, nil
}

// queue returns the queue to a sink, or nil where the config has none of that
// name.
func (e *Engine) queue(name string) *queue {
	e.mu.Lock()
	defer e.mu.Unlock()
	if q := e.queues[name]; q != nil {
		return q
	}
	for _, s := range e.o.Sinks {
		if s.Name == name {
			q := newQueue(e, s)
			e.queues[name] = q
			return q
		}
	}
	return nil
}

func (e *Engine) allQueues() []*queue {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Collect(maps.Values(e.queues))
}

// staff starts a queue's workers, the first time that it has work.
func (e *Engine) staff(q *queue) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if q.staffed || !e.running || e.stopped {
		return
	}
	q.staffed = true
	for range q.o.Concurrency {
		e.sending.Go(func() { q.work(e.soft) })
	}
}

// wake tells the dispatcher that something changed. e.mu is held.
func (e *Engine) wake() {
	close(e.changed)
	e.changed = make(chan struct{})
}

// poke wakes those who wait for changes.
func (e *Engine) poke() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.wake()
}

// moving notes that something got on.
func (e *Engine) moving() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.moves++
	e.wake()
}

// moved is closed when something changes.
func (e *Engine) moved() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.changed
}

// broke ends the engine: the ledger takes no more.
func (e *Engine) broke(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fatal == nil {
		e.fatal = err
		e.cancel(err)
	}
}

// fail breaks an arrival's run off; it is begun again.
func (e *Engine) fail(id int64, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if r := e.runs[id]; r != nil {
		r.stop(err)
	}
}

func (e *Engine) seed() [16]byte { return e.o.Ledger.Seed() }
