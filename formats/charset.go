package formats

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"

	"ingestd/ingest"
)

// encodingFound is what Details says of the encoding; a reader may change it
// while it reads.
type encodingFound struct {
	name  string
	notes []ingest.Note
}

func (f *encodingFound) set(name, why string) {
	f.name = name
	f.notes = []ingest.Note{{What: "encoding", Value: name, Why: why}}
}

// A codec turns bytes of one encoding into UTF-8, with 0xFF for each piece
// that the encoding does not know.
type codec struct {
	name  string // canonical, in lower case
	ascii bool   // bytes below 0x80 mean ASCII wherever a character begins
	multi bool   // characters may take several bytes
	open  func(io.Reader) io.Reader
	// encode is a character's bytes, nil where it has none; only of those with
	// characters of several bytes.
	encode func(r rune) []byte
}

const (
	utf8Name    = "utf-8"
	utf16leName = "utf-16le"
	utf16beName = "utf-16be"
	utf32leName = "utf-32le"
	utf32beName = "utf-32be"
)

func wide(name string) codec {
	return codec{name: name, multi: true, open: func(r io.Reader) io.Reader {
		switch name {
		case utf16leName:
			return newWide(r, utf16Unit(false))
		case utf16beName:
			return newWide(r, utf16Unit(true))
		case utf32leName:
			return newWide(r, utf32Unit(false))
		}
		return newWide(r, utf32Unit(true))
	}}
}

// lookup finds an encoding by any of the names that browsers (the WHATWG
// Encoding Standard) and IANA know.
func lookup(name string) (codec, error) {
	n := strings.ToLower(strings.TrimSpace(name))
	switch n {
	case "utf-8", "utf8", "ascii", "us-ascii":
		return codec{name: utf8Name, ascii: true, open: func(r io.Reader) io.Reader { return r }}, nil
	case "utf-16", "utf16", "utf-16le", "utf16le", "ucs-2", "ucs2", "unicode":
		return wide(utf16leName), nil
	case "utf-16be", "utf16be":
		return wide(utf16beName), nil
	case "utf-32", "utf32", "utf-32le", "utf32le", "ucs-4", "ucs4":
		return wide(utf32leName), nil
	case "utf-32be", "utf32be":
		return wide(utf32beName), nil
	}
	if e, err := htmlindex.Get(n); err == nil && e != encoding.Replacement && e != charmap.XUserDefined {
		if canonical, err := htmlindex.Name(e); err == nil {
			return codecOf(canonical, e), nil
		}
	}
	for _, alias := range []string{n, dosName(n)} {
		if e, err := ianaindex.IANA.Encoding(alias); err == nil && e != nil && e != encoding.Replacement {
			canonical, err := ianaindex.IANA.Name(e)
			if err != nil {
				canonical = alias
			}
			return codecOf(strings.ToLower(canonical), e), nil
		}
	}
	return codec{}, fmt.Errorf("encoding %q: not known; try a name like utf-8, windows-1252, iso-8859-15, shift_jis, gb18030 or ibm850", name)
}

// dosName turns what people call code pages into IANA's names.
func dosName(n string) string {
	digits := strings.TrimLeft(n, "abcdefghijklmnopqrstuvwxyz-_ ")
	switch strings.TrimRight(n[:len(n)-len(digits)], "-_ ") {
	case "cp", "dos", "ibm", "oem", "codepage", "windows", "win":
		switch digits {
		case "037", "1047", "437", "850", "852", "855", "860", "862", "863", "865", "866":
			return "ibm" + digits
		case "858":
			return "ibm00858"
		case "1140":
			return "ibm01140"
		case "1250", "1251", "1252", "1253", "1254", "1255", "1256", "1257", "1258":
			return "windows-" + digits
		}
	}
	return n
}

func codecOf(name string, e encoding.Encoding) codec {
	if cm, ok := e.(*charmap.Charmap); ok {
		t := newTable(cm)
		return codec{name: name, ascii: t.ascii, open: func(r io.Reader) io.Reader { return &tableReader{src: r, t: t} }}
	}
	return codec{
		name:  name,
		multi: true,
		// These switch with escape sequences made of ASCII.
		ascii: name != "iso-2022-jp" && name != "hz-gb-2312",
		open:  func(r io.Reader) io.Reader { return &honest{src: e.NewDecoder().Reader(r)} },
		encode: func(r rune) []byte {
			b, err := e.NewEncoder().Bytes([]byte(string(r)))
			if err != nil {
				return nil
			}
			return b
		},
	}
}

