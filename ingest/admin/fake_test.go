package admin_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync"
	"testing"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/admin"
)

// books is a ledger's reading side, in memory.
type books struct {
	arrivals []ingest.Arrival
	letters  []ingest.Letter
	audits   []ingest.AuditRow
	breaks   error // after the last row
}

func rows[T any](all []T, keep func(*T) bool, breaks error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for i := range all {
			if keep(&all[i]) && !yield(all[i], nil) {
				return
			}
		}
		if breaks != nil {
			var zero T
			yield(zero, breaks)
		}
	}
}

func (b *books) Arrivals(_ context.Context, f ingest.ArrivalFilter) iter.Seq2[ingest.Arrival, error] {
	n := 0
	return rows(b.arrivals, func(a *ingest.Arrival) bool {
		ok := (f.Pipeline == "" || f.Pipeline == a.Pipeline) && (f.State == "" || f.State == a.State) &&
			!a.FoundAt.Before(f.Since) && (f.Until.IsZero() || a.FoundAt.Before(f.Until)) && (f.Limit == 0 || n < f.Limit)
		if ok {
			n++
		}
		return ok
	}, b.breaks)
}

func (b *books) Arrival(_ context.Context, id int64) (*ingest.ArrivalDetail, error) {
	for _, a := range b.arrivals {
		if a.ID == id {
			return &ingest.ArrivalDetail{
				Arrival: a,
				Batches: []ingest.BatchInfo{{
					ID: 1, Sink: "crm", Number: 1, First: 1, Last: 500, Records: 480, State: ingest.BatchDelivered,
					IdempotencyKey: "00112233445566778899aabbccddeeff", Attempts: 2, Status: 200,
				}},
				Timeline: []ingest.TimelineEvent{{At: a.FoundAt, What: "found"}},
			}, nil
		}
	}
	return nil, fmt.Errorf("read arrival: %w", ingest.ErrNotFound)
}

func (b *books) Letters(_ context.Context, f ingest.LetterFilter) iter.Seq2[ingest.Letter, error] {
	return rows(b.letters, func(l *ingest.Letter) bool {
		return (len(f.IDs) == 0 || slices.Contains(f.IDs, l.ID)) && (f.Arrival == 0 || f.Arrival == l.Arrival)
	}, b.breaks)
}

func (b *books) Audit(_ context.Context, pipeline string, arrival int64) iter.Seq2[ingest.AuditRow, error] {
	return rows(b.audits, func(r *ingest.AuditRow) bool {
		return (pipeline == "" || pipeline == r.Pipeline) && (arrival == 0 || arrival == r.Arrival)
	}, b.breaks)
}

func (b *books) Event(ctx context.Context, r ingest.Ref) (*ingest.ArrivalDetail, error) {
	return b.Arrival(ctx, r.Arrival)
}

func (b *books) Backlog(context.Context) ([]ingest.Backlog, error) { return nil, nil }

// desk notes what it was asked to do.
type desk struct {
	mu    sync.Mutex
	asked []string
	err   error
}

func (d *desk) note(format string, args ...any) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, fmt.Sprintf(format, args...))
	return d.err
}

func (d *desk) Status(context.Context) (*admin.Status, error) {
	return &admin.Status{
		Pipelines: []admin.PipelineStatus{{Name: "orders", State: "running"}},
		Sinks:     []admin.SinkStatus{{Name: "crm", State: "ok"}},
	}, d.note("status")
}
func (d *desk) Release(_ context.Context, id int64) error { return d.note("release %d", id) }
func (d *desk) Reject(_ context.Context, id int64) error  { return d.note("reject %d", id) }
func (d *desk) Replay(_ context.Context, r admin.ReplayRequest) (*admin.ReplayResult, error) {
	return &admin.ReplayResult{DryRun: r.DryRun}, d.note("replay %d %d-%d %s dry=%t force=%t", r.Arrival, r.First, r.Last, r.Pipeline, r.DryRun, r.Force)
}

func (d *desk) ExportLetters(_ context.Context, f ingest.LetterFilter, w io.Writer) error {
	if f.Pipeline == "broken" {
		if f.Sink == "late" {
			io.WriteString(w, "id\n")
		}
		return errors.New("the disk is broken")
	}
	_, err := fmt.Fprintf(w, "id\n%s %s\n", f.Sink, f.Stage)
	return err
}

