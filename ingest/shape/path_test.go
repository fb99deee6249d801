package shape

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"ingestd/ingest"
)

func TestDigBrokenText(t *testing.T) {
	for _, text := range []string{
		``, `{`, `{"`, `{"a`, `{"a"`, `{"a":`, `{"a":}`, `{"a":"`, `{"a":"\`, `{"a":{`, `{"a":[`, `{"b":1`, `{"b":1 ,"a":2}`, `{"b":,"a":2}`, `{a:1}`,
		`[`, `[,`, `["`, `[[`, `[1 `, `x`, `}`, `]`, `{"b":"\u12`,
	} {
		for _, k := range []ingest.Kind{ingest.Object, ingest.Array, ingest.Number} {
			if _, raw, ok := dig(k, []byte(text), []string{"a", "0"}); ok {
				t.Errorf("%s: found %s", text, raw)
			}
		}
	}
}

func TestUnescaped(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{`plain`, "plain"},
		{`\"\\\/\b\f\n\r\t`, "\"\\/\b\f\n\r\t"},
		{`\u00e4\u20AC`, "ä€"},
		{`\ud83d\ude00!`, "😀!"},
		{`\ud83d`, "\ufffd"},
		{`\ud83dx`, "\ufffdx"},
		{`\ude00\ud83d\u0041`, "\ufffd\ufffdA"},
		{`a\u12`, `a\u12`},
		{`a\`, `a\`},
	} {
		if got := string(appendUnescaped(nil, []byte(tt.in))); got != tt.want {
			t.Errorf("%s = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestDigDepth(t *testing.T) {
	const deep = 1 << 20
	text := `{"x":` + strings.Repeat("[", deep) + strings.Repeat("]", deep) + `,"a":1}`
	if k, raw, ok := dig(ingest.Object, []byte(text), []string{"a"}); !ok || k != ingest.Number || string(raw) != "1" {
		t.Errorf("dig = %v, %s, %v", k, raw, ok)
	}
}

// FuzzDig compares dig with encoding/json over valid documents, and asks only
// that it stays within others.
func FuzzDig(f *testing.F) {
	f.Add([]byte(`{"a":{"b":[1,"x\u0041",null,true,{"c":-1.5e3}]},"":"\"","a":2}`), "a.b.1")
	f.Add([]byte(`{"\u0061":"x"}`), "a")
	f.Add([]byte(`[[],{},[{"k":"v"}]]`), "2.0.k")
	f.Add([]byte(`[1,2,3]`), "1")
	f.Add([]byte(`{"a":`), "a.b")
	f.Fuzz(func(t *testing.T, text []byte, path string) {
		segs := strings.Split(path, ".")
		kind := ingest.Number
		if len(text) > 0 {
			kind = kindOf(text[0])
		}
		var compact bytes.Buffer
		if json.Compact(&compact, text) != nil {
			if _, raw, ok := dig(kind, text, segs); ok && len(raw) == 0 {
				t.Fatal("found nothing")
			}
			return
		}
		text = compact.Bytes()
		if len(text) > 0 {
			kind = kindOf(text[0])
		}
		gotKind, got, ok := dig(kind, text, segs)
		want, wantOK := digSlowly(t, text, segs)
		if ok != wantOK || !bytes.Equal(got, want) {
			t.Fatalf("%s at %q = %s, %v; want %s, %v", text, path, got, ok, want, wantOK)
		}
		if ok && gotKind == ingest.String {
			var text string
			if err := json.Unmarshal(got, &text); err != nil {
				t.Fatal(err)
			}
			// encoding/json mends bytes that are no UTF-8; readers refuse them.
			mended := strings.ToValidUTF8(string(appendUnescaped(nil, got[1:len(got)-1])), "\ufffd")
			if strings.ToValidUTF8(text, "\ufffd") != mended && !strings.Contains(text, "\ufffd") {
				t.Fatalf("%s unescaped is %q, want %q", got, mended, text)
			}
		}
	})
}

// digSlowly is dig by encoding/json's tokens, the first of equal names.
func digSlowly(t *testing.T, text []byte, segs []string) ([]byte, bool) {
	for _, seg := range segs {
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.UseNumber()
		tok, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for i := 0; dec.More() && !found; i++ {
			name := strconv.Itoa(i)
			if tok == json.Delim('{') {
				key, err := dec.Token()
				if err != nil {
					t.Fatal(err)
				}
				name = key.(string)
			}
			var raw json.RawMessage
			if err := dec.Decode(&raw); err != nil {
				t.Fatal(err)
			}
			if name == seg {
				text, found = raw, true
			}
		}
		if d, isDelim := tok.(json.Delim); !isDelim || d == '}' || !found {
			return nil, false
		}
	}
	return text, true
}
