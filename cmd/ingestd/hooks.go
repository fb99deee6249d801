package main

import (
	"strings"

	"ingestd/ingest/admin"

	"github.com/spf13/cobra"
)

func (a *app) hooksCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "hooks",
		Short: "The URLs of webhooks, for their senders",
		Long: `Prints the URL that the senders of each webhook pipeline call. Where the config
names no path it was made once, nobody can guess it, and it stays: treat the URL
as a secret.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.ask(cmd.Context(), func(c *admin.Client) error {
				list, err := c.Hooks(cmd.Context())
				if err != nil {
					return err
				}
				if asJSON {
					for _, h := range list {
						if err := admin.Encode(a.out, h); err != nil {
							return err
						}
					}
					return nil
				}
				t := newTable("PIPELINE", "URL", "METHODS", "MODE", "SCHEME")
				for _, h := range list {
					t.AppendRow([]any{h.Pipeline, printable(h.URL), strings.Join(h.Methods, " "), h.Mode, h.Scheme})
				}
				return a.printTable(t, len(list), "no pipeline has a webhook as its source")
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "one object a line")
	return cmd
}
