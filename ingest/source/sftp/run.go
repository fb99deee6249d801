package sftp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/source"
)

const (
	// holdBack is how long a file that was fetched waits for those before it in
	// order that are still on their way.
	holdBack = time.Minute
	// mostHeld bounds the files that wait so.
	mostHeld = 64
	// fewLooks: more names than that are looked at by listing the folder.
	fewLooks = 16
	// sweepTries is how often in a row a sweep may lose its connection.
	sweepTries = 4
	// poison is how often in a row a connection may break at one file, with
	// nothing gained, until the others go first.
	poison = 3
)

// An engineError is an error of the Acceptor: not the server's.
type engineError struct{ err error }

func (e *engineError) Error() string { return e.err.Error() }
func (e *engineError) Unwrap() error { return e.err }

// Run hands over what is found until ctx ends, and then returns nil. What is
// wrong with the server goes to OnState and is tried again here; an error of the
// Acceptor is returned.
func (s *Source) Run(ctx context.Context, to ingest.Acceptor) error {
	p, err := s.begin(ctx, to)
	if err != nil {
		return err
	}
	defer p.end()
	p.next = s.firstListing(time.Now())
	for {
		err := p.step(ctx)
		var ee *engineError
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &ee):
			return err
		case err != nil:
			s.state(err)
		}
		p.rest(ctx, s.wake)
		if ctx.Err() != nil {
			return nil
		}
	}
}

// Sweep hands over what is there now and returns. Files that have not settled
// are waited for, but no longer than a minute or ten times settle past it.
func (s *Source) Sweep(ctx context.Context, to ingest.Acceptor) error {
	p, err := s.begin(ctx, to)
	if err != nil {
		return err
	}
	defer p.end()
	deadline := time.Now().Add(p.tracker.Patience())
	for fails := 0; ; {
		before := p.gained
		err := p.step(ctx)
		var ee *engineError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &ee):
			return err
		case err != nil:
			s.state(err)
			if fails++; p.gained > before {
				fails = 0
			}
			var login *LoginError
			if fails >= sweepTries || !p.listed || !lost(err) || errors.As(err, &login) {
				return err
			}
			s.pool.forgive()
			sleep(ctx, time.Duration(fails)*time.Second, nil)
			continue
		}
		if p.gained > before {
			fails = 0
		}
		busy := len(p.flights) > 0 || len(p.queue) > 0 || p.relist
		if p.listed && !busy && (!p.tracker.Pending() || time.Now().After(deadline)) {
			p.tracker.Leave()
			return nil
		}
		p.rest(ctx, nil)
	}
}

// A pass is one Run or Sweep.
type pass struct {
	s       *Source
	to      ingest.Acceptor
	ctx     context.Context // of the fetches
	stop    context.CancelCauseFunc
	tracker *source.Tracker

	next   time.Time // of the next listing
	relist bool      // it is due at once
	listed bool      // one came to its end
	fails  int       // listings in a row that were refused
	gained int64     // files and bytes that came through

	queue   []source.Entry // ripe, in order, not begun
	flights []*flight      // begun, in order, not handed over
	landed  chan *flight
	losses  map[string]int // by file: connections that broke at it
}

func (s *Source) begin(ctx context.Context, to ingest.Acceptor) (*pass, error) {
	if !s.running.TryLock() {
		return nil, fmt.Errorf("watch %s: it is being watched already", s.place())
	}
	p := &pass{s: s, to: to, losses: map[string]int{}, landed: make(chan *flight, s.o.Concurrency)}
	var err error
	if p.tracker, err = source.NewTracker(s.rules, s.problem); err == nil {
		err = p.dropOrphans(ctx)
	}
	if err != nil {
		s.running.Unlock()
		return nil, err
	}
	s.told = false
	p.ctx, p.stop = context.WithCancelCause(ctx)
	return p, nil
}

