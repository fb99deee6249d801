package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"ingestd/ingest"
)

// A Store keeps what was received.
type Store interface {
	// Append stores the events of one request, all or none, and returns their
	// arrival numbers once they are on disk. ErrFull where there is no room.
	Append(ctx context.Context, events []Stored) ([]string, error)
	// Died reports whether records of an arrival are dead letters: such an
	// event is taken again when it is repeated.
	Died(ctx context.Context, arrival string) (bool, error)
}

// Stored is an event as it goes to disk.
type Stored struct {
	Event *ingest.Event
	Body  []byte
	Alone bool // it is answered with what becomes of it
}

// ErrFull says that the queue on disk is full.
var ErrFull = errors.New("the queue is full")

// A Result is a target's own answer.
type Result struct {
	Status      int
	ContentType string
	Body        []byte
}

// A Desk is what a sync hook needs of the engine.
type Desk interface {
	// Await returns what the target answered to an arrival; false where ctx
	// ended before that.
	Await(ctx context.Context, arrival string) (Result, bool, error)
	// Ask passes a question on to the target and returns its answer.
	Ask(ctx context.Context, method, suffix, query string, header http.Header) (Result, error)
}

// HookOptions are a hook's settings.
type HookOptions struct {
	Pipeline   string
	Path       string
	Methods    []string
	Sync       bool
	Timeout    time.Duration // of a sync answer
	MaxBody    int64
	FixedType  bool // the pipeline's format says what a body is, not its Content-Type
	Verifier   *Verifier
	EventID    IDPlace
	Challenge  string // "", meta, slack, generic
	Token      ingest.Secret
	Allow      []netip.Prefix
	ClientCert bool
	// When decides whether an event is wanted; nil wants all.
	When         func(e *ingest.Event, body []byte) (bool, error)
	ReplayWindow time.Duration
	MaxMemory    int        // events remembered; 0 = 1,000,000
	Rate         rate.Limit // requests a second; 0 = any
	Burst        int
	Concurrency  int // requests at once; 0 = 256
	Store        Store
	Desk         Desk
	// Results makes the URL at which a result is asked for.
	Results  func(arrival string) string
	Observer func(status int, reason string)
	Logger   *slog.Logger
}

// A Hook is one pipeline's path.
type Hook struct {
	o      HookOptions
	log    *slog.Logger
	seen   *memory
	limit  *rate.Limiter
	places chan struct{}
}

// NewHook makes a hook. It starts nothing.
func NewHook(o HookOptions) *Hook {
	if o.MaxMemory <= 0 {
		o.MaxMemory = 1_000_000
	}
	if o.Concurrency <= 0 {
		o.Concurrency = 256
	}
	if o.Rate <= 0 {
		o.Rate = rate.Inf
	}
	if o.Observer == nil {
		o.Observer = func(int, string) {}
	}
	return &Hook{
		o: o, log: o.Logger.With("pipeline", o.Pipeline), seen: newMemory(o.ReplayWindow, o.MaxMemory),
		limit: rate.NewLimiter(o.Rate, max(o.Burst, int(min(o.Rate, 1e6)), 1)), places: make(chan struct{}, o.Concurrency),
	}
}

// Restore tells the hook of an event that an earlier process stored.
func (h *Hook) Restore(e *ingest.Event, arrival string, now time.Time) {
	if now.Sub(e.At) > h.o.ReplayWindow || len(e.Marks) == 0 {
		return
	}
	marks := make([]mark, 0, len(e.Marks))
	for _, b := range e.Marks {
		if len(b) == len(mark{}) {
			marks = append(marks, mark(b))
		}
	}
	h.seen.restore(e.At, marks, arrival)
}

