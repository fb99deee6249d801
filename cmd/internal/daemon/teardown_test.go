package daemon

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestTeardowns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []string
		var ts teardowns
		ts.add("first", time.Second, func(context.Context) error {
			order = append(order, "first")
			return nil
		})
		ts.add("stuck", time.Second, func(ctx context.Context) error {
			order = append(order, "stuck")
			<-ctx.Done()
			return ctx.Err()
		})
		failed := errors.New("broken")
		ts.add("last", time.Second, func(context.Context) error {
			order = append(order, "last")
			return failed
		})
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // they run all the same
		err := ts.drain(ctx)
		if want := []string{"last", "stuck", "first"}; !slices.Equal(order, want) {
			t.Errorf("order %v", order)
		}
		if !errors.Is(err, failed) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("errors: %v", err)
		}
		if ts.drain(ctx) != nil || len(order) != 3 {
			t.Error("done twice")
		}
	})
}
