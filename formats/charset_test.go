package formats

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"

	"ingestd/ingest"
)

// decoded runs b through a codec, whole and byte by byte.
func decoded(t *testing.T, c codec, b []byte) []byte {
	t.Helper()
	whole, err := io.ReadAll(c.open(bytes.NewReader(b)))
	if err != nil {
		t.Fatal(err)
	}
	bytewise, err := io.ReadAll(iotest.OneByteReader(c.open(iotest.OneByteReader(bytes.NewReader(b)))))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(whole, bytewise) {
		t.Fatalf("%s: %q in one read, %q byte by byte", c.name, whole, bytewise)
	}
	return whole
}

func TestNamesOfEncodings(t *testing.T) {
	for name, want := range map[string]string{
		"UTF-8": "utf-8", "utf8": "utf-8", " ascii ": "utf-8", "UTF-16": "utf-16le", "utf-16be": "utf-16be", "UTF-32": "utf-32le",
		"latin1": "windows-1252", "ISO-8859-1": "windows-1252", "iso-8859-15": "iso-8859-15", "cp1252": "windows-1252", "Windows 1250": "windows-1250",
		"cp437": "ibm437", "IBM850": "ibm850", "dos-852": "ibm852", "cp858": "ibm00858", "cp037": "ibm037", "ebcdic-cp-us": "ibm037", "cp866": "ibm866",
		"macintosh": "macintosh", "koi8-r": "koi8-r", "shift-jis": "shift_jis", "sjis": "shift_jis", "gb2312": "gbk", "gb18030": "gb18030",
		"big5": "big5", "euc-kr": "euc-kr", "euc-jp": "euc-jp", "iso-2022-jp": "iso-2022-jp", "tis-620": "windows-874",
	} {
		c, err := lookup(name)
		if err != nil || c.name != want {
			t.Errorf("%q is %q, %v; want %q", name, c.name, err, want)
		}
	}
	for _, name := range []string{"", "klingon", "replacement", "x-user-defined", "utf-7", "cp", "windows-"} {
		if c, err := lookup(name); err == nil {
			t.Errorf("%q is %q", name, c.name)
		}
	}
}

// TestSingleBytes: every byte of every single-byte encoding becomes its
// character, or 0xFF where it has none.
func TestSingleBytes(t *testing.T) {
	n := 0
	for _, e := range charmap.All {
		cm, ok := e.(*charmap.Charmap)
		if !ok {
			continue
		}
		n++
		c := codecOf(cm.String(), cm)
		var in, want []byte
		ascii := true
		for i := range 256 {
			in = append(in, byte(i))
			r := cm.DecodeByte(byte(i))
			if r == utf8.RuneError {
				want = append(want, unknownByte)
			} else {
				want = utf8.AppendRune(want, r)
			}
			ascii = ascii && (i >= 0x80 || r == rune(i))
		}
		if got := decoded(t, c, in); !bytes.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", cm, got, want)
		}
		if c.ascii != ascii {
			t.Errorf("%s: ascii %v", cm, c.ascii)
		}
	}
	if n < 30 {
		t.Errorf("only %d encodings", n)
	}
}

// TestManyBytes compares with the library wherever it knows every character,
// and holds that nothing becomes U+FFFD where it does not.
func TestManyBytes(t *testing.T) {
	text := strings.Repeat("id,日本語テキスト\r\n1,漢字かな交じり文\n", 300)
	for name, e := range map[string]encoding.Encoding{
		"shift_jis": japanese.ShiftJIS, "euc-jp": japanese.EUCJP, "iso-2022-jp": japanese.ISO2022JP, "gb18030": simplifiedchinese.GB18030,
		"utf-16le": unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM), "utf-16be": unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM),
	} {
		b, err := e.NewEncoder().Bytes([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		c, err := lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := decoded(t, c, b); string(got) != text {
			t.Errorf("%s: %q", name, got)
		}
		for i := range 40 {
			bad := bytes.Clone(b[:400])
			bad[i*9] ^= 0xA5
			bad[i*9+3] = 0xFF
			got := decoded(t, c, bad)
			if bytes.Contains(got, []byte("\uFFFD")) {
				t.Errorf("%s: U+FFFD in %q", name, got)
			}
		}
		if got := decoded(t, c, b[:len(b)-1]); bytes.Contains(got, []byte("\uFFFD")) {
			t.Errorf("%s, cut: %q", name, got[len(got)-10:])
		}
	}
}

func TestWideIsStrict(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"utf-16le", "a\x00\x3D\xD8\x00\xDEb\x00", "a😀b"},
		{"utf-16be", "\x00a\xD8\x3D\xDE\x00\x00b", "a😀b"},
		{"utf-16le", "\x3D\xD8a\x00", "\xFFa"},
		{"utf-16le", "\x00\xDEa\x00", "\xFFa"},
		{"utf-16le", "\x3D\xD8\x3D\xD8\x00\xDE", "\xFF😀"},
		{"utf-16le", "a\x00\x3D\xD8", "a\xFF"},
		{"utf-16le", "a\x00b", "a\xFF"},
		{"utf-16le", "\xFD\xFF", "\uFFFD"}, // a true one is a character
		{"utf-32le", "a\x00\x00\x00\x00\xF6\x01\x00", "a😀"},
		{"utf-32be", "\x00\x01\xF6\x00", "😀"},
		{"utf-32le", "\x00\x00\x11\x00\x00\xD8\x00\x00\xFF\xFF\xFF\xFFa\x00\x00\x00", "\xFF\xFF\xFFa"},
		{"utf-32le", "a\x00\x00", "\xFF"},
	} {
		c, err := lookup(tt.name)
		if err != nil {
			t.Fatal(err)
		}
		if got := decoded(t, c, []byte(tt.in)); string(got) != tt.want {
			t.Errorf("%s of %q is %q, want %q", tt.name, tt.in, got, tt.want)
		}
	}
}

