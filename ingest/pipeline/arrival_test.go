package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/pipeline"
)

type opener = func(context.Context, ingest.Input) (ingest.Reader, error)

// meddler calls do before each Read of a reader, with its number from 1.
type meddler struct {
	ingest.Reader
	n  int
	do func(n int) error
}

func (m *meddler) Read(ctx context.Context, c *ingest.Chunk) error {
	m.n++
	if err := m.do(m.n); err != nil {
		c.Reset()
		return err
	}
	return m.Reader.Read(ctx, c)
}

// meddle opens files called name so.
func meddle(open opener, name string, do func(n int) error) opener {
	return func(ctx context.Context, in ingest.Input) (ingest.Reader, error) {
		r, err := open(ctx, in)
		if err != nil || in.Name != name {
			return r, err
		}
		return &meddler{Reader: r, do: do}, nil
	}
}

// Content that is under way already is waited for, however often it comes;
// other arrivals do not wait.
func TestContentUnderWayIsWaitedFor(t *testing.T) {
	t.Parallel()
	for _, dies := range []bool{false, true} {
		t.Run(fmt.Sprint(dies), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tg := newTarget()
				release := make(chan struct{})
				tg.hang = func(r *ingest.Request, _ []string) <-chan struct{} {
					if r.Arrival == 1 {
						return release
					}
					return nil
				}
				b := newBench(t, "", pipeline.SinkOptions{Name: "s", Sink: tg})
				e, stop := b.daemon()
				defer stop()
				same := numbers(0, 100)
				b.accept(e, b.file("a.csv", same))
				until(t, "the request", func() bool { return tg.requests() == 1 })
				ids900 := upTo(100)
				maps.Copy(ids900, between(900, 1000))
				var copies []ingest.Found
				for i := range 6 {
					copies = append(copies, b.file(fmt.Sprintf("copy%d.csv", i), same))
				}
				ids := b.accept(e, copies...)
				other := b.accept(e, b.file("other.csv", numbers(900, 1000)))
				b.ended(other...)
				if tg.requests() != 2 {
					t.Fatalf("%d requests while the first is under way", tg.requests())
				}
				if dies {
					tg.set(func(r *ingest.Request, ids []string) (ingest.Answer, error) {
						if r.Arrival == 1 {
							return refuse(422, "7")(r, ids)
						}
						return ingest.Answer{}, nil
					})
				}
				close(release)
				b.ended(1)
				done := 0
				for _, a := range b.ended(ids...) {
					switch {
					case a.State == ingest.Done && a.Counts == (ingest.Counts{Records: 100, Delivered: 1, Duplicate: 99}):
						done++
					case a.State != ingest.DuplicateState:
						t.Errorf("arrival %d is %s with %+v", a.ID, a.State, a.Counts)
					}
				}
				// One with dead letters may be dropped again: one of the copies is
				// taken, and of that what was not delivered.
				if want := map[bool]int{true: 1}[dies]; done != want {
					t.Errorf("%d copies were delivered, want %d", done, want)
				}
				tg.has(t, ids900, false)
				b.audit()
			})
		})
	}
}

// Files of the same content that are found together are delivered once, and
// hold up no others.
func TestSameContentTogether(t *testing.T) {
	t.Parallel()
	tg := newTarget()
	b := newBench(t, "", pipeline.SinkOptions{Name: "s", Sink: tg})
	var files []ingest.Found
	for i := range 40 { // four contents of one size
		files = append(files, b.file(fmt.Sprintf("%d.csv", i), numbers(100*(i/10+1), 100*(i/10+1)+50)))
	}
	if err := b.once(files...); err != nil {
		t.Fatal(err)
	}
	done := 0
	for _, a := range b.arrivals() {
		if a.State == ingest.Done {
			done++
		} else if a.State != ingest.DuplicateState {
			t.Errorf("arrival %d is %s", a.ID, a.State)
		}
	}
	if done != 4 || tg.count() != 200 {
		t.Errorf("%d arrivals with %d records were delivered", done, tg.count())
	}
	for id, n := range tg.ids {
		if n != 1 {
			t.Errorf("%s %d times", id, n)
		}
	}
	b.audit()
}

// An arrival that waits for one which nobody works on keeps no Once run for ever.
func TestOnceDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tg := newTarget()
		tg.hang = never
		b := newBench(t, "", pipeline.SinkOptions{Name: "s", Sink: tg})
		b.mod = func(o *pipeline.Options) { o.Pipeline = "another" } // of the same scope
		_, stop := b.daemon(b.file("a.csv", numbers(0, 100)))
		until(t, "the request", func() bool { return tg.requests() == 1 })
		stop()
		b.mod, tg.hang = nil, nil
		if err := b.once2(t, 10*time.Minute, b.file("b.csv", numbers(0, 100)), b.file("c.csv", numbers(0, 10))); !errors.Is(err, pipeline.ErrUnfinished) {
			t.Errorf("%v", err)
		}
		tg.has(t, upTo(10), false)
	})
}

