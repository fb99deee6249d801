package spool

import (
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxName is the longest file name, in bytes, that filesystems take.
const MaxName = 255

// Numbered is the n-th name to try where name is taken: "a.csv.gz" becomes
// "a-1.csv.gz", and 0 is name itself. Names stay within MaxName: the stem is
// cut, never the extension, and no character is cut in half.
func Numbered(name string, n int) string { return NumberedBefore(name, n, 0) }

// NumberedBefore is Numbered for a name that is to be made longer by up to room
// bytes.
func NumberedBefore(name string, n, room int) string {
	stem, ext := splitExt(name)
	suffix := ""
	if n > 0 {
		suffix = "-" + strconv.Itoa(n)
	}
	return cut(stem, MaxName-room-len(suffix)-len(ext)) + suffix + ext
}

// splitExt splits off the extension, together with the one before it where it
// says how the file is packed.
func splitExt(name string) (stem, ext string) {
	ext = filepath.Ext(name)
	switch strings.ToLower(ext) {
	case ".gz", ".zip", ".zst", ".bz2", ".xz", ".pgp", ".gpg", ".asc", ".age":
		ext = filepath.Ext(strings.TrimSuffix(name, ext)) + ext
	}
	const longest = 32 // what is longer is a sentence with a dot in it
	if len(ext) > longest || len(ext) == len(name) {
		return name, ""
	}
	return name[:len(name)-len(ext)], ext
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	// At most three bytes back: names that are no UTF-8 are cut anywhere.
	for i := n; i > n-utf8.UTFMax && i > 0; i-- {
		if utf8.RuneStart(s[i]) {
			return s[:i]
		}
	}
	return s[:n]
}

// FreeName returns the first name in the row of Numbered that is not taken. It
// asks a number of times that grows with the logarithm of those taken in a
// row, so a thousand files of one name a day cost nothing.
func FreeName(name string, taken func(string) (bool, error)) (string, error) {
	n, err := FirstFree(func(n int) (bool, error) { return taken(Numbered(name, n)) })
	if err != nil {
		return "", err
	}
	return Numbered(name, n), nil
}

// FirstFree is FreeName by number alone.
func FirstFree(taken func(n int) (bool, error)) (int, error) {
	// lo is taken, hi is free: the names in between are halved.
	lo, hi := -1, 0
	for {
		t, err := taken(hi)
		if err != nil {
			return 0, err
		}
		if !t {
			break
		}
		lo, hi = hi, 2*hi+1
	}
	for hi-lo > 1 {
		mid := lo + (hi-lo)/2
		t, err := taken(mid)
		if err != nil {
			return 0, err
		}
		if t {
			lo = mid
		} else {
			hi = mid
		}
	}
	return hi, nil
}
