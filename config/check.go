package config

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// A checker holds the rules that concern several blocks.
type checker struct {
	c     *Config
	d     *decoder
	sinks map[string]*Sink
	dirs  []watched
	steps int // that comparisons of names and folders may still take
}

// maxSteps bounds the comparisons of a config: a fraction of a second. What
// lies beyond is not compared; the sources themselves still give each file to
// one pipeline only.
const maxSteps = 50_000_000

// say reports at a path, unless something is wrong there already.
func (k *checker) say(path, message, hint string) {
	if k.d.failed[path] {
		return
	}
	k.d.failed[path] = true
	k.d.found.add(k.c.Problem(path, message, hint))
}

// quote is the value at path for a message: not what ${…} made of it.
func (k *checker) quote(path, value string) string {
	if n, ok := k.c.places[path]; ok && n.kind == scalarNode {
		return n.quote()
	}
	return "`" + printable(value) + "`"
}

func (k *checker) warn(path, message string) {
	p := k.c.Problem(path, message, "")
	p.Warning = true
	k.d.found.add(p)
}

func (k *checker) run() {
	c := k.c
	k.steps = maxSteps
	k.drops()
	k.dirs = k.watchedDirs()
	k.sinks = make(map[string]*Sink, len(c.Sinks))
	for i := range c.Sinks {
		k.sinks[c.Sinks[i].Name] = &c.Sinks[i]
	}
	if len(c.Pipelines) == 0 && len(c.Include) == 0 && !k.d.failed["pipelines"] {
		k.say("pipelines", "there are no pipelines, so nothing would be taken up", "")
	}
	for i := range c.Pipelines {
		k.pipeline(&c.Pipelines[i])
	}
	for i := range c.Sinks {
		if s := &c.Sinks[i]; s.Template != "" && s.Body != "template" && s.Body != "" {
			k.warn(Join("sinks", s.Name, "template"), "`template` is used with `body: template` only, and `body` is "+s.Body)
		}
	}
	k.folders()
	k.receipts()
	k.files()
	k.alerts()
}

// sinkNames are the sinks that the file names, be they whole or not.
func (k *checker) sinkNames() []string {
	out := make([]string, len(k.c.Sinks))
	for i := range k.c.Sinks {
		out[i] = k.c.Sinks[i].Name
	}
	return out
}

func (k *checker) pipeline(p *Pipeline) {
	path := Join("pipelines", p.Name)
	seen := map[string]bool{}
	for i, name := range p.Sinks {
		at := Index(join(path, "sinks"), i)
		s := k.sinks[name]
		switch {
		case s == nil && k.d.found.plenty():
			k.say(at, "no sink is named "+k.quote(at, name), "")
		case s == nil:
			hint := didYouMean(name, k.sinkNames())
			if hint == "" && len(k.c.Sinks) > 0 {
				hint = strings.Replace(listed(k.sinkNames()), "valid here", "there are", 1)
			}
			k.say(at, "no sink is named "+k.quote(at, name), hint)
		case seen[name]:
			k.say(at, "sink `"+name+"` is named twice", "")
		case s.ForAlerts():
			k.say(at, "sink `"+name+"` has a template for alerts: it holds neither `{records}` nor `{record}`, so no record would be sent", "")
		case s.Body == "file" && p.Format.Type != "raw" && p.Format.Type != "":
			k.say(at, "sink `"+name+"` has `body: file`, which needs `format: raw` here, not `"+p.Format.Type+"`", "")
		}
		seen[name] = true
	}
	if t := p.Format.Type; p.Trailer() != "" && (t == "xlsx" || t == "raw") {
		k.say(under(path, "source.proof.trailer"), "a `trailer` is the last line of a text, which `format: "+t+"` is not", "a `sidecar` proves any file")
	}
	if p.Dedupe.Changed == "send" && len(p.Record.Key) == 0 && !k.d.failed[under(path, "record.key")] {
		k.say(under(path, "dedupe.changed"), "`changed: send` needs `record.key`: without one, records are not told apart", "")
	}
	switch src := &p.Source; src.Type {
	case "sftp_drop":
		users := make([]string, len(k.c.SFTPServer.Users))
		for i, u := range k.c.SFTPServer.Users {
			users[i] = u.Name
		}
		if u := src.Drop.User; u != "" && !slices.Contains(users, u) {
			k.say(under(path, "source.user"), "no user of `sftp_server` is named "+k.quote(under(path, "source.user"), u), didYouMean(u, users))
		}
	case "webhook":
		k.hook(p, path)
		if r := src.Webhook.Respond; r != "" && !slices.Contains(p.Sinks, r) {
			k.say(under(path, "source.respond"), k.quote(under(path, "source.respond"), r)+" is none of this pipeline's `sinks`", didYouMean(r, p.Sinks))
		}
	}
}

