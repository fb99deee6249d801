package main

import (
	"bufio"
	"fmt"
	"io"
	"iter"
	"strings"

	"ingestd/ingest/admin"

	"github.com/jedib0t/go-pretty/v6/table"
)

// confirm asks before something is destroyed.
func (a *app) confirm(yes bool, question string) error {
	if yes {
		return nil
	}
	if !a.inTerminal {
		return &exit{code: codeUsage, err: fmt.Errorf("%s", strings.TrimSuffix(question, "?")+": nobody is here to ask"), hint: "--yes answers"}
	}
	fmt.Fprintf(a.err, "%s [y/N] ", question)
	answer, err := bufio.NewReader(io.LimitReader(a.in, 64)).ReadString('\n')
	if err != nil && answer == "" {
		fmt.Fprintln(a.err)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return &exit{code: codeUsage, err: fmt.Errorf("nothing was done")}
}

// printLines writes a listing, one object a line, as it comes.
func printLines[V any](a *app, rows iter.Seq2[V, error]) error {
	out := bufio.NewWriterSize(a.out, 32<<10)
	for v, err := range rows {
		if err == nil {
			err = admin.Encode(out, v)
		}
		if err != nil {
			out.Flush()
			return err
		}
	}
	return out.Flush()
}

// printTable writes a listing of n rows for people.
func (a *app) printTable(t table.Writer, n int, none string) error {
	if n == 0 {
		fmt.Fprintln(a.out, none)
		return nil
	}
	fmt.Fprintln(a.out, t.Render())
	if n > tableRows {
		fmt.Fprintf(a.out, "… and more: --json lists all\n")
	}
	return nil
}
