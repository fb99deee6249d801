package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"ingestd/ingest"
)

// NoteDiffers marks, among an arrival's details, what of its form is another
// than that of the arrival before it.
const NoteDiffers = "differs"

// formsBack is how many arrivals are looked through, after a start, for the last
// one of each kind of name.
const formsBack = 50

// forms remembers how the last arrival of each kind of name was read: a folder
// that gets orders.csv and stock.xml in turn is no news.
type forms struct {
	mu   sync.Mutex
	last map[string]ingest.Form // by the names' ends; nil: not asked for yet
}

func kindOf(name string) string { return strings.ToLower(path.Ext(name)) }

// differs compares an arrival that was read with the one before it, and takes
// its place.
func (e *Engine) differs(ctx context.Context, a *ingest.Arrival, d ingest.Details) ([]ingest.Note, error) {
	if d.Format == "" || a.Replay != nil {
		return nil, nil
	}
	f := &e.forms
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.last == nil {
		past, err := e.o.Ledger.Forms(ctx, e.o.Pipeline, formsBack)
		if err != nil {
			return nil, err
		}
		f.last = make(map[string]ingest.Form)
		for _, p := range slices.Backward(past) {
			f.last[kindOf(p.Name)] = p
		}
	}
	kind := kindOf(a.Name)
	before, known := f.last[kind]
	if len(f.last) < 1000 || known {
		f.last[kind] = ingest.Form{Arrival: a.ID, Name: a.Name, Details: d}
	}
	if !known {
		return nil, nil
	}
	var out []ingest.Note
	for _, x := range differences(before.Details, d) {
		out = append(out, ingest.Note{
			What: NoteDiffers, Value: x.what + " " + x.is,
			Why: fmt.Sprintf("arrival %d (%s) had %s", before.Arrival, before.Name, x.was),
		})
	}
	return out, nil
}

// A difference is one thing that two files do not have alike.
type difference struct{ what, was, is string }

// formNotes are the notes that say how a file is written, by format.
func formNotes(format string) []string {
	switch format {
	case "csv":
		return []string{"delimiter", "quote", "escape", "trim", "header"}
	case "json":
		return []string{"shape"}
	case "xml":
		return []string{"record"}
	case "xlsx":
		return []string{"sheet"}
	}
	return nil
}

// differences compares the forms of two files, not their contents.
func differences(was, is ingest.Details) (out []difference) {
	if is.Format != was.Format {
		return []difference{{"format", was.Format, is.Format}}
	}
	if was.Encoding != is.Encoding && was.Encoding != "" && is.Encoding != "" {
		out = append(out, difference{"encoding", was.Encoding, is.Encoding})
	}
	for _, what := range formNotes(is.Format) {
		a, b := noted(was, what), noted(is, what)
		if a != b {
			out = append(out, difference{what, fmt.Sprintf("%q", a), fmt.Sprintf("%q", b)})
		}
	}
	if len(was.Header) == 0 || len(is.Header) == 0 || slices.Equal(was.Header, is.Header) {
		return out
	}
	i := 0
	for i < len(was.Header) && i < len(is.Header) && was.Header[i] == is.Header[i] {
		i++
	}
	at := func(names []string) string {
		if i < len(names) {
			return fmt.Sprintf("%d, the %d. called %q", len(names), i+1, names[i])
		}
		return fmt.Sprint(len(names))
	}
	return append(out, difference{"columns", at(was.Header), at(is.Header)})
}

// noted is the value of a note; "" where there is none.
func noted(d ingest.Details, what string) string {
	i := slices.IndexFunc(d.Notes, func(n ingest.Note) bool { return n.What == what })
	if i < 0 {
		return ""
	}
	return cmp.Or(d.Notes[i].Value, "-")
}