func (d *desk) ReplayLetters(_ context.Context, f admin.LettersRequest) (*admin.LettersResult, error) {
	return &admin.LettersResult{Letters: int64(len(f.IDs))}, d.note("replay letters %v %d %s %q dry=%t force=%t", f.IDs, f.Arrival, f.Pipeline, f.Reason, f.DryRun, f.Force)
}

func (d *desk) DropLetters(_ context.Context, f ingest.LetterFilter) (int64, error) {
	return 3, d.note("drop letters %v %d %s %q", f.IDs, f.Arrival, f.Pipeline, f.Reason)
}

func (d *desk) Forget(_ context.Context, p string, fields map[string]string) (int64, error) {
	return 1, d.note("forget %s %v", p, fields)
}

func (d *desk) Pause(_ context.Context, name string, until time.Time) error {
	return d.note("pause %s %s", name, until.UTC().Format(time.RFC3339))
}
func (d *desk) Resume(_ context.Context, name string) error { return d.note("resume %s", name) }
func (d *desk) Reload(context.Context) error                { return d.note("reload") }
func (d *desk) RunNow(_ context.Context, p string) error    { return d.note("run-now %s", p) }
func (d *desk) Stats(context.Context) (*admin.LedgerStats, error) {
	return &admin.LedgerStats{Keys: 7}, d.note("stats")
}

func (d *desk) Prune(context.Context) (*admin.PruneResult, error) {
	return &admin.PruneResult{Files: 2}, d.note("prune")
}

func (d *desk) TestSink(_ context.Context, name, method string) (*admin.SinkTest, error) {
	return &admin.SinkTest{Sink: name, Outcome: "reached"}, d.note("sink test %s %s", name, method)
}
func (d *desk) Backup(_ context.Context, path string) error { return d.note("backup %s", path) }

func (d *desk) last() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.asked) == 0 {
		return ""
	}
	return d.asked[len(d.asked)-1]
}

func sample() *books {
	at := time.Date(2026, 3, 5, 6, 0, 0, 0, time.UTC)
	found := func(name string, n int) ingest.Found {
		return ingest.Found{Source: "dir", Name: name, Origin: "/srv/drops/" + name, Size: 100, FoundAt: at.Add(time.Duration(n) * time.Hour)}
	}
	return &books{
		arrivals: []ingest.Arrival{
			{ID: 2, Pipeline: "orders", Found: found("b\xff.csv", 1), State: ingest.Held, Error: "the header lacks \"id\""},
			{
				ID: 1, Pipeline: "orders", Found: found("a.csv", 0), State: ingest.Done, SHA256: []byte{1, 2}, FinishedAt: at.Add(time.Minute),
				Counts: ingest.Counts{Records: 10, Delivered: 6, Duplicate: 2, Filtered: 1, Dead: 1},
			},
		},
		letters: []ingest.Letter{
			{ID: 1, Arrival: 1, Pipeline: "orders", Name: "a.csv", Pos: ingest.Position{Record: 7, Line: 8}, Stage: ingest.StageDeliver, Sink: "crm", Reason: "refused", Status: 422, Raw: []byte(`7,"<x>"`)},
			{ID: 2, Arrival: 1, Pipeline: "orders", Name: "a.csv", Pos: ingest.Position{Record: 9, Line: 10, Column: 3}, Stage: ingest.StageParse, Reason: "not UTF-8", Raw: []byte("9,\xff"), Uncertain: true},
		},
		audits: []ingest.AuditRow{
			{Pipeline: "orders", Arrival: 1, State: ingest.Done, Balanced: true, Counts: ingest.Counts{Records: 10, Delivered: 6, Duplicate: 2, Filtered: 1, Dead: 1}},
			{Pipeline: "other", Arrival: 3, State: ingest.Done, Why: "a claim is missing"},
		},
	}
}

// must collects a listing.
func must[V any](t *testing.T, rows iter.Seq2[V, error]) []V {
	t.Helper()
	var out []V
	for v, err := range rows {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}

func statusOf(t *testing.T, err error) int {
	t.Helper()
	var e *admin.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v (%T), want *admin.Error", err, err)
	}
	return cmp.Or(e.Status, -1)
}
