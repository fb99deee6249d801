package xlsxfmt

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xuri/excelize/v2"
)

// A workbook of all kinds of cells, written by excelize, must hold what
// excelize says it holds.
func TestBesideExcelize(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	f := excelize.NewFile()
	defer f.Close()
	const sheetName = "Ünï & <Co>"
	if err := f.SetSheetName("Sheet1", sheetName); err != nil {
		t.Fatal(err)
	}
	style := func(s excelize.Style) int {
		id, err := f.NewStyle(&s)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	custom := `yyyy\-mm\-dd\ hh:mm:ss`
	day, stamp, clockStyle, percent := style(excelize.Style{NumFmt: 14}), style(excelize.Style{CustomNumFmt: &custom}), style(excelize.Style{NumFmt: 21}), style(excelize.Style{NumFmt: 10})
	texts := []string{"plain", "", " both ", "ä€😀", "a&b<c>\"'", "line\nbreak", "tab\there", "00042", "=1+1", "#N/A", "true", strings.Repeat("long ", 500)}
	const rows, cols = 400, 12
	want := make([][]string, rows) // as JSON; "" = none
	at := time.Date(2026, 3, 5, 13, 5, 0, 0, time.UTC)
	set := func(cell string, v any, id int) {
		err := f.SetCellValue(sheetName, cell, v)
		if err == nil && id > 0 {
			err = f.SetCellStyle(sheetName, cell, cell, id)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for r := range rows {
		want[r] = make([]string, cols)
		for c := range cols {
			cell := cellName(c+1, r+1)
			if r == 0 {
				set(cell, fmt.Sprintf("f%d", c), 0)
				continue
			}
			at = at.Add(time.Duration(rng.IntN(1_000_000)) * time.Second)
			w := &want[r][c]
			switch rng.IntN(9) {
			case 0:
				n := rng.Int64N(1 << 53)
				set(cell, n, 0)
				*w = fmt.Sprint(n)
			case 1:
				set(cell, rng.NormFloat64()*1e6, percent)
				*w = "raw"
			case 2:
				s := texts[rng.IntN(len(texts))]
				set(cell, s, 0)
				if s != "" {
					b, _ := json.Marshal(s)
					*w = string(b)
				}
			case 3:
				set(cell, rng.IntN(2) == 0, 0)
				*w = "bool"
			case 4:
				set(cell, at, day)
				*w = at.Format(`"2006-01-02"`)
			case 5:
				set(cell, at, stamp)
				*w = at.Format(`"2006-01-02T15:04:05"`)
			case 6:
				set(cell, at, clockStyle)
				*w = at.Format(`"15:04:05"`)
			case 7:
				err := f.SetCellRichText(sheetName, cell, []excelize.RichTextRun{{Text: "bo", Font: &excelize.Font{Bold: true}}, {Text: " ld"}})
				if err != nil {
					t.Fatal(err)
				}
				*w = `"bo ld"`
			}
		}
	}
	var buf bytes.Buffer
	if err := f.Write(&buf); err != nil {
		t.Fatal(err)
	}
	// What is compared is what excelize reads back.
	back, err := excelize.OpenReader(bytes.NewReader(buf.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	got := mustRead(t, buf.Bytes(), Options{})
	if n := got.details.Notes[0]; n.Value != sheetName {
		t.Errorf("sheet %q", n.Value)
	}
	if len(got.rows) != rows-1 {
		t.Fatalf("%d rows", len(got.rows))
	}
	for i, js := range got.raws {
		var values []json.RawMessage
		if err := json.Unmarshal([]byte(js), &values); err != nil {
			t.Fatal(err)
		}
		r := int(got.lines[i]) - 1
		for c := range cols {
			cell := cellName(c+1, r+1)
			raw, err := back.GetCellValue(sheetName, cell, excelize.Options{RawCellValue: true})
			if err != nil {
				t.Fatal(err)
			}
			w := want[r][c]
			switch w {
			case "":
				w = "null"
			case "raw":
				w = raw
			case "bool":
				w = map[string]string{"1": "true", "0": "false", "TRUE": "true", "FALSE": "false"}[raw]
			}
			var a, b any
			if json.Unmarshal(values[c], &a) != nil || json.Unmarshal([]byte(w), &b) != nil || a != b {
				t.Errorf("%s: %s, want %s", cell, values[c], w)
			}
		}
	}
}

// The rows that excelize's Rows gives, raw, of a large sheet of the stream
// writer, in both forms of texts.
func TestBesideExcelizeRows(t *testing.T) {
	for name, b := range map[string][]byte{"inline": bigBook(t, 3000), "shared": sharedBook(t, 3000)} {
		f, err := excelize.OpenReader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		rr, err := f.GetRows(f.GetSheetName(0), excelize.Options{RawCellValue: true})
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		got := mustRead(t, b, Options{})
		if len(got.rows) != len(rr)-1 {
			t.Fatalf("%s: %d rows, excelize %d", name, len(got.rows), len(rr)-1)
		}
		for i, js := range got.raws {
			var values []any
			d := json.NewDecoder(strings.NewReader(js))
			d.UseNumber()
			if err := d.Decode(&values); err != nil {
				t.Fatal(err)
			}
			var mine []string
			for c, v := range values {
				switch v := v.(type) {
				case nil:
					mine = append(mine, "")
				case bool:
					// excelize's raw booleans are TRUE, FALSE, 1 or 0
					mine = append(mine, rr[i+1][c])
					if raw := rr[i+1][c]; v != (raw == "1" || raw == "TRUE") {
						t.Errorf("%s: %v, excelize %s", cellName(c+1, i+2), v, raw)
					}
				case json.Number:
					mine = append(mine, v.String())
				case string:
					if c == 5 { // the date
						v = rr[i+1][c]
					}
					mine = append(mine, v)
				}
			}
			if !slices.Equal(mine, rr[i+1]) {
				t.Fatalf("%s: %q, excelize %q", name, mine, rr[i+1])
			}
		}
	}
}
