package samples

import (
	"archive/zip"
	"bytes"
	"flag"
	"io"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/xuri/excelize/v2"
)

var update = flag.Bool("update", false, "write the workbook anew")

const workbook = "in/xlsx/orders-2026-03-05.xlsx"

// TestWorkbook makes the workbook as an office program would, with shared
// strings, number formats and a second sheet, and compares it with the file.
func TestWorkbook(t *testing.T) {
	fresh := makeWorkbook(t)
	if *update {
		if err := os.WriteFile(workbook, fresh, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(workbook)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(members(t, fresh), members(t, have)); diff != "" {
		t.Errorf("%s is not what this test makes (go test ./samples -update):\n%s", workbook, diff)
	}
}

func makeWorkbook(t *testing.T) []byte {
	t.Helper()
	f := excelize.NewFile()
	defer f.Close()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	style := func(format string) int {
		id, err := f.NewStyle(&excelize.Style{CustomNumFmt: &format})
		check(err)
		return id
	}
	const sheet = "Orders"
	check(f.SetSheetName("Sheet1", sheet))

	day, minute, clock, money := style("dd.mm.yyyy"), style("yyyy-mm-dd hh:mm"), style("hh:mm:ss"), style("#,##0.00")
	styles := map[string]int{"E": money, "G": day, "H": minute, "I": clock}
	date := time.Date(2026, 3, 5, 0, 0, 0, 0, time.UTC)
	at := func(hour, min int) time.Time {
		return date.Add(time.Duration(hour)*time.Hour + time.Duration(min)*time.Minute)
	}
	noon := 0.5 // of a day

	rows := [][]any{
		{"order_id", "customer", "zip", "quantity", "unit_price", "paid", "ordered_on", "ordered_at", "pickup", "note"},
		{400001, "Gärtnerei Grünzeug", "01067", 10, 1234.5, true, date, at(8, 15), noon, "Übergabe an der Rampe"},
		{400002, "Papeterie \"L'Étoile\"", "00680", 1, 0.1, false, date, at(13, 5), 0.75, nil},
		{"400003-B", "Ærø Færgefart", "5970", 123456789012345, -3, true, date.AddDate(-1, -2, 24), at(23, 59), 0.25, "line one\nline two"},
		{400001, "Gärtnerei Grünzeug", "01067", 10, 1234.5, true, date, at(8, 15), noon, "Übergabe an der Rampe"},
		{nil, "nobody gave a number", "10115", 2, 9.99, false, date, at(9, 0), noon, "ends as a dead letter: no key"},
		{400004, "株式会社サンプル", "100-0001", 3, 1e-05, false, date, at(0, 0), 0.0, "<b>&amp;</b>"},
	}
	for i, row := range rows {
		for j, v := range row {
			if v == nil {
				continue
			}
			col, err := excelize.ColumnNumberToName(j + 1)
			check(err)
			cell, err := excelize.JoinCellName(col, i+1)
			check(err)
			check(f.SetCellValue(sheet, cell, v))
			if id, ok := styles[col]; ok && i > 0 {
				check(f.SetCellStyle(sheet, cell, cell, id))
			}
		}
	}

	_, err := f.NewSheet("Notes")
	check(err)
	check(f.SetCellValue("Notes", "A1", "nothing to see here"))

	var buf bytes.Buffer
	check(f.Write(&buf))
	return buf.Bytes()
}

func members(t *testing.T, b []byte) map[string]string {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, m := range z.File {
		r, err := m.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out[m.Name] = string(text)
	}
	return out
}
