package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"ingestd/ingest/spool"
)

// diskEvery is how often free space is looked at.
const diskEvery = 5 * time.Second

// A diskWatch looks at the free space of every filesystem that is written to.
type diskWatch struct {
	dirs []string
	need func(total uint64) uint64 // bytes that must be free, of a filesystem's total
	free func(dir string) (free, total uint64, err error)
	log  *slog.Logger

	mu      sync.Mutex
	low     string        // the directory where too little is left, or ""
	changed chan struct{} // closed and made anew when low changes
	warned  bool          // less than twice the limit is free
}

func newDiskWatch(dirs []string, need func(uint64) uint64, log *slog.Logger) *diskWatch {
	return &diskWatch{dirs: dirs, need: need, free: spool.Free, log: log, changed: make(chan struct{})}
}

// run looks until ctx ends.
func (w *diskWatch) run(ctx context.Context) {
	tick := time.NewTicker(diskEvery)
	defer tick.Stop()
	for {
		w.look()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look measures once.
func (w *diskWatch) look() {
	low, near := "", ""
	for _, dir := range w.dirs {
		free, total, err := w.free(dir)
		if err != nil {
			continue // a directory that is not there is its source's trouble
		}
		need := w.need(total)
		switch {
		case free < need && low == "":
			low = fmt.Sprintf("%s: %d MiB are free, min_free asks for %d MiB", dir, free>>20, need>>20)
		case free/2 < need && near == "":
			near = fmt.Sprintf("%s: %d MiB are free; below %d MiB (min_free) sources pause", dir, free>>20, need>>20)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case low != "" && w.low == "":
		w.log.Error("the disk is nearly full: sources pause", "where", low)
	case low == "" && w.low != "":
		w.log.Info("there is room on the disk again: sources go on")
	case near != "" && !w.warned:
		w.log.Warn("the disk is filling up", "where", near)
	}
	w.warned = near != "" || low != ""
	if (low == "") != (w.low == "") {
		close(w.changed)
		w.changed = make(chan struct{})
	}
	w.low = low
}

// state is the directory where too little is left, or "", and a channel that
// is closed when that changes.
func (w *diskWatch) state() (low string, changed <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.low, w.changed
}
