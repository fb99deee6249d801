package journal

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
)

// A segment begins with magic. Each event is a frame (little-endian): the
// lengths of head and body, the Castagnoli CRC of both lengths, head and body,
// then head and body. The highest bit of the head's length says that the next
// event belongs to the same request: both are there or neither is.
const (
	magic     = "ingestd events 1\n"
	frameSize = 12
	goesOn    = 1 << 31
)

// MaxHead and MaxBody bound an event, in bytes.
const (
	MaxHead = 1 << 20
	MaxBody = 256 << 20
)

// TooLargeError says that an event passes MaxHead or MaxBody.
type TooLargeError struct {
	What  string // "head", "body"
	Bytes int
	Max   int
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("an event's %s of %d bytes is too large, at most %d", e.What, e.Bytes, e.Max)
}

func checkSize(head, body []byte) error {
	if len(head) > MaxHead {
		return &TooLargeError{"head", len(head), MaxHead}
	}
	if len(body) > MaxBody {
		return &TooLargeError{"body", len(body), MaxBody}
	}
	return nil
}

func appendEvent(b, head, body []byte, more bool) []byte {
	at := len(b)
	n := uint32(len(head))
	if more {
		n |= goesOn
	}
	b = binary.LittleEndian.AppendUint32(b, n)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	b = append(b, 0, 0, 0, 0)
	b = append(b, head...)
	b = append(b, body...)
	binary.LittleEndian.PutUint32(b[at+8:], sum(b[at:at+8], b[at+frameSize:]))
	return b
}

func sum(lengths, rest []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(lengths, table), table, rest)
}

// A segment is the one that is written to.
type segment struct {
	f      *os.File
	path   string
	number int64
	size   int64 // up to the last good event
	events int
}

// createSegment makes a segment that is found again after a crash.
func createSegment(path string, number int64) (*segment, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	s := &segment{f: f, path: path, number: number, size: int64(len(magic))}
	if _, err = f.WriteAt([]byte(magic), 0); err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		f.Close()
		return nil, errors.Join(err, os.Remove(path))
	}
	return s, nil
}

// append writes n events and has them on disk when it returns nil.
func (s *segment) append(frames []byte, n int) error {
	_, err := s.f.WriteAt(frames, s.size)
	if err == nil {
		err = syncFile(s.f)
	}
	if err != nil {
		return errors.Join(err, s.f.Truncate(s.size))
	}
	s.size += int64(len(frames))
	s.events += n
	return nil
}

func (s *segment) close() {
	s.f.Close()
	if s.events == 0 {
		os.Remove(s.path) // nobody was told of it
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// recoverSegment cuts off what a crash tore, and says what is left. A segment
// without an event is removed.
func recoverSegment(path string, number int64) (Segment, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return Segment{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return Segment{}, err
	}
	s := Segment{Number: number, Path: path}
	r := NewReader(io.NewSectionReader(f, 0, st.Size()))
	for n := 1; ; n++ {
		var e Entry
		if e, err = r.Next(); err != nil {
			break
		}
		if !e.More {
			s.Events, s.Size = n, r.Offset()
		}
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, ErrTorn) {
		return Segment{}, fmt.Errorf("read %s: %w", path, err)
	}
	if s.Events == 0 {
		return s, os.Remove(path)
	}
	if s.Size < st.Size() {
		if err := errors.Join(f.Truncate(s.Size), f.Sync()); err != nil {
			return Segment{}, fmt.Errorf("cut off the torn end of %s: %w", path, err)
		}
	}
	return s, nil
}

// ErrTorn says that an event is not whole, or not as it was written.
var ErrTorn = errors.New("the journal's segment is damaged from here on")

// An Entry is an event as it was appended. Its bytes are valid until Next.
type Entry struct {
	Index int // from 1
	Head  []byte
	Body  []byte
	More  bool // the next one came in the same request
}

// A Reader reads a segment from its beginning.
type Reader struct {
	r     *bufio.Reader
	off   int64
	index int
	buf   []byte
	err   error
}

// NewReader reads a segment's bytes.
func NewReader(r io.Reader) *Reader { return &Reader{r: bufio.NewReaderSize(r, 64<<10)} }

// Offset is where the last whole event ends, in bytes.
func (r *Reader) Offset() int64 { return r.off }

// Next returns the next event; io.EOF at the segment's end, an error that wraps
// ErrTorn where the rest cannot be read.
func (r *Reader) Next() (Entry, error) {
	if r.err != nil {
		return Entry{}, r.err
	}
	e, err := r.next()
	r.err = err
	return e, err
}

func (r *Reader) next() (Entry, error) {
	if r.off == 0 {
		var m [len(magic)]byte
		switch _, err := io.ReadFull(r.r, m[:]); {
		case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), err == nil && string(m[:]) != magic:
			return Entry{}, fmt.Errorf("%w: it has no proper beginning", ErrTorn)
		case err != nil:
			return Entry{}, err
		}
		r.off = int64(len(magic))
	}
	var frame [frameSize]byte
	switch _, err := io.ReadFull(r.r, frame[:]); {
	case err == io.EOF:
		return Entry{}, io.EOF
	case errors.Is(err, io.ErrUnexpectedEOF):
		return Entry{}, fmt.Errorf("%w: it ends inside event %d", ErrTorn, r.index+1)
	case err != nil:
		return Entry{}, err
	}
	word := binary.LittleEndian.Uint32(frame[:])
	head := int64(word &^ goesOn)
	body := int64(binary.LittleEndian.Uint32(frame[4:]))
	if head > MaxHead || body > MaxBody {
		return Entry{}, fmt.Errorf("%w: event %d has impossible lengths", ErrTorn, r.index+1)
	}
	if err := r.fill(head + body); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: it ends inside event %d", ErrTorn, r.index+1)
		}
		return Entry{}, err
	}
	if sum(frame[:8], r.buf) != binary.LittleEndian.Uint32(frame[8:]) {
		return Entry{}, fmt.Errorf("%w: event %d has another checksum", ErrTorn, r.index+1)
	}
	r.index++
	r.off += frameSize + head + body
	return Entry{Index: r.index, Head: r.buf[:head:head], Body: r.buf[head : head+body], More: word&goesOn != 0}, nil
}

// fill reads n bytes into buf. It grows as they come: lengths may lie.
func (r *Reader) fill(n int64) error {
	const step = 1 << 20
	if int64(cap(r.buf)) > max(n, step)*4 {
		r.buf = nil
	}
	r.buf = r.buf[:0]
	for int64(len(r.buf)) < n {
		more := int(min(n-int64(len(r.buf)), step))
		at := len(r.buf)
		if cap(r.buf) < at+more {
			grown := make([]byte, at, max(2*cap(r.buf), at+more))
			copy(grown, r.buf)
			r.buf = grown
		}
		r.buf = r.buf[:at+more]
		if _, err := io.ReadFull(r.r, r.buf[at:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}
