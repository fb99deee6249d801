package webhook

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"ingestd/ingest"
)

// A Store keeps what was received.
type Store interface {
	// Append stores the events of one request, all or none, and returns the
	// first one's name once they are on disk; the others follow it in the same
	// bundle. ErrFull where too much waits.
	Append(ctx context.Context, events []Stored) (first ingest.Ref, err error)
	// Died reports whether records of an event are dead letters: such an event
	// is taken again when it is repeated.
	Died(ctx context.Context, r ingest.Ref) (bool, error)
}

// Stored is an event as it goes to disk.
type Stored struct {
	Head  []byte // an ingest.Event as JSON
	Body  []byte
	Alone bool // its sender waits for what becomes of it: it is a bundle of its own
}

// ErrFull says that as much waits on disk as may.
var ErrFull = errors.New("the queue is full")

// A Desk is what a sync hook needs of the engine.
type Desk interface {
	// Await returns what the target answered to an event; false where ctx ended
	// before that.
	Await(ctx context.Context, r ingest.Ref) (reply ingest.Reply, done bool, err error)
	// Ask passes a question on to the target and returns its answer. suffix is
	// escaped, and empty or begins with a slash.
	Ask(ctx context.Context, method, suffix, query string, header http.Header) (ingest.Reply, error)
}

// HookOptions are a hook's settings.
type HookOptions struct {
	Pipeline string
	Path     string
	Methods  []string
	Sync     bool
	Timeout  time.Duration // of a sync answer; 0 = 10 s
	MaxBody  int64         // bytes, as received and decoded; 0 = 1 MiB
	// Format is the pipeline's: "" and "auto" leave it to the Content-Type what a
	// body is.
	Format     string
	Verifier   *Verifier
	EventID    IDPlace
	Challenge  string        // "", meta, slack, generic
	Token      ingest.Secret // of Meta's handshake; zero: a secret of the Verifier
	Allow      []netip.Prefix
	ClientCert bool
	// When decides whether an event is wanted; nil wants all.
	When         func(e *ingest.Event, body []byte) (bool, error)
	ReplayWindow time.Duration // 0 = 24 h
	MaxMarks     int           // what repeats are known by; 0 = 1,000,000, of 60 to 80 bytes each
	Rate         rate.Limit    // verified requests a second; 0 = any number
	Burst        int
	Concurrency  int // verified requests at once; 0 = 256
	Store        Store
	Desk         Desk
	// Location makes the URL at which an event's result is asked for.
	Location func(r ingest.Ref) string
	// Observer is told of every answer: what is one of the words below.
	Observer func(status int, what string)
	Logger   *slog.Logger
	// Replaces is the hook of the same pipeline that goes when the config is read
	// again: what it remembers of events is taken over.
	Replaces *Hook
}

// What an Observer is told.
const (
	WasStored    = "stored"
	WasRepeat    = "repeat"
	WasAnswered  = "answer" // by the target
	WasAsked     = "asked"
	WasHandshake = "handshake"
	WasRefused   = "refused"
)

// A Hook is one pipeline's path.
type Hook struct {
	o      HookOptions
	log    *slog.Logger
	lines  ration
	seen   *memory
	limit  *rate.Limiter
	places chan struct{}
	allow  string // the header of a 405
	hide   string // the header that holds the signature, in lower case
}

// NewHook makes a hook. It starts nothing.
func NewHook(o HookOptions) *Hook {
	def(&o.Timeout, 10*time.Second)
	def(&o.MaxBody, 1<<20)
	def(&o.ReplayWindow, 24*time.Hour)
	def(&o.MaxMarks, 1_000_000)
	def(&o.Concurrency, 256)
	def(&o.Rate, rate.Inf)
	def(&o.Burst, int(max(1, min(o.Rate, 1e6))))
	if o.Observer == nil {
		o.Observer = func(int, string) {}
	}
	h := &Hook{
		o: o, log: o.Logger.With("pipeline", o.Pipeline), seen: newMemory(o.ReplayWindow, o.MaxMarks),
		limit: rate.NewLimiter(o.Rate, o.Burst), places: make(chan struct{}, o.Concurrency),
		hide: o.Verifier.carrier(),
	}
	methods := slices.Clone(o.Methods)
	if o.Challenge == "meta" && !slices.Contains(methods, http.MethodGet) {
		methods = append(methods, http.MethodGet)
	}
	h.allow = strings.Join(methods, ", ")
	if o.Replaces != nil {
		h.seen = o.Replaces.seen
		h.seen.bound(o.ReplayWindow, o.MaxMarks)
		h.o.Replaces = nil
	}
	return h
}

func def[T int | int64 | time.Duration | rate.Limit](v *T, to T) {
	if *v <= 0 {
		*v = to
	}
}

// Restore tells the hook of an event that an earlier process stored.
func (h *Hook) Restore(e *ingest.Event, r ingest.Ref, now time.Time) {
	marks := make([]mark, 0, len(e.Marks))
	for _, b := range e.Marks {
		if len(b) == len(mark{}) {
			marks = append(marks, mark(b))
		}
	}
	h.seen.restore(now, now.Sub(e.At), marks, r)
}

// A visit is one request under way.
type visit struct {
	w      http.ResponseWriter
	r      *http.Request
	suffix string     // the path behind the hook's own, escaped
	client netip.Addr // the sender
	stay   stay       // the memory that its body takes
	until  context.Context
	limits *ServerOptions
}

