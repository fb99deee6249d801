package main

import (
	"fmt"
	"path/filepath"

	"ingestd/ingest/admin"

	"github.com/spf13/cobra"
)

func (a *app) ledgerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ledger",
		Short: "The database that remembers: sizes, retention, backup",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &exit{code: codeUsage, err: fmt.Errorf("there is no command \"ledger %s\"", args[0]), hint: "ledger stats, prune or backup"}
			}
			return cmd.Help()
		},
	}
	var statsJSON, pruneJSON bool
	stats := &cobra.Command{
		Use:   "stats",
		Short: "How large it is",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.ask(cmd.Context(), func(c *admin.Client) error {
				s, err := c.LedgerStats(cmd.Context())
				if err != nil {
					return err
				}
				if statsJSON {
					return admin.Encode(a.out, s)
				}
				t := newTable()
				t.ResetHeaders()
				t.AppendRow([]any{"file", printable(s.Path)})
				t.AppendRow([]any{"size", bytesText(s.Bytes)})
				t.AppendRow([]any{"arrivals", thousands(s.Arrivals)})
				t.AppendRow([]any{"batches", thousands(s.Batches)})
				t.AppendRow([]any{"dead letters", thousands(s.Letters)})
				t.AppendRow([]any{"keys", thousands(s.Keys)})
				fmt.Fprintln(a.out, t.Render())
				return nil
			})
		},
	}
	stats.Flags().BoolVar(&statsJSON, "json", false, "as one object")
	prune := &cobra.Command{
		Use:   "prune",
		Short: "Apply retention now",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.ask(cmd.Context(), func(c *admin.Client) error {
				p, err := c.LedgerPrune(cmd.Context())
				if err != nil {
					return err
				}
				if pruneJSON {
					return admin.Encode(a.out, p)
				}
				fmt.Fprintf(a.out, "removed %s, %s, %s, %s\n",
					some(p.Files, "file"), some(p.Arrivals, "arrival"), some(p.Letters, "dead letter"), some(p.Keys, "key"))
				return nil
			})
		},
	}
	prune.Flags().BoolVar(&pruneJSON, "json", false, "as one object")
	backup := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write a consistent copy to a new file, while the daemon runs",
		Args:  exactly("the new file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			return a.ask(cmd.Context(), func(c *admin.Client) error {
				return a.done(c.LedgerBackup(cmd.Context(), path), "the ledger was copied to %s", args[0])
			})
		},
	}
	cmd.AddCommand(stats, prune, backup)
	return cmd
}
