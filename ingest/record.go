package ingest

// Kind is the type of a field's value.
type Kind uint8

// The kinds of values. Raw holds, for String: the text, valid UTF-8, unquoted;
// Number: the digits as they stood, a valid JSON number; Bool: "true" or
// "false"; Object and Array: compact JSON text (no white space outside
// strings, so no line ends); Null: nothing.
const (
	Null Kind = iota
	String
	Number
	Bool
	Object
	Array
)

// A Field is one named value of a record.
type Field struct {
	Name string
	Kind Kind
	Raw  []byte
}

// Text is the value as plain text: what a key, a URL or a CSV cell shows.
func (f Field) Text() []byte { return f.Raw }

// A Position says where in its arrival a record or fault stands.
type Position struct {
	Record int64 // ordinal among records and faults of the arrival, from 1
	Line   int64 // line (row for XLSX, ordinal where there are no line ends), from 1, headers counted
	Column int   // column in bytes within the line, from 1; 0 where unknown
	Offset int64 // byte offset in the decoded (unpacked, UTF-8) stream; -1 where unknown
}

// A Record is one row, element or object: named values in the order of the
// file. Fields and Raw belong to the Chunk that holds the record.
type Record struct {
	Fields []Field
	Pos    Position
	Raw    []byte // the record's bytes as they stood in the (decoded) file, for dead letters; no line end
}

// Lookup returns the first field called name.
func (r *Record) Lookup(name string) (Field, bool) {
	for i := range r.Fields {
		if r.Fields[i].Name == name {
			return r.Fields[i], true
		}
	}
	return Field{}, false
}

// A Chunk is a run of consecutive records and faults that share memory. Both
// lists are in rising order of Pos.Record; together they leave no ordinal out.
// Everything in it is valid until Reset.
type Chunk struct {
	Records []Record
	Faults  []Fault

	// Fields and Buf are the reader's arenas: Records[i].Fields point into
	// Fields, Raw bytes into Buf or into memory that the reader made for this
	// chunk alone.
	Fields []Field
	Buf    []byte

	// Spans say which records came out of which event, rising; nil for what is
	// no bundle. A span that goes on in the next chunk is given again there, with
	// its whole range so far; one of an event without records, or the last ones,
	// may come with io.EOF.
	Spans []Span
}

// Reset empties the chunk and keeps its memory, unless one huge record made it
// far larger than usual.
func (c *Chunk) Reset() {
	const keep = 4 << 20
	if cap(c.Buf) > keep {
		c.Buf = nil
	}
	if cap(c.Fields) > keep/64 {
		c.Fields = nil
	}
	c.Records, c.Faults = c.Records[:0], c.Faults[:0]
	c.Fields, c.Buf = c.Fields[:0], c.Buf[:0]
	clear(c.Spans)
	c.Spans = c.Spans[:0]
}

// Size is the memory that the chunk's bytes take, in bytes.
func (c *Chunk) Size() int { return cap(c.Buf) + 40*cap(c.Fields) + 96*cap(c.Records) }

// How much a reader puts into one chunk: it stops at whichever comes first
// (a single larger record still fits alone).
const (
	ChunkRecords = 512
	ChunkBytes   = 128 << 10
)
