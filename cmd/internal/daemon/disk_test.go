package daemon

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDiskWatch(t *testing.T) {
	const mib = 1 << 20
	free := map[string]uint64{"/state": 500 * mib, "/drops": 500 * mib}
	var log strings.Builder
	w := newDiskWatch([]string{"/state", "/gone", "/drops"}, func(total uint64) uint64 { return total / 10 },
		slog.New(slog.NewTextHandler(&log, nil)))
	w.free = func(dir string) (uint64, uint64, error) {
		if dir == "/gone" {
			return 0, 0, errors.New("gone")
		}
		return free[dir], 1000 * mib, nil
	}
	expect := func(low string, line string) {
		t.Helper()
		log.Reset()
		w.look()
		if got, _ := w.state(); !strings.HasPrefix(got, low) || (low == "") != (got == "") {
			t.Fatalf("low: %q, want %q", got, low)
		}
		if got := log.String(); (line == "") != (got == "") || !strings.Contains(got, line) {
			t.Fatalf("logged %q, want %q", got, line)
		}
	}
	expect("", "")
	free["/drops"] = 150 * mib
	expect("", "filling up")
	expect("", "")
	_, changed := w.state()
	tight := func(want ...tightDisk) {
		t.Helper()
		got := w.disks()
		for i := range got {
			if got[i].since.IsZero() {
				t.Error("since when?")
			}
			got[i].since = time.Time{}
		}
		if !slices.Equal(got, want) {
			t.Errorf("tight: %+v, want %+v", got, want)
		}
	}
	tight(tightDisk{dir: "/drops", free: 150 * mib, need: 100 * mib})
	free["/drops"] = 99 * mib
	expect("/drops", "sources pause")
	select {
	case <-changed:
	default:
		t.Error("nobody was told")
	}
	expect("/drops", "")
	tight(tightDisk{dir: "/drops", free: 99 * mib, need: 100 * mib, low: true})
	free["/drops"] = 100 * mib
	expect("", "go on")
	free["/drops"] = 500 * mib
	expect("", "")
	tight()
}
