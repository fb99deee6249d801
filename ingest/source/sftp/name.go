package sftp

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"ingestd/ingest/spool"
)

// maxPath bounds a remote path, in bytes, as servers do.
const maxPath = 4096

// judgeName says why a name that a server listed is not believed: it must be
// one element of a path, so that nothing it is joined to leads elsewhere, and
// must not hold what a terminal or a log would obey.
func judgeName(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return errors.New("is no name of a file")
	case len(name) > spool.MaxName:
		return fmt.Errorf("is longer than %d bytes", spool.MaxName)
	}
	for i := range len(name) {
		switch c := name[i]; {
		case c == '/':
			return errors.New("is more than one element of a path")
		case c < ' ' || c == 0x7f:
			return errors.New("holds control bytes")
		}
	}
	return nil
}

// checkRemote checks a remote path that the configuration names.
func checkRemote(p string) error {
	switch {
	case p == "":
		return errors.New("is empty")
	case len(p) > maxPath:
		return fmt.Errorf("is longer than %d bytes", maxPath)
	case strings.ContainsRune(p, 0):
		return errors.New("a path cannot hold a NUL")
	}
	return nil
}

// remote is the path on the server of what is called name in the folder, or of
// an absolute path.
func (s *Source) remote(name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join(s.path, name)
}

// within returns p, absolute or relative to the folder, as relative to the
// folder, if it is in it.
func (s *Source) within(p string) (rel string, ok bool) {
	p = s.remote(p)
	switch {
	case p == s.path:
		return ".", true
	case s.path == "/":
		return p[1:], true
	case s.path == ".":
		return p, !path.IsAbs(p) && p != ".." && !strings.HasPrefix(p, "../")
	}
	return strings.CutPrefix(p, s.path+"/")
}

// origin is a place on the server as arrivals name it. What is relative to the
// login's directory stands below "~".
func (s *Source) origin(remote string) string {
	if !path.IsAbs(remote) {
		remote = "/~/" + remote
	}
	return s.prefix() + remote
}

// place is the folder, for messages.
func (s *Source) place() string { return s.origin(s.path) }

func (s *Source) prefix() string {
	return "sftp://" + s.o.Server.User + "@" + s.o.Server.address()
}

// fromOrigin is the remote path that an origin names; false where it is not of
// this server and user.
func (s *Source) fromOrigin(origin string) (string, bool) {
	p, ok := strings.CutPrefix(origin, s.prefix())
	if !ok || !strings.HasPrefix(p, "/") {
		return "", false
	}
	return strings.TrimPrefix(p, "/~/"), true
}
