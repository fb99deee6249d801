package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"ingestd/ingest"
)

// A Client asks a daemon, or, in this process, its handler.
type Client struct {
	http *http.Client
}

// Dial returns a client for the daemon behind a control socket. An error means
// that nobody answers there.
func Dial(ctx context.Context, socket string) (*Client, error) {
	var d net.Dialer
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			path, done, err := socketPath(socket)
			if err != nil {
				return nil, err
			}
			defer done()
			return d.DialContext(ctx, "unix", path)
		},
		MaxIdleConns:    2,
		IdleConnTimeout: 30 * time.Second,
	}
	conn, err := t.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("ask the daemon: %w", err)
	}
	conn.Close()
	return &Client{http: &http.Client{Transport: t}}, nil
}

// Local returns a client that calls h in this process.
func Local(h http.Handler) *Client {
	return &Client{http: &http.Client{Transport: local{h}}}
}

// Close lets idle connections go.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func (c *Client) do(ctx context.Context, method, path string, query url.Values, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("ask the daemon: %w", err)
		}
		body = bytes.NewReader(b)
	}
	u := url.URL{Scheme: "http", Host: "localhost", Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, fmt.Errorf("ask the daemon: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the daemon: %w", err)
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close()
	e := &Error{Status: res.StatusCode}
	if json.NewDecoder(io.LimitReader(res.Body, maxBody)).Decode(&errorBody{e}) != nil || e.Message == "" {
		e.Message = "the daemon answered " + res.Status
	}
	return nil, e
}

// call asks for one object.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	res, err := c.do(ctx, method, path, query, in)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return fmt.Errorf("ask the daemon: read the answer: %w", err)
	}
	return nil
}

// list asks for one object a line.
func list[V any](ctx context.Context, c *Client, path string, query url.Values) iter.Seq2[V, error] {
	return func(yield func(V, error) bool) {
		res, err := c.do(ctx, http.MethodGet, path, query, nil)
		if err != nil {
			var zero V
			yield(zero, err)
			return
		}
		lines[V](res.Body)(yield)
	}
}

// Status asks how things are.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	var s Status
	return &s, c.call(ctx, http.MethodGet, "/v1/status", nil, nil, &s)
}

// Arrivals lists arrivals, the newest first.
func (c *Client) Arrivals(ctx context.Context, f ingest.ArrivalFilter) iter.Seq2[Arrival, error] {
	q := query{}
	q.text("pipeline", f.Pipeline)
	q.text("state", string(f.State))
	q.time("since", f.Since)
	q.time("until", f.Until)
	q.number("limit", int64(f.Limit))
	return list[Arrival](ctx, c, "/v1/arrivals", url.Values(q))
}

// Arrival asks for one arrival with its batches and timeline.
func (c *Client) Arrival(ctx context.Context, n int64) (*ArrivalDetail, error) {
	var d ArrivalDetail
	return &d, c.call(ctx, http.MethodGet, "/v1/arrivals/"+id(n), nil, nil, &d)
}

// Event is Arrival for an event too.
func (c *Client) Event(ctx context.Context, r ingest.Ref) (*ArrivalDetail, error) {
	var d ArrivalDetail
	return &d, c.call(ctx, http.MethodGet, "/v1/arrivals/"+r.String(), nil, nil, &d)
}

// Release takes a held arrival as it is.
func (c *Client) Release(ctx context.Context, n int64) error {
	return c.call(ctx, http.MethodPost, "/v1/arrivals/"+id(n)+"/release", nil, nil, &ok{})
}

// Reject sends a held arrival to when_failed.
func (c *Client) Reject(ctx context.Context, n int64) error {
	return c.call(ctx, http.MethodPost, "/v1/arrivals/"+id(n)+"/reject", nil, nil, &ok{})
}

// Letters lists dead letters.
func (c *Client) Letters(ctx context.Context, f ingest.LetterFilter) iter.Seq2[Letter, error] {
	return list[Letter](ctx, c, "/v1/dead", letterQuery(f))
}

func letterQuery(f ingest.LetterFilter) url.Values {
	q := query{}
	for _, n := range f.IDs {
		url.Values(q).Add("id", id(n))
	}
	q.ref("arrival", ingest.Ref{Arrival: f.Arrival, Event: f.Event})
	q.text("pipeline", f.Pipeline)
	q.text("reason", f.Reason)
	q.text("sink", f.Sink)
	q.text("stage", string(f.Stage))
	q.time("since", f.Since)
	q.time("until", f.Until)
	q.number("limit", int64(f.Limit))
	return url.Values(q)
}

