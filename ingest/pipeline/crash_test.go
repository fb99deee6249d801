package pipeline_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/pipeline"
)

const scenarioEnv = "INGESTD_TEST_SCENARIO"

// die ends the process as a power cut would.
func die() {
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// crash runs a scenario in a process of its own until it is killed, and returns
// the directory that it leaves behind.
func crash(t *testing.T, name string) string {
	t.Helper()
	return crashIn(t, t.TempDir(), name)
}

func crashIn(t *testing.T, dir, name string) string {
	t.Helper()
	return crashSeed(t, dir, name, 0)
}

func crashSeed(t *testing.T, dir, name string, seed int) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir, scenarioEnv+"="+name, fmt.Sprintf("INGESTD_TEST_SEED=%d", seed))
	var out bytes.Buffer
	cmd.Stderr = &out
	err := cmd.Run()
	var ee *exec.ExitError
	if !errors.As(err, &ee) || ee.ExitCode() != -1 || ctx.Err() != nil {
		t.Fatalf("scenario %s: %v\n%s", name, err, out.String())
	}
	return dir
}

// atDir is a bench in a directory that another process may have left.
func atDir(t testing.TB, dir, key string, sinks ...pipeline.SinkOptions) *bench {
	b := newBench(childTB{TB: t, dir: dir}, key, sinks...)
	b.log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	if _, ok := t.(*testing.T); ok {
		b.t = t
		b.log = slog.New(slog.NewTextHandler(testWriter{t}, nil))
		t.Cleanup(func() { b.ledger.Close() })
	}
	return b
}

func journal(dir string) string { return filepath.Join(dir, "journal") }

// scenarios end with the death of their process.
func scenarios() map[string]func(t testing.TB) {
	return map[string]func(t testing.TB){
		"left behind": leftBehind,
		"followers":   followers,
		"halves":      halves,
		"poison":      poison,
		"lanes":       lanesDie,
		"halving":     halving,
		"mixed":       mixedAnswer,
		"rest":        restOut,
		"mixed twice": mixedReplay,
		"mixed often": mixedOften,
	}
}

// leftBehind dies when one sink has half of a file and the other is down.
func leftBehind(t testing.TB) {
	dir := t.TempDir()
	one, two := recallTarget(t, "one", journal(dir)), recallTarget(t, "two", journal(dir))
	two.answer = down
	one.answer = func(*ingest.Request, []string) (ingest.Answer, error) {
		if len(one.ids) >= 3000 {
			die()
		}
		return ingest.Answer{}, nil
	}
	b := twoSinks(t, dir, one, two)
	b.once(b.file("a.csv", numbers(0, 6000)))
}

func twoSinks(t testing.TB, dir string, one, two *target) *bench {
	b := atDir(t, dir, "id", pipeline.SinkOptions{Name: "one", Sink: one}, pipeline.SinkOptions{Name: "two", Sink: two})
	b.plan.Sinks[1].MaxRecords = 30
	return b
}

// A sink that was left behind is fed after a kill, and being down still, it
// keeps nobody waiting.
func TestLeftBehindSinkSurvivesAKill(t *testing.T) {
	t.Parallel()
	for _, back := range []bool{true, false} {
		t.Run(fmt.Sprint(back), func(t *testing.T) {
			dir := crash(t, "left behind")
			one, two := recallTarget(t, "one", journal(dir)), recallTarget(t, "two", journal(dir))
			if one.count() < 2000 || one.count() == 6000 || two.count() != 0 {
				t.Fatalf("%d and %d when it died", one.count(), two.count())
			}
			b := twoSinks(t, dir, one, two)
			if !back {
				all := make(chan struct{})
				var once sync.Once
				one.answer = func(*ingest.Request, []string) (ingest.Answer, error) {
					if len(one.ids) >= 5900 {
						once.Do(func() { close(all) })
					}
					return ingest.Answer{}, nil
				}
				two.answer = func(r *ingest.Request, ids []string) (ingest.Answer, error) {
					select {
					case <-all:
						return ingest.Answer{}, nil
					default:
						return down(r, ids)
					}
				}
			}
			_, stop := b.daemon()
			b.ended(1)
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			one.has(t, upTo(6000), true)
			two.has(t, upTo(6000), true)
			b.is(1, ingest.Done, ingest.Counts{Records: 6000, Delivered: 6000})
			b.audit()
			b.empty()
		})
	}
}

