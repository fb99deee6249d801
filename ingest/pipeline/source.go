package pipeline

import (
	"context"
	"errors"
	"time"
)

// notice runs the source, again after it failed, until ctx ends. A Once run
// sweeps it one time.
func (e *Engine) notice(ctx context.Context) {
	if e.o.Once {
		err := e.sweep(ctx)
		e.mu.Lock()
		e.swept = true
		if err != nil {
			e.source = err
		}
		e.wake()
		e.mu.Unlock()
		if err != nil && ctx.Err() == nil {
			e.log.Error("the source cannot be read", "error", err)
			e.o.Observer.SourceError(e.o.Pipeline, err)
		}
		return
	}
	if e.o.Source == nil {
		return
	}
	wait := time.Second
	for {
		sctx, stop := e.unpaused(ctx)
		if sctx == nil {
			return
		}
		begun := time.Now()
		err := e.o.Source.Run(sctx, e)
		paused := sctx.Err() != nil
		stop()
		if ctx.Err() != nil {
			return
		}
		if paused {
			continue
		}
		if err == nil {
			err = errors.New("it stopped by itself")
		}
		if time.Since(begun) > time.Minute {
			wait = time.Second
		}
		if e.sourceFailed(err) {
			e.log.Error("the source cannot be read; it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, time.Minute)
	}
}

// sourceFailed notes why the source cannot work; true where that is news.
func (e *Engine) sourceFailed(err error) bool {
	e.o.Observer.SourceError(e.o.Pipeline, err)
	e.mu.Lock()
	defer e.mu.Unlock()
	news := e.source == nil || e.source.Error() != err.Error()
	if e.source == nil {
		e.sourceSince = time.Now()
	}
	e.source = err
	return news
}

// SourceState is told by the source whether it can do its work.
func (e *Engine) SourceState(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if (err == nil) != (e.source == nil) {
		e.sourceSince = time.Now()
	}
	e.source = err
	e.o.Observer.SourceError(e.o.Pipeline, err)
}

// Pause stops the source; what was taken up goes on. Resume starts it again.
func (e *Engine) Pause(reason string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.paused == "" && e.stopSource != nil {
		e.stopSource()
	}
	e.paused = reason
	e.wake()
}

// Resume ends a Pause.
func (e *Engine) Resume() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.paused = ""
	e.wake()
}

// unpaused waits until the source may run, and returns the context that a Pause
// ends; nil where ctx ended first.
func (e *Engine) unpaused(ctx context.Context) (context.Context, context.CancelFunc) {
	for {
		e.mu.Lock()
		if e.paused == "" && ctx.Err() == nil {
			defer e.mu.Unlock()
			sctx, stop := context.WithCancel(ctx)
			e.stopSource = stop
			return sctx, stop
		}
		changed := e.changed
		e.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, nil
		}
	}
}

func (e *Engine) sweep(ctx context.Context) error {
	if len(e.o.Files) > 0 {
		_, err := e.Accept(ctx, e.o.Files)
		return err
	}
	if e.o.Source == nil {
		return nil
	}
	return e.o.Source.Sweep(ctx, e)
}
