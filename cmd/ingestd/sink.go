package main

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"

	"ingestd/cmd/internal/daemon"
	"ingestd/ingest/admin"

	"github.com/spf13/cobra"
)

func (a *app) sinkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sink",
		Short: "Try a sink",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &exit{code: codeUsage, err: fmt.Errorf("there is no command \"sink %s\"", args[0]), hint: "sink test NAME"}
			}
			return cmd.Help()
		},
	}
	cmd.AddCommand(a.sinkTestCommand())
	return cmd
}

func (a *app) sinkTestCommand() *cobra.Command {
	var (
		method string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "test NAME [--method HEAD|OPTIONS|GET]",
		Short: "Send one harmless request to a sink's target, and show what was answered",
		Long: `Sends one request without a body, with the headers, credentials and TLS of a
delivery, and shows what a delivery would meet. HEAD, OPTIONS and GET change
nothing at a target; where it does not know HEAD, --method tries another. Places
in the URL hold the word ingestd-test. Of a file sink it tries whether files can
be written.

Exits with 0 where the target answers and does not turn us away, with 1 where it
refuses the credentials or redirects, and with 3 where it cannot be reached or
answers "not now".`,
		Args: exactly("the name of a sink"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var t *admin.SinkTest
			err := a.ask(cmd.Context(), func(c *admin.Client) (err error) {
				t, err = c.SinkTest(cmd.Context(), args[0], strings.ToUpper(method))
				return err
			})
			if err != nil {
				return err
			}
			if asJSON {
				err = admin.Encode(a.out, t)
			} else {
				a.printSinkTest(t)
			}
			switch {
			case err != nil:
				return err
			case t.Outcome == "refused":
				return &exit{code: codeNotClean}
			case t.Outcome == "down":
				return &exit{code: codeUnfinished}
			}
			return nil
		},
	}
	cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		path, err := a.configPath()
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		cfg, _ := daemon.Load(path)
		if cfg == nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		names := make([]string, len(cfg.Sinks))
		for i := range cfg.Sinks {
			names[i] = cfg.Sinks[i].Name
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	cmd.Flags().StringVar(&method, "method", http.MethodHead, "what to send: HEAD, OPTIONS or GET")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one object")
	return cmd
}

func (a *app) printSinkTest(t *admin.SinkTest) {
	row := func(name, format string, args ...any) {
		fmt.Fprintf(a.out, "%-12s %s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	row("sink", "%s (%s)", t.Sink, t.Type)
	if t.Method != "" {
		row("request", "%s %s", t.Method, t.URL)
	}
	if t.Address != "" {
		row("address", "%s", t.Address)
	}
	if t.TLS != "" {
		row("tls", "%s, %s", t.TLS, t.Protocol)
	}
	if c := t.Certificate; c != nil {
		days := int(math.Floor(time.Until(c.Ends).Hours() / 24))
		row("certificate", "%s, issued by %s, ends %s (in %s)", c.Subject, c.Issuer, c.Ends.Format(time.DateOnly), some(int64(days), "day"))
	}
	if t.Status != 0 {
		row("answer", "%d %s after %s", t.Status, http.StatusText(t.Status), time.Duration(t.Took*float64(time.Second)).Round(time.Millisecond))
	}
	if t.Answer != "" {
		const shown = 200 // characters
		text := []rune(strings.Join(strings.Fields(t.Answer), " "))
		if len(text) > shown {
			text = append(text[:shown], '…')
		}
		row("", "%s", string(text))
	}
	row(t.Outcome, "%s", t.Means)
}
