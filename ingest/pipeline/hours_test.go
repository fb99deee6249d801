package pipeline_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/pipeline"
	"ingestd/ingest/schedule"
)

// A bubble's time begins at midnight UTC of 2000-01-01.
func night() schedule.Hours { return schedule.Hours{From: 22 * 60, To: 5 * 60} }

func hour(d time.Duration) time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(d) }

// What arrives outside the hours is claimed then and sent in them; a file that is not
// through when the window closes goes on when it opens again, also in another
// process; nobody gives it up for the hours between.
func TestWindow(t *testing.T) {
	t.Parallel()
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprint(restart), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { window(t, restart) })
		})
	}
}

// shifts are from the fortieth to the fiftieth minute of every hour.
type shifts struct{}

func (shifts) Opens(_, now time.Time) time.Time {
	switch in := now.Sub(now.Truncate(time.Hour)); {
	case in < 40*time.Minute:
		return now.Truncate(time.Hour).Add(40 * time.Minute)
	case in >= 50*time.Minute:
		return now.Truncate(time.Hour).Add(100 * time.Minute)
	}
	return now
}

func (s shifts) Open(from, to time.Time) (sum time.Duration) {
	for from = s.Opens(from, from); from.Before(to); from = s.Opens(from, from) {
		end := from.Truncate(time.Hour).Add(50 * time.Minute)
		if end.After(to) {
			end = to
		}
		sum += end.Sub(from)
		from = end
	}
	return sum
}

func window(t *testing.T, restart bool) {
	tg, open := newTarget(), newTarget()
	tg.answer = func(r *ingest.Request, ids []string) (ingest.Answer, error) {
		if now := time.Since(hour(0)); now > 48*time.Minute && now < 105*time.Minute {
			return down(r, ids) // from shortly before the end on
		}
		return ingest.Answer{}, nil
	}
	tg.hang = func(*ingest.Request, []string) <-chan struct{} {
		if now := time.Since(hour(0)) % time.Hour; now < 40*time.Minute || now > 50*time.Minute {
			t.Errorf("a request at %s", now)
		}
		c := make(chan struct{}) // what is in flight at the end may finish
		time.AfterFunc(100*time.Second, func() { close(c) })
		return c
	}
	b := newBench(t, "id", pipeline.SinkOptions{
		Name: "s", Sink: tg, Hours: shifts{}, Concurrency: 2, RetryInitial: time.Second, RetryMax: time.Minute, GiveUpAfter: 30 * time.Minute,
	}, pipeline.SinkOptions{Name: "open", Sink: open})
	e, stop := b.daemon()
	ids := b.accept(e, b.file("a.csv", numbers(0, 2000)), b.file("b.csv", numbers(2000, 2100)))
	until(t, "the claims of both files", func() bool {
		n := 0
		for _, id := range ids {
			for _, c := range b.ledger.OpenClaims(id) {
				n += len(c.Uncut)
			}
		}
		return open.count() == 2100 && n > 0
	})
	if now := time.Now(); now.After(hour(30 * time.Minute)) {
		t.Errorf("the other sink had all at %s", now)
	}
	if h := e.Health(); h[1].State != "waiting" || h[1].Reason != "waits until 00:40 (deliver)" || !h[1].Next.Equal(hour(40*time.Minute)) {
		t.Errorf("health %+v", h)
	}
	if used := b.pool.Used(); used != 0 {
		t.Errorf("%d bytes wait in memory", used)
	}
	time.Sleep(time.Until(hour(70 * time.Minute)))
	if tg.count() == 0 {
		t.Fatal("nothing went out while it was open")
	}
	if tg.count() == 2100 {
		t.Fatal("it was through before the window closed")
	}
	if restart {
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		b.reopen()
		_, stop = b.daemon()
	}
	b.ended(ids...)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	tg.has(t, upTo(2100), true)
	b.is(ids[0], ingest.Done, ingest.Counts{Records: 2000, Delivered: 2000})
	b.audit()
	b.empty()
}

// With `at` alone, what was there then goes out; what comes later waits for the
// next day, and does not keep the other from going out.
func TestAt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour)
		tg := newTarget()
		var last, next time.Time
		tg.answer = func(r *ingest.Request, ids []string) (ingest.Answer, error) {
			if ids[0] < "3" && len(ids[0]) == 4 {
				last = time.Now().UTC()
			} else {
				next = time.Now().UTC()
			}
			return ingest.Answer{}, nil
		}
		b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg, Hours: schedule.Hours{At: 2 * 60, HasAt: true}})
		e, stop := b.daemon()
		file := func(name string, from, to int) int64 {
			f := b.file(name, numbers(from, to))
			f.FoundAt = time.Now()
			return b.accept(e, f)[0]
		}
		one := file("a.csv", 1000, 2500)
		time.Sleep(2 * time.Hour)
		two := file("b.csv", 3000, 4500)
		b.ended(one, two)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if last.Before(hour(2*time.Hour)) || last.After(hour(3*time.Hour)) || next.Before(hour(26*time.Hour)) || next.After(hour(27*time.Hour)) {
			t.Errorf("sent at %s and %s", last, next)
		}
		b.audit()
	})
}

