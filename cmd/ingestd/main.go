// Command ingestd takes files up as they arrive, tells new records from old
// ones, and delivers each once to the APIs that want it.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	_ "time/tzdata" // zones of the config, on machines that have none

	"ingestd/cmd/internal/daemon"

	"golang.org/x/term"
)

func main() { os.Exit(run(nil)) }

// run is the command, with what a test changes about it.
func run(test func(*daemon.Options)) int {
	if os.Getenv("GOGC") == "" {
		// Most of the heap is key memory that stays; half of it, not all of it
		// again, may be garbage before it is collected.
		debug.SetGCPercent(50)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		cancel(stopped{<-signals})
		<-signals
		// Whoever asks twice does not want to wait. What is on disk is enough
		// to go on from.
		os.Exit(codeInterrupted)
	}()
	a := &app{
		in: os.Stdin, out: os.Stdout, err: os.Stderr,
		errTerminal: term.IsTerminal(int(os.Stderr.Fd())),
		outTerminal: term.IsTerminal(int(os.Stdout.Fd())),
		inTerminal:  term.IsTerminal(int(os.Stdin.Fd())),
		test:        test,
	}
	return a.main(ctx, os.Args[1:])
}

// stopped is the cause of a context that a signal ended.
type stopped struct{ os.Signal }

func (s stopped) Error() string { return "stopped by signal: " + s.Signal.String() }
