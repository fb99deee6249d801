package receipt

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"ingestd/ingest"
)

const (
	maxReason = 1000 // bytes of one reason
	maxAnswer = 300  // bytes of a target's answer in it
)

// reason says why a record was rejected, for its sender.
func reason(l *ingest.Letter, private []string) string {
	if l.Stage != ingest.StageDeliver {
		return words(l.Reason, private)
	}
	// The record itself may have died with another of the same key: that is in
	// our words, and helps.
	if strings.HasPrefix(l.Reason, "same key as ") {
		first, _, _ := strings.Cut(l.Reason, ", which ")
		return words(first, private) + ", which was rejected"
	}
	s := "the receiving system refused this record"
	switch {
	case l.Uncertain:
		s = "the receiving system did not confirm this record in time; it may or may not have it"
	case l.Status >= 100:
		s += " (" + strconv.Itoa(l.Status) + ")"
	}
	if said := answer(l.Answer, private); said != "" && !l.Uncertain {
		s += ": " + said
	}
	return s
}

// answer is what of a target's answer helps a sender: its message, or its text.
func answer(s string, private []string) string {
	s = strings.TrimSpace(s)
	if s == "" || s[0] == '<' { // a page for browsers, or of a proxy in between
		return ""
	}
	if m := said(s); m != "" {
		s = m
	}
	return cut(words(s, private), maxAnswer)
}

// said digs the sentence out of a JSON answer that has one where most have it
// (RFC 9457 among them).
func said(s string) string {
	var v map[string]any
	dec := json.NewDecoder(bytes.NewReader([]byte(s)))
	if s[0] != '{' || dec.Decode(&v) != nil {
		return ""
	}
	for range 3 {
		for _, name := range []string{"detail", "message", "error", "title", "reason"} {
			switch x := v[name].(type) {
			case string:
				if x != "" {
					return x
				}
			case map[string]any:
				v = x
			}
		}
	}
	return ""
}

var (
	address = regexp.MustCompile(`(?i)\b[a-z][a-z0-9+.-]{1,20}://[^\s"'<>]+`)
	ipPort  = regexp.MustCompile(`\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b|\[[0-9a-fA-F:]{3,}\](?::\d+)?`)
	path    = regexp.MustCompile(`(^|[\s"'(=:])(/[\w.@~+-]+){2,}/?`)
)

// trouble is words for what is wrong with a whole file, which may name where it
// stood.
func trouble(s string, private []string) string {
	return words(path.ReplaceAllString(s, "$1…"), private)
}

// words is text for a partner: one line, without addresses or private words.
func words(s string, private []string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	for _, p := range private {
		if p != "" {
			s = strings.ReplaceAll(s, p, "…")
		}
	}
	s = address.ReplaceAllString(s, "…")
	s = ipPort.ReplaceAllString(s, "…")
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s)
	return cut(strings.Join(strings.Fields(s), " "), maxReason)
}

// cut shortens s to at most n bytes, no character in half.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	n -= len("…")
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
