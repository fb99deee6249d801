package dir

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/source"
)

const (
	// gather is how long hints are gathered where files have to settle anyway.
	gather = 50 * time.Millisecond
	// A folder that does not work is tried again after firstRetry, then with
	// doubled pauses up to lastRetry.
	firstRetry = 250 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// errReplaced: another directory has taken the folder's place.
var errReplaced = errors.New("another directory is in the folder's place")

// A refusal is an error of the Acceptor: not the folder's.
type refusal struct{ err error }

func (e *refusal) Error() string { return e.err.Error() }
func (e *refusal) Unwrap() error { return e.err }

// Run hands over what is found until ctx ends, and then returns nil. What is
// wrong with the folder goes to OnState and is tried again here; an error of
// the Acceptor is returned.
func (s *Source) Run(ctx context.Context, to ingest.Acceptor) error {
	p, err := s.begin(to)
	if err != nil {
		return err
	}
	defer s.running.Unlock()
	for wait := firstRetry; ; {
		worked, err := p.follow(ctx)
		var ref *refusal
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &ref):
			return err
		case errors.Is(err, errReplaced):
			s.log.Info("folder was replaced; starting over", "pipeline", s.o.Pipeline, "path", s.path)
			if !worked {
				sleep(ctx, wait, nil)
			}
			continue
		case worked:
			wait = firstRetry
		}
		s.state(err)
		if sleep(ctx, wait, nil); ctx.Err() != nil {
			return nil
		}
		wait = min(2*wait, lastRetry)
	}
}

// Sweep hands over what is there now and returns. Files that are there and
// have not settled are waited for, but no longer than a minute or ten times
// settle past it; what then still changes is told to OnProblem.
func (s *Source) Sweep(ctx context.Context, to ingest.Acceptor) error {
	p, err := s.begin(to)
	if err != nil {
		return err
	}
	defer s.running.Unlock()
	err = p.sweep(ctx)
	var ref *refusal
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case !errors.As(err, &ref):
		s.state(err)
	}
	return err
}

// A pass is one Run or Sweep.
type pass struct {
	s       *Source
	to      ingest.Acceptor
	tracker *source.Tracker
	folder  *folder
	lister  *lister
}

func (s *Source) begin(to ingest.Acceptor) (*pass, error) {
	if !s.running.TryLock() {
		return nil, fmt.Errorf("watch %q: it is being watched already", s.path)
	}
	t, err := source.NewTracker(s.rules, s.problem)
	if err != nil {
		s.running.Unlock()
		return nil, err
	}
	s.told = false
	return &pass{s: s, to: to, tracker: t}, nil
}

// attach looks at the folder and takes over what an earlier process left.
func (p *pass) attach(ctx context.Context) error {
	f, err := attach(p.s.path, p.folder)
	if err != nil {
		return err
	}
	p.folder = f
	p.lister = &lister{s: p.s, f: f, filter: p.tracker.Filter()}
	return p.adopt(ctx)
}

// follow watches the folder until it fails or ctx ends. worked: it was listed
// at least once.
func (p *pass) follow(ctx context.Context) (worked bool, err error) {
	if err := p.attach(ctx); err != nil {
		return false, err
	}
	w := p.s.notify(p.folder)
	defer w.close()
	p.s.hear(w)
	defer p.s.hear(nil)
	p.lister.enter = w.add
	var took time.Duration // the last listing
	for list, next := true, time.Now(); ; {
		if list {
			start := time.Now()
			if err := p.tracker.Scan(ctx, p.lister); err != nil {
				return worked, err
			}
			worked = true
			next, took = time.Now().Add(p.s.o.Rescan), time.Since(start)
		}
		n, err := p.look(ctx)
		if err != nil {
			return worked, err
		}
		p.s.state(nil)
		if list = n > 0 && p.tracker.More(); list {
			continue
		}
		wait := time.Until(next)
		if d, ok := p.tracker.Next(); ok {
			wait = min(wait, d)
		}
		sleep(ctx, wait, w.wake)
		if ctx.Err() != nil {
			return worked, ctx.Err()
		}
		if list, err = p.heed(ctx, w); err != nil {
			return worked, err
		}
		if list && took > gather {
			sleep(ctx, took, nil) // a flood of hints leaves half the time for files
		}
		list = list || !time.Now().Before(next)
	}
}

// look looks again at what was to settle by now and takes up what is ripe.
func (p *pass) look(ctx context.Context) (took int, err error) {
	for _, name := range p.tracker.Due() {
		if err := p.lister.look(ctx, name, p.tracker); err != nil {
			return 0, err
		}
	}
	for batch := range slices.Chunk(p.tracker.Ripe(), perAccept) {
		if err := ctx.Err(); err != nil {
			return took, err
		}
		n, err := p.take(ctx, batch)
		took += n
		if err != nil {
			return took, err
		}
	}
	return took, nil
}

// heed looks at what was hinted at. all: the folder is to be listed.
func (p *pass) heed(ctx context.Context, w *watch) (all bool, err error) {
	if p.s.rules.Settle >= gather && w.hinted() {
		sleep(ctx, gather, nil)
	}
	names, all, lost := w.take()
	if lost != nil {
		p.s.polls("notifications do not work: " + lost.Error())
	}
	if all {
		return true, nil
	}
	for name := range names {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if err := p.lister.look(ctx, name, p.tracker); err != nil {
			return false, err
		}
	}
	return false, nil
}

// notify starts notifications; where there are none, which is logged once, only
// Hint is heard.
func (s *Source) notify(f *folder) *watch {
	if s.o.Poll {
		return newQuietWatch()
	}
	if f.volume.Network {
		s.polls("it is on a network filesystem")
		return newQuietWatch()
	}
	w, err := newWatch(s.path)
	if err != nil {
		s.polls("notifications cannot be had: " + err.Error())
		return newQuietWatch()
	}
	return w
}

// polls says once that and why files are found by listing only.
func (s *Source) polls(why string) {
	if s.polling == why {
		return
	}
	s.polling = why
	s.log.Warn("folder is polled", "pipeline", s.o.Pipeline, "path", s.path, "why", why, "rescan", s.o.Rescan.String())
}

func (p *pass) sweep(ctx context.Context) error {
	if err := p.attach(ctx); err != nil {
		return err
	}
	if err := p.tracker.Scan(ctx, p.lister); err != nil {
		return err
	}
	for deadline := time.Now().Add(p.tracker.Patience()); ; {
		took, err := p.look(ctx)
		if err != nil {
			return err
		}
		if took > 0 && p.tracker.More() {
			if err := p.tracker.Scan(ctx, p.lister); err != nil {
				return err
			}
			continue
		}
		left := time.Until(deadline)
		if !p.tracker.Pending() || left <= 0 {
			break
		}
		wait, _ := p.tracker.Next()
		if sleep(ctx, min(wait, left), nil); ctx.Err() != nil {
			return ctx.Err()
		}
	}
	p.tracker.Leave()
	return nil
}

// sleep waits for d, for wake, or for ctx to end.
func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) {
	t := time.NewTimer(max(d, 0))
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-wake:
	case <-t.C:
	}
}