func (k *checker) alerts() {
	pipelines := make([]string, len(k.c.Pipelines))
	for i := range k.c.Pipelines {
		pipelines[i] = k.c.Pipelines[i].Name
	}
	for i, a := range k.c.Alerts {
		path := Index("alerts", i)
		if k.d.found.plenty() {
			return
		}
		if a.Sink != "" && k.sinks[a.Sink] == nil {
			k.say(join(path, "sink"), "no sink is named "+k.quote(join(path, "sink"), a.Sink), didYouMean(a.Sink, k.sinkNames()))
		}
		for j, name := range a.Pipelines {
			if !slices.Contains(pipelines, name) {
				k.say(Index(join(path, "pipelines"), j), "no pipeline is named "+k.quote(Index(join(path, "pipelines"), j), name), didYouMean(name, pipelines))
			}
		}
	}
}

// A watched folder of this machine.
type watched struct {
	*Watch
	path  string // of its source in the config
	name  string // the pipeline's
	dir   string
	order int // in the config
}

// drops finds the folders of drop sources: below the homes of their users.
func (k *checker) drops() {
	homes := make(map[string]string, len(k.c.SFTPServer.Users))
	for i := range k.c.SFTPServer.Users {
		u := &k.c.SFTPServer.Users[i]
		homes[u.Name] = u.Home
	}
	for i := range k.c.Pipelines {
		p := &k.c.Pipelines[i]
		if src := &p.Source; src.Type == "sftp_drop" && homes[src.Drop.User] != "" && !k.d.failed[Join("pipelines", p.Name, "source", "path")] {
			src.Drop.Dir = filepath.Join(homes[src.Drop.User], src.Drop.Path)
		}
	}
}

// watchedDirs are the local folders that pipelines watch, in the order of the
// file.
func (k *checker) watchedDirs() []watched {
	var out []watched
	for i := range k.c.Pipelines {
		p := &k.c.Pipelines[i]
		path := Join("pipelines", p.Name, "source")
		switch {
		case p.Source.Type == "dir" && p.Source.Dir.Path != "":
			out = append(out, watched{&p.Source.Dir.Watch, path, p.Name, filepath.Clean(p.Source.Dir.Path), i})
		case p.Source.Type == "sftp_drop" && p.Source.Drop.Dir != "":
			out = append(out, watched{&p.Source.Drop.Watch, path, p.Name, p.Source.Drop.Dir, i})
		}
	}
	return out
}

// folders checks that nothing that ingestd puts somewhere is taken up again,
// and that no file has two takers.
func (k *checker) folders() {
	byDir := map[string][]watched{}
	for _, w := range k.dirs {
		byDir[w.dir] = append(byDir[w.dir], w)
	}
	for _, w := range k.dirs {
		k.ownFolders(w)
		if state := k.c.StateDir; state != "" && within(state, w) {
			k.say("state_dir", "`state_dir` lies in the folder that pipeline `"+w.name+"` watches", "")
		}
		// Files of w may be taken by those who watch the same folder, or one
		// above it recursively.
		for up := w.dir; k.steps > 0; up = filepath.Dir(up) {
			k.steps -= 100 + 10*len(up)
			for _, o := range byDir[up] {
				switch {
				case up == w.dir && o.order >= w.order, up != w.dir && !o.Recursive:
				case o.order < w.order:
					k.rivals(o, w)
				default:
					k.rivals(w, o)
				}
			}
			if up == filepath.Dir(up) {
				break
			}
		}
	}
}

// rivals reports two pipelines that would take the same file. With `ignore`
// lists of their own it is a warning: they may divide the files between them.
func (k *checker) rivals(first, second watched) {
	a, b := first.Match, second.Match
	if first.dir != second.dir { // patterns are relative to different folders
		a, b = lastNames(a), lastNames(b)
	}
	if !anyOverlap(a, b, &k.steps) {
		return
	}
	key := "path"
	if k.c.Given(join(second.path, "match")) && first.dir == second.dir {
		key = "match"
	}
	message := "pipeline `" + first.name + "` watches the same folder and would take the same names"
	if first.dir != second.dir {
		message = "pipeline `" + first.name + "` watches a folder that overlaps this one and would take the same names"
	}
	p := k.c.Problem(join(second.path, key), message, "give each a `match` of its own")
	p.Warning = k.c.Given(join(first.path, "ignore")) || k.c.Given(join(second.path, "ignore"))
	k.d.found.add(p)
}