// serve answers one request. The order is: who may come, how, what is it, is it
// from whom it says, may it come now, can it be read, is it wanted, is it new.
// Nothing of a body is decoded before it is known whom it is from, and those who
// cannot prove it take no place from those who can.
func (h *Hook) serve(v *visit) error {
	if err := h.admit(v); err != nil {
		return err
	}
	method, handshake := v.r.Method, false
	switch {
	case h.shakes(v.r):
		handshake = true
	case method == http.MethodHead && h.o.Sync && slices.Contains(h.o.Methods, http.MethodGet):
		method = http.MethodGet // net/http leaves the body out of the answer
	case !slices.Contains(h.o.Methods, method):
		return answer(http.StatusMethodNotAllowed, "method %.20q is not taken here", method).with("Allow", h.allow)
	}
	raw, err := v.readBody(h.o.MaxBody)
	if err != nil {
		return err
	}
	if handshake {
		return h.handshake(v)
	}
	now := time.Now()
	proof, err := h.o.Verifier.Verify(&Message{Header: v.r.Header, Body: raw, Now: now})
	if err != nil {
		return h.unproven(v, err)
	}
	if !h.limit.AllowN(now, 1) {
		return tooMany("too many requests a second", time.Duration(float64(time.Second)/float64(h.o.Rate)))
	}
	select {
	case h.places <- struct{}{}:
		defer func() { <-h.places }()
	default:
		return tooMany("too many requests at once", time.Second)
	}
	if method == http.MethodGet && h.o.Sync {
		return h.ask(v)
	}
	return h.event(v, raw, proof, now)
}

// event takes the event that a request brings.
func (h *Hook) event(v *visit, raw []byte, proof Proof, now time.Time) error {
	header := v.r.Header
	body, err := decode(raw, header["Content-Encoding"], h.o.MaxBody, &v.stay)
	if err != nil {
		return err
	}
	if done, err := h.challenge(v, body); done || err != nil {
		return err
	}
	var parts []part
	if len(body) == 0 && !proof.Verified && (v.r.Method == http.MethodGet || v.r.Method == http.MethodDelete) {
		parts, err = bare(v.r.URL.RawQuery, v.suffix)
	} else {
		parts, err = split(header.Get("Content-Type"), body, h.o.Format, &v.stay)
	}
	if err != nil {
		return err
	}
	if h.o.Sync && len(parts) > 1 {
		return answer(http.StatusBadRequest, "%d files in one request: this hook answers with what became of it, so send one", len(parts))
	}
	e := ingest.Event{
		At: now.UTC(), Method: v.r.Method, Suffix: plain(v.suffix), Query: queryKept(v.r.URL.RawQuery), Remote: v.client.String(),
		ID: h.o.EventID.find(header, parts[0].body), ContentType: parts[0].contentType, Name: parts[0].name,
	}
	marks := marksOf(proof, e.ID, raw)
	if e.ID == "" {
		e.ID = proof.ID
	}
	if h.o.When != nil {
		e.Header = headersKept(header, h.hide)
		ok, err := h.o.When(&e, parts[0].body)
		if err != nil || !ok {
			h.refused(v, "`when` does not hold", err)
			return answer(http.StatusForbidden, "the event is not wanted here")
		}
	}
	return h.take(v, &e, parts, marks)
}

// admit decides by the sender's address and certificate.
func (h *Hook) admit(v *visit) error {
	if len(h.o.Allow) > 0 && !trusted(h.o.Allow, v.client) {
		h.refused(v, "its address is not allowed", nil)
		return answer(http.StatusForbidden, "the address is not allowed")
	}
	if h.o.ClientCert && (v.r.TLS == nil || len(v.r.TLS.VerifiedChains) == 0) {
		h.refused(v, "it came without a client certificate", nil)
		return answer(http.StatusForbidden, "a client certificate is needed")
	}
	return nil
}

// unproven answers a request that is not from whom it says. What is wrong is
// for the log: it would help to forge the next one.
func (h *Hook) unproven(v *visit, err error) error {
	var no *RefusedError
	if !errors.As(err, &no) {
		return err
	}
	h.refused(v, no.Reason, nil)
	out := answer(http.StatusUnauthorized, "the request does not prove where it comes from")
	if asks := h.o.Verifier.Challenges(); asks != "" {
		out.with("Www-Authenticate", asks)
	}
	return out
}

// refused logs, some lines a minute.
func (h *Hook) refused(v *visit, reason string, err error) {
	left, ok := h.lines.next(time.Now())
	if !ok {
		return
	}
	args := []any{"reason", reason, "from", v.client}
	if err != nil {
		args = append(args, "error", err)
	}
	if left > 0 {
		args = append(args, "not_logged", left)
	}
	h.log.Warn("a request was refused", args...)
}

// marksOf are what a repeat of a request is known by: the id that was signed;
// where none was, the id that it bears and its bytes, either of which will do.
func marksOf(p Proof, id string, raw []byte) (marks []mark) {
	if p.ID != "" {
		marks = append(marks, markOf("id", []byte(p.ID)))
	}
	if id != "" && id != p.ID {
		marks = append(marks, markOf("id", []byte(id)))
	}
	if p.Verified && (!p.Signed || p.ID == "") {
		marks = append(marks, markOf("body", raw))
	}
	return marks
}

func tooMany(reason string, after time.Duration) *statusError {
	return answer(http.StatusTooManyRequests, "%s", reason).after(after)
}