// decode goes down the ladder: byte order mark, the configured or declared
// encoding where the bytes are no UTF-8, UTF-8. What looks like UTF-16 without
// a mark is refused, not guessed.
func (o *opener) decode(raw *bufio.Reader, head []byte) (*bufio.Reader, error) {
	o.text = &encodingFound{}
	use := func(c codec, why string) (*bufio.Reader, error) {
		o.text.set(c.name, why)
		if c.name == utf8Name {
			return raw, nil
		}
		return bufio.NewReaderSize(c.open(raw), headSize), nil
	}
	for _, m := range []struct{ mark, name string }{
		{"\xEF\xBB\xBF", utf8Name},
		{"\xFF\xFE\x00\x00", utf32leName}, // before UTF-16, whose mark it begins with
		{"\x00\x00\xFE\xFF", utf32beName},
		{"\xFF\xFE", utf16leName},
		{"\xFE\xFF", utf16beName},
	} {
		if !bytes.HasPrefix(head, []byte(m.mark)) {
			continue
		}
		if _, err := raw.Discard(len(m.mark)); err != nil {
			return nil, fmt.Errorf("skip the byte order mark: %w", err)
		}
		c, err := lookup(m.name)
		if err != nil {
			return nil, err
		}
		return use(c, "byte order mark")
	}
	var configured codec
	if o.spec.Encoding != "" && (o.auto() || o.spec.Type == CSV || o.spec.Type == Fixed) {
		var err error
		if configured, err = lookup(o.spec.Encoding); err != nil {
			return nil, err
		}
	}
	if name := nulPattern(head); name != "" {
		switch {
		case strings.HasPrefix(configured.name, "utf-16"), strings.HasPrefix(configured.name, "utf-32"):
			if bare(o.spec.Encoding) {
				return use(wide(name), "configured "+o.spec.Encoding+", the byte order by where the NUL bytes stand")
			}
			return use(configured, "configured")
		case bytes.HasPrefix(head, []byte("<\x00?\x00")), bytes.HasPrefix(head, []byte("\x00<\x00?")):
			// XML 1.0, appendix F: the declaration's first characters decide.
			return use(wide(name), "an XML declaration in "+name)
		case o.wanted() != CSV && o.spec.Type != Fixed:
			return nil, refuse(o.wanted(), "every second byte or more is NUL: this looks like %s without a byte order mark; ask the sender for UTF-8, or for the mark", name)
		case configured.name == "" || configured.ascii:
			return nil, refuse(o.wanted(), "every second byte or more is NUL: this looks like %s without a byte order mark; set `encoding: %s`, or ask the sender for UTF-8", name, name)
		}
	}
	if o.spec.Type == XML || o.auto() && isXML(head) {
		declared := declaredEncoding(head)
		if declared == "" {
			return use(codec{name: utf8Name}, "the default of XML")
		}
		c, err := lookup(declared)
		switch {
		case err != nil:
			return nil, &ingest.ReadError{Format: XML, Pos: ingest.Position{Line: 1, Column: 1}, Reason: "the XML declaration names an unknown encoding", Err: err}
		case !c.ascii:
			return nil, &ingest.ReadError{Format: XML, Pos: ingest.Position{Line: 1, Column: 1}, Reason: fmt.Sprintf("the XML declaration says %s, but is not written in it", declared)}
		}
		return use(c, "the XML declaration")
	}
	switch {
	case o.spec.Type == JSON || o.auto() && isJSON(head):
		return use(codec{name: utf8Name}, "JSON is UTF-8")
	case configured.name == "" && o.spec.Guess:
		c, why, sure := guessEncoding(head, len(head) == headSize)
		if sure {
			o.note("guess", c.name, "a run does not guess; set `encoding: "+c.name+"`")
			return use(c, why)
		}
		if why != "" {
			o.note("guess", "none", why+"; set `encoding`")
		}
		return use(codec{name: utf8Name}, "no other encoding is configured")
	case configured.name == "" || configured.name == utf8Name:
		return use(codec{name: utf8Name}, "no other encoding is configured")
	case !configured.ascii:
		return use(configured, "configured")
	}
	o.text.set(configured.name, "configured")
	return bufio.NewReaderSize(&ladder{src: raw, legacy: configured, found: o.text}, headSize), nil
}

