package csvfmt

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"ingestd/ingest"
)

// The oracle writes tables in many dialects with Python's csv module, and says
// what it reads of them itself.
const pythonOracle = `
import csv, io, itertools, json, random
random.seed(7)
def cell(kind, delim, quote, eol):
    if kind == 'int': return str(random.randrange(100000))
    if kind == 'money': return '%d.%02d' % (random.randrange(999), random.randrange(99))
    if kind == 'comma': return '%d,%02d' % (random.randrange(999), random.randrange(99))
    if kind == 'date': return '2026-%02d-%02d' % (random.randrange(1, 13), random.randrange(1, 29))
    if kind == 'time': return '%02d:%02d' % (random.randrange(24), random.randrange(60))
    if kind == 'name': return random.choice(['Ann', 'Bob Ray', 'C. D. Eve', 'Zoë Fuß', '', 'van der Valk'])
    return random.choice(['plain', 'with ' + delim + ' in it', 'a ' + quote + 'quoted' + quote + ' word', 'two' + eol + 'lines', 'a, b; c', '', 'x'])
for delim, quote, eol, escape, quoting, header in itertools.product(
        [',', ';', '\t', '|', '~', '^', ':'], ['"', "'"], ['\n', '\r\n', '\r'], [False, True], [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC], [True, False]):
    kinds = ['int', 'date', 'name', 'text', 'comma' if delim == ';' else 'money'] + ([] if delim == ':' else ['time'])
    opt = dict(delimiter=delim, quotechar=quote, lineterminator=eol, quoting=quoting)
    if escape:
        opt.update(doublequote=False, escapechar='\\')
    out = io.StringIO()
    w = csv.writer(out, **opt)
    rows = [[cell(k, delim, quote, eol) for k in kinds] for i in range(25)]
    if header: rows.insert(0, ['nr', 'day', 'who', 'note', 'price', 'at'][:len(kinds)])
    w.writerows(rows)
    text = out.getvalue()
    back = list(csv.reader(io.StringIO(text, newline=''), **{k: v for k, v in opt.items() if k != 'lineterminator'}))
    print(json.dumps(dict(what='%r %r %r escape %s quoting %s header %s' % (delim, quote, eol, escape, quoting, header), delimiter=delim, quote=quote,
        escape='\\' if escape else '', header=header, text=text, rows=back)))
`

// readTable is the rows of a text, the header's names first, and how many are bad.
func readTable(t *testing.T, text string, o Options) (rows [][]string, bad int) {
	t.Helper()
	r, err := New(strings.NewReader(text), o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var c ingest.Chunk
	for first := true; ; first = false {
		err := r.Read(context.Background(), &c)
		if first && !o.NoHeader {
			rows = append(rows, r.Details().Header)
		}
		if err == io.EOF {
			return rows, bad
		}
		if err != nil {
			t.Fatal(err)
		}
		bad += len(c.Faults)
		for _, rec := range c.Records {
			var cells []string
			for _, f := range rec.Fields {
				cells = append(cells, string(f.Raw))
			}
			rows = append(rows, cells)
		}
	}
}

func TestAgainstPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 here")
	}
	out, err := exec.CommandContext(t.Context(), python, "-c", pythonOracle).Output()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(out)) {
		var c struct {
			What, Delimiter, Quote, Escape, Text string
			Header                               bool
			Rows                                 [][]string
		}
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatal(err)
		}
		n++
		given := Options{Delimiter: c.Delimiter, Quote: c.Quote, Escape: c.Escape, NoHeader: !c.Header}
		found := Detect([]byte(c.Text), false, Options{})
		if found.Doubt != "" {
			t.Errorf("%s: in doubt: %s", c.What, found.Doubt)
		}
		for kind, o := range map[string]Options{"given": given, "found": found.Options} {
			rows, bad := readTable(t, c.Text, o)
			if bad > 0 || !slices.EqualFunc(rows, c.Rows, slices.Equal) {
				t.Errorf("%s: %s as %s: %d bad rows, got %s", c.What, kind, pin(o), bad, firstDifference(rows, c.Rows))
			}
		}
	}
	if n < 400 {
		t.Errorf("%d dialects", n)
	}
}

func firstDifference(got, want [][]string) string {
	for i := range min(len(got), len(want)) {
		if !slices.Equal(got[i], want[i]) {
			return fmt.Sprintf("row %d: %q, want %q", i+1, got[i], want[i])
		}
	}
	return fmt.Sprintf("%d rows, want %d", len(got), len(want))
}