// A Once run does not wait for the night, and says until when it would have had
// to.
func TestOnceOutsideTheWindow(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]schedule.Hours{"window": night(), "at": {At: 22 * 60, HasAt: true}} {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(21 * time.Hour)
			tg := newTarget()
			b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg, Hours: h})
			f := b.file("a.csv", numbers(0, 1000))
			f.FoundAt = time.Now()
			err := b.once2(t, time.Minute, f)
			if !errors.Is(err, pipeline.ErrUnfinished) || !strings.Contains(err.Error(), "sink s waits until 22:00 (deliver)") {
				t.Errorf("%s: %v", name, err)
			}
			time.Sleep(time.Hour)
			if err := b.once2(t, time.Minute); err != nil {
				t.Errorf("%s, at ten: %v", name, err)
			}
			tg.has(t, upTo(1000), false)
		})
	}
}

// A paused sink gets nothing, and the others do; what arrives is taken up. The
// time does not count towards giving up, and a pause may end by itself.
func TestPausedSink(t *testing.T) {
	t.Parallel()
	for _, until2 := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			one, two := newTarget(), newTarget()
			first := true
			two.answer = func(r *ingest.Request, ids []string) (ingest.Answer, error) {
				if time.Now().Before(hour(10*time.Minute)) || first && time.Now().After(hour(48*time.Hour)) {
					first = time.Now().Before(hour(10 * time.Minute))
					return down(r, ids)
				}
				return ingest.Answer{}, nil
			}
			b := newBench(t, "id", pipeline.SinkOptions{Name: "one", Sink: one},
				pipeline.SinkOptions{Name: "two", Sink: two, RetryInitial: time.Second, RetryMax: time.Minute, GiveUpAfter: time.Hour})
			e, stop := b.daemon()
			ids := b.accept(e, b.file("a.csv", numbers(0, 1000)))
			time.Sleep(5 * time.Minute)
			end := hour(3 * time.Hour)
			if until2 {
				e.PauseSink("two", "paused by a person", time.Now(), end)
			} else {
				e.PauseSink("two", "paused by a person", time.Now(), time.Time{})
			}
			sends := two.requests()
			time.Sleep(time.Hour)
			ids = append(ids, b.accept(e, b.file("b.csv", numbers(1000, 2000)))...)
			until(t, "the other sink", func() bool { return one.count() == 2000 })
			time.Sleep(time.Until(end) - time.Second)
			if h := e.Health()[1]; !until2 && (h.State != "paused" || h.Reason != "paused by a person") {
				t.Errorf("health %+v", h)
			}
			if n := two.requests(); n > sends+4 {
				t.Errorf("%d requests to a paused sink", n-sends)
			}
			if !until2 {
				e.ResumeSink("two", time.Now())
			}
			b.ended(ids...)
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			one.has(t, upTo(2000), false)
			two.has(t, upTo(2000), true)
			b.audit()
			b.empty()
		})
	}
}

// What comes while the only sink makes no deliveries is bounded in memory, and
// all of it goes out in the end.
func TestManyArrivalsByDay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(22*time.Hour - 2*time.Minute)
		tg := newTarget()
		b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg, Hours: night()})
		e, stop := b.daemon()
		var ids []int64
		for i := range 100 {
			ids = append(ids, b.accept(e, b.file(fmt.Sprintf("%d.csv", i), numbers(i*10, i*10+10)))...)
		}
		time.Sleep(time.Minute)
		if s := e.Status(); s.Running > 70 || s.Waiting < 30 {
			t.Errorf("%+v", s)
		}
		b.ended(ids...)
		if at := time.Now(); at.Before(hour(22*time.Hour)) || at.After(hour(23*time.Hour)) {
			t.Errorf("all was out at %s", at)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		tg.has(t, upTo(1000), false)
		b.audit()
	})
}

// A person who has mended a stopped sink does not wait for the next try.
func TestResumeTriesAtOnce(t *testing.T) {
	t.Parallel()
	for _, lanes := range []int{0, 4} {
		synctest.Test(t, func(t *testing.T) {
			tg := newTarget()
			tg.answer = func(*ingest.Request, []string) (ingest.Answer, error) {
				return ingest.Answer{}, &ingest.Halt{Reason: "401"}
			}
			b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
			b.plan.Sinks[0].OrderBy, b.plan.Sinks[0].Lanes = []string{"name"}, lanes
			e, stop := b.daemon()
			ids := b.accept(e, b.file("a.csv", numbers(0, 1000)))
			time.Sleep(time.Hour)
			if h := e.Health()[0]; h.State != "stopped" {
				t.Errorf("%+v", h)
			}
			tg.set(nil)
			mended := time.Now()
			e.ResumeSink("s", mended)
			b.ended(ids...)
			if took := time.Since(mended); took > 10*time.Second {
				t.Errorf("it was tried after %s", took)
			}
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			tg.has(t, upTo(1000), false)
		})
	}
}
