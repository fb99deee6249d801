package httpapi

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/klauspost/compress/gzip"

	"ingestd/ingest"
)

// Results says where a 2xx answer tells what became of each record. Its fields
// are names of members, several joined by dots where they are nested.
type Results struct {
	Path   string // of the list, from the top of the answer; "": the answer is the list
	Status string // of a record's status in its item; default "status"
	Error  string // of its reason; default "error"
	Index  string // of its place in the request, from 0; "": items are in the records' order
}

// Limits of an answer with results, in bytes.
const (
	perResult  = 2 << 10  // is read for each record, beyond maxAnswer
	maxResults = 64 << 20 // is read in all
	longTexts  = 8 << 20  // of reasons are kept at full length
	shortText  = 256      // of a reason beyond them
)

// noResult is the reason of a record of which an answer says nothing.
const noResult = "no result"

// An itemReader finds results in answers.
type itemReader struct {
	path, status, error, index []string
	taken                      func(status int) bool // whose reason is of no interest
}

func newItemReader(r *Results) (*itemReader, error) {
	if r == nil {
		return nil, nil
	}
	x := &itemReader{status: strings.Split(cmp.Or(r.Status, "status"), "."), error: strings.Split(cmp.Or(r.Error, "error"), ".")}
	if r.Path != "" {
		x.path = strings.Split(r.Path, ".")
	}
	if r.Index != "" {
		x.index = strings.Split(r.Index, ".")
	}
	for _, p := range [][]string{x.path, x.status, x.error, x.index} {
		if slices.Contains(p, "") {
			return nil, fmt.Errorf("results: %q has an empty name between its dots", strings.Join(p, "."))
		}
	}
	return x, nil
}

// shown is the list's place in words.
func (x *itemReader) shown() string {
	if len(x.path) == 0 {
		return "no list"
	}
	return "no list at " + strings.Join(x.path, ".")
}

// A list is what an answer says of each record.
type list struct {
	items []item // one for each record of the request
	why   string // there is no list in the answer, and what there is
}

// An item is one record's result.
type item struct {
	status int    // 0: it has none
	text   string // the target's words, clean and cut; of one without status: what is wrong
	told   bool   // there was one before
}

