package main

import (
	"errors"
	"fmt"

	"ingestd/ingest/admin"

	"github.com/spf13/cobra"
)

func (a *app) alertCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "alert",
		Short: "Who is told when something needs a person: try it",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &exit{code: codeUsage, err: fmt.Errorf("there is no command \"alert %s\"", args[0]), hint: "alert test"}
			}
			return cmd.Help()
		},
	}
	var asJSON bool
	test := &cobra.Command{
		Use:   "test",
		Short: "Send a harmless alert through every sink that tells, and say what was answered",
		Long: `Sends a harmless alert through every sink that alerts name, one after the other,
and says what was answered. Exits with 3 where one of them could not tell.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.ask(cmd.Context(), func(c *admin.Client) error {
				list, err := c.TestAlerts(cmd.Context())
				if err != nil {
					return err
				}
				return a.printTests(list, asJSON)
			})
		},
	}
	test.Flags().BoolVar(&asJSON, "json", false, "one object a line")
	cmd.AddCommand(test)
	return cmd
}

func (a *app) printTests(list []admin.AlertTest, asJSON bool) error {
	bad := 0
	for _, t := range list {
		if t.Error != "" {
			bad++
		}
		if asJSON {
			if err := admin.Encode(a.out, t); err != nil {
				return err
			}
			continue
		}
		status := ""
		if t.Status != 0 {
			status = fmt.Sprintf(" (%d)", t.Status)
		}
		if t.Error != "" {
			fmt.Fprintf(a.out, "%s: not told: %s\n", t.Sink, printable(t.Error))
		} else {
			fmt.Fprintf(a.out, "%s: told%s\n", t.Sink, status)
		}
		if t.Answer != "" {
			fmt.Fprintf(a.out, "  answered%s: %s\n", status, cut(printable(t.Answer), 300))
		}
	}
	if bad > 0 {
		return &exit{code: codeUnfinished, err: errors.New(some(int64(bad), "sink") + " could not tell"), hint: "mend it in the config, then: ingestd reload && ingestd alert test"}
	}
	return nil
}
