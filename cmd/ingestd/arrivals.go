package main

import (
	"fmt"
	"strings"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/admin"

	"github.com/spf13/cobra"
)

// tableRows bounds a table for people, which is laid out in memory.
const tableRows = 1000

func (a *app) arrivalsCommand() *cobra.Command {
	var (
		f            ingest.ArrivalFilter
		state, since string
		asJSON       bool
	)
	cmd := &cobra.Command{
		Use:   "arrivals [-p PIPELINE] [--state STATE] [--since TIME]",
		Short: "List what arrived, the newest first",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if f.Since, err = parseWhen(since, time.Now()); err != nil {
				return err
			}
			f.State = ingest.State(state)
			if !asJSON && f.Limit == 0 {
				f.Limit = tableRows + 1
			}
			return a.ask(cmd.Context(), func(c *admin.Client) error {
				if asJSON {
					return printLines(a, c.Arrivals(cmd.Context(), f))
				}
				t := newTable("ID", "PIPELINE", "NAME", "STATE", "FOUND", "RECORDS", "DELIVERED", "DUPLICATE", "FILTERED", "DEAD", "ERROR")
				n := 0
				for v, err := range c.Arrivals(cmd.Context(), f) {
					if err != nil {
						return err
					}
					if n++; n > tableRows {
						break
					}
					t.AppendRow([]any{
						v.ID, v.Pipeline, cut(printable(v.Name), 48), v.State, clock(v.FoundAt),
						v.Records, v.Delivered, v.Duplicate, v.Filtered, v.Dead, cut(printable(v.Error), 80),
					})
				}
				if n == 0 {
					if err := a.unknown(f.Pipeline); err != nil {
						return err
					}
				}
				return a.printTable(t, n, "no such arrivals")
			})
		},
	}
	cmd.Flags().StringVarP(&f.Pipeline, "pipeline", "p", "", "only this pipeline's")
	cmd.Flags().StringVar(&state, "state", "", "only those waiting, running, held, done, duplicate or failed")
	cmd.Flags().StringVar(&since, "since", "", "only those found since: 2h, 3d, 2026-03-05, RFC 3339")
	cmd.Flags().IntVar(&f.Limit, "limit", 0, "at most so many")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one object a line")
	a.completePipelines(cmd)
	_ = cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(
		[]string{"waiting", "running", "held", "done", "duplicate", "failed"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (a *app) showCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show ARRIVAL",
		Short: "Show one arrival: timeline, counts, batches, dead letters",
		Args:  exactly("the number of an arrival"),
		RunE: func(cmd *cobra.Command, args []string) error {
			of, err := admin.ParseRef(args[0])
			if err != nil {
				return err
			}
			return a.ask(cmd.Context(), func(c *admin.Client) error {
				d, err := c.Event(cmd.Context(), of)
				if err != nil {
					return err
				}
				if asJSON {
					return admin.Encode(a.out, d)
				}
				if err := a.printArrival(d); err != nil {
					return err
				}
				return a.printSomeLetters(cmd.Context(), c, d)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as one object")
	return cmd
}

func (a *app) printArrival(d *admin.ArrivalDetail) error {
	t := newTable()
	t.ResetHeaders()
	line := func(what string, value any) {
		if s := fmt.Sprint(value); s != "" {
			t.AppendRow([]any{what, s})
		}
	}
	line("arrival", d.ID)
	line("event", printable(d.EventID))
	line("pipeline", d.Pipeline)
	line("name", printable(d.Name))
	line("from", d.Source+" "+printable(d.Origin))
	line("size", fmt.Sprintf("%s (%d bytes)", bytesText(d.Size), d.Size))
	line("sha256", d.SHA256)
	if d.Replays != "" {
		line("replays", "arrival "+d.Replays)
	}
	line("state", d.State)
	line("error", printable(d.Error))
	line("found", clock(d.FoundAt))
	line("begun", clock(d.StartedAt))
	line("finished", clock(d.FinishedAt))
	line("put away", printable(d.PutAway))
	if r := d.Receipt; r != nil {
		switch {
		case r.Error != "":
			line("receipt", "not written, tried again: "+printable(r.Error))
		case r.Due:
			line("receipt", "due")
		default:
			line("receipt", printable(r.Name))
		}
	}
	line("read as", strings.TrimSpace(d.Format+" "+d.Encoding))
	for _, n := range d.Notes {
		if n.What == "differs" {
			line("differs", printable(n.Value+": "+n.Why))
		}
	}
	line("records", fmt.Sprintf("%d = %d delivered + %d duplicate + %d filtered + %d dead", d.Records, d.Delivered, d.Duplicate, d.Filtered, d.Dead))
	if d.Had > 0 {
		line("", fmt.Sprintf("the target had %d of the delivered already", d.Had))
	}
	fmt.Fprintln(a.out, t.Render())
	if len(d.Timeline) > 0 {
		fmt.Fprintln(a.out, "\nTimeline")
		tl := newTable()
		tl.ResetHeaders()
		for _, e := range d.Timeline {
			tl.AppendRow([]any{clock(&e.At), printable(e.What)})
		}
		fmt.Fprintln(a.out, tl.Render())
	}
	if len(d.Batches) > 0 {
		fmt.Fprintln(a.out, "\nBatches")
		bt := newTable("NUMBER", "SINK", "FIRST", "LAST", "RECORDS", "STATE", "ATTEMPTS", "STATUS", "IDEMPOTENCY-KEY", "ANSWER")
		for i, b := range d.Batches {
			if i == 100 {
				bt.AppendRow([]any{fmt.Sprintf("… %d more: --json shows all", len(d.Batches)-i)})
				break
			}
			state := b.State
			if b.DueAt != nil {
				state += " " + clock(b.DueAt)
			}
			if o := b.Outcomes; o != nil {
				state = fmt.Sprintf("%s: %d delivered, %d dead, %d again", state, o.Delivered, o.Dead, o.Again)
			}
			bt.AppendRow([]any{b.Number, b.Sink, b.First, b.Last, b.Records, state, b.Attempts, b.Status, b.IdempotencyKey, cut(printable(b.Answer), 60)})
		}
		fmt.Fprintln(a.out, bt.Render())
	}
	return nil
}

func (a *app) releaseCommand() *cobra.Command {
	return a.decision("release ARRIVAL", "Take a held arrival as it is", (*admin.Client).Release, "released")
}

func (a *app) rejectCommand() *cobra.Command {
	return a.decision("reject ARRIVAL", "Send a held arrival to when_failed", (*admin.Client).Reject, "rejected")
}
