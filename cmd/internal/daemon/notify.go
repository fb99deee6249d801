package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
)

// statusEvery is how often systemd's line about us is looked at again.
const statusEvery = 10 * time.Second

// supervisor tells systemd how things are (sd_notify(3), Type=notify). Without
// one every message goes nowhere.
type supervisor struct {
	log *slog.Logger
}

func (s supervisor) send(state string) {
	if _, err := sd.SdNotify(false, state); err != nil {
		s.log.Warn("systemd could not be told", "error", err)
	}
}

func (s supervisor) ready(status string) { s.send(sd.SdNotifyReady + "\nSTATUS=" + status) }

// reloading wants the moment it begins, on the clock that systemd uses.
func (s supervisor) reloading() { s.send(sd.SdNotifyReloading + "\n" + sd.SdNotifyMonotonicUsec()) }

func (s supervisor) stopping(status string) { s.send(sd.SdNotifyStopping + "\nSTATUS=" + status) }

// report keeps systemd's line about us (systemctl status) as line says, until
// ctx ends.
func (s supervisor) report(ctx context.Context, line func(context.Context) string) {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return
	}
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if now := line(ctx); now != said && ctx.Err() == nil {
				said = now
				s.send("STATUS=" + now)
			}
		}
	}
}

// Rest tells systemd, until stop is called, that this process lives though no
// Daemon runs in it, and why.
func Rest(ctx context.Context, log *slog.Logger, why string) (stop func()) {
	s := supervisor{log}
	s.send("STATUS=" + why)
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { s.watchdog(ctx, func(context.Context) error { return nil }) })
	return func() {
		cancel()
		wg.Wait()
	}
}

// summary is how things are, in a line.
func (d *Daemon) summary(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	crew := d.current()
	var b strings.Builder
	count := func(n int64, what string) {
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%d %s", n, what)
		if n != 1 && what != "held" {
			b.WriteByte('s')
		}
	}
	count(int64(len(crew.lines)), "pipeline")
	backlog, err := d.ledger.Backlog(ctx)
	if err != nil {
		if ctx.Err() == nil || errors.Is(err, context.DeadlineExceeded) {
			b.WriteString("; the ledger does not say what waits")
		}
		return b.String()
	}
	var waiting, held, dead int64
	rate := 0.0
	for i := range backlog {
		waiting, held, dead = waiting+backlog[i].Waiting, held+backlog[i].Held, dead+backlog[i].Dead
	}
	for _, l := range crew.lines {
		rate += d.meter.rate(l.cfg.Name)
	}
	count(waiting, "waiting arrival")
	if held > 0 {
		count(held, "held")
	}
	if dead > 0 {
		count(dead, "dead letter")
	}
	if rate > 0 {
		fmt.Fprintf(&b, ", %.0f records/s", rate)
	}
	for i := range crew.cfg.Sinks {
		if s := crew.sink(crew.cfg.Sinks[i].Name, true); s.State != sinkOK {
			fmt.Fprintf(&b, "; sink %s is %s", s.Name, s.State)
		}
	}
	if d.lowDisk() != "" {
		b.WriteString("; the disk is nearly full")
	}
	return b.String()
}

// watchdog says "alive" while alive says so, as often as systemd asks for, until
// ctx ends.
func (s supervisor) watchdog(ctx context.Context, alive func(context.Context) error) {
	every, err := sd.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		return
	}
	tick := time.NewTicker(every / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			try, cancel := context.WithTimeout(ctx, every/2)
			err := alive(try)
			cancel()
			if err != nil {
				s.log.Error("not alive: systemd will not be told otherwise", "error", err)
				continue
			}
			s.send(sd.SdNotifyWatchdog)
		}
	}
}
