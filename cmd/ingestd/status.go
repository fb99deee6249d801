package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"ingestd/ingest/admin"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func (a *app) statusCommand() *cobra.Command {
	var (
		asJSON, watch bool
		every         time.Duration
	)
	cmd := &cobra.Command{
		Use:   "status",
		Short: "One screen: pipelines, what waits, rates, errors, sinks' health",
		Long: `Shows on one screen what needs a person first, then each pipeline with what came
last, what waits and why, how fast it goes and what it expects next, then the
sinks. --watch keeps the screen up to date until it is interrupted; where
nobody looks on, it prints one screen (or object) after the other.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			show := func(ctx context.Context) error {
				return a.ask(ctx, func(c *admin.Client) error {
					s, err := c.Status(ctx)
					if err != nil {
						return err
					}
					if asJSON {
						return admin.Encode(a.out, s)
					}
					return a.showStatus(s, watch)
				})
			}
			switch {
			case !watch:
				return show(cmd.Context())
			case every < 100*time.Millisecond:
				return usage("status: --every %s is less than 100ms", every)
			}
			return a.watchStatus(cmd.Context(), every, asJSON, show)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as one object")
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "keep it up to date")
	cmd.Flags().DurationVar(&every, "every", 2*time.Second, "with --watch: how often")
	return cmd
}

// What a terminal is told (ECMA-48, xterm): its other screen and back, and to
// clear the rest of a line and of the screen.
const (
	otherScreen = "\x1b[?1049h\x1b[?25l"
	firstScreen = "\x1b[?25h\x1b[?1049l"
	topLeft     = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
)

// watchStatus shows again and again until ctx ends. Each time it asks whoever
// owns the ledger then, so that it never stands in a starting daemon's way.
func (a *app) watchStatus(ctx context.Context, every time.Duration, asJSON bool, show func(context.Context) error) error {
	if a.outTerminal && !asJSON {
		fmt.Fprint(a.out, otherScreen)
		defer fmt.Fprint(a.out, firstScreen)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := show(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		select {
		case <-ctx.Done():
			return nil // a person has seen enough
		case <-tick.C:
		}
	}
}

// showStatus prints the screen; watched on a terminal, in place of the last.
func (a *app) showStatus(s *admin.Status, watched bool) error {
	now := time.Now()
	var b bytes.Buffer
	writeStatus(&b, s, now)
	switch {
	case !watched:
	case a.outTerminal:
		width, height, err := term.GetSize(int(os.Stdout.Fd()))
		if err != nil || width <= 0 || height <= 0 {
			width, height = 80, 24
		}
		_, err = a.out.Write(frame(b.String(), width, height))
		return err
	default:
		fmt.Fprintf(&b, "— %s\n\n", now.Format(time.RFC3339))
	}
	_, err := a.out.Write(b.Bytes())
	return err
}

// frame lays text over the last one: long lines are broken, and what does not
// fit then is left out, and said.
func frame(text string, width, height int) []byte {
	var lines []string
	for line := range strings.Lines(text) {
		rest := []rune(strings.TrimSuffix(line, "\n"))
		for ; len(rest) > width; rest = rest[width:] {
			lines = append(lines, string(rest[:width]))
		}
		lines = append(lines, string(rest))
	}
	if left := len(lines) - height; left > 0 && height > 1 {
		lines = append(lines[:height-1], cut(fmt.Sprintf("… %d lines more: ingestd status", left+1), width))
	}
	b := []byte(topLeft)
	for i, l := range lines {
		b = append(b, l...)
		b = append(b, clearLine...)
		if i < len(lines)-1 {
			b = append(b, "\r\n"...)
		}
	}
	return append(b, clearBelow...)
}
