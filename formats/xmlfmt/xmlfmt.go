// Package xmlfmt reads the repeated element of an XML document as records.
//
// What it promises:
//
//   - Strict well-formedness (XML 1.0, fifth edition; Namespaces 1.0), checked
//     over the whole file as it streams by, records and what is around them.
//   - No entity is ever declared, expanded or fetched: the five of XML and
//     character references are known, any <!ENTITY is refused. A DOCTYPE
//     without one is checked and ignored; so are the defaults it may give to
//     attributes.
//   - A record that is not well-formed, not UTF-8, or too large is a Fault, and
//     the next one is read, as long as its own end tag is found by name. Outside
//     records, and where the root itself is the record, what is not well-formed
//     makes the rest unreadable (*ingest.ReadError). So does a missing end.
//   - Memory follows the longest record up to MaxRecord, not the file.
//
// How an element becomes a record or an object inside one:
//
//   - attributes become "@name"; namespace declarations do not;
//   - a child that holds only text becomes a string: the text as XML has it,
//     CDATA and references resolved, comments dropped; an empty one is "";
//   - a child with attributes or children becomes an object by these rules, its
//     own text under "#text" (white space between children is none);
//   - children of one name become an array in the place of the first, and names
//     in Options.Lists always do;
//   - xsi:nil="true" on an element without content is null;
//   - names are local names. Where two namespaces have the same local name in
//     one element, the second is called prefix:local, or {namespace}local
//     where it has no prefix.
//
// Positions: Line is the line on which the record starts; in a file without
// line ends between tags it is the record's ordinal, and columns count from
// the record's start. A Fault's Column is the place of the error where that is
// on the record's first line; otherwise the reason names line and column.
package xmlfmt

import (
	"cmp"
	"fmt"
	"io"

	"ingestd/ingest"
)

const format = "xml"

// Options say which element is a record, how it is mapped, and what is too
// much. The zero value finds the record element by itself.
type Options struct {
	// Record is the path from the root to the record element: Orders/Order.
	// A leading slash is allowed; * is any one element. A step is a local name,
	// or prefix:local as it is written in the file.
	//
	// Empty: the shallowest element, within the first 64 KiB, that stands twice
	// in its parent. Where nothing repeats, the root, or what is reached from it
	// by single children that have children or attributes of their own.
	Record string

	AttributePrefix string   // "@"
	TextKey         string   // "#text"
	Lists           []string // names that are arrays even when they stand once

	MaxRecord     int // bytes of a record as it stands; 16 MiB
	MaxField      int // bytes of a field's value; 8 MiB
	MaxNames      int // different names in one element; 16,384
	MaxElements   int // elements and attributes in a record; 262,144
	MaxAttributes int // attributes of an element; 256
	MaxDepth      int // elements inside each other, the root counted; 64
}

func (o Options) withDefaults() Options {
	o.AttributePrefix = cmp.Or(o.AttributePrefix, "@")
	o.TextKey = cmp.Or(o.TextKey, "#text")
	o.MaxRecord = cmp.Or(o.MaxRecord, 16<<20)
	o.MaxField = cmp.Or(o.MaxField, 8<<20)
	o.MaxNames = cmp.Or(o.MaxNames, 16384)
	o.MaxElements = cmp.Or(o.MaxElements, 262144)
	o.MaxAttributes = cmp.Or(o.MaxAttributes, 256)
	o.MaxDepth = cmp.Or(o.MaxDepth, 64)
	return o
}

// New returns a Reader of r, which yields UTF-8 without a byte order mark,
// whatever encoding the XML declaration names. It reads nothing yet. The error
// is about o.
func New(r io.Reader, o Options) (ingest.Reader, error) {
	o = o.withDefaults()
	if min(o.MaxRecord, o.MaxField, o.MaxNames, o.MaxElements, o.MaxAttributes, o.MaxDepth) < 1 || o.MaxRecord > 1<<30 {
		return nil, fmt.Errorf("xml: a limit is below 1, or a record may be larger than 1 GiB: %+v", o)
	}
	rd := &Reader{opt: o, details: ingest.Details{Format: format, Encoding: "utf-8"}}
	if o.Record != "" {
		var err error
		if rd.path, err = parsePath(o.Record); err != nil {
			return nil, err
		}
	}
	rd.w.Src, rd.w.Block = r, ingest.ChunkBytes
	rd.p = newParser(o, &rd.w)
	rd.step = rd.prolog
	return rd, nil
}
