package pipeline_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/pipeline"
)

// A pinboard is a place for reports, in memory.
type pinboard struct {
	mu      sync.Mutex
	files   map[string]string
	order   []string
	trouble error
	fails   int    // how often
	after   string // the name after whose report trouble begins
}

func (p *pinboard) Reported(_ context.Context, name string) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.files[name]
	return ok, nil
}

func (p *pinboard) Report(_ context.Context, name string, content func(io.Writer) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.trouble != nil && p.after == "" {
		p.fails++
		return p.trouble
	}
	if p.after == name {
		p.after = ""
	}
	if content == nil {
		delete(p.files, name)
		return nil
	}
	var b bytes.Buffer
	if err := content(&b); err != nil {
		return err
	}
	p.files[name] = b.String()
	p.order = append(p.order, name)
	return nil
}

func (p *pinboard) set(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trouble = err
}

func (p *pinboard) has(t *testing.T, want map[string]string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, text := range want {
		if p.files[name] != text {
			t.Errorf("%s says %q, want %q", name, p.files[name], text)
		}
	}
	if len(p.files) != len(want) {
		t.Errorf("there are %d reports, want %d: %q", len(p.files), len(want), p.files)
	}
}

// reporting has the bench's engines write reports: the books, and the records
// that died.
func (b *bench) reporting() *pinboard {
	board := &pinboard{files: map[string]string{}}
	b.mod = func(o *pipeline.Options) {
		o.Receipts = &pipeline.Receipts{To: board, Make: func(ctx context.Context, a *ingest.Arrival, stem string) ([]pipeline.ReceiptFile, error) {
			list := pipeline.ReceiptFile{Name: stem + ".bad"}
			if a.Counts.Dead > 0 {
				list.Content = func(w io.Writer) error {
					for l, err := range b.ledger.Letters(ctx, ingest.LetterFilter{Arrival: a.ID, ByRecord: true}) {
						if err != nil {
							return err
						}
						fmt.Fprintf(w, "%s;", l.Raw)
					}
					return nil
				}
			}
			return []pipeline.ReceiptFile{{Name: stem + ".txt", Content: func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "%s %d/%d", a.State, a.Counts.Delivered, a.Counts.Records)
				return err
			}}, list}, nil
		}}
	}
	return board
}

