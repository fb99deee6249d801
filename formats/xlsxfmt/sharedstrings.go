package xlsxfmt

import (
	"context"
	"fmt"
)

// sharedStrings are the texts that cells refer to by number. They lie in
// blocks without a pointer to each; a million take their bytes and 8 more.
type sharedStrings struct {
	blocks [][]byte
	places []place
	bad    map[int]string // why a text cannot be delivered
	size   int64          // bytes of memory
}

// A place is where a text lies: block<<44 | offset<<24 | length.
type place uint64

const blockSize = 1 << 20 // a longer text has a block of its own

// get returns text i, which the caller must not change, and why it cannot be
// delivered, if so.
func (s *sharedStrings) get(i int) (text []byte, bad string) {
	p := s.places[i]
	block, offset, length := p>>44, p>>24&(1<<20-1), p&(1<<24-1)
	if len(s.bad) > 0 {
		bad = s.bad[i]
	}
	return s.blocks[block][offset : offset+length], bad
}

// add keeps a copy of text.
func (s *sharedStrings) add(text []byte, bad string, limit int64) error {
	last := len(s.blocks) - 1
	if last < 0 || len(s.blocks[last])+len(text) > cap(s.blocks[last]) {
		s.blocks = append(s.blocks, make([]byte, 0, max(blockSize, len(text))))
		last++
		s.size += int64(cap(s.blocks[last]))
	}
	if bad != "" {
		if s.bad == nil {
			s.bad = make(map[int]string)
		}
		s.bad[len(s.places)] = bad
		s.size += 128
	}
	offset := len(s.blocks[last])
	s.blocks[last] = append(s.blocks[last], text...)
	s.places = append(s.places, place(last)<<44|place(offset)<<24|place(len(text)))
	if s.size += 8; s.size > limit {
		return refuse("the workbook's shared strings take more than %d bytes", limit)
	}
	return nil
}

// readStrings reads the shared strings part.
func readStrings(ctx context.Context, c *container, name string, l Limits) (*sharedStrings, error) {
	s := &sharedStrings{}
	f, err := c.find(name)
	if err != nil || f == nil {
		return s, err
	}
	p, err := open(ctx, f)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	if err := p.root("sst"); err != nil {
		return nil, err
	}
	var t textBuilder
	err = p.children(func(name []byte) error {
		if string(name) != "si" {
			return nil
		}
		t.reset(nil, l.Field)
		if err := p.richText(&t); err != nil {
			return err
		}
		text, bad := t.finish()
		return s.add(text, bad, l.Strings)
	})
	if err == nil {
		err = p.drain()
	}
	return s, p.fail(err)
}

// A textBuilder collects the text of one cell or shared string.
type textBuilder struct {
	buf   []byte
	from  int    // where the text begins in buf
	limit int    // bytes
	bad   string // why it cannot be delivered; "" = it can
	plain bool   // it is what it stands for, so far
	cut   bool
}

// reset begins a new text at the end of buf.
func (t *textBuilder) reset(buf []byte, limit int) {
	if buf == nil {
		buf = t.buf[:0]
	}
	*t = textBuilder{buf: buf, from: len(buf), limit: limit, plain: true}
}

// add appends a piece of raw XML text, or of CDATA.
func (t *textBuilder) add(raw []byte, cdata bool) {
	if len(t.buf)-t.from+len(raw) > t.limit {
		t.cut, t.bad = true, fmt.Sprintf("holds a text of more than %d bytes", t.limit)
	}
	switch {
	case t.cut:
		return
	case isPlain(raw):
		t.buf = append(t.buf, raw...)
		return
	}
	t.plain = false
	if cdata {
		t.buf = append(t.buf, raw...)
		return
	}
	var why string
	if t.buf, why = appendXML(t.buf, raw); why != "" {
		t.bad = "holds " + why
	}
}

// finish returns the text, which is valid UTF-8 unless bad says otherwise. It
// lies at the end of buf.
func (t *textBuilder) finish() (text []byte, bad string) {
	if text, bad = t.literal(); bad == "" && !t.plain {
		text = unescape(text)
		t.buf = t.buf[:t.from+len(text)]
	}
	return text, bad
}

// literal is finish for what has no _xHHHH_ escapes.
func (t *textBuilder) literal() (text []byte, bad string) {
	text = t.buf[t.from:]
	if !t.plain && t.bad == "" {
		if why := badChars(text); why != "" {
			t.bad = "holds " + why
		}
	}
	return text, t.bad
}

// richText reads the text of the element whose start tag was the last token:
// an <is> or <si>, or a run in it. Texts and runs follow one another; what
// says how to pronounce them (rPh) is left out.
func (p *part) richText(t *textBuilder) error {
	return p.children(func(name []byte) error {
		switch string(name) {
		case "t":
			return p.readText(t)
		case "r":
			return p.richText(t)
		}
		return nil
	})
}

// readText reads all text up to the end tag of the element whose start tag was the
// last token.
func (p *part) readText(t *textBuilder) error {
	for {
		tok, err := p.next()
		switch {
		case err != nil:
			return err
		case tok == endTag:
			return nil
		case tok == text:
			t.add(p.raw, p.cdata)
		default:
			if err := p.skip(); err != nil {
				return err
			}
		}
	}
}
