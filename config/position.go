package config

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

// Unsupported lists what the config uses that is valid, but that this build
// does not act on: a daemon refuses to run with it.
func (c *Config) Unsupported() Problems { return c.later }
