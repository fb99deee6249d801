package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/pipeline"
)

// halving dies when both halves of a batch are on disk and the first was taken.
func halving(t testing.TB) {
	dir := t.TempDir()
	tg := recallTarget(t, "s", journal(dir))
	no := refuse(422, "70")
	var b *bench
	tg.answer = func(r *ingest.Request, ids []string) (ingest.Answer, error) {
		if ids[0] == "50" {
			b.ledger.Barrier(t.Context())
			die()
		}
		return no(r, ids)
	}
	b = atDir(t, dir, "id", pipeline.SinkOptions{Name: "s", Sink: tg, Concurrency: 1})
	b.once(b.file("a.csv", numbers(0, 250)))
}

// Of a batch that was halved before a kill, only the half goes out again whose
// fate is unknown, under the key that it had.
func TestHalvesSurviveAKill(t *testing.T) {
	t.Parallel()
	dir := crash(t, "halving")
	tg := recallTarget(t, "s", journal(dir))
	if !slices.Equal(tg.order, ids(0, 50)) {
		t.Fatalf("taken when it died: %v", tg.order)
	}
	no := refuse(422, "70")
	tg.answer = func(r *ingest.Request, sent []string) (ingest.Answer, error) {
		if _, ok := tg.ids[sent[0]]; ok {
			t.Errorf("%v are sent again", sent)
		}
		return no(r, sent)
	}
	b := atDir(t, dir, "id", pipeline.SinkOptions{Name: "s", Sink: tg, Concurrency: 1})
	if err := b.once(); err != nil {
		t.Fatal(err)
	}
	want := upTo(250)
	delete(want, "70")
	tg.has(t, want, false)
	if d := b.letters(); len(d) != 1 || d[0].Pos.Line != 72 {
		t.Errorf("letters %+v", d)
	}
	b.is(1, ingest.Done, ingest.Counts{Records: 250, Delivered: 249, Dead: 1})
	b.audit()
}

func ids(a, b int) (out []string) {
	for i := a; i < b; i++ {
		out = append(out, fmt.Sprint(i))
	}
	return out
}

// mixedAnswer dies when a target has taken part of a batch and its answer is
// not settled.
func mixedAnswer(t testing.TB) {
	dir := t.TempDir()
	tg := recallTarget(t, "s", journal(dir))
	mixed := each(tg, fates(1))
	tg.answer = func(r *ingest.Request, ids []string) (ingest.Answer, error) {
		mixed(r, ids)
		die()
		return ingest.Answer{}, nil
	}
	b := atDir(t, dir, "id", pipeline.SinkOptions{Name: "s", Sink: tg, Concurrency: 1})
	b.once(b.file("a.csv", numbers(0, 250)))
}

// restOut dies when the rest of a mixed batch is out.
func restOut(t testing.TB) {
	dir := t.TempDir()
	tg := recallTarget(t, "s", journal(dir))
	mixed := each(tg, fates(1))
	tg.answer = func(r *ingest.Request, ids []string) (ingest.Answer, error) {
		if len(ids) < 50 {
			die()
		}
		return mixed(r, ids)
	}
	b := atDir(t, dir, "id", pipeline.SinkOptions{Name: "s", Sink: tg, Concurrency: 1})
	b.once(b.file("a.csv", numbers(0, 250)))
}

// After a kill, a batch with an answer that was not settled is sent again whole,
// as it was; of one that was settled, only what was to be sent again.
func TestMixedSurvivesAKill(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"mixed", "rest"} {
		t.Run(name, func(t *testing.T) {
			dir := crash(t, name)
			tg := recallTarget(t, "s", journal(dir))
			if tg.count() != 91-2 || len(tg.keys) != map[string]int{"mixed": 1, "rest": 2}[name] {
				t.Fatalf("%d taken, %d keys when it died", tg.count(), len(tg.keys))
			}
			before := len(tg.keys)
			first := true
			mixed := each(tg, fates(0))
			tg.answer = func(r *ingest.Request, sent []string) (ingest.Answer, error) {
				if first {
					want := map[string][]string{"mixed": ids(0, 100), "rest": {"0", "2", "4", "52", "99"}}[name]
					if _, ok := tg.keys[r.Key]; !ok || !slices.Equal(sent, want) {
						t.Errorf("the first request has %v", sent)
					}
					if len(tg.keys) != before {
						t.Error("it has another key")
					}
					first = false
				}
				return mixed(r, sent)
			}
			b := atDir(t, dir, "id", pipeline.SinkOptions{Name: "s", Sink: tg, Concurrency: 1})
			if err := b.once(); err != nil {
				t.Fatal(err)
			}
			want := upTo(250)
			for _, id := range []string{"3", "50", "51", "60", "7", "8"} {
				delete(want, id)
			}
			tg.has(t, want, name == "mixed")
			b.is(1, ingest.Done, ingest.Counts{Records: 250, Delivered: 246, Dead: 4, Had: 2})
			b.audit()
			b.empty()
			// Their keys are free, the others are known.
			tg.set(nil)
			if err := b.once(b.file("b.csv", numbers(0, 251))); err != nil {
				t.Fatal(err)
			}
			b.is(2, ingest.Done, ingest.Counts{Records: 251, Delivered: 5, Duplicate: 246})
		})
	}
}

