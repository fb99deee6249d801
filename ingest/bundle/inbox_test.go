package bundle

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/journal"
)

// An engine accepts bundles, and says how many are under way.
type engine struct {
	ingest.Acceptor
	mu   sync.Mutex
	got  []ingest.Found
	err  error
	came chan int64
}

func (e *engine) Accept(_ context.Context, found []ingest.Found) ([]int64, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return nil, e.err
	}
	e.got = append(e.got, found...)
	e.came <- found[0].ID
	return []int64{found[0].ID}, nil
}

func box(t *testing.T) (*Inbox, *journal.Journal) {
	t.Helper()
	n := int64(0)
	j, err := journal.Open(journal.Options{
		Dir: t.TempDir(), Reserve: func(context.Context) (int64, error) { n++; return n, nil },
	}, func(int64) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return NewInbox(Options{Journal: j, Name: "/hooks/x", Logger: slog.New(slog.DiscardHandler)}), j
}

func put(t *testing.T, j *journal.Journal, id string) {
	t.Helper()
	head, err := json.Marshal(&ingest.Event{At: time.Unix(1700000000, 0), ID: id})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Append(t.Context(), journal.Event{Head: head, Body: []byte(`{"id": "` + id + `"}`)}); err != nil {
		t.Fatal(err)
	}
}

// TestInbox: an event alone goes out at once; while two bundles are under way
// the third fills, and goes out when one has ended or waits for a person.
func TestInbox(t *testing.T) {
	t.Parallel()
	in, j := box(t)
	e := &engine{came: make(chan int64, 10)}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- in.Run(ctx, e) }()
	put(t, j, "a")
	first := <-e.came
	put(t, j, "b")
	second := <-e.came
	put(t, j, "c")
	put(t, j, "d")
	if err := in.PutAway(ctx, &ingest.Arrival{ID: first}); err != nil {
		t.Fatal(err)
	}
	third := <-e.came
	in.Leave(second) // held
	put(t, j, "e")
	fourth := <-e.came
	if !slices.Equal([]int64{first, second, third, fourth}, []int64{1, 2, 3, 4}) {
		t.Errorf("bundles %d %d %d %d", first, second, third, fourth)
	}
	var ids []string
	err := Walk(e.got[2].Path, func(s *ingest.Span, body []byte) bool {
		ids = append(ids, s.Event.ID)
		return true
	})
	if err != nil || !slices.Equal(ids, []string{"c", "d"}) {
		t.Errorf("the third bundle holds %v, %v", ids, err)
	}
	if f := e.got[0]; f.Source != ingest.SourceWebhook || f.Name != "/hooks/x" || f.Size == 0 || f.Keep {
		t.Errorf("found %+v", f)
	}
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("run: %v", err)
	}
}

