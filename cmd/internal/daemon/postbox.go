package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/bundle"
	"ingestd/ingest/journal"
	"ingestd/ingest/source/webhook"
)

// eventsDir is where journals are, below the state directory.
const eventsDir = "events"

// reserved is how many arrival numbers are reserved at a time: few, since numbers
// are what listings are ordered by.
const reserved = 16

// A numbering gives arrival numbers before there is an arrival.
type numbering struct {
	events ingest.Events

	mu         sync.Mutex
	next, left int64
}

func (n *numbering) take(ctx context.Context) (int64, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.left == 0 {
		first, err := n.events.ReserveArrivals(ctx, reserved)
		if err != nil {
			return 0, err
		}
		n.next, n.left = first, reserved
	}
	n.next++
	n.left--
	return n.next - 1, nil
}

// A postbox is what a pipeline received and has not delivered. It stays when
// the config is read again.
type postbox struct {
	d       *Daemon
	name    string
	journal *journal.Journal
	inbox   *bundle.Inbox
	hook    *webhook.Hook // the newest; who routes has it alone

	mu      sync.Mutex
	waiting map[int64]map[chan ingest.Reply]bool // senders, by arrival
}

// postbox opens a pipeline's, once.
func (d *Daemon) postbox(ctx context.Context, name string, most int64) (*postbox, error) {
	d.postMu.Lock()
	defer d.postMu.Unlock()
	if b := d.postboxes[name]; b != nil {
		b.journal.Bound(most)
		return b, nil
	}
	var failed error
	j, err := journal.Open(journal.Options{
		Dir: d.eventsOf(name), Reserve: d.numbers.take, MaxWaiting: most,
	}, func(number int64) bool {
		_, err := d.ledger.Find(ctx, number)
		if err != nil && !errors.Is(err, ingest.ErrNotFound) {
			failed = errors.Join(failed, err)
		}
		return err == nil
	})
	if err != nil {
		return nil, err
	}
	if failed != nil {
		return nil, errors.Join(failed, j.Close())
	}
	b := &postbox{
		d: d, name: name, journal: j, waiting: map[int64]map[chan ingest.Reply]bool{},
		inbox: bundle.NewInbox(bundle.Options{Journal: j, Name: name, Logger: d.log}),
	}
	if d.postboxes == nil {
		d.postboxes = map[string]*postbox{}
	}
	d.postboxes[name] = b
	return b, nil
}

// gathering is how a line's events become bundles: they wait for others as long
// as the sink that asks for the longest says.
func (l *line) gathering() bundle.Settings {
	w := &l.cfg.Source.Webhook
	s := bundle.Settings{Name: w.Title(l.cfg), Alone: w.Mode == "sync"}
	for _, name := range l.cfg.Sinks {
		if k := l.conf.Sink(name); k != nil && k.Batch.MaxWait > s.Wait {
			s.Wait, s.Enough = k.Batch.MaxWait, k.Batch.MaxRecords
		}
	}
	return s
}

// boxes are those that were opened.
func (d *Daemon) boxes() map[string]*postbox {
	d.postMu.Lock()
	defer d.postMu.Unlock()
	out := make(map[string]*postbox, len(d.postboxes))
	for name, b := range d.postboxes {
		out[name] = b
	}
	return out
}

func (d *Daemon) eventsOf(pipeline string) string {
	return filepath.Join(d.o.Config.StateDir, eventsDir, pipeline)
}

// closePostboxes closes the journals: nobody receives any more.
func (d *Daemon) closePostboxes(context.Context) error {
	var errs []error
	for _, b := range d.boxes() {
		errs = append(errs, b.journal.Close())
	}
	return errors.Join(errs...)
}

// Append implements webhook.Store.
func (b *postbox) Append(ctx context.Context, events []webhook.Stored) (ingest.Ref, error) {
	if low := b.d.lowDisk(); low != "" {
		return ingest.Ref{}, errors.New("the disk is nearly full: " + low)
	}
	var first journal.Ref
	var err error
	if len(events) == 1 && events[0].Alone {
		first, err = b.journal.AppendAlone(ctx, journal.Event{Head: events[0].Head, Body: events[0].Body})
	} else {
		list := make([]journal.Event, len(events))
		for i := range events {
			list[i] = journal.Event{Head: events[i].Head, Body: events[i].Body}
		}
		var refs []journal.Ref
		if refs, err = b.journal.Append(ctx, list...); err == nil {
			first = refs[0]
		}
	}
	if errors.Is(err, journal.ErrFull) {
		err = webhook.ErrFull
	}
	return ingest.Ref{Arrival: first.Segment, Event: first.Index}, err
}

// Died implements webhook.Store.
func (b *postbox) Died(ctx context.Context, r ingest.Ref) (bool, error) {
	return b.d.ledger.EventDied(ctx, r)
}

// Await implements webhook.Desk.
func (b *postbox) Await(ctx context.Context, r ingest.Ref) (ingest.Reply, bool, error) {
	heard := make(chan ingest.Reply, 1)
	b.mu.Lock()
	if b.waiting[r.Arrival] == nil {
		b.waiting[r.Arrival] = map[chan ingest.Reply]bool{}
	}
	b.waiting[r.Arrival][heard] = true
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if delete(b.waiting[r.Arrival], heard); len(b.waiting[r.Arrival]) == 0 {
			delete(b.waiting, r.Arrival)
		}
	}()
	// A repeat may come when all is over.
	reply, err := b.d.ledger.Reply(ctx, r)
	if err != nil && ctx.Err() == nil {
		return ingest.Reply{}, false, err
	}
	if reply != nil {
		return *reply, true, nil
	}
	select {
	case reply := <-heard:
		return reply, true, nil
	case <-ctx.Done():
		return ingest.Reply{}, false, nil
	}
}

