package main

import (
	"fmt"

	"ingestd/cmd/internal/daemon"
	"ingestd/ingest/admin"

	"github.com/spf13/cobra"
)

func (a *app) sftpCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sftp",
		Short: "Host keys of partners' SFTP servers",
		Args:  exactly(),
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.sftpTrustCommand())
	return cmd
}

func (a *app) sftpTrustCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "trust HOST[:PORT]",
		Short: "Fetch a server's host keys, show fingerprints, print the host_keys lines",
		Long: `Asks the server for its host keys, one of each type that it has, and prints them
as host_keys lines for the config. It logs in to nothing and writes nothing.

Whoever stands between here and the server can show keys of their own: compare
a fingerprint with one that the server's owner told you by another way.
Exits with 3 where the server cannot be reached.`,
		Example: "  ingestd sftp trust sftp.acme.example\n  ingestd sftp trust sftp.acme.example:2222",
		Args:    exactly("HOST[:PORT]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := daemon.HostKeys(cmd.Context(), args[0])
			if err != nil {
				return &exit{code: codeUnfinished, err: err}
			}
			if asJSON {
				for _, k := range keys {
					if err := admin.Encode(a.out, map[string]string{"host": args[0], "type": k.Type, "fingerprint": k.Fingerprint, "line": k.Line}); err != nil {
						return err
					}
				}
				return nil
			}
			fmt.Fprintf(a.out, "# %s shows these host keys. Compare a fingerprint with what its owner says.\n", args[0])
			for _, k := range keys {
				fmt.Fprintf(a.out, "#   %-20s %s\n", k.Type, k.Fingerprint)
			}
			fmt.Fprintln(a.out, "host_keys:")
			for _, k := range keys {
				fmt.Fprintf(a.out, "  - %q\n", k.Line)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "one object a line")
	return cmd
}