func TestFileChangedWhileRead(t *testing.T) {
	t.Parallel()
	tg := newTarget()
	b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
	f := b.file("a.csv", numbers(0, 5000))
	good := b.plan.Open
	b.plan.Open = meddle(good, "a.csv", func(n int) error {
		if n == 4 {
			w, err := os.OpenFile(f.Path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer w.Close()
			_, err = w.WriteString("late,row\n")
			return err
		}
		return nil
	})
	if err := b.once(f, b.file("b.csv", numbers(5000, 5010))); err != nil {
		t.Fatal(err)
	}
	a := b.is(1, ingest.Failed, ingest.Counts{Records: 5000, Delivered: 5000})
	if !strings.Contains(a.Error, "changed while it was read") {
		t.Errorf("error %q", a.Error)
	}
	b.is(2, ingest.Done, ingest.Counts{Records: 10, Delivered: 10})
	tg.has(t, upTo(5010), false)
	b.audit()
	// A failed one does not block a second try; its keys are known.
	b.plan.Open = good
	if err := b.once(b.file("a.csv", numbers(0, 5000))); err != nil {
		t.Fatal(err)
	}
	b.is(3, ingest.Done, ingest.Counts{Records: 5000, Duplicate: 5000})
}

func TestFileGone(t *testing.T) {
	t.Parallel()
	tg := newTarget()
	b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
	f := b.file("a.csv", numbers(0, 100))
	os.Remove(f.Path)
	if err := b.once(f, b.file("b.csv", numbers(0, 100))); err != nil {
		t.Fatal(err)
	}
	if a := b.is(1, ingest.Failed, ingest.Counts{}); !strings.Contains(a.Error, "no such file") {
		t.Errorf("error %q", a.Error)
	}
	b.is(2, ingest.Done, ingest.Counts{Records: 100, Delivered: 100})
	b.audit()
}

// The file is gone when a new process looks, and requests of it were under way:
// what the outbox has is sent, the rest is given up, and its keys are free.
func TestFileGoneHalfWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tg := newTarget()
		tg.hang = func(_ *ingest.Request, ids []string) <-chan struct{} {
			c := make(chan struct{})
			if slices.Contains(ids, "0") { // it is put off when the others are on their way
				time.AfterFunc(time.Second, func() { close(c) })
			}
			return c
		}
		tg.answer = down
		b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg, RetryInitial: time.Minute, RetryMax: time.Hour})
		f := b.file("a.csv", numbers(0, 400))
		_, stop := b.daemon(f)
		until(t, "the outbox", func() bool { list, _ := b.outbox.List(); return len(list) > 0 && tg.requests() == 4 })
		stop()
		b.reopen()
		os.Remove(f.Path)
		tg.hang = nil
		tg.set(nil)
		_, stop = b.daemon()
		b.ended(1)
		stop()
		b.is(1, ingest.Failed, ingest.Counts{Records: 400, Delivered: 100, Dead: 300})
		for _, d := range b.letters() {
			if !d.Uncertain || !strings.Contains(d.Reason, "no such file") {
				t.Fatalf("letter %+v", d)
			}
		}
		b.audit()
		if err := b.once2(t, time.Hour, b.file("b.csv", numbers(0, 400))); err != nil {
			t.Fatal(err)
		}
		b.is(2, ingest.Done, ingest.Counts{Records: 400, Delivered: 300, Duplicate: 100})
		b.audit()
	})
}

// A bug in a reader fails its arrival, with what was judged and not claimed free
// again; others go on.
func TestPanicInAReader(t *testing.T) {
	t.Parallel()
	for _, at := range []int{1, 3} {
		tg := newTarget()
		b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
		b.plan.Sinks[0].MaxRecords = 700 // claims end within chunks
		good := b.plan.Open
		looks := 0
		b.plan.Open = func(ctx context.Context, in ingest.Input) (ingest.Reader, error) {
			if in.Name == "a.csv" {
				looks++
			}
			return meddle(good, "a.csv", func(n int) error {
				if n == at && (at == 1 || looks == 2) { // in the first look, or in the pass
					panic("index out of range")
				}
				return nil
			})(ctx, in)
		}
		if err := b.once(b.file("a.csv", numbers(0, 5000)), b.file("b.csv", numbers(5000, 5100))); err != nil {
			t.Fatal(err)
		}
		a := b.arrivals()[0]
		if a.State != ingest.Failed || !strings.Contains(a.Error, "a bug: index out of range") {
			t.Errorf("%s: %q", a.State, a.Error)
		}
		b.is(2, ingest.Done, ingest.Counts{Records: 100, Delivered: 100})
		b.audit()
		b.plan.Open = good
		if err := b.once(b.file("c.csv", numbers(0, 5000))); err != nil {
			t.Fatal(err)
		}
		b.is(3, ingest.Done, ingest.Counts{Records: 5000, Delivered: 5000 - a.Counts.Delivered, Duplicate: a.Counts.Delivered})
		tg.has(t, upTo(5100), false)
		b.audit()
	}
}

