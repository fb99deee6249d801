package main

import (
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/xuri/excelize/v2"
)

// An order is what the four files of TestFourFormats hold, written by other
// hands than ours: encoding/csv, encoding/json, encoding/xml and excelize.
type order struct {
	XMLName xml.Name `json:"-" xml:"Order"`
	ID      string   `json:"id" xml:"id,attr"`
	Name    string   `json:"name" xml:"Name"`
	Note    string   `json:"note" xml:"Note"`
	Amount  float64  `json:"amount" xml:"Amount"`
	Paid    bool     `json:"paid" xml:"Paid"`
	Lines   []int    `json:"lines" xml:"Line"`
}

func orders(format string, n int) []order {
	notes := []string{"", `quote " and, comma; semi`, "Zeile 1\nZeile 2", "Grüße – 東京", "<b>&amp;</b>", `back\slash`, "  blanks  ", "0012", "tab\there"}
	out := make([]order, n)
	for i := range out {
		out[i] = order{
			ID: fmt.Sprintf("%s-%06d", format, i), Name: fmt.Sprintf("name %d", i), Note: notes[i%len(notes)],
			Amount: float64(i) + 0.25, Paid: i%3 == 0, Lines: []int{i, i + 1},
		}
	}
	return out
}

func writeCSV(t *testing.T, path string, list []order) {
	f := create(t, path)
	defer f.Close()
	w := csv.NewWriter(f)
	w.Write([]string{"id", "name", "note", "amount", "paid"})
	for _, o := range list {
		w.Write([]string{o.ID, o.Name, o.Note, strconv.FormatFloat(o.Amount, 'f', -1, 64), strconv.FormatBool(o.Paid)})
	}
	w.Flush()
	if err := w.Error(); err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func writeXLSX(t *testing.T, path string, list []order) {
	f := excelize.NewFile()
	defer f.Close()
	for c, name := range []string{"id", "name", "note", "amount", "paid"} {
		cell, _ := excelize.CoordinatesToCellName(c+1, 1)
		f.SetCellValue("Sheet1", cell, name)
	}
	for i, o := range list {
		for c, v := range []any{o.ID, o.Name, o.Note, o.Amount, o.Paid} {
			cell, _ := excelize.CoordinatesToCellName(c+1, i+2)
			if err := f.SetCellValue("Sheet1", cell, v); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := f.SaveAs(path); err != nil {
		t.Fatal(err)
	}
}

// TestFourFormats sends 2,000 records of each format and compares what the
// target got, field by field, with what was written.
func TestFourFormats(t *testing.T) {
	const n = 2000
	var mu sync.Mutex
	got := map[string]map[string]any{}
	var requests int
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		dec := json.NewDecoder(strings.NewReader(string(b)))
		dec.UseNumber()
		var recs []map[string]any
		if err := dec.Decode(&recs); err != nil {
			t.Errorf("body: %v", err)
		}
		mu.Lock()
		defer mu.Unlock()
		requests++
		for _, rec := range recs {
			id, _ := rec["id"].(string)
			if id == "" {
				id, _ = rec["@id"].(string)
			}
			if got[id] != nil {
				t.Errorf("%s came twice", id)
			}
			got[id] = rec
		}
	}))
	defer srv.Close()

	dir := t.TempDir()
	drop := filepath.Join(dir, "drop")
	if err := os.Mkdir(drop, 0o700); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "ingestd.yaml")
	if err := os.WriteFile(conf, []byte(fmt.Sprintf(`
state_dir: state
log: {level: warn}
sinks: {api: {type: http, url: "%s/x"}}
defaults: {pipeline: {sinks: [api]}}
pipelines:
  tables: {source: {type: dir, path: drop, match: ["*.csv", "*.xlsx", "*.json"], settle: 0s}, record: {key: [id]}}
  xml: {source: {type: dir, path: drop, match: ["*.xml"], settle: 0s}, format: {type: xml, record: Orders/Order, lists: [Line]}, record: {key: ["@id"]}}
`, srv.URL)), 0o600); err != nil {
		t.Fatal(err)
	}
	writeCSV(t, filepath.Join(drop, "a.csv"), orders("csv", n))
	writeXLSX(t, filepath.Join(drop, "a.xlsx"), orders("xlsx", n))
	f := create(t, filepath.Join(drop, "a.json"))
	enc := json.NewEncoder(f)
	enc.SetIndent("", "  ")
	if err := enc.Encode(orders("json", n)); err != nil {
		t.Fatal(err)
	}
	f.Close()
	f = create(t, filepath.Join(drop, "a.xml"))
	xe := xml.NewEncoder(f)
	if err := xe.Encode(struct {
		XMLName xml.Name `xml:"Orders"`
		Order   []order
	}{Order: orders("xml", n)}); err != nil {
		t.Fatal(err)
	}
	f.Close()

	once := func() {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), os.Args[0], "once", "-c", conf)
		cmd.Env = append(os.Environ(), asMain+"=1", "INGESTD_CONFIG=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("once: %v\n%s", err, out)
		}
	}
	once()
	for format, want := range map[string]func(o order) map[string]any{
		"csv": func(o order) map[string]any {
			return map[string]any{"id": o.ID, "name": o.Name, "note": o.Note, "amount": strconv.FormatFloat(o.Amount, 'f', -1, 64), "paid": strconv.FormatBool(o.Paid)}
		},
		"xlsx": func(o order) map[string]any {
			m := map[string]any{"id": o.ID, "name": o.Name, "note": o.Note, "amount": json.Number(strconv.FormatFloat(o.Amount, 'f', -1, 64)), "paid": o.Paid}
			if o.Note == "" {
				m["note"] = nil // an empty cell
			}
			return m
		},
		"json": func(o order) map[string]any {
			return map[string]any{
				"id": o.ID, "name": o.Name, "note": o.Note, "amount": json.Number(strconv.FormatFloat(o.Amount, 'f', -1, 64)), "paid": o.Paid,
				"lines": []any{json.Number(strconv.Itoa(o.Lines[0])), json.Number(strconv.Itoa(o.Lines[1]))},
			}
		},
		"xml": func(o order) map[string]any {
			return map[string]any{
				"@id": o.ID, "Name": o.Name, "Note": o.Note, "Amount": strconv.FormatFloat(o.Amount, 'f', -1, 64), "Paid": strconv.FormatBool(o.Paid),
				"Line": []any{strconv.Itoa(o.Lines[0]), strconv.Itoa(o.Lines[1])},
			}
		},
	} {
		wrong := 0
		for _, o := range orders(format, n) {
			w := want(o)
			if g := got[o.ID]; !maps.EqualFunc(g, w, func(a, b any) bool { return fmt.Sprintf("%#v", a) == fmt.Sprintf("%#v", b) }) {
				if wrong++; wrong <= 3 {
					t.Errorf("%s: got %#v\nwant %#v", o.ID, g, w)
				}
			}
		}
	}
	if len(got) != 4*n {
		t.Errorf("%d records came, want %d", len(got), 4*n)
	}

	// Nothing is sent a second time, neither by a second run nor under a new name.
	before := requests
	once()
	for _, name := range []string{"a.csv", "a.xlsx", "a.json", "a.xml"} {
		b, err := os.ReadFile(filepath.Join(drop, ".ingestd", "done", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(drop, "again-"+name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	once()
	if requests != before {
		t.Errorf("%d requests for what was delivered", requests-before)
	}
}
