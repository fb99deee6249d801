package config

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxNear bounds the length of names that are compared, in bytes.
const maxNear = 64

// nearest returns the one of names that name was most likely meant to be: a
// misspelt one, or the only one that begins so. It is "" where none is.
func nearest(name string, names []string) string {
	if n := misspelt(name, names); n != "" {
		return n
	}
	best, folded := "", fold(name)
	for _, n := range names {
		if len(folded) < 2 || !strings.HasPrefix(fold(n), folded) {
			continue
		}
		if best != "" {
			return ""
		}
		best = n
	}
	return best
}

// misspelt returns the one of names that is the fewest slips away from name,
// or "" where all are another word. The first of equally near ones wins.
func misspelt(name string, names []string) string {
	if len(name) == 0 || len(name) > maxNear {
		return ""
	}
	folded := fold(name)
	best, bestDistance := "", 1+max(1, utf8.RuneCountInString(folded)/3)
	for _, n := range names {
		if len(n) > maxNear || n == "" {
			continue
		}
		if diff := len(n) - len(folded); diff > 2*bestDistance || -diff > 4*bestDistance {
			continue // by length alone it is another word
		}
		d := distance([]rune(folded), []rune(fold(n)))
		if d < bestDistance && d < utf8.RuneCountInString(n) {
			best, bestDistance = n, d
		}
	}
	return best
}

// fold drops what people mix up: case, and the ways to join words.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' {
			return '_'
		}
		return unicode.ToLower(r)
	}, s)
}

// distance is the number of insertions, deletions, replacements and swaps of
// neighbours that turn a into b (optimal string alignment).
func distance(a, b []rune) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// didYouMean is the hint for a name that is none of names.
func didYouMean(name string, names []string) string {
	if n := nearest(name, names); n != "" {
		return "did you mean `" + n + "`?"
	}
	return ""
}

// listed is the hint that shows what is valid, where that is short.
func listed(names []string) string {
	const most = 16
	if len(names) == 0 || len(names) > most {
		return ""
	}
	return "valid here: " + strings.Join(names, ", ")
}

// either joins names as "a, b or c".
func either(names []string) string {
	switch n := len(names); n {
	case 0:
		return ""
	case 1:
		return names[0]
	default:
		return strings.Join(names[:n-1], ", ") + " or " + names[n-1]
	}
}