// A body that is made again and is another is not sent: a person decides.
func TestRebuiltBodyIsCompared(t *testing.T) {
	t.Parallel()
	for _, release := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			tg := newTarget()
			tg.hang = never
			b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
			_, stop := b.daemon(b.file("a.csv", numbers(0, 250)))
			until(t, "requests", func() bool { return tg.requests() == 3 })
			stop()
			b.reopen()
			tg.hang = nil
			good := b.plan.Open
			b.plan.Open = altered(good)
			if err := b.once2(t, time.Hour); err != nil {
				t.Fatal(err)
			}
			a := b.arrivals()[0]
			if a.State != ingest.Held || tg.sends != 3 || tg.count() != 0 {
				t.Fatalf("%s, %d requests, %d taken", a.State, tg.sends, tg.count())
			}
			b.plan.Open = good
			e, stop := b.daemon()
			if release {
				if err := e.Release(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
				b.ended(1)
				stop()
				b.is(1, ingest.Done, ingest.Counts{Records: 250, Delivered: 250})
				tg.has(t, upTo(250), false)
			} else {
				if err := e.Reject(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
				stop()
				b.is(1, ingest.Failed, ingest.Counts{Records: 250, Dead: 250})
			}
			b.audit()
		})
	}
}

// An arrival ends under the settings that it began with, those that come later
// go by the new ones.
func TestEndsUnderItsOldSettings(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tg := newTarget()
		tg.hang = never
		b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
		_, stop := b.daemon(b.file("a.csv", numbers(0, 1000)))
		until(t, "requests", func() bool { return tg.requests() == 4 })
		stop()
		b.reopen()
		tg.hang = nil
		old := *b.plan
		b.plan.Snapshot = []byte("v2")
		b.plan.Sinks = slices.Clone(b.plan.Sinks)
		b.plan.Sinks[0].MaxRecords = 7
		asked := ""
		b.mod = func(o *pipeline.Options) {
			o.Compile = func(snapshot []byte) (*pipeline.Plan, error) {
				asked = string(snapshot)
				return &old, nil
			}
		}
		if err := b.once2(t, time.Hour, b.file("b.csv", numbers(1000, 1070))); err != nil {
			t.Fatal(err)
		}
		tg.has(t, upTo(1070), false)
		if asked != "v1" || len(tg.keys) != 10+10 {
			t.Errorf("snapshot %q, %d batches", asked, len(tg.keys))
		}
		b.is(1, ingest.Done, ingest.Counts{Records: 1000, Delivered: 1000})
		b.is(2, ingest.Done, ingest.Counts{Records: 70, Delivered: 70})
		b.audit()
	})
}

// counter is an observer that adds up outcomes.
type counter struct {
	nobody
	mu    sync.Mutex
	total map[string]int64
}

func (c *counter) Settled(_, outcome string, n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total[outcome] += n
}

// The observer is told of each record once, also of arrivals that end at once
// and of those that two engines share.
func TestObserverHearsOfEachRecord(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tg := newTarget()
		b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
		c := &counter{total: map[string]int64{}}
		b.mod = func(o *pipeline.Options) { o.Observer = c }
		tg.hang = func(_ *ingest.Request, ids []string) <-chan struct{} {
			if slices.Contains(ids, "950") {
				return make(chan struct{})
			}
			return nil
		}
		tg.answer = refuse(422, "7")
		_, stop := b.daemon(b.file("a.csv", numbers(0, 1000)))
		until(t, "most of it", func() bool { return tg.count() > 850 })
		time.Sleep(2 * time.Second)
		stop()
		tg.hang = nil
		if err := b.once2(t, time.Hour, b.file("b.csv", "id,name\n7,x\n8,x\nragged\n")); err != nil {
			t.Fatal(err)
		}
		if want := map[string]int64{"delivered": 999, "duplicate": 1, "dead": 3}; fmt.Sprint(c.total) != fmt.Sprint(want) {
			t.Errorf("told %v, want %v", c.total, want)
		}
	})
}
