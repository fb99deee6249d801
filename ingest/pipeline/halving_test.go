package pipeline_test

import (
	"fmt"
	"math/bits"
	"slices"
	"testing"

	"ingestd/ingest"
	"ingestd/ingest/pipeline"
)

// Refused records are found in a number of requests that grows with the
// logarithm of the batch for each bad one, and that twice the records bound
// where all are bad. Each has a refusal of its own.
func TestHalvingRequests(t *testing.T) {
	t.Parallel()
	evenly := func(n, of int) (bad []int) {
		for i := range n {
			bad = append(bad, i*of/n+of/n/3)
		}
		return bad
	}
	run := func(a, n int) (bad []int) {
		for i := range n {
			bad = append(bad, a+i)
		}
		return bad
	}
	for _, c := range []struct {
		name          string
		records, size int
		bad           []int
		most          int
	}{
		{"1 of 5,000 in one", 5000, 5000, []int{1234}, 1 + 2*13},
		{"1 of 5,000 in tens", 5000, 500, []int{1234}, 10 + 2*9},
		{"7 of 5,000 in tens", 5000, 500, evenly(7, 5000), 10 + 7*2*9},
		{"7 of 5,000 in one", 5000, 5000, evenly(7, 5000), 1 + 7*2*(13-2) + 14},
		{"8 adjacent over an edge", 5000, 500, run(996, 8), 10 + 2*2*9 + 2*8},
		{"64 adjacent", 5000, 500, run(1200, 64), 10 + 2*2*9 + 2*64},
		{"all of a batch", 1000, 200, run(200, 200), 5 + 2*200},
		{"all", 200, 50, run(0, 200), 2 * 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var bad []string
			for _, i := range c.bad {
				bad = append(bad, fmt.Sprint(i))
			}
			tg := newTarget()
			isBad := map[string]bool{}
			for _, id := range bad {
				isBad[id] = true
			}
			tg.answer = func(_ *ingest.Request, ids []string) (ingest.Answer, error) {
				if i := slices.IndexFunc(ids, func(id string) bool { return isBad[id] }); i >= 0 {
					return ingest.Answer{}, &ingest.Reject{Reason: "no", Answer: ingest.Answer{Status: 422, Body: "bad " + ids[i]}}
				}
				return ingest.Answer{}, nil
			}
			b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
			b.plan.Sinks[0].MaxRecords = c.size
			b.plan.BadLimit = 1
			if err := b.once(b.file("a.csv", numbers(0, c.records))); err != nil {
				t.Fatal(err)
			}
			want := upTo(c.records)
			for _, id := range bad {
				delete(want, id)
			}
			tg.has(t, want, false)
			var lines []int
			for _, d := range b.letters() {
				lines = append(lines, int(d.Pos.Line)-2)
				if d.Answer != fmt.Sprint("bad ", d.Pos.Line-2) {
					t.Errorf("line %d died of %q", d.Pos.Line, d.Answer)
				}
			}
			if slices.Sort(lines); !slices.Equal(lines, c.bad) {
				t.Errorf("dead: %v, want %v", lines, c.bad)
			}
			b.is(1, ingest.Done, ingest.Counts{Records: int64(c.records), Delivered: int64(c.records - len(bad)), Dead: int64(len(bad))})
			b.audit()
			t.Logf("%d bad of %d in batches of %d (log2 %d): %d requests", len(bad), c.records, c.size, bits.Len(uint(c.size-1)), tg.sends)
			if tg.sends > c.most {
				t.Errorf("%d requests, want at most %d", tg.sends, c.most)
			}
		})
	}
}

// A target that refuses all there is keeps nobody else waiting: the other sink
// of the pipeline has everything long before.
func TestAllRefusedStarvesNobody(t *testing.T) {
	t.Parallel()
	one, two := newTarget(), newTarget()
	all := make(chan struct{})
	one.answer = func(*ingest.Request, []string) (ingest.Answer, error) {
		if len(one.ids) >= 200 {
			select {
			case <-all:
			default:
				close(all)
			}
		}
		return ingest.Answer{}, nil
	}
	// Not all of its refusals are in before the other sink has all.
	two.hang = func(_ *ingest.Request, ids []string) <-chan struct{} {
		if slices.Contains(ids, "60") && len(ids) == 1 {
			return all
		}
		return nil
	}
	two.answer = func(*ingest.Request, []string) (ingest.Answer, error) {
		return ingest.Answer{}, &ingest.Reject{Reason: "no", Answer: ingest.Answer{Status: 400}}
	}
	b := newBench(t, "id", pipeline.SinkOptions{Name: "one", Sink: one}, pipeline.SinkOptions{Name: "two", Sink: two, Concurrency: 1})
	if err := b.once(b.file("a.csv", numbers(0, 300))); err != nil {
		t.Fatal(err)
	}
	one.has(t, upTo(300), false)
	if two.sends > 2*300 {
		t.Errorf("%d requests", two.sends)
	}
	b.is(1, ingest.Done, ingest.Counts{Records: 300, Dead: 300})
	b.audit()
}
