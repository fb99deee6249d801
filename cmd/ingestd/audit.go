package main

import (
	"fmt"

	"ingestd/ingest"
	"ingestd/ingest/admin"

	"github.com/spf13/cobra"
)

func (a *app) auditCommand() *cobra.Command {
	var (
		pipeline string
		asJSON   bool
	)
	cmd := &cobra.Command{
		Use:   "audit [-p PIPELINE] [ARRIVAL]",
		Short: "Do the books balance? Proves it from the ledger",
		Long: `Counts claims, batches, waiting records and dead letters of every arrival, and
compares: records = delivered + duplicate + filtered + dead. Exits with 1 where
that fails.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var arrival ingest.Ref
			if len(args) == 1 {
				var err error
				if arrival, err = admin.ParseRef(args[0]); err != nil {
					return err
				}
			}
			return a.ask(cmd.Context(), func(c *admin.Client) error {
				var total, bad int64
				var sum admin.Audit
				t := newTable("ARRIVAL", "PIPELINE", "STATE", "RECORDS", "DELIVERED", "DUPLICATE", "FILTERED", "DEAD", "WHY")
				for r, err := range c.Audit(cmd.Context(), pipeline, arrival) {
					if err != nil {
						return err
					}
					total++
					if !r.Balanced {
						bad++
						if bad <= tableRows {
							t.AppendRow([]any{r.Arrival, r.Pipeline, r.State, r.Records, r.Delivered, r.Duplicate, r.Filtered, r.Dead, printable(r.Why)})
						}
					}
					sum.Records += r.Records
					sum.Delivered += r.Delivered
					sum.Duplicate += r.Duplicate
					sum.Filtered += r.Filtered
					sum.Dead += r.Dead
					if asJSON {
						if err := admin.Encode(a.out, r); err != nil {
							return err
						}
					}
				}
				if total == 0 {
					if err := a.unknown(pipeline); err != nil {
						return err
					}
				}
				if !asJSON {
					if bad > 0 {
						fmt.Fprintln(a.out, t.Render())
						fmt.Fprintf(a.out, "%d of %s do not balance\n", bad, some(total, "arrival"))
					} else {
						fmt.Fprintf(a.out, "%s balanced: %d records = %d delivered + %d duplicate + %d filtered + %d dead\n",
							some(total, "arrival"), sum.Records, sum.Delivered, sum.Duplicate, sum.Filtered, sum.Dead)
					}
				}
				if bad > 0 {
					return &exit{code: codeNotClean}
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVarP(&pipeline, "pipeline", "p", "", "only this pipeline's arrivals")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one object a line")
	a.completePipelines(cmd)
	return cmd
}
