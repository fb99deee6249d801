package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// maxFilled bounds the text that all ${…} of a config bring in, in bytes.
// serviceCredentials is where systemd puts the credentials of our unit, for its
// user and root to read (systemd.exec(5), CREDENTIALS).
const serviceCredentials = "/run/credentials/ingestd.service"

const maxFilled = 16 << 20

// A filler fills in ${env:NAME}, ${file:PATH} and ${credential:NAME}.
type filler struct {
	dir    string // that relative paths start from
	filled int
	cache  map[string]string
	failed map[*node]bool // scalars whose value could not be had

	brought map[string]bool // values that were filled in
}

func newFiller(dir string) *filler {
	return &filler{dir: dir, cache: map[string]string{}, failed: map[*node]bool{}, brought: map[string]bool{}}
}

// A fillError says why a ${…} has no value; at is the ${…} itself.
type fillError struct{ at, message, hint string }

// expand returns s with its ${…} filled in and $${ made ${.
func (f *filler) expand(s string) (string, *fillError) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "${")
		if !found {
			b.WriteString(s)
			break
		}
		if strings.HasSuffix(before, "$") {
			b.WriteString(before[:len(before)-1] + "${")
			s = after
			continue
		}
		b.WriteString(before)
		inner, rest, closed := strings.Cut(after, "}")
		if !closed {
			return "", &fillError{"${" + after, "`${` without its `}`", "write `$${` where `${` itself is meant"}
		}
		value, err := f.value(inner)
		if err != nil {
			err.at = "${" + inner + "}"
			return "", err
		}
		if f.filled += len(value); f.filled > maxFilled {
			return "", &fillError{"${" + inner + "}", "the ${…} of this config bring in more than 16MiB", ""}
		}
		if !utf8.ValidString(value) {
			return "", &fillError{"${" + inner + "}", "`${" + printable(inner) + "}` is no UTF-8 text", ""}
		}
		b.WriteString(value)
		f.brought[value] = true
		s = rest
	}
	return b.String(), nil
}

func (f *filler) value(inner string) (string, *fillError) {
	scheme, name, _ := strings.Cut(inner, ":")
	ref := "`${" + printable(inner) + "}`"
	if name == "" {
		return "", &fillError{message: ref + " names nothing", hint: "${env:NAME}, ${file:PATH} or ${credential:NAME}; write `$${` where `${` itself is meant"}
	}
	switch scheme {
	case "env":
		v, ok := os.LookupEnv(name)
		if !ok {
			return "", &fillError{message: "the environment has no `" + printable(name) + "`"}
		}
		return v, nil
	case "file":
		path, hint := name, ""
		if !filepath.IsAbs(path) {
			path = filepath.Join(f.dir, path)
			hint = "it is looked for at " + printable(path)
		}
		return f.read(path, ref, hint)
	case "credential":
		dir := os.Getenv("CREDENTIALS_DIRECTORY")
		if dir == "" {
			// A person's command beside the service, as its user or as root.
			if _, err := os.Stat(serviceCredentials); err == nil {
				dir = serviceCredentials
			}
		}
		switch {
		case !filepath.IsLocal(name) || strings.ContainsRune(name, '/'):
			return "", &fillError{message: ref + " is no name of a credential"}
		case dir == "":
			return "", &fillError{
				message: ref + ": there is no $CREDENTIALS_DIRECTORY",
				hint:    "set LoadCredential=" + printable(name) + ":/path in the systemd unit",
			}
		}
		path := filepath.Join(dir, name)
		return f.read(path, ref, "it is looked for at "+printable(path))
	}
	return "", &fillError{
		message: "`" + printable(scheme) + "` in " + ref + " is unknown",
		hint:    "env, file or credential; write `$${` where `${` itself is meant",
	}
}

// read returns a file's text without its last line end.
func (f *filler) read(path, ref, hint string) (string, *fillError) {
	if v, ok := f.cache[path]; ok {
		return v, nil
	}
	err := regular(path)
	var data []byte
	if err == nil {
		data, _, err = readBounded(path)
	}
	if err != nil {
		return "", &fillError{message: ref + ": " + err.Error(), hint: hint}
	}
	v, cut := strings.CutSuffix(string(data), "\n")
	if cut {
		v = strings.TrimSuffix(v, "\r")
	}
	f.cache[path] = v
	return v, nil
}

// regular refuses what would block or never end when it is read.
func regular(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("no such file")
	case err != nil:
		return bare(err)
	case !info.Mode().IsRegular():
		return errors.New("is no regular file")
	}
	return nil
}
