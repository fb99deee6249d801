package dir

import (
	"strings"
	"sync"

	"github.com/fsnotify/fsnotify"
)

// maxHints bounds the names that are remembered between two looks; with more,
// the whole folder is listed.
const maxHints = 16_384

// A watch collects notifications as hints: names that are worth a look. Its
// goroutine does no I/O, so that the kernel's queue is always drained.
type watch struct {
	fs   *fsnotify.Watcher // nil: there are no notifications, only Hint
	root string            // with a slash at its end
	wake chan struct{}
	done chan struct{}

	mu    sync.Mutex
	names map[string]struct{}
	all   bool  // the names are not all: list
	lost  error // why notifications are not complete from here on
}

func newWatch(root string) (*watch, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	h := &watch{
		fs:    w,
		root:  strings.TrimSuffix(root, "/") + "/",
		wake:  make(chan struct{}, 1),
		done:  make(chan struct{}),
		names: map[string]struct{}{},
	}
	go h.drain()
	return h, nil
}

// newQuietWatch is a watch that hears nothing but Hint.
func newQuietWatch() *watch {
	return &watch{wake: make(chan struct{}, 1), names: map[string]struct{}{}}
}

// close ends the watch and waits for its goroutine.
func (w *watch) close() {
	if w.fs == nil {
		return
	}
	w.fs.Close()
	<-w.done
}

// add watches a directory. Only the first failure counts: from then on the
// listing alone finds what arrives there.
func (w *watch) add(path string) {
	if w.fs == nil {
		return
	}
	if err := w.fs.Add(path); err != nil {
		w.mu.Lock()
		if w.lost == nil {
			w.lost = err
		}
		w.mu.Unlock()
	}
}

// Hint says that something may have happened to a name in the folder, for those
// who put files there themselves: notifications may be missing or late.
func (s *Source) Hint(name string) {
	s.mu.Lock()
	w := s.watch
	s.mu.Unlock()
	if w != nil {
		w.hint(name, false)
	}
}

// hear lets Hint reach w, or with nil nobody.
func (s *Source) hear(w *watch) {
	s.mu.Lock()
	s.watch = w
	s.mu.Unlock()
}

func (w *watch) drain() {
	defer close(w.done)
	events, errs := w.fs.Events, w.fs.Errors
	for events != nil || errs != nil {
		select {
		case e, ok := <-events:
			if !ok {
				events = nil
				continue
			}
			name, under := strings.CutPrefix(e.Name, w.root)
			w.hint(name, !under)
		case _, ok := <-errs:
			if !ok {
				errs = nil
				continue
			}
			w.hint("", true) // an overflow, or worse
		}
	}
}

// hint remembers a name, or that all must be listed: too many names, or
// something about the folder itself.
func (w *watch) hint(name string, all bool) {
	w.mu.Lock()
	if all || len(w.names) >= maxHints {
		w.all = true
		clear(w.names)
	} else if !w.all {
		w.names[name] = struct{}{}
	}
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// take returns the names hinted at since it was last called, or all.
func (w *watch) take() (names map[string]struct{}, all bool, lost error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	names, all = w.names, w.all
	w.names, w.all = map[string]struct{}{}, false
	return names, all, w.lost
}

// hinted reports whether there is anything to take.
func (w *watch) hinted() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all || len(w.names) > 0
}
