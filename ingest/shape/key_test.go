package shape

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ingestd/ingest"
)

func keyOf(t testing.TB, key []string, scope string, rec *ingest.Record) ingest.Key {
	t.Helper()
	var out Result
	compile(t, Options{Key: key}).Bind(seed, scope).Apply(rec, &out)
	if out.Fault != "" {
		t.Fatal(out.Fault)
	}
	return out.Key
}

// TestKeysNeverChange: stored keys must be found again by later versions.
func TestKeysNeverChange(t *testing.T) {
	rec := record("order_id", "s:4711", "line", "n:2")
	for _, tt := range []struct {
		key  []string
		want string
	}{
		{[]string{"order_id"}, "f079f758165856406638ed25ffa300b0"},
		{[]string{"order_id", "line"}, "3be188345f3aa26d5b5118f78f39f0b4"},
		{[]string{"*"}, "84d1ead6e768c87b66a47c8babf0ca0d"},
	} {
		k := keyOf(t, tt.key, "orders", rec)
		if got := hex.EncodeToString(k[:]); got != tt.want {
			t.Errorf("key %v = %s, want %s", tt.key, got, tt.want)
		}
	}
}

func TestSameKey(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, tt := range []struct {
		name string
		key  []string
		a, b *ingest.Record
		same bool
	}{
		{"text and number", []string{"id"}, record("id", "s:1"), record("x", "s:y", "id", "n:1"), true},
		{"text and boolean", []string{"id"}, record("id", "s:true"), record("id", "b:true"), true},
		{"leading zero", []string{"id"}, record("id", "s:01"), record("id", "s:1"), false},
		{"digits as they stood", []string{"id"}, record("id", "n:1.0"), record("id", "n:1"), false},
		{"the cut between fields", []string{"a", "b"}, record("a", "s:ab", "b", "s:c"), record("a", "s:a", "b", "s:bc"), false},
		{"the order of fields", []string{"a", "b"}, record("a", "s:1", "b", "s:2"), record("a", "s:2", "b", "s:1"), false},
		{"the order of columns", []string{"a", "b"}, record("a", "s:1", "b", "s:2"), record("b", "s:2", "a", "s:1"), true},
		{"other fields", []string{"a"}, record("a", "s:1", "b", "s:2"), record("a", "s:1", "b", "s:3"), true},
		{"a path", []string{"o.id"}, record("o", `o:{"x":1,"id":"7"}`), record("o.id", "n:7"), true},
		{"long texts", []string{"a"}, record("a", "s:"+long), record("a", "s:"+long+"x"), false},
		{"whole, columns swapped", []string{"*"}, record("a", "s:1", "b", "s:2"), record("b", "n:2", "a", "n:1"), true},
		{"whole, other value", []string{"*"}, record("a", "s:1", "b", "s:2"), record("a", "s:1", "b", "s:3"), false},
		{"whole, values swapped", []string{"*"}, record("a", "s:1", "b", "s:2"), record("a", "s:2", "b", "s:1"), false},
		{"whole, other name", []string{"*"}, record("a", "s:1"), record("b", "s:1"), false},
		{"whole, null is empty", []string{"*"}, record("a", "s:"), record("a", "null"), true},
		{"whole, null is not absent", []string{"*"}, record("a", "s:1", "b", "null"), record("a", "s:1"), false},
		{"whole, name runs into value", []string{"*"}, record("ab", "s:c"), record("a", "s:bc"), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := keyOf(t, tt.key, "s", tt.a), keyOf(t, tt.key, "s", tt.b)
			if (a == b) != tt.same {
				t.Errorf("%v and %v: same = %v, want %v", a, b, a == b, tt.same)
			}
			if a == (ingest.Key{}) || b == (ingest.Key{}) {
				t.Error("the zero Key")
			}
		})
	}
}

func TestScopeAndSeedSeparateKeys(t *testing.T) {
	rec := record("id", "s:1")
	if keyOf(t, []string{"id"}, "a", rec) == keyOf(t, []string{"id"}, "b", rec) {
		t.Error("two scopes, one key")
	}
	s := compile(t, Options{Key: []string{"id"}})
	var one, two Result
	s.Bind(seed, "a").Apply(rec, &one)
	s.Bind([16]byte{}, "a").Apply(rec, &two)
	if one.Key == two.Key {
		t.Error("two seeds, one key")
	}
}

func TestNoKey(t *testing.T) {
	for _, tt := range []struct {
		name string
		rec  *ingest.Record
		want string
	}{
		{"empty", record("order_id", "s:", "line", "s:1"), "no key: order_id is empty"},
		{"null", record("order_id", "null", "line", "s:1"), "no key: order_id is null"},
		{"absent", record("line", "s:1"), "no key: order_id is absent"},
		{"second of two", record("order_id", "s:1", "line", "s:"), "no key: line is empty"},
		{"blank is a value", record("order_id", "s: ", "line", "s:1"), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := apply(t, Options{Key: []string{"order_id", "line"}}, tt.rec)
			if got.Fault != tt.want {
				t.Errorf("fault = %q, want %q", got.Fault, tt.want)
			}
			if tt.want != "" && got.Key != (ingest.Key{}) {
				t.Error("a fault with a key")
			}
		})
	}
	if got := apply(t, Options{Key: []string{"*"}}, record("a", "null")); got.Fault != "" {
		t.Errorf("whole record: %s", got.Fault)
	}
}

