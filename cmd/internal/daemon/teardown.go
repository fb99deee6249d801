package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// teardowns is a stack of what has to be undone. Each is added right after what
// it undoes was set up; they are drained last in, first out, each within its
// own time, and a failure of one keeps none of the others from running.
type teardowns struct {
	steps []teardown
}

type teardown struct {
	name   string
	within time.Duration
	do     func(context.Context) error
}

func (t *teardowns) add(name string, within time.Duration, do func(context.Context) error) {
	t.steps = append(t.steps, teardown{name, within, do})
}

// drain undoes everything, also where ctx has ended.
func (t *teardowns) drain(ctx context.Context) error {
	var errs []error
	for _, s := range slices.Backward(t.steps) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.within)
		if err := s.do(ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.name, err))
		}
		cancel()
	}
	t.steps = nil
	return errors.Join(errs...)
}
