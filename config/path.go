package config

import (
	"strconv"
	"strings"
)

// Join appends a key to a config path: At("pipelines", "orders") is
// pipelines.orders. A key that is no plain word is quoted: ["Artikel-Nr."].
// Rooms that report problems by path build them so.
func Join(path string, keys ...string) string {
	for _, k := range keys {
		path = join(path, k)
	}
	return path
}

// Index appends a list index, from 0, to a config path.
func Index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

func join(path, key string) string {
	switch {
	case key == "":
		return path
	case !word(key):
		return path + "[" + strconv.Quote(key) + "]"
	case path == "":
		return key
	}
	return path + "." + key
}

// under appends a path to a path.
func under(path, rest string) string {
	if path == "" || rest == "" {
		return path + rest
	}
	return path + "." + rest
}

func word(s string) bool {
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-' {
			return false
		}
	}
	return s != ""
}

// split takes a path apart into its keys and indexes, each as join and Index
// wrote it. It ends early at what is no path.
func split(path string) (parts []string) {
	for path != "" {
		if path[0] == '.' {
			path = path[1:]
		}
		end := strings.IndexAny(path, ".[")
		if strings.HasPrefix(path, `["`) {
			q, err := strconv.QuotedPrefix(path[1:])
			if err != nil {
				return parts
			}
			end = len(q) + 2
		} else if strings.HasPrefix(path, "[") {
			end = strings.IndexByte(path, ']') + 1
		}
		if end <= 0 || end > len(path) {
			end = len(path)
		}
		parts = append(parts, path[:end])
		path = path[end:]
	}
	return parts
}

// ancestors yields the path and all that it lies under, longest first.
func ancestors(path string) []string {
	var out []string
	at := ""
	for _, part := range split(path) {
		if at != "" && part[0] != '[' {
			at += "."
		}
		at += part
		out = append([]string{at}, out...)
	}
	return out
}

// last is the last key of a path, for messages: the name itself, an index
// with the list's name.
func last(path string) string {
	parts := split(path)
	if len(parts) == 0 {
		return path
	}
	p := parts[len(parts)-1]
	if name, err := strconv.Unquote(strings.Trim(p, "[]")); err == nil {
		return printable(name)
	}
	if p[0] == '[' && len(parts) > 1 {
		return last(strings.Join(parts[:len(parts)-1], ".")) + p
	}
	return p
}
