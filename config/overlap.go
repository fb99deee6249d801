package config

import (
	"slices"
	"strings"
)

// Bounds on globs.
const (
	maxGlob         = 512 // bytes
	maxAlternatives = 64  // that {a,b} are written out to, to compare them
)

// overlap reports whether some name matches both globs, ASCII case ignored. In
// doubt (very many alternatives) it says yes.
// steps is how much work may still be done; without any left it says no.
func overlap(a, b string, steps *int) bool {
	cost := 300 + 10*(len(a)+len(b))
	if strings.Contains(a+b, "{") {
		cost *= maxAlternatives
	}
	if *steps -= cost; *steps < 0 {
		return false
	}
	as, ok1 := alternatives(strings.ToLower(a))
	bs, ok2 := alternatives(strings.ToLower(b))
	if !ok1 || !ok2 {
		return true
	}
	for _, x := range as {
		for _, y := range bs {
			xs, ys := tokens(x), tokens(y)
			if *steps -= (len(xs) + 1) * (len(ys) + 1); *steps < 0 {
				return false
			}
			if meet(xs, ys) {
				return true
			}
		}
	}
	return false
}

// alternatives writes {a,b} out; false where there are too many.
func alternatives(s string) ([]string, bool) {
	done, todo := []string(nil), []string{s}
	for len(todo) > 0 {
		s, todo = todo[0], todo[1:]
		open, parts, end := braces(s)
		if open < 0 {
			done = append(done, s)
		}
		for _, p := range parts {
			todo = append(todo, s[:open]+p+s[end:])
		}
		if len(done)+len(todo) > maxAlternatives {
			return nil, false
		}
	}
	return done, true
}

// braces finds the first {…} of s: where it opens, its parts, where it ends.
func braces(s string) (open int, parts []string, end int) {
	open = -1
	depth, from := 0, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			i++
		case c == '[' && depth == 0: // a class may hold braces
			if j := strings.IndexByte(s[i:], ']'); j > 0 {
				i += j
			}
		case c == '{':
			if depth++; depth == 1 {
				open, from = i, i+1
			}
		case c == ',' && depth == 1:
			parts = append(parts, s[from:i])
			from = i + 1
		case c == '}' && depth > 0:
			if depth--; depth == 0 {
				return open, append(parts, s[from:i]), i + 1
			}
		}
	}
	return -1, nil, 0
}

// A token is one element of a glob: characters of a set, once; or, with many,
// any number of characters, slashes too with deep.
type token struct {
	in         []runeRange // sorted, apart
	many, deep bool
}

type runeRange struct{ low, high rune }

const lastRune = '\U0010FFFF'

// notSlash is what ? and * stand for.
func notSlash() []runeRange { return []runeRange{{0, '/' - 1}, {'/' + 1, lastRune}} }

func tokens(glob string) (ts []token) {
	rs := []rune(glob)
	one := func(r rune) { ts = append(ts, token{in: []runeRange{{r, r}}}) }
	for i := 0; i < len(rs); i++ {
		switch rs[i] {
		case '*':
			deep := i+1 < len(rs) && rs[i+1] == '*'
			for i+1 < len(rs) && rs[i+1] == '*' {
				i++
			}
			if !deep {
				ts = append(ts, token{in: notSlash(), many: true})
				continue
			}
			ts = append(ts, token{in: []runeRange{{0, lastRune}}, many: true, deep: true})
			if i+1 < len(rs) && rs[i+1] == '/' {
				i++ // **/ may be nothing at all
			}
		case '?':
			ts = append(ts, token{in: notSlash()})
		case '[':
			set, next := class(rs, i)
			ts = append(ts, token{in: set})
			i = next
		case '\\':
			if i+1 < len(rs) {
				i++
			}
			one(rs[i])
		default:
			one(rs[i])
		}
	}
	return ts
}

// class reads [a-z], [^a-z] or [!a-z] at rs[i] and returns the index of its
// end.
func class(rs []rune, i int) ([]runeRange, int) {
	i++
	not := i < len(rs) && (rs[i] == '^' || rs[i] == '!')
	if not {
		i++
	}
	var set []runeRange
	for first := true; i < len(rs) && (rs[i] != ']' || first); first = false {
		if rs[i] == '\\' && i+1 < len(rs) {
			i++
		}
		low := rs[i]
		high := low
		if i+2 < len(rs) && rs[i+1] == '-' && rs[i+2] != ']' {
			high = rs[i+2]
			i += 2
		}
		set = append(set, runeRange{low, high})
		i++
	}
	slices.SortFunc(set, func(a, b runeRange) int { return int(a.low) - int(b.low) })
	if !not {
		return set, i
	}
	var rest []runeRange
	next := rune(0)
	for _, r := range set {
		if r.low > next {
			rest = append(rest, runeRange{next, r.low - 1})
		}
		next = max(next, r.high+1)
	}
	if next <= lastRune {
		rest = append(rest, runeRange{next, lastRune})
	}
	return rest, i
}

func share(a, b []runeRange) bool {
	for _, x := range a {
		for _, y := range b {
			if x.low <= y.high && y.low <= x.high {
				return true
			}
		}
	}
	return false
}

// meet reports whether some text matches both: a walk over the pairs of places
// in them.
func meet(a, b []token) bool {
	reach := make([]bool, (len(a)+1)*(len(b)+1))
	at := func(i, j int) *bool { return &reach[i*(len(b)+1)+j] }
	*at(0, 0) = true
	for i := 0; i <= len(a); i++ {
		for j := 0; j <= len(b); j++ {
			if !*at(i, j) {
				continue
			}
			if i < len(a) && a[i].many {
				*at(i+1, j) = true // no more characters of a[i]
			}
			if j < len(b) && b[j].many {
				*at(i, j+1) = true
			}
			if i == len(a) || j == len(b) || !share(a[i].in, b[j].in) {
				continue
			}
			// A character that both take; a many stays or goes on, which the
			// steps above cover.
			switch {
			case a[i].many && b[j].many:
			case a[i].many:
				*at(i, j+1) = true
			case b[j].many:
				*at(i+1, j) = true
			default:
				*at(i+1, j+1) = true
			}
		}
	}
	return *at(len(a), len(b))
}

// anyOverlap reports whether some name matches a glob of each list; an empty
// list matches every name.
func anyOverlap(as, bs []string, steps *int) bool {
	if len(as) == 0 || len(bs) == 0 {
		return true
	}
	for _, a := range as {
		for _, b := range bs {
			if overlap(a, b, steps) {
				return true
			}
		}
	}
	return false
}
