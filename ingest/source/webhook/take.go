package webhook

import (
	"context"
	"errors"
	"net/http"
	"time"

	"ingestd/ingest"
)

// take stores an event and answers, unless it was seen before.
func (h *Hook) take(v *visit, e *ingest.Event, parts []part, marks []mark) error {
	own, err := h.first(v.r.Context(), e.At, marks)
	if err != nil {
		return err
	}
	if own.count > 0 {
		if h.o.Sync {
			return h.await(v, own.ref, WasRepeat)
		}
		h.o.Observer(http.StatusOK, WasRepeat)
		return sayStored(v.w, v.r, http.StatusOK, own.ref, own.count)
	}
	ref, err := h.store(v, e, parts, marks, own)
	switch {
	case errors.Is(err, ErrFull):
		return tooMany("the queue is full", 10*time.Second)
	case err != nil:
		if left, ok := h.lines.next(time.Now()); ok {
			h.log.Error("an event was not stored", "error", err, "not_logged", left)
		}
		return answer(http.StatusServiceUnavailable, "the event cannot be stored now").after(10 * time.Second)
	}
	if h.o.Sync {
		return h.await(v, ref, WasStored)
	}
	h.o.Observer(http.StatusAccepted, WasStored)
	return sayStored(v.w, v.r, http.StatusAccepted, ref, len(parts))
}

// first looks for an event with one of the marks. What it returns is either the
// caller's own, who must end it, or has a count: it was stored before, and no
// record of it died.
func (h *Hook) first(ctx context.Context, now time.Time, marks []mark) (*event, error) {
	for {
		e, own := h.seen.begin(now, marks)
		if own {
			return e, nil
		}
		select {
		case <-e.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if e.count == 0 {
			continue // it could not be stored; this one may be
		}
		died, err := h.died(ctx, e)
		if err != nil {
			return nil, err
		}
		if !died {
			return e, nil
		}
		h.seen.forget(marks, e.ref)
	}
}

func (h *Hook) died(ctx context.Context, e *event) (bool, error) {
	r := e.ref
	for range e.count {
		if died, err := h.o.Store.Died(ctx, r); died || err != nil {
			return died, err
		}
		r.Event++
	}
	return false, nil
}

// store brings an event to disk; own ends with it, however that goes.
func (h *Hook) store(v *visit, e *ingest.Event, parts []part, marks []mark, own *event) (ref ingest.Ref, err error) {
	stored := 0
	defer func() { h.seen.end(own, ref, stored) }()
	events := make([]Stored, len(parts))
	for i, p := range parts {
		events[i] = Stored{Head: appendHead(nil, e, p, v.r.Header, h.hide, marks), Body: p.body, Alone: h.o.Sync}
	}
	if ref, err = h.o.Store.Append(v.r.Context(), events); err == nil {
		stored = len(events)
	}
	return ref, err
}

// await answers a sync sender with the target's own answer; past the timeout,
// and when the daemon stops, with where it will be.
func (h *Hook) await(v *visit, ref ingest.Ref, what string) error {
	ctx, stop := context.WithTimeout(v.r.Context(), h.o.Timeout)
	defer stop()
	defer context.AfterFunc(v.until, stop)()
	reply, done, err := h.o.Desk.Await(ctx, ref)
	switch {
	case err != nil && ctx.Err() == nil:
		return err
	case err != nil || !done:
		v.patience()
		v.w.Header().Set("Location", h.o.Location(ref))
		h.o.Observer(http.StatusAccepted, what)
		return sayStored(v.w, v.r, http.StatusAccepted, ref, 1)
	}
	h.o.Observer(reply.Status, WasAnswered)
	v.pass(reply)
	return nil
}

// asked are the headers that go on to the target with a question.
var asked = []string{"Accept", "Accept-Language", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "X-Request-Id"}

// ask passes a GET on to the target. Nothing is stored.
func (h *Hook) ask(v *visit) error {
	ctx, stop := context.WithTimeout(v.r.Context(), h.o.Timeout)
	defer stop()
	defer context.AfterFunc(v.until, stop)()
	header := http.Header{}
	for _, name := range asked {
		if vs := v.r.Header[name]; len(vs) > 0 {
			header[name] = vs
		}
	}
	reply, err := h.o.Desk.Ask(ctx, http.MethodGet, v.suffix, v.r.URL.RawQuery, header)
	if err != nil {
		if left, ok := h.lines.next(time.Now()); ok {
			h.log.Warn("a question was not answered", "error", err, "not_logged", left)
		}
		if ctx.Err() != nil {
			return answer(http.StatusGatewayTimeout, "the target did not answer in time")
		}
		return answer(http.StatusBadGateway, "the target cannot be asked now")
	}
	h.o.Observer(reply.Status, WasAsked)
	v.pass(reply)
	return nil
}

// pass writes a target's answer as it came.
func (v *visit) pass(reply ingest.Reply) {
	v.patience()
	h := v.w.Header()
	h["Content-Type"] = nil // no guess of ours
	if reply.ContentType != "" {
		h.Set("Content-Type", reply.ContentType)
	}
	h.Set("X-Content-Type-Options", "nosniff")
	status := reply.Status
	if status < 200 || status > 999 {
		status = http.StatusBadGateway
	}
	v.w.WriteHeader(status)
	if status != http.StatusNoContent && status != http.StatusNotModified {
		_, _ = v.w.Write(reply.Body) // a sender that left sees the result at its Location
	}
}

// patience gives an answer that came late its time to be written.
func (v *visit) patience() {
	_ = http.NewResponseController(v.w).SetWriteDeadline(time.Now().Add(v.limits.WriteTimeout)) // not there in tests without a connection
}
