package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"ingestd/cmd/internal/daemon"
	"ingestd/config"
	"ingestd/ingest"
	"ingestd/ingest/admin"

	"github.com/spf13/cobra"
)

func (a *app) onceCommand() *cobra.Command {
	var (
		pipeline string
		asJSON   bool
	)
	cmd := &cobra.Command{
		Use:   "once [-p PIPELINE] [FILE…]",
		Short: "Take up what is there now (or the files named), finish, exit",
		Long: `Takes up what is in the sources now, waits until it has settled, delivers it and
exits. Files that are named are read where they are and not moved.

Exits with 0 where all is well, 1 where something is dead, held or failed, 3
where a target is down or a source cannot be read: it is safe to run it again.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := a.loadConfig()
			if err != nil {
				return err
			}
			var names []string
			if pipeline != "" || len(args) > 0 {
				p, err := choosePipeline(cfg, pipeline)
				if err != nil {
					return err
				}
				names = []string{p.Name}
			}
			files, err := absolute(args)
			if err != nil {
				return err
			}
			log := a.logger(cfg)
			d, err := a.owner(cmd.Context(), cfg, log)
			if err != nil {
				return err
			}
			stop := a.watch(cmd.Context(), log, "once", func() steps { return steps(d.Progress()) })
			res, err := d.Once(cmd.Context(), daemon.OnceOptions{Pipelines: names, Files: files})
			stop()
			if res != nil {
				err = errors.Join(err, a.printOnce(cfg, res, asJSON))
			}
			err = errors.Join(err, d.Close())
			return onceExit(cmd.Context(), res, err)
		},
	}
	cmd.Flags().StringVarP(&pipeline, "pipeline", "p", "", "only this pipeline")
	cmd.Flags().BoolVar(&asJSON, "json", false, "the arrivals that ended, one object a line")
	a.completePipelines(cmd)
	return cmd
}

// onceExit is the exit code of what became of all that was there.
func onceExit(ctx context.Context, res *daemon.OnceResult, err error) error {
	switch {
	case ctx.Err() != nil:
		return &exit{code: codeInterrupted, err: context.Cause(ctx), hint: "it is safe to run it again"}
	case errors.Is(err, daemon.ErrUnfinished):
		return &exit{code: codeUnfinished, err: err, hint: "run it again once that is over: what was delivered is not sent again"}
	case err != nil:
		return err
	case res.Dead > 0 || res.Held > 0 || res.Failed > 0:
		return &exit{code: codeNotClean}
	}
	return nil
}

func (a *app) printOnce(cfg *config.Config, res *daemon.OnceResult, asJSON bool) error {
	if slices.ContainsFunc(cfg.Sinks, func(s config.Sink) bool { return s.Type == "stdout" }) {
		// Standard output is the records'.
		to := *a
		to.out = a.err
		a = &to
	}
	if asJSON {
		for _, v := range res.Arrivals {
			if err := admin.Encode(a.out, v); err != nil {
				return err
			}
		}
		return nil
	}
	t := newTable("ARRIVAL", "PIPELINE", "NAME", "STATE", "RECORDS", "DELIVERED", "DUPLICATE", "FILTERED", "DEAD", "ERROR")
	for i, v := range res.Arrivals {
		if i == tableRows {
			break
		}
		t.AppendRow([]any{v.ID, v.Pipeline, cut(printable(v.Name), 48), v.State, v.Records, v.Delivered, v.Duplicate, v.Filtered, v.Dead, cut(printable(v.Error), 80)})
	}
	if err := a.printTable(t, len(res.Arrivals), "nothing was there to take up"); err != nil {
		return err
	}
	var hints []string
	if res.Dead > 0 {
		hints = append(hints, some(res.Dead, "record")+" died: ingestd dead list")
	}
	if res.Held > 0 {
		hints = append(hints, some(res.Held, "arrival")+" held: ingestd release or reject")
	}
	if len(hints) > 0 {
		fmt.Fprintln(a.out, strings.Join(hints, "\n"))
	}
	return nil
}

// choosePipeline is the one that was named, or the only one.
func choosePipeline(cfg *config.Config, name string) (*config.Pipeline, error) {
	if name != "" {
		if p := cfg.Pipeline(name); p != nil {
			return p, nil
		}
		return nil, &exit{code: codeUsage, err: fmt.Errorf("there is no pipeline %q", name), hint: "the config has: " + pipelineNames(cfg)}
	}
	if len(cfg.Pipelines) == 1 {
		return &cfg.Pipelines[0], nil
	}
	return nil, &exit{code: codeUsage, err: errors.New("which pipeline?"), hint: "name one with -p: " + pipelineNames(cfg)}
}

// unknown is an error where nothing was found for a pipeline that the config
// does not have either: a slip of the finger must not look like all being well.
func (a *app) unknown(pipeline string) error {
	if pipeline == "" {
		return nil
	}
	cfg, err := a.loadConfig()
	if err == nil {
		_, err = choosePipeline(cfg, pipeline)
	}
	return err
}

func pipelineNames(cfg *config.Config) string {
	names := make([]string, len(cfg.Pipelines))
	for i := range cfg.Pipelines {
		names[i] = cfg.Pipelines[i].Name
	}
	return strings.Join(names, ", ")
}

func absolute(files []string) ([]string, error) {
	out := make([]string, len(files))
	for i, f := range files {
		abs, err := filepath.Abs(f)
		if err != nil {
			return nil, usage("%s: %w", f, err)
		}
		out[i] = abs
	}
	return out, nil
}

// ended reports whether nothing more happens by itself.
func ended(state string) bool {
	return ingest.State(state).Ended() || state == string(ingest.Held)
}
