package xlsxfmt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sort"
	"unicode/utf16"
)

const oleMagic = "\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1"

// A compound is an OLE compound file ([MS-CFB]): what encrypted workbooks and
// Excel 97's .xls are stored in.
type compound struct {
	in      io.ReaderAt
	size    int64
	sector  int64    // bytes
	fat     []uint32 // the sectors that hold the FAT
	cached  uint32   // the FAT sector in cache
	cache   []byte
	entries []entry
	mini    *extents // the short streams, all in one
	miniFAT *extents
}

// An entry is a stream's name and place.
type entry struct {
	name  string
	root  bool
	start uint32
	size  int64
}

const (
	lastSector = 0xFFFFFFFA // greater numbers are marks
	endOfChain = 0xFFFFFFFE
	miniCutoff = 4096    // shorter streams lie in the mini stream
	miniSector = 64      // bytes
	maxExtents = 1 << 20 // pieces a stream may lie in
	maxEntries = 1 << 16
)

var errCompound = errors.New("damaged OLE file")

func openCompound(in io.ReaderAt, size int64) (*compound, error) {
	head := make([]byte, 512)
	if _, err := in.ReadAt(head, 0); err != nil {
		return nil, readErr(err)
	}
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(head[at:]) }
	shift := binary.LittleEndian.Uint16(head[30:])
	if shift != 9 && shift != 12 {
		return nil, errCompound
	}
	c := &compound{in: in, size: size, sector: 1 << shift, cached: endOfChain}
	c.cache = make([]byte, c.sector)
	if err := c.readFAT(head, u32(68), int64(u32(44))); err != nil {
		return nil, err
	}
	if err := c.readDirectory(u32(48)); err != nil {
		return nil, err
	}
	var err error
	for _, e := range c.entries {
		if e.root && e.start <= lastSector {
			if c.mini, err = c.chain(e.start, e.size); err != nil {
				return nil, err
			}
		}
	}
	if start := u32(60); start <= lastSector {
		c.miniFAT, err = c.chain(start, -1)
	}
	return c, err
}

func readErr(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errCompound
	}
	return err
}

// readSector reads sector n into p.
func (c *compound) readSector(n uint32, p []byte) error {
	off := (int64(n) + 1) * c.sector
	if n > lastSector || off >= c.size {
		return errCompound
	}
	got, err := c.in.ReadAt(p, off)
	if got == len(p) || got > 0 && err == io.EOF { // the last one may be short
		clear(p[got:])
		return nil
	}
	return readErr(err)
}

// readFAT lists the sectors of the FAT: 109 in the header, the rest in a chain
// of sectors of their own.
func (c *compound) readFAT(head []byte, next uint32, count int64) error {
	if count > c.size/c.sector+1 {
		return errCompound
	}
	add := func(p []byte) {
		for ; len(p) >= 4 && int64(len(c.fat)) < count; p = p[4:] {
			c.fat = append(c.fat, binary.LittleEndian.Uint32(p))
		}
	}
	add(head[76:512])
	p := make([]byte, c.sector)
	for int64(len(c.fat)) < count {
		if err := c.readSector(next, p); err != nil {
			return err
		}
		add(p[:c.sector-4])
		next = binary.LittleEndian.Uint32(p[c.sector-4:])
	}
	return nil
}

// after is the sector that follows n in its chain.
func (c *compound) after(n uint32) (uint32, error) {
	per := uint32(c.sector / 4)
	if n/per >= uint32(len(c.fat)) {
		return 0, errCompound
	}
	if at := c.fat[n/per]; at != c.cached {
		c.cached = endOfChain
		if err := c.readSector(at, c.cache); err != nil {
			return 0, err
		}
		c.cached = at
	}
	return binary.LittleEndian.Uint32(c.cache[n%per*4:]), nil
}