// lastNames are globs for the last element of what globs match.
func lastNames(globs []string) []string {
	if len(globs) == 0 {
		return nil
	}
	out := make([]string, len(globs))
	for i, g := range globs {
		out[i] = g[strings.LastIndexByte(g, '/')+1:]
		if strings.ContainsAny(g, "{") && strings.Contains(g, "/") || strings.HasPrefix(out[i], "**") {
			out[i] = "*"
		}
	}
	return out
}

// within reports whether a folder's files are among those that w takes.
func within(dir string, w watched) bool {
	rel, err := filepath.Rel(w.dir, dir)
	if err != nil || !filepath.IsLocal(rel) {
		return false
	}
	if rel == "." {
		return true
	}
	return w.Recursive && !ignored(rel, w.Ignore)
}

// ignored reports whether a relative folder, or one above it, is left alone.
func ignored(rel string, globs []string) bool {
	at := ""
	for part := range strings.SplitSeq(filepath.ToSlash(rel), "/") {
		at = strings.TrimPrefix(at+"/"+part, "/")
		for _, g := range globs {
			g = strings.ToLower(g)
			if match(g, strings.ToLower(part)) || match(g, strings.ToLower(at)) || match(g, strings.ToLower(at)+"/x") && strings.HasSuffix(g, "/**") {
				return true
			}
		}
	}
	return false
}

func match(glob, name string) bool {
	ok, err := doublestar.Match(glob, name)
	return ok && err == nil
}

// ownFolders checks where ended files of a folder go. A folder of their own
// inside the watched one is left alone by its source.
func (k *checker) ownFolders(w watched) {
	for _, e := range []struct {
		key string
		Away
	}{{"when_done", w.WhenDone}, {"when_failed", w.WhenFailed}} {
		if e.Action != "move" || e.To == "" {
			continue
		}
		folder := fixed(e.To)
		if !filepath.IsAbs(folder) {
			folder = filepath.Join(w.dir, folder)
		}
		if filepath.Clean(folder) == w.dir {
			k.say(join(join(w.path, e.key), "to"), "`to` is not kept apart from what arrives: a file would be taken up again",
				"begin with a folder, as in "+strings.TrimPrefix(e.key, "when_")+"/")
		}
	}
}

// fixed is the folder below which all that a `to` names lies: its leading
// elements without placeholders.
func fixed(to string) string {
	if name := to[strings.LastIndexByte(to, '/')+1:]; strings.Contains(name, "{name}") {
		to = strings.TrimSuffix(to, name)
	}
	if before, _, ok := strings.Cut(to, "{"); ok {
		to = before[:strings.LastIndexByte(before, '/')+1]
	}
	return filepath.Clean(to)
}

// instance is a path with some value for each placeholder.
func instance(path string) string {
	for _, name := range placeholders(path) {
		path = strings.Replace(path, "{"+name+"}", "x", 1)
	}
	return path
}

// files checks the files that file sinks write.
func (k *checker) files() {
	first := map[string]string{}
	for i := range k.c.Sinks {
		s := &k.c.Sinks[i]
		if s.Type != "file" || s.File.Path == "" {
			continue
		}
		at := Join("sinks", s.Name, "path")
		if other, twice := first[s.File.Path]; twice {
			k.say(at, "sink `"+other+"` writes to the same file", "a file has one writer: name the sink `"+other+"` in both places")
			continue
		}
		first[s.File.Path] = s.Name
		folder, name := filepath.Split(s.File.Path)
		pattern := name
		for _, n := range placeholders(name) {
			pattern = strings.Replace(pattern, "{"+n+"}", "*", 1)
		}
		for _, w := range k.dirs {
			if k.steps -= 1000; k.steps < 0 {
				return
			}
			if within(filepath.Clean(instance(folder)), w) && anyOverlap([]string{pattern}, lastNames(w.Match), &k.steps) && !ignored(instance(name), w.Ignore) {
				k.say(at, "the file lies in the folder that pipeline `"+w.name+"` watches and would be taken up", "")
				break
			}
		}
	}
}
