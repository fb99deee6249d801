package xlsxfmt

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// utf8Reader returns src as UTF-8 without a byte order mark. A part may be in
// UTF-8 or UTF-16 (ECMA-376 part 2, section 6.2.5); UTF-16 is known by its
// mark, or by the zero byte beside its first "<".
func utf8Reader(src io.Reader) (io.Reader, error) {
	br := bufio.NewReaderSize(src, 512)
	head, err := br.Peek(3)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte("\xEF\xBB\xBF")):
		_, err = br.Discard(3)
		return br, err
	case bytes.HasPrefix(head, []byte{0xFF, 0xFE}):
		_, err = br.Discard(2)
		return &utf16Reader{src: br}, err
	case bytes.HasPrefix(head, []byte{0xFE, 0xFF}):
		_, err = br.Discard(2)
		return &utf16Reader{src: br, big: true}, err
	case bytes.HasPrefix(head, []byte{'<', 0}):
		return &utf16Reader{src: br}, nil
	case bytes.HasPrefix(head, []byte{0, '<'}):
		return &utf16Reader{src: br, big: true}, nil
	}
	return br, nil
}

// A utf16Reader decodes strictly: a lone surrogate is an error.
type utf16Reader struct {
	src io.Reader
	big bool
	out []byte // decoded, not yet read
	in  [4096]byte
	n   int // of in that wait for their other half
	err error
}

func (u *utf16Reader) Read(p []byte) (int, error) {
	for len(u.out) == 0 {
		if u.err != nil {
			return 0, u.err
		}
		n, err := io.ReadAtLeast(u.src, u.in[u.n:], 1)
		u.n += n
		u.decode(err != nil)
		if err != nil && u.err == nil {
			u.err = err
		}
	}
	n := copy(p, u.out)
	u.out = u.out[n:]
	return n, nil
}

func (u *utf16Reader) decode(last bool) {
	u.out = u.out[:0]
	i := 0
	for ; i+2 <= u.n; i += 2 {
		r := u.unit(i)
		if utf16.IsSurrogate(r) {
			if i+4 > u.n {
				break
			}
			if r = utf16.DecodeRune(r, u.unit(i+2)); r == utf8.RuneError {
				u.err = &syntaxError{what: "bytes that are no UTF-16"}
				return
			}
			i += 2
		}
		u.out = utf8.AppendRune(u.out, r)
	}
	u.n = copy(u.in[:], u.in[i:u.n])
	if last && u.n > 0 {
		u.err = &syntaxError{what: "bytes that are no UTF-16"}
	}
}

func (u *utf16Reader) unit(i int) rune {
	if u.big {
		return rune(u.in[i])<<8 | rune(u.in[i+1])
	}
	return rune(u.in[i+1])<<8 | rune(u.in[i])
}

// declaredEncoding reads encoding="…" in an XML declaration.
func declaredEncoding(decl []byte) string {
	_, v, ok := strings.Cut(string(decl), "encoding")
	v = strings.TrimLeft(v, " \t\r\n=")
	if !ok || len(v) == 0 {
		return ""
	}
	v, _, _ = strings.Cut(v[1:], v[:1])
	return v
}

func isUnicode(encoding string) bool {
	switch strings.ToLower(encoding) {
	case "utf-8", "utf8", "utf-16", "utf-16le", "utf-16be", "us-ascii", "ascii", "unicode":
		return true
	}
	return false
}
