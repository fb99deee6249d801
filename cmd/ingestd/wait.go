package main

import (
	"context"
	"time"

	"ingestd/ingest/admin"
)

// waitEvery is how often the ledger is asked whether something has ended.
const waitEvery = 100 * time.Millisecond

// await waits until an arrival has ended, is held, or stands still because its
// target or pipeline does; its state tells.
func await(ctx context.Context, c *admin.Client, id int64) (*admin.ArrivalDetail, error) {
	for tries := 0; ; tries++ {
		d, err := c.Arrival(ctx, id)
		if err != nil || ended(d.State) {
			return d, err
		}
		if tries%10 == 9 {
			still, err := standsStill(ctx, c, d.Pipeline)
			if err != nil || still {
				return d, err
			}
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(waitEvery):
		}
	}
}

func standsStill(ctx context.Context, c *admin.Client, pipeline string) (bool, error) {
	s, err := c.Status(ctx)
	if err != nil {
		return false, err
	}
	for _, p := range s.Pipelines {
		if p.Name == pipeline {
			return p.Blocked || p.State == "stopped", nil
		}
	}
	return true, nil
}