// serve answers one request. suffix is the path behind the hook's own, client
// the sender's address.
func (h *Hook) serve(w http.ResponseWriter, r *http.Request, suffix string, client netip.Addr) error {
	if !slices.Contains(h.o.Methods, r.Method) && !(h.o.Challenge == "meta" && r.Method == http.MethodGet) {
		e := answer(http.StatusMethodNotAllowed, "method %.20q is not taken here", r.Method)
		e.header = http.Header{"Allow": {strings.Join(h.o.Methods, ", ")}}
		return e
	}
	if err := h.admit(r, client); err != nil {
		return err
	}
	select {
	case h.places <- struct{}{}:
		defer func() { <-h.places }()
	default:
		return busy("too many requests at once", time.Second)
	}
	if res := h.limit.ReserveN(time.Now(), 1); res.Delay() > 0 {
		wait := res.Delay()
		res.Cancel()
		return busy("too many requests a second", wait)
	}
	raw, err := readBody(w, r, h.o.MaxBody)
	if err != nil {
		return err
	}
	now := time.Now()
	if h.o.Challenge == "meta" && r.Method == http.MethodGet && r.URL.Query().Has("hub.mode") {
		return h.subscribe(w, r)
	}
	proof, err := h.o.Verifier.Verify(&Message{Header: r.Header, Body: raw, Now: now})
	if err != nil {
		var no *RefusedError
		if !errors.As(err, &no) {
			return err
		}
		h.log.Warn("a request was refused", "reason", no.Reason, "from", client)
		e := answer(http.StatusUnauthorized, "the request is not signed as it must be")
		if h.o.Verifier.Challenges() != "" {
			e.header = http.Header{"Www-Authenticate": {h.o.Verifier.Challenges()}}
		}
		return e
	}
	if r.Method == http.MethodGet && h.o.Sync {
		return h.ask(w, r, suffix)
	}
	body, err := decode(raw, r.Header.Values("Content-Encoding"), h.o.MaxBody)
	if err != nil {
		return err
	}
	if done, err := h.challenge(w, r, body); done || err != nil {
		return err
	}
	parts, err := split(r.Header.Get("Content-Type"), body, h.o.FixedType)
	if err != nil {
		return err
	}
	e := ingest.Event{
		At: now.UTC(), Method: r.Method, Suffix: suffix, Query: r.URL.RawQuery, Remote: client.String(), Header: headers(r.Header), ID: proof.ID,
	}
	if e.ID == "" {
		e.ID = h.o.EventID.find(r.Header, body)
	}
	if h.o.When != nil {
		ok, err := h.o.When(&e, body)
		if err != nil || !ok {
			h.log.Warn("a request was refused", "reason", "when does not hold", "from", client, "error", err)
			return answer(http.StatusForbidden, "the event is not wanted here")
		}
	}
	return h.take(w, r, &e, parts, h.marks(proof, e.ID, raw))
}

// admit decides by the sender's address and certificate.
func (h *Hook) admit(r *http.Request, client netip.Addr) error {
	if len(h.o.Allow) > 0 && !slices.ContainsFunc(h.o.Allow, func(p netip.Prefix) bool { return p.Contains(client) }) {
		h.log.Warn("a request was refused", "reason", "its address is not allowed", "from", client)
		return answer(http.StatusForbidden, "the address is not allowed")
	}
	if h.o.ClientCert && (r.TLS == nil || len(r.TLS.VerifiedChains) == 0) {
		h.log.Warn("a request was refused", "reason", "it came without a client certificate", "from", client)
		return answer(http.StatusForbidden, "a client certificate is needed")
	}
	return nil
}

// marks are what a repeat of this request is known by: its signed id; where
// none is signed, its id or its bytes.
func (h *Hook) marks(p Proof, id string, raw []byte) (marks []mark) {
	if id != "" {
		marks = append(marks, markOf("id", []byte(id)))
	}
	if p.Verified && (!p.Signed || id == "") {
		marks = append(marks, markOf("body", raw))
	}
	return marks
}

// take stores an event and answers, unless it was seen before.
func (h *Hook) take(w http.ResponseWriter, r *http.Request, e *ingest.Event, parts []part, marks []mark) error {
	var own *event
	for own == nil {
		ev, first := h.seen.begin(e.At, marks)
		if first {
			own = ev
			break
		}
		select {
		case <-ev.done:
		case <-r.Context().Done():
			return r.Context().Err()
		}
		if len(ev.refs) == 0 {
			continue // it was not stored; this one may be
		}
		died, err := h.died(r.Context(), ev.refs)
		if err != nil {
			return err
		}
		if !died {
			return h.again(w, r, ev.refs)
		}
		h.seen.forget(ev)
	}
	for _, m := range marks {
		e.Marks = append(e.Marks, m[:])
	}
	events := make([]Stored, len(parts))
	for i, p := range parts {
		one := *e
		one.ContentType, one.Name = p.contentType, p.name
		events[i] = Stored{Event: &one, Body: p.body, Alone: h.o.Sync}
	}
	refs, err := h.o.Store.Append(r.Context(), events)
	h.seen.end(own, refs)
	switch {
	case errors.Is(err, ErrFull):
		return busy("the queue is full", 10*time.Second)
	case err != nil:
		h.log.Error("an event was not stored", "error", err)
		e := answer(http.StatusServiceUnavailable, "the event cannot be stored now")
		e.header = http.Header{"Retry-After": {"10"}}
		return e
	}
	if h.o.Sync {
		return h.await(w, r, refs)
	}
	h.o.Observer(http.StatusAccepted, "")
	return say(w, r, http.StatusAccepted, named(refs))
}

