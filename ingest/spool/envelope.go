package spool

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"ingestd/ingest"
)

// ErrDamaged: an envelope is torn, altered or of an unknown version. It must
// not be sent.
var ErrDamaged = errors.New("damaged envelope")

// MaxBody bounds an envelope's body, in bytes.
const MaxBody = math.MaxInt32

// An Envelope is a batch that was put off, with all that is needed to send the
// same bytes again and to say of each record what became of it.
type Envelope struct {
	ContentType string
	Body        []byte
	Records     []Enclosed
	Vars        []ingest.Var // values for the sink's URL
}

// Enclosed is one record of an envelope.
type Enclosed struct {
	Pos ingest.Position
	// Body[At : At+Len] is the record as it is sent; 0, 0 where the body has no
	// place of its own for each record.
	At, Len int32
	Raw     []byte // as it stood in its file, for dead letters
}

// The form of an envelope on disk, version 1. Numbers are varints (signed ones
// zigzag), texts are their length and their bytes:
//
//	magic, version | total length, 8 bytes little-endian | id
//	content type | body | count, records | count, vars | SHA-256 of all before
const (
	envelopeMagic   = "INGOUTB"
	envelopeVersion = 1
	envelopeHead    = len(envelopeMagic) + 1 + 8
	envelopeFoot    = sha256.Size
	minEnclosed     = 7 // bytes a record takes at least
	minVar          = 2
)

// appendEnvelope appends e in its form on disk.
func appendEnvelope(dst []byte, id int64, e *Envelope) ([]byte, error) {
	if len(e.Body) > MaxBody {
		return nil, fmt.Errorf("a body of %d bytes, at most %d", len(e.Body), MaxBody)
	}
	start := len(dst)
	dst = append(dst, envelopeMagic...)
	dst = append(dst, envelopeVersion)
	dst = append(dst, make([]byte, 8)...)
	dst = binary.AppendVarint(dst, id)
	dst = appendText(dst, e.ContentType)
	dst = appendText(dst, e.Body)
	dst = binary.AppendUvarint(dst, uint64(len(e.Records)))
	for i := range e.Records {
		r := &e.Records[i]
		if !r.within(len(e.Body)) {
			return nil, fmt.Errorf("record %d stands at %d+%d of a body of %d bytes", r.Pos.Record, r.At, r.Len, len(e.Body))
		}
		dst = binary.AppendVarint(dst, r.Pos.Record)
		dst = binary.AppendVarint(dst, r.Pos.Line)
		dst = binary.AppendVarint(dst, int64(r.Pos.Column))
		dst = binary.AppendVarint(dst, r.Pos.Offset)
		dst = binary.AppendUvarint(dst, uint64(r.At))
		dst = binary.AppendUvarint(dst, uint64(r.Len))
		dst = appendText(dst, r.Raw)
	}
	dst = binary.AppendUvarint(dst, uint64(len(e.Vars)))
	for _, v := range e.Vars {
		dst = appendText(dst, v.Name)
		dst = appendText(dst, v.Value)
	}
	size := len(dst) - start + envelopeFoot
	binary.LittleEndian.PutUint64(dst[start+len(envelopeMagic)+1:], uint64(size))
	sum := sha256.Sum256(dst[start:])
	return append(dst, sum[:]...), nil
}

func (r *Enclosed) within(body int) bool {
	return r.At >= 0 && r.Len >= 0 && int64(r.At)+int64(r.Len) <= int64(body)
}

func appendText[T string | []byte](dst []byte, s T) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// parseEnvelope reads what appendEnvelope wrote for id. The result shares b's
// memory. Any difference, one bit or one byte too many, is ErrDamaged.
func parseEnvelope(b []byte, id int64) (*Envelope, error) {
	if len(b) < envelopeHead+envelopeFoot {
		return nil, fmt.Errorf("%w: %d bytes", ErrDamaged, len(b))
	}
	if !bytes.HasPrefix(b, []byte(envelopeMagic)) {
		return nil, fmt.Errorf("%w: it does not start as one", ErrDamaged)
	}
	if v := b[len(envelopeMagic)]; v != envelopeVersion {
		return nil, fmt.Errorf("%w: version %d, this program knows %d", ErrDamaged, v, envelopeVersion)
	}
	if n := binary.LittleEndian.Uint64(b[len(envelopeMagic)+1:]); n != uint64(len(b)) {
		return nil, fmt.Errorf("%w: %d of %d bytes", ErrDamaged, len(b), n)
	}
	content, sum := b[:len(b)-envelopeFoot], b[len(b)-envelopeFoot:]
	if want := sha256.Sum256(content); !bytes.Equal(sum, want[:]) {
		return nil, fmt.Errorf("%w: its checksum does not fit", ErrDamaged)
	}
	d := decoder{b: content[envelopeHead:]}
	e := &Envelope{}
	got := d.int()
	e.ContentType = string(d.text())
	e.Body = d.text()
	e.Records = make([]Enclosed, d.count(minEnclosed))
	for i := range e.Records {
		r := &e.Records[i]
		r.Pos.Record, r.Pos.Line = d.int(), d.int()
		r.Pos.Column, r.Pos.Offset = int(d.int()), d.int()
		r.At, r.Len = d.int32(), d.int32()
		r.Raw = d.text()
		d.bad = d.bad || !r.within(len(e.Body))
	}
	e.Vars = make([]ingest.Var, d.count(minVar))
	for i := range e.Vars {
		e.Vars[i] = ingest.Var{Name: string(d.text()), Value: string(d.text())}
	}
	switch {
	case d.bad || len(d.b) > 0:
		return nil, fmt.Errorf("%w: its content does not fit its form", ErrDamaged)
	case got != id:
		return nil, fmt.Errorf("%w: it is that of batch %d", ErrDamaged, got)
	}
	return e, nil
}

// A decoder takes values off b's front; once bad, all it returns is zero.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || d.bad {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) int() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 || d.bad {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) int32() int32 {
	v := d.uint()
	if v > math.MaxInt32 {
		d.bad = true
		return 0
	}
	return int32(v)
}

func (d *decoder) text() []byte {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.bad = true
		return nil
	}
	t := d.b[:n:n]
	d.b = d.b[n:]
	return t
}

// count reads how many items of at least size bytes follow, so that a false
// count cannot ask for more memory than the file's own size times a constant.
func (d *decoder) count(size int) int {
	n := d.uint()
	if n > uint64(len(d.b)/size) {
		d.bad = true
		return 0
	}
	return int(n)
}
