package admin

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"path/filepath"
	"time"

	"ingestd/ingest"
)

// none answers for what a daemon cannot do.
func none(what string) error {
	return fmt.Errorf("%s: %w here", what, errors.ErrUnsupported)
}

func (a *api) status(w http.ResponseWriter, r *http.Request) {
	if a.Actions.Status == nil {
		a.fail(w, r, none("status"))
		return
	}
	s, err := a.Actions.Status.Status(r.Context())
	a.answer(w, r, s, err)
}

func (a *api) arrivals(w http.ResponseWriter, r *http.Request) {
	p := params{r: r}
	f := ingest.ArrivalFilter{
		Pipeline: p.text("pipeline"), State: ingest.State(p.text("state")),
		Since: p.time("since"), Until: p.time("until"), Limit: int(p.number("limit")), Events: true,
	}
	switch f.State {
	case "", ingest.Waiting, ingest.Running, ingest.Held, ingest.Done, ingest.DuplicateState, ingest.Failed:
	default:
		p.set(Invalid("state %q is none of waiting, running, held, done, duplicate, failed", f.State))
	}
	if p.err != nil {
		a.fail(w, r, p.err)
		return
	}
	stream(a, w, r, a.Query.Arrivals(r.Context(), f), ViewArrival)
}

func (a *api) arrival(w http.ResponseWriter, r *http.Request) {
	ref, err := ParseRef(r.PathValue("id"))
	if err != nil {
		a.fail(w, r, err)
		return
	}
	d, err := a.Query.Event(r.Context(), ref)
	if err != nil {
		a.fail(w, r, named(err, "arrival %s", ref))
		return
	}
	a.answer(w, r, viewDetail(d), nil)
}

// named gives a missing thing its name; other errors say enough themselves.
func named(err error, format string, args ...any) error {
	if errors.Is(err, ingest.ErrNotFound) {
		return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), ingest.ErrNotFound)
	}
	return err
}

func (a *api) release(w http.ResponseWriter, r *http.Request) {
	a.decide(w, r, func(n int64) error { return a.Actions.Holds.Release(r.Context(), n) })
}

func (a *api) reject(w http.ResponseWriter, r *http.Request) {
	a.decide(w, r, func(n int64) error { return a.Actions.Holds.Reject(r.Context(), n) })
}

func (a *api) decide(w http.ResponseWriter, r *http.Request, do func(int64) error) {
	n, err := pathID(r)
	switch {
	case err != nil:
	case a.Actions.Holds == nil:
		err = none("release and reject")
	default:
		err = named(do(n), "arrival %d", n)
	}
	a.answer(w, r, ok{true}, err)
}

type ok struct {
	OK bool `json:"ok"`
}

func (a *api) letters(w http.ResponseWriter, r *http.Request) {
	p := params{r: r}
	f := p.letters()
	if p.err != nil {
		a.fail(w, r, p.err)
		return
	}
	f.Replaying = true
	stream(a, w, r, a.Query.Letters(r.Context(), f), viewLetter)
}

// letters is the filter that a listing of dead letters asks for.
func (p *params) letters() ingest.LetterFilter {
	of := p.ref("arrival")
	f := ingest.LetterFilter{
		IDs: p.numbers("id"), Arrival: of.Arrival, Event: of.Event, Pipeline: p.text("pipeline"),
		Reason: p.text("reason"), Sink: p.text("sink"), Stage: ingest.Stage(p.text("stage")),
		Since: p.time("since"), Until: p.time("until"), Limit: int(p.number("limit")),
	}
	p.set(checkStage(f.Stage))
	return f
}

func checkStage(s ingest.Stage) error {
	switch s {
	case "", ingest.StageParse, ingest.StageShape, ingest.StageDeliver:
		return nil
	}
	return Invalid("stage %q is none of parse, shape, deliver", s)
}

