package admin

import (
	"context"
	"io"
	"time"

	"ingestd/ingest"
)

// A Statuser tells how things are.
type Statuser interface {
	Status(ctx context.Context) (*Status, error)
}

// Holds decides on held arrivals.
type Holds interface {
	// Release takes a held arrival as it is.
	Release(ctx context.Context, arrival int64) error
	// Reject sends a held arrival to when_failed.
	Reject(ctx context.Context, arrival int64) error
}

// Replays takes arrivals up again.
type Replays interface {
	// Replay accepts what r names once more and returns at once: the new
	// arrivals are followed like any other.
	Replay(ctx context.Context, r ReplayRequest) (*ReplayResult, error)
}

// Hooks knows where senders call.
type Hooks interface {
	Hooks(ctx context.Context) ([]Hook, error)
}

// Letters deals with dead letters.
type Letters interface {
	// ReplayLetters sends the chosen letters' records again and returns once
	// each was delivered, died again, or could not be sent.
	ReplayLetters(ctx context.Context, r LettersRequest) (*LettersResult, error)
	// ExportLetters writes the chosen letters' records in the form of the file
	// that they are from.
	ExportLetters(ctx context.Context, f ingest.LetterFilter, w io.Writer) error
	// DropLetters forgets the chosen letters and says how many.
	DropLetters(ctx context.Context, f ingest.LetterFilter) (int64, error)
}

// Keys is the dedupe memory.
type Keys interface {
	// Forget drops one key from pipeline's scope. fields are the key fields'
	// values by name. It says how many keys were dropped.
	Forget(ctx context.Context, pipeline string, fields map[string]string) (int64, error)
}

// Control steers a running daemon.
type Control interface {
	// Pause stops a pipeline, or deliveries to a sink, until Resume or until.
	Pause(ctx context.Context, name string, until time.Time) error
	Resume(ctx context.Context, name string) error
	// Reload reads the config again; a broken one is refused with its problems.
	Reload(ctx context.Context) error
	// RunNow makes a pipeline's source look at once.
	RunNow(ctx context.Context, pipeline string) error
}

// Sinks tries targets.
type Sinks interface {
	// TestSink asks the target of a sink with one harmless request; method ""
	// is the usual one.
	TestSink(ctx context.Context, name, method string) (*SinkTest, error)
}

// A SinkTest is what `sink test` found out. It holds no secret.
type SinkTest struct {
	Sink        string       `json:"sink"`
	Type        string       `json:"type"`
	Outcome     string       `json:"outcome"` // reached, refused, down
	Means       string       `json:"means"`   // in words
	Method      string       `json:"method,omitempty"`
	URL         string       `json:"url,omitempty"`     // without its query
	Address     string       `json:"address,omitempty"` // that answered
	Protocol    string       `json:"protocol,omitempty"`
	TLS         string       `json:"tls,omitempty"`
	Certificate *Certificate `json:"certificate,omitempty"`
	Status      int          `json:"status,omitempty"`
	Answer      string       `json:"answer,omitempty"` // its beginning
	Took        float64      `json:"took,omitempty"`   // seconds
}

// A Certificate is a target's.
type Certificate struct {
	Subject string    `json:"subject"`
	Issuer  string    `json:"issuer"`
	Ends    time.Time `json:"ends"`
}

// Alerts tells people.
type Alerts interface {
	// TestAlerts sends a harmless alert through every sink that tells.
	TestAlerts(ctx context.Context) ([]AlertTest, error)
}

// Ledger is the database itself.
type Ledger interface {
	Stats(ctx context.Context) (*LedgerStats, error)
	// Prune applies retention now.
	Prune(ctx context.Context) (*PruneResult, error)
	// Backup writes a consistent copy to a new file.
	Backup(ctx context.Context, path string) error
}

