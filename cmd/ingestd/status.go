package main

import (
	"fmt"
	"time"

	"ingestd/ingest/admin"

	"github.com/spf13/cobra"
)

func (a *app) statusCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "One screen: pipelines, what waits, rates, errors, sinks' health",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.ask(cmd.Context(), func(c *admin.Client) error {
				s, err := c.Status(cmd.Context())
				if err != nil {
					return err
				}
				if asJSON {
					return admin.Encode(a.out, s)
				}
				a.printStatus(s)
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as one object")
	return cmd
}

func (a *app) printStatus(s *admin.Status) {
	if s.Running {
		since := ""
		if s.StartedAt != nil {
			since = fmt.Sprintf(", up since %s (%s)", clock(s.StartedAt), time.Since(*s.StartedAt).Round(time.Second))
		}
		fmt.Fprintf(a.out, "ingestd %s runs as process %d%s\n", s.Version, s.PID, since)
	} else {
		fmt.Fprintf(a.out, "no daemon runs on %s\n", printable(s.StateDir))
	}
	if s.DiskLow != "" {
		fmt.Fprintf(a.out, "paused: the disk is nearly full: %s\n", printable(s.DiskLow))
	}
	for i := range s.Alerts {
		a.printAlert(&s.Alerts[i])
	}
	if f := s.SFTPServer; f != nil {
		fmt.Fprintf(a.out, "sftp server on %s, %s\n", f.Listen, some(int64(f.Connections), "connection"))
		for _, k := range f.HostKeys {
			fmt.Fprintf(a.out, "  host key %s\n", k)
		}
	}
	fmt.Fprintln(a.out)
	t := newTable("PIPELINE", "STATE", "SINCE", "WAITING", "HELD", "DEAD", "RECORDS/S", "LAST ARRIVAL", "EXPECTED BY", "ERROR")
	for _, p := range s.Pipelines {
		rate := ""
		if p.Rate > 0 {
			rate = fmt.Sprintf("%.1f", p.Rate)
		}
		t.AppendRow([]any{p.Name, p.State, clock(p.Since), p.Waiting, p.Held, p.Dead, rate, clock(p.LastArrival), clock(p.ExpectedBy), cut(printable(p.Error), 100)})
	}
	fmt.Fprintln(a.out, t.Render())
	fmt.Fprintln(a.out)
	t = newTable("SINK", "STATE", "SINCE", "NEXT TRY", "ERROR")
	for _, k := range s.Sinks {
		// Whole: what to do stands at the end.
		t.AppendRow([]any{k.Name, k.State, clock(k.Since), clock(k.Next), cut(printable(k.Error), 400)})
	}
	fmt.Fprintln(a.out, t.Render())
}
