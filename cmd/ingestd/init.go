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
	return &cobra.Command{
		Use:   "init [DIR]",
		Short: "Write a commented starter config, a sample drop and a systemd unit",
		Long: `Writes ingestd.yaml, a drop folder with a sample file in it, and ingestd.service
into DIR (default: here). Nothing that is there already is overwritten.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
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
