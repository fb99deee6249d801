package config

import (
	"cmp"
	"slices"
	"strings"
)

// A span is characters of a line, 0-based, to excluded.
type span struct{ from, to int }

// secret notes that the value at line and col must not be shown.
func (f *file) secret(line, col int) {
	if f != nil && line >= 1 && line <= len(f.lines) {
		f.secrets[line] = append(f.secrets[line], col)
	}
}

// indentOf is how far a line is indented; a tab, which YAML refuses, is deeper
// than what stands above it.
func indentOf(s string) int {
	lead := s[:len(s)-len(strings.TrimLeft(s, " \t"))]
	if strings.Contains(lead, "\t") {
		return len(s) + 1<<20
	}
	return len(lead)
}

// scan finds secrets by the look of their keys too, for files that were never
// decoded and keys that are misspelt, and the further lines of all secrets.
func (f *file) scan() {
	if f.scanned {
		return
	}
	f.scanned = true
	for i, text := range f.lines {
		line := i + 1
		if f.hidden[line] {
			continue
		}
		runes := []rune(text)
		below := false // whether a value goes on below
		for j, r := range runes {
			if r != ':' || !sensitiveName(wordBefore(runes, j)) {
				continue
			}
			at := j + 1
			if at < len(runes) && runes[at] != ' ' && runes[j-1] != '"' && runes[j-1] != '\'' {
				continue // no key: "secret:x" inside a value
			}
			for at < len(runes) && runes[at] == ' ' {
				at++
			}
			switch {
			case at < len(runes) && (runes[at] == '{' || runes[at] == '#'):
			case at < len(runes):
				f.secrets[line] = append(f.secrets[line], at+1)
			case !f.opensBlock(line):
				below = true
			}
		}
		if below || f.goesOn(line, runes) {
			f.hideBelow(line)
		}
	}
}

// goesOn reports whether a secret of this line may not end on it.
func (f *file) goesOn(line int, runes []rune) bool {
	slices.Sort(f.secrets[line])
	flow, end := flowFrom(runes), 0
	for _, col := range f.secrets[line] {
		from := col - 1
		if from < end || from >= len(runes) {
			continue
		}
		var whole bool
		if end, whole = valueEnd(runes, from, flow); !whole {
			return true
		}
	}
	return false
}

// hideBelow hides the lines below one that are indented deeper.
func (f *file) hideBelow(line int) {
	indent := indentOf(f.lines[line-1])
	for l := line + 1; l <= len(f.lines); l++ {
		text := f.lines[l-1]
		if strings.TrimSpace(text) != "" && indentOf(text) <= indent {
			return
		}
		f.hidden[l] = true
	}
}

// flowFrom is where {…} or […] first opens: behind it a plain value ends at
// , } ].
func flowFrom(runes []rune) int {
	if i := slices.IndexFunc(runes, func(r rune) bool { return r == '{' || r == '[' }); i >= 0 {
		return i
	}
	return len(runes)
}

// opensBlock reports whether a key without a value on its line is followed by
// keys of its own, and not by a long text or a list.
func (f *file) opensBlock(line int) bool {
	for _, text := range f.lines[line:] {
		text = strings.TrimSpace(text)
		if text == "" || text[0] == '#' {
			continue
		}
		return !strings.HasPrefix(text, "-") && (strings.HasSuffix(text, ":") || strings.Contains(text, ": "))
	}
	return true
}

// wordBefore is the key, quoted or not, that ends before runes[at].
func wordBefore(runes []rune, at int) string {
	end := at
	if end > 0 && (runes[end-1] == '"' || runes[end-1] == '\'') {
		end--
	}
	from := end
	for from > 0 && end-from <= maxNear && !strings.ContainsRune(" \t{[,\"'?&;", runes[from-1]) {
		from--
	}
	return string(runes[from:end])
}

// sensitiveName reports whether a key of this name looks as if it held a
// secret.
func sensitiveName(name string) bool {
	name = fold(name)
	if strings.HasSuffix(name, "_url") || strings.HasSuffix(name, "_file") || strings.HasSuffix(name, "_header") {
		return false
	}
	if name == "auth" || name == "sig" || name == "signature" {
		return true
	}
	for _, part := range []string{
		"password", "passwd", "passphrase", "secret", "token", "private_key", "api_key", "apikey",
		"credential", "authorization", "cookie",
	} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return len(name) <= 20 && misspelt(name, []string{"password", "passphrase", "secret", "secrets", "token", "client_secret", "private_key"}) != ""
}

