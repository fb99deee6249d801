package formats

import (
	"bytes"
	"encoding/binary"
	"io"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// unknownByte stands for bytes that their encoding does not know. UTF-8 never
// holds it, so the parser makes a fault of the record.
const unknownByte = 0xFF

// A table is a single-byte encoding.
type table struct {
	text  [256][utf8.UTFMax]byte
	size  [256]uint8
	ascii bool
}

func newTable(cm *charmap.Charmap) *table {
	t := &table{ascii: true}
	for i := range 256 {
		r := cm.DecodeByte(byte(i))
		if r == utf8.RuneError {
			t.text[i][0], t.size[i] = unknownByte, 1
		} else {
			t.size[i] = uint8(utf8.EncodeRune(t.text[i][:], r))
		}
		if i < utf8.RuneSelf && r != rune(i) {
			t.ascii = false
		}
	}
	return t
}

// A tableReader decodes a single-byte encoding.
type tableReader struct {
	src  io.Reader
	t    *table
	in   [4096]byte
	out  []byte // decoded, not read yet
	room [4096 * 3]byte
	err  error
}

func (t *tableReader) Read(p []byte) (int, error) {
	for len(t.out) == 0 {
		if t.err != nil {
			return 0, t.err
		}
		var n int
		n, t.err = t.src.Read(t.in[:])
		out := t.room[:0]
		for b := t.in[:n]; len(b) > 0; {
			if t.t.ascii {
				k := asciiPrefix(b)
				out = append(out, b[:k]...)
				if b = b[k:]; len(b) == 0 {
					break
				}
			}
			out = append(out, t.t.text[b[0]][:t.t.size[b[0]]]...)
			b = b[1:]
		}
		t.out = out
	}
	n := copy(p, t.out)
	t.out = t.out[n:]
	return n, nil
}

// asciiPrefix is how many bytes of b come before the first beyond ASCII.
func asciiPrefix(b []byte) int {
	i := 0
	for ; i+8 <= len(b); i += 8 {
		if binary.LittleEndian.Uint64(b[i:])&0x8080808080808080 != 0 {
			break
		}
	}
	for i < len(b) && b[i] < utf8.RuneSelf {
		i++
	}
	return i
}

// An honest reader undoes what decoders do to bytes that they do not know:
// each U+FFFD becomes unknownByte. A true U+FFFD in the file, which few of
// these encodings have, says that something was lost before: it is a fault too.
type honest struct {
	src  io.Reader
	held []byte // the beginning of what may be a U+FFFD
	buf  [4096]byte
	out  []byte
	err  error
}

func (h *honest) Read(p []byte) (int, error) {
	replacement := []byte("\uFFFD")
	for len(h.out) == 0 {
		if h.err != nil {
			return 0, h.err
		}
		n := copy(h.buf[:], h.held)
		m, err := h.src.Read(h.buf[n:])
		h.err = err
		b := h.buf[:n+m]
		b = bytes.ReplaceAll(b, replacement, []byte{unknownByte})
		h.held = nil
		if err == nil {
			for k := len(replacement) - 1; k > 0; k-- {
				if bytes.HasSuffix(b, replacement[:k]) {
					h.held = bytes.Clone(b[len(b)-k:])
					b = b[:len(b)-k]
					break
				}
			}
		}
		h.out = b
	}
	n := copy(p, h.out)
	h.out = h.out[n:]
	return n, nil
}

// A unit reads one character of a wide encoding from b: the rune, or
// unknownByte as a negative, and its bytes; 0 where b is too short.
type unit func(b []byte) (rune, int)

const unknownRune = -1

func utf16Unit(big bool) unit {
	get := binary.LittleEndian.Uint16
	if big {
		get = binary.BigEndian.Uint16
	}
	return func(b []byte) (rune, int) {
		if len(b) < 2 {
			return 0, 0
		}
		r := rune(get(b))
		if !utf16.IsSurrogate(r) {
			return r, 2
		}
		if r >= 0xDC00 {
			return unknownRune, 2
		}
		if len(b) < 4 {
			return 0, 0
		}
		if r = utf16.DecodeRune(r, rune(get(b[2:]))); r == utf8.RuneError {
			return unknownRune, 2
		}
		return r, 4
	}
}

func utf32Unit(big bool) unit {
	get := binary.LittleEndian.Uint32
	if big {
		get = binary.BigEndian.Uint32
	}
	return func(b []byte) (rune, int) {
		if len(b) < 4 {
			return 0, 0
		}
		if c := get(b); c <= utf8.MaxRune && utf8.ValidRune(rune(c)) {
			return rune(c), 4
		}
		return unknownRune, 4
	}
}

// A wideReader decodes UTF-16 and UTF-32, strictly.
type wideReader struct {
	src  io.Reader
	next unit
	in   [4096]byte
	n    int // bytes of in not decoded yet
	out  []byte
	room []byte
	err  error
}

func newWide(r io.Reader, next unit) io.Reader { return &wideReader{src: r, next: next} }

func (w *wideReader) Read(p []byte) (int, error) {
	for len(w.out) == 0 {
		if w.err != nil {
			return 0, w.err
		}
		var n int
		n, w.err = w.src.Read(w.in[w.n:])
		w.n += n
		b, out := w.in[:w.n], w.room[:0]
		for len(b) > 0 {
			r, size := w.next(b)
			if size == 0 {
				if w.err == nil {
					break
				}
				// The stream ends within a character.
				r, size = unknownRune, len(b)
				if w.err != io.EOF {
					break
				}
			}
			b = b[size:]
			if r == unknownRune {
				out = append(out, unknownByte)
			} else {
				out = utf8.AppendRune(out, r)
			}
		}
		w.n = copy(w.in[:], b)
		w.room, w.out = out, out
	}
	n := copy(p, w.out)
	w.out = w.out[n:]
	return n, nil
}
