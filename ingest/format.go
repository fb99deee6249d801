package ingest

import (
	"context"
	"io"
)

// A Reader turns one arrival's bytes into records and faults, in order.
type Reader interface {
	// Read resets c and fills it with the next records and faults, up to about
	// ChunkRecords or ChunkBytes. It returns nil with at least one of them, or
	// io.EOF with none when the arrival ended properly. Any other error (a
	// *ReadError) means unreadable from here on; c then holds what was whole
	// before it. A bad record is a Fault, never an error.
	Read(ctx context.Context, c *Chunk) error

	// Details says what was found; complete after the first Read.
	Details() Details

	Close() error
}

// Details describes how an arrival is being read.
type Details struct {
	Format   string   // "csv", "json", "xml", "xlsx", "raw", "fixed"
	Encoding string   // IANA name in lower case, "utf-8", …; "" where it has none
	Header   []string // field names known before the first record, nil where the format has none
	Notes    []Note   // what was detected and why, for people
}

// A Note is one thing that was detected, with its evidence.
type Note struct {
	What  string // "delimiter"
	Value string // ";"
	Why   string // "12 of 12 lines have 9 cells"
}

// Input is the bytes of an arrival. ReadAt may be called from one goroutine at
// a time; sequential reads are the cheap ones.
type Input struct {
	Name string // the arrival's name, for formats by name
	Size int64
	io.ReaderAt
}
