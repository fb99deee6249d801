package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// Load reads the config at path and all that it includes. The problems hold
// warnings too; where Problems.Err is not nil, the config is nil.
func Load(path string) (*Config, Problems) {
	l := &loader{path: path}
	data, mode, err := readBounded(path)
	if err != nil {
		message := "cannot be read: " + err.Error()
		if errors.Is(err, fs.ErrNotExist) {
			message = "no such file"
		}
		return nil, Problems{{File: path, Message: message, Hint: "`ingestd init` writes a config to start from"}}
	}
	return l.load(data, mode)
}

// StateDir is the state directory that a config names, also where something else
// in it is wrong: a daemon that began under an earlier one may still be asked.
// It is "" where that cannot be known.
func StateDir(path string) string {
	data, mode, err := readBounded(path)
	if err != nil {
		return ""
	}
	l := &loader{path: path}
	c, _ := l.build(data, mode)
	if c == nil || l.failed["state_dir"] {
		return ""
	}
	return c.StateDir
}

// A loader reads one config.
type loader struct {
	path  string
	found collector
	files []*file
	read  *reader
	seen  map[string]bool // files by absolute path

	failed map[string]bool // paths of values that are wrong
}

func (l *loader) load(data []byte, mode fs.FileMode) (*Config, Problems) {
	c, problems := l.build(data, mode)
	if problems.Err() != nil {
		return nil, problems
	}
	return c, problems
}

// build reads what can be read; nil where that is nothing.
func (l *loader) build(data []byte, mode fs.FileMode) (*Config, Problems) {
	abs, err := filepath.Abs(l.path)
	if err != nil {
		return nil, Problems{{File: l.path, Message: "no absolute path: " + err.Error()}}
	}
	dir := filepath.Dir(abs)
	l.read = &reader{found: &l.found, fill: newFiller(dir)}
	l.seen = map[string]bool{abs: true}

	root := l.parse(l.path, data, mode)
	if root == nil {
		return nil, l.found.sorted()
	}
	l.include(root, dir)
	if l.read.stop {
		return nil, l.found.sorted()
	}
	l.spreadDefaults(root)

	c := &Config{File: l.path, Dir: dir, files: l.files, places: map[string]*node{}}
	var later collector
	d := &decoder{
		dir: dir, found: &l.found, later: &later, places: c.places, failed: map[string]bool{},
		broken: l.read.fill.failed, labels: map[string]string{}, defaults: defaultNodes{},
	}
	l.failed = d.failed
	d.block(c, root, &node{src: l.files[0]}, "")
	if c.StateDir == "" {
		c.StateDir = stateDir(dir)
	}
	for _, n := range d.literals {
		n.src.literal(n)
	}
	c.veil = newVeil(l.read.fill.brought)
	for i := range c.Sinks {
		c.Sinks[i].veil = c.veil
	}
	(&checker{c: c, d: d}).run()
	l.warnReadable()
	c.later = later.sorted()

	return c, l.found.sorted()
}

// stateDir is where state is kept when nothing is said. systemd lists several
// directories with colons; the first is ours.
func stateDir(dir string) string {
	if s, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":"); filepath.IsAbs(s) {
		return s
	}
	return filepath.Join(dir, "ingestd-state")
}

func (l *loader) parse(name string, data []byte, mode fs.FileMode) *node {
	text, line, col, reason := decodeText(data)
	f := newFile(name, len(l.files), data)
	f.open = mode.IsRegular() && mode.Perm()&0o004 != 0
	l.files = append(l.files, f)
	if reason != "" {
		l.read.problem(f, line, col, reason, "")
		return nil
	}
	if len(text) != len(data) {
		f.lines[0] = strings.TrimPrefix(f.lines[0], "\uFEFF")
	}
	return l.read.parse(f, text)
}

// Bounds on include.
const (
	maxIncluded = 4096    // files
	maxListed   = 100_000 // directory entries looked at
)

