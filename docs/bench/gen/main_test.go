package main

import (
	"bytes"
	"encoding/csv"
	"testing"
)

func TestInput(t *testing.T) {
	const rows = 20_000
	var a, b bytes.Buffer
	if err := write(&a, rows); err != nil {
		t.Fatal(err)
	}
	if err := write(&b, rows); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("two runs differ")
	}
	if want := len(header) + rows*rowBytes; a.Len() != want {
		t.Errorf("%d bytes, want %d", a.Len(), want)
	}
	got, err := csv.NewReader(&a).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, row := range got[1:] {
		if len(row) != 10 {
			t.Fatalf("%d cells: %q", len(row), row)
		}
		ids[row[0]] = true
	}
	if len(got)-1 != rows || len(ids) != rows*9/10 {
		t.Errorf("%d rows with %d order_ids, want %d with %d", len(got)-1, len(ids), rows, rows*9/10)
	}
}
