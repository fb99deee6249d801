package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"ingestd/cmd/internal/daemon"
	"ingestd/ingest/admin"

	"github.com/spf13/cobra"
)

// Exit codes, as scripts know them.
const (
	codeOK          = 0
	codeNotClean    = 1   // finished, but something is dead, held or failed
	codeUsage       = 2   // usage or config
	codeUnfinished  = 3   // safe to run again
	codeInterrupted = 130 // safe to run again
)

// app is one run of the command.
type app struct {
	in                                   io.Reader
	out, err                             io.Writer
	inTerminal, outTerminal, errTerminal bool

	configFile string

	// test changes how the daemon is made; nil but in the tests' own processes.
	test func(*daemon.Options)
}

// An exit ends the command with a code. An err of nil says nothing more: the
// command has said it.
type exit struct {
	code int
	err  error
	hint string
}

func (e *exit) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

// usage is a wrong call.
func usage(format string, args ...any) error {
	return &exit{code: codeUsage, err: fmt.Errorf(format, args...)}
}

func (a *app) main(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	return a.report(ctx, root.ExecuteContext(ctx))
}

// report says what went wrong, and gives the exit code.
func (a *app) report(ctx context.Context, err error) int {
	if err == nil {
		return codeOK
	}
	code, hint := codeUnfinished, ""
	var (
		e *exit
		r *admin.Error
	)
	switch {
	case errors.As(err, &e):
		code, hint = e.code, e.hint
		if e.err == nil {
			return code
		}
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		err, code = context.Cause(ctx), codeInterrupted
		hint = "it is safe to run it again"
	case errors.As(err, &r):
		hint = r.Hint
		if r.Status < http.StatusInternalServerError {
			code = codeUsage
		}
	}
	fmt.Fprintf(a.err, "ingestd: %s\n", err)
	if hint != "" {
		fmt.Fprintf(a.err, "  hint: %s\n", hint)
	}
	return code
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "ingestd",
		Short: "Takes files up as they arrive and delivers each record once",
		Long: `ingestd watches for files that partners drop, reads CSV, JSON, XML and XLSX,
tells new records from old ones, and delivers each once to the APIs that want
it. It can say afterwards where every record went.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				err := usage("there is no command %q", args[0])
				if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
					err = &exit{code: codeUsage, err: err, hint: "did you mean: ingestd " + near[0]}
				}
				return err
			}
			return cmd.Help()
		},
	}
	root.SuggestionsMinimumDistance = 2
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &exit{code: codeUsage, err: err, hint: cmd.CommandPath() + " --help lists the flags"}
	})
	root.PersistentFlags().StringVarP(&a.configFile, "config", "c", "",
		"the config file (default: $INGESTD_CONFIG, ./ingestd.yaml, /etc/ingestd/ingestd.yaml)")
	_ = root.MarkPersistentFlagFilename("config", "yaml", "yml")

	root.AddGroup(
		&cobra.Group{ID: "work", Title: "Working:"},
		&cobra.Group{ID: "look", Title: "Looking:"},
		&cobra.Group{ID: "mend", Title: "Mending:"},
		&cobra.Group{ID: "setup", Title: "Setting up:"},
	)
	add := func(group string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("work", a.runCommand(), a.onceCommand(), a.demoCommand())
	add("look", a.statusCommand(), a.arrivalsCommand(), a.showCommand(), a.auditCommand(), a.previewCommand(), a.alertCommand())
	add("mend", a.deadCommand(), a.releaseCommand(), a.rejectCommand(), a.replayCommand(), a.forgetCommand(),
		a.pauseCommand(), a.resumeCommand(), a.runNowCommand(), a.reloadCommand(), a.sinkCommand(), a.hooksCommand(), a.ledgerCommand())
	add("setup", a.initCommand(), a.hashPasswordCommand(), a.checkCommand(), a.sftpCommand(), a.schemaCommand(), a.versionCommand(), a.completionCommand(), a.manCommand())
	return root
}

// exactly is cobra.ExactArgs with words for people.
func exactly(what ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(what):
			return &exit{code: codeUsage, err: fmt.Errorf("%s: %s is missing", cmd.CommandPath(), what[len(args)]), hint: "usage: " + cmd.UseLine()}
		case len(args) > len(what):
			return &exit{code: codeUsage, err: fmt.Errorf("%s: %q is one too many", cmd.CommandPath(), args[len(what)]), hint: "usage: " + cmd.UseLine()}
		}
		return nil
	}
}

// configPath finds the config file.
func (a *app) configPath() (string, error) {
	if a.configFile != "" {
		return a.configFile, nil
	}
	if env := os.Getenv("INGESTD_CONFIG"); env != "" {
		return env, nil
	}
	for _, path := range []string{"ingestd.yaml", "/etc/ingestd/ingestd.yaml"} {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", &exit{
		code: codeUsage,
		err:  errors.New("there is no config: neither $INGESTD_CONFIG, ./ingestd.yaml nor /etc/ingestd/ingestd.yaml"),
		hint: "name one with -c FILE, or make one with: ingestd init",
	}
}