// include reads the files that root names and adds what they hold to root.
func (l *loader) include(root *node, dir string) {
	patterns := root.get("include")
	if patterns == nil || patterns.kind != listNode {
		return // wrong types are reported when root is decoded
	}
	listed := maxListed
	for _, p := range patterns.items {
		if p.kind != scalarNode || p.null || p.text == "" || !doublestar.ValidatePattern(p.text) {
			continue
		}
		names, err := expand(dir, p.text, &listed)
		if err != nil {
			l.read.problem(p.src, p.line, p.col, "include "+p.quote()+": "+err.Error(), "")
			continue
		}
		if len(names) == 0 && !strings.ContainsAny(p.text, "*?[{") {
			l.read.problem(p.src, p.line, p.col, "include "+p.quote()+": no such file", "")
		}
		for _, name := range names {
			l.includeFile(root, dir, name, p)
			if l.read.stop {
				return
			}
		}
	}
}

func (l *loader) includeFile(root *node, dir, name string, by *node) {
	if l.seen[name] {
		return
	}
	l.seen[name] = true
	if len(l.files) > maxIncluded {
		l.read.stop = true
		l.read.problem(by.src, by.line, by.col, "more than 4096 files are included", "")
		return
	}
	// Shown as the main file was named, so that a terminal can open it.
	shown := name
	if rel, err := filepath.Rel(dir, name); err == nil {
		shown = filepath.Join(filepath.Dir(l.path), rel)
	}
	var (
		data []byte
		mode fs.FileMode
	)
	err := regular(name)
	if err == nil {
		data, mode, err = readBounded(name)
	}
	if err != nil {
		l.read.problem(by.src, by.line, by.col, "include: "+shown+" cannot be read: "+err.Error(), "")
		return
	}
	part := l.parse(shown, data, mode)
	if part == nil {
		return
	}
	for _, e := range part.entries {
		switch name := e.key.text; name {
		case "sinks", "pipelines":
			l.union(root, e, strings.TrimSuffix(name, "s"))
		case "alerts":
			l.append(root, e)
		case "sftp_server":
			l.users(root, e)
		default:
			l.wrongPlace(e, "an included file", []string{"sinks", "pipelines", "alerts", "sftp_server"})
		}
	}
}

func (l *loader) wrongPlace(e entry, where string, valid []string) {
	name := e.key.text
	message, hint := "unknown key `"+printable(name)+"` in "+where, didYouMean(name, valid)
	if _, ok := find((&Config{}).keys(), name); ok {
		message, hint = "`"+name+"` stands in the main file, not in "+where, ""
	}
	l.read.problem(e.key.src, e.key.line, e.key.col, message, hint)
}

// union adds the entries of e's map to root's map of that name.
func (l *loader) union(root *node, e entry, is string) {
	have := l.own(root, e)
	if have == nil {
		return
	}
	at := map[string]*node{}
	for _, x := range have.entries {
		at[x.key.text] = x.key
	}
	for _, x := range e.value.entries {
		if first, twice := at[x.key.text]; twice {
			l.read.problem(x.key.src, x.key.line, x.key.col,
				is+" `"+printable(x.key.text)+"` is defined twice; first at "+Position{first.src.name, first.line, first.col}.String(), "")
			continue
		}
		at[x.key.text] = x.key
		have.entries = append(have.entries, x)
	}
}

// own returns root's value for e's key, made where it is absent, or nil where
// the two cannot be joined.
func (l *loader) own(root *node, e entry) *node {
	if e.value.null {
		return nil
	}
	for i, x := range root.entries {
		if x.key.text != e.key.text {
			continue
		}
		if x.value.null {
			root.entries[i].value = &node{kind: e.value.kind, src: x.value.src, line: x.value.line, col: x.value.col, block: true}
			x = root.entries[i]
		}
		if x.value.kind != e.value.kind || e.value.kind == scalarNode {
			want := mapNode
			if e.key.text == "alerts" {
				want = listNode
			}
			if e.value.kind != want {
				l.read.problem(e.value.src, e.value.line, e.value.col, "`"+e.key.text+"` must be "+want.String()+", not "+e.value.kind.String(), "")
			}
			return nil
		}
		// The main file's node may be shared by an alias: add to a copy.
		own := *x.value
		own.entries, own.items = slices.Clone(own.entries), slices.Clone(own.items)
		root.entries[i].value = &own
		return &own
	}
	own := &node{kind: e.value.kind, src: e.value.src, line: e.value.line, col: e.value.col, block: true}
	if e.value.kind == scalarNode {
		own = e.value // its type is wrong, and reported when root is decoded
	}
	root.entries = append(root.entries, entry{key: e.key, value: own})
	return own
}

