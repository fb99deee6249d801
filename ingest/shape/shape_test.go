package shape

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ingestd/ingest"
)

var seed = [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

// compile is Compile for options that must be right.
func compile(t testing.TB, o Options) *Shape {
	t.Helper()
	s, err := Compile(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// record makes a record of name, value pairs; the value's first bytes say its
// kind: "s:text", "n:12", "b:true", "o:{…}", "a:[…]", "null".
func record(pairs ...string) *ingest.Record {
	r := &ingest.Record{}
	kinds := map[string]ingest.Kind{
		"s": ingest.String, "n": ingest.Number, "b": ingest.Bool, "o": ingest.Object, "a": ingest.Array,
	}
	for i := 0; i < len(pairs); i += 2 {
		f := ingest.Field{Name: pairs[i]}
		if k, v, ok := strings.Cut(pairs[i+1], ":"); ok {
			f.Kind, f.Raw = kinds[k], []byte(v)
		}
		r.Fields = append(r.Fields, f)
	}
	return r
}

// object is the fields as they would be sent.
func object(fields []ingest.Field) string {
	var e ingest.Encoder
	return string(e.Append(nil, fields))
}

func apply(t testing.TB, o Options, rec *ingest.Record) Result {
	t.Helper()
	var out Result
	compile(t, o).Bind(seed, "orders").Apply(rec, &out)
	return out
}

func TestCompileRefuses(t *testing.T) {
	deep := strings.Repeat("a.", maxSegments) + "b"
	for _, tt := range []struct {
		name string
		o    Options
		want []string
	}{
		{"empty key", Options{Key: []string{"id", " "}}, []string{`record.key[1]: an empty name; name a field of the source, or "*" for the whole record`}},
		{"star with others", Options{Key: []string{"*", "id"}}, []string{`record.key[0]: "*" is the whole record and stands alone`}},
		{"others with star", Options{Key: []string{"id", "*"}}, []string{`record.key[1]: "*" is the whole record and stands alone`}},
		{"key twice", Options{Key: []string{"id", "id"}}, []string{`record.key[1]: "id" is named twice`}},
		{"field without name", Options{Fields: []Field{{From: "id"}}}, []string{`record.fields: a field without a name`}},
		{"field twice", Options{Fields: []Field{{Name: "id", From: "a"}, {Name: "id", From: "b"}}}, []string{`record.fields.id: "id" goes out twice`}},
		{"blank from", Options{Fields: []Field{{Name: "id", From: " "}}}, []string{`record.fields.id: an empty name; name a field of the source`}},
		{"dotted name out", Options{Fields: []Field{{Name: "a.b", From: "c"}}}, []string{`record.fields["a.b"]: a name that goes out may not hold a dot; dots are for paths into the source (from)`}},
		{"deep path", Options{Fields: []Field{{Name: "id", From: deep}}}, []string{`record.fields.id: a path of 65 steps; at most 64`}},
		{"all at once", Options{Key: []string{""}, Fields: []Field{{Name: ""}}}, []string{
			`record.key[0]: an empty name; name a field of the source, or "*" for the whole record`,
			`record.fields: a field without a name`,
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Compile(tt.o)
			if s != nil || err == nil {
				t.Fatalf("Compile = %v, %v; want an error", s, err)
			}
			if diff := cmp.Diff(strings.Join(tt.want, "\n"), err.Error()); diff != "" {
				t.Error(diff)
			}
			if e := (*Error)(nil); !errors.As(err, &e) || e.Path == "" {
				t.Errorf("%T does not hold an *Error with a path", err)
			}
		})
	}
}

func TestApplyFields(t *testing.T) {
	csv := record("order_id", "s:007", " city ", "s:Köln", "note", "s:", "a.b", "s:dotted", "gone", "null")
	doc := record(
		"id", "n:12345678901234567890.10",
		"customer", `o:{"name":"Ada \"L\"","address":{"city":"Z\u00fcrich","zip":"08001"},"vip":true,"none":null,"n":-1.50e3,"we\u0069rd":"x","":"empty"}`,
		"lines", `a:[{"sku":"A-1","tags":["x","y,]}"]},{"sku":"B \\ 2"},3]`,
		"text", `s:{"not":"an object"}`,
	)
	for _, tt := range []struct {
		name  string
		o     Options
		rec   *ingest.Record
		want  string
		fault string
	}{
		{name: "as it came", rec: csv, want: `{"order_id":"007"," city ":"Köln","note":"","a.b":"dotted","gone":null}`},
		{
			name: "renamed, in the config's order",
			o:    Options{Fields: []Field{{Name: "ort", From: "city"}, {Name: "id", From: "order_id"}}},
			rec:  csv, want: `{"ort":"Köln","id":"007"}`,
		},
		{name: "from defaults to the name", o: Options{Fields: []Field{{Name: "note"}}}, rec: csv, want: `{"note":""}`},
		{name: "null stays null", o: Options{Fields: []Field{{Name: "g", From: "gone"}}}, rec: csv, want: `{"g":null}`},
		{name: "a column with a dot comes before a path", o: Options{Fields: []Field{{Name: "x", From: "a.b"}}}, rec: csv, want: `{"x":"dotted"}`},
		{name: "one column twice", o: Options{Fields: []Field{{Name: "a", From: "order_id"}, {Name: "b", From: "order_id"}}}, rec: csv, want: `{"a":"007","b":"007"}`},
		{name: "absent", o: Options{Fields: []Field{{Name: "x", From: "nope"}}}, rec: csv, fault: "no field nope"},
		{name: "absent path", o: Options{Fields: []Field{{Name: "x", From: "customer.address.street"}}}, rec: doc, fault: "no field customer.address.street"},
		{name: "optional", o: Options{Fields: []Field{{Name: "x", From: "nope", Optional: true}, {Name: "note"}}}, rec: csv, want: `{"note":""}`},
		{
			name: "rest",
			o:    Options{Rest: true, Fields: []Field{{Name: "ort", From: "city"}, {Name: "x", From: "nope", Optional: true}}},
			rec:  csv, want: `{"ort":"Köln","order_id":"007","note":"","a.b":"dotted","gone":null}`,
		},
		{
			name: "a named field hides a column of its name",
			o:    Options{Rest: true, Fields: []Field{{Name: "note", From: "order_id"}}},
			rec:  csv, want: `{"note":"007"," city ":"Köln","a.b":"dotted","gone":null}`,
		},
		{name: "rest without fields", o: Options{Rest: true}, rec: record("a", "s:1"), want: `{"a":"1"}`},
		{
			name: "paths",
			o: Options{Fields: []Field{
				{Name: "id"},
				{Name: "name", From: "customer.name"},
				{Name: "city", From: "customer.address.city"},
				{Name: "zip", From: "customer.address.zip"},
				{Name: "vip", From: "customer.vip"},
				{Name: "none", From: "customer.none"},
				{Name: "n", From: "customer.n"},
				{Name: "weird", From: "customer.weird"},
				{Name: "nameless", From: "customer."},
				{Name: "address", From: "customer.address"},
				{Name: "sku", From: "lines.0.sku"},
				{Name: "tag", From: "lines.0.tags.1"},
				{Name: "second", From: "lines.1.sku"},
				{Name: "third", From: "lines.2"},
			}},
			rec: doc,
			want: `{"id":12345678901234567890.10,"name":"Ada \"L\"","city":"Zürich","zip":"08001","vip":true,"none":null,"n":-1.50e3,"weird":"x","nameless":"empty",` +
				`"address":{"city":"Z\u00fcrich","zip":"08001"},"sku":"A-1","tag":"y,]}","second":"B \\ 2","third":3}`,
		},
		{name: "rest keeps what a path looked into", o: Options{Rest: true, Fields: []Field{{Name: "x", From: "o.a"}}}, rec: record("o", `o:{"a":1}`, "b", "n:2"), want: `{"x":1,"o":{"a":1},"b":2}`},
		{name: "no index 3", o: Options{Fields: []Field{{Name: "x", From: "lines.3"}}}, rec: doc, fault: "no field lines.3"},
		{name: "an index has one form", o: Options{Fields: []Field{{Name: "x", From: "lines.00"}}}, rec: doc, fault: "no field lines.00"},
		{name: "no negative index", o: Options{Fields: []Field{{Name: "x", From: "lines.-1"}}}, rec: doc, fault: "no field lines.-1"},
		{name: "text is not looked into", o: Options{Fields: []Field{{Name: "x", From: "text.not"}}}, rec: doc, fault: "no field text.not"},
		{name: "a scalar holds nothing", o: Options{Fields: []Field{{Name: "x", From: "customer.vip.x"}}}, rec: doc, fault: "no field customer.vip.x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := apply(t, tt.o, tt.rec)
			if got.Fault != tt.fault {
				t.Fatalf("fault = %q, want %q", got.Fault, tt.fault)
			}
			if tt.fault != "" {
				return
			}
			if diff := cmp.Diff(tt.want, object(got.Fields)); diff != "" {
				t.Error(diff)
			}
			if got.Key != (ingest.Key{}) || got.Filtered {
				t.Errorf("key %v, filtered %v; want none", got.Key, got.Filtered)
			}
		})
	}
}

func TestApplyWithoutFieldsCopiesNothing(t *testing.T) {
	rec := record("id", "s:1", "b", "s:2")
	for _, key := range [][]string{nil, {"id"}, {"*"}} {
		got := apply(t, Options{Key: key}, rec)
		if &got.Fields[0] != &rec.Fields[0] || len(got.Fields) != 2 {
			t.Errorf("key %v: the fields are not the record's own", key)
		}
	}
}

// TestResultsLiveUntilReset shapes more records than an arena block holds and
// looks at all of them afterwards.
func TestResultsLiveUntilReset(t *testing.T) {
	s := compile(t, Options{Fields: []Field{{Name: "x", From: "o.v"}, {Name: "y", From: "id"}}})
	b := s.Bind(seed, "")
	for round := range 3 {
		var recs []*ingest.Record
		var got []Result
		for i := range 9000 {
			id := strings.Repeat("i", i%7+1)
			rec := record("id", "s:"+id, "o", `o:{"v":"\u00e4`+id+`"}`)
			var out Result
			b.Apply(rec, &out)
			recs, got = append(recs, rec), append(got, out)
		}
		for i := range got {
			id := string(recs[i].Fields[0].Raw)
			if want := `{"x":"ä` + id + `","y":"` + id + `"}`; object(got[i].Fields) != want {
				t.Fatalf("round %d, record %d: %s, want %s", round, i, object(got[i].Fields), want)
			}
		}
		b.Reset()
	}
}

// TestLayoutsThatChange mixes more orders of names than a Binding remembers.
func TestLayoutsThatChange(t *testing.T) {
	s := compile(t, Options{Key: []string{"k"}, Fields: []Field{{Name: "x", From: "v", Optional: true}}, Rest: true})
	b := s.Bind(seed, "")
	names := []string{"a", "b", "c", "d", "e"}
	for i := range 2000 {
		pairs := []string{}
		want := ""
		if i%3 != 0 {
			want = `"x":1,`
		}
		for j, n := range names {
			if i>>j&1 == 1 {
				pairs = append(pairs, n, "n:"+n[:0]+"2")
				want += `"` + n + `":2,`
			}
		}
		pairs = append(pairs, "k", "s:key")
		want += `"k":"key"`
		if i%3 != 0 {
			pairs = append([]string{"v", "n:1"}, pairs...)
		}
		var out Result
		b.Apply(record(pairs...), &out)
		if got := object(out.Fields); got != "{"+want+"}" || out.Fault != "" {
			t.Fatalf("record %d: %s %q, want {%s}", i, got, out.Fault, want)
		}
	}
}

func TestCheck(t *testing.T) {
	s := compile(t, Options{
		Key: []string{"order_id", "customer.id"},
		Fields: []Field{
			{Name: "id", From: "order_id"},
			{Name: "qty", From: "Quantity"},
			{Name: "note", Optional: true},
			{Name: "city", From: "customer.address.city"},
		},
	})
	for _, tt := range []struct {
		name    string
		header  []string
		missing []string
		nearest []string
	}{
		{"unknown", nil, nil, nil},
		{"all there", []string{"order_id", "Quantity", "customer"}, nil, nil},
		{"trimmed", []string{" order_id", "Quantity\t", " customer "}, nil, nil},
		{"path as a column", []string{"order_id", "Quantity", "customer.id", "customer.address"}, nil, nil},
		{"another case", []string{"Order_ID", "quantity", "customer"}, []string{"order_id", "Quantity"}, []string{"Order_ID", "quantity"}},
		{"typing errors", []string{"odrer-id", "quantity_2", "customer"}, []string{"order_id", "Quantity"}, []string{"odrer-id", "quantity_2"}},
		{
			"other words",
			[]string{"x", "customers"},
			[]string{"order_id", "customer.id", "Quantity", "customer.address.city"},
			[]string{"", "customers", "", ""},
		},
		{"empty", []string{}, []string{"order_id", "customer.id", "Quantity", "customer.address.city"}, []string{"", "", "", ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := s.Check(tt.header)
			if tt.missing == nil {
				if e != nil {
					t.Fatal(e)
				}
				return
			}
			if e == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(&ingest.HeaderError{Missing: tt.missing, Nearest: tt.nearest, Header: tt.header}, e); diff != "" {
				t.Error(diff)
			}
		})
	}
	if e := compile(t, Options{Key: []string{"*"}}).Check([]string{"a"}); e != nil {
		t.Errorf("the whole record needs no column: %v", e)
	}
}

func TestNearestPrefersTheSmallestSlip(t *testing.T) {
	header := []string{"order_no", "Order ID", "orderid", "order_idd", strings.Repeat("order_id", 100)}
	if got := nearest("order_id", header); got != "Order ID" {
		t.Errorf("nearest = %q", got)
	}
	if got := nearest("***", header); got != "" {
		t.Errorf("nearest to no letters = %q", got)
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"abc", "", 3},
		{"abc", "abc", 0},
		{"abc", "abd", 1},
		{"abc", "acb", 1},
		{"kitten", "sitting", 3},
		{"menge", "mänge", 1},
		{"ab", "ba", 1},
	} {
		if got := distance([]rune(tt.a), []rune(tt.b)); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