// end waits for the fetches that are under way.
func (p *pass) end() {
	p.stop(errClosed)
	for _, f := range p.flights {
		for !f.over {
			(<-p.landed).over = true
		}
		if f.part != nil {
			f.part.w.Abort()
		}
		if f.found != nil { // nobody has heard of it
			if err := p.s.o.Spool.Remove(f.found.Path); err != nil {
				p.s.log.Warn("spool file is left", "error", err)
			}
		}
	}
	p.s.partials.clear()
	p.s.running.Unlock()
}

// dropOrphans removes spool files whose Accept failed, unless it was stored all
// the same.
func (p *pass) dropOrphans(ctx context.Context) error {
	if len(p.s.orphans) == 0 {
		return nil
	}
	owned, err := p.to.Owned(ctx)
	if err != nil {
		return &engineError{fmt.Errorf("ask what is under way from %s: %w", p.s.place(), err)}
	}
	for _, path := range p.s.orphans {
		if owned[path] {
			continue
		}
		if err := p.s.o.Spool.Remove(path); err != nil {
			return err
		}
	}
	p.s.orphans = nil
	return nil
}

// step does all that can be done now without waiting for a file.
func (p *pass) step(ctx context.Context) error {
	first := p.land()
	if err := p.handOver(ctx); err != nil {
		return err
	}
	if first != nil || p.s.pool.wait() > 0 {
		return first
	}
	if p.relist || !time.Now().Before(p.next) {
		if err := p.list(ctx); err != nil {
			return err
		}
	}
	if err := p.look(ctx); err != nil {
		return err
	}
	return p.fill(ctx)
}

// rest waits until something is to be done.
func (p *pass) rest(ctx context.Context, wake <-chan struct{}) {
	wait := time.Until(p.next)
	if p.relist {
		wait = 0
	}
	if d, ok := p.tracker.Next(); ok {
		wait = min(wait, d)
	}
	for _, f := range p.flights {
		if d := holdBack - time.Since(f.begun); !f.over && d > 0 {
			wait = min(wait, d)
			break
		}
	}
	if d := p.s.pool.wait(); d > 0 {
		wait = d
	}
	t := time.NewTimer(max(wait, 0))
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-wake:
		p.relist = true
	case f := <-p.landed:
		f.over = true
	case <-t.C:
	}
}

// list lists the folder.
func (p *pass) list(ctx context.Context) error {
	s := p.s
	var l *lister
	err := s.pool.using(ctx, func(c *conn) error {
		l = s.lister(c, p.tracker.Filter())
		return p.tracker.Scan(ctx, l)
	})
	now := time.Now()
	p.queue = nil
	switch {
	case err != nil && ctx.Err() != nil:
		return err
	case lost(err):
		p.relist = true // as soon as there is a connection again
		return err
	case err != nil: // the server refuses it
		p.fails++
		p.relist = false
		p.next = now.Add(min(5*time.Minute, time.Second<<min(p.fails, 20)))
		return err
	}
	l.tell(s.refused)
	s.refused = l.refused
	s.pool.worked()
	s.stamp()
	s.state(nil)
	p.relist, p.listed, p.fails = false, true, 0
	p.gained++
	p.next = s.following(now)
	for name := range s.partials {
		if !p.tracker.Has(name) {
			s.partials.drop(name)
		}
	}
	return nil
}

// look looks again at what was to settle by now: name by name, or, where there
// are many, or where a look is a read, by another listing.
func (p *pass) look(ctx context.Context) error {
	names := p.tracker.Due()
	if len(names) == 0 {
		return nil
	}
	if len(names) > fewLooks || p.s.o.Mailbox {
		return p.list(ctx)
	}
	err := p.s.pool.using(ctx, func(c *conn) error {
		l := p.s.lister(c, p.tracker.Filter())
		for _, name := range names {
			if err := l.look(ctx, name, p.tracker); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		p.relist = true // for those that were not looked at
	}
	return err
}
