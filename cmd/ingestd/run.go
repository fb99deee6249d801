package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"ingestd/cmd/internal/daemon"
	"ingestd/config"

	"github.com/spf13/cobra"
)

func (a *app) runCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "The daemon: takes up what arrives until it is stopped",
		Long: `Watches all sources and delivers what arrives until it is stopped. SIGTERM and
SIGINT end it within ten seconds with 0: what is under way goes on after the
next start. SIGHUP makes it read its config again; a broken one is refused and
the old one goes on.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			// A daemon outlives whoever reads its output.
			signal.Ignore(syscall.SIGPIPE)
			stderr, out := a.err, newSpout(a.err)
			a.err = out
			log := a.logger(cfg)
			defer func() {
				out.Close()
				a.err = stderr
			}()
			if os.Geteuid() == 0 {
				log.Warn("running as root: a user of its own is safer, see ingestd.service of ingestd init")
			}
			hup := make(chan os.Signal, 1)
			signal.Notify(hup, syscall.SIGHUP)
			defer signal.Stop(hup)
			err = a.runAgain(cmd.Context(), cfg, log, hup)
			if cmd.Context().Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
				return nil
			}
			return err
		},
	}
}

const (
	// reopenWait is how long the daemon leaves a ledger alone that could not be
	// written: first, and at most.
	reopenWait    = time.Second
	reopenWaitMax = time.Minute
)

// runAgain runs the daemon, and runs it anew after the ledger could not be
// written (a full disk, a failed fsync): what the disk holds then is known only
// by reading it again, as after a crash.
func (a *app) runAgain(ctx context.Context, cfg *config.Config, log *slog.Logger, hup <-chan os.Signal) error {
	wait, rested := reopenWait, func() {}
	defer func() { rested() }()
	for first := true; ; first = false {
		d, err := a.owner(ctx, cfg, log)
		rested()
		if err != nil && (first || daemon.Damaged(err)) {
			return err
		}
		if err == nil {
			begun := time.Now()
			err = errors.Join(d.Run(ctx, hup), d.Close())
			if ctx.Err() != nil || !daemon.Reopens(err) {
				return err
			}
			if time.Since(begun) > reopenWaitMax {
				wait = reopenWait
			}
		}
		log.Error("the ledger cannot be written; all waits until it can be opened again", "next_try", wait.String(), "error", err)
		rested = daemon.Rest(ctx, log, "the ledger cannot be written; all waits until it can be opened again")
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = min(2*wait, reopenWaitMax)
	}
}
