package shape

import "ingestd/ingest"

// A Result is what became of one record.
type Result struct {
	// Fields go out. They are the record's own where no fields are configured,
	// else the Binding's, valid until its Reset; values may point into the
	// record's chunk either way.
	Fields []ingest.Field
	// Key is zero where records are not deduplicated.
	Key ingest.Key
	// Fault says, for people, why the record cannot be shaped; "" = it can. With
	// a Fault nothing else holds.
	Fault string
	// Filtered: the record is to be left out.
	Filtered bool
}

// layouts is how many orders of names a Binding remembers at once: one for a
// table, some for objects that leave fields out.
const layouts = 8

// A Binding shapes the records of one arrival. It is not for concurrent use.
type Binding struct {
	s    *Shape
	hash hasher

	known [layouts]layout
	n     int // of known in use
	last  int // the layout that fitted last
	next  int // the one to be given up next

	fields []ingest.Field // arena for Result.Fields
	text   []byte         // arena for texts that had escapes
	buf    []byte         // what is hashed
}

// Bind starts an arrival. seed is the ledger's, scope the arrival's.
func (s *Shape) Bind(seed [16]byte, scope string) *Binding {
	return &Binding{s: s, hash: newHasher(seed, scope, s.whole)}
}

// Reset gives back the memory of all Results since the last Reset.
func (b *Binding) Reset() {
	const keep = 4 << 20
	if cap(b.fields) > keep/64 {
		b.fields = nil
	}
	if cap(b.text) > keep {
		b.text = nil
	}
	if cap(b.buf) > keep {
		b.buf = nil
	}
	b.fields, b.text = b.fields[:0], b.text[:0]
}

// Apply shapes rec into out.
func (b *Binding) Apply(rec *ingest.Record, out *Result) {
	*out = Result{Fields: rec.Fields}
	if len(b.s.fields) == 0 && !b.s.Keyed() {
		return
	}
	l := b.layout(rec.Fields)
	switch {
	case b.s.whole:
		out.Key = b.wholeKey(l, rec.Fields)
	case len(l.keys) > 0:
		if out.Key, out.Fault = b.key(l, rec.Fields); out.Fault != "" {
			return
		}
	}
	if len(b.s.fields) > 0 {
		out.Fields, out.Fault = b.shape(l, rec.Fields)
	}
}

// layout is the layout of fields: the last record's, nearly always.
func (b *Binding) layout(fields []ingest.Field) *layout {
	if b.n > 0 && b.known[b.last].matches(fields) {
		return &b.known[b.last]
	}
	for i := range b.n {
		if i != b.last && b.known[i].matches(fields) {
			b.last = i
			return &b.known[i]
		}
	}
	if b.n < layouts {
		b.last = b.n
		b.n++
	} else {
		b.last = b.next
		b.next = (b.next + 1) % layouts
	}
	l := &b.known[b.last]
	l.resolve(b.s, fields)
	return l
}

func (b *Binding) key(l *layout, fields []ingest.Field) (ingest.Key, string) {
	buf := b.buf[:0]
	for i := range l.keys {
		p := &l.keys[i]
		if p.segs == nil && p.col >= 0 {
			if f := &fields[p.col]; f.Kind != ingest.Null && len(f.Raw) > 0 {
				buf = appendText(buf, f.Raw)
				continue
			}
		}
		f, ok := b.value(p, fields)
		if !ok || f.Kind == ingest.Null || len(f.Raw) == 0 {
			return ingest.Key{}, noKey(b.s.keys[i].text, ok, f.Kind)
		}
		buf = appendText(buf, f.Raw)
	}
	b.buf = buf
	return b.hash.sum(buf), ""
}

func noKey(name string, present bool, kind ingest.Kind) string {
	switch {
	case !present:
		return "no key: " + name + " is absent"
	case kind == ingest.Null:
		return "no key: " + name + " is null"
	}
	return "no key: " + name + " is empty"
}

func (b *Binding) wholeKey(l *layout, fields []ingest.Field) ingest.Key {
	buf := b.buf[:0]
	for _, i := range l.order {
		f := &fields[i]
		buf = appendText(buf, f.Name)
		if f.Kind == ingest.Null {
			buf = append(buf, 0)
		} else {
			buf = appendText(buf, f.Raw)
		}
	}
	b.buf = buf
	return b.hash.sum(buf)
}

func (b *Binding) shape(l *layout, fields []ingest.Field) ([]ingest.Field, string) {
	out := b.room(len(l.out) + len(l.rest))
	for i := range l.out {
		p, want := &l.out[i], &b.s.fields[i]
		if p.segs == nil && p.col >= 0 {
			f := &fields[p.col]
			out = append(out, ingest.Field{Name: want.out, Kind: f.Kind, Raw: f.Raw})
			continue
		}
		f, ok := b.value(p, fields)
		switch {
		case ok:
			f.Name = want.out
			out = append(out, f)
		case !want.optional:
			return nil, want.fault
		}
	}
	for _, col := range l.rest {
		out = append(out, fields[col])
	}
	b.fields = b.fields[:len(b.fields)+len(out)]
	return out[:len(out):len(out)], ""
}

// value is the value at p; false where the record has none.
func (b *Binding) value(p *pick, fields []ingest.Field) (ingest.Field, bool) {
	if p.col < 0 {
		return ingest.Field{}, false
	}
	f := fields[p.col]
	if p.segs == nil {
		return f, true
	}
	var ok bool
	if f.Kind, f.Raw, ok = dig(f.Kind, f.Raw, p.segs); !ok {
		return ingest.Field{}, false
	}
	switch f.Kind {
	case ingest.Null:
		f.Raw = nil
	case ingest.String:
		f.Raw = b.unquote(f.Raw)
	}
	return f, true
}

// unquote is the text of a quoted JSON string: a part of it, or, where it has
// escapes, a text in the arena.
func (b *Binding) unquote(quoted []byte) []byte {
	inner := quoted[1 : len(quoted)-1]
	if escape(inner) < 0 {
		return inner
	}
	start := len(b.text)
	b.text = appendUnescaped(b.text, inner)
	return b.text[start:len(b.text):len(b.text)]
}

// room is an empty slice at the end of the arena with place for n fields. A
// full arena is left to the Results that point into it.
func (b *Binding) room(n int) []ingest.Field {
	const first = 4096
	if cap(b.fields)-len(b.fields) < n {
		b.fields = make([]ingest.Field, 0, max(first, 2*cap(b.fields), n))
	}
	at := len(b.fields)
	return b.fields[at : at : at+n]
}
