package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"ingestd/cmd/internal/daemon"
	"ingestd/config"
	"ingestd/ingest/admin"

	"github.com/spf13/cobra"
)

// lockWait is how long a command waits for another that owns the state
// directory for a moment, or for a daemon that is just starting.
const lockWait = 4 * time.Second

// loadConfig reads the config and shows what is wrong with it.
func (a *app) loadConfig() (*config.Config, error) {
	path, err := a.configPath()
	if err != nil {
		return nil, err
	}
	cfg, problems := daemon.Load(path)
	if len(problems) > 0 {
		if err := problems.Render(a.err, a.errTerminal); err != nil {
			return nil, err
		}
	}
	if cfg == nil {
		return nil, &exit{code: codeUsage}
	}
	return cfg, nil
}

// A session is the way to whoever owns the ledger: a running daemon, or this
// process.
type session struct {
	*admin.Client
	own *daemon.Daemon // nil where a daemon runs
	cfg *config.Config
	log *slog.Logger
}

// open asks the daemon, or becomes the owner.
func (a *app) open(ctx context.Context) (*session, error) {
	cfg, err := a.loadConfig()
	if err != nil {
		if c := a.beside(ctx); c != nil {
			return &session{Client: c}, nil
		}
		return nil, err
	}
	s := &session{cfg: cfg, log: a.logger(cfg)}
	deadline := time.Now().Add(lockWait)
	for {
		if s.Client, err = admin.Dial(ctx, socketOf(cfg)); err == nil {
			return s, nil
		}
		s.own, err = daemon.New(ctx, a.daemonOptions(cfg, s.log))
		var locked *daemon.LockedError
		switch {
		case err == nil:
			s.Client = admin.Local(s.own.Handler())
			return s, nil
		case !errors.As(err, &locked):
			return nil, err
		case time.Now().After(deadline):
			return nil, a.locked(err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// beside is the way to a daemon that runs under what its config was before
// somebody broke it; nil where there is none. It is then that people ask.
func (a *app) beside(ctx context.Context) *admin.Client {
	path, err := a.configPath()
	if err != nil {
		return nil
	}
	dir := config.StateDir(path)
	if dir == "" {
		return nil
	}
	c, err := admin.Dial(ctx, filepath.Join(dir, daemon.Socket))
	if err != nil {
		return nil
	}
	fmt.Fprintln(a.err, "The daemon that runs goes on under the config it has. It says:")
	return c
}

// own is open for work that only an owner can do: it fails where a daemon runs.
func (a *app) owner(ctx context.Context, cfg *config.Config, log *slog.Logger) (*daemon.Daemon, error) {
	deadline := time.Now().Add(lockWait)
	for {
		d, err := daemon.New(ctx, a.daemonOptions(cfg, log))
		var locked *daemon.LockedError
		if err == nil || !errors.As(err, &locked) {
			return d, err
		}
		if time.Now().After(deadline) {
			return nil, a.locked(err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (a *app) locked(err error) error {
	return &exit{code: codeUsage, err: err, hint: "ingestd status asks the one that runs"}
}

func (a *app) daemonOptions(cfg *config.Config, log *slog.Logger) daemon.Options {
	o := daemon.Options{
		Config: cfg, Logger: log, Version: version(), Stdout: a.out,
		Load: func() (*config.Config, config.Problems) { return daemon.Load(cfg.File) },
	}
	if a.test != nil {
		a.test(&o)
	}
	return o
}

func socketOf(cfg *config.Config) string { return filepath.Join(cfg.StateDir, daemon.Socket) }

func (s *session) close() error {
	s.Client.Close()
	if s.own != nil {
		return s.own.Close()
	}
	return nil
}

// ask does something with the ledger that takes a moment.
func (a *app) ask(ctx context.Context, do func(*admin.Client) error) error {
	s, err := a.open(ctx)
	if err != nil {
		return err
	}
	return errors.Join(do(s.Client), s.close())
}

// askDaemon does something that only a running daemon can do.
func (a *app) askDaemon(ctx context.Context, do func(*admin.Client) error) error {
	cfg, err := a.loadConfig()
	if err != nil {
		return err
	}
	c, err := admin.Dial(ctx, socketOf(cfg))
	if err != nil {
		return &exit{code: codeUsage, err: fmt.Errorf("no daemon runs on %s", cfg.StateDir), hint: "start it with: ingestd run"}
	}
	defer c.Close()
	return do(c)
}

// askToDeliver does something that makes deliveries due. Without a daemon they
// are made here, while do waits for them.
func (a *app) askToDeliver(ctx context.Context, do func(*admin.Client) error) error {
	s, err := a.open(ctx)
	if err != nil {
		return err
	}
	if s.own == nil {
		return errors.Join(do(s.Client), s.close())
	}
	stop := a.watch(ctx, s.log, "replay", func() steps { return steps(s.own.Progress()) })
	err = s.own.Deliver(ctx, func(ctx context.Context) error { return do(s.Client) })
	stop()
	return errors.Join(err, s.close())
}

// logger is what commands log to: standard error, as the config says.
func (a *app) logger(cfg *config.Config) *slog.Logger {
	var level slog.Level
	if level.UnmarshalText([]byte(cfg.Log.Level)) != nil {
		level = slog.LevelInfo
	}
	return newLogger(a.err, level, cfg.Log.Format, a.errTerminal)
}

// completePipelines completes -p with the names in the config.
func (a *app) completePipelines(cmd *cobra.Command) {
	_ = cmd.RegisterFlagCompletionFunc("pipeline", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		path, err := a.configPath()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		cfg, _ := daemon.Load(path)
		if cfg == nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for _, p := range cfg.Pipelines {
			names = append(names, p.Name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
}
