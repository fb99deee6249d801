package jsonfmt

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"ingestd/ingest"
)

// A walk goes through a document token by token: to the records that path
// leads to, and from their end to the document's. Nothing of what it passes is
// kept, so it does not matter how large that is.
type walk struct {
	path    []string
	entered int      // how many names of path were followed
	hit     bool     // the next value belongs to the next name of path
	arrived bool     // the records were found
	seen    []string // other names where path goes on
	open    []byte   // the brackets that are open
	want    token
}

// A token is what may come next.
type token uint8

const (
	aValue token = iota
	aValueOrEnd
	aName
	aNameOrEnd
	aColon
	aComma // or the end
)

// walking reads the next token outside the records.
func (r *Reader) walking(c *ingest.Chunk) status {
	w, p, k := &r.w, &r.p, &r.walk
	w.Pos = p.gap(w.Pos)
	if w.Pos == w.End {
		return starved
	}
	i := w.Pos
	switch ch := p.b[i]; {
	case k.want == aColon:
		if ch != ':' {
			return r.unreadable(i, show(ch)+" where a colon should be")
		}
		w.Pos, k.want = i+1, aValue
	case ch == '}' && (k.want == aNameOrEnd || k.want == aComma), ch == ']' && (k.want == aValueOrEnd || k.want == aComma):
		return r.closes(ch)
	case k.want == aComma:
		if ch != ',' {
			return r.unreadable(i, show(ch)+" where a comma or a closing bracket should be")
		}
		w.Pos, k.want = i+1, aValue
		if k.open[len(k.open)-1] == '{' {
			k.want = aName
		}
	case k.want == aName || k.want == aNameOrEnd:
		if ch != '"' {
			return r.unreadable(i, show(ch)+" where a name in double quotes should be")
		}
		return r.passName()
	case k.hit && k.entered == len(k.path)-1:
		return r.arrive()
	case k.hit || len(k.open) == 0:
		if ch != '{' {
			what := "the document"
			if k.hit {
				what = strings.Join(k.path[:k.entered+1], ".")
			}
			return r.unreadable(i, "records: "+what+" is "+kindOf(ch)+", no object that could hold "+strconv.Quote(k.path[len(k.path)-1]))
		}
		if k.hit {
			k.entered++
		}
		k.hit, k.seen = false, k.seen[:0]
		return r.opens(ch)
	case ch == '{' || ch == '[':
		return r.opens(ch)
	default:
		return r.passValue()
	}
	return next
}

// opens goes into an object or array.
func (r *Reader) opens(bracket byte) status {
	k := &r.walk
	if len(k.open) == r.opt.MaxDepth {
		return r.unreadable(r.w.Pos, "nested deeper than "+strconv.Itoa(r.opt.MaxDepth))
	}
	k.open = append(k.open, bracket)
	k.want = aValueOrEnd
	if bracket == '{' {
		k.want = aNameOrEnd
	}
	r.w.Pos++
	return next
}

// closes leaves one.
func (r *Reader) closes(bracket byte) status {
	k := &r.walk
	top := len(k.open) - 1
	if (k.open[top] == '{') != (bracket == '}') {
		return r.unreadable(r.w.Pos, show(bracket)+" does not close what is open")
	}
	if !k.arrived && top == k.entered {
		reason := "records: no " + strconv.Quote(k.path[k.entered]) + " in " + strings.Join(append([]string{"the document"}, k.path[:k.entered]...), ".")
		if len(k.seen) > 0 {
			reason += "; the names there: " + strings.Join(k.seen, ", ")
		}
		return r.unreadable(r.w.Pos, reason)
	}
	k.open = k.open[:top]
	k.entered = max(0, min(k.entered, top-1))
	k.want = aComma
	r.w.Pos++
	if top == 0 {
		r.step = r.trailing
	}
	return next
}

// passName reads a member's name.
func (r *Reader) passName() status {
	w, p, k := &r.w, &r.p, &r.walk
	end, escaped := p.text(w.Pos)
	if end < 0 {
		return r.passed(end)
	}
	if len(k.open) == k.entered+1 {
		name := p.b[w.Pos+1 : end-1]
		if escaped {
			name = unescape(nil, name)
		}
		if k.hit = string(name) == k.path[k.entered]; k.hit && k.arrived {
			return r.unreadable(w.Pos, "records: the name "+strconv.Quote(string(name))+" stands twice in an object")
		}
		if len(k.seen) < 8 && len(name) < 64 && utf8.Valid(name) {
			k.seen = append(k.seen, strconv.Quote(string(name)))
		}
	}
	if st := r.passed(end); st != next {
		return st
	}
	k.want = aColon
	return next
}

// passValue reads a string, number or word that is no record.
func (r *Reader) passValue() status {
	st := r.passed(r.p.alone(r.w.Pos))
	if st == next {
		r.walk.want = aComma
	}
	return st
}

// passed moves on to end, where a scalar was read up to there.
func (r *Reader) passed(end int) status {
	w, p := &r.w, &r.p
	reached := end
	if end == more {
		reached = w.End
	}
	switch {
	case end == bad:
		return r.unreadable(p.at, p.reason)
	case reached-w.Pos > r.opt.MaxRecord:
		return r.unreadable(w.Pos, "a text larger than "+strconv.Itoa(r.opt.MaxRecord)+" bytes")
	case end == more:
		return starved
	}
	if !utf8.Valid(p.b[w.Pos:end]) {
		return r.unreadable(w.Pos+invalidUTF8(p.b[w.Pos:end]), "bytes that are not UTF-8")
	}
	w.Pos = end
	return next
}

// arrive reads what the path leads to.
func (r *Reader) arrive() status {
	w, p, k := &r.w, &r.p, &r.walk
	switch p.b[w.Pos] {
	case '[':
		w.Pos++
		r.enter(r.walking)
	case '{':
		r.step = r.only
	case 'n':
		if st := r.passValue(); st != next {
			return st
		}
		r.note("records", "null", "an empty list")
	default:
		return r.unreadable(w.Pos, "records: "+r.opt.Records+" is "+kindOf(p.b[w.Pos])+", neither an array nor an object")
	}
	k.hit, k.arrived, k.want = false, true, aComma
	return next
}

// only reads the one record that the path leads to.
func (r *Reader) only(c *ingest.Chunk) status {
	st := r.value(r.w.Pos, c)
	if st == next {
		r.step = r.walking
	}
	return st
}
