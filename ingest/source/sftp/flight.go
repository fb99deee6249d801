package sftp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/source"
)

// A flight is a file that is being fetched, or was.
type flight struct {
	fetch
	begun time.Time
	begin int64 // bytes that were there before
	dial  bool  // err is that no connection was to be had
	err   error
	over  bool
}

// fill begins to fetch what is ripe, as much at once as is allowed.
func (p *pass) fill(ctx context.Context) error {
	under, held := 0, 0
	flying := make(map[string]bool, len(p.flights))
	for _, f := range p.flights {
		flying[f.e.Name] = true
		if f.over {
			held++
		} else {
			under++
		}
	}
	if len(p.queue) == 0 {
		p.queue = p.tracker.Ripe()
	}
	for under < p.s.o.Concurrency && held < mostHeld && len(p.queue) > 0 {
		e := p.queue[0]
		p.queue = p.queue[1:]
		if flying[e.Name] {
			continue
		}
		known, err := p.to.Known(ctx, p.s.origin(p.s.remote(e.Name)), e.Size, e.ModTime)
		if err != nil {
			return &engineError{fmt.Errorf("ask whether %q was taken up before: %w", e.Name, err)}
		}
		if known {
			p.tracker.Taken(e)
			continue
		}
		p.begin(e)
		under++
	}
	if len(p.queue) == 0 && len(p.flights) == 0 && p.tracker.More() && p.gained > 0 {
		p.relist, p.gained = true, 0
	}
	return nil
}

// begin begins to fetch a file.
func (p *pass) begin(e source.Entry) {
	f := &flight{fetch: fetch{s: p.s, e: e, part: p.s.partials.take(&e)}, begun: time.Now()}
	if f.part != nil {
		f.begin = f.part.through
	}
	p.flights = append(p.flights, f)
	go func() {
		f.err = p.s.pool.using(p.ctx, func(c *conn) error {
			f.c = c
			return f.run(p.ctx)
		})
		f.dial = f.c == nil
		p.landed <- f
	}()
}

// land looks at the fetches that ended, and returns why the connection broke
// where it did.
func (p *pass) land() (broken error) {
	for {
		select {
		case f := <-p.landed:
			f.over = true
			continue
		default:
		}
		break
	}
	kept := p.flights[:0]
	for _, f := range p.flights {
		if !f.over || f.err == nil {
			kept = append(kept, f)
			continue
		}
		if err := p.failed(f); err != nil {
			broken = err
		}
		if f.err == nil { // it is handed over after all
			kept = append(kept, f)
		}
	}
	clear(p.flights[len(kept):])
	p.flights = kept
	if broken != nil {
		p.relist = true
	}
	return broken
}

// failed decides what becomes of a file that was not fetched. It returns an
// error where the connection is to blame.
func (p *pass) failed(f *flight) error {
	var (
		changed *changedError
		size    *sizeError
		doubt   *doubtError
		local   *localError
		name    = f.e.Name
	)
	got := f.begin
	if f.part != nil {
		got = f.part.through
	}
	if errors.As(f.err, &doubt) && p.ctx.Err() == nil && p.doubted(f, doubt) {
		return nil
	}
	connection := lost(f.err)
	if connection && p.ctx.Err() == nil {
		p.s.partials.keep(f.part)
	} else if f.part != nil {
		f.part.w.Abort()
	}
	f.part = nil
	switch {
	case p.ctx.Err() != nil:
	case connection:
		if p.losses[name]++; got > f.begin || f.dial {
			p.gained++
			delete(p.losses, name)
		}
		if p.losses[name] >= poison {
			delete(p.losses, name)
			p.tracker.Refuse(name, source.Unreadable, fmt.Errorf("the connection breaks whenever it is read: %w", f.err))
		}
		return fmt.Errorf("fetch files from %s: %w", p.s.place(), f.err)
	case errors.Is(f.err, errGone):
		p.tracker.Gone(name)
	case errors.As(f.err, &changed):
		p.tracker.Again(changed.now)
	case errors.As(f.err, &doubt): // the tracker knows
	case errors.As(f.err, &size):
		p.tracker.Refuse(name, source.Unreadable, f.err)
	case errors.As(f.err, &local):
		p.tracker.Refuse(name, source.NoRoom, f.err)
	default:
		p.tracker.Refuse(name, source.Unreadable, fmt.Errorf("the server refuses to let it be read: %w", f.err))
	}
	return nil
}

// handOver hands over what was fetched, in order: what is done waits for what
// is before it, but not for ever.
func (p *pass) handOver(ctx context.Context) error {
	var (
		found []ingest.Found
		which []*flight
		stays []*flight
		held  bool
	)
	for _, f := range p.flights {
		switch {
		case !f.over:
			held = held || time.Since(f.begun) < holdBack
			stays = append(stays, f)
		case held:
			stays = append(stays, f)
		default:
			found = append(found, *f.found)
			which = append(which, f)
		}
	}
	if len(found) == 0 {
		return nil
	}
	p.flights = stays
	if _, err := p.to.Accept(ctx, found); err != nil {
		// It may have been stored all the same: the next start looks.
		for i := range found {
			p.s.orphans = append(p.s.orphans, found[i].Path)
		}
		return &engineError{fmt.Errorf("hand over what was found in %s: %w", p.s.place(), err)}
	}
	for _, f := range which {
		p.tracker.Taken(f.e)
		delete(p.losses, f.e.Name)
		p.gained++
	}
	p.s.pool.worked()
	return nil
}
