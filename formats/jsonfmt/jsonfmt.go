// Package jsonfmt reads JSON as records: an array of objects, NDJSON,
// concatenated values, one object, or the array at a path inside a document.
//
// What it promises:
//
//   - Strict RFC 8259. Beyond it, what two readers could see differently is
//     refused too: a name that stands twice in an object, at any depth, escapes
//     of lone surrogates, and invalid UTF-8. Nothing is replaced by U+FFFD.
//   - Exact values. A Number is the digits of the file; an Object or Array is
//     its text with the white space between tokens taken out and nothing else
//     changed; a String is the text that the escapes mean.
//   - A bad record is a Fault and its neighbours go on. In NDJSON it ends at
//     its line's end. In an array, and among concatenated values, it ends where
//     its brackets balance; where brackets and quotes do not fit together, that
//     place is a guess, and the rest is unreadable (*ingest.ReadError).
//   - A file that is cut short, or that goes on after its end, is a ReadError
//     after the records before it.
//   - Memory follows the longest record up to MaxRecord, not the file.
//
// Positions: Line is the line on which the record starts; in a file without
// line ends between values it is the record's ordinal, and columns count from
// the record's start. A Fault's Column is the place of the error where that is
// on the record's first line; otherwise the reason names line and column.
package jsonfmt

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"ingestd/ingest"
)

const format = "json"

// Options say where the records are and what is too much. The zero value reads
// top-level values under the default limits.
type Options struct {
	// Records is the path to the records inside a document, member names
	// joined by dots: "data.orders". It leads to an array, whose elements are
	// the records, to one object, which is the only record, or to null, which
	// is none. Empty: a top-level array's elements, else each top-level value.
	Records string

	MaxRecord int // bytes of a record as it stands; 16 MiB
	MaxField  int // bytes of a field's value; 8 MiB
	MaxNames  int // names in one object; 16,384
	MaxDepth  int // objects and arrays inside each other, the record counted; 64

	// Block is how much is read at a time, in bytes; 0 or too much means
	// ingest.ChunkBytes. What is known to be small needs no more.
	Block int
}

func (o Options) withDefaults() Options {
	o.MaxRecord = cmp.Or(o.MaxRecord, 16<<20)
	o.MaxField = cmp.Or(o.MaxField, 8<<20)
	o.MaxNames = cmp.Or(o.MaxNames, 16384)
	o.MaxDepth = cmp.Or(o.MaxDepth, 64)
	return o
}

// New returns a Reader of r, which yields UTF-8 without a byte order mark. It
// reads nothing yet. The error is about o.
func New(r io.Reader, o Options) (ingest.Reader, error) {
	o = o.withDefaults()
	if o.MaxRecord < 2 || o.MaxField < 1 || o.MaxNames < 1 || o.MaxDepth < 1 {
		return nil, fmt.Errorf("json: a limit is negative or too small to read anything: %+v", o)
	}
	rd := &Reader{opt: o, details: ingest.Details{Format: format, Encoding: "utf-8"}}
	rd.w.Src, rd.w.Block = r, ingest.ChunkBytes
	if o.Block > 0 {
		rd.w.Block = max(min(o.Block, ingest.ChunkBytes), 512)
	}
	rd.p = parser{w: &rd.w, opt: o, labels: map[string]label{}}
	rd.step = rd.begin
	if o.Records != "" {
		rd.walk.path = strings.Split(o.Records, ".")
		for _, name := range rd.walk.path {
			if name == "" {
				return nil, fmt.Errorf("json: records %q: a name between the dots is empty", o.Records)
			}
		}
	}
	return rd, nil
}
