package main

import (
	"encoding/csv"
	"fmt"
	"strings"

	"ingestd/ingest/admin"

	"github.com/spf13/cobra"
)

func (a *app) forgetCommand() *cobra.Command {
	var (
		pipeline string
		yes      bool
	)
	cmd := &cobra.Command{
		Use:   "forget -p PIPELINE field=value,…",
		Short: "Drop a key from the dedupe memory",
		Long: `Drops one key, so that a record with it counts as new again. Name every key
field with its value as it stands in the file:

    ingestd forget -p orders order_id=1001
    ingestd forget -p lines 'order_id=1001,line=3'

A value that holds a comma is quoted as in CSV: '"name=Smith, John",day=3'.`,
		Args: exactly("field=value"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if pipeline == "" {
				return &exit{code: codeUsage, err: fmt.Errorf("forget: whose key?"), hint: "name the pipeline with -p"}
			}
			fields, err := parseFields(args[0])
			if err != nil {
				return err
			}
			return a.ask(cmd.Context(), func(c *admin.Client) error {
				if err := a.confirm(yes, fmt.Sprintf("Forget %s in %s, so that such a record is sent again?", args[0], pipeline)); err != nil {
					return err
				}
				n, err := c.Forget(cmd.Context(), pipeline, fields)
				if err != nil {
					return err
				}
				if n == 0 {
					fmt.Fprintln(a.out, "that key was not in the memory")
					return nil
				}
				fmt.Fprintf(a.out, "%s forgotten\n", some(n, "key"))
				return nil
			})
		},
	}
	cmd.Flags().StringVarP(&pipeline, "pipeline", "p", "", "the pipeline")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	a.completePipelines(cmd)
	return cmd
}

// parseFields reads field=value pairs, one line of CSV.
func parseFields(s string) (map[string]string, error) {
	r := csv.NewReader(strings.NewReader(s))
	r.LazyQuotes = true
	cells, err := r.Read()
	if err != nil {
		return nil, usage("%q: %v", s, err)
	}
	fields := make(map[string]string, len(cells))
	for _, cell := range cells {
		name, value, ok := strings.Cut(cell, "=")
		if !ok || name == "" {
			return nil, usage("%q is no field=value", cell)
		}
		if _, twice := fields[name]; twice {
			return nil, usage("%q is named twice", name)
		}
		fields[name] = value
	}
	return fields, nil
}
