package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/admin"

	"github.com/spf13/cobra"
)

func (a *app) deadCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dead",
		Short: "Dead letters: records that could not be parsed, shaped or delivered",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &exit{code: codeUsage, err: fmt.Errorf("there is no command \"dead %s\"", args[0]), hint: "dead list, show, export, replay or drop"}
			}
			return cmd.Help()
		},
		Args: cobra.ArbitraryArgs,
	}
	cmd.AddCommand(a.deadList(), a.deadShow(), a.deadExport(), a.deadReplay(), a.deadDrop())
	return cmd
}

// pick is how letters are chosen: by number, or by these flags.
type pick struct {
	arrival, pipeline, reason, since, until string
	sink, stage                             string
	all                                     bool
}

func (p *pick) register(a *app, cmd *cobra.Command, all string) {
	cmd.Flags().StringVar(&p.arrival, "arrival", "", "only this arrival's")
	cmd.Flags().StringVarP(&p.pipeline, "pipeline", "p", "", "only this pipeline's")
	cmd.Flags().StringVar(&p.reason, "reason", "", "only those whose reason holds this text")
	cmd.Flags().StringVar(&p.since, "since", "", "only those that died since: 2h, 3d, 2026-03-05, RFC 3339")
	cmd.Flags().StringVar(&p.until, "until", "", "only those that died before: the same")
	cmd.Flags().StringVar(&p.sink, "sink", "", "only those that this sink refused")
	cmd.Flags().StringVar(&p.stage, "stage", "", "only those of this stage: parse, shape, deliver")
	cmd.Flags().BoolVar(&p.all, "all", false, all)
	a.completePipelines(cmd)
}

func (p *pick) filter(ids []string) (f ingest.LetterFilter, err error) {
	for _, s := range ids {
		n, err := admin.ParseID(s)
		if err != nil {
			return f, err
		}
		f.IDs = append(f.IDs, n)
	}
	if p.arrival != "" {
		of, err := admin.ParseRef(p.arrival)
		if err != nil {
			return f, err
		}
		f.Arrival, f.Event = of.Arrival, of.Event
	}
	f.Pipeline, f.Reason, f.Sink, f.Stage = p.pipeline, p.reason, p.sink, ingest.Stage(p.stage)
	now := time.Now()
	if f.Since, err = parseWhen(p.since, now); err != nil {
		return f, err
	}
	f.Until, err = parseWhen(p.until, now)
	return f, err
}

// none tells what was chosen where there is no such letter: a slip of the
// finger must not look like all being well.
func (a *app) none(f ingest.LetterFilter) error {
	if err := a.unknown(f.Pipeline); err != nil {
		return err
	}
	if f.Sink != "" {
		cfg, err := a.loadConfig()
		if err != nil {
			return err
		}
		if cfg.Sink(f.Sink) == nil {
			return usage("the config has no sink %q", f.Sink)
		}
	}
	_, err := fmt.Fprintln(a.out, "no such dead letters")
	return err
}

// chosen is filter for what changes something: it must name what it means.
func (p *pick) chosen(ids []string) (ingest.LetterFilter, error) {
	f, err := p.filter(ids)
	if err == nil && !p.all && len(f.IDs) == 0 && f.Arrival == 0 && f.Pipeline == "" && f.Reason == "" && f.Since.IsZero() &&
		f.Until.IsZero() && f.Sink == "" && f.Stage == "" {
		err = &exit{code: codeUsage, err: fmt.Errorf("which dead letters?"), hint: "name their numbers, or --arrival, -p, --reason, --sink, --stage, --since, --until, or --all"}
	}
	return f, err
}

func (a *app) deadList() *cobra.Command {
	var (
		p      pick
		asJSON bool
		limit  int
	)
	cmd := &cobra.Command{
		Use:   "list [ID…]",
		Short: "List dead letters",
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := p.filter(args)
			if err != nil {
				return err
			}
			if f.Limit = limit; !asJSON && limit == 0 {
				f.Limit = tableRows + 1
			}
			return a.ask(cmd.Context(), func(c *admin.Client) error {
				if asJSON {
					return printLines(a, c.Letters(cmd.Context(), f))
				}
				n, err := a.letterTable(cmd.Context(), c, f)
				if err == nil && n == 0 {
					return a.none(f)
				}
				return err
			})
		},
	}
	p.register(a, cmd, "all dead letters, as without any choice")
	cmd.Flags().IntVar(&limit, "limit", 0, "at most so many")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one object a line")
	return cmd
}