// ExportLetters writes dead letters' records in the form of the file that they
// are from.
func (c *Client) ExportLetters(ctx context.Context, f ingest.LetterFilter, w io.Writer) error {
	res, err := c.do(ctx, http.MethodGet, "/v1/dead/export", letterQuery(f), nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(w, res.Body); err != nil {
		return fmt.Errorf("ask the daemon: read the answer: %w", err)
	}
	return nil
}

// Letter asks for one dead letter.
func (c *Client) Letter(ctx context.Context, n int64) (*Letter, error) {
	var l Letter
	return &l, c.call(ctx, http.MethodGet, "/v1/dead/"+id(n), nil, nil, &l)
}

// ReplayLetters sends letters again and waits for what became of them.
func (c *Client) ReplayLetters(ctx context.Context, req LettersRequest) (*LettersResult, error) {
	var r LettersResult
	in := choose(req.LetterFilter)
	in.DryRun, in.Force = req.DryRun, req.Force
	return &r, c.call(ctx, http.MethodPost, "/v1/dead/replay", nil, in, &r)
}

// DropLetters forgets letters.
func (c *Client) DropLetters(ctx context.Context, f ingest.LetterFilter) (int64, error) {
	var d dropped
	err := c.call(ctx, http.MethodPost, "/v1/dead/drop", nil, choose(f), &d)
	return d.Dropped, err
}

// choose states a filter; one that is empty means all, as it does in Go.
func choose(f ingest.LetterFilter) chosen {
	c := chosen{
		IDs: f.IDs, Arrival: f.Arrival, Event: f.Event, Pipeline: f.Pipeline, Reason: f.Reason, Since: f.Since, Until: f.Until,
		Sink: f.Sink, Stage: string(f.Stage),
	}
	if _, err := c.filter(); err != nil {
		c.All = true
	}
	return c
}

// Audit asks whether the books balance.
func (c *Client) Audit(ctx context.Context, pipeline string, arrival ingest.Ref) iter.Seq2[Audit, error] {
	q := query{}
	q.text("pipeline", pipeline)
	q.ref("arrival", arrival)
	return list[Audit](ctx, c, "/v1/audit", url.Values(q))
}

// Replay takes arrivals up again.
func (c *Client) Replay(ctx context.Context, r ReplayRequest) (*ReplayResult, error) {
	var out ReplayResult
	return &out, c.call(ctx, http.MethodPost, "/v1/replay", nil, r, &out)
}

// Forget drops a key from the dedupe memory.
func (c *Client) Forget(ctx context.Context, pipeline string, fields map[string]string) (int64, error) {
	var f forgotten
	err := c.call(ctx, http.MethodPost, "/v1/forget", nil, forgetBody{pipeline, fields}, &f)
	return f.Forgotten, err
}

// Pause stops a pipeline or a sink; until may be zero.
func (c *Client) Pause(ctx context.Context, name string, until time.Time) error {
	return c.call(ctx, http.MethodPost, "/v1/pause", nil, target{name, until}, &ok{})
}

// Resume ends a pause.
func (c *Client) Resume(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodPost, "/v1/resume", nil, target{Name: name}, &ok{})
}

// Reload makes the daemon read its config again.
func (c *Client) Reload(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/v1/reload", nil, nil, &ok{})
}

// RunNow makes a pipeline's source look at once.
func (c *Client) RunNow(ctx context.Context, pipeline string) error {
	return c.call(ctx, http.MethodPost, "/v1/run-now", nil, target{Name: pipeline}, &ok{})
}

// SinkTest tries a sink's target with one harmless request; method "" is the
// usual one.
func (c *Client) SinkTest(ctx context.Context, name, method string) (*SinkTest, error) {
	var t SinkTest
	return &t, c.call(ctx, http.MethodPost, "/v1/sinks/test", nil, sinkTestBody{name, method}, &t)
}

// TestAlerts sends a harmless alert through every sink that tells.
func (c *Client) TestAlerts(ctx context.Context) ([]AlertTest, error) {
	var t alertTests
	err := c.call(ctx, http.MethodPost, "/v1/alerts/test", nil, nil, &t)
	return t.Tests, err
}

// Hooks asks where senders call.
func (c *Client) Hooks(ctx context.Context) ([]Hook, error) {
	var h hookList
	err := c.call(ctx, http.MethodGet, "/v1/hooks", nil, nil, &h)
	return h.Hooks, err
}

// LedgerStats asks for the ledger's sizes.
func (c *Client) LedgerStats(ctx context.Context) (*LedgerStats, error) {
	var s LedgerStats
	return &s, c.call(ctx, http.MethodGet, "/v1/ledger", nil, nil, &s)
}

// LedgerPrune applies retention now.
func (c *Client) LedgerPrune(ctx context.Context) (*PruneResult, error) {
	var p PruneResult
	return &p, c.call(ctx, http.MethodPost, "/v1/ledger/prune", nil, nil, &p)
}

// LedgerBackup copies the ledger to a new file; path is absolute.
func (c *Client) LedgerBackup(ctx context.Context, path string) error {
	return c.call(ctx, http.MethodPost, "/v1/ledger/backup", nil, backupBody{path}, &ok{})
}

// query leaves out what is not set.
type query url.Values

func (q query) text(name, v string) {
	if v != "" {
		url.Values(q).Set(name, v)
	}
}

func (q query) number(name string, v int64) {
	if v != 0 {
		url.Values(q).Set(name, strconv.FormatInt(v, 10))
	}
}

func (q query) ref(name string, r ingest.Ref) {
	if r.Arrival != 0 {
		url.Values(q).Set(name, r.String())
	}
}

func (q query) time(name string, t time.Time) {
	if !t.IsZero() {
		url.Values(q).Set(name, t.UTC().Format(time.RFC3339Nano))
	}
}
