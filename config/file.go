package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// maxFile bounds a config file, and a value read in by ${file:…}, in bytes.
const maxFile = 1 << 20

// A file is the text of one config file.
type file struct {
	name  string // as shown
	order int    // in which it was read, from 0
	lines []string
	open  bool // anybody on the machine may read it

	secrets map[int][]int // line → columns at which secret values begin
	hidden  map[int]bool  // lines that are shown as nothing but a mask
	mu      sync.Mutex
	scanned bool
	shown   struct { // the line shown last
		line  int
		runes []rune
		spans []span
	}

	firstSecret *node // a secret that stands in the file itself
}

func newFile(name string, order int, data []byte) *file {
	lines := strings.Split(string(data), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimSuffix(l, "\r")
	}
	return &file{name: name, order: order, lines: lines, secrets: map[int][]int{}, hidden: map[int]bool{}}
}

// readBounded reads a file of at most maxFile bytes. The error is without the
// path.
func readBounded(path string) ([]byte, fs.FileMode, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, bare(err)
	}
	if info.IsDir() {
		return nil, 0, errors.New("is a directory")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, bare(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, 0, bare(err)
	}
	if len(data) > maxFile {
		return nil, 0, errors.New("is larger than 1MiB")
	}
	return data, info.Mode(), nil
}

// bare takes the operation and path off an error of package os.
func bare(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// decodeText checks that data is UTF-8 without control characters, and drops
// a byte order mark. On failure it says where.
func decodeText(data []byte) (text []byte, line, col int, reason string) {
	switch {
	case len(data) >= 2 && (data[0] == 0xff && data[1] == 0xfe || data[0] == 0xfe && data[1] == 0xff):
		return nil, 1, 1, "the file is UTF-16; a config is UTF-8"
	case len(data) >= 3 && data[0] == 0xef && data[1] == 0xbb && data[2] == 0xbf:
		data = data[3:]
	}
	line, col = 1, 1
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			return nil, line, col, fmt.Sprintf("byte 0x%02x is no UTF-8", data[i])
		case r == '\n':
			line, col = line+1, 0
		case r < 0x20 && r != '\t' && r != '\r', r == 0x7f, r >= 0x80 && r < 0xa0 && r != 0x85, r == 0xfffe, r == 0xffff:
			return nil, line, col, fmt.Sprintf("control character U+%04X", r)
		}
		i += n
		col++
	}
	return data, 0, 0, ""
}

// show returns a line as it may be shown, and the white space that puts a
// caret under column col.
func (f *file) show(line, col int) (text, caret string, ok bool) {
	if f == nil || line < 1 || line > len(f.lines) {
		return "", "", false
	}
	f.mu.Lock() // a config's problems may be shown by several at once
	defer f.mu.Unlock()
	f.scan()
	const mask = "***"
	if f.hidden[line] {
		return mask, "", true
	}
	if f.shown.line != line {
		f.shown.line = line
		f.shown.runes = []rune(f.lines[line-1])
		f.shown.spans = f.spans(line, f.shown.runes)
	}
	runes, spans := f.shown.runes, f.shown.spans
	at := min(max(col-1, 0), len(runes)) // 0-based
	out := make([]rune, 0, len(runes))
	caretAt := -1
	for i := 0; i < len(runes); {
		if i == at && caretAt < 0 {
			caretAt = len(out)
		}
		if len(spans) > 0 && i == spans[0].from {
			if at >= i && at < spans[0].to && caretAt < 0 {
				caretAt = len(out)
			}
			out = append(out, []rune(mask)...)
			i = spans[0].to
			spans = spans[1:]
			continue
		}
		r := runes[i]
		if r != '\t' && !unicode.IsPrint(r) {
			r = '?' // nothing that a terminal would obey
		}
		out = append(out, r)
		i++
	}
	if caretAt < 0 {
		caretAt = len(out)
	}
	return window(out, caretAt)
}

// window cuts a very long line around the caret.
func window(line []rune, at int) (text, caret string, ok bool) {
	const before, width = 60, 160
	lead, tail := "", ""
	from := 0
	if len(line) > width && at > before {
		from = at - before
		lead = "… "
	}
	to := len(line)
	if to-from > width {
		to = from + width
		tail = " …"
	}
	var b strings.Builder
	b.WriteString(strings.Repeat(" ", utf8.RuneCountInString(lead)))
	for _, r := range line[from:at] {
		if r != '\t' {
			r = ' '
		}
		b.WriteRune(r)
	}
	return lead + string(line[from:to]) + tail, b.String(), true
}