// TestInboxNotAccepted: what was taken and not accepted is handed over again,
// under the same number, also by a sweep.
func TestInboxNotAccepted(t *testing.T) {
	t.Parallel()
	in, j := box(t)
	e := &engine{came: make(chan int64, 10), err: errors.New("no")}
	put(t, j, "a")
	if err := in.Run(t.Context(), e); err == nil {
		t.Fatal("a refusal is no error")
	}
	put(t, j, "b")
	e.err = nil
	if err := in.Sweep(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if a, b := <-e.came, <-e.came; a != 1 || b != 2 {
		t.Errorf("bundles %d, %d", a, b)
	}
	if err := in.Sweep(t.Context(), e); err != nil || len(e.came) > 0 {
		t.Errorf("swept twice: %v", err)
	}
}

// TestFound: what a failed write left behind the last good event is cut off, so
// that the bundle is what was answered for.
func TestFound(t *testing.T) {
	t.Parallel()
	_, j := box(t)
	put(t, j, "a")
	s, err := j.Take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(s.Path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("half a fra"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	got, err := found(s)
	if err != nil || got.Size != s.Size {
		t.Errorf("%+v, %v", got, err)
	}
	if span, body, err := Find(s.Path, 1); err != nil || span.Event.ID != "a" || string(body) != `{"id": "a"}` {
		t.Errorf("%+v %s, %v", span, body, err)
	}
	if _, _, err := Find(s.Path, 2); !errors.Is(err, ingest.ErrNotFound) {
		t.Errorf("an event that there is not: %v", err)
	}
	if _, _, err := Find(s.Path+"x", 1); !errors.Is(err, ingest.ErrPruned) {
		t.Errorf("a bundle that is gone: %v", err)
	}
}

// lines reads a body as a record a line; a line "!" is a fault, "!!" ends it.
type lines struct {
	body []byte
	at   int64
}

func (l *lines) Read(_ context.Context, c *ingest.Chunk) error {
	c.Reset()
	for len(l.body) > 0 {
		line, rest := l.body, []byte(nil)
		if i := slices.Index(l.body, '\n'); i >= 0 {
			line, rest = l.body[:i], l.body[i+1:]
		}
		l.body = rest
		if string(line) == "!!" {
			return &ingest.ReadError{Format: "lines", Reason: "it ends here"}
		}
		l.at++
		pos := ingest.Position{Record: l.at, Line: l.at}
		if string(line) == "!" {
			c.Faults = append(c.Faults, ingest.Fault{Pos: pos, Reason: "bad", Raw: line})
			continue
		}
		c.Records = append(c.Records, ingest.Record{Pos: pos, Raw: line, Fields: []ingest.Field{{Name: "line", Kind: ingest.String, Raw: line}}})
	}
	if len(c.Records)+len(c.Faults) > 0 {
		return nil
	}
	return io.EOF
}
func (*lines) Details() ingest.Details { return ingest.Details{Format: "lines"} }
func (*lines) Close() error            { return nil }

// FuzzReader: whatever a segment holds, ordinals leave none out, spans hold
// them all, and nothing panics.
func FuzzReader(f *testing.F) {
	dir := f.TempDir()
	j, err := journal.Open(journal.Options{Dir: dir, Reserve: func(context.Context) (int64, error) { return 1, nil }}, func(int64) bool { return false })
	if err != nil {
		f.Fatal(err)
	}
	for _, body := range []string{"a\nb\n!\nc", "", "!!", "x\n!!\ny"} {
		if _, err := j.Append(f.Context(), journal.Event{Head: []byte(`{"id": "x"}`), Body: []byte(body)}); err != nil {
			f.Fatal(err)
		}
	}
	s, err := j.Take(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(s.Path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-3])
	f.Fuzz(func(t *testing.T, segment []byte) {
		in := ingest.Input{Size: int64(len(segment)), ReaderAt: readerAt(segment)}
		r := NewReader(in, func(_ context.Context, _ *ingest.Event, body []byte) (ingest.Reader, error) {
			return &lines{body: body}, nil
		})
		defer r.Close()
		var c ingest.Chunk
		var next, last int64
		for {
			err := r.Read(t.Context(), &c)
			recs, faults := c.Records, c.Faults
			for len(recs)+len(faults) > 0 {
				if next++; len(recs) > 0 && recs[0].Pos.Record == next {
					if string(recs[0].Raw) != string(recs[0].Fields[0].Raw) {
						t.Fatalf("record %d: %q is %q", next, recs[0].Raw, recs[0].Fields[0].Raw)
					}
					recs = recs[1:]
				} else if len(faults) > 0 && faults[0].Pos.Record == next {
					faults = faults[1:]
				} else {
					t.Fatalf("record %d is left out", next)
				}
			}
			for _, s := range c.Spans {
				last = max(last, s.Last)
			}
			if err != nil {
				break
			}
		}
		if last < next {
			t.Fatalf("%d records, events hold %d", next, last)
		}
	})
}

type readerAt []byte

func (b readerAt) ReadAt(p []byte, off int64) (int, error) {
	if off >= int64(len(b)) {
		return 0, io.EOF
	}
	n := copy(p, b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