// mixedReplay dies when the rest of a rest of a replayed batch is out.
func mixedReplay(t testing.TB) {
	dir := t.TempDir()
	tg := recallTarget(t, "s", journal(dir))
	tg.answer = down
	b := atDir(t, dir, "id", pipeline.SinkOptions{Name: "s", Sink: tg, GiveUpAfter: 1})
	if err := b.once(b.file("a.csv", numbers(0, 100))); err != nil {
		panic(err)
	}
	b.sinks[0].GiveUpAfter = 0
	sends := 0
	mixed := each(tg, fates(2))
	tg.answer = func(r *ingest.Request, ids []string) (ingest.Answer, error) {
		if sends++; sends == 3 {
			die()
		}
		return mixed(r, ids)
	}
	e, _ := b.daemon()
	e.ReplayLetters(t.Context(), 1, b.letters(), false)
}

func TestMixedReplaySurvivesAKill(t *testing.T) {
	t.Parallel()
	dir := crash(t, "mixed twice")
	tg := recallTarget(t, "s", journal(dir))
	b := atDir(t, dir, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
	if err := b.once(); err != nil {
		t.Fatal(err)
	}
	want := upTo(100)
	for _, id := range []string{"3", "50", "51", "60", "7", "8"} {
		delete(want, id)
	}
	tg.has(t, want, false)
	if tg.sends != 1 {
		t.Errorf("%d requests for the rest", tg.sends)
	}
	b.is(1, ingest.Done, ingest.Counts{Records: 100, Delivered: 96, Dead: 4, Had: 2})
	b.audit()
	b.empty()
}

const (
	oftenRecords = 1000
	oftenBad     = 97 // every so manieth is refused by itself, one behind it has no result, one behind that makes a request be refused whole
)

// byKey answers record by record, the same for the same key: as a target does
// that remembers its answers.
func byKey(tg *target) func(*ingest.Request, []string) (ingest.Answer, error) {
	return func(r *ingest.Request, ids []string) (ingest.Answer, error) {
		m := &ingest.Mixed{Answer: ingest.Answer{Status: 207}}
		var taken []string
		for _, id := range ids {
			var n int
			fmt.Sscan(id, &n)
			h := fnv.New32a()
			fmt.Fprint(h, r.Key, id)
			a := fate(ingest.FateDelivered, 200)
			switch {
			case n%oftenBad == 2:
				return ingest.Answer{}, &ingest.Reject{Reason: "whole", Answer: ingest.Answer{Status: 400}}
			case n%oftenBad == 0:
				a = fate(ingest.FateRefused, 422)
			case n%oftenBad == 1:
				a = fate(ingest.FateUnknown, 0)
			case h.Sum32()%8 == 0:
				a = fate(ingest.FateAgain, 503)
			default:
				taken = append(taken, id)
			}
			m.Records = append(m.Records, a)
		}
		if len(taken) > 0 {
			tg.took(r.Key, taken)
			tg.note(r.Key, strings.Join(taken, ","), string(r.Body))
		}
		return ingest.Answer{}, m
	}
}

// mixedOften dies at one of its first requests, before or after it was taken,
// unless it gets through.
func mixedOften(t testing.TB) {
	dir := t.TempDir()
	tg := recallTarget(t, "s", journal(dir))
	answer := byKey(tg)
	n, at, after := 0, 1+rand.IntN(12), rand.IntN(2) == 0
	tg.answer = func(r *ingest.Request, ids []string) (ingest.Answer, error) {
		n++
		if n == at && !after {
			die()
		}
		ans, err := answer(r, ids)
		if n == at {
			die()
		}
		if rand.IntN(12) == 0 { // taken, and the answer is lost
			return down(r, ids)
		}
		return ans, err
	}
	b := atDir(t, dir, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
	if err := b.once(); err != nil {
		panic(err)
	}
	if err := b.ledger.Close(); err != nil {
		panic(err)
	}
	os.Exit(0)
}

// Killed again and again, nothing is lost, nothing is taken under two keys, no
// key has two bodies, and the books balance.
func TestMixedSurvivesManyKills(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := atDir(t, dir, "id")
	if _, err := b.ledger.Accept(t.Context(), "p", "p", []ingest.Found{b.file("a.csv", numbers(0, oftenRecords))}); err != nil {
		t.Fatal(err)
	}
	if err := b.ledger.Close(); err != nil {
		t.Fatal(err)
	}
	kills := 0
	for through := false; !through && kills < 6; kills++ {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		cmd := exec.CommandContext(ctx, os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+dir, scenarioEnv+"=mixed often")
		out, err := cmd.CombinedOutput()
		cancel()
		var ee *exec.ExitError
		if through = err == nil; err != nil && (!errors.As(err, &ee) || ee.ExitCode() != -1) {
			t.Fatalf("run %d: %v\n%s", kills, err, out)
		}
	}
	tg := recallTarget(t, "s", journal(dir))
	tg.answer = byKey(tg)
	b = atDir(t, dir, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
	if err := b.once(); err != nil {
		t.Fatal(err)
	}
	want := upTo(oftenRecords)
	dead := int64(0)
	for i := range oftenRecords {
		if i%oftenBad < 3 {
			delete(want, fmt.Sprint(i))
			dead++
		}
	}
	tg.has(t, want, true)
	b.is(1, ingest.Done, ingest.Counts{Records: oftenRecords, Delivered: oftenRecords - dead, Dead: dead})
	b.audit()
	b.empty()
	t.Logf("%d starts, %d requests", kills, len(tg.keys))
}
