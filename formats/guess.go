package formats

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A guess is what a text that is no UTF-8 may be encoded in.
type guess struct {
	name  string
	text  string
	score float64 // per character beyond ASCII, at most about 1.2
	chars int
}

// What a guess takes to be taken for true.
const (
	leastScore = 0.6  // of the best
	leastLead  = 0.15 // before the next that reads otherwise
	leastChars = 2
)

// guessEncoding weighs what the head would be in each of the encodings that
// files come in. sure is false where another is about as good: neither is it
// then. It is for people who look at a file, never for a run.
func guessEncoding(head []byte, cut bool) (best codec, why string, sure bool) {
	if cut {
		if i := bytes.LastIndexByte(head, '\n'); i > 0 {
			head = head[:i+1]
		}
	}
	if _, ok := utf8Sequences(head, cut); ok {
		return codec{}, "", false
	}
	var all []guess
	for _, name := range []string{
		"windows-1252", "windows-1250", "windows-1251", "koi8-r", "windows-1253", "windows-1254", "windows-1255", "windows-1256", "windows-1257",
		"iso-8859-2", "iso-8859-5", "iso-8859-15", "ibm850", "ibm852", "ibm866", "ibm437", "macintosh",
		"shift_jis", "euc-jp", "gb18030", "big5", "euc-kr",
	} {
		c, err := lookup(name)
		if err != nil {
			continue
		}
		text, err := io.ReadAll(c.open(bytes.NewReader(head)))
		if err != nil || !utf8.Valid(text) {
			continue
		}
		g := guess{name: c.name, text: string(text)}
		g.weigh()
		if g.chars > 0 {
			all = append(all, g)
		}
	}
	slices.SortStableFunc(all, func(a, b guess) int {
		switch {
		case a.score > b.score:
			return -1
		case a.score < b.score:
			return 1
		}
		return 0
	})
	if len(all) == 0 {
		return codec{}, "", false
	}
	first := all[0]
	i := slices.IndexFunc(all, func(g guess) bool { return g.text != first.text })
	why = fmt.Sprintf("guessed from %d characters beyond ASCII, which look like text in it", first.chars)
	if i > 0 {
		next := all[i]
		if first.score-next.score < leastLead {
			return codec{}, fmt.Sprintf("it is no UTF-8, and could be %s or %s", first.name, next.name), false
		}
		why += fmt.Sprintf(" (%.2f; the next best is %s, %.2f)", first.score, next.name, next.score)
	}
	if first.score < leastScore || first.chars < leastChars {
		return codec{}, "it is no UTF-8, and too little of it is beyond ASCII to tell what it is; it could be " + first.name, false
	}
	best, err := lookup(first.name)
	return best, why, err == nil
}

// languages are the letters beyond ASCII of those that are written in Latin
// ones. A text has those of one, and few others.
func languages() []string {
	return []string{
		"äöüß", "àâæçéèêëîïôœùûüÿ", "áéíóúüñ", "áâãàçéêíóôõú", "àèéìíîòóùú", "æøåäöé", "áðéíóúýþæö", "áàèéíïòóúüç",
		"ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "áéíóöőúüű", "ăâîşţșț", "čćđšž",
		"ąčęėįšųūž", "āčēģīķļņšūž", "äöõüšž", "çğıiöşüâî",
	}
}

// weigh scores a text by its characters beyond ASCII and their neighbours.
func (g *guess) weigh() {
	sum, prev, kana := 0.0, ' ', false
	letters, all := map[rune]int{}, 0 // Latin ones
	runes := []rune(g.text)
	for i, r := range runes {
		next := ' '
		if i+1 < len(runes) {
			next = runes[i+1]
		}
		if r >= utf8.RuneSelf {
			g.chars++
			sum += weight(g.name, prev, r, next)
			if latin(r) {
				letters[unicode.ToLower(r)]++
				all++
			}
			kana = kana || unicode.In(r, unicode.Hiragana, unicode.Katakana)
		}
		prev = r
	}
	if g.chars == 0 {
		return
	}
	g.score = sum / float64(g.chars)
	if all > 0 {
		most := 0
		for _, l := range languages() {
			n := 0
			for r, k := range letters {
				if strings.ContainsRune(l, r) {
					n += k
				}
			}
			most = max(most, n)
		}
		// What stands beside the letters counts as it is.
		g.score -= float64(all-most) / float64(g.chars)
	}
	if !kana && (g.name == "shift_jis" || g.name == "euc-jp") {
		g.score -= 0.3 // no Japanese is without them
	}
}

