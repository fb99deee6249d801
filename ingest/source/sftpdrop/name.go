package sftpdrop

import (
	"path"
	"strings"

	"ingestd/ingest/source"
)

// Bounds on names, in bytes and in elements.
const (
	maxPath  = 2048
	maxElem  = 255
	maxDepth = 32
)

// judge makes of a path that a client sent the name of a file relative to its
// home; "." is the home itself. It refuses what no file of ours is called:
// control characters, elements too long or too many, and ingestd's own
// directory, which for a client is not there.
func judge(p string) (string, error) {
	if len(p) > maxPath {
		return "", refuse("the path is too long")
	}
	for i := range len(p) {
		if p[i] < 0x20 || p[i] == 0x7f {
			return "", refuse("names cannot hold control characters")
		}
	}
	name := strings.TrimPrefix(path.Clean("/"+p), "/")
	if name == "" {
		return ".", nil
	}
	depth := 0
	for elem := range strings.SplitSeq(name, "/") {
		switch depth++; {
		case len(elem) > maxElem:
			return "", refuse("the name is too long")
		case depth > maxDepth:
			return "", refuse("the path has too many folders")
		case hidden(elem):
			return "", errNone
		}
	}
	return name, nil
}

// hidden reports whether a name is ingestd's own, also where the filesystem
// does not tell capitals from small letters.
func hidden(elem string) bool {
	return len(elem) >= len(source.Home) && strings.EqualFold(elem[:len(source.Home)], source.Home)
}