// Ask implements webhook.Desk.
func (b *postbox) Ask(ctx context.Context, _, suffix, query string, header http.Header) (ingest.Reply, error) {
	l := b.d.current().line(b.name)
	if l == nil {
		return ingest.Reply{}, errors.New("the config has no such pipeline any more")
	}
	o := l.responder()
	if o == nil || o.ask == nil {
		return ingest.Reply{}, errors.New("the sink that responds cannot be asked")
	}
	r, err := o.ask(ctx, l.cfg.Name, suffix, query, header)
	if err != nil {
		return ingest.Reply{}, err
	}
	return *r, nil
}

// settled tells senders what the target answered.
func (b *postbox) settled(arrival int64, r *ingest.Reply) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for heard := range b.waiting[arrival] {
		select {
		case heard <- *r:
		default: // it was told
		}
	}
}

// ended makes an answer of the end of an event that no target answered to: it
// could not be read, or nothing of it was to be sent.
func (b *postbox) ended(a *ingest.Arrival) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ref := ingest.Ref{Arrival: a.ID, Event: 1}
	have, err := b.d.ledger.Reply(ctx, ref)
	if err == nil && have == nil {
		have = b.verdict(ctx, a, ref)
		err = b.d.ledger.StoreReply(ctx, ref, have)
	}
	if err != nil {
		b.d.log.Warn("the answer to a sender that waits could not be stored", "arrival", ref.String(), "error", err)
	}
	if have != nil {
		b.settled(a.ID, have)
	}
}

func (b *postbox) verdict(ctx context.Context, a *ingest.Arrival, ref ingest.Ref) *ingest.Reply {
	r := &ingest.Reply{Status: http.StatusOK, ContentType: "application/json"}
	said := map[string]string{"arrival": ref.String()}
	if a.Counts.Dead > 0 || a.State == ingest.Failed {
		r.Status = http.StatusUnprocessableEntity
		said = map[string]string{"error": a.Error}
		for l, err := range b.d.ledger.Letters(ctx, ingest.LetterFilter{Arrival: a.ID, Limit: 1}) {
			if err != nil {
				break
			}
			if said["error"] = l.Reason; l.Stage == ingest.StageDeliver {
				r.Status = http.StatusBadGateway
			}
		}
	}
	r.Body, _ = json.Marshal(said) // of texts: it never fails
	return r
}

// restoreBytes bounds the events that are looked at when a hook is made.
const restoreBytes = 1 << 30

// restore tells a hook of the events of a while ago, so that it knows repeats.
func (b *postbox) restore(h *webhook.Hook, window time.Duration) error {
	dir := b.d.eventsOf(b.name)
	numbers, err := journal.Segments(dir)
	if err != nil {
		return err
	}
	now := time.Now()
	// The newest that can be read in seconds: a hook remembers no more of them.
	from, size := len(numbers), int64(0)
	for ; from > 0 && size < restoreBytes; from-- {
		st, err := os.Stat(journal.Path(dir, numbers[from-1]))
		if err == nil && now.Sub(st.ModTime()) > window {
			break
		}
		if err == nil {
			size += st.Size()
		}
	}
	for _, n := range numbers[from:] {
		path := journal.Path(dir, n)
		err := bundle.Walk(path, func(s *ingest.Span, _ []byte) bool {
			h.Restore(s.Event, ingest.Ref{Arrival: n, Event: s.Index}, now)
			return true
		})
		if err != nil && !errors.Is(err, ingest.ErrPruned) {
			b.d.log.Warn("repeats of some events may be taken for new", "pipeline", b.name, "error", err)
		}
	}
	return nil
}

// pruneReplies forgets answers that are too old to be asked for.
func (d *Daemon) pruneReplies(ctx context.Context, now time.Time) error {
	_, err := d.ledger.PruneReplies(ctx, now.Add(-replyKeep))
	return err
}

// pruneEvents removes segments that ended before a time.
func (d *Daemon) pruneEvents(ctx context.Context, before time.Time) (gone int64, err error) {
	dirs, err := os.ReadDir(filepath.Join(d.o.Config.StateDir, eventsDir))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("prune events: %w", err)
	}
	for _, e := range dirs {
		dir := d.eventsOf(e.Name())
		numbers, err := journal.Segments(dir)
		if err != nil {
			return gone, fmt.Errorf("prune events: %w", err)
		}
		for _, n := range numbers {
			path := journal.Path(dir, n)
			st, err := os.Stat(path)
			if err != nil || st.ModTime().After(before) {
				continue
			}
			a, err := d.ledger.Find(ctx, n)
			if errors.Is(err, ingest.ErrNotFound) {
				continue // it waits to be taken up
			}
			if err != nil {
				return gone, fmt.Errorf("prune events: %w", err)
			}
			if !a.State.Ended() || !a.PutAway || a.FinishedAt.After(before) {
				continue
			}
			if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
				return gone, fmt.Errorf("prune events: %w", err)
			}
			gone++
		}
	}
	return gone, nil
}
