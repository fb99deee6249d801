package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"ingestd/ingest"
	"ingestd/ingest/pipeline"
)

func TestReplay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		key    string
		replay ingest.Replay
		want   ingest.Counts
		taken  map[string]int // more than once, or not once
	}{
		{"plain", "id", ingest.Replay{}, ingest.Counts{Records: 20, Delivered: 2, Duplicate: 17, Dead: 1}, nil},
		{"plain without keys", "", ingest.Replay{}, ingest.Counts{Records: 20, Delivered: 2, Duplicate: 17, Dead: 1}, nil},
		{
			"records", "id",
			ingest.Replay{First: 5, Last: 9},
			ingest.Counts{Records: 20, Delivered: 1, Duplicate: 4, Filtered: 15},
			map[string]int{"12": 0},
		},
		{"forced", "id", ingest.Replay{Force: true}, ingest.Counts{Records: 20, Delivered: 19, Dead: 1}, map[string]int{"": 2, "7": 1, "12": 1}},
		{
			"forced records", "id",
			ingest.Replay{Force: true, First: 5, Last: 9},
			ingest.Counts{Records: 20, Delivered: 5, Filtered: 15},
			map[string]int{"4": 2, "5": 2, "6": 2, "8": 2, "12": 0},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			tg := newTarget()
			tg.answer = refuse(422, "7", "12")
			b := newBench(t, c.key, pipeline.SinkOptions{Name: "s", Sink: tg})
			b.plan.BadLimit = 1
			// 20 records: ordinals 8 and 13 are refused, 20 is ragged.
			if err := b.once(b.file("a.csv", numbers(0, 19)+"19,x,ragged\n")); err != nil {
				t.Fatal(err)
			}
			b.is(1, ingest.Done, ingest.Counts{Records: 20, Delivered: 17, Dead: 3})
			tg.set(nil)
			b.reopen()
			e, stop := b.daemon()
			c.replay.Of = 1
			see, err := e.Forecast(t.Context(), c.replay)
			if w := c.want; err != nil || see != (pipeline.Forecast{Records: w.Records, Send: w.Delivered, Known: w.Duplicate, Filtered: w.Filtered, Bad: w.Dead}) {
				t.Errorf("forecast %+v, %v", see, err)
			}
			id, err := e.Replay(t.Context(), c.replay)
			if err != nil {
				t.Fatal(err)
			}
			b.ended(id)
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			b.is(id, ingest.Done, c.want)
			for i := range 19 {
				id := fmt.Sprint(i)
				want := 1
				if n, ok := c.taken[""]; ok {
					want = n
				}
				if n, ok := c.taken[id]; ok {
					want = n
				}
				if tg.ids[id] != want {
					t.Errorf("%s was taken %d times, want %d", id, tg.ids[id], want)
				}
			}
			b.audit()
		})
	}
}

func TestReplayOfWhatIsGone(t *testing.T) {
	t.Parallel()
	tg := newTarget()
	b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
	f := b.file("a.csv", numbers(0, 5))
	if err := b.once(f); err != nil {
		t.Fatal(err)
	}
	e := b.engine()
	if err := os.WriteFile(f.Path, []byte(numbers(5, 10)), 0o600); err != nil { // as long as it was
		t.Fatal(err)
	}
	if _, err := e.Replay(t.Context(), ingest.Replay{Of: 1}); err == nil || !strings.Contains(err.Error(), "other content") {
		t.Errorf("another file: %v", err)
	}
	os.Remove(f.Path)
	if _, err := e.Replay(t.Context(), ingest.Replay{Of: 1}); err == nil || !strings.Contains(err.Error(), "its content is gone") {
		t.Errorf("no file: %v", err)
	}
	if _, err := e.Replay(t.Context(), ingest.Replay{Of: 7}); !errors.Is(err, ingest.ErrNotFound) {
		t.Errorf("no arrival: %v", err)
	}
}

// Release and Reject of the same arrivals, by several people, while the daemon
// runs: one of them wins, each time.
func TestReleaseAndRejectWhileTheDaemonRuns(t *testing.T) {
	t.Parallel()
	tg := newTarget()
	b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
	var files []ingest.Found
	for i := range 12 {
		text := numbers(100*i, 100*i+20)
		for range 10 {
			text += "x,y,ragged\n"
		}
		files = append(files, b.file(fmt.Sprintf("%d.csv", i), text))
	}
	e, stop := b.daemon()
	ids := b.accept(e, files...)
	b.ended(ids...) // held ones have stopped
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := map[int64][]string{}
	for _, id := range ids {
		for range 3 {
			for name, do := range map[string]func(context.Context, int64) error{"release": e.Release, "reject": e.Reject} {
				wg.Go(func() {
					if do(t.Context(), id) == nil {
						mu.Lock()
						won[id] = append(won[id], name)
						mu.Unlock()
					}
				})
			}
		}
	}
	wg.Wait()
	for i, a := range b.ended(ids...) {
		if len(won[a.ID]) != 1 {
			t.Errorf("arrival %d: %v", a.ID, won[a.ID])
			continue
		}
		if won[a.ID][0] == "release" {
			b.is(a.ID, ingest.Done, ingest.Counts{Records: 30, Delivered: 20, Dead: 10})
		} else {
			b.is(a.ID, ingest.Failed, ingest.Counts{})
			if n := tg.ids[fmt.Sprint(100*i)]; n != 0 {
				t.Errorf("a rejected record was sent")
			}
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if err := e.Release(t.Context(), 1); err == nil {
		t.Error("an engine that has ended releases")
	}
	b.audit()
}

func TestBadLimit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		good, bad int
		limit     float64
		held      bool
	}{
		{30, 9, 0.2, false}, // under ten
		{40, 10, 0.2, false},
		{39, 10, 0.2, true},
		{39, 10, 1, false},
		{1990, 500, 0.2, false}, // the bad ones come after the first 1,000
	} {
		tg := newTarget()
		b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
		b.plan.BadLimit = c.limit
		err := b.once(b.file("a.csv", numbers(0, c.good)+strings.Repeat("x,y,ragged\n", c.bad)))
		if err != nil {
			t.Fatal(err)
		}
		if a := b.arrivals()[0]; (a.State == ingest.Held) != c.held || c.held && tg.sends > 0 {
			t.Errorf("%+v: %s (%s), %d requests", c, a.State, a.Error, tg.sends)
		}
		b.audit()
	}
}

