package config

import (
	"path/filepath"
	"strings"
)

// receipts checks where reports on arrivals go: to where nobody takes them up,
// and no other pipeline writes.
func (k *checker) receipts() {
	first := map[string]string{}
	for i := range k.c.Pipelines {
		p := &k.c.Pipelines[i]
		if p.Receipt == nil {
			continue
		}
		at := Join("pipelines", p.Name, "receipt")
		switch p.Source.Type {
		case "webhook", "http_poll", "queue":
			k.say(at, "a `"+p.Source.Type+"` source has no place for receipts", "its sender has the answer to its request")
			continue
		}
		at = join(at, "dir")
		if p.Receipt.Dir == "" || k.d.failed[at] {
			continue
		}
		if strings.ContainsRune(p.Receipt.Dir, 0) {
			k.say(at, "a path cannot hold a NUL", "")
			continue
		}
		if p.Source.Type != "dir" || p.Source.Dir.Path == "" {
			continue
		}
		dir := filepath.Clean(p.Source.Resolve(p.Receipt.Dir))
		own := filepath.Clean(p.Source.Dir.Path)
		inside, err := filepath.Rel(own, dir)
		if err == nil && (inside == "." || inside == ".ingestd" || strings.HasPrefix(inside, ".ingestd/")) {
			k.say(at, "receipts are not kept apart from what arrives or is worked on", "name a folder of their own, as in receipts/")
			continue
		}
		if other, twice := first[dir]; twice {
			k.say(at, "pipeline `"+other+"` puts its receipts there too", "give each a folder of its own")
			continue
		}
		first[dir] = p.Name
		for _, w := range k.dirs {
			if k.steps -= 1000; k.steps < 0 {
				return
			}
			// A folder in the pipeline's own is left alone by its source.
			if w.name != p.Name && within(dir, w) {
				k.say(at, "the receipts lie in the folder that pipeline `"+w.name+"` watches and would be taken up", "name a folder of their own, as in receipts/")
				break
			}
		}
	}
}
