package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ingestd/formats/csvfmt"
	"ingestd/ingest"
	"ingestd/ingest/ledger"
	"ingestd/ingest/pipeline"
	"ingestd/ingest/shape"
	"ingestd/ingest/spool"
)

type nobody struct{}

func (nobody) ArrivalFound(string, int64)                           {}
func (nobody) ArrivalEnded(*ingest.Arrival)                         {}
func (nobody) Settled(string, string, int64)                        {}
func (nobody) Sent(string, string, string, int, int, time.Duration) {}
func (nobody) SourceError(string, error)                            {}

// bench is a state directory with what an engine needs around it.
type bench struct {
	t      testing.TB
	dir    string
	plan   *pipeline.Plan
	sinks  []pipeline.SinkOptions
	ledger *ledger.Ledger
	outbox *spool.Outbox
	log    *slog.Logger
	pool   *pipeline.Pool
	// mod changes the options of the engines that are made.
	mod func(*pipeline.Options)
}

func arrayBody() ingest.Body {
	return ingest.Body{ContentType: "application/json", Open: []byte("["), Between: []byte(","), Close: []byte("]")}
}

func newBench(t testing.TB, key string, sinks ...pipeline.SinkOptions) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), sinks: sinks, log: slog.New(slog.NewTextHandler(testWriter{t}, nil)), pool: pipeline.NewPool(0)}
	var keys []string
	if key != "" {
		keys = []string{key}
	}
	sh, err := shape.Compile(shape.Options{Key: keys})
	if err != nil {
		t.Fatal(err)
	}
	b.plan = &pipeline.Plan{
		Snapshot: []byte("v1"), Shape: sh, Scope: "p", Dedupe: key != "", SkipFiles: true, BadLimit: 0.2,
		Open: func(ctx context.Context, in ingest.Input) (ingest.Reader, error) {
			return csvfmt.New(io.NewSectionReader(in, 0, in.Size), csvfmt.Options{})
		},
		Fragment: func(_ context.Context, d ingest.Details, raw []byte) (ingest.Reader, error) {
			return csvfmt.New(strings.NewReader(string(raw)), csvfmt.Options{NoHeader: true, Columns: d.Header})
		},
	}
	for i := range sinks {
		if sinks[i].Concurrency == 0 {
			sinks[i].Concurrency = 4
		}
		if sinks[i].RetryInitial == 0 {
			sinks[i].RetryInitial, sinks[i].RetryMax = 5*time.Millisecond, 50*time.Millisecond
		}
		b.plan.Sinks = append(b.plan.Sinks, pipeline.SinkPlan{Name: sinks[i].Name, Body: arrayBody(), MaxRecords: 100, MaxBytes: 1 << 20})
	}
	b.open()
	t.Cleanup(func() { b.ledger.Close() })
	return b
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimRight(string(p), "\n"))
	return len(p), nil
}

func (b *bench) open() {
	b.t.Helper()
	l, err := ledger.Open(b.t.Context(), ledger.Options{Dir: filepath.Join(b.dir, "state"), Logger: b.log})
	if err != nil {
		b.t.Fatal(err)
	}
	s, err := spool.Open(filepath.Join(b.dir, "state"))
	if err != nil {
		b.t.Fatal(err)
	}
	b.ledger, b.outbox = l, s.Outbox()
}

func (b *bench) file(name, content string) ingest.Found {
	b.t.Helper()
	p := filepath.Join(b.dir, name)
	if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
		b.t.Fatal(err)
	}
	st, err := os.Stat(p)
	if err != nil {
		b.t.Fatal(err)
	}
	return ingest.Found{Source: "dir", Name: name, Origin: p, Path: p, Size: st.Size(), ModTime: st.ModTime(), Keep: true}
}

func (b *bench) engine(files ...ingest.Found) *pipeline.Engine {
	b.t.Helper()
	o := pipeline.Options{
		Pipeline: "p", Ledger: b.ledger, Plan: b.plan, Sinks: b.sinks, Outbox: b.outbox, Pool: b.pool, Observer: nobody{}, Logger: b.log,
		Compile: func([]byte) (*pipeline.Plan, error) { return nil, errors.New("no old plans here") },
		Once:    true, Files: files,
	}
	if b.mod != nil {
		b.mod(&o)
	}
	e, err := pipeline.New(o)
	if err != nil {
		b.t.Fatal(err)
	}
	return e
}

