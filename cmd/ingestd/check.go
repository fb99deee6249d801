package main

import (
	"fmt"

	"ingestd/cmd/internal/daemon"
	"ingestd/config"
	"ingestd/ingest/admin"

	"github.com/spf13/cobra"
)

func (a *app) checkCommand() *cobra.Command {
	var connect, asJSON bool
	cmd := &cobra.Command{
		Use:   "check [--connect]",
		Short: "Is the config right? Says everything that is wrong with it at once",
		Long: `Reads the config and everything it names, and says all that is wrong with it,
each with file, line and column. With --connect it also tries every source and
connects to every sink, without sending anything. Exits with 2 where the config
is wrong (warnings do not count), and with 3 where a source or sink cannot be
reached.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, err := a.configPath()
			if err != nil {
				return err
			}
			cfg, problems := daemon.Load(path)
			if asJSON {
				for _, p := range problems {
					if err := admin.Encode(a.out, p); err != nil {
						return err
					}
				}
			} else if err := problems.Render(a.err, a.errTerminal); err != nil {
				return err
			}
			if cfg == nil {
				n := len(problems) - len(problems.Warnings())
				if !asJSON {
					fmt.Fprintf(a.err, "%s in %s\n", some(int64(n), "error"), path)
				}
				return &exit{code: codeUsage}
			}
			if !asJSON {
				a.printDropKeys(cfg)
			}
			if connect {
				bad := 0
				for r := range daemon.Connect(cmd.Context(), cfg, version()) {
					if asJSON {
						if err := admin.Encode(a.out, r); err != nil {
							return err
						}
					} else if r.Error != "" {
						fmt.Fprintf(a.err, "%s: %s\n", r.What, printable(r.Error))
					} else if r.Note != "" {
						fmt.Fprintf(a.out, "%s: ok; %s\n", r.What, printable(r.Note))
					} else {
						fmt.Fprintf(a.out, "%s: ok\n", r.What)
					}
					if r.Error != "" {
						bad++
					}
				}
				if bad > 0 {
					return &exit{code: codeUnfinished}
				}
			}
			if !asJSON {
				fmt.Fprintf(a.out, "%s is right: %s, %s\n", path, some(int64(len(cfg.Pipelines)), "pipeline"), some(int64(len(cfg.Sinks)), "sink"))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&connect, "connect", false, "also try every source and sink")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one object a line")
	return cmd
}

// printDropKeys shows the host keys of the drop server, which partners compare.
func (a *app) printDropKeys(cfg *config.Config) {
	if len(cfg.SFTPServer.Users) == 0 {
		return
	}
	prints, _, err := daemon.DropFingerprints(cfg)
	for _, k := range prints {
		fmt.Fprintf(a.out, "sftp_server %s: host key %s\n", cfg.SFTPServer.Listen, k)
	}
	switch {
	case err != nil:
		fmt.Fprintf(a.err, "sftp_server: %v\n", err)
	case len(prints) == 0:
		fmt.Fprintf(a.out, "sftp_server %s: its host keys are made at the first start\n", cfg.SFTPServer.Listen)
	}
}