// chain finds where the stream that begins at sector n lies; size -1 is all.
func (c *compound) chain(n uint32, size int64) (*extents, error) {
	x := &extents{in: c.in}
	for most := c.size/c.sector + 1; n != endOfChain && (size < 0 || x.size < size); most-- {
		if n > lastSector || most <= 0 { // a loop
			return nil, errCompound
		}
		if err := x.add((int64(n)+1)*c.sector, c.sector); err != nil {
			return nil, err
		}
		var err error
		if n, err = c.after(n); err != nil {
			return nil, err
		}
	}
	if size >= 0 {
		if x.size < size {
			return nil, errCompound
		}
		x.size = size
	}
	return x, nil
}

func (c *compound) readDirectory(start uint32) error {
	x, err := c.chain(start, -1)
	if err != nil {
		return err
	}
	if x.size/128 > maxEntries {
		return errCompound
	}
	var p [128]byte
	for off := int64(0); off+128 <= x.size; off += 128 {
		if _, err := x.ReadAt(p[:], off); err != nil {
			return readErr(err)
		}
		kind := p[66]
		if kind != 2 && kind != 5 {
			continue
		}
		e := entry{
			root:  kind == 5,
			start: binary.LittleEndian.Uint32(p[116:]),
			size:  int64(binary.LittleEndian.Uint64(p[120:]) & (1<<63 - 1)),
		}
		if c.sector == 512 { // version 3: the upper half may be anything
			e.size &= 1<<32 - 1
		}
		var name []uint16
		for i := 0; i+2 < int(min(binary.LittleEndian.Uint16(p[64:]), 64)); i += 2 {
			name = append(name, binary.LittleEndian.Uint16(p[i:]))
		}
		e.name = string(utf16.Decode(name))
		c.entries = append(c.entries, e)
	}
	return nil
}

// has reports whether there is a stream with one of these names.
func (c *compound) has(names ...string) bool {
	for _, n := range names {
		if _, ok := c.find(n); ok {
			return true
		}
	}
	return false
}

func (c *compound) find(name string) (entry, bool) {
	for _, e := range c.entries {
		if e.name == name && !e.root {
			return e, true
		}
	}
	return entry{}, false
}

// open returns the stream called name.
func (c *compound) open(name string) (*extents, error) {
	e, ok := c.find(name)
	if !ok {
		return nil, fmt.Errorf("%w: no stream %q", errCompound, name)
	}
	if e.size >= miniCutoff {
		return c.chain(e.start, e.size)
	}
	x := &extents{}
	if c.mini != nil {
		x.in = c.mini
	}
	for n := e.start; x.size < e.size; {
		off := int64(n) * miniSector
		if c.mini == nil || c.miniFAT == nil || off >= c.mini.size {
			return nil, errCompound
		}
		if err := x.add(off, miniSector); err != nil {
			return nil, err
		}
		var next [4]byte
		if _, err := c.miniFAT.ReadAt(next[:], int64(n)*4); err != nil {
			return nil, readErr(err)
		}
		n = binary.LittleEndian.Uint32(next[:])
	}
	x.size = e.size
	return x, nil
}

// extents is a stream that lies in pieces of another.
type extents struct {
	in     io.ReaderAt
	pieces []piece
	size   int64
}

type piece struct{ at, off, n int64 } // at in the stream, off beneath

func (x *extents) add(off, n int64) error {
	if last := len(x.pieces) - 1; last >= 0 && x.pieces[last].off+x.pieces[last].n == off {
		x.pieces[last].n += n
	} else if len(x.pieces) == maxExtents {
		return errCompound
	} else {
		x.pieces = append(x.pieces, piece{x.size, off, n})
	}
	x.size += n
	return nil
}

func (x *extents) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		if off >= x.size {
			return n, io.EOF
		}
		i := sort.Search(len(x.pieces), func(i int) bool { return x.pieces[i].at > off }) - 1
		s := x.pieces[i]
		most := min(int64(len(p)-n), s.at+s.n-off, x.size-off)
		got, err := x.in.ReadAt(p[n:n+int(most)], s.off+off-s.at)
		n += got
		off += int64(got)
		if int64(got) < most {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return n, err
		}
	}
	return n, nil
}