func (b *bench) once(files ...ingest.Found) error {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 30*time.Second)
	defer cancel()
	err := b.engine(files...).Run(ctx)
	if ctx.Err() != nil {
		b.t.Fatal("the run did not end")
	}
	return err
}

func (b *bench) arrivals() (out []ingest.Arrival) {
	b.t.Helper()
	for a, err := range b.ledger.Arrivals(b.t.Context(), ingest.ArrivalFilter{}) {
		if err != nil {
			b.t.Fatal(err)
		}
		out = append([]ingest.Arrival{a}, out...)
	}
	return out
}

func (b *bench) audit() {
	b.t.Helper()
	for row, err := range b.ledger.Audit(b.t.Context(), "", 0) {
		if err != nil {
			b.t.Fatal(err)
		}
		if !row.Balanced {
			b.t.Errorf("arrival %d does not balance: %s", row.Arrival, row.Why)
		}
	}
}

func rows(n int, id func(i int) string) string {
	var sb strings.Builder
	sb.WriteString("id,name\n")
	for i := range n {
		fmt.Fprintf(&sb, "%s,n%d\n", id(i), i)
	}
	return sb.String()
}

// daemon runs an engine until stop is called, and hands files in.
func (b *bench) daemon(files ...ingest.Found) (e *pipeline.Engine, stop func() error) {
	b.t.Helper()
	mod := b.mod
	b.mod = func(o *pipeline.Options) {
		if mod != nil {
			mod(o)
		}
		o.Once = false
	}
	e = b.engine()
	b.mod = mod
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	if len(files) > 0 {
		b.accept(e, files...)
	}
	var once sync.Once
	var err error
	stop = func() error {
		once.Do(func() {
			cancel()
			err = <-done
		})
		return err
	}
	b.t.Cleanup(func() { stop() })
	return e, stop
}

func (b *bench) accept(e *pipeline.Engine, files ...ingest.Found) []int64 {
	b.t.Helper()
	ids, err := e.Accept(b.t.Context(), files)
	if err != nil {
		b.t.Fatal(err)
	}
	return ids
}

// ended waits for arrivals to end and returns them.
func (b *bench) ended(ids ...int64) []ingest.Arrival {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 100*time.Hour)
	defer cancel()
	out := make([]ingest.Arrival, len(ids))
	for i, id := range ids {
		if err := b.ledger.Ended(ctx, id); err != nil {
			b.t.Fatal(err)
		}
		a, err := b.ledger.Find(ctx, id)
		if err != nil {
			b.t.Fatal(err)
		}
		out[i] = *a
	}
	return out
}

func (b *bench) letters() (out []ingest.Letter) {
	b.t.Helper()
	for d, err := range b.ledger.Letters(b.t.Context(), ingest.LetterFilter{}) {
		if err != nil {
			b.t.Fatal(err)
		}
		out = append(out, d)
	}
	return out
}

// reopen closes the ledger and opens it again, as a new process does.
func (b *bench) reopen() {
	b.t.Helper()
	if err := b.ledger.Close(); err != nil {
		b.t.Fatal(err)
	}
	b.open()
}

// is checks an arrival's state and books.
func (b *bench) is(id int64, state ingest.State, want ingest.Counts) ingest.Arrival {
	b.t.Helper()
	a, err := b.ledger.Find(b.t.Context(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	if a.State != state || a.Counts != want {
		b.t.Errorf("arrival %d is %s (%s) with %+v, want %s with %+v", id, a.State, a.Error, a.Counts, state, want)
	}
	return *a
}

// empty checks that nothing is left in the outbox.
func (b *bench) empty() {
	b.t.Helper()
	if left, err := b.outbox.List(); err != nil || len(left) > 0 {
		b.t.Errorf("the outbox holds %v, %v", left, err)
	}
}

// numbers is a CSV of the ids from a to b-1.
func numbers(a, b int) string {
	return rows(b-a, func(i int) string { return fmt.Sprint(a + i) })
}

// until waits, in a bubble's time, for something to be so.
func until(t testing.TB, what string, so func() bool) {
	t.Helper()
	for range 20_000 {
		if so() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("waited in vain for %s", what)
}

// once2 is once with another patience, for a bubble's time.
func (b *bench) once2(t testing.TB, patience time.Duration, files ...ingest.Found) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := b.engine(files...).Run(ctx)
	if ctx.Err() != nil {
		t.Fatal("the run did not end")
	}
	return err
}