func TestKeyUsesTheSourceNotTheShape(t *testing.T) {
	got := apply(t, Options{Key: []string{"order_id"}, Fields: []Field{{Name: "x", From: "b"}}}, record("order_id", "s:9", "b", "s:1"))
	if got.Key != keyOf(t, []string{"order_id"}, "orders", record("order_id", "s:9")) {
		t.Error("the key of a shaped record differs")
	}
}

func TestKeyOf(t *testing.T) {
	named := compile(t, Options{Key: []string{"order_id", "o.line"}})
	rec := record("order_id", "s:A", "o", `o:{"line":2}`)
	var out Result
	named.Bind(seed, "s").Apply(rec, &out)
	if k, err := named.KeyOf(seed, "s", map[string]string{"order_id": "A", "o.line": "2"}); err != nil || k != out.Key {
		t.Errorf("KeyOf = %v, %v; want %v", k, err, out.Key)
	}

	whole := compile(t, Options{Key: []string{"*"}})
	whole.Bind(seed, "s").Apply(record("b", "n:2", "a", "null"), &out)
	if k, err := whole.KeyOf(seed, "s", map[string]string{"a": "", "b": "2"}); err != nil || k != out.Key {
		t.Errorf("KeyOf = %v, %v; want %v", k, err, out.Key)
	}

	for _, tt := range []struct {
		s      *Shape
		values map[string]string
		want   string
	}{
		{compile(t, Options{}), map[string]string{"a": "1"}, "this pipeline has no key, so it remembers none"},
		{named, map[string]string{"order_id": "A"}, "no value for the key field o.line; the key is order_id, o.line"},
		{named, map[string]string{"order_id": "", "o.line": "2"}, "no value for the key field order_id; the key is order_id, o.line"},
		{named, map[string]string{"order_id": "A", "o.line": "2", "z": "1"}, "z is no key field; the key is order_id, o.line"},
		{whole, nil, "the key is the whole record: give every field as name=value"},
	} {
		if k, err := tt.s.KeyOf(seed, "s", tt.values); err == nil || err.Error() != tt.want || k != (ingest.Key{}) {
			t.Errorf("KeyOf(%v) = %v, %v; want %s", tt.values, k, err, tt.want)
		}
	}
}

// TestKeysAreEqualWhereTextsAre is the property that keys stand for.
func TestKeysAreEqualWhereTextsAre(t *testing.T) {
	text := rapid.SampledFrom([]string{"", "0", "1", "01", "a", "ab", "b", "\x00", "\x01a", strings.Repeat("a", 127), strings.Repeat("a", 128), "ä"})
	kind := rapid.SampledFrom([]ingest.Kind{ingest.String, ingest.Number, ingest.Null})
	draw := func(t *rapid.T, label string) map[string]ingest.Field {
		out := map[string]ingest.Field{}
		for _, n := range []string{"a", "b", "c"} {
			if !rapid.Bool().Draw(t, label+n+" there") {
				continue
			}
			f := ingest.Field{Name: n, Kind: kind.Draw(t, label+n)}
			if f.Kind != ingest.Null {
				f.Raw = []byte(text.Draw(t, label+n+" text"))
			}
			out[n] = f
		}
		return out
	}
	asRecord := func(t *rapid.T, fields map[string]ingest.Field) *ingest.Record {
		rec := &ingest.Record{}
		for _, n := range rapid.Permutation(slices.Sorted(maps.Keys(fields))).Draw(t, "order") {
			rec.Fields = append(rec.Fields, fields[n])
		}
		return rec
	}
	texts := func(fields map[string]ingest.Field) string {
		s := ""
		for _, n := range slices.Sorted(maps.Keys(fields)) {
			s += fmt.Sprintf("%s=%q;", n, fields[n].Raw)
		}
		return s
	}

	whole := compile(t, Options{Key: []string{"*"}})
	named := compile(t, Options{Key: []string{"b", "a"}})
	rapid.Check(t, func(t *rapid.T) {
		x, y := draw(t, "x"), draw(t, "y")
		if rapid.Bool().Draw(t, "equal") {
			y = maps.Clone(x)
		}
		var kx, ky Result
		whole.Bind(seed, "s").Apply(asRecord(t, x), &kx)
		b := whole.Bind(seed, "s")
		b.Apply(asRecord(t, x), &ky) // another layout first
		b.Apply(asRecord(t, y), &ky)
		if (kx.Key == ky.Key) != (texts(x) == texts(y)) {
			t.Fatalf("whole: %s and %s: keys %v, %v", texts(x), texts(y), kx.Key, ky.Key)
		}

		named.Bind(seed, "s").Apply(asRecord(t, x), &kx)
		named.Bind(seed, "s").Apply(asRecord(t, y), &ky)
		for _, r := range []struct {
			fields map[string]ingest.Field
			got    Result
		}{{x, kx}, {y, ky}} {
			whole := len(r.fields["a"].Raw) > 0 && len(r.fields["b"].Raw) > 0
			if (r.got.Fault == "") != whole || (r.got.Key != ingest.Key{}) != whole {
				t.Fatalf("named: %s: key %v, fault %q", texts(r.fields), r.got.Key, r.got.Fault)
			}
		}
		if kx.Fault != "" || ky.Fault != "" {
			return
		}
		delete(x, "c")
		delete(y, "c")
		if (kx.Key == ky.Key) != (texts(x) == texts(y)) {
			t.Fatalf("named: %s and %s: keys %v, %v", texts(x), texts(y), kx.Key, ky.Key)
		}
	})
}
