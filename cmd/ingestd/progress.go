package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// steps is how far long work is.
type steps struct {
	Bytes, Total int64 // read, of
	Records      int64
}

// progressEvery is how often a line is logged where no terminal looks on.
const progressEvery = 10 * time.Second

// watch shows how far work is until stop is called: a bar on a terminal, a log
// line every ten seconds otherwise.
func (a *app) watch(ctx context.Context, log *slog.Logger, what string, look func() steps) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() {
		if a.errTerminal {
			a.bar(ctx, what, look)
		} else {
			logSteps(ctx, log, what, look)
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

func (a *app) bar(ctx context.Context, what string, look func() steps) {
	start := time.Now()
	p := mpb.New(mpb.WithOutput(a.err), mpb.WithRefreshRate(200*time.Millisecond))
	bar := p.AddBar(0,
		mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(what+" "), decor.CountersKibiByte("% .1f / % .1f")),
		mpb.AppendDecorators(
			decor.Any(func(decor.Statistics) string {
				s := look()
				return fmt.Sprintf(" %s, %s/s, ", some(s.Records, "record"), thousands(perSecond(s.Records, time.Since(start))))
			}),
			decor.Any(func(decor.Statistics) string {
				left, ok := look().left(time.Since(start))
				if !ok {
					return "–"
				}
				return left.String() + " left"
			}),
		),
	)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		s := look()
		bar.SetTotal(max(s.Total, s.Bytes+1), false)
		bar.SetCurrent(s.Bytes)
		select {
		case <-tick.C:
		case <-ctx.Done():
			bar.Abort(true)
			p.Wait()
			return
		}
	}
}

func logSteps(ctx context.Context, log *slog.Logger, what string, look func() steps) {
	start := time.Now()
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s, took := look(), time.Since(start)
			attrs := []any{"bytes", s.Bytes, "of", s.Total, "records", s.Records, "records_per_second", perSecond(s.Records, took)}
			if left, ok := s.left(took); ok {
				attrs = append(attrs, "left", left.String())
			}
			log.Info(what, attrs...)
		}
	}
}

func perSecond(n int64, took time.Duration) int64 {
	if took < time.Millisecond {
		return 0
	}
	return int64(float64(n) / took.Seconds())
}

// left guesses the time that the rest takes at the pace so far.
func (s steps) left(took time.Duration) (time.Duration, bool) {
	if s.Bytes <= 0 || s.Total <= s.Bytes {
		return 0, false
	}
	d := time.Duration(float64(took) * float64(s.Total-s.Bytes) / float64(s.Bytes))
	return d.Round(time.Second), true
}
