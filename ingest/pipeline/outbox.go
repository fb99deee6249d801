package pipeline

import (
	"context"
	"fmt"

	"ingestd/ingest"
)

// store writes a load's bytes to the outbox, unless they are there.
func (e *Engine) store(l *load) error {
	if l.stored {
		return nil
	}
	if err := e.o.Outbox.Put(l.ID, l.env); err != nil {
		return err
	}
	e.mu.Lock()
	e.stored[l.ID] = true
	e.mu.Unlock()
	l.stored = true
	return nil
}

// shed gives back the memory of a load.
func (e *Engine) shed(l *load) {
	e.o.Pool.give(e.o.Pipeline, l.held)
	l.held = 0
	l.release()
}

// pack stores a load's bytes in the outbox and gives its memory back.
func (e *Engine) pack(l *load) error {
	if l.env == nil {
		return nil
	}
	if err := e.store(l); err != nil {
		return err
	}
	e.shed(l)
	return nil
}

// unpack gets a load's bytes back where they are in the outbox alone.
func (e *Engine) unpack(l *load) error {
	if l.env != nil {
		return nil
	}
	env, err := e.o.Outbox.Get(l.ID)
	if err != nil {
		return err
	}
	if hash := sum(env.Body); hash != l.BodyHash {
		return fmt.Errorf("batch %d in the outbox: %w", l.ID, ingest.ErrBodyChanged)
	}
	l.env = env
	return nil
}

// discard removes a settled load's bytes from the outbox.
func (e *Engine) discard(l *load) {
	if l.stored {
		e.remove(l.ID)
	}
	e.disown(l)
}

// disown gives up a load's share in the batch that it was cut from.
func (e *Engine) disown(l *load) {
	if o := l.origin; o != nil && o.refs.Add(-1) == 0 {
		e.remove(o.batch)
	}
}

func (e *Engine) remove(batch int64) {
	e.mu.Lock()
	delete(e.stored, batch)
	e.mu.Unlock()
	if err := e.o.Outbox.Remove(batch); err != nil {
		e.log.Warn("a settled batch stays in the outbox", "error", err)
	}
}

func (e *Engine) isStored(batch int64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stored[batch]
}

// place gives a load its place, where its sink has places.
func (e *Engine) place(ctx context.Context, l *load) error {
	p, ok := e.queue(l.Sink).o.Sink.(ingest.Placer)
	if !ok {
		return nil
	}
	path, at, err := p.Place(ctx, l.request(e.o.Pipeline), int64(len(l.env.Body)))
	if err != nil {
		return fmt.Errorf("place a batch for sink %s: %w", l.Sink, err)
	}
	l.PlacePath, l.Place, l.PlaceEnd = path, at, at+int64(len(l.env.Body))
	return nil
}