// A ReplayRequest names arrivals, by number or by pipeline and time.
type ReplayRequest struct {
	Arrival  int64     `json:"arrival,omitempty"`
	Event    int       `json:"event,omitempty"` // of Arrival, a bundle: its records
	First    int64     `json:"first,omitempty"` // records of Arrival; 0 = all
	Last     int64     `json:"last,omitempty"`
	Pipeline string    `json:"pipeline,omitempty"`
	Since    time.Time `json:"since,omitzero"` // found at or after
	Until    time.Time `json:"until,omitzero"` // found before
	DryRun   bool      `json:"dry_run,omitempty"`
	Force    bool      `json:"force,omitempty"` // ignore what was delivered
}

// check refuses requests that name nothing, or two things.
func (r *ReplayRequest) check() error {
	switch {
	case r.Arrival == 0 && r.Pipeline == "":
		return Invalid("replay wants an arrival, or a pipeline with a time window")
	case r.Arrival != 0 && (r.Pipeline != "" || !r.Since.IsZero() || !r.Until.IsZero()):
		return Invalid("replay takes either an arrival or a pipeline with a time window, not both")
	case r.Pipeline != "" && (r.Since.IsZero() || r.Until.IsZero()):
		return Invalid("replay of a pipeline wants both ends of the time window: since and until")
	case r.Pipeline != "" && !r.Since.Before(r.Until):
		return Invalid("the time window is empty: since is not before until")
	case r.Event != 0 && (r.Event < 0 || r.Arrival == 0 || r.First != 0):
		return Invalid("an event is one of an arrival, and all of its records are taken up again")
	case r.Arrival == 0 && (r.First != 0 || r.Last != 0):
		return Invalid("a range of records belongs to one arrival")
	case r.First < 0 || r.Last < 0 || (r.First == 0) != (r.Last == 0) || r.First > r.Last:
		return Invalid("records %d-%d is no range", r.First, r.Last)
	}
	return nil
}

// A ReplayResult lists what was taken up again, or, of a dry run, would be.
type ReplayResult struct {
	DryRun   bool      `json:"dry_run"`
	Arrivals []Again   `json:"arrivals"`
	Refused  []Refused `json:"refused,omitempty"`
}

// Again is an arrival that is taken up again.
type Again struct {
	Of       int64  `json:"of,string"`                // the arrival whose content it is
	Arrival  int64  `json:"arrival,string,omitempty"` // the new one; none of a dry run
	Pipeline string `json:"pipeline"`
	Name     string `json:"name"`
	Records  int64  `json:"records"` // that it had, or that were asked for
	*Forecast
}

// A Forecast is what a replay would do, counted by reading the content.
type Forecast struct {
	Send     int64  `json:"would_send"`
	Known    int64  `json:"duplicate"` // delivered before: held back
	Filtered int64  `json:"filtered"`  // left out, or not asked for
	Bad      int64  `json:"dead"`
	Waiting  int64  `json:"waiting"`         // share a key with a record under way
	Held     string `json:"held,omitempty"`  // why it would be held, or refused whole, before anything is sent
	Error    string `json:"error,omitempty"` // why it cannot be read to its end
}

// Refused is an arrival that cannot be taken up again.
type Refused struct {
	Of     int64  `json:"of,string"`
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// A LettersRequest chooses dead letters to be sent again.
type LettersRequest struct {
	ingest.LetterFilter
	DryRun bool // only say what would be done
	// Force sends those whose fate is unknown anew, under the config of now and
	// new keys, in place of as they were.
	Force bool
}

// A LettersResult says what became of dead letters that were sent again.
type LettersResult struct {
	Letters   int64 `json:"letters"`   // that were chosen
	Delivered int64 `json:"delivered"` // and left the list
	Duplicate int64 `json:"duplicate"` // whose key was delivered meanwhile; they left the list too
	Filtered  int64 `json:"filtered"`  // that the pipeline's `where` leaves out today
	Dead      int64 `json:"dead"`      // refused again
	// Unfinished: the target gave no answer; they stay.
	Unfinished int64  `json:"unfinished"`
	Error      string `json:"error,omitempty"` // the first reason for one of the last two
	// Of a dry run: Send would be sent, of which AsWere under their old keys and
	// bytes; Delivered is 0.
	DryRun bool  `json:"dry_run,omitempty"`
	Send   int64 `json:"would_send,omitempty"`
	AsWere int64 `json:"as_they_were,omitempty"`
}
