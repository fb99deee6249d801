// Package bundle makes arrivals of events: what the journal of a pipeline
// collected is handed over as one arrival, a bundle, and read as the records of
// all its events.
//
// It promises:
//
//   - A segment is an arrival under the number it bears, once: one that a crash
//     or a pause kept from being accepted is handed over again under the same.
//   - An event that comes alone goes out at once, unless it is to wait for
//     others. While as many bundles are under way as may be, the next one fills.
//   - An event that cannot be read is one dead letter; its neighbours go on.
package bundle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/journal"
)

// Options say what an Inbox hands over.
type Options struct {
	Journal *journal.Journal
	Name    string // of its arrivals: the hook's path, or what people know it by
	Logger  *slog.Logger
}

const (
	// mostBundles is how many bundles are under way at a time: one is delivered
	// while another is made ready. mostAlone is that of events of which each is
	// a bundle, because its sender waits.
	mostBundles = 2
	mostAlone   = 256
)

// An Inbox hands a journal's segments over as arrivals. It is an ingest.Source
// that outlives engines: one at a time runs it.
type Inbox struct {
	journal *journal.Journal
	log     *slog.Logger

	mu       sync.Mutex
	name     string
	most     int
	wait     time.Duration     // that events wait for others
	enough   int               // of them, so that none waits longer
	pending  []journal.Segment // taken, and not known to be accepted
	underway map[int64]bool
	freed    chan struct{} // closed and made anew when a place may be free
}

// NewInbox makes an Inbox. It starts nothing.
func NewInbox(o Options) *Inbox {
	return &Inbox{journal: o.Journal, log: o.Logger, name: o.Name, most: mostBundles, underway: map[int64]bool{}, freed: make(chan struct{})}
}

// Settings are what a reloaded config may say anew.
type Settings struct {
	Name  string // what its arrivals are called
	Alone bool   // each event is a bundle of its own
	// Wait is how long an event waits for others, as long as there are fewer
	// than Enough. With 0 it waits only while bundles are under way.
	Wait   time.Duration
	Enough int
}

// Set takes over what a reloaded config says.
func (in *Inbox) Set(s Settings) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.name, in.most, in.wait, in.enough = s.Name, mostBundles, s.Wait, s.Enough
	if s.Alone {
		in.most, in.wait = mostAlone, 0
	}
	in.wake()
}

// wake tells Run that something changed. in.mu is held.
func (in *Inbox) wake() {
	close(in.freed)
	in.freed = make(chan struct{})
}

// Run implements ingest.Source.
func (in *Inbox) Run(ctx context.Context, to ingest.Acceptor) error {
	for {
		if err := in.room(ctx); err != nil {
			return err
		}
		s, err := in.take(ctx)
		if err != nil {
			return err
		}
		if err := in.hand(ctx, to, s); err != nil {
			return err
		}
	}
}

// Sweep implements ingest.Source: it hands over all that is stored.
func (in *Inbox) Sweep(ctx context.Context, to ingest.Acceptor) error {
	for {
		s, ok := in.undone()
		if !ok {
			var err error
			if s, ok, err = in.journal.TryTake(ctx); err != nil || !ok {
				return err
			}
			in.note(s)
		}
		if err := in.hand(ctx, to, s); err != nil {
			return err
		}
	}
}

// room waits until another bundle may be under way.
func (in *Inbox) room(ctx context.Context) error {
	for {
		in.mu.Lock()
		free, freed := len(in.underway) < in.most, in.freed
		in.mu.Unlock()
		if free {
			return ctx.Err()
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// take is the next segment: one that was taken before and not accepted, or the
// journal's next.
func (in *Inbox) take(ctx context.Context) (journal.Segment, error) {
	if s, ok := in.undone(); ok {
		return s, nil
	}
	in.mu.Lock()
	wait, enough := in.wait, in.enough
	in.mu.Unlock()
	if wait > 0 {
		if err := in.journal.Gather(ctx, wait, enough); err != nil {
			return journal.Segment{}, err
		}
	}
	s, err := in.journal.Take(ctx)
	if err == nil {
		in.note(s)
	}
	return s, err
}

func (in *Inbox) note(s journal.Segment) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.pending = append(in.pending, s)
}

func (in *Inbox) undone() (journal.Segment, bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.pending) == 0 {
		return journal.Segment{}, false
	}
	return in.pending[0], true
}

// hand has a segment accepted.
func (in *Inbox) hand(ctx context.Context, to ingest.Acceptor, s journal.Segment) error {
	f, err := found(s)
	if err != nil {
		return err
	}
	in.mu.Lock()
	f.Name = in.name
	// Before it is accepted: it may have ended when Accept returns.
	in.underway[s.Number] = true
	in.mu.Unlock()
	if _, err := to.Accept(ctx, []ingest.Found{f}); err != nil {
		in.Leave(s.Number)
		return fmt.Errorf("hand events over: %w", err)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.pending = in.pending[1:]
	return nil
}

// found is a segment as an arrival.
func found(s journal.Segment) (ingest.Found, error) {
	st, err := os.Lstat(s.Path)
	if err == nil && st.Size() > s.Size {
		// What a failed write left behind the last good event: nobody was told of it.
		if err = os.Truncate(s.Path, s.Size); err == nil {
			st, err = os.Lstat(s.Path)
		}
	}
	if err != nil {
		return ingest.Found{}, fmt.Errorf("hand events over: %w", err)
	}
	f := ingest.Found{
		ID: s.Number, Source: ingest.SourceWebhook, Origin: s.Path, Path: s.Path, Size: s.Size, ModTime: st.ModTime(), FoundAt: time.Now(),
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		f.Device, f.Inode = sys.Dev, sys.Ino
	}
	return f, nil
}

// Leave says that a bundle is not under way any more, or waits for a person:
// others need not wait for it.
func (in *Inbox) Leave(number int64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.underway[number] {
		delete(in.underway, number)
		in.wake()
	}
}

// Dispose implements ingest.Source: events stay until they are pruned.
func (*Inbox) Dispose(context.Context, *ingest.Arrival) (ingest.Disposition, error) {
	return ingest.Disposition{Action: "keep"}, nil
}

// PutAway implements ingest.Source.
func (in *Inbox) PutAway(_ context.Context, a *ingest.Arrival) error {
	in.journal.Release(a.ID)
	in.Leave(a.ID)
	return nil
}

// Find reads one event of a segment: what is known of it, and its body.
// ingest.ErrPruned where the segment is gone.
func Find(path string, index int) (*ingest.Span, []byte, error) {
	var out *ingest.Span
	var body []byte
	err := Walk(path, func(s *ingest.Span, b []byte) bool {
		if s.Index == index {
			out, body = s, b
		}
		return out == nil
	})
	if err == nil && out == nil {
		err = ingest.ErrNotFound
	}
	return out, body, err
}

// Walk reads the events of a segment until each returns false: what is known
// of them beside their records. body is valid during the call.
func Walk(path string, each func(s *ingest.Span, body []byte) bool) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ingest.ErrPruned
	}
	if err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	defer f.Close()
	return walk(f, path, each)
}
