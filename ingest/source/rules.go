package source

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
)

// Home is the directory in a watched folder that is ingestd's own; no listing
// ever shows what is in it.
const Home = ".ingestd"

// The orders of Rules.Order.
const (
	ByModTime = "mtime" // oldest first, then by name
	ByName    = "name"
)

// DefaultLimit is how many names of a folder are followed at once.
const DefaultLimit = 100_000

// Rules say which files of a folder are taken up, when, and in which order.
type Rules struct {
	Match []string // doublestar globs; empty: what Known knows
	// Ignore wins over Match; nil: DefaultIgnore. A pattern without a slash is
	// held against the last element of a name, and against each directory on
	// the way; one with a slash against the whole name. ASCII case is ignored.
	Ignore    []string
	Known     func(name string) bool // for an empty Match; nil: every name
	Recursive bool
	Settle    time.Duration
	DoneFile  string // "{name}.done"; "": none
	// Sidecar is a file with the checksum of its file: "{name}.sha256"; "": none.
	// A file is not ripe before it stands; whether they match is for the owner to
	// see (ParseChecksum) and to say (Tracker.Unproven).
	Sidecar string
	Order   string // ByModTime (the default) or ByName
	MaxSize int64  // bytes; 0: no limit
	Limit   int    // names followed at once; 0: DefaultLimit
}

// DefaultIgnore is the contract's list.
func DefaultIgnore() []string {
	return []string{".*", "~*", "*.tmp", "*.part", "*.filepart", "*.swp"}
}

// A Filter is Rules compiled: which names are wanted at all.
type Filter struct {
	match, ignore []glob
	known         func(string) bool
	recursive     bool
	done, side    companion
}

// A companion is the pattern of names of files that stand beside others: what
// comes before a name and after it. Both empty: there is none.
type companion struct{ pre, post string }

func newCompanion(key, pattern string) (c companion, err error) {
	if pattern == "" {
		return c, nil
	}
	pre, post, ok := strings.Cut(pattern, "{name}")
	switch {
	case !ok || pre+post == "":
		err = fmt.Errorf(`%s: %q must hold {name} and more, as in "{name}.done"`, key, pattern)
	case strings.ContainsAny(pre+post, "/{}"):
		err = fmt.Errorf("%s: %q must be a file name with one {name}", key, pattern)
	}
	return companion{pre, post}, err
}

// of returns the file that name is a companion of.
func (c companion) of(name string) (data string, ok bool) {
	if c == (companion{}) {
		return "", false
	}
	dir, base := path.Split(name)
	if len(base) <= len(c.pre)+len(c.post) || !strings.HasPrefix(base, c.pre) || !strings.HasSuffix(base, c.post) {
		return "", false
	}
	return dir + base[len(c.pre):len(base)-len(c.post)], true
}

// to is the companion's name for a file; "" where there is none.
func (c companion) to(name string) string {
	if c == (companion{}) {
		return ""
	}
	dir, base := path.Split(name)
	return dir + c.pre + base + c.post
}

type glob struct {
	pattern string
	whole   bool // held against the whole name
}

// NewFilter compiles rules and returns everything that is wrong with them,
// joined.
func NewFilter(r Rules) (*Filter, error) {
	f := &Filter{known: r.Known, recursive: r.Recursive}
	ignore := r.Ignore
	if ignore == nil {
		ignore = DefaultIgnore()
	}
	var errs []error
	compile := func(key string, patterns []string) []glob {
		gs := make([]glob, 0, len(patterns))
		for _, p := range patterns {
			if p == "" || !doublestar.ValidatePattern(p) {
				errs = append(errs, fmt.Errorf("%s: %q is no glob", key, p))
				continue
			}
			gs = append(gs, glob{fold(p), strings.Contains(p, "/")})
		}
		return gs
	}
	f.match = compile("match", r.Match)
	f.ignore = compile("ignore", ignore)
	var err error
	f.done, err = newCompanion("done_file", r.DoneFile)
	errs = append(errs, err)
	f.side, err = newCompanion("sidecar", r.Sidecar)
	errs = append(errs, err)
	if r.Sidecar != "" && r.Sidecar == r.DoneFile {
		errs = append(errs, fmt.Errorf("sidecar: %q is the done_file", r.Sidecar))
	}
	switch r.Order {
	case "", ByModTime, ByName:
	default:
		errs = append(errs, fmt.Errorf("order: %q is neither %s nor %s", r.Order, ByModTime, ByName))
	}
	if r.Settle < 0 {
		errs = append(errs, fmt.Errorf("settle: %v is negative", r.Settle))
	}
	return f, errors.Join(errs...)
}

// Wants reports whether a file of this name is to be listed: a file to take
// up, a done_file or a sidecar.
func (f *Filter) Wants(name string) bool {
	dir, base := path.Split(name)
	if dir != "" && !f.Enters(strings.TrimSuffix(dir, "/")) {
		return false
	}
	return f.WantsBase(dir, base)
}

// WantsBase is Wants for the name dir+base of a directory ("" or ending in a
// slash) that Enters let in.
func (f *Filter) WantsBase(dir, base string) bool {
	if strings.HasPrefix(base, Home) {
		return false
	}
	if _, ok := f.Marks(base); ok {
		return true
	}
	if _, ok := f.Proves(base); ok {
		return true
	}
	whole, last := fold(dir+base), fold(base)
	if anyGlob(f.ignore, whole, last) {
		return false
	}
	if len(f.match) == 0 {
		return f.known == nil || f.known(base)
	}
	return anyGlob(f.match, whole, last)
}

// Enters reports whether the directory of this name is looked into.
func (f *Filter) Enters(dir string) bool {
	if !f.recursive {
		return false
	}
	for end := 0; end < len(dir); end++ {
		next := strings.IndexByte(dir[end:], '/')
		elem := dir[end:]
		if next >= 0 {
			elem = dir[end : end+next]
		}
		end += len(elem)
		if strings.HasPrefix(elem, Home) || anyGlob(f.ignore, fold(dir[:end]), fold(elem)) {
			return false
		}
	}
	return true
}

// Marks reports whether name is that of a done_file, and of which file.
func (f *Filter) Marks(name string) (data string, ok bool) { return f.done.of(name) }

// Marker is the name of the done_file for a file; "" where none is asked for.
func (f *Filter) Marker(name string) string { return f.done.to(name) }

// Proves reports whether name is that of a sidecar, and of which file.
func (f *Filter) Proves(name string) (data string, ok bool) {
	if _, ok := f.done.of(name); ok {
		return "", false
	}
	return f.side.of(name)
}

// Sidecar is the name of the sidecar for a file; "" where none is asked for.
func (f *Filter) Sidecar(name string) string { return f.side.to(name) }

func anyGlob(gs []glob, whole, last string) bool {
	for _, g := range gs {
		s := last
		if g.whole {
			s = whole
		}
		if doublestar.MatchUnvalidated(g.pattern, s) {
			return true
		}
	}
	return false
}

// fold maps ASCII capitals to small letters and leaves all other bytes alone.
func fold(s string) string {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if 'A' <= b[i] && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}
