package ingest

import (
	"context"
	"iter"
	"time"
)

// ArrivalFilter narrows a listing of arrivals; zero values match all.
type ArrivalFilter struct {
	Pipeline string
	State    State
	Since    time.Time // found at or after
	Until    time.Time // found before
	Limit    int       // 0 = all; the newest come first
	Events   bool      // the events of bundles in place of these
}

// BatchInfo is one request's row in the ledger, for people.
type BatchInfo struct {
	ID             int64
	Sink           string
	Number         int   // within its arrival, from 1
	First, Last    int64 // record ordinals
	Records        int
	State          BatchState
	IdempotencyKey string
	Attempts       int
	Status         int // of the last answer, 0 where none
	Answer         string
	DueAt          time.Time // zero unless put off

	// Mixed: how many of its records were delivered, are dead, went on in
	// another batch.
	Delivered, Dead, Again int64
}

// TimelineEvent is one step of an arrival's life.
type TimelineEvent struct {
	At   time.Time `json:"at"`
	What string    `json:"what"` // "found", "begun", "held", "released", "batch 3: 503, due again", "ended", "put away", …
}

// A Form is how an arrival was read.
type Form struct {
	Arrival int64
	Name    string
	Details Details
}

// ArrivalDetail is all that the ledger knows of one arrival.
type ArrivalDetail struct {
	Arrival
	Batches  []BatchInfo
	Timeline []TimelineEvent
	// Of an event: its records in the bundle, whose batches they are in.
	First, Last int64
	Receipt     *Receipt // nil where there is none
	Read        Details  // how it was read, once it ended
}

// A Letter is a dead letter.
type Letter struct {
	ID        int64
	Arrival   int64
	Event     int // its place in the arrival, where that is a bundle; 0 = it is none
	Pipeline  string
	Name      string // the arrival's
	Pos       Position
	Stage     Stage
	Sink      string
	Reason    string
	Status    int
	Answer    string
	Raw       []byte
	Key       Key   // zero where it has none
	Batch     int64 // the batch it was given up with; 0 for others
	Uncertain bool  // given up while the fate of its last try was unknown
	Replaying bool  // its record is being sent again; it is dead until that ends
	At        time.Time
}

// LetterFilter narrows a listing of dead letters; zero values match all.
type LetterFilter struct {
	IDs      []int64
	Arrival  int64
	Event    int // of Arrival, a bundle; 0 = all of it
	Pipeline string
	Reason   string // substring, case ignored
	Sink     string // that refused it
	Stage    Stage
	Since    time.Time // died at or after
	Until    time.Time // died before
	Limit    int
	// ByRecord lists them in the order of their arrivals and records, not in
	// that of their deaths.
	ByRecord bool
	// Replaying: those that are being replayed and did not die again, too.
	Replaying bool
}

// AuditRow is the proof, or not, that one arrival's books balance. It is
// computed from claims, batches, waiting records and dead letters, and
// compared with the arrival's own totals.
type AuditRow struct {
	Pipeline string
	Arrival  int64
	Event    int // of Arrival; 0 = all of it
	State    State
	Balanced bool
	Counts   Counts
	Why      string // where it fails
}

// Backlog is what waits in one pipeline.
type Backlog struct {
	Pipeline    string
	Waiting     int64 // arrivals taken up and not ended, held ones apart
	Held        int64
	Dead        int64 // dead letters
	LastArrival time.Time
	LastName    string // of the newest arrival, and how it stands
	LastState   State
	LastError   string // of the newest held or failed arrival
	Receipts    int64  // reports on arrivals that are to be written
	NoReceipt   string // why the oldest of them could not be
}

// A Query reads the ledger. Its methods are for people's screens and never
// hold the writer up.
type Query interface {
	Arrivals(ctx context.Context, f ArrivalFilter) iter.Seq2[Arrival, error]
	Arrival(ctx context.Context, id int64) (*ArrivalDetail, error)
	// Event is Arrival for an event too.
	Event(ctx context.Context, r Ref) (*ArrivalDetail, error)
	Letters(ctx context.Context, f LetterFilter) iter.Seq2[Letter, error]
	Audit(ctx context.Context, pipeline string, arrival int64) iter.Seq2[AuditRow, error]
	Backlog(ctx context.Context) ([]Backlog, error)
}