// followers dies when a.csv leads keys whose fate is unknown, and the records of
// b.csv that follow them are stored.
func followers(t testing.TB) {
	dir := t.TempDir()
	tg := recallTarget(t, "s", journal(dir))
	var once sync.Once
	sent := make(chan struct{})
	tg.hang = func(r *ingest.Request, _ []string) <-chan struct{} {
		if r.Arrival == 1 {
			once.Do(func() { close(sent) })
			return make(chan struct{})
		}
		return nil
	}
	b := atDir(t, dir, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
	e := b.engine(b.file("a.csv", numbers(0, 250)))
	go func() {
		<-sent
		e.Accept(t.Context(), []ingest.Found{b.file("b.csv", "id,name\n5,b\n300,b\n6,b\n200,b\n5,b\n")})
		for tg.count() == 0 || len(b.ledger.OpenClaims(2)) > 0 {
			b.ledger.Barrier(t.Context())
		}
		b.ledger.Barrier(t.Context())
		die()
	}()
	e.Run(t.Context())
}

func TestFollowersAcrossArrivalsAndAKill(t *testing.T) {
	t.Parallel()
	for _, refused := range []bool{false, true} {
		t.Run(fmt.Sprint(refused), func(t *testing.T) {
			dir := crash(t, "followers")
			tg := recallTarget(t, "s", journal(dir))
			if !slices.Equal(tg.order, []string{"300"}) {
				t.Fatalf("taken when it died: %v", tg.order)
			}
			want := upTo(250)
			want["300"] = true
			if refused {
				tg.answer = refuse(422, "5")
				delete(want, "5")
			}
			b := atDir(t, dir, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
			if err := b.once(); err != nil {
				t.Fatal(err)
			}
			tg.has(t, want, false)
			if refused {
				b.is(1, ingest.Done, ingest.Counts{Records: 250, Delivered: 249, Dead: 1})
				b.is(2, ingest.Done, ingest.Counts{Records: 5, Delivered: 1, Duplicate: 2, Dead: 2})
				for _, d := range b.letters() {
					if d.Arrival == 2 && string(d.Raw) != "5,b" {
						t.Errorf("letter %+v", d)
					}
				}
			} else {
				b.is(1, ingest.Done, ingest.Counts{Records: 250, Delivered: 250})
				b.is(2, ingest.Done, ingest.Counts{Records: 5, Delivered: 1, Duplicate: 4})
			}
			b.audit()
		})
	}
}

// halves dies in the middle of halving a replayed batch.
func halves(t testing.TB) {
	dir := t.TempDir()
	tg := recallTarget(t, "s", journal(dir))
	tg.answer = down
	b := atDir(t, dir, "id", pipeline.SinkOptions{Name: "s", Sink: tg, GiveUpAfter: 1})
	if err := b.once(b.file("a.csv", numbers(0, 100))); err != nil {
		panic(err)
	}
	sends := 0
	no := refuse(422, "33")
	tg.answer = func(r *ingest.Request, ids []string) (ingest.Answer, error) {
		if sends++; sends == 4 {
			die()
		}
		return no(r, ids)
	}
	e, _ := b.daemon()
	e.ReplayLetters(t.Context(), 1, b.letters(), false)
}

func TestReplayedHalvesSurviveAKill(t *testing.T) {
	t.Parallel()
	dir := crash(t, "halves")
	tg := recallTarget(t, "s", journal(dir))
	tg.answer = refuse(422, "33")
	b := atDir(t, dir, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
	if err := b.once(); err != nil {
		t.Fatal(err)
	}
	want := upTo(100)
	delete(want, "33")
	tg.has(t, want, true)
	b.is(1, ingest.Done, ingest.Counts{Records: 100, Delivered: 99, Dead: 1})
	b.audit()
	b.empty()
}

// poison dies at its first request.
func poison(t testing.TB) {
	dir := t.TempDir()
	tg := newTarget()
	tg.answer = func(*ingest.Request, []string) (ingest.Answer, error) { die(); return ingest.Answer{}, nil }
	b := atDir(t, dir, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
	var files []ingest.Found
	if len(b.arrivals()) == 0 {
		files = append(files, b.file("a.csv", numbers(0, 10)))
	}
	b.daemon(files...)
	select {}
}

// Three starts in vain: the arrival goes behind the others, and is tried later.
func TestCrashLoopGoesBehind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for range 3 {
		crashIn(t, dir, "poison")
	}
	synctest.Test(t, func(t *testing.T) {
		tg := newTarget()
		b := atDir(t, dir, "id", pipeline.SinkOptions{Name: "s", Sink: tg, Concurrency: 1})
		begun := time.Now()
		_, stop := b.daemon(b.file("b.csv", numbers(10, 20)))
		b.ended(1, 2)
		stop()
		if took := time.Since(begun); tg.order[0] != "10" || took < 10*time.Second || took > time.Minute {
			t.Errorf("order %v, after %s", tg.order, took)
		}
		tg.has(t, upTo(20), false)
		b.audit()
	})
}
