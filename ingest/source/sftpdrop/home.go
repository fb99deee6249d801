package sftpdrop

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"ingestd/ingest/source"
	"ingestd/ingest/spool"
)

const (
	uploadsDir = source.Home + "/uploads" // <id>.part and <id>.json
	partSuffix = ".part"
	noteSuffix = ".json"

	homeMode   = 0o750 // homes and folders in them
	ownMode    = 0o700
	uploadMode = 0o640

	maxUnfinished = 1000 // broken uploads of a home
	maxNote       = 16 << 10
)

// A home is what a user sees as /. Several users may share one.
type home struct {
	path string
	log  *slog.Logger

	mu      sync.Mutex
	loaded  bool
	uploads map[string]*upload // by name: under way, or broken off

	usage  usage
	ghosts ghosts
}

func newHome(path string, log *slog.Logger) *home {
	return &home{path: path, log: log, uploads: map[string]*upload{}}
}

// open makes the home and folders of it where they are absent, and reads what
// an earlier process left. It may be repeated.
func (h *home) open(folders []string) error {
	if err := spool.MakeDirs(h.path, homeMode); err != nil {
		return fmt.Errorf("make the home %s: %w", h.path, err)
	}
	root, err := spool.OpenDir(h.path)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, f := range append([]string{"."}, folders...) {
		d, err := spool.OpenBeneath(root, f, homeMode)
		if err != nil {
			return fmt.Errorf("make the folder %q of the home %s: %w", f, h.path, err)
		}
		d.Close()
	}
	d, err := spool.OpenBeneath(root, uploadsDir, ownMode)
	if err != nil {
		return err
	}
	d.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.loaded {
		return nil
	}
	if err := h.load(); err != nil {
		return fmt.Errorf("read the unfinished uploads of the home %s: %w", h.path, err)
	}
	h.loaded = true
	return nil
}

