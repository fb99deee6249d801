package file

import (
	"errors"
	"fmt"
	"hash/fnv"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"ingestd/ingest"
)

// maxElement bounds a value's share of a path element, in bytes; file systems
// take 255.
const maxElement = 150

// A pathTemplate is literal text and placeholders in turn, text first.
type pathTemplate []string

func parsePath(s string) (pathTemplate, error) {
	if !filepath.IsAbs(s) {
		return nil, fmt.Errorf("%q is not absolute", s)
	}
	if strings.HasSuffix(s, "/") || strings.ContainsRune(s, 0) {
		return nil, fmt.Errorf("%q names no file", s)
	}
	var t pathTemplate
	for {
		text, rest, found := strings.Cut(s, "{")
		t = append(t, text)
		if !found {
			break
		}
		word, after, closed := strings.Cut(rest, "}")
		switch {
		case !closed:
			return nil, errors.New("holds a { without its }")
		case word != "pipeline" && word != "date" && word != "time" && word != "name":
			return nil, fmt.Errorf("{%s} is none of {pipeline}, {date}, {time}, {name}", word)
		}
		t = append(t, word)
		s = after
	}
	for _, e := range strings.Split(strings.Join(t, ""), "/") {
		if e == "." || e == ".." {
			return nil, errors.New("holds . or .. ; write it without")
		}
	}
	return t, nil
}

// expand puts r's values into the path. None of them can add an element to it
// or take one away.
func (t pathTemplate) expand(r *ingest.Request) (string, error) {
	var b strings.Builder
	for i, s := range t {
		if i%2 == 0 {
			b.WriteString(s)
			continue
		}
		switch s {
		case "pipeline":
			b.WriteString(element(r.Pipeline))
		case "name":
			b.WriteString(element(r.Name))
		case "date":
			b.WriteString(r.Arrived.UTC().Format(time.DateOnly))
		case "time":
			b.WriteString(r.Arrived.UTC().Format("150405"))
		}
	}
	path := b.String()
	for _, e := range strings.Split(path, "/") {
		if e == "." || e == ".." {
			return "", &ingest.Reject{Reason: fmt.Sprintf("file sink: %q would leave its directory", path)}
		}
	}
	return filepath.Clean(path), nil
}

// element is s as part of a path element: separators, control and invalid
// characters become _, dots at the front too, and what is too long is cut and
// told apart by a hash.
func element(s string) string {
	clean := strings.Map(func(c rune) rune {
		if c == '/' || c == '\\' || c == utf8.RuneError || !unicode.IsPrint(c) {
			return '_'
		}
		return c
	}, s)
	if rest := strings.TrimLeft(clean, "."); len(rest) < len(clean) {
		clean = strings.Repeat("_", len(clean)-len(rest)) + rest
	}
	if clean == "" {
		return "_"
	}
	if len(clean) <= maxElement {
		return clean
	}
	h := fnv.New64a()
	h.Write([]byte(s))
	cut := maxElement - 17
	for !utf8.RuneStart(clean[cut]) {
		cut--
	}
	return fmt.Sprintf("%s-%016x", clean[:cut], h.Sum64())
}
