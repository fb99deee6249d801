package alert

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"ingestd/ingest"
)

const (
	// burst is how many notices a sink gets at once, and pace how long it takes
	// until it gets one more: a storm becomes a drizzle, the worst first.
	burst = 10
	pace  = 30 * time.Second
	// A sink that fails is tried again after firstPause, at most every longest.
	firstPause   = 5 * time.Second
	longestPause = 5 * time.Minute
	// refusals is how often a notice may be refused before it counts as told.
	refusals = 3
	// muteAfter is for how long a sink may fail until others are told of it.
	muteAfter = 5 * time.Minute
	// sendWithin bounds one try where a route says nothing.
	sendWithin = 30 * time.Second
)

// A mouth is the state of a sink that tells.
type mouth struct {
	busy    bool
	until   time.Time // not before
	fails   int
	refused int // of the same notice
	failing time.Time
	why     string
	tokens  float64
	filled  time.Time
}

// take takes a token, if there is one.
func (m *mouth) take(now time.Time, pace time.Duration) bool {
	if !m.filled.IsZero() {
		m.tokens = min(burst, m.tokens+float64(now.Sub(m.filled))/float64(pace))
	}
	m.filled = now
	if m.tokens < 1 {
		return false
	}
	m.tokens--
	return true
}

// What is said of an alert.
type phrase int

const (
	nothing phrase = iota
	opening        // it began
	worse          // it became more severe
	ending         // it is over
	growing        // there is more of it
	still          // a reminder
)

// due says what is to be said of e now.
func (t *Teller) due(e *entry, now time.Time, remind time.Duration) phrase {
	pace := Kind(e.Kind).pacing()
	switch {
	case !e.over.IsZero() || e.busy:
		return nothing
	case !e.gone.IsZero():
		if now.Sub(e.gone) >= t.quick(min(maxStable, pace.stable<<min(e.flaps, 10))) {
			return ending
		}
	case e.Said == 0:
		if now.Sub(e.Opened) >= t.quick(pace.hold) {
			return opening
		}
	case rank(&e.OpenAlert) > e.worst:
		return worse
	case e.more > e.Mark && now.Sub(e.Told) >= t.quick(regroup):
		return growing
	case remind > 0 && now.Sub(e.Told) >= remind:
		return still
	}
	return nothing
}

// speak begins to send what is due, one notice a sink at a time.
func (t *Teller) speak(ctx context.Context, sending *sync.WaitGroup) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	for to, m := range t.mouths {
		if m.busy || now.Before(m.until) {
			continue
		}
		e, what := t.next(to, now)
		if e == nil || !m.take(now, t.quick(pace)) {
			continue
		}
		r := t.route(to)
		n := t.notice(e, what, now)
		sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%d\n%d", e.To, e.Key, e.Opened.UnixMicro(), e.Said))
		m.busy, e.busy, e.tried = true, true, true
		told, mark := e.OpenAlert, e.more
		sending.Go(func() {
			_, err := send(ctx, r, n, hex.EncodeToString(sum[:16]))
			t.sent(ctx, m, e, what, told, mark, err)
		})
	}
}

// next is the most urgent entry of a sink about which something is to be said.
func (t *Teller) next(to string, now time.Time) (best *entry, what phrase) {
	r := t.route(to)
	for at, e := range t.entries {
		if at.to != to {
			continue
		}
		p := t.due(e, now, r.Remind)
		if p == nothing {
			continue
		}
		if best == nil || cmp.Or(
			cmp.Compare(rank(&e.OpenAlert), rank(&best.OpenAlert)),
			cmp.Compare(what, p), best.Opened.Compare(e.Opened), cmp.Compare(best.Key, e.Key)) > 0 {
			best, what = e, p
		}
	}
	return best, what
}

// route is the first that a sink has.
func (t *Teller) route(to string) Route {
	i := slices.IndexFunc(t.routes, func(r Route) bool { return r.To == to })
	return t.routes[i]
}

// notice words an entry.
func (t *Teller) notice(e *entry, what phrase, now time.Time) *Notice {
	n := &Notice{
		Kind: e.Kind, Severity: e.Severity, Pipeline: e.Pipeline, Name: name(e.Name),
		Message: e.Message, Action: e.Action, Since: e.Since.UTC().Format(time.RFC3339), Over: what == ending, URL: t.url,
	}
	if e.Arrival != 0 {
		n.Arrival = strconv.FormatInt(e.Arrival, 10)
	}
	switch what {
	case ending:
		n.Message = fmt.Sprintf("Over: %s (it lasted from %s to %s)", n.Message, minute(e.Since), minute(e.gone))
		n.Action = "nothing to do"
		if e.Said == 0 {
			n.Message += "; this could not be sent earlier"
		}
	case still:
		n.Message = fmt.Sprintf("Still: %s (since %s)", n.Message, minute(e.Since))
	default:
		n.Message = fmt.Sprintf("%s (since %s)", n.Message, minute(e.Since))
	}
	if t.o.Host != "" {
		n.Message = t.o.Host + ": " + n.Message
	}
	return n
}

