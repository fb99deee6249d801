package pipeline_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/pipeline"
)

func TestDeliversEachRecordOnce(t *testing.T) {
	t.Parallel()
	tg := newTarget()
	b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
	f := b.file("a.csv", rows(1000, func(i int) string { return fmt.Sprint(i) }))
	if err := b.once(f); err != nil {
		t.Fatal(err)
	}
	if len(tg.ids) != 1000 {
		t.Fatalf("%d ids", len(tg.ids))
	}
	for id, n := range tg.ids {
		if n != 1 {
			t.Errorf("%s %d times", id, n)
		}
	}
	a := b.arrivals()[0]
	if a.State != ingest.Done || a.Counts != (ingest.Counts{Records: 1000, Delivered: 1000}) {
		t.Errorf("%+v %s", a.Counts, a.State)
	}
	b.audit()

	// The same content under another name is a duplicate; nothing is sent.
	sends := tg.sends
	if err := b.once(b.file("b.csv", rows(1000, func(i int) string { return fmt.Sprint(i) }))); err != nil {
		t.Fatal(err)
	}
	if a := b.arrivals()[1]; a.State != ingest.DuplicateState || tg.sends != sends {
		t.Errorf("%s, %d requests more", a.State, tg.sends-sends)
	}
	// Other content, the same keys and one more: that one is sent. Also after
	// the ledger was opened again.
	b.ledger.Close()
	b.open()
	if err := b.once(b.file("c.csv", rows(1001, func(i int) string { return fmt.Sprint(i) })+"\n")); err != nil {
		t.Fatal(err)
	}
	if a := b.arrivals()[2]; a.Counts != (ingest.Counts{Records: 1001, Delivered: 1, Duplicate: 1000}) {
		t.Errorf("%+v %s", a.Counts, a.State)
	}
	b.audit()
}

func TestDuplicatesInsideAFile(t *testing.T) {
	t.Parallel()
	tg := newTarget()
	b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
	// Neighbours, far ones, and one in the same batch.
	f := b.file("a.csv", rows(3000, func(i int) string { return fmt.Sprint(i / 2 % 1000) }))
	if err := b.once(f); err != nil {
		t.Fatal(err)
	}
	a := b.arrivals()[0]
	if a.Counts != (ingest.Counts{Records: 3000, Delivered: 1000, Duplicate: 2000}) {
		t.Errorf("%+v", a.Counts)
	}
	for id, n := range tg.ids {
		if n != 1 {
			t.Errorf("%s %d times", id, n)
		}
	}
	b.audit()
}

func TestRefusedRecordsStandAlone(t *testing.T) {
	t.Parallel()
	bad := map[string]bool{"7": true, "150": true, "151": true, "999": true}
	tg := newTarget()
	tg.answer = func(r *ingest.Request, ids []string) (ingest.Answer, error) {
		for _, id := range ids {
			if bad[id] {
				return ingest.Answer{}, &ingest.Reject{Reason: "no " + id, Answer: ingest.Answer{Status: 422, Body: "bad " + id}}
			}
		}
		return ingest.Answer{}, nil
	}
	b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
	f := b.file("a.csv", rows(1000, func(i int) string { return fmt.Sprint(i) })+"7,again\n")
	if err := b.once(f); err != nil {
		t.Fatal(err)
	}
	a := b.arrivals()[0]
	if a.Counts != (ingest.Counts{Records: 1001, Delivered: 996, Dead: 5}) {
		t.Errorf("%+v", a.Counts)
	}
	lines := map[int64]string{}
	for d, err := range b.ledger.Letters(t.Context(), ingest.LetterFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		lines[d.Pos.Line] = string(d.Raw)
	}
	want := map[int64]string{9: "7,n7", 152: "150,n150", 153: "151,n151", 1001: "999,n999", 1002: "7,again"}
	if fmt.Sprint(lines) != fmt.Sprint(want) {
		t.Errorf("letters %v, want %v", lines, want)
	}
	b.audit()
	// A mended record goes through.
	bad = nil
	if err := b.once(b.file("b.csv", "id,name\n7,mended\n8,known\n")); err != nil {
		t.Fatal(err)
	}
	if a := b.arrivals()[1]; a.Counts != (ingest.Counts{Records: 2, Delivered: 1, Duplicate: 1}) {
		t.Errorf("%+v", a.Counts)
	}
	b.audit()
}

func TestBadWeather(t *testing.T) {
	t.Parallel()
	tg := newTarget()
	n := 0
	tg.answer = func(r *ingest.Request, ids []string) (ingest.Answer, error) {
		if n++; n%3 == 0 {
			return ingest.Answer{}, &ingest.Unanswered{Err: errors.New("503"), Answer: ingest.Answer{Status: 503}}
		}
		return ingest.Answer{}, nil
	}
	b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
	if err := b.once(b.file("a.csv", rows(5000, func(i int) string { return fmt.Sprint(i) }))); err != nil {
		t.Fatal(err)
	}
	for id, n := range tg.ids {
		if n != 1 {
			t.Errorf("%s %d times", id, n)
		}
	}
	if a := b.arrivals()[0]; a.Counts.Delivered != 5000 {
		t.Errorf("%+v", a.Counts)
	}
	b.audit()
}