func (h *Hook) died(ctx context.Context, refs []string) (bool, error) {
	for _, ref := range refs {
		if died, err := h.o.Store.Died(ctx, ref); died || err != nil {
			return died, err
		}
	}
	return false, nil
}

// again answers a repeat.
func (h *Hook) again(w http.ResponseWriter, r *http.Request, refs []string) error {
	h.o.Observer(http.StatusOK, "seen before")
	if h.o.Sync {
		return h.await(w, r, refs)
	}
	return say(w, r, http.StatusOK, named(refs))
}

// await answers a sync sender with the target's own answer; past the timeout
// with where it will be.
func (h *Hook) await(w http.ResponseWriter, r *http.Request, refs []string) error {
	ctx, stop := context.WithTimeout(r.Context(), h.o.Timeout)
	defer stop()
	res, ok, err := h.o.Desk.Await(ctx, refs[0])
	switch {
	case err != nil:
		return err
	case !ok:
		w.Header().Set("Location", h.o.Results(refs[0]))
		h.o.Observer(http.StatusAccepted, "")
		return say(w, r, http.StatusAccepted, named(refs))
	}
	h.o.Observer(res.Status, "")
	pass(w, res)
	return nil
}

// ask passes a GET on to the target.
func (h *Hook) ask(w http.ResponseWriter, r *http.Request, suffix string) error {
	ctx, stop := context.WithTimeout(r.Context(), h.o.Timeout)
	defer stop()
	asked := http.Header{}
	for _, name := range []string{"Accept", "Accept-Language", "If-None-Match", "If-Modified-Since"} {
		if v := r.Header.Values(name); len(v) > 0 {
			asked[name] = v
		}
	}
	res, err := h.o.Desk.Ask(ctx, r.Method, suffix, r.URL.RawQuery, asked)
	if err != nil {
		h.log.Warn("a question was not answered", "error", err)
		if ctx.Err() != nil {
			return answer(http.StatusGatewayTimeout, "the target did not answer in time")
		}
		return answer(http.StatusBadGateway, "the target cannot be asked now")
	}
	h.o.Observer(res.Status, "")
	pass(w, res)
	return nil
}

// pass writes a target's answer as it came.
func pass(w http.ResponseWriter, res Result) {
	if res.ContentType != "" {
		w.Header().Set("Content-Type", res.ContentType)
	} else {
		w.Header()["Content-Type"] = nil // no guess of ours
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(res.Status)
	_, _ = w.Write(res.Body) // a sender that left sees the result at its Location
}

func busy(reason string, after time.Duration) *statusError {
	e := answer(http.StatusTooManyRequests, "%s", reason)
	e.header = http.Header{"Retry-After": {strconv.Itoa(max(1, int((after+time.Second-1)/time.Second)))}}
	return e
}

// readBody reads a body of at most `most` bytes.
func readBody(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	tooLarge := answer(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes", most)
	if r.ContentLength > most {
		return nil, tooLarge
	}
	var b []byte
	var err error
	in := http.MaxBytesReader(w, r.Body, most)
	if r.ContentLength > 0 && r.ContentLength <= 64<<10 {
		b = make([]byte, r.ContentLength)
		_, err = io.ReadFull(in, b)
	} else {
		b, err = io.ReadAll(in) // it grows as bytes come: a length may lie
	}
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return nil, tooLarge
	case err != nil:
		return nil, answer(http.StatusBadRequest, "the body did not come whole, or too slowly")
	}
	return b, nil
}

// hidden are headers that hold secrets, or are the proxy's business.
var hidden = map[string]bool{
	"Authorization": true, "Proxy-Authorization": true, "Cookie": true, "X-Api-Key": true, "Api-Key": true, "X-Auth-Token": true,
}

// headers are those that are kept with an event, names in lower case.
func headers(h http.Header) map[string]string {
	out := make(map[string]string, len(h))
	for name := range maps.Keys(h) {
		lower := strings.ToLower(name)
		if hidden[name] || strings.Contains(lower, "signature") || strings.Contains(lower, "hmac") || strings.Contains(lower, "secret") || strings.Contains(lower, "token") {
			continue
		}
		out[lower] = strings.Join(h[name], ", ")
	}
	return out
}

// named is what a sender is told.
func named(refs []string) map[string]any {
	out := map[string]any{"arrival": refs[0]}
	if len(refs) > 1 {
		out["arrivals"] = refs
	}
	return out
}

// Head is an event's head as it is stored.
func Head(e *ingest.Event) ([]byte, error) { return json.Marshal(e) }
