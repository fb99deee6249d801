package xlsxfmt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// The scanner's bounds. A workbook's own parts stay far below them.
const (
	windowSize = 64 << 10 // what is held of a part at a time
	maxTag     = 1 << 20  // bytes of one tag
	maxDepth   = 64       // elements within elements
	maxAttrs   = 256      // attributes of one element
)

type token uint8

const (
	startTag token = iota + 1
	endTag
	text
)

// A scanner reads the subset of XML 1.0 that workbooks are made of: elements,
// attributes, text, CDATA, comments and processing instructions, in UTF-8. It
// holds a window of the stream, never a document. DOCTYPE is refused, and with
// it every entity but the five of XML and numeric ones. Tags must match; names
// are told apart without their namespace prefix.
type scanner struct {
	src  io.Reader
	err  error // why src ended
	buf  []byte
	pos  int   // of the next byte in buf
	end  int   // of what is filled
	base int64 // offset in the stream of buf[0]

	// The last token; valid until the next.
	name  []byte // of a tag, without prefix
	raw   []byte // text as it stands; a long one comes in pieces
	cdata bool   // raw is to be taken literally
	attrs []attr

	closed bool   // the last start tag was <x/>: its end tag follows
	open   []byte // the names of the open elements, one after another
	marks  []mark
	rooted bool // a root element was seen
}

// A mark is where an open element's name begins in open, and where its local
// part does.
type mark struct{ from, local int }

// An attr is an attribute's local name and its value as it stands.
type attr struct{ name, value []byte }

// A syntaxError says that a part is not well-formed.
type syntaxError struct {
	offset int64 // bytes into the part
	what   string
}

func (e *syntaxError) Error() string {
	return fmt.Sprintf("not well-formed at byte %d: %s", e.offset, e.what)
}

func newScanner(src io.Reader) *scanner {
	return &scanner{src: src, buf: make([]byte, windowSize)}
}

func (s *scanner) bad(what string) error {
	return &syntaxError{s.base + int64(s.pos), what}
}

// depth is the number of open elements.
func (s *scanner) depth() int { return len(s.marks) }

// more reads on until the window is full. It fails, with io.EOF at the end of
// the stream, only when nothing was added.
func (s *scanner) more() error {
	if s.err != nil {
		return s.err
	}
	if s.pos > 0 {
		copy(s.buf, s.buf[s.pos:s.end])
		s.base += int64(s.pos)
		s.end -= s.pos
		s.pos = 0
	}
	if s.end == len(s.buf) {
		if len(s.buf) >= maxTag {
			return s.bad(fmt.Sprintf("a tag of more than %d bytes", maxTag))
		}
		s.buf = append(s.buf, make([]byte, len(s.buf))...)
	}
	was := s.end
	for idle := 0; s.end < len(s.buf) && s.err == nil; {
		n, err := s.src.Read(s.buf[s.end:])
		s.end += n
		s.err = err
		if n > 0 {
			idle = 0
		} else if idle++; idle > 100 && err == nil {
			s.err = io.ErrNoProgress
		}
	}
	if s.end == was {
		return s.err
	}
	return nil
}

