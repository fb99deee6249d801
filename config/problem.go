package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A Position is a place in a config file.
type Position struct {
	File string `json:"file"` // as it was named to Load, or found by include
	Line int    `json:"line"` // from 1; 0 where the file as a whole is meant
	Col  int    `json:"col"`  // in characters, from 1
}

func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

// A Problem is one thing that is wrong, or, as a Warning, doubtful, in a
// config. Message and Hint hold no secret.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"` // from 1; 0 where there is none
	Col     int    `json:"col"`  // in characters, from 1
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`    // what to write instead
	Warning bool   `json:"warning,omitempty"` // the config is taken all the same

	src *file // nil where there is no line to show
}

// Error is the problem on one line, without the source line.
func (p Problem) Error() string {
	s := Position{p.File, p.Line, p.Col}.String() + ": "
	if p.Warning {
		s += "warning: "
	}
	s += p.Message
	if p.Hint != "" {
		s += " (" + p.Hint + ")"
	}
	return s
}

// render writes the problem for people: the message, the source line and a
// caret.
func (p Problem) render(b *strings.Builder, paint palette) {
	b.WriteString(paint.bold(Position{p.File, p.Line, p.Col}.String()+":") + " ")
	if p.Warning {
		b.WriteString(paint.yellow("warning:") + " ")
	}
	b.WriteString(p.Message + "\n")
	line, caret, ok := p.src.show(p.Line, p.Col)
	if !ok {
		if p.Hint != "" {
			b.WriteString("    " + paint.green(p.Hint) + "\n")
		}
		return
	}
	b.WriteString("    " + line + "\n")
	mark := "^"
	if p.Hint != "" {
		mark += " " + p.Hint
	}
	b.WriteString("    " + caret + paint.green(mark) + "\n")
}

// Problems is a list of problems, sorted by position. As an error it stands
// for all of them; a list of warnings alone is no error, see Err.
type Problems []Problem

// Error is one line a problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Err returns the problems that are no warnings as one error, or nil.
func (ps Problems) Err() error {
	var errs Problems
	for _, p := range ps {
		if !p.Warning {
			errs = append(errs, p)
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return errs
}

// Warnings returns the problems that do not stop anything.
func (ps Problems) Warnings() Problems {
	var ws Problems
	for _, p := range ps {
		if p.Warning {
			ws = append(ws, p)
		}
	}
	return ws
}

// Render writes each problem as FILE:LINE:COL: message, followed by the source
// line with secrets cut out, and a caret with the hint.
func (ps Problems) Render(w io.Writer, colour bool) error {
	var b strings.Builder
	for _, p := range ps {
		p.render(&b, palette(colour))
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write config problems: %w", err)
	}
	return nil
}

// Append returns the problems with those that err holds (Problem or Problems,
// wrapped or not), sorted; any other error becomes a problem without a place.
func (ps Problems) Append(err error) Problems {
	var (
		one  Problem
		many Problems
	)
	switch {
	case err == nil:
		return ps
	case errors.As(err, &many):
	case errors.As(err, &one):
		many = Problems{one}
	default:
		many = Problems{{File: "config", Message: err.Error()}}
	}
	all := slices.Concat(ps, many)
	slices.SortStableFunc(all, byPosition)
	return all
}

// palette is whether to colour.
type palette bool

func (p palette) wrap(code, s string) string {
	if !p {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p palette) bold(s string) string   { return p.wrap("1", s) }
func (p palette) yellow(s string) string { return p.wrap("33", s) }
func (p palette) green(s string) string  { return p.wrap("32", s) }

// maxProblems bounds a list; a file that is no config at all gives thousands.
const maxProblems = 200

// A collector gathers problems: each is kept once, however often an alias or a
// defaults block leads there.
type collector struct {
	list []Problem
	seen map[Problem]bool
}

// plenty reports whether there are more problems than anybody will see, so
// that no more work goes into hints.
func (c *collector) plenty() bool { return len(c.list) > 2*maxProblems }

func (c *collector) add(p Problem) {
	if c.seen == nil {
		c.seen = make(map[Problem]bool)
	}
	if c.seen[p] {
		return
	}
	c.seen[p] = true
	c.list = append(c.list, p)
}

// sorted returns the problems by position: files in the order in which they
// were read, warnings of a place after its errors.
func (c *collector) sorted() Problems {
	slices.SortStableFunc(c.list, byPosition)
	if len(c.list) > maxProblems {
		rest := len(c.list) - maxProblems
		last := c.list[maxProblems]
		c.list = append(c.list[:maxProblems:maxProblems], Problem{
			File: last.File, Message: fmt.Sprintf("and %d more problems", rest), src: last.src,
		})
	}
	if len(c.list) == 0 {
		return nil
	}
	return c.list
}

// byPosition orders problems: those without a file first, then the files in the
// order in which they were read.
func byPosition(a, b Problem) int {
	order := func(p Problem) int {
		if p.src == nil {
			return -1
		}
		return p.src.order
	}
	return cmp.Or(cmp.Compare(order(a), order(b)), cmp.Compare(a.File, b.File),
		cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col), compareBool(a.Warning, b.Warning))
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