// exportLetters writes dead letters as a file of their own. What goes wrong once
// bytes are out breaks the answer off, so that nobody takes it for whole.
func (a *api) exportLetters(w http.ResponseWriter, r *http.Request) {
	p := params{r: r}
	f := p.letters()
	if p.err == nil && a.Actions.Letters == nil {
		p.set(none("dead letters"))
	}
	if p.err != nil {
		a.fail(w, r, p.err)
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
	out := &begun{ResponseWriter: w}
	if err := a.Actions.Letters.ExportLetters(r.Context(), f, out); err != nil {
		if out.some {
			panic(http.ErrAbortHandler)
		}
		a.fail(w, r, err)
	}
}

// A begun answer knows whether any of it was written.
type begun struct {
	http.ResponseWriter
	some bool
}

func (b *begun) Write(p []byte) (int, error) {
	if !b.some {
		b.some = true
		b.Header().Set("Content-Type", "application/octet-stream")
	}
	return b.ResponseWriter.Write(p)
}

func (a *api) letter(w http.ResponseWriter, r *http.Request) {
	n, err := pathID(r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	for l, err := range a.Query.Letters(r.Context(), ingest.LetterFilter{IDs: []int64{n}, Replaying: true}) {
		a.answer(w, r, viewLetter(&l), err)
		return
	}
	a.fail(w, r, fmt.Errorf("dead letter %d: %w", n, ingest.ErrNotFound))
}

// chosen is the body that picks dead letters.
type chosen struct {
	IDs      []int64   `json:"ids,omitempty"`
	Arrival  int64     `json:"arrival,omitempty"`
	Event    int       `json:"event,omitempty"` // of Arrival
	Pipeline string    `json:"pipeline,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	Until    time.Time `json:"until,omitzero"`
	Sink     string    `json:"sink,omitempty"`
	Stage    string    `json:"stage,omitempty"`
	All      bool      `json:"all,omitempty"`
	DryRun   bool      `json:"dry_run,omitempty"` // of a replay
	Force    bool      `json:"force,omitempty"`   // the same
}

func (c chosen) filter() (ingest.LetterFilter, error) {
	f := ingest.LetterFilter{
		IDs: c.IDs, Arrival: c.Arrival, Event: c.Event, Pipeline: c.Pipeline, Reason: c.Reason, Since: c.Since, Until: c.Until,
		Sink: c.Sink, Stage: ingest.Stage(c.Stage),
	}
	if len(c.IDs) == 0 && c.Arrival == 0 && c.Pipeline == "" && c.Reason == "" && c.Since.IsZero() && c.Until.IsZero() &&
		c.Sink == "" && c.Stage == "" && !c.All {
		return f, Invalid("no letters were chosen: name ids, an arrival, a pipeline, a reason, a sink, a stage, a time, or all")
	}
	return f, checkStage(f.Stage)
}

func (a *api) replayLetters(w http.ResponseWriter, r *http.Request) {
	c, f, err := a.chosen(r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	// The records go out while the caller waits, which may take as long as a
	// retry may.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
	res, err := a.Actions.Letters.ReplayLetters(r.Context(), LettersRequest{f, c.DryRun, c.Force})
	a.answer(w, r, res, err)
}

func (a *api) dropLetters(w http.ResponseWriter, r *http.Request) {
	_, f, err := a.chosen(r)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	n, err := a.Actions.Letters.DropLetters(r.Context(), f)
	a.answer(w, r, dropped{n}, err)
}

type dropped struct {
	Dropped int64 `json:"dropped"`
}

func (a *api) chosen(r *http.Request) (c chosen, f ingest.LetterFilter, err error) {
	if err := body(r, &c); err != nil {
		return c, f, err
	}
	if a.Actions.Letters == nil {
		return c, f, none("dead letters")
	}
	f, err = c.filter()
	return c, f, err
}

func (a *api) audit(w http.ResponseWriter, r *http.Request) {
	p := params{r: r}
	pipeline, of := p.text("pipeline"), p.ref("arrival")
	if p.err != nil {
		a.fail(w, r, p.err)
		return
	}
	rows := a.Query.Audit(r.Context(), pipeline, of.Arrival)
	if of.Event > 0 {
		rows = a.auditEvent(r.Context(), of, rows)
	}
	stream(a, w, r, rows, viewAudit)
}

// auditEvent is the audit of a bundle, with the books of one of its events.
func (a *api) auditEvent(ctx context.Context, of ingest.Ref, rows iter.Seq2[ingest.AuditRow, error]) iter.Seq2[ingest.AuditRow, error] {
	return func(yield func(ingest.AuditRow, error) bool) {
		for row, err := range rows {
			if err == nil {
				var d *ingest.ArrivalDetail
				if d, err = a.Query.Event(ctx, of); err == nil {
					row.Event, row.State, row.Counts = of.Event, d.State, d.Counts
					if row.Balanced && d.State.Ended() && !d.Counts.Balanced() {
						row.Balanced, row.Why = false, "records of the event have no outcome"
					}
				}
			}
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}

func (a *api) replay(w http.ResponseWriter, r *http.Request) {
	var req ReplayRequest
	err := body(r, &req)
	if err == nil {
		err = req.check()
	}
	if err == nil && a.Actions.Replays == nil {
		err = none("replay")
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	if req.DryRun { // contents are read
		_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
	}
	res, err := a.Actions.Replays.Replay(r.Context(), req)
	if err != nil && req.Arrival != 0 {
		err = named(err, "arrival %d", req.Arrival)
	}
	a.answer(w, r, res, err)
}

type forgetBody struct {
	Pipeline string            `json:"pipeline"`
	Fields   map[string]string `json:"fields"`
}

type forgotten struct {
	Forgotten int64 `json:"forgotten"`
}

func (a *api) forget(w http.ResponseWriter, r *http.Request) {
	var f forgetBody
	err := body(r, &f)
	switch {
	case err != nil:
	case f.Pipeline == "" || len(f.Fields) == 0:
		err = Invalid("forget wants a pipeline and the key fields' values")
	case a.Actions.Keys == nil:
		err = none("forget")
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	n, err := a.Actions.Keys.Forget(r.Context(), f.Pipeline, f.Fields)
	a.answer(w, r, forgotten{n}, err)
}

type target struct {
	Name  string    `json:"name"`
	Until time.Time `json:"until,omitzero"`
}

func (a *api) pause(w http.ResponseWriter, r *http.Request) {
	a.control(w, r, true, func(t target) error { return a.Actions.Control.Pause(r.Context(), t.Name, t.Until) })
}

func (a *api) resume(w http.ResponseWriter, r *http.Request) {
	a.control(w, r, true, func(t target) error { return a.Actions.Control.Resume(r.Context(), t.Name) })
}

func (a *api) reload(w http.ResponseWriter, r *http.Request) {
	a.control(w, r, false, func(target) error { return a.Actions.Control.Reload(r.Context()) })
}

func (a *api) runNow(w http.ResponseWriter, r *http.Request) {
	a.control(w, r, true, func(t target) error { return a.Actions.Control.RunNow(r.Context(), t.Name) })
}

func (a *api) control(w http.ResponseWriter, r *http.Request, wantName bool, do func(target) error) {
	var t target
	err := body(r, &t)
	switch {
	case err != nil:
	case wantName && t.Name == "":
		err = Invalid("name is missing")
	case a.Actions.Control == nil:
		err = none("steering")
	default:
		err = do(t)
	}
	a.answer(w, r, ok{true}, err)
}

type sinkTestBody struct {
	Name   string `json:"name"`
	Method string `json:"method,omitempty"`
}

func (a *api) sinkTest(w http.ResponseWriter, r *http.Request) {
	var b sinkTestBody
	err := body(r, &b)
	switch {
	case err != nil:
	case b.Name == "":
		err = Invalid("name is missing")
	case a.Actions.Sinks == nil:
		err = none("testing sinks")
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	// The target has as long as a delivery would.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
	t, err := a.Actions.Sinks.TestSink(r.Context(), b.Name, b.Method)
	a.answer(w, r, t, err)
}

type alertTests struct {
	Tests []AlertTest `json:"tests"`
}

func (a *api) testAlerts(w http.ResponseWriter, r *http.Request) {
	if a.Actions.Alerts == nil {
		a.fail(w, r, none("alerts"))
		return
	}
	// Each sink may take its time to answer.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
	list, err := a.Actions.Alerts.TestAlerts(r.Context())
	a.answer(w, r, alertTests{list}, err)
}

func (a *api) ledgerStats(w http.ResponseWriter, r *http.Request) {
	if a.Actions.Ledger == nil {
		a.fail(w, r, none("ledger stats"))
		return
	}
	s, err := a.Actions.Ledger.Stats(r.Context())
	a.answer(w, r, s, err)
}

func (a *api) ledgerPrune(w http.ResponseWriter, r *http.Request) {
	if a.Actions.Ledger == nil {
		a.fail(w, r, none("ledger prune"))
		return
	}
	s, err := a.Actions.Ledger.Prune(r.Context())
	a.answer(w, r, s, err)
}

type hookList struct {
	Hooks []Hook `json:"hooks"`
}

func (a *api) hooks(w http.ResponseWriter, r *http.Request) {
	if a.Actions.Hooks == nil {
		a.fail(w, r, none("webhooks"))
		return
	}
	list, err := a.Actions.Hooks.Hooks(r.Context())
	a.answer(w, r, hookList{list}, err)
}

type backupBody struct {
	Path string `json:"path"`
}

func (a *api) ledgerBackup(w http.ResponseWriter, r *http.Request) {
	var b backupBody
	err := body(r, &b)
	switch {
	case err != nil:
	case !filepath.IsAbs(b.Path):
		err = Invalid("the path of a backup must be absolute")
	case a.Actions.Ledger == nil:
		err = none("ledger backup")
	default:
		err = a.Actions.Ledger.Backup(r.Context(), b.Path)
	}
	a.answer(w, r, ok{true}, err)
}