// own opens the directory of unfinished uploads.
func (h *home) own() (*os.Root, error) {
	r, err := os.OpenRoot(h.path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return r.OpenRoot(uploadsDir)
}

// folder opens a directory of the home, never through a link.
func (h *home) folder(name string) (*os.File, error) {
	root, err := spool.OpenDir(h.path)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return spool.OpenBeneath(root, name, 0)
}

// stat describes what stands under a name on disk.
func (h *home) stat(name string) (spool.Info, error) {
	d, err := h.folder(path.Dir(name))
	if err != nil {
		return spool.Info{}, err
	}
	defer d.Close()
	return spool.StatAt(d, path.Base(name))
}

// A note stands beside the bytes of an upload.
type note struct {
	Name  []byte `json:"name"`  // where it is to go; names are bytes
	Front int64  `json:"front"` // so many bytes came without a gap and are on disk
}

func (h *home) writeNote(own *os.Root, id string, n note) error {
	text, err := json.Marshal(n)
	if err != nil {
		return err
	}
	// Not fsynced: a note that a power cut takes costs the partner a longer way
	// to resume, nothing else.
	tmp := id + ".tmp"
	if err := own.WriteFile(tmp, text, 0o600); err != nil {
		return err
	}
	return own.Rename(tmp, id+noteSuffix)
}

// load reads what is there. Bytes without a note, and notes without bytes, are
// what a crash left between two steps. The caller holds h.mu.
func (h *home) load() error {
	own, err := h.own()
	if err != nil {
		return err
	}
	defer own.Close()
	d, err := own.Open(".")
	if err != nil {
		return err
	}
	names, err := d.Readdirnames(-1)
	d.Close()
	if err != nil {
		return err
	}
	good := map[string]bool{}
	for _, name := range names {
		id, ok := strings.CutSuffix(name, noteSuffix)
		if !ok {
			continue
		}
		u, err := h.read(own, id)
		if err != nil {
			continue
		}
		if was := h.uploads[u.name]; was != nil {
			if was.changed.After(u.changed) {
				continue
			}
			delete(good, was.id)
		}
		h.uploads[u.name] = u
		good[id] = true
	}
	for _, name := range names {
		if id, _, _ := strings.Cut(name, "."); !good[id] {
			if err := own.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

func (h *home) read(own *os.Root, id string) (*upload, error) {
	info, err := own.Lstat(id + noteSuffix)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxNote {
		return nil, spool.ErrIrregular
	}
	text, err := own.ReadFile(id + noteSuffix)
	if err != nil {
		return nil, err
	}
	var n note
	if err := json.Unmarshal(text, &n); err != nil {
		return nil, err
	}
	name, err := judge(string(n.Name))
	if err != nil || name == "." || name != string(n.Name) {
		return nil, fs.ErrInvalid
	}
	f, err := own.OpenFile(id+partSuffix, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err = f.Stat()
	if err != nil {
		return nil, err
	}
	// Of what came after the note it is not known whether a gap is in it.
	front := min(n.Front, info.Size())
	if front <= 0 || !info.Mode().IsRegular() {
		return nil, fs.ErrInvalid
	}
	if err := f.Truncate(front); err != nil {
		return nil, err
	}
	return &upload{home: h, id: id, name: name, r: ranges{front: front}, saved: front, changed: info.ModTime()}, nil
}

// unfinished is the upload of that name, under way or broken off, or nil.
func (h *home) unfinished(name string) *upload {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.uploads[name]
}

// beneath returns what is unfinished in a folder, by the names in it; deep: in
// the folders below it too.
func (h *home) beneath(dir string, deep bool) map[string]*upload {
	prefix := dir + "/"
	if dir == "." {
		prefix = ""
	}
	var out map[string]*upload
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, u := range h.uploads {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok || !deep && strings.Contains(rest, "/") {
			continue
		}
		if out == nil {
			out = map[string]*upload{}
		}
		out[rest] = u
	}
	return out
}

// expire removes broken uploads that nobody touched since before.
func (h *home) expire(before time.Time) {
	for name, u := range h.beneath(".", true) {
		if _, changed := u.view(); !changed.Before(before) {
			continue
		}
		u.io.Lock()
		if u.owner == nil && !u.gone {
			if err := u.drop(); err != nil {
				h.log.Error("a broken upload could not be removed", "home", h.path, "name", quoted(name), "error", err)
			} else {
				h.log.Info("a broken upload was removed: nobody went on with it", "home", h.path, "name", quoted(name))
			}
		}
		u.io.Unlock()
	}
}

func newID() string {
	var r [8]byte
	rand.Read(r[:])
	return hex.EncodeToString(r[:])
}

// quoted keeps what others named from looking like a line of ours.
func quoted(s string) string { return fmt.Sprintf("%q", s) }

// usage is how many bytes stand in a home's view.
type usage struct {
	mu      sync.Mutex
	used    int64     // when counted, and what was added since: never too low
	counted time.Time // zero: not yet
}

// reserve counts more bytes, unless the quota would be passed. What was taken
// up or removed is noticed only by counting again.
func (h *home) reserve(more, quota int64) bool {
	if quota <= 0 || more <= 0 {
		return true
	}
	u := &h.usage
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.counted.IsZero() || u.used+more > quota && time.Since(u.counted) > time.Second {
		u.used, u.counted = h.count(".", 0), time.Now()
	}
	if u.used+more > quota {
		return false
	}
	u.used += more
	return true
}

// count adds up what the partner sees in a folder and below.
func (h *home) count(dir string, depth int) (sum int64) {
	if depth > maxDepth {
		return 0
	}
	_ = h.list(dir, func(e entry) error {
		if e.dir {
			sum += h.count(path.Join(dir, e.name), depth+1)
		} else {
			sum += e.size
		}
		return nil
	})
	return sum
}

// left is what a quota leaves.
func (h *home) left(quota int64) int64 {
	u := &h.usage
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.counted.IsZero() || time.Since(u.counted) > time.Second {
		u.used, u.counted = h.count(".", 0), time.Now()
	}
	return max(0, quota-u.used)
}
