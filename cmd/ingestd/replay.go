package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"ingestd/ingest"
	"ingestd/ingest/admin"

	"github.com/spf13/cobra"
)

func (a *app) replayCommand() *cobra.Command {
	var (
		r                     admin.ReplayRequest
		records, since, until string
		yes, asJSON           bool
	)
	cmd := &cobra.Command{
		Use:   "replay ARRIVAL [--records A-B] | -p PIPELINE --since TIME --until TIME",
		Short: "Take arrivals up again, and wait for what becomes of them",
		Long: `Takes up the content of earlier arrivals again, under the current config. What
was delivered before is not sent again, unless --force says so. --dry-run reads
the content and counts what would be sent and what would be held back; it sends
and changes nothing.

Exits with 1 where something ended dead, held or failed, and with 3 where the
target did not answer: the daemon, or the next once, goes on with it.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if len(args) == 1 {
				of, err := admin.ParseRef(args[0])
				if err != nil {
					return err
				}
				r.Arrival, r.Event = of.Arrival, of.Event
			}
			if records != "" {
				if r.First, r.Last, err = parseRange(records); err != nil {
					return err
				}
			}
			now := time.Now()
			if r.Since, err = parseWhen(since, now); err != nil {
				return err
			}
			if r.Until, err = parseWhen(until, now); err != nil {
				return err
			}
			if r.Force && !r.DryRun {
				what := "arrival " + ingest.Ref{Arrival: r.Arrival, Event: r.Event}.String()
				if r.Arrival == 0 {
					what = "all arrivals of that time"
				}
				if err := a.confirm(yes, "Send "+what+" again, also what was delivered before?"); err != nil {
					return err
				}
			}
			ask := a.askToDeliver
			if r.DryRun {
				ask = a.ask
			}
			return ask(cmd.Context(), func(c *admin.Client) error {
				res, err := c.Replay(cmd.Context(), r)
				if err != nil {
					return err
				}
				if r.DryRun {
					return a.printReplay(res, asJSON)
				}
				return a.followReplay(cmd.Context(), c, res, asJSON)
			})
		},
	}
	cmd.Flags().StringVar(&records, "records", "", "only these records of the arrival: 5, 5-9")
	cmd.Flags().StringVarP(&r.Pipeline, "pipeline", "p", "", "all arrivals of this pipeline found from --since to --until")
	cmd.Flags().StringVar(&since, "since", "", "2h, 3d, 2026-03-05, RFC 3339")
	cmd.Flags().StringVar(&until, "until", "", "the same; now")
	cmd.Flags().BoolVar(&r.DryRun, "dry-run", false, "only say what would be taken up again")
	cmd.Flags().BoolVar(&r.Force, "force", false, "ignore what was delivered before")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&asJSON, "json", false, "the arrivals, one object a line")
	a.completePipelines(cmd)
	return cmd
}

// parseRange reads "5" or "5-9".
func parseRange(s string) (first, last int64, err error) {
	from, to, ranged := strings.Cut(s, "-")
	first, err = strconv.ParseInt(from, 10, 64)
	if last = first; err == nil && ranged {
		last, err = strconv.ParseInt(to, 10, 64)
	}
	if err != nil || first < 1 || last < first {
		return 0, 0, usage("%q is no range of records: say 5, or 5-9", s)
	}
	return first, last, nil
}

func (a *app) printReplay(res *admin.ReplayResult, asJSON bool) error {
	if asJSON {
		return admin.Encode(a.out, res)
	}
	t := newTable("ARRIVAL", "PIPELINE", "NAME", "RECORDS", "WOULD SEND", "DUPLICATE", "FILTERED", "DEAD", "WAITING", "WHY NOT")
	for _, again := range res.Arrivals {
		f := again.Forecast
		if f == nil {
			f = &admin.Forecast{}
		}
		t.AppendRow([]any{
			again.Of, again.Pipeline, cut(printable(again.Name), 48), again.Records, f.Send, f.Known, f.Filtered, f.Bad, f.Waiting,
			cut(printable(f.Held+f.Error), 80),
		})
	}
	if err := a.printTable(t, len(res.Arrivals), "nothing would be taken up again"); err != nil {
		return err
	}
	a.printRefused(res)
	return nil
}

func (a *app) printRefused(res *admin.ReplayResult) {
	for _, no := range res.Refused {
		fmt.Fprintf(a.err, "arrival %d (%s) cannot be taken up again: %s\n", no.Of, printable(no.Name), printable(no.Reason))
	}
}

// followReplay waits for what was taken up again, one after the other.
func (a *app) followReplay(ctx context.Context, c *admin.Client, res *admin.ReplayResult, asJSON bool) error {
	a.printRefused(res)
	code := codeOK
	if len(res.Refused) > 0 {
		code = codeNotClean
	}
	t := newTable("ARRIVAL", "REPLAYS", "PIPELINE", "NAME", "STATE", "RECORDS", "DELIVERED", "DUPLICATE", "FILTERED", "DEAD", "ERROR")
	for _, again := range res.Arrivals {
		d, err := await(ctx, c, again.Arrival)
		if err != nil {
			return err
		}
		if asJSON {
			if err := admin.Encode(a.out, d.Arrival); err != nil {
				return err
			}
		}
		t.AppendRow([]any{d.ID, d.Replays, d.Pipeline, cut(printable(d.Name), 48), d.State, d.Records, d.Delivered, d.Duplicate, d.Filtered, d.Dead, cut(printable(d.Error), 80)})
		switch {
		case !ingest.State(d.State).Ended() && d.State != string(ingest.Held):
			code = codeUnfinished
		case code == codeOK && (d.Dead > 0 || d.State == string(ingest.Held) || d.State == string(ingest.Failed)):
			code = codeNotClean
		}
	}
	if !asJSON {
		if err := a.printTable(t, len(res.Arrivals), "nothing was taken up again"); err != nil {
			return err
		}
	}
	if code != codeOK {
		return &exit{code: code}
	}
	return nil
}