// userinfo finds the user and password of URLs.
func userinfo(runes []rune) (spans []span) {
	for i := 0; i+2 < len(runes); i++ {
		if runes[i] != ':' || runes[i+1] != '/' || runes[i+2] != '/' {
			continue
		}
		from, last := i+3, -1
		for j := from; j < len(runes) && !strings.ContainsRune("/?#\"' \t", runes[j]); j++ {
			if runes[j] == '@' {
				last = j
			}
		}
		if last > from {
			spans = append(spans, span{from, last})
		}
	}
	return spans
}

// parameters finds the values of query parameters that look like secrets.
func parameters(runes []rune) (spans []span) {
	for i := 0; i < len(runes); i++ {
		if runes[i] != '=' || !sensitiveName(wordBefore(runes, i)) {
			continue
		}
		end := i + 1
		for end < len(runes) && !strings.ContainsRune("&#\"' \t},]", runes[end]) {
			end++
		}
		spans = append(spans, span{i + 1, end})
		i = end - 1
	}
	return spans
}

// spans are the parts of a line that are not shown, in order, apart.
func (f *file) spans(line int, runes []rune) []span {
	out := append(userinfo(runes), parameters(runes)...)
	flow, end := flowFrom(runes), 0
	for _, col := range f.secrets[line] {
		from := col - 1
		if from < end || from >= len(runes) {
			continue
		}
		end, _ = valueEnd(runes, from, flow)
		if !isReference(string(runes[from:end])) { // which names a secret, and is none
			out = append(out, span{from, end})
		}
	}
	slices.SortFunc(out, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(b.to, a.to))
	})
	apart := out[:0]
	for _, s := range out {
		if n := len(apart); n > 0 && s.from < apart[n-1].to {
			apart[n-1].to = max(apart[n-1].to, s.to)
			continue
		}
		if s.to > s.from {
			apart = append(apart, s)
		}
	}
	return apart
}

// valueEnd is where the value that begins at from ends, as far as one line
// tells, and whether it surely ends on it; in doubt it is longer.
func valueEnd(runes []rune, from, flow int) (end int, whole bool) {
	i := skipProperties(runes, from)
	if i >= len(runes) {
		return len(runes), false
	}
	switch runes[i] {
	case '"', '\'':
		return quoteEnd(runes, i)
	case '[', '{':
		return bracketEnd(runes, i)
	}
	for ; i < len(runes); i++ {
		switch r := runes[i]; {
		case flow < from && (r == '}' || r == ']' || r == ',' && (i+1 == len(runes) || runes[i+1] == ' ')):
			return i, true
		case r == '#' && i > 0 && runes[i-1] == ' ':
			return i - 1, false
		}
	}
	return len(runes), false
}

// isReference reports whether a value as it stands in the file is nothing but
// one ${…}.
func isReference(s string) bool {
	s = strings.Trim(s, "\"' ")
	return strings.HasPrefix(s, "${") && strings.HasSuffix(s, "}") && strings.Count(s, "}") == 1
}

// skipProperties steps over a value's &anchor and !tag.
func skipProperties(runes []rune, i int) int {
	for i < len(runes) && (runes[i] == '&' || runes[i] == '!') {
		for i < len(runes) && runes[i] != ' ' {
			i++
		}
		for i < len(runes) && runes[i] == ' ' {
			i++
		}
	}
	return i
}

// quoteEnd is the end of the quoted text at from, and whether it ends here.
func quoteEnd(runes []rune, from int) (int, bool) {
	q := runes[from]
	for i := from + 1; i < len(runes); i++ {
		switch {
		case q == '"' && runes[i] == '\\':
			i++
		case runes[i] == q && q == '\'' && i+1 < len(runes) && runes[i+1] == q:
			i++
		case runes[i] == q:
			return i + 1, true
		}
	}
	return len(runes), false
}

// bracketEnd is the end of the […] or {…} at from, and whether it ends here.
func bracketEnd(runes []rune, from int) (int, bool) {
	depth := 0
	for i := from; i < len(runes); i++ {
		switch runes[i] {
		case '"', '\'':
			end, _ := quoteEnd(runes, i)
			i = end - 1
		case '[', '{':
			depth++
		case ']', '}':
			if depth--; depth == 0 {
				return i + 1, true
			}
		}
	}
	return len(runes), false
}
