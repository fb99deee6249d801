package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A Body says how records become the bytes of one request: Open, the records
// with Between them, Close. Record bytes are built by the engine, once, and the
// same bytes go out on every try.
type Body struct {
	ContentType string
	Open        []byte
	Between     []byte
	Close       []byte
	PerRecord   bool // one record a request
	File        bool // the arrival's bytes as they are, in place of records (format raw)
}

// A Var is a field's value for a URL template.
type Var struct {
	Name  string
	Value string
}

// A Request is one batch on its way to a sink. Whenever and however often it
// is sent, Key and Body are the same.
type Request struct {
	Pipeline    string
	Arrival     int64     // 0 where the batch holds records of several arrivals
	Event       int       // its place in the arrival, where all records are of one event; else 0
	Name        string    // the arrival's name
	Arrived     time.Time // when it arrived, UTC
	Key         string    // Idempotency-Key: 32 lower-case hex digits
	Records     int
	ContentType string
	Body        []byte
	Vars        []Var // values for the sink's URL
	Place       int64 // sinks with a Placer: where in the file it belongs
	PlacePath   string
	Whole       bool // somebody waits for the target's whole answer
}

// An Answer is what a target said to a request that was delivered, or, inside
// a verdict, to one that was not.
type Answer struct {
	Status int    // HTTP status; 0 where there is none
	Body   string // the first 2 KiB, secrets cut out
	Had    bool   // the target had it already: delivered, counted apart
	Reply  *Reply // all of it, where the request asked for that
}

// A Sink delivers requests. A nil error means delivered. The sink classifies
// its own failure: *Reject, *Halt, *RetryAfter, *Unsent and *Mixed are verdicts,
// any other error means "try again, its fate is unknown". Safe for concurrent
// use.
type Sink interface {
	Send(ctx context.Context, r *Request) (Answer, error)
}

// A Placer is a sink whose requests have a place of their own that is fixed
// before they are sent (the offset in a file), so that sending twice writes
// once.
type Placer interface {
	// Place assigns the place of a request of size bytes. open lists the places
	// that unfinished requests already have in the same file.
	Place(ctx context.Context, r *Request, size int64) (path string, place int64, err error)
}

// Reject is a clear refusal: these records are wrong, whenever they are sent.
type Reject struct {
	Reason   string
	Answer   Answer
	TooLarge bool // the size was the reason (413): halve by size
}

func (e *Reject) Error() string { return e.Reason }

// Halt means that the sink itself is wrong (address, credentials): it stops,
// its records wait, nothing becomes dead.
type Halt struct {
	Reason string // what a person must do
	Answer Answer
}

func (e *Halt) Error() string { return e.Reason }

// RetryAfter means that nothing may be sent to this host for this pipeline
// before At.
type RetryAfter struct {
	At     time.Time
	Reason string
	Answer Answer
}

func (e *RetryAfter) Error() string {
	return fmt.Sprintf("%s; not before %s", e.Reason, e.At.UTC().Format(time.RFC3339))
}

// Unsent means that nothing was sent, because nothing can be before At: the
// host is down, or the credentials for it cannot be had. It is no try: the
// records' fate is known, and no time of theirs runs.
type Unsent struct {
	At       time.Time
	Reason   string
	Failures int // tries in a row that failed, whoever made them
}

func (e *Unsent) Error() string { return e.Reason }

// Unanswered wraps an error of a try that may or may not have reached the
// target, with what is known of the answer (a 503 has one, a reset has none).
type Unanswered struct {
	Err    error
	Answer Answer
}

func (e *Unanswered) Error() string { return e.Err.Error() }
func (e *Unanswered) Unwrap() error { return e.Err }

// A Fate is what a target's answer says about one record.
type Fate uint8

// Fates. A record of which an answer says nothing may have been taken or not.
const (
	FateUnknown   Fate = iota // the answer does not say
	FateDelivered             // taken
	FateHad                   // the target had it already
	FateRefused               // a clear refusal
	FateAgain                 // not now: to be sent again
)

// A RecordAnswer is a target's answer about one record of a request.
type RecordAnswer struct {
	Fate   Fate
	Status int    // 0 where there is none
	Reason string // refused, unknown, again: what a dead letter says
	Body   string // the target's words on it, cut, secrets cut out
}

// Mixed is a verdict on each record by itself: the target answered for them one
// by one, and did not take all.
type Mixed struct {
	Answer  Answer         // the answer as a whole
	Records []RecordAnswer // one for each record of the request, in order
	Later   *RetryAfter    // set where the target asked for silence
}

func (e *Mixed) Error() string {
	var n [FateAgain + 1]int
	for i := range e.Records {
		n[e.Records[i].Fate]++
	}
	return fmt.Sprintf("answered record by record: %d taken, %d refused, %d to be sent again, %d without a result",
		n[FateDelivered]+n[FateHad], n[FateRefused], n[FateAgain], n[FateUnknown])
}

// Unwrap lets those who keep a target's silence see Later.
func (e *Mixed) Unwrap() error {
	if e.Later == nil {
		return nil
	}
	return e.Later
}

// AnswerOf digs the target's answer out of an error of Send.
func AnswerOf(err error) Answer {
	var (
		rj *Reject
		h  *Halt
		ra *RetryAfter
		un *Unanswered
		m  *Mixed
	)
	switch {
	case errors.As(err, &m):
		return m.Answer
	case errors.As(err, &rj):
		return rj.Answer
	case errors.As(err, &h):
		return h.Answer
	case errors.As(err, &ra):
		return ra.Answer
	case errors.As(err, &un):
		return un.Answer
	}
	return Answer{}
}
