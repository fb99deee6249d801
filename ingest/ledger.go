package ingest

import (
	"context"
	"errors"
	"time"
)

// BatchState is where a request's life stands.
type BatchState string

// The states of batches. Open and due ones are unsettled.
const (
	BatchOpen      BatchState = "open"      // claimed; being sent, or its fate unknown
	BatchDue       BatchState = "due"       // put off until DueAt
	BatchDelivered BatchState = "delivered" // acknowledged
	BatchDead      BatchState = "dead"      // refused, its records are dead letters
	BatchGivenUp   BatchState = "given_up"  // dead after give_up_after, its last fate unknown
	BatchSplit     BatchState = "split"     // refused; two halves took its place
	BatchMixed     BatchState = "mixed"     // answered record by record; those to be sent again are a batch of their own
)

// Settled reports whether nothing of this batch will be sent again.
func (s BatchState) Settled() bool { return s != BatchOpen && s != BatchDue }

// Judged is one record on its way through Judge.
type Judged struct {
	Pos     Position
	Key     Key // zero: not deduplicated, the verdict is New
	Verdict Verdict
	Leader  int64  // Follow: the arrival of the record that leads this key; 0 where unknown
	Reason  string // Dead: of which record it shares the fate, and why that died
	// Have lists sinks that had this key delivered while others had not; the
	// record goes only to the rest. Nil for nearly all.
	Have []string
}

// A Follower is a record that waits for another with the same key.
type Follower struct {
	Pos    Position
	Key    Key
	Raw    []byte
	Leader int64 // the arrival of the record it waits for; 0 where unknown
}

// A ClaimFault is a record of a claim that is dead from the start.
type ClaimFault struct {
	Fault
	Key Key // zero where it has none
}

// A Claim is the ledger's promise on one range of an arrival's records: which
// are new and go into which batches, which were left out and why. It is
// committed before anything of it is sent.
type Claim struct {
	ID          int64 // set when committed
	Arrival     int64
	Scope       string
	First, Last int64    // record ordinals, both included
	Verdicts    Verdicts // one per ordinal
	Keys        []Key    // of the New ones, in order; nil where records are not deduplicated
	Dead        []ClaimFault
	Followers   []Follower
	Batches     []*Batch // for all its sinks
	Sinks       []string // the sinks its records go to
	// Lanes are, for each sink whose records go out in lanes, the lane of every
	// New record, in order. A Cut brings its sink's own.
	Lanes map[string][]byte
	// Letters are the dead letters that this claim takes up again; nil for the
	// claims of a reading pass.
	Letters []int64
	// Forced says that a person had Letters sent anew although some of their
	// records may have reached the target.
	Forced bool
	// OnNumbered, where set, is called when the batches have their numbers and
	// before anything is written.
	OnNumbered func() error
}

// A Batch is the records of one claim that one request carries. Its records are
// the claim's New ones from First to Last, or, where Members is set, those that
// are New in it: one verdict per ordinal, New or Absent.
type Batch struct {
	ID          int64 // set when committed
	Claim       int64
	Arrival     int64
	Sink        string
	Number      int   // within the arrival, from 1; set when committed
	First, Last int64 // ordinals
	Lane        int   // of those, the ones of this lane; 0: all, its sink has no lanes
	Members     Verdicts
	Records     int
	BodyHash    [32]byte
	Key         [16]byte // Idempotency-Key
	State       BatchState
	Attempts    int
	CreatedAt   time.Time
	DueAt       time.Time
	Silence     bool      // due: the target asked for silence until then
	TriedAt     time.Time // due: the first of its tries that failed; zero where that is not known
	Status      int
	Answer      string
	Uncertain   bool   // a try of it is out whose fate is unknown
	PlacePath   string // sinks with a Placer
	Place       int64
	PlaceEnd    int64 // the first byte behind it
}

// A Settlement is what became of one batch.
type Settlement struct {
	Batch    *Batch
	State    BatchState
	Attempts int
	Status   int
	Answer   string
	Had      bool      // delivered: the target had it already
	DueAt    time.Time // due
	Silence  bool      // due: the target asked for silence until then
	TriedAt  time.Time // due: the first try that failed
	// Uncertain: some try may have reached the target.
	Uncertain bool
	Dead      []Letter  // dead, given_up: one per record; mixed: one per dead record
	Halves    [2]*Batch // split
	// Mixed: what became of each record, one verdict per ordinal of the batch.
	// New: delivered. Duplicate: delivered, the target had it. Dead: has a
	// letter in Dead. Follow: goes on in Rest. Absent: none of the batch's.
	Outcomes Verdicts
	// Reply is the target's whole answer, for a sender that waits for it; nil for
	// most.
	Reply *Reply
	Rest  *Batch // mixed: takes the place of the records that Follow; nil for none
}

