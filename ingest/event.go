package ingest

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"
)

// An Event is what is known of a request that was received, beside its body.
// Secrets are left out of it: credentials and signatures are not kept.
type Event struct {
	At          time.Time         `json:"at"`
	Method      string            `json:"method"`
	Suffix      string            `json:"suffix,omitempty"` // the path behind the hook's own
	Query       string            `json:"query,omitempty"`
	Remote      string            `json:"remote,omitempty"` // the sender's address
	Header      map[string]string `json:"headers,omitempty"`
	ContentType string            `json:"content_type,omitempty"` // of the body as it is stored
	Name        string            `json:"name,omitempty"`         // of a file in a multipart body
	ID          string            `json:"id,omitempty"`           // what the sender calls it
	// Marks make a repeat: one of them is enough. Base64 of 16 bytes each.
	Marks [][]byte `json:"marks,omitempty"`
}

// SourceWebhook is the Found.Source of a bundle: an arrival whose file holds
// events, as they were received. People know each of them as an arrival of its
// own, by the bundle's number and its place in it: 4711.3.
const SourceWebhook = "webhook"

// A Ref is an arrival's name: its number and, of an event, its place in the
// bundle, from 1.
type Ref struct {
	Arrival int64
	Event   int // 0 = the arrival itself
}

// String is the name as people see it: 4711, 4711.3.
func (r Ref) String() string {
	s := strconv.FormatInt(r.Arrival, 10)
	if r.Event > 0 {
		s += "." + strconv.Itoa(r.Event)
	}
	return s
}

// ParseRef reads a name as String writes it.
func ParseRef(s string) (r Ref, ok bool) {
	number, event, isEvent := strings.Cut(s, ".")
	var err error
	if r.Arrival, err = strconv.ParseInt(number, 10, 64); err != nil || r.Arrival <= 0 {
		return Ref{}, false
	}
	if isEvent {
		if r.Event, err = strconv.Atoi(event); err != nil || r.Event <= 0 {
			return Ref{}, false
		}
	}
	return r, r.String() == s
}

// A Span is where an event's records stand in its bundle.
type Span struct {
	Index       int    // the event's place in the bundle, from 1
	Event       *Event // what is known of it beside its body
	Size        int64  // of its body, in bytes
	SHA256      [32]byte
	First, Last int64 // ordinals of its records and faults; Last = First-1 where it holds none
}

// A Reply is a target's whole answer, for a sender that waits for it.
type Reply struct {
	Status      int
	ContentType string
	Body        []byte // at most MaxReply
}

// MaxReply bounds the body of a Reply, in bytes. A longer answer is cut.
const MaxReply = 1 << 20

// A StoredReply is what is known of a reply that a sender may ask for later.
type StoredReply struct {
	Ref   Ref
	Reply *Reply // nil: not yet
}

// ErrPruned says that the bytes of an event are not kept any more.
var ErrPruned = errors.New("the event's bytes are not kept any more")

// Events is the part of the ledger that follows bundles and their events.
type Events interface {
	// ReserveArrivals reserves n arrival numbers and returns the first. They
	// rise and are given to nothing else.
	ReserveArrivals(ctx context.Context, n int) (first int64, err error)
	// StoreSpans keeps where a bundle's events stand, once it was read. What is
	// there already stays.
	StoreSpans(ctx context.Context, arrival int64, spans []Span) error
	// EventDied reports whether records of an event are dead letters.
	EventDied(ctx context.Context, r Ref) (bool, error)
	// SpanOf is where an event stands. ErrNotFound where that is not known (yet).
	SpanOf(ctx context.Context, r Ref) (Span, error)
}