func newDecoder(r io.Reader) *jsontext.Decoder {
	return jsontext.NewDecoder(r, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

// errNoList says that an answer holds something else than the list.
var errNoList = errors.New("no list")

// read reads the list out of the answer to a request of n records, and the
// answer's beginning. An error means that the answer broke off or is broken:
// what it would have said is not known.
func (x *itemReader) read(resp *http.Response, n int, red *redactor) (head string, l *list, err error) {
	limit := min(maxResults, maxAnswer+int64(n)*perResult)
	src := &source{r: resp.Body}
	var from io.Reader = src
	switch resp.Header.Get("Content-Encoding") {
	case "", "identity":
	case "gzip":
		z, err := gzip.NewReader(src)
		if err != nil {
			return "(the answer is no gzip)", &list{why: "no gzip"}, src.err
		}
		from = z
	default:
		return "(the answer is compressed)", &list{why: "compressed"}, nil
	}
	beginning := &beginning{most: keptAnswer + red.longest}
	bounded := &io.LimitedReader{R: from, N: limit}
	dec := newDecoder(io.TeeReader(bounded, beginning))
	l = &list{items: make([]item, n)}
	got, err := x.items(dec, l, red)
	io.CopyN(io.Discard, src, maxDrain) // keeps the connection
	head = red.clean(string(beginning.b), keptAnswer)
	found := got >= 0
	switch {
	case src.err != nil && err != nil:
		return head, nil, fmt.Errorf("the answer broke off: %w", src.err)
	case !found && err != nil && !errors.Is(err, errNoList) && !errors.Is(err, io.EOF):
		return head, &list{why: "no JSON"}, nil
	case !found:
		return head, &list{why: x.shown()}, nil
	case err != nil && bounded.N > 0:
		return head, nil, errors.New("the answer is broken JSON")
	}
	short := fmt.Sprintf("the answer holds %d results for %d records", got, n)
	if err != nil {
		short = fmt.Sprintf("the answer is longer than %d bytes, of which the first hold %d results for %d records", limit, got, n)
	}
	for i := range l.items {
		if !l.items[i].told {
			l.items[i].text = short
		}
	}
	return head, l, nil
}

// items reads the items into l and returns how many there are, -1 where there
// is no list.
func (x *itemReader) items(dec *jsontext.Decoder, l *list, red *redactor) (got int, err error) {
	if err := descend(dec, x.path); err != nil {
		return -1, err
	}
	texts := 0
	var f finder
	take := func(v jsontext.Value) {
		at := got
		if got++; x.index != nil {
			if at = x.place(&f, v); at < 0 {
				return
			}
		}
		if at >= len(l.items) {
			return // none of ours
		}
		it := x.item(&f, v, red, keptText(texts))
		if old := &l.items[at]; old.told && old.status != it.status {
			it = item{text: fmt.Sprintf("there are two results for it, with status %d and %d", old.status, it.status)}
		}
		it.told = true
		l.items[at] = it
		texts += len(it.text)
	}
	if dec.PeekKind() == '{' && len(l.items) == 1 {
		v, err := dec.ReadValue() // one record, one result
		if err != nil {
			return 0, err
		}
		if len(x.path) == 0 && f.find(v, x.status) == nil {
			return -1, errNoList
		}
		take(v)
		return got, nil
	}
	if k := dec.PeekKind(); k != '[' {
		if _, err := dec.ReadToken(); err != nil {
			return -1, err
		}
		return -1, errNoList
	}
	if _, err := dec.ReadToken(); err != nil {
		return 0, err
	}
	for dec.PeekKind() != ']' {
		v, err := dec.ReadValue()
		if err != nil {
			return got, err
		}
		take(v)
	}
	return got, nil
}

// keptText is how much of a reason is kept where so much was kept of others.
func keptText(texts int) int {
	if texts > longTexts {
		return shortText
	}
	return keptAnswer
}

// descend moves dec to the value of nested members.
func descend(dec *jsontext.Decoder, path []string) error {
	for _, name := range path {
		if dec.PeekKind() != '{' {
			if _, err := dec.ReadToken(); err != nil {
				return err
			}
			return errNoList
		}
		if _, err := dec.ReadToken(); err != nil {
			return err
		}
		for {
			t, err := dec.ReadToken()
			if err != nil {
				return err
			}
			if t.Kind() == '}' {
				return errNoList
			}
			if t.String() == name {
				break
			}
			if err := dec.SkipValue(); err != nil {
				return err
			}
		}
	}
	return nil
}

// A finder looks members of items up.
type finder struct {
	dec *jsontext.Decoder
	buf bytes.Buffer
}

// find is a member of an item, nil where it has none. It is good until the next
// one.
func (f *finder) find(v jsontext.Value, path []string) jsontext.Value {
	f.buf = *bytes.NewBuffer(v)
	if f.dec == nil {
		f.dec = newDecoder(&f.buf)
	} else {
		f.dec.Reset(&f.buf, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	}
	if descend(f.dec, path) != nil {
		return nil
	}
	out, err := f.dec.ReadValue()
	if err != nil {
		return nil
	}
	return out
}

// item reads one result.
func (x *itemReader) item(f *finder, v jsontext.Value, red *redactor, most int) item {
	s := f.find(v, x.status)
	status, ok := statusOf(s)
	switch {
	case ok && x.taken(status):
		return item{status: status}
	case !ok && s == nil:
		return item{text: red.clean("it has no "+strings.Join(x.status, ".")+": "+clip(v, most+red.longest), most)}
	case !ok:
		return item{text: red.clean("its status is no HTTP status: "+clip(s, most+red.longest), most)}
	}
	text := v
	if e := f.find(v, x.error); e != nil && e.Kind() != 'n' {
		text = e
	}
	if text.Kind() == '"' {
		if plain, err := jsontext.AppendUnquote(nil, text); err == nil {
			text = plain
		}
	}
	return item{status: status, text: red.clean(clip(text, most+red.longest), most)}
}

func clip(v jsontext.Value, most int) string { return string(v[:min(len(v), most)]) }

// statusOf reads 422, "422", "422 Unprocessable Entity" or "HTTP/1.1 422 …".
func statusOf(v jsontext.Value) (int, bool) {
	var text string
	switch {
	case len(v) > 256:
		return 0, false
	case v.Kind() == '0':
		text = string(v)
	case v.Kind() == '"':
		plain, err := jsontext.AppendUnquote(nil, v)
		if err != nil {
			return 0, false
		}
		text = string(plain)
		words := strings.Fields(text)
		if len(words) > 1 && strings.HasPrefix(words[0], "HTTP/") {
			words = words[1:]
		}
		if len(words) > 0 {
			text = words[0]
		}
	}
	return statusNumber(text)
}

// place is which record an item is about, -1 where it does not say.
func (x *itemReader) place(f *finder, v jsontext.Value) int {
	text := strings.Trim(clip(f.find(v, x.index), 32), `"`)
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || text[0] == '+' {
		return -1
	}
	return n
}

// A source notes the error that ended it, other than its end.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// A beginning keeps the first bytes that are written to it.
type beginning struct {
	b    []byte
	most int
}

func (h *beginning) Write(p []byte) (int, error) {
	if left := h.most - len(h.b); left > 0 {
		h.b = append(h.b, p[:min(left, len(p))]...)
	}
	return len(p), nil
}

// judgeEach is the table of answers for each record of a list: nil where all
// were taken.
func (s *Sink) judgeEach(rep reply) (ingest.Answer, error) {
	m := &ingest.Mixed{Answer: rep.answer(), Records: make([]ingest.RecordAnswer, len(rep.list.items))}
	var n [ingest.FateAgain + 1]int
	doors := 0 // that say what a wrong address or login would say
	for i, it := range rep.list.items {
		a := &m.Records[i]
		a.Status, a.Body = it.status, it.text
		switch st := it.status; {
		case st == 0:
			a.Reason = noResult
		case includes(s.duplicate, st):
			a.Fate = ingest.FateHad
		case includes(s.accept, st):
			a.Fate = ingest.FateDelivered
		case weather(st):
			a.Fate, a.Reason = ingest.FateAgain, fmt.Sprintf("%s answered %s for the record", s.url.hostPort, statusText(st))
		default:
			a.Fate, a.Reason = ingest.FateRefused, "the target answered "+statusText(st)
			if atTheDoor(st) {
				doors++
			}
		}
		n[a.Fate]++
	}
	taken := n[ingest.FateDelivered] + n[ingest.FateHad]
	switch {
	case doors > 0 && doors == len(m.Records) && !s.accepted.Load():
		rep.status = m.Records[0].Status
		return m.Answer, s.halt(rep, "it said so of each record and has accepted nothing yet; check the sink's url and auth")
	case taken > 0 && !s.accepted.Load():
		s.accepted.Store(true)
	}
	if taken == len(m.Records) && (n[ingest.FateHad] == 0 || n[ingest.FateDelivered] == 0) {
		m.Answer.Had = n[ingest.FateHad] > 0
		return m.Answer, nil
	}
	if n[ingest.FateAgain] > 0 {
		var ra *ingest.RetryAfter
		if errors.As(s.later(rep), &ra) {
			m.Later = ra
		}
	}
	return m.Answer, m
}

// unlisted is the verdict on a 2xx answer without a list. Of a target that has
// never sent one the sink is set up wrongly; else it is weather: a page of a
// proxy, say.
func (s *Sink) unlisted(rep reply) error {
	if !s.listed.Load() {
		return s.halt(rep, "its answer holds "+rep.list.why+", which would say what became of each record; check the sink's results and url")
	}
	return &ingest.Unanswered{
		Err:    fmt.Errorf("%s %s answered %s, and the answer holds %s", s.method, s.url.shown, statusText(rep.status), rep.list.why),
		Answer: rep.answer(),
	}
}

// weather reports whether a status means "not now".
func weather(st int) bool {
	return st == http.StatusRequestTimeout || st == http.StatusTooEarly || st == http.StatusTooManyRequests || st >= 500 || st < 200
}

// atTheDoor reports whether a status may be about the address or the login.
func atTheDoor(st int) bool {
	switch st {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone:
		return true
	}
	return st/100 == 3
}
