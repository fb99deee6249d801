package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"

	"ingestd/cmd/internal/daemon"
	"ingestd/ingest/admin"

	"github.com/spf13/cobra"
)

// longPreview is the size of a file, in bytes, from which on progress is shown.
const longPreview = 8 << 20

func (a *app) previewCommand() *cobra.Command {
	var (
		pipeline        string
		limit           int
		explain, asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "preview [-c FILE] [-p PIPELINE] [FILE]",
		Short: "Show what would be sent, as NDJSON; sends and writes nothing",
		Long: `Shows the records of a file as they would be sent, one JSON object a line, and
on standard error those that would be dead letters. Without FILE: the first file
that waits in the pipeline's folder, or the newest on the partner's server, which
is read and left as it is. Without -c and -p no config is read and the
format is detected. With --json positions, rejects and a summary come with it.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p := &daemon.Preview{Limit: limit}
			if a.configFile != "" || pipeline != "" || len(args) == 0 {
				cfg, err := a.loadConfig()
				if err != nil {
					return err
				}
				if p.Pipeline, err = choosePipeline(cfg, pipeline); err != nil {
					return err
				}
				p.Config = cfg
			}
			if limit < 0 {
				return usage("--limit %d is negative", limit)
			}
			if len(args) == 1 {
				p.Path = args[0]
			} else {
				drop, err := a.firstWaiting(cmd.Context(), p)
				if err != nil {
					return err
				}
				defer drop()
			}
			return a.preview(cmd.Context(), p, explain, asJSON)
		},
	}
	cmd.Flags().StringVarP(&pipeline, "pipeline", "p", "", "as this pipeline would read it")
	cmd.Flags().IntVar(&limit, "limit", 0, "show at most so many records (default: all)")
	cmd.Flags().BoolVar(&explain, "explain", false, "say what was detected, and why")
	cmd.Flags().BoolVar(&asJSON, "json", false, "with positions, rejects and a summary")
	a.completePipelines(cmd)
	return cmd
}

// firstWaiting chooses the file of a preview that names none. drop removes what
// was fetched for it.
func (a *app) firstWaiting(ctx context.Context, p *daemon.Preview) (drop func(), err error) {
	nothing := &exit{code: codeUsage, err: fmt.Errorf("nothing waits in %s", p.Pipeline.Source.Path()), hint: "name a file"}
	if p.Pipeline.Source.Type == "sftp" {
		file, origin, drop, err := daemon.Newest(ctx, p.Config, p.Pipeline)
		switch {
		case err != nil:
			return nil, &exit{code: codeUnfinished, err: err}
		case file == "":
			drop()
			return nil, nothing
		}
		p.Path = file
		fmt.Fprintf(a.err, "%s\n", printable(origin))
		return drop, nil
	}
	found, err := daemon.Waiting(p.Pipeline, 1)
	if err != nil {
		return nil, &exit{code: codeUnfinished, err: err}
	}
	if len(found) == 0 {
		return nil, nothing
	}
	p.Path = found[0]
	fmt.Fprintf(a.err, "%s\n", printable(found[0]))
	return func() {}, nil
}

func (a *app) preview(ctx context.Context, p *daemon.Preview, explain, asJSON bool) error {
	if fi, err := os.Stat(p.Path); err != nil {
		return &exit{code: codeUsage, err: err}
	} else if fi.Size() > longPreview && p.Limit == 0 && !a.outTerminal {
		log := newLogger(a.err, 0, "auto", a.errTerminal)
		defer a.watch(ctx, log, "preview", func() steps { return steps(p.Progress()) })()
	}
	out := bufio.NewWriterSize(a.out, 64<<10)
	sum, err := p.Run(ctx, func(item daemon.PreviewItem) error {
		switch {
		case asJSON:
			return admin.Encode(out, item)
		case item.Reject != nil:
			r := item.Reject
			at := fmt.Sprintf("%s:%d", printable(p.Path), r.Line)
			if r.Column > 0 {
				at += fmt.Sprintf(":%d", r.Column)
			}
			// In the order of the file, where both go to a terminal.
			if err := out.Flush(); err != nil {
				return err
			}
			_, err := fmt.Fprintf(a.err, "%s: %s\n", at, printable(r.Reason))
			return err
		}
		if _, err := out.Write(item.Record); err != nil {
			return err
		}
		return out.WriteByte('\n')
	})
	if err != nil {
		out.Flush()
		return err
	}
	if asJSON {
		err = admin.Encode(out, map[string]any{"summary": sum})
	}
	if err = errors.Join(err, out.Flush()); err != nil {
		return err
	}
	if explain {
		a.explain(sum, p.Pipeline == nil || p.Pipeline.Format.Type == "auto")
	}
	if sum.Status != "ok" {
		if asJSON {
			return &exit{code: codeNotClean}
		}
		return &exit{code: codeNotClean, err: fmt.Errorf("%s would be refused: %s", printable(p.Path), printable(sum.Reason))}
	}
	return nil
}

// explain says what was detected, on standard error: standard output is the
// records. pinned adds the config line that pins it.
func (a *app) explain(s *daemon.PreviewSummary, pinned bool) {
	t := newTable()
	t.ResetHeaders()
	line := func(what, value, why string) {
		if value != "" {
			t.AppendRow([]any{what, printable(value), printable(why)})
		}
	}
	line("format", s.Format, "")
	line("encoding", s.Encoding, "")
	for _, n := range s.Notes {
		line(n.What, n.Value, n.Why)
	}
	for i, h := range s.Header {
		what := ""
		if i == 0 {
			what = "header"
		}
		line(what, h, "")
	}
	line("records", thousands(s.Records), "")
	line("rejects", thousands(s.Rejects), "")
	if s.Filtered > 0 {
		line("filtered", thousands(s.Filtered), "")
	}
	fmt.Fprintln(a.err, t.Render())
	if pin := s.Pin(); pin != "" && pinned {
		fmt.Fprintf(a.err, "\nto read files so whatever they look like:\n    %s\n", printable(pin))
	}
}