// Holds returns what tells whether an ordinal is from First to Last and, where
// there are Members, one of them. It is asked in rising order.
func (b *Batch) Holds() func(record int64) bool {
	first, last, members := b.First, b.Last, func(int64) bool { return true }
	if b.Members != nil {
		members = b.Members.Rising(New)
	}
	return func(record int64) bool { return first <= record && record <= last && members(record-first) }
}

// Begun is what the ledger knows of an arrival when its life goes on.
type Begun struct {
	Arrival  Arrival
	Snapshot []byte       // the settings it began with
	Settled  []Range      // ordinals whose claims are settled, merged, rising
	Open     []*OpenClaim // claims with unsettled batches or unresolved followers, rising
}

// A Range is record ordinals, both ends included.
type Range struct{ First, Last int64 }

// An OpenClaim is a committed claim that is to be finished.
type OpenClaim struct {
	Claim
	// Uncut lists the sinks whose batches are still to be cut from this claim.
	Uncut []string
}

// Errors of the ledger.
var (
	// ErrNotFound: no such arrival, batch or letter.
	ErrNotFound = errors.New("not in the ledger")
	// ErrBodyChanged: a rebuilt body is not the one that was claimed.
	ErrBodyChanged = errors.New("a rebuilt request differs from the one that was claimed")
)

// Arrivals is the part of the ledger that follows arrivals.
type Arrivals interface {
	// Accept stores what a source found, in one commit.
	Accept(ctx context.Context, pipeline, scope string, found []Found) ([]int64, error)
	// Begin marks the arrival running. The first Begin stores snapshot (and its
	// hash); later ones return what was stored then. starts counts up.
	Begin(ctx context.Context, id int64, snapshot []byte) (*Begun, error)
	// Hold marks it held, with the reason; Resume makes it waiting again.
	Hold(ctx context.Context, id int64, reason string) error
	// End closes the books and stores where the bytes go, in one commit.
	End(ctx context.Context, id int64, e Ending) (*Arrival, error)
	// PutAway notes that the bytes are where End said, or, where away is set,
	// where they went instead.
	PutAway(ctx context.Context, id int64, away Disposition) error
}

// Lookups is what the engine asks the ledger about arrivals.
type Lookups interface {
	// Unfinished lists a pipeline's arrivals that have not been put away, in
	// the order of their numbers, and those with replayed letters under way.
	Unfinished(ctx context.Context, pipeline string) ([]Arrival, error)
	// SameSize reports whether arrivals of this size ended well in the scope,
	// and lists those before this one that are under way.
	SameSize(ctx context.Context, scope string, size, before int64) (some bool, running []int64, err error)
	// SameContent reports whether content is known: an arrival of the scope
	// with it ended done and with no dead letter.
	SameContent(ctx context.Context, scope string, size int64, sha256 []byte) (bool, error)
	// Partly returns the newest arrival of the scope with this content that
	// ended done and has dead letters, or 0.
	Partly(ctx context.Context, scope string, size int64, sha256 []byte) (int64, error)
	// Known reports whether something of this origin, size and mtime was taken
	// up by the pipeline before.
	Known(ctx context.Context, pipeline, origin string, size int64, mtime time.Time) (bool, error)
	// Settled blocks until every claim of the arrival is settled and none of
	// its records waits for another, and returns its books.
	Settled(ctx context.Context, arrival int64) (Counts, error)
	// Ended blocks until the arrival has ended.
	Ended(ctx context.Context, arrival int64) error
	// Delivered lists the ordinals of an arrival that were delivered, or that
	// the ledger held back as delivered before, merged and rising.
	Delivered(ctx context.Context, arrival int64) ([]Range, error)
}

// Ending is how an arrival's life ends.
type Ending struct {
	State   State
	SHA256  []byte
	Error   string
	Away    Disposition
	Details Details // how it was read, for a replay of its dead letters
	Receipt bool    // a report on it is due from here on
}

// Claims is the part of the ledger that records and batches go through. Judge
// answers from memory; Claim, Cut and Settle are queued for the next group
// commit and call done once they are on disk (or failed). done must not block.
type Claims interface {
	// Judge fills in the verdicts. New keys are led by this arrival from now on.
	Judge(ctx context.Context, arrival int64, scope string, recs []Judged) error
	// Claim commits a claim with its batches.
	Claim(c *Claim, done func(error))
	// Cut commits all batches of one sink for a claim made earlier without them.
	Cut(c *Claim, sink string, batches []*Batch, done func(error))
	// Settle commits what became of a batch. The last one of a claim decides
	// its keys and followers in the same commit.
	Settle(s *Settlement, done func(error))
	// Follow gives the followers of an open claim again, after a restart has
	// lost their bytes. Those that the claim still knows are passed over.
	Follow(claim int64, f []Follower, done func(error))
	// Unjudge takes back verdicts of New that will not be claimed, because the
	// pass over the arrival was broken off.
	Unjudge(arrival int64, scope string, keys []Key)
}
