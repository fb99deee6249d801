// Package ledgertest is the suite that any ledger passes, whatever database it
// stands on. It knows the ledger by the domain's interfaces alone.
//
// Each rule of the design has its test, named after it. A test crashes the
// ledger where it likes: it asks the driver for what is on disk at that instant
// and goes on with a ledger opened on that, as the next process would. A model
// of plain maps goes through random lives of arrivals, crashes included, and
// says after each step what the ledger must answer.
package ledgertest

import (
	"context"
	"testing"
	"time"

	"ingestd/ingest"
	"pgregory.net/rapid"
)

// Ledger is a ledger as the engine and people see it.
type Ledger interface {
	ingest.Arrivals
	ingest.Lookups
	ingest.Claims
	ingest.Query
	Replayer
	Secretary
	Keeper
	Pauser
	Clerk
	ingest.AlertBook
	Close() error
}

// A Replayer takes up what has ended.
type Replayer interface {
	Release(ctx context.Context, arrival int64) error
	Reopen(ctx context.Context, arrival int64) (*ingest.Arrival, func(), error)
	Replays(ctx context.Context, pipeline string) (map[int64][]*ingest.OpenClaim, error)
	GivenUp(ctx context.Context, batch int64) (*ingest.Batch, []ingest.Letter, error)
	OpenClaims(arrival int64) []*ingest.OpenClaim
}

// A Keeper forgets, on request.
type Keeper interface {
	Drop(ctx context.Context, letters []int64) (int64, error)
	Forget(ctx context.Context, scope string, keys []ingest.Key) (int, error)
	Prune(ctx context.Context, arrivals, letters time.Time) (arrivalRows, letterRows int64, err error)
	DueNow(ctx context.Context, pipeline string) error
}

// A Pauser remembers what a person paused.
type Pauser interface {
	SetPause(ctx context.Context, p ingest.Pause) error
	Pauses(ctx context.Context) ([]ingest.Pause, error)
}

// Options are how the suite has a ledger opened.
type Options struct {
	Dir  string                           // a directory of its own
	Keep func(scope string) time.Duration // how long keys are remembered; 0 = for ever
	Now  func() time.Time                 // the wall clock
}

// TB is a test, or one check of a property.
type TB interface {
	rapid.TB
	Cleanup(func())
	Context() context.Context
}

// A Driver opens ledgers of one kind.
type Driver struct {
	// Open opens the ledger in a directory, making both where they are absent.
	Open func(t TB, o Options) Ledger
	// Crash copies to a new directory what the ledger in from, which is open and
	// idle, has on disk.
	Crash func(t TB, from, to string)
}

// Run runs the suite.
func Run(t *testing.T, d Driver) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, d Driver)
	}{
		{"Rule1ClaimBeforeSend", claimBeforeSend},
		{"Rule1ClaimsAreWhole", claimsAreWhole},
		{"Rule2PendingAtStart", pendingAtStart},
		{"Rule3SettledIsASet", settledIsASet},
		{"Rule3SettledOnce", settledOnce},
		{"Rule4FollowerInOneArrival", followerInOneArrival},
		{"Rule4FollowerOfAnother", followerOfAnother},
		{"Rule4FollowersBytesAgain", followersBytesAgain},
		{"Rule4LeaderGivesUp", leaderGivesUp},
		{"Rule4LeaderNeverFinishes", leaderNeverFinishes},
		{"Rule4BegunAgain", begunAgain},
		{"Rule4ManyFollowers", manyFollowers},
		{"Rule4ManyLeaders", manyLeaders},
		{"Rule5DeadKeysOfAnArrival", deadKeysOfAnArrival},
		{"Rule5BadByItself", badByItself},
		{"Rule6HalvingIsState", halvingIsState},
		{"Rule6PutOff", putOff},
		{"Rule6AnswersPerRecord", answersPerRecord},
		{"Rule6RestGivenUp", restGivenUp},
		{"Rule6OutcomesAreWhole", outcomesAreWhole},
		{"Rule7SinksApart", sinksApart},
		{"Rule7UncutAcrossCrashes", uncutAcrossCrashes},
		{"Rule7MendedGoesToTheRest", mendedGoesToTheRest},
		{"Rule8Snapshot", snapshot},
		{"Rule8OtherScopeAtBegin", otherScopeAtBegin},
		{"Rule11Lanes", lanes},
		{"Rule11LanesAreWhole", lanesAreWhole},
		{"Rule11RestOfALane", restOfALane},
		{"Rule12SharedScope", sharedScope},
		{"Rule13Keep", keep},
		{"Rule13ExpiredMeanwhile", expiredMeanwhile},
		{"Rule13ClockJumps", clockJumps},
		{"Rule14KnownContent", knownContent},
		{"Rule14WaitForTheEnd", waitForTheEnd},
		{"Rule15Uncertain", uncertain},
		{"Rule15SeveralLetters", severalLetters},
		{"Rule15LettersTakenOnce", lettersTakenOnce},
		{"Rule15DryRun", dryRun},
		{"Rule17Starts", starts},
		{"Held", held},
		{"Refused", refusedWhole},
		{"RejectedWithWorkUnderWay", rejectedWithWork},
		{"Pauses", pauses},
		{"Forget", forget},
		{"Drop", drop},
		{"Prune", prune},
		{"Alerts", alerts},
		{"Listings", listings},
		{"Receipts", receipts},
		{"LetterFilters", letterFilters},
		{"LargeLetters", largeLetters},
		{"ReservedNumbers", reservedNumbers},
		{"EventBooks", eventBooks},
		{"Replies", replies},
		{"Peek", peek},
		{"Model", model},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, d)
		})
	}
}