// bare reports whether an encoding's name leaves the byte order open.
func bare(name string) bool {
	n := strings.ToLower(name)
	return !strings.HasSuffix(n, "le") && !strings.HasSuffix(n, "be")
}

// nulPattern names the wide encoding that the places of NUL bytes suggest, or
// is empty. It wants ASCII in most characters: which is what CSV, JSON and XML
// are made of.
func nulPattern(head []byte) string {
	head = head[:min(len(head), 4096)&^3]
	if len(head) < 4 {
		return ""
	}
	var nul [4]int
	for i, c := range head {
		if c == 0 {
			nul[i&3]++
		}
	}
	units := len(head) / 4
	mostly := func(i int) bool { return 10*nul[i] >= 7*units }
	seldom := func(i int) bool { return 10*nul[i] <= units }
	switch {
	case mostly(1) && mostly(2) && mostly(3) && seldom(0):
		return utf32leName
	case mostly(0) && mostly(1) && mostly(2) && seldom(3):
		return utf32beName
	case mostly(1) && mostly(3) && seldom(0) && seldom(2):
		return utf16leName
	case mostly(0) && mostly(2) && seldom(1) && seldom(3):
		return utf16beName
	}
	return ""
}

// declaredEncoding is the encoding that an XML declaration (XML 1.0, section
// 2.8) at the head of an ASCII-like text names, or empty.
func declaredEncoding(head []byte) string {
	t := bytes.TrimLeft(head, " \t\r\n")
	if !bytes.HasPrefix(t, []byte("<?xml")) {
		return ""
	}
	decl, _, found := bytes.Cut(t[:min(len(t), 1024)], []byte("?>"))
	if !found {
		return ""
	}
	_, after, found := bytes.Cut(decl, []byte("encoding"))
	if !found {
		return ""
	}
	after = bytes.TrimLeft(after, " \t\r\n")
	after, found = bytes.CutPrefix(after, []byte{'='})
	if !found {
		return ""
	}
	after = bytes.TrimLeft(after, " \t\r\n")
	if len(after) == 0 || after[0] != '"' && after[0] != '\'' {
		return ""
	}
	name, _, found := bytes.Cut(after[1:], after[:1])
	if !found {
		return ""
	}
	return string(name)
}

// A ladder passes ASCII through until the first byte beyond it, and decides
// there, by what follows, whether the text is UTF-8 after all or what was
// configured.
type ladder struct {
	src    *bufio.Reader
	legacy codec
	found  *encodingFound
	chosen io.Reader
}

func (l *ladder) Read(p []byte) (int, error) {
	if l.chosen != nil {
		return l.chosen.Read(p)
	}
	if len(p) == 0 {
		return 0, nil
	}
	if _, err := l.src.Peek(1); err != nil {
		return 0, err
	}
	b, err := l.src.Peek(min(l.src.Buffered(), len(p)))
	if err != nil {
		return 0, err
	}
	n := 0
	for n < len(b) && b[n] < 0x80 {
		n++
	}
	if n > 0 {
		copy(p, b[:n])
		return l.src.Discard(n)
	}
	b, err = l.src.Peek(headSize)
	if seqs, ok := utf8Sequences(b, err == nil); ok && seqs >= l.needed() {
		l.found.set(utf8Name, fmt.Sprintf("%s is configured, but the first %d characters beyond ASCII are valid UTF-8", l.legacy.name, seqs))
		l.chosen = l.src
	} else {
		l.chosen = l.legacy.open(l.src)
	}
	return l.chosen.Read(p)
}

// needed is how many UTF-8 sequences outweigh the configured encoding. One is
// not by chance where each byte is a character: it would be a pair like "Ã©".
// Two bytes of an East Asian encoding are one now and then.
func (l *ladder) needed() int {
	if l.legacy.multi {
		return 3
	}
	return 1
}

// utf8Sequences counts the multi-byte sequences in b; ok is false where b is no
// valid UTF-8. cut says that b may end within a sequence.
func utf8Sequences(b []byte, cut bool) (n int, ok bool) {
	for i := 0; i < len(b); {
		if b[i] < 0x80 {
			i++
			continue
		}
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size == 1 {
			return n, cut && len(b)-i < utf8.UTFMax && !utf8.FullRune(b[i:])
		}
		n++
		i += size
	}
	return n, true
}
