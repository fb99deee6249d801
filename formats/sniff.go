package formats

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// foreign knows what is no text and no format of ours, by its first bytes, and
// says what to do about it. An empty answer means: go on.
func foreign(head []byte) (what, advice string) {
	const send = "ask the sender for CSV, JSON, XML or .xlsx"
	for _, m := range []struct{ magic, what, advice string }{
		{"%PDF-", "a PDF document", send},
		{"\x89PNG\r\n", "a picture (PNG)", send},
		{"\xFF\xD8\xFF", "a picture (JPEG)", send},
		{"GIF8", "a picture (GIF)", send},
		{"7z\xBC\xAF\x27\x1C", "a 7z archive", "pack it with gzip or zip"},
		{"Rar!\x1A\x07", "a RAR archive", "pack it with gzip or zip"},
		{"\xFD7zXZ\x00", "packed with xz", "pack it with gzip or zip"},
		{"PAR1", "a Parquet file", send},
		{"SQLite format 3\x00", "an SQLite database", send},
		{"-----BEGIN PGP MESSAGE", "encrypted with PGP", "send it decrypted"},
		{"age-encryption.org/", "encrypted with age", "send it decrypted"},
		{"{\\rtf", "an RTF document", send},
	} {
		if bytes.HasPrefix(head, []byte(m.magic)) {
			return m.what, m.advice
		}
	}
	if len(head) > 10 && bytes.HasPrefix(head, []byte("BZh")) && string(head[4:10]) == "1AY&SY" {
		return "packed with bzip2", "pack it with gzip or zip"
	}
	if len(head) > 262 && string(head[257:262]) == "ustar" {
		return "a tar archive", "send the file in it by itself"
	}
	if len(bytes.Trim(head, "\x00")) == 0 {
		if len(head) < headSize {
			return "nothing but NUL bytes", "the upload broke off or the disk was full; send it again"
		}
		return fmt.Sprintf("NUL bytes for its first %d", len(head)), "the upload broke off or the disk was full; send it again"
	}
	return "", ""
}

// isHTML knows a web page, which is what servers send in place of a file when
// they are in trouble.
func isHTML(text []byte) bool {
	t := bytes.ToLower(bytes.TrimLeft(text[:min(len(text), 2048)], " \t\r\n"))
	for bytes.HasPrefix(t, []byte("<!--")) {
		_, after, found := bytes.Cut(t, []byte("-->"))
		if !found {
			return false
		}
		t = bytes.TrimLeft(after, " \t\r\n")
	}
	for _, p := range []string{"<!doctype html", "<html", "<head>", "<body"} {
		if bytes.HasPrefix(t, []byte(p)) {
			return true
		}
	}
	return false
}

// isXML reports whether text begins as XML must.
func isXML(text []byte) bool {
	t := bytes.TrimLeft(text, " \t\r\n")
	if len(t) < 2 || t[0] != '<' {
		return false
	}
	c := t[1]
	return c == '?' || c == '!' || c == '_' || c == ':' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// isJSON reports whether text begins as an object or array, and not as CSV
// whose first name stands in brackets or braces.
func isJSON(text []byte) bool {
	t := bytes.TrimLeft(text, " \t\r\n")
	if len(t) == 0 || t[0] != '{' && t[0] != '[' {
		return false
	}
	next := bytes.TrimLeft(t[1:], " \t\r\n")
	if len(next) == 0 {
		return true
	}
	if t[0] == '{' {
		return next[0] == '"' || next[0] == '}'
	}
	switch c := next[0]; {
	case c == '{', c == '[', c == ']', c == '"', c == '-', c >= '0' && c <= '9':
		return true
	}
	for _, word := range []string{"true", "false", "null"} {
		if after, ok := bytes.CutPrefix(next, []byte(word)); ok {
			after = bytes.TrimLeft(after, " \t\r\n")
			return len(after) == 0 || after[0] == ',' || after[0] == ']'
		}
	}
	return false
}

// isBinary reports whether so many control characters stand in text that it is
// none: in random bytes they are 7 of 100. NUL bytes alone do not make it
// binary, broken exports hold them; nor do the characters that separate fields
// and records in some exports.
func isBinary(text []byte) bool {
	control := 0
	for _, c := range text {
		if c > 0x01 && c < 0x09 || c > 0x0D && c < 0x1A {
			control++
		}
	}
	return 25*control > len(text)
}

// looksLike says what a file is, for a sentence.
func looksLike(head []byte) string {
	head = bytes.TrimPrefix(head, []byte("\xEF\xBB\xBF"))
	if what, _ := foreign(head); what != "" {
		return "it is " + what
	}
	switch {
	case isHTML(head):
		return "it is a web page (HTML)"
	case isJSON(head):
		return "it looks like JSON"
	case isXML(head):
		return "it looks like XML"
	case isBinary(head):
		return "it holds binary data of an unknown kind"
	}
	return "it looks like text and begins with " + begins(head)
}

// begins quotes the first few bytes.
func begins(head []byte) string {
	head = bytes.TrimLeft(head, " \t\r\n")
	line, _, _ := bytes.Cut(head[:min(len(head), 200)], []byte{'\n'})
	const most = 24
	s := strings.ToValidUTF8(string(line), "·")
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return strconv.QuoteToGraphic(s)
}

// textType decides what a text is, and refuses it where that is not what was
// asked for or what its name says.
func (o *opener) textType(text []byte) (string, error) {
	if isHTML(text) && o.spec.Type != XML {
		return "", refuse(o.wanted(), "the file is a web page (HTML), perhaps an error message of the server it comes from; begins with %s", begins(text))
	}
	if !o.auto() {
		return o.spec.Type, nil
	}
	found, why := CSV, "text that is neither JSON nor XML"
	switch {
	case isJSON(text):
		found, why = JSON, "begins with "+string(bytes.TrimLeft(text, " \t\r\n")[:1])
	case isXML(text):
		found, why = XML, "begins with <"
	case isBinary(text):
		return "", refuse(o.wanted(), "the file holds binary data of an unknown kind; ask the sender for CSV, JSON, XML or .xlsx")
	}
	named := typeByName(o.name)
	if named == JSON && found == CSV && hasJSONLine(text) {
		found, why = JSON, "named so, and has lines of JSON"
	}
	if named != "" && named != found {
		return "", refuse(named, "%s is named like %s, but %s; rename it, or set `format: %s` if that is meant", quoted(o.name), article(named), looksLike(text), found)
	}
	o.note("format", found, why)
	return found, nil
}

// hasJSONLine reports whether any of the first lines begins as JSON: a file of
// JSON lines whose first line is broken is one nevertheless.
func hasJSONLine(text []byte) bool {
	n := 0
	for line := range bytes.Lines(text) {
		if isJSON(line) {
			return true
		}
		if n++; n == 100 {
			break
		}
	}
	return false
}
