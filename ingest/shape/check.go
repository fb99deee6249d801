package shape

import (
	"strings"
	"unicode"

	"ingestd/ingest"
)

// Check compares a file's header with the names that the pipeline needs: the
// key's, and those of `from` that are not optional. It returns nil where all
// are there or header is nil. A path is there if a beginning of it is a column.
func (s *Shape) Check(header []string) *ingest.HeaderError {
	if header == nil {
		return nil
	}
	var missing []string
	seen := map[string]bool{}
	need := func(n *name) {
		if !seen[n.text] && n.find(header).col < 0 {
			seen[n.text] = true
			missing = append(missing, n.text)
		}
	}
	for i := range s.keys {
		need(&s.keys[i])
	}
	for i := range s.fields {
		if !s.fields[i].optional {
			need(&s.fields[i].name)
		}
	}
	if missing == nil {
		return nil
	}
	e := &ingest.HeaderError{Missing: missing, Header: header}
	for _, m := range missing {
		e.Nearest = append(e.Nearest, nearest(m, header))
	}
	return e
}

// maxNearest bounds the names that are compared letter by letter, in runes. A
// longer one is no slip of the finger.
const maxNearest = 64

// nearest is the name of header that is the fewest changed letters away from
// want, or "" where every one is another word altogether. Case, blanks and
// punctuation count for little: most mismatches are just those.
func nearest(want string, header []string) string {
	w := fold(want)
	if len(w) == 0 || len(w) > maxNearest {
		return ""
	}
	best, bestCost := "", 0
	for _, h := range header {
		if len(h) > 4*maxNearest {
			continue
		}
		f := fold(h)
		if len(f) == 0 || len(f) > maxNearest {
			continue
		}
		cost := 2 * distance(w, f)
		if cost > max(len(w), len(f)) {
			continue // more than half of the letters differ
		}
		if strings.TrimSpace(h) != strings.TrimSpace(want) {
			cost++
		}
		if best == "" || cost < bestCost {
			best, bestCost = h, cost
		}
	}
	return best
}

// fold is s in lower case, letters and digits only.
func fold(s string) []rune {
	out := make([]rune, 0, min(len(s), maxNearest+1))
	for _, r := range s {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			out = append(out, unicode.ToLower(r))
		}
		if len(out) > maxNearest {
			break
		}
	}
	return out
}

// distance is the number of letters to insert, drop, change or swap with their
// neighbour to make b of a (optimal string alignment).
func distance(a, b []rune) int {
	var rows [3][maxNearest + 1]int
	before, above, row := &rows[0], &rows[1], &rows[2]
	for j := range len(b) + 1 {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above, row = above, row, before
	}
	return above[len(b)]
}
