package config

import (
	"strings"
	"unicode/utf8"
)

// At returns where the value of a config path stands, such as
// pipelines.orders.record.key[0]; a block is where its key is. What is not
// written (a default) is where the nearest block around it stands, at last the
// file itself.
func (c *Config) At(path string) Position {
	n := c.at(path)
	if n == nil {
		return Position{File: c.File}
	}
	return Position{File: n.src.name, Line: n.line, Col: n.col}
}

func (c *Config) at(path string) *node {
	for _, p := range ancestors(path) {
		if n, ok := c.places[p]; ok && n.src != nil {
			return n
		}
	}
	if len(c.files) > 0 {
		return &node{src: c.files[0]}
	}
	return nil
}

// Given reports whether a config path is written in the file, in an included
// one or under defaults.
func (c *Config) Given(path string) bool {
	_, ok := c.places[path]
	return ok
}

// Problem is a problem with the value of a config path, for rooms that check
// what only they understand. message and hint must hold no secret; hint may be
// empty.
func (c *Config) Problem(path, message, hint string) Problem {
	p := c.at(path).problem(message, hint)
	if p.src == nil {
		p.File = c.File
	}
	return p
}

// ProblemIn is a problem at a place inside the text of a config path: in its
// line and column, both from 1 and in characters. Where that place cannot be
// found in the file (an escape stands before it, ${…} was filled in), it is
// where the text begins.
func (c *Config) ProblemIn(path string, line, col int, message, hint string) Problem {
	n := c.at(path)
	if n.interpolated() {
		return n.problem("`"+last(path)+"`, with what ${…} brought into it, is wrong", hint) // its text may be secret
	}
	p := c.Problem(path, message, hint)
	lines := strings.Split(n.text, "\n")
	if p.src == nil || n.kind != scalarNode || line < 1 || line > len(lines) || col < 1 || col > utf8.RuneCountInString(lines[line-1])+1 {
		return p
	}
	// The line stands in the file as it is, or with an indentation before it.
	for at := n.line; at <= min(n.line+line, len(p.src.lines)); at++ {
		source, from := []rune(p.src.lines[at-1]), 0
		if at == n.line {
			from = min(max(n.col-1, 0), len(source))
		}
		before, _, ok := strings.Cut(string(source[from:]), lines[line-1])
		if ok && at >= n.line+line-1 {
			p.Line, p.Col = at, from+utf8.RuneCountInString(before)+col
			return p
		}
	}
	return p
}

// Unsupported lists what the config uses that is valid, but that this build
// does not act on: a daemon refuses to run with it.
func (c *Config) Unsupported() Problems { return c.later }