// TestLadderDecidesLate: the first byte beyond ASCII may come far into a file.
func TestLadderDecidesLate(t *testing.T) {
	plain := "id,name\n" + strings.Repeat("1,Ada\n", 20_000)
	for _, tt := range []struct{ tail, name, encoding string }{
		{"2,J\xFCrgen\n", "Jürgen", "windows-1252"},
		{"2,Jürgen\n", "Jürgen", "utf-8"},
		{"2,J\xFC", "Jü", "windows-1252"},
		{"2,\xC3\xBC\xFC\n", "Ã¼ü", "windows-1252"},
	} {
		lines, d := read(t, Spec{Type: CSV, Encoding: "windows-1252"}, "a.csv", []byte(plain+tt.tail))
		if len(lines) != 20_001 {
			t.Fatalf("%d lines", len(lines))
		}
		wantLast(t, lines, `{"record":{"id":"2","name":"`+tt.name+`"}`)
		if d.Encoding != tt.encoding {
			t.Errorf("%q: encoding %q, want %q", tt.tail, d.Encoding, tt.encoding)
		}
	}
	// One pair of bytes in an East Asian encoding may be UTF-8 by chance.
	for _, tt := range []struct{ text, encoding string }{{"1,\xC3\xBD\n", "shift_jis"}, {"1,日本語\n", "utf-8"}} {
		if _, d := read(t, Spec{Encoding: "shift_jis"}, "a.csv", []byte("id,name\n"+tt.text)); d.Encoding != tt.encoding {
			t.Errorf("%q: encoding %q, want %q", tt.text, d.Encoding, tt.encoding)
		}
	}
}

// TestEncodingsOfOtherFormats: a mark or a declaration decides; `encoding` is
// for CSV alone.
func TestEncodingsOfOtherFormats(t *testing.T) {
	for _, tt := range []struct{ name, text, want, encoding string }{
		{"a.json", `[{"ä":"x"}]`, `{"record":{"ä":"x"}`, "utf-8"},
		{"a.json", "\xFF\xFE[\x00{\x00\"\x00\xE4\x00\"\x00:\x001\x00}\x00]\x00", `{"record":{"ä":1}`, "utf-16le"},
		{"a.xml", "<?xml version='1.0' encoding='windows-1252'?><r><o><a>\xE4</a></o><o><a>x</a></o></r>", `{"record":{"a":"ä"}`, "windows-1252"},
		{"a.xml", "<r><o><a>ä</a></o><o><a>x</a></o></r>", `{"record":{"a":"ä"}`, "utf-8"},
	} {
		lines, d := read(t, Spec{Encoding: "windows-1251"}, tt.name, []byte(tt.text))
		if len(lines) == 0 || !strings.HasPrefix(lines[0], tt.want) || d.Encoding != tt.encoding {
			t.Errorf("%q: %q in %q, want %q in %q", tt.text, lines, d.Encoding, tt.want, tt.encoding)
		}
	}
}

func TestDeclaredEncoding(t *testing.T) {
	for decl, want := range map[string]string{
		`<?xml version="1.0" encoding="latin1"?>`:              "latin1",
		"\n <?xml version='1.0' encoding = 'utf-8' ?>":         "utf-8",
		`<?xml version="1.0"?><a encoding="x"/>`:               "",
		`<?xml version="1.0" encoding="latin1`:                 "",
		`<?xml version="1.0" encoding=latin1?>`:                "",
		`<?xml version="1.0" encoding?>`:                       "",
		`<a/>`:                                                 "",
		"<?xml" + strings.Repeat(" ", 2000) + "encoding='x'?>": "",
	} {
		if got := declaredEncoding([]byte(decl)); got != want {
			t.Errorf("%.60q declares %q, want %q", decl, got, want)
		}
	}
}

// TestNoReplacementCharacter: whatever the bytes, U+FFFD is never made.
func TestNoReplacementCharacter(t *testing.T) {
	var all []byte
	for i := range 256 {
		if i == '\n' || i == '\r' || i == '"' {
			continue
		}
		all = append(append(all, "1,"...), byte(i), byte(255-i), '\n')
	}
	for _, name := range []string{"", "windows-1253", "shift_jis", "gb18030", "big5", "euc-kr", "iso-2022-jp", "cp037", "utf-16", "koi8-u"} {
		r, err := Open(context.Background(), Spec{Type: CSV, Encoding: name}, input("a.csv", append([]byte("a,b\n"), all...)))
		if err != nil {
			t.Fatal(name, err)
		}
		var c ingest.Chunk
		for {
			err := r.Read(context.Background(), &c)
			for _, rec := range c.Records {
				for _, f := range rec.Fields {
					if bytes.Contains(f.Raw, []byte("\uFFFD")) || !utf8.Valid(f.Raw) {
						t.Errorf("%q: cell %q", name, f.Raw)
					}
				}
			}
			if err != nil {
				break
			}
		}
	}
}