func send(ctx context.Context, r Route, n *Notice, key string) (ingest.Answer, error) {
	within := r.Timeout
	if within <= 0 {
		within = sendWithin
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	body, contentType := r.Body.Render(n)
	q := &ingest.Request{
		Pipeline: n.Pipeline, Name: n.Name, Arrived: time.Now().UTC(), Key: key, Records: 1,
		ContentType: contentType, Body: body, Vars: n.vars(),
	}
	if p, ok := r.Sink.(ingest.Placer); ok {
		var err error
		if q.PlacePath, q.Place, err = p.Place(ctx, q, int64(len(body))); err != nil {
			return ingest.Answer{}, err
		}
	}
	return r.Sink.Send(ctx, q)
}

// sent takes in what became of a notice.
func (t *Teller) sent(ctx context.Context, m *mouth, e *entry, what phrase, told ingest.OpenAlert, mark int64, err error) {
	t.mu.Lock()
	now := time.Now()
	m.busy, e.busy = false, false
	var rj *ingest.Reject
	if errors.As(err, &rj) {
		if m.refused++; m.refused == refusals {
			t.o.Log.Error("alerts: the sink refuses this notice; it counts as told", "sink", e.To, "alert", e.Key, "error", err, "answer", rj.Answer.Body)
			err = nil
		}
	}
	switch {
	case err == nil:
		if !m.failing.IsZero() {
			t.o.Log.Info("alerts: the sink takes them again", "sink", e.To, "failed_since", m.failing)
		}
		m.fails, m.refused, m.failing, m.why, m.until = 0, 0, time.Time{}, "", time.Time{}
		if what == ending {
			e.end(now)
		} else {
			e.Told, e.Mark, e.worst = now.Truncate(time.Microsecond), mark, rank(&told)
			e.Said++
			e.dirty = true
		}
	case ctx.Err() != nil:
	default:
		if m.failing.IsZero() {
			m.failing = now
			t.o.Log.Warn("alerts: a sink cannot tell; it is tried again", "sink", e.To, "error", err)
		}
		wait := t.quick(min(firstPause<<min(m.fails, 10), longestPause))
		var ra *ingest.RetryAfter
		if errors.As(err, &ra) {
			wait = max(wait, min(ra.At.Sub(now), time.Hour))
		}
		m.fails++
		m.why, m.until = err.Error(), now.Add(wait)
	}
	t.mu.Unlock()
	if err == nil {
		t.save(ctx)
		select {
		case t.wake <- struct{}{}:
		default:
		}
	}
}

// A Result is what a sink made of a test.
type Result struct {
	Sink   string `json:"sink"`
	Status int    `json:"status"` // HTTP status; 0 where there is none
	Answer string `json:"answer"`
	Error  string `json:"error"` // "" = it was told
}

// Test sends a harmless notice through every sink that tells, one after the
// other, and says what was answered.
func (t *Teller) Test(ctx context.Context) []Result {
	t.mu.Lock()
	routes, url := slices.Clone(t.routes), t.url
	t.mu.Unlock()
	out := []Result{}
	for i, r := range routes {
		if slices.ContainsFunc(routes[:i], func(o Route) bool { return o.To == r.To }) {
			continue
		}
		now := time.Now()
		n := &Notice{
			Kind: string(Test), Severity: string(Info), Message: "this is a test: alerts of ingestd arrive here", Action: "nothing to do",
			Since: now.UTC().Format(time.RFC3339), URL: url,
		}
		if t.o.Host != "" {
			n.Message = t.o.Host + ": " + n.Message
		}
		sum := sha256.Sum256(fmt.Appendf(nil, "test\n%s\n%d", r.To, now.UnixNano()))
		a, err := send(ctx, r, n, hex.EncodeToString(sum[:16]))
		res := Result{Sink: r.To, Status: a.Status, Answer: a.Body}
		if err != nil {
			a = ingest.AnswerOf(err)
			res.Status, res.Answer, res.Error = a.Status, a.Body, err.Error()
		}
		out = append(out, res)
	}
	return out
}

// Mute says why no sink could tell anything for a while, or nil: where there are
// none, or one of them works.
func (t *Teller) Mute() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	for _, m := range t.mouths {
		if m.failing.IsZero() || now.Sub(m.failing) < 3*t.quick(muteAfter) {
			return nil
		}
	}
	if len(t.mouths) == 0 {
		return nil
	}
	return errors.New("no alert can be sent")
}
