package main

import (
	"context"
	"fmt"
	"time"

	"ingestd/ingest/admin"

	"github.com/spf13/cobra"
)

// decision is a command that decides on one arrival.
func (a *app) decision(use, short string, do func(*admin.Client, context.Context, int64) error, done string) *cobra.Command {
	return &cobra.Command{
		Use:   use,
		Short: short,
		Args:  exactly("the number of an arrival"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := admin.ParseID(args[0])
			if err != nil {
				return err
			}
			return a.ask(cmd.Context(), func(c *admin.Client) error {
				if err := do(c, cmd.Context(), id); err != nil {
					return err
				}
				fmt.Fprintf(a.out, "arrival %d %s\n", id, done)
				return nil
			})
		},
	}
}

func (a *app) pauseCommand() *cobra.Command {
	var until string
	cmd := &cobra.Command{
		Use:   "pause PIPELINE|SINK [--until TIME]",
		Short: "Stop a pipeline, or deliveries to a sink, for a while",
		Args:  exactly("the name of a pipeline or sink"),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := parseUntil(until, time.Now())
			if err != nil {
				return err
			}
			return a.askDaemon(cmd.Context(), func(c *admin.Client) error {
				return a.done(c.Pause(cmd.Context(), args[0], t), "%s is paused", args[0])
			})
		},
	}
	cmd.Flags().StringVar(&until, "until", "", "resume by itself then: 2h, 18:00, 2026-03-05, RFC 3339")
	return cmd
}

func (a *app) resumeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "resume PIPELINE|SINK",
		Short: "End a pause, or let a stopped sink try again",
		Args:  exactly("the name of a pipeline or sink"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.askDaemon(cmd.Context(), func(c *admin.Client) error {
				return a.done(c.Resume(cmd.Context(), args[0]), "%s goes on", args[0])
			})
		},
	}
}

func (a *app) runNowCommand() *cobra.Command {
	var pipeline string
	cmd := &cobra.Command{
		Use:   "run-now -p PIPELINE",
		Short: "Make a pipeline's source look at once",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if pipeline == "" {
				return &exit{code: codeUsage, err: fmt.Errorf("run-now: which pipeline?"), hint: "name it with -p"}
			}
			return a.askDaemon(cmd.Context(), func(c *admin.Client) error {
				return a.done(c.RunNow(cmd.Context(), pipeline), "%s looks now", pipeline)
			})
		},
	}
	cmd.Flags().StringVarP(&pipeline, "pipeline", "p", "", "the pipeline")
	a.completePipelines(cmd)
	return cmd
}

func (a *app) reloadCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "reload",
		Short: "Make the daemon read its config again; waits, and prints why where it was refused",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.askDaemon(cmd.Context(), func(c *admin.Client) error {
				return a.done(c.Reload(cmd.Context()), "the config was reloaded")
			})
		},
	}
}

// done says so, unless there was an error.
func (a *app) done(err error, format string, args ...any) error {
	if err == nil {
		fmt.Fprintf(a.out, format+"\n", args...)
	}
	return err
}
