package csvfmt

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// rowsOf joins n rows in a dialect; % stands for the row's number.
func rowsOf(n int, format string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.ReplaceAll(format, "%", fmt.Sprint(i+1)))
	}
	return b.String()
}

// pin is what of a dialect differs from RFC 4180 with a header, as a config
// names it.
func pin(o Options) string {
	var s []string
	add := func(key, value string) { s = append(s, key+"="+value) }
	if o.Delimiter != "," {
		add("delimiter", o.Delimiter)
	}
	if o.NoQuote {
		add("quote", "none")
	} else if o.Quote != "" {
		add("quote", o.Quote)
	}
	if o.Escape != "" {
		add("escape", o.Escape)
	}
	if o.NoHeader {
		add("header", "false")
	} else if o.Header > 1 {
		add("header", fmt.Sprint(o.Header))
	}
	if len(o.Columns) > 0 {
		add("columns", strings.Join(o.Columns, "/"))
	}
	if o.SkipRows > 0 {
		add("skip", fmt.Sprint(o.SkipRows))
	}
	if o.Comment != "" {
		add("comment", o.Comment)
	}
	if o.Trim {
		add("trim", "true")
	}
	return strings.Join(s, " ")
}

func TestDetect(t *testing.T) {
	const head = "DATE,TIME,Qty,PRODUCTID,Price,ProductType,Description,URL,Comments\n"
	const row = "01/0%/2018,07:11,%,PID%4,3.%5,Toys,\"a \"\"blue\"\" one, large\",https://shop.example/p/%,fine\n"
	commas := func(from string) string { return strings.ReplaceAll(from, ",", ";") }
	for _, c := range []struct{ name, text, want string }{
		{"plain", head + rowsOf(9, row), ""},
		{"one row", head + rowsOf(1, row), ""},
		{"header only", head, ""},
		{"no header", rowsOf(9, row), "header=false"},
		{"no header, one row", rowsOf(1, row), "header=false"},
		{"semicolon", strings.ReplaceAll(head, ",", ";") + rowsOf(9, "01/0%/2018;07:11;%;PID%4;3,%5;Toys;a, b;https://x.example/%;fine, it is\n"), "delimiter=;"},
		{"semicolon, decimal comma in all", "a;b\n1,5;2,5\n3,5;4,5\n", "delimiter=;"},
		{"tab", strings.ReplaceAll(head+rowsOf(9, "01/0%/2018,07:11,%,PID%4,3.%5,Toys,a b,c,fine\n"), ",", "\t"), "delimiter=\t"},
		{"pipe", strings.ReplaceAll(head+rowsOf(9, "01/0%/2018,07:11,%,PID%4,3.%5,Toys,a b,c,fine\n"), ",", "|"), "delimiter=|"},
		{"blank", strings.ReplaceAll(head, ",", " ") + rowsOf(9, "01/0%/2018 07:11 % PID%4 3.%5 Toys \"a large one\" https://x.example/% fine\n"), "delimiter= "},
		{"comma blank", strings.ReplaceAll(head, ",", ", ") + rowsOf(9, "01/0%/2018, 07:11, %, PID%4, 3.%5, Toys, \"a, b\", https://x.example/%, fine\n"), "delimiter=, "},
		{"comma, sometimes blank", "id, name, note\n" + rowsOf(9, "%, \"a, b\",c\n"), "trim=true"},
		{"two pipes", "id||name||price\n" + rowsOf(9, "%||Mill | Co||%.50\n"), "delimiter=||"},
		{"two pipes and empty cells", "id||name||note\n1||a|b||\"x||y\"\n2||||\n3||\"q\"\"q\"||x\n", "delimiter=||"},
		{"two colons", "id::name::time\n" + rowsOf(9, "%::Mill::1%:30\n"), "delimiter=::"},
		{"tilde", "id~name~price\n" + rowsOf(9, "%~Mill, Ann~%.50\n"), "delimiter=~"},
		{"pipe tilde pipe", "id|~|name|~|price\n" + rowsOf(9, "%|~|Mill|~|%.50\n"), "delimiter=|~|"},
		{"unit separator", "id\x1fname\x1fprice\n" + rowsOf(9, "%\x1fMill, x\x1f%.50\n"), "delimiter=\x1f"},
		{"quote '", strings.ReplaceAll(head+rowsOf(9, row), "\"", "'"), "quote='"},
		{"apostrophes are no quotes", "id,name\n" + rowsOf(9, "%,O'Hara's\n"), ""},
		{"backslash", head + strings.ReplaceAll(rowsOf(9, row), `""`, `\"`), `escape=\`},
		{"inches", "id,size,n\n" + rowsOf(9, "%,5\" x 7\",3\n"), "quote=none"},
		{"one stray quote", "id,size,n\n" + rowsOf(9, "%,x,3\n") + "1,5\" x,3\n", ""},
		{"preamble", "Report of the week\nmade by Ann, Bob\n\n" + head + rowsOf(9, row), "skip=3"},
		{"preamble with quotes", "Report \"weekly\"\n" + head + rowsOf(9, row), "skip=1"},
		{"preamble, no header", "Report of the week\n" + rowsOf(9, row), "header=false skip=1"},
		{"preamble filled up", "Report of the week,,,,,,,,\n,,,,,,,,\n" + head + rowsOf(9, row), "skip=2"},
		{"comments above", "# made by x\n# on Monday\n" + head + rowsOf(9, row), "skip=2"},
		{"comments between", head + rowsOf(3, row) + "# a break\n" + rowsOf(3, row), "comment=#"},
		{"header begins with #", "#id,name,price\n" + rowsOf(9, "%,x,1.5\n"), ""},
		{"header narrower", "a,b\n" + rowsOf(9, "%,x,1.5,2,3\n"), ""},
		{"two header rows", "Order,,Customer,\nid,date,name,age\n" + rowsOf(9, "%,2026-11-0%,Ann,4%\n"), "header=2"},
		{"years in the header", "country,2024,2025\n" + rowsOf(9, "land %,1.%,2.%\n"), ""},
		{"trailing delimiters", "id,name,price\n" + rowsOf(9, "%,x,1.5,\n"), "columns=id/name/price/column_4"},
		{"second table, wider", "id,name\n" + rowsOf(5, "%,x\n") + "\nid,date,price,n\n" + rowsOf(30, "%,2026-01-02,1.5,2\n"), ""},
		{"sep", "sep=;\nid;a,b\n1;x,y\n", "delimiter=; skip=1"},
		{"one column", "id\n1\n2\n", ""},
		{"one column of names", "name\nAnn Smith\nBob Jones\nCy Young\n", ""},
		{"one column of times", "at\n2026-11-01 10:00\n2026-11-02 11:00\n", ""},
		{"blank between names", "first name,last name\nJohn Ray,van Dam\nMary Ann,de Wit\n", ""},
		{"CR only", strings.ReplaceAll(head+rowsOf(9, row), "\n", "\r"), ""},
		{"CRLF", strings.ReplaceAll(head+rowsOf(9, row), "\n", "\r\n"), ""},
		{"ragged", head + rowsOf(5, row) + "1,2\n" + rowsOf(5, row) + "1,2,3,4,5,6,7,8,9,10,11\n", ""},
		{"a row with another delimiter", head + rowsOf(5, row) + commas(row) + rowsOf(5, row), ""},
		{"unclosed quote", head + rowsOf(5, row) + "1,\"2,3\n" + rowsOf(5, row), ""},
		{"text alone", "name,city\nAnn,Rome\nBob,Paris\n", ""},
		{"text alone, semicolons", "name;city\nAnn;Rome, Italy\nBob;Paris\n", "delimiter=;"},
		{"empty cells", "a,b,c,d\n,,,\n1,,,\n,2,,\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := Detect([]byte(c.text), false, Options{})
			if got := pin(f.Options); got != c.want {
				t.Errorf("found %q, want %q; %v", got, c.want, f.Notes)
			}
			if f.Doubt != "" {
				t.Errorf("in doubt: %s", f.Doubt)
			}
		})
	}
}

func TestDetectKeepsWhatIsGiven(t *testing.T) {
	for _, c := range []struct {
		name, text string
		given      Options
		want       string
	}{
		{"delimiter", "a;b\n1;2\n", Options{Delimiter: ","}, "header=true"},
		{"skip rows", "x\ny\na,b\n1,2\n", Options{SkipRows: 1}, "skip=1"},
		{"columns", "1,2\n3,4\n", Options{Columns: []string{"a", "b"}}, "columns=a/b"},
		{"no header", "a,b\n1,2\n", Options{NoHeader: true}, "header=false"},
		{"comment", "% x\na,b\n1,2\n", Options{Comment: "%"}, "comment=%"},
		{"no quote", "a,b\n\"1,2\n", Options{NoQuote: true}, "quote=none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Detect([]byte(c.text), false, c.given).Options
			if got.Delimiter == "" {
				t.Error("no delimiter")
			}
			if want := strings.TrimSuffix(c.want, "header=true"); pin(got) != want {
				t.Errorf("found %q, want %q", pin(got), want)
			}
		})
	}
}

func TestDetectDoubts(t *testing.T) {
	// Either way all rows have two cells that look like words.
	f := Detect([]byte("a:b~c\nd:e~f\n"), false, Options{})
	t.Logf("%+v", f)
	f = Detect([]byte("a;b|c\nd;e|f\n"), false, Options{})
	if f.Doubt == "" {
		t.Errorf("no doubt: %v", f.Notes)
	}
}

func TestDetectRemarks(t *testing.T) {
	for _, c := range []struct{ name, text, what, value string }{
		{"decimal comma", "a;b\n1,5;2,5\n", NoteDecimal, ","},
		{"total", "item,n,price\nx,1,2.5\ny,2,3.5\nTotal,3,6.0\n", NoteTotal, `"Total,3,6.0"`},
		{"narrow end", "item,n,price\nx,1,2.5\ny,2,3.5\n\n2 rows\n", NoteTotal, `"2 rows"`},
		{"short rows", "id,n,x,y\n" + rowsOf(9, "%,1\n") + "1,2,3,4\n", NoteRagged, "4"},
		{"second table of other width", "id,n,x\n" + rowsOf(5, "%,1,2\n") + "\na,b\n1,2\n3,4\n", NoteTables, "2"},
		{"second table of the same width", "id,n\n" + rowsOf(5, "%,1\n") + "\nkey,sum\n1,2\n3,4\n", NoteTables, "2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, n := range Detect([]byte(c.text), false, Options{}).Notes {
				if n.What == c.what && n.Value == c.value {
					return
				}
			}
			t.Errorf("no note %s %s: %v", c.what, c.value, Detect([]byte(c.text), false, Options{}).Notes)
		})
	}
}

func FuzzDetect(f *testing.F) {
	for _, s := range []string{
		"a,b\n1,2\n", "a;b\r1,5;\"x\"\"y\"\r", "# x\na|b\n'1'|2\n", "sep=;\na;b\n", "a||b\n\"\\\"\"||2", "\x00\xff,\n,,,,\n", "\"\n\"", "x\n\n\na\tb\n1\t2\n",
	} {
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, text []byte, cut bool) {
		if len(text) > 32<<10 {
			return
		}
		found := Detect(text, cut, Options{})
		if _, err := New(bytes.NewReader(text), found.Options); err != nil {
			t.Fatalf("a dialect that cannot be read: %v", err)
		}
		if again := Detect(bytes.Clone(text), cut, Options{}); !reflect.DeepEqual(found, again) {
			t.Fatalf("two answers: %v, %v", found, again)
		}
		o := Dialect(Options{}, found.Notes)
		if o.Delimiter != found.Options.Delimiter || o.Quote != found.Options.Quote || o.NoQuote != found.Options.NoQuote || o.Escape != found.Options.Escape || o.Trim != found.Options.Trim {
			t.Fatalf("the notes say %q, found was %q", pin(o), pin(found.Options))
		}
	})
}