// A file that is refused whole is checked whole before anything is sent, and is
// refused again by a process that goes on with it.
func TestRejectFile(t *testing.T) {
	t.Parallel()
	tg := newTarget()
	b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
	b.plan.RejectFile, b.plan.BadLimit = true, 1
	good := b.plan.Open
	// The disk fails in the middle of the look: nothing is sent, it is tried again.
	looks := 0
	b.plan.Open = func(ctx context.Context, in ingest.Input) (ingest.Reader, error) {
		looks++
		return meddle(good, "a.csv", func(n int) error {
			if n == 3 && looks == 1 {
				return errors.New("input/output error")
			}
			return nil
		})(ctx, in)
	}
	if err := b.once(b.file("a.csv", numbers(0, 3000)+"x,y,ragged\n")); !errors.Is(err, pipeline.ErrUnfinished) {
		t.Fatal(err)
	}
	if tg.sends != 0 {
		t.Fatalf("%d requests before the file was checked whole", tg.sends)
	}
	b.plan.Open = good
	b.reopen()
	if err := b.once(b.file("b.csv", numbers(3000, 6000))); err != nil {
		t.Fatal(err)
	}
	a := b.is(1, ingest.Failed, ingest.Counts{Records: 3001, Filtered: 3000, Dead: 1})
	if !strings.Contains(a.Error, "rejected whole: 1 bad record, first line 3002") {
		t.Errorf("error %q", a.Error)
	}
	b.is(2, ingest.Done, ingest.Counts{Records: 3000, Delivered: 3000})
	tg.has(t, between(3000, 6000), false)
	b.audit()
	if _, err := os.Stat(filepath.Join(b.dir, "a.csv")); err != nil {
		t.Error(err)
	}
}

// Where only its end says whether a file is whole, it is read to there before
// anything of it is sent; what its source refused is not read at all.
func TestWhole(t *testing.T) {
	t.Parallel()
	tg := newTarget()
	b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
	b.plan.Whole = true
	good := b.plan.Open
	b.plan.Open = meddle(good, "cut.csv", func(n int) error {
		if n == 6 {
			return &ingest.ReadError{Format: "csv", Reason: "it has no trailer"}
		}
		return nil
	})
	if err := b.once(b.file("cut.csv", numbers(0, 4000))); err != nil {
		t.Fatal(err)
	}
	if tg.sends != 0 {
		t.Errorf("%d requests for a file that is cut short", tg.sends)
	}
	refused := b.file("refused.csv", numbers(4000, 4010))
	refused.Refused = "another sum"
	if err := b.once(refused, b.file("good.csv", numbers(0, 4000))); err != nil {
		t.Fatal(err)
	}
	b.is(1, ingest.Failed, ingest.Counts{})
	if a := b.is(2, ingest.Failed, ingest.Counts{}); a.Error != "another sum" {
		t.Errorf("error %q", a.Error)
	}
	b.is(3, ingest.Done, ingest.Counts{Records: 4000, Delivered: 4000})
	tg.has(t, between(0, 4000), false)
	b.audit()
}

// A raw file goes out as it is, in one request.
func TestFileBody(t *testing.T) {
	t.Parallel()
	var got []byte
	b := newBench(t, "", pipeline.SinkOptions{Name: "s", Sink: sinkFunc(func(r *ingest.Request) (ingest.Answer, error) {
		got = append([]byte(nil), r.Body...)
		return ingest.Answer{Status: 200}, nil
	})})
	b.plan.Sinks[0].Body = ingest.Body{ContentType: "application/octet-stream", File: true, PerRecord: true}
	b.plan.Open = func(_ context.Context, in ingest.Input) (ingest.Reader, error) { return &whole{}, nil }
	for _, size := range []int{0, 1, 3 << 20} {
		text := strings.Repeat("x", size)
		if err := b.once(b.file(fmt.Sprintf("%d.bin", size), text)); err != nil {
			t.Fatal(err)
		}
		if string(got) != text {
			t.Errorf("%d bytes were sent of %d", len(got), size)
		}
	}
	b.audit()
}

type sinkFunc func(r *ingest.Request) (ingest.Answer, error)

func (f sinkFunc) Send(_ context.Context, r *ingest.Request) (ingest.Answer, error) { return f(r) }

// whole reads a file as one record.
type whole struct{ n int }

func (w *whole) Read(_ context.Context, c *ingest.Chunk) error {
	c.Reset()
	if w.n++; w.n > 1 {
		return io.EOF
	}
	c.Records = append(c.Records, ingest.Record{Pos: ingest.Position{Record: 1, Line: 1}})
	return nil
}
func (w *whole) Details() ingest.Details { return ingest.Details{Format: "raw"} }
func (w *whole) Close() error            { return nil }
