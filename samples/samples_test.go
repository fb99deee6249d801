package samples

import (
	"encoding/json"
	"io/fs"
	"path"
	"strings"
	"testing"
)

// TestTheBooks holds the numbers of Inputs against the expected records.
func TestTheBooks(t *testing.T) {
	keys := map[string]string{
		"orders_csv": "order_id", "orders_json": "order_id", "orders_xml": "@id", "orders_xlsx": "order_id",
	}
	known := map[string]map[string]bool{}
	for _, in := range Inputs() {
		if known[in.Pipeline] == nil {
			known[in.Pipeline] = map[string]bool{}
		}
		read, shapeless, again, before := 0, 0, 0, 0
		here := map[string]bool{}
		for i, line := range in.Expected() {
			read++
			var rec map[string]json.RawMessage
			if err := json.Unmarshal(line, &rec); err != nil {
				t.Errorf("%s, record %d: %v", in.Path, i+1, err)
				continue
			}
			key := strings.Trim(string(rec[keys[in.Pipeline]]), `"`)
			switch {
			case key == "" || key == "null":
				shapeless++
			case here[key]:
				again++
			case known[in.Pipeline][key]:
				before++
			}
			here[key] = true
		}
		for key := range here {
			known[in.Pipeline][key] = true
		}
		parse, shape := 0, 0
		for _, b := range in.Bad {
			switch b.Stage {
			case "parse":
				parse++
			case "shape":
				shape++
			default:
				t.Errorf("%s: stage %q", in.Path, b.Stage)
			}
		}
		if read+parse != in.Records || shapeless != shape || again != in.Repeated || before != in.Known {
			t.Errorf("%s: %d records, %d bad by parse, %d by shape, %d repeated, %d known; the list says %+v",
				in.Path, read+parse, parse, shapeless, again, before, in)
		}
		if len(in.Bytes()) == 0 {
			t.Errorf("%s is empty", in.Path)
		}
	}
}

// TestNothingIsForgotten: every file is listed, every list entry is a file.
func TestNothingIsForgotten(t *testing.T) {
	listed := map[string]bool{}
	formats := map[string]bool{}
	for _, in := range Inputs() {
		listed[in.Path] = true
		listed["expected/"+in.Name()+".ndjson"] = true
		formats[in.Format] = true
		if !strings.Contains(string(Quickstart()), "\n  "+in.Pipeline+":\n") {
			t.Errorf("the quick start has no pipeline %s", in.Pipeline)
		}
	}
	for _, f := range []string{"csv", "json", "xml", "xlsx"} {
		if !formats[f] {
			t.Errorf("no input in %s", f)
		}
	}
	for _, dir := range []string{"in", "expected"} {
		err := fs.WalkDir(FS(), dir, func(name string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && !listed[path.Clean(name)] {
				t.Errorf("%s is in no list", name)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestTheFilesAreNasty: the samples are there to show what goes wrong; a tool
// that tidies them up would take that away.
func TestTheFilesAreNasty(t *testing.T) {
	csv := string(Inputs()[0].Bytes())
	for what, part := range map[string]string{
		"a byte order mark":     "\ufefforder_id",
		"CRLF line ends":        "note\r\n",
		"a newline in a cell":   "\"two parcels:\n1. front door\n2.",
		"doubled quotes":        `"The ""Corner"" Shop, Ltd."`,
		"a leading zero":        ",01067,",
		"a number past 2^53":    "9007199254740993",
		"a decimal comma":       ",19,90,EUR",
		"a cell like a formula": "=1+1",
	} {
		if !strings.Contains(csv, part) {
			t.Errorf("%s: no %s (%q)", Inputs()[0].Path, what, part)
		}
	}
}

func TestStarterIsShort(t *testing.T) {
	if n := strings.Count(string(Starter()), "\n"); n > 15 {
		t.Errorf("the starter config has %d lines; at most 15", n)
	}
	if !strings.Contains(string(Unit()), "\nType=notify\n") {
		t.Error("the unit is no notify unit")
	}
}
