package daemon

import (
	"context"
	"log/slog"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"
)

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
