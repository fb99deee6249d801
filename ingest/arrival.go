package ingest

import (
	"context"
	"time"
)

// State is where an arrival's life stands.
type State string

// The states of contract.md.
const (
	Waiting        State = "waiting"   // taken up, not begun
	Running        State = "running"   // begun, not ended
	Held           State = "held"      // begun, nothing sent; a person decides
	Done           State = "done"      // every record has an outcome
	DuplicateState State = "duplicate" // its content was delivered before
	Failed         State = "failed"    // unreadable from some place on, rejected, or refused whole
)

// Ended reports whether nothing more will happen to its records.
func (s State) Ended() bool { return s == Done || s == DuplicateState || s == Failed }

// Counts are an arrival's books. Records = Delivered + Duplicate + Filtered +
// Dead once it has ended.
type Counts struct {
	Records   int64
	Delivered int64 // the target's "I had it already" included
	Duplicate int64
	Filtered  int64
	Dead      int64
	Had       int64 // part of Delivered: the target had it already
}

// Balanced reports whether every record read has one outcome.
func (c Counts) Balanced() bool {
	return c.Records == c.Delivered+c.Duplicate+c.Filtered+c.Dead
}

// Add adds o to c.
func (c *Counts) Add(o Counts) {
	c.Records += o.Records
	c.Delivered += o.Delivered
	c.Duplicate += o.Duplicate
	c.Filtered += o.Filtered
	c.Dead += o.Dead
	c.Had += o.Had
}

// Found is a thing that a source has made its own and hands over.
type Found struct {
	Source  string    // the source's type: "dir", "replay", …
	Name    string    // as it was found, relative to the source, bytes as they stood
	Origin  string    // where it was found: an absolute path, a URL
	Path    string    // the local file that holds its bytes now
	Size    int64     // bytes
	ModTime time.Time // as it was found
	Device  uint64    // with Inode: the very file at Path
	Inode   uint64
	FoundAt time.Time
	// Refused says why its source knows it not to be whole: it ends failed with
	// this, unread. "" = the source knows of nothing.
	Refused string
	// ID is a number that was reserved for it; 0 = the ledger gives it one. What
	// was accepted under its ID before is not accepted twice.
	ID   int64
	Keep bool // Path is the user's own file: never moved or deleted, whatever when_done says
	// Replay asks for an arrival to be taken up again.
	Replay *Replay
}

// Replay says what is taken up again, and how.
type Replay struct {
	Of          int64 // the arrival whose content this is
	First, Last int64 // record ordinals; 0, 0 = all
	Force       bool  // ignore what was delivered
}

// An Arrival is one thing that arrived whole.
type Arrival struct {
	ID       int64
	Pipeline string
	Scope    string // the dedupe scope it began under
	Event    int    // of an event, its place in the bundle that ID names; 0 = it is no event
	EventID  string // what the event's sender calls it
	Found
	State      State
	SHA256     []byte // of its bytes; nil until known
	Snapshot   []byte // hash of the settings it began with; nil before Begin
	StartedAt  time.Time
	FinishedAt time.Time
	Counts     Counts
	Starts     int    // how often it was begun without a settled batch since
	Released   bool   // a person said release
	Error      string // why it is held, failed, or waits to be refused
	Away       Disposition
	PutAway    bool // Away was carried out
}

// Disposition is what happens to an ended arrival's bytes at the source. It is
// stored before anything is moved or deleted.
type Disposition struct {
	Action string // "move", "delete", "keep"; "" = not decided
	To     string // move: the destination's full path
}

// An Acceptor takes over what a source has found. It is the engine.
type Acceptor interface {
	// Accept stores arrivals durably, in this order, in one commit, and returns
	// their numbers. After it returns nil, the bytes at Path are the engine's.
	Accept(ctx context.Context, found []Found) ([]int64, error)
	// Known reports whether what stands at origin with this size and mtime was
	// taken up before, for sources that leave files where they are.
	Known(ctx context.Context, origin string, size int64, mtime time.Time) (bool, error)
	// Owned returns the paths of arrivals that have not been put away.
	Owned(ctx context.Context) (map[string]bool, error)
}

// A Source notices what arrives, makes it ours once it is whole, and puts it
// away at the end.
type Source interface {
	// Run hands over what is found until ctx ends. An error ends the source
	// until it is started again with backoff; it never loses what was found.
	Run(ctx context.Context, to Acceptor) error
	// Sweep hands over what is there now, settling included, and returns.
	Sweep(ctx context.Context, to Acceptor) error
	// Dispose decides where an ended arrival goes, without touching anything.
	Dispose(ctx context.Context, a *Arrival) (Disposition, error)
	// PutAway carries a.Away out. It is safe to repeat: only the very file
	// that was read (size, mtime, inode) is moved or deleted, and a file
	// already moved is no error.
	PutAway(ctx context.Context, a *Arrival) error
}