// must is more for places where the document cannot end.
func (s *scanner) must() error {
	err := s.more()
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// next reads the next token. It returns io.EOF only after a whole document.
func (s *scanner) next() (token, error) {
	if s.closed {
		s.closed = false
		s.pop()
		return endTag, nil
	}
	for {
		w := s.buf[s.pos:s.end]
		switch {
		case len(w) == 0:
			if err := s.more(); err == io.EOF && s.rooted && s.depth() == 0 {
				return 0, io.EOF
			} else if err == io.EOF {
				return 0, io.ErrUnexpectedEOF
			} else if err != nil {
				return 0, err
			}
		case w[0] != '<':
			ok, err := s.takeText(w)
			if err != nil {
				return 0, err
			}
			if ok {
				return text, nil
			}
		case len(w) == 1:
			if err := s.must(); err != nil {
				return 0, err
			}
		case w[1] == '/':
			ok, err := s.takeEnd(w)
			if err != nil {
				return 0, err
			}
			if ok {
				return endTag, nil
			}
			if err := s.must(); err != nil {
				return 0, err
			}
		case w[1] == '?':
			if err := s.takeInstruction(w); err != nil {
				return 0, err
			}
		case w[1] == '!':
			ok, err := s.takeDeclaration(w)
			if err != nil {
				return 0, err
			}
			if ok {
				return text, nil
			}
		default:
			ok, err := s.takeStart(w)
			if err != nil {
				return 0, err
			}
			if ok {
				return startTag, nil
			}
			if err := s.must(); err != nil {
				return 0, err
			}
		}
	}
}

// takeText takes the run of text that w begins with. It returns false if there is
// nothing to report yet.
func (s *scanner) takeText(w []byte) (bool, error) {
	n := bytes.IndexByte(w, '<')
	if n < 0 && len(w) < windowSize {
		if err := s.more(); err == nil {
			return false, nil // the window was moved and filled: look again
		} else if err != io.EOF {
			return false, err
		}
		n = len(w)
	} else if n < 0 {
		n = pieceEnd(w)
	}
	if s.depth() == 0 {
		if len(trim(w[:n])) > 0 {
			return false, s.bad("text outside the root element")
		}
		s.pos += n
		return false, nil
	}
	s.raw, s.cdata = w[:n], false
	s.pos += n
	return true, nil
}

// pieceEnd is where a long text may be cut: not within a reference, a line end
// or a character.
func pieceEnd(w []byte) int {
	n := len(w)
	if i := bytes.LastIndexByte(w[max(0, n-16):], '&'); i >= 0 {
		i += max(0, n-16)
		if i > 0 && bytes.IndexByte(w[i:], ';') < 0 {
			return i
		}
	}
	if n > 1 && w[n-1] == '\r' {
		return n - 1
	}
	for i := 1; i <= 3 && i < n; i++ {
		if c := w[n-i]; c >= 0xC0 {
			return n - i
		} else if c < 0x80 {
			break
		}
	}
	return n
}

// takeEnd takes the end tag that w begins with. It returns false if the window
// ends within it.
func (s *scanner) takeEnd(w []byte) (bool, error) {
	if len(s.marks) == 0 {
		return false, s.bad("an end tag without its start")
	}
	top := s.marks[len(s.marks)-1]
	open := s.open[top.from:]
	n := 2 + len(open)
	if len(w) <= n || w[n] != '>' || !bytes.Equal(w[2:n], open) {
		if n = bytes.IndexByte(w, '>'); n < 0 {
			return false, nil
		}
		if name := trimRight(w[2:n]); !bytes.Equal(name, open) {
			return false, s.bad(fmt.Sprintf("</%.50s> where </%.50s> must come", name, open))
		}
	}
	s.name = s.open[top.local:]
	s.pop()
	s.pos += n + 1
	return true, nil
}

func (s *scanner) pop() {
	last := len(s.marks) - 1
	s.open = s.open[:s.marks[last].from]
	s.marks = s.marks[:last]
}

// takeInstruction passes <?…?> over; of the XML declaration it looks at the
// encoding, which must be the one that is there.
func (s *scanner) takeInstruction(w []byte) error {
	if s.base == 0 && s.pos == 0 && bytes.HasPrefix(w, []byte("<?xml")) {
		n := bytes.Index(w, []byte("?>"))
		for n < 0 {
			if err := s.must(); err != nil {
				return err
			}
			w = s.buf[s.pos:s.end]
			n = bytes.Index(w, []byte("?>"))
		}
		if enc := declaredEncoding(w[:n]); enc != "" && !isUnicode(enc) {
			return s.bad("encoded as " + enc + ", which workbooks may not be")
		}
		s.pos += n + 2
		return nil
	}
	s.pos += 2
	return s.past("?>")
}

// takeDeclaration passes comments over and reports CDATA.
func (s *scanner) takeDeclaration(w []byte) (bool, error) {
	const cdata = "<![CDATA["
	for len(w) < len(cdata) && bytes.HasPrefix([]byte(cdata), w) || len(w) < 4 {
		if err := s.must(); err != nil {
			return false, err
		}
		w = s.buf[s.pos:s.end]
	}
	switch {
	case bytes.HasPrefix(w, []byte("<!--")):
		s.pos += 4
		return false, s.past("-->")
	case !bytes.HasPrefix(w, []byte(cdata)):
		return false, s.bad("a document type, which workbooks may not have")
	case s.depth() == 0:
		return false, s.bad("text outside the root element")
	}
	n := bytes.Index(w, []byte("]]>"))
	for n < 0 {
		if err := s.must(); err != nil { // bounded by maxTag: no program writes such cells
			return false, err
		}
		w = s.buf[s.pos:s.end]
		n = bytes.Index(w, []byte("]]>"))
	}
	s.raw, s.cdata = w[len(cdata):n], true
	s.pos += n + 3
	return true, nil
}

// past moves behind the next mark.
func (s *scanner) past(mark string) error {
	for {
		w := s.buf[s.pos:s.end]
		if n := bytes.Index(w, []byte(mark)); n >= 0 {
			s.pos += n + len(mark)
			return nil
		}
		s.pos += max(0, len(w)-len(mark)+1)
		if err := s.must(); err != nil {
			return err
		}
	}
}

// takeStart takes the start tag that w begins with. It returns false if the
// window ends within it.
func (s *scanner) takeStart(w []byte) (bool, error) {
	i, colon := 1, 0
	for i < len(w) && !endsName(w[i]) {
		if w[i] == ':' && colon == 0 {
			colon = i
		}
		i++
	}
	if i == len(w) {
		return false, nil
	}
	qname := w[1:i]
	if len(qname) == 0 || w[1] == '-' || w[1] == '.' || w[1]-'0' <= 9 {
		return false, s.bad("a tag without a name")
	}
	s.attrs = s.attrs[:0]
	for {
		gap := i
		for i < len(w) && isSpace(w[i]) {
			i++
		}
		if i == len(w) {
			return false, nil
		}
		if w[i] == '>' {
			break
		}
		if w[i] == '/' {
			if i+1 == len(w) {
				return false, nil
			}
			if w[i+1] != '>' {
				return false, s.bad("a / within a tag")
			}
			s.closed = true
			i++
			break
		}
		if gap == i {
			return false, s.bad("attributes that are not apart")
		}
		n, err := s.takeAttr(w, i)
		if err != nil || n == 0 {
			return false, err
		}
		i = n
	}
	if s.depth() == 0 && s.rooted {
		s.closed = false
		return false, s.bad("a second root element")
	}
	if s.depth() == maxDepth {
		s.closed = false
		return false, s.bad(fmt.Sprintf("more than %d elements deep", maxDepth))
	}
	s.rooted = true
	s.marks = append(s.marks, mark{len(s.open), len(s.open) + colon})
	s.open = append(s.open, qname...)
	s.name = qname[colon:]
	s.pos += i + 1
	return true, nil
}

// takeAttr takes the attribute at w[i:] and returns where it ends, 0 if the window
// ends within it.
func (s *scanner) takeAttr(w []byte, i int) (int, error) {
	from := i
	for i < len(w) && !endsName(w[i]) {
		if w[i] == ':' {
			from = i + 1
		}
		i++
	}
	name := w[from:i]
	for i < len(w) && isSpace(w[i]) {
		i++
	}
	if i == len(w) {
		return 0, nil
	}
	if len(name) == 0 || w[i] != '=' {
		return 0, s.bad("an attribute without a value")
	}
	i++
	for i < len(w) && isSpace(w[i]) {
		i++
	}
	if i == len(w) {
		return 0, nil
	}
	quote := w[i]
	if quote != '"' && quote != '\'' {
		return 0, s.bad("an attribute without quotes")
	}
	i++
	from = i
	for i < len(w) && w[i] != quote {
		if w[i] == '<' {
			return 0, s.bad("a < within an attribute")
		}
		i++
	}
	if i == len(w) {
		return 0, nil
	}
	if len(s.attrs) == maxAttrs {
		return 0, s.bad(fmt.Sprintf("more than %d attributes", maxAttrs))
	}
	s.attrs = append(s.attrs, attr{name, w[from:i]})
	return i + 1, nil
}

// value returns the decoded value of the attribute with this local name, "" if
// there is none.
func (s *scanner) value(name string) (string, error) {
	for _, a := range s.attrs {
		if string(a.name) == name {
			v, why := appendXML(nil, a.value)
			if why == "" {
				why = badChars(v)
			}
			if why != "" {
				return "", s.bad("attribute " + name + ": " + why)
			}
			return string(v), nil
		}
	}
	return "", nil
}

// skip passes over the rest of the element whose start tag was the last token.
func (s *scanner) skip() error {
	for to := s.depth() - 1; s.depth() > to; {
		if _, err := s.next(); err != nil {
			return err
		}
	}
	return nil
}

// drain reads on behind the root element to the very end of the stream.
func (s *scanner) drain() error {
	if _, err := s.next(); errors.Is(err, io.EOF) {
		return nil
	} else if err != nil {
		return err
	}
	return s.bad("more after the root element")
}