func TestDeadTargetThenBack(t *testing.T) {
	t.Parallel()
	tg := newTarget()
	down := true
	tg.answer = func(r *ingest.Request, ids []string) (ingest.Answer, error) {
		if down {
			return ingest.Answer{}, &ingest.Halt{Reason: "401"}
		}
		return ingest.Answer{}, nil
	}
	b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
	f := b.file("a.csv", rows(3000, func(i int) string { return fmt.Sprint(i) }))
	if err := b.once(f); !errors.Is(err, pipeline.ErrUnfinished) {
		t.Fatalf("a Once run on a stopped sink: %v", err)
	}
	if a := b.arrivals()[0]; a.State != ingest.Running {
		t.Errorf("state %s", a.State)
	}
	b.ledger.Close()
	b.open()
	down = false
	if err := b.once(); err != nil {
		t.Fatal(err)
	}
	if a := b.arrivals()[0]; a.State != ingest.Done || a.Counts.Delivered != 3000 {
		t.Errorf("%s %+v", a.State, a.Counts)
	}
	for id, n := range tg.ids {
		if n != 1 {
			t.Errorf("%s %d times", id, n)
		}
	}
	b.audit()
	if left, _ := b.outbox.List(); len(left) > 0 {
		t.Errorf("left in the outbox: %v", left)
	}
}

func TestStrictOrder(t *testing.T) {
	t.Parallel()
	tg := newTarget()
	n := 0
	tg.answer = func(r *ingest.Request, ids []string) (ingest.Answer, error) {
		if n++; n%2 == 0 {
			return ingest.Answer{}, errors.New("reset")
		}
		return ingest.Answer{}, nil
	}
	b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg, Concurrency: 1})
	if err := b.once(b.file("a.csv", rows(2000, func(i int) string { return fmt.Sprint(i) })), b.file("b.csv", rows(500, func(i int) string { return fmt.Sprint(2000 + i) }))); err != nil {
		t.Fatal(err)
	}
	for i, id := range tg.order {
		if id != fmt.Sprint(i) {
			t.Fatalf("at %d came %s", i, id)
		}
	}
}

func TestHeld(t *testing.T) {
	t.Parallel()
	tg := newTarget()
	b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
	if err := b.once(b.file("a.csv", "Id,name\n1,a\n")); err != nil {
		t.Fatal(err)
	}
	a := b.arrivals()[0]
	if a.State != ingest.Held || !strings.Contains(a.Error, `"Id"`) || tg.sends != 0 {
		t.Fatalf("%s %q, %d requests", a.State, a.Error, tg.sends)
	}
	var sb strings.Builder
	sb.WriteString("id,name\n")
	for i := range 100 {
		if i%4 == 0 {
			fmt.Fprintf(&sb, "%d,a,ragged\n", i)
		} else {
			fmt.Fprintf(&sb, "%d,a\n", i)
		}
	}
	if err := b.once(b.file("b.csv", sb.String())); err != nil {
		t.Fatal(err)
	}
	a = b.arrivals()[1]
	if a.State != ingest.Held || tg.sends != 0 {
		t.Fatalf("%s %q, %d requests", a.State, a.Error, tg.sends)
	}
	if err := b.engine().Release(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	if err := b.engine().Reject(t.Context(), b.arrivals()[0].ID); err != nil {
		t.Fatal(err)
	}
	if err := b.once(); err != nil {
		t.Fatal(err)
	}
	if a = b.arrivals()[1]; a.State != ingest.Done || a.Counts != (ingest.Counts{Records: 100, Delivered: 75, Dead: 25}) {
		t.Errorf("%s %+v", a.State, a.Counts)
	}
	if a = b.arrivals()[0]; a.State != ingest.Failed {
		t.Errorf("%s", a.State)
	}
	b.audit()
}

func TestSeveralSinks(t *testing.T) {
	t.Parallel()
	one, two := newTarget(), newTarget()
	release := make(chan struct{})
	two.answer = func(r *ingest.Request, ids []string) (ingest.Answer, error) {
		select {
		case <-release:
			return ingest.Answer{}, nil
		default:
			if one.count() == 8000 {
				close(release)
			}
			return ingest.Answer{}, errors.New("down")
		}
	}
	b := newBench(t, "id", pipeline.SinkOptions{Name: "one", Sink: one}, pipeline.SinkOptions{Name: "two", Sink: two, RetryMax: time.Second, RetryInitial: 5 * time.Millisecond})
	b.plan.Sinks[1].MaxRecords = 30
	if err := b.once(b.file("a.csv", rows(8000, func(i int) string { return fmt.Sprint(i) }))); err != nil {
		t.Fatal(err)
	}
	for _, tg := range []*target{one, two} {
		if len(tg.ids) != 8000 {
			t.Errorf("%d ids", len(tg.ids))
		}
		for id, n := range tg.ids {
			if n != 1 {
				t.Errorf("%s %d times", id, n)
			}
		}
	}
	if a := b.arrivals()[0]; a.Counts.Delivered != 8000 {
		t.Errorf("%+v", a.Counts)
	}
	b.audit()
}
