package ingest

import (
	"fmt"
	"strconv"
)

// Stage says which step refused a record.
type Stage string

// The stages of contract.md's dead letters.
const (
	StageParse   Stage = "parse"
	StageShape   Stage = "shape"
	StageDeliver Stage = "deliver"
)

// A Fault is a record that could not be read or shaped. It takes an ordinal of
// its own, so that the books balance, and its neighbours go on.
type Fault struct {
	Pos    Position
	Stage  Stage
	Reason string // for people; holds no secret
	Raw    []byte // the record's bytes as they stood, cut at MaxRawFault
}

// MaxRawFault bounds the bytes of a bad record that are kept.
const MaxRawFault = 1 << 20

// A ReadError says that an arrival is unreadable from a place on: it was cut
// short, is no such format, or passes a limit. What was read before it counts.
type ReadError struct {
	Format string // "csv", "gzip", …
	Pos    Position
	Reason string // what is wrong and, where possible, what to do
	Err    error  // the cause, or nil
}

func (e *ReadError) Error() string {
	s := e.Format + ": " + e.Reason
	if e.Pos.Line > 0 {
		s = e.Format + ": line " + strconv.FormatInt(e.Pos.Line, 10)
		if e.Pos.Column > 0 {
			s += ", column " + strconv.Itoa(e.Pos.Column)
		}
		s += ": " + e.Reason
	}
	if e.Err != nil {
		s = fmt.Sprintf("%s: %v", s, e.Err)
	}
	return s
}

func (e *ReadError) Unwrap() error { return e.Err }

// A HeaderError says that a file's header lacks fields that the pipeline
// needs; such a file is held before anything is sent.
type HeaderError struct {
	Missing []string // the needed names, as configured
	Nearest []string // for each, the header's nearest name, or ""
	Header  []string
}

func (e *HeaderError) Error() string {
	s := "the header lacks"
	for i, m := range e.Missing {
		if i > 0 {
			s += ","
		}
		s += " " + strconv.Quote(m)
		if e.Nearest[i] != "" {
			s += " (nearest: " + strconv.Quote(e.Nearest[i]) + ")"
		}
	}
	return s
}