func (l *loader) append(root *node, e entry) {
	if have := l.own(root, e); have != nil && have.kind == listNode {
		have.items = append(have.items, e.value.items...)
	}
}

// users adds the users of an included file's sftp_server.
func (l *loader) users(root *node, e entry) {
	if e.value.kind != mapNode {
		l.own(root, e)
		return
	}
	server := l.own(root, entry{key: e.key, value: &node{kind: mapNode, src: e.value.src, line: e.value.line, col: e.value.col}})
	for _, x := range e.value.entries {
		if x.key.text != "users" {
			l.wrongPlace(x, "the `sftp_server` of an included file", []string{"users"})
			continue
		}
		if server != nil {
			l.union(server, x, "user")
		}
	}
}

// spreadDefaults gives every pipeline and sink what defaults say.
func (l *loader) spreadDefaults(root *node) {
	defaults := root.get("defaults")
	if defaults == nil {
		return
	}
	for _, kind := range []string{"pipeline", "sink"} {
		def, all := defaults.get(kind), root.get(kind+"s")
		if def == nil || all == nil || def.kind != mapNode || all.kind != mapNode {
			continue
		}
		own := *all // which an alias may share
		own.entries = slices.Clone(all.entries)
		for i, e := range own.entries {
			own.entries[i].value = overlay(e.value, def)
		}
		root.set(kind+"s", &own)
	}
}

// expand returns the absolute paths of the files that pattern matches, sorted.
// listed bounds the directory entries that are looked at.
func expand(dir, pattern string, listed *int) ([]string, error) {
	base, rest := doublestar.SplitPattern(filepath.ToSlash(pattern))
	if !filepath.IsAbs(base) {
		base = filepath.Join(dir, base)
	}
	matches, err := doublestar.Glob(&countedFS{FS: os.DirFS(base), left: listed}, rest,
		doublestar.WithFilesOnly(), doublestar.WithNoHidden(), doublestar.WithFailOnIOErrors())
	if err != nil {
		return nil, bare(err)
	}
	names := make([]string, len(matches))
	for i, m := range matches {
		names[i] = filepath.Join(base, filepath.FromSlash(m))
	}
	return names, nil // Glob sorts
}

// countedFS refuses to list more than so many entries.
type countedFS struct {
	fs.FS
	left *int
}

func (c *countedFS) ReadDir(name string) ([]fs.DirEntry, error) {
	es, err := fs.ReadDir(c.FS, name)
	if *c.left -= 1 + len(es); *c.left < 0 {
		return nil, errors.New("looks at more than 100000 files; name a folder")
	}
	return es, err
}

func (c *countedFS) Stat(name string) (fs.FileInfo, error) { return fs.Stat(c.FS, name) }

// literal remembers the first secret that stands in the file itself.
func (f *file) literal(n *node) {
	if f.firstSecret == nil || n.line < f.firstSecret.line {
		f.firstSecret = n
	}
}

// warnReadable warns of secrets in files that anybody may read.
func (l *loader) warnReadable() {
	for _, f := range l.files {
		if !f.open || f.firstSecret == nil {
			continue
		}
		l.found.add(Problem{
			File: f.name, Line: f.firstSecret.line, Col: f.firstSecret.col, Warning: true, src: f,
			Message: "this file holds a secret and every user of this machine may read it",
			Hint:    "chmod o-r, or ${file:…}, ${credential:…} or ${env:…}",
		})
	}
}

func checkRegexp(s string) error {
	if err := notLong(1000)(s); err != nil {
		return err
	}
	if _, err := regexp.Compile(s); err != nil {
		return errors.New("is no valid regular expression")
	}
	return nil
}