func latin(r rune) bool { return unicode.Is(unicode.Latin, r) }

func weight(name string, prev, r, next rune) float64 {
	wide := unicode.In(r, unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana)
	switch {
	case wide:
		return wideWeight(name, r)
	case unicode.IsLetter(r):
		other := func(n rune) bool { return unicode.IsLetter(n) && latin(n) != latin(r) }
		if other(prev) || other(next) {
			return -1 // two scripts in a word
		}
		if unicode.IsUpper(r) {
			if unicode.IsLower(prev) {
				return -1
			}
			if unicode.IsLower(next) || unicode.IsUpper(prev) || unicode.IsUpper(next) {
				r = unicode.ToLower(r)
			}
		}
		if latin(r) {
			if beyond := func(n rune) bool { return n >= utf8.RuneSelf && latin(n) }; beyond(prev) || beyond(next) {
				return 0.5
			}
			return 1
		}
		if w := commonness(r); w > 0 {
			return w
		}
		if unicode.In(r, unicode.Hebrew, unicode.Arabic) {
			return 0.8
		}
		return 0.4
	case unicode.IsControl(r), r == utf8.RuneError, unicode.Is(unicode.Co, r):
		return -3
	case strings.ContainsRune("\u00A0\u3000\u3001\u3002\uFF0C\uFF1A\u300C\u300D\u30FC", r):
		return 0.5
	case strings.ContainsRune("€°§²³½«»–—…“”„‘’·×±µ£№©®™", r):
		if unicode.IsLetter(prev) && unicode.IsLetter(next) && r != '’' {
			return -1
		}
		return 0.5
	}
	return -1
}

// wideWeight tells the East Asian encodings apart: all of them read most of
// each other's bytes, but then as characters that are seldom.
func wideWeight(name string, r rune) float64 {
	kana, han, hangul := unicode.In(r, unicode.Hiragana, unicode.Katakana), unicode.Is(unicode.Han, r), unicode.Is(unicode.Hangul, r)
	switch name {
	case "shift_jis", "euc-jp":
		switch {
		case r >= 0xFF61 && r <= 0xFF9F:
			return -0.5 // half-width
		case kana:
			return 1.2
		case han && common("euc-jp", r):
			return 0.9
		case han:
			return 0.2
		}
	case "euc-kr":
		if hangul {
			return 1.2
		}
		return -0.5
	case "gb18030", "big5":
		if !han {
			return -0.5
		}
		if common(name, r) {
			return 1
		}
		return -0.3
	}
	return -1
}

// common reports whether a character is of the first level of GB 2312, Big5
// or JIS X 0208,
// which are those in everyday use.
func common(name string, r rune) bool {
	e, err := lookup(name)
	if err != nil || e.encode == nil {
		return false
	}
	b := e.encode(r)
	if len(b) != 2 {
		return false
	}
	switch name {
	case "big5":
		return b[0] >= 0xA4 && b[0] <= 0xC6
	case "euc-jp":
		return b[0] >= 0xB0 && b[0] <= 0xCF
	}
	return b[0] >= 0xB0 && b[0] <= 0xD7 && b[1] >= 0xA1
}

// commonness is how common a letter is where it occurs at all; 0 for those that
// nothing is known of.
func commonness(r rune) float64 {
	for _, w := range []struct {
		weight  float64
		letters string
	}{
		{1, "аеинотсрвлкαειοντσςόίάκηλμρυπέήύώ"},
		{0.9, "мдпуяыьгзбчйхюжшγδθχφ"},
		{0.7, "цщэёєіїґβω"},
	} {
		if strings.ContainsRune(w.letters, r) {
			return w.weight
		}
	}
	return 0
}
