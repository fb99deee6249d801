package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
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
	// spare is called before each look and may make room; nil: nothing can.
	spare func()

	mu      sync.Mutex
	low     string        // the directory where too little is left, or ""
	changed chan struct{} // closed and made anew when low changes
	warned  bool          // less than twice the limit is free
	tight   []tightDisk   // where that is so
}

// A tightDisk has less than twice the limit free; a low one less than that.
type tightDisk struct {
	dir        string
	free, need uint64
	low        bool
	since      time.Time
}

// disks are those that are nearly full.
func (w *diskWatch) disks() []tightDisk {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.tight)
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
	if w.spare != nil {
		w.spare()
	}
	low, near := "", ""
	var tight []tightDisk
	for _, dir := range w.dirs {
		free, total, err := w.free(dir)
		if err != nil {
			continue // a directory that is not there is its source's trouble
		}
		need := w.need(total)
		if free/2 < need {
			tight = append(tight, tightDisk{dir, free, need, free < need, time.Now()})
		}
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
	for i := range tight {
		if at := slices.IndexFunc(w.tight, func(was tightDisk) bool { return was.dir == tight[i].dir }); at >= 0 {
			tight[i].since = w.tight[at].since
		}
	}
	w.tight = tight
}

// state is the directory where too little is left, or "", and a channel that
// is closed when that changes.
func (w *diskWatch) state() (low string, changed <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.low, w.changed
}