func (a *app) letterTable(ctx context.Context, c *admin.Client, f ingest.LetterFilter) (n int, err error) {
	t := newTable("ID", "ARRIVAL", "PIPELINE", "NAME", "RECORD", "LINE", "STAGE", "SINK", "STATUS", "REASON")
	for l, err := range c.Letters(ctx, f) {
		if err != nil {
			return n, err
		}
		if n++; n > tableRows {
			break
		}
		reason := cut(printable(l.Reason), 80)
		if answer := printable(l.Answer); answer != "" {
			reason += ": " + cut(answer, 80)
		}
		if l.Uncertain {
			reason = "(uncertain) " + reason
		}
		if l.Replaying {
			reason = "(being sent again) " + reason
		}
		t.AppendRow([]any{l.ID, l.Arrival, l.Pipeline, cut(printable(l.Name), 40), l.Record, l.Line, l.Stage, l.Sink, status(l.Status), reason})
	}
	if n == 0 {
		return 0, nil
	}
	return n, a.printTable(t, n, "")
}

func status(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// printSomeLetters ends `show` with the arrival's first dead letters.
func (a *app) printSomeLetters(ctx context.Context, c *admin.Client, d *admin.ArrivalDetail) error {
	of, err := admin.ParseRef(d.ID)
	if err != nil || d.Dead == 0 {
		return err
	}
	const most = 20
	fmt.Fprintln(a.out, "\nDead letters")
	n, err := a.letterTable(ctx, c, ingest.LetterFilter{Arrival: of.Arrival, Event: of.Event, Limit: most})
	if err != nil {
		return err
	}
	if n == 0 {
		fmt.Fprintln(a.out, "they were replayed, dropped, or are past their retention")
	}
	if d.Dead > most {
		fmt.Fprintf(a.out, "… all of them: ingestd dead list --arrival %s\n", d.ID)
	}
	return nil
}

func (a *app) deadShow() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show one dead letter with its bytes and the target's answer",
		Args:  exactly("the number of a dead letter"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := admin.ParseID(args[0])
			if err != nil {
				return err
			}
			return a.ask(cmd.Context(), func(c *admin.Client) error {
				l, err := c.Letter(cmd.Context(), id)
				if err != nil {
					return err
				}
				if asJSON {
					return admin.Encode(a.out, l)
				}
				t := newTable()
				t.ResetHeaders()
				line := func(what string, value any) {
					if s := fmt.Sprint(value); s != "" && s != "0" {
						t.AppendRow([]any{what, s})
					}
				}
				line("dead letter", l.ID)
				line("died", clock(l.At))
				line("pipeline", l.Pipeline)
				line("arrival", l.Arrival+" "+printable(l.Name))
				line("record", l.Record)
				line("line", l.Line)
				line("column", l.Column)
				line("stage", l.Stage)
				line("sink", l.Sink)
				line("reason", printable(l.Reason))
				line("status", l.Status)
				line("answer", printable(l.Answer))
				if l.Replaying {
					line("replay", "it is being sent again; it leaves the list when it is delivered")
				}
				if l.Uncertain {
					line("uncertain", "the target may have it: no answer said what became of it")
				}
				fmt.Fprintf(a.out, "%s\n\n%s\n", t.Render(), printable(string(l.Bytes())))
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as one object")
	return cmd
}

func (a *app) deadExport() *cobra.Command {
	var (
		p           pick
		to          string
		asJSON, raw bool
	)
	cmd := &cobra.Command{
		Use:   "export [ID…] [-o FILE]",
		Short: "Write dead letters' records as a file of the form that they came in",
		Long: `Writes the records of dead letters in the form of the files that they are from,
to be mended and dropped again: CSV with the same header and delimiter, JSON and
XML with what stood around the records, rows of a workbook as CSV. All of them
must be of one pipeline and form. The text is UTF-8.

With --json the whole letters, one object a line; with --raw their bytes alone, a
line end after each. An existing file is not overwritten.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if asJSON && raw {
				return usage("--json and --raw are two forms: choose one")
			}
			f, err := p.filter(args)
			if err != nil {
				return err
			}
			return a.ask(cmd.Context(), func(c *admin.Client) error {
				write := func(w io.Writer) error { return exportLetters(cmd.Context(), c, f, w, asJSON, raw) }
				if to == "" {
					return write(a.out)
				}
				return createWhole(to, write)
			})
		},
	}
	p.register(a, cmd, "all dead letters, as without any choice")
	cmd.Flags().StringVarP(&to, "output", "o", "", "a new file (default: standard output)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "the whole letters, one object a line")
	cmd.Flags().BoolVar(&raw, "raw", false, "the records' bytes alone")
	return cmd
}

func exportLetters(ctx context.Context, c *admin.Client, f ingest.LetterFilter, w io.Writer, asJSON, raw bool) error {
	if !asJSON && !raw {
		return c.ExportLetters(ctx, f, w)
	}
	for l, err := range c.Letters(ctx, f) {
		if err != nil {
			return err
		}
		switch {
		case asJSON:
			err = admin.Encode(w, l)
		case l.Replaying: // nobody should mend it now
		default:
			_, err = w.Write(append(l.Bytes(), '\n'))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// createWhole writes a new file that is there whole or not at all.
func createWhole(path string, write func(io.Writer) error) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".ingestd-*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	if err := write(tmp); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	// A link, unlike a rename, never replaces what stands there.
	if err := os.Link(tmp.Name(), path); err != nil {
		return &exit{code: codeUsage, err: fmt.Errorf("write %s: %w", path, err)}
	}
	return nil
}

func (a *app) deadReplay() *cobra.Command {
	var (
		p                       pick
		asJSON, dry, force, yes bool
	)
	cmd := &cobra.Command{
		Use:   "replay [ID…]",
		Short: "Send dead letters' records again, under the current config",
		Long: `Sends the records of dead letters again and waits for the answer. A letter
leaves the list when its record is delivered. Exits with 1 where a record died
again, and with 3 where the target gave no answer.

A record of which nobody knows whether the target has it ("uncertain") is sent as
it was, together with its whole batch and under the same Idempotency-Key, so that
the target can tell. --force sends such a batch's records anew, under the current
config and new keys: the target may get them twice.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := p.chosen(args)
			if err != nil {
				return err
			}
			if force && !dry {
				if err := a.confirm(yes, "Send those records anew, also where the target may have them?"); err != nil {
					return err
				}
			}
			ask := a.askToDeliver
			if dry {
				ask = a.ask
			}
			return ask(cmd.Context(), func(c *admin.Client) error {
				r, err := c.ReplayLetters(cmd.Context(), admin.LettersRequest{LetterFilter: f, DryRun: dry, Force: force})
				if err != nil {
					return err
				}
				if r.Letters == 0 && !asJSON {
					return a.none(f)
				}
				if dry {
					return a.printRehearsal(r, asJSON)
				}
				if asJSON {
					err = admin.Encode(a.out, r)
				} else {
					_, err = fmt.Fprintf(a.out, "%s: %d delivered, %d duplicate, %d filtered, %d dead again, %d not finished\n",
						some(r.Letters, "dead letter"), r.Delivered, r.Duplicate, r.Filtered, r.Dead, r.Unfinished)
					if r.Error != "" {
						fmt.Fprintf(a.out, "  %s\n", printable(r.Error))
					}
				}
				switch {
				case err != nil:
					return err
				case r.Unfinished > 0:
					return &exit{code: codeUnfinished}
				case r.Dead > 0:
					return &exit{code: codeNotClean}
				}
				return nil
			})
		},
	}
	p.register(a, cmd, "all dead letters")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say what would be sent")
	cmd.Flags().BoolVar(&force, "force", false, "send anew what the target may have")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&asJSON, "json", false, "the result as one object")
	return cmd
}

// printRehearsal says what a replay of letters would do.
func (a *app) printRehearsal(r *admin.LettersResult, asJSON bool) error {
	if asJSON {
		return admin.Encode(a.out, r)
	}
	_, err := fmt.Fprintf(a.out, "%s: %d would be sent, %d duplicate, %d filtered, %d bad still, %d wait for others\n",
		some(r.Letters, "dead letter"), r.Send, r.Duplicate, r.Filtered, r.Dead, r.Unfinished)
	if r.AsWere > 0 && err == nil {
		_, err = fmt.Fprintf(a.out, "  %s of those would be sent as they were, whole batches under their old keys: the target may have them\n", some(r.AsWere, "record"))
	}
	return err
}

func (a *app) deadDrop() *cobra.Command {
	var (
		p   pick
		yes bool
	)
	cmd := &cobra.Command{
		Use:   "drop [ID…]",
		Short: "Forget dead letters for good",
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := p.chosen(args)
			if err != nil {
				return err
			}
			return a.ask(cmd.Context(), func(c *admin.Client) error {
				var n int64
				for l, err := range c.Letters(cmd.Context(), f) {
					if err != nil {
						return err
					}
					if !l.Replaying {
						n++
					}
				}
				if n == 0 {
					return a.none(f)
				}
				if err := a.confirm(yes, "Drop "+some(n, "dead letter")+" for good?"); err != nil {
					return err
				}
				n, err := c.DropLetters(cmd.Context(), f)
				if err == nil {
					fmt.Fprintf(a.out, "%s dropped\n", some(n, "dead letter"))
				}
				return err
			})
		},
	}
	p.register(a, cmd, "all dead letters")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}