// Every arrival that ends has a report, under a name of its own; after a replay
// of its letters the report says so.
func TestReceipts(t *testing.T) {
	t.Parallel()
	tg := newTarget()
	tg.answer = refuse(422, "1", "3")
	b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
	board := b.reporting()
	board.files["b.csv.txt"] = "of somebody else"
	if err := b.once(b.file("a.csv", numbers(0, 5))); err != nil {
		t.Fatal(err)
	}
	board.has(t, map[string]string{"b.csv.txt": "of somebody else", "a.csv.txt": "done 3/5", "a.csv.bad": "1,n1;3,n3;"})
	if want := []string{"a.csv.bad", "a.csv.txt"}; !slices.Equal(board.order, want) {
		t.Errorf("written in the order %q, want %q", board.order, want)
	}
	for _, x := range []struct{ name, content string }{
		{"b.csv", numbers(10, 12)}, // its name is taken
		{"a.csv", numbers(20, 21)}, // so is this
		{"c.csv", numbers(20, 21)}, // a duplicate
		{"d.csv", "ident\n1\n"},    // held: no report until somebody decides
		{strings.Repeat("é", 120) + ".csv", numbers(30, 31)},
	} {
		if err := b.once(b.file(x.name, x.content)); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{
		"b.csv.txt": "of somebody else", "a.csv.txt": "done 3/5", "a.csv.bad": "1,n1;3,n3;",
		"b-1.csv.txt": "done 2/2", "a-1.csv.txt": "done 1/1", "c.csv.txt": "duplicate 0/0",
		strings.Repeat("é", 101) + ".csv.txt": "done 1/1",
	}
	board.has(t, want)
	e, stop := b.daemon()
	if err := e.Reject(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	want["d.csv.txt"] = "failed 0/0"
	board.has(t, want)

	tg.set(refuse(422, "3"))
	if _, err := e.ReplayLetters(t.Context(), 1, b.letters(), false); err != nil {
		t.Fatal(err)
	}
	want["a.csv.txt"], want["a.csv.bad"] = "done 4/5", "3,n3;"
	board.has(t, want)
	tg.set(nil)
	if _, err := e.ReplayLetters(t.Context(), 1, b.letters(), false); err != nil {
		t.Fatal(err)
	}
	want["a.csv.txt"] = "done 5/5"
	delete(want, "a.csv.bad") // nothing is rejected any more
	board.has(t, want)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	b.audit()
}

// A report that cannot be written holds nothing up, is tried again, and is known
// to be due by the next process; half of one is finished under the same name.
func TestReceiptIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tg := newTarget()
		tg.answer = refuse(422, "1")
		b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: tg})
		board := b.reporting()
		board.trouble, board.after = errors.New("the disk is full"), "a.csv.bad"
		_, stop := b.daemon(b.file("a.csv", numbers(0, 3)), b.file("b.csv", numbers(3, 6)))
		b.ended(1, 2)
		time.Sleep(10 * time.Minute)
		if b.is(1, ingest.Done, ingest.Counts{Records: 3, Delivered: 2, Dead: 1}); !b.is(2, ingest.Done, ingest.Counts{Records: 3, Delivered: 3}).PutAway {
			t.Error("it was not put away")
		}
		if board.fails < 10 || board.fails > 30 {
			t.Errorf("tried %d times in 10 minutes", board.fails)
		}
		d, err := b.ledger.Arrival(t.Context(), 1)
		if err != nil || d.Receipt == nil || !strings.Contains(d.Receipt.Error, "disk is full") || d.Receipt.Name != "a.csv" {
			t.Errorf("%+v, %v", d.Receipt, err)
		}
		said := 0
		for _, e := range d.Timeline {
			if strings.Contains(e.What, "disk is full") {
				said++
			}
		}
		if said != 2 { // of one file, then of the other
			t.Errorf("said %d times", said)
		}
		stop()
		// It cannot be written in a Once run either: that leaves something to do.
		b.reopen()
		if err := b.once2(t, time.Hour); !errors.Is(err, pipeline.ErrUnfinished) {
			t.Errorf("once: %v", err)
		}
		board.set(nil)
		b.reopen()
		_, stop = b.daemon()
		until(t, "the receipts", func() bool {
			due, err := b.ledger.ReceiptsDue(t.Context(), "p", 10)
			return err == nil && len(due) == 0
		})
		stop()
		board.has(t, map[string]string{"a.csv.txt": "done 2/3", "a.csv.bad": "1,n1;", "b.csv.txt": "done 3/3"})
	})
}

// The running engine goes on by itself once the trouble is over.
func TestReceiptAfterTrouble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "id", pipeline.SinkOptions{Name: "s", Sink: newTarget()})
		board := b.reporting()
		board.trouble = errors.New("read-only")
		_, stop := b.daemon(b.file("a.csv", numbers(0, 3)))
		b.ended(1)
		time.Sleep(time.Minute)
		board.set(nil)
		time.Sleep(2 * time.Minute)
		board.has(t, map[string]string{"a.csv.txt": "done 3/3"})
		stop()
	})
}

// Letters of a batch whose fate is unknown are forced under new keys, all of
// them, and nobody can send the batch as it was any more.
func TestForcedLetters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tg := newTarget()
		b := givenUp(t, tg)
		sent := len(tg.keys)
		tg.set(nil)
		b.reopen()
		e, stop := b.daemon()
		one := b.letters()[:1]
		for _, l := range b.letters() {
			if l.Uncertain {
				one[0] = l
				break
			}
		}
		dry, err := e.ForceLetters(t.Context(), 1, one, true)
		if err != nil || dry != (pipeline.Replayed{Sent: 100}) {
			t.Errorf("dry: %+v, %v", dry, err)
		}
		out, err := e.ForceLetters(t.Context(), 1, one, false)
		if err != nil || out != dry {
			t.Errorf("%+v, %v", out, err)
		}
		if n := len(tg.keys) - sent; n != 1 {
			t.Errorf("%d new keys", n)
		}
		if left := b.letters(); len(left) != 101 {
			t.Errorf("%d letters are left", len(left))
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if list, err := b.outbox.List(); err != nil || len(list) != 1 {
			t.Errorf("the outbox holds %v, %v", list, err)
		}
		b.is(1, ingest.Done, ingest.Counts{Records: 1000, Delivered: 899, Dead: 101})
		b.audit()
	})
}
