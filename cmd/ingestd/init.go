package main

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"ingestd/samples"

	"github.com/spf13/cobra"
)

//go:embed starter.yaml
var starter []byte

func (a *app) initCommand() *cobra.Command {
	var (
		partner partner
		keyFile string
	)
	cmd := &cobra.Command{
		Use:   "init [DIR]",
		Short: "Write a commented starter config, a sample drop and a systemd unit; or a partner's config",
		Long: `Writes ingestd.yaml, a drop folder with a sample file in it, and ingestd.service
into DIR (default: here). Nothing that is there already is overwritten.

With --partner NAME it writes conf.d/NAME.yaml beside the config instead: a user
of the built-in SFTP server and a pipeline for what it uploads. The letter to
the partner (host, fingerprints, folder, commands) goes to standard output.
Without --key a password is made, which stands in the letter and nowhere else.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case partner.Name != "" && len(args) > 0:
				return usage("init --partner writes beside the config (-c FILE) and takes no directory")
			case partner.Name != "":
				return a.initPartner(partner, keyFile)
			case cmd.Flags().NFlag() > 0 && a.configFile == "":
				return usage("init: these flags go with --partner NAME")
			}
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			sample := samples.Inputs()[0]
			for _, f := range []struct {
				name string
				data []byte
			}{
				{"ingestd.yaml", starter},
				{filepath.Join("drop", sample.Name()), sample.Bytes()},
				{"ingestd.service", samples.Unit()},
			} {
				path := filepath.Join(dir, f.name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					return usage("init: %w", err)
				}
				err := writeNew(path, f.data)
				switch {
				case errors.Is(err, fs.ErrExist):
					fmt.Fprintf(a.out, "kept   %s (it was there)\n", path)
				case err != nil:
					return usage("init: %w", err)
				default:
					fmt.Fprintf(a.out, "wrote  %s\n", path)
				}
			}
			cfg := filepath.Join(dir, "ingestd.yaml")
			fmt.Fprintf(a.out, "\nNow try:\n  ingestd check -c %s\n  ingestd once -c %s\n  ingestd arrivals -c %s\n", cfg, cfg, cfg)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&partner.Name, "partner", "", "make the config of a partner who uploads over SFTP")
	f.StringVar(&keyFile, "key", "", "the partner's public key: a file, or - for standard input")
	f.StringVar(&partner.Host, "host", "", "the name by which the partner reaches this machine (default: its host name)")
	f.StringVar(&partner.Home, "home", "", "the partner's directory (default: beside those of the others)")
	f.StringVar(&partner.Path, "path", "in/", "the folder in it that is taken up from")
	f.StringSliceVar(&partner.Sinks, "sink", nil, "where records go (default: where those of the first pipeline go)")
	return cmd
}

// writeNew writes a file that is not there yet.
func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
