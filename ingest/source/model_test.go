package source_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"ingestd/ingest/source"
)

// Whatever happens in whatever order, what is ripe was seen at least twice in
// one state, for settle and without another state in between, and what stays
// unchanged long enough becomes ripe.
func TestSettleModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.IntRange(0, 9), 1, 60).Draw(rt, "steps")
		waits := rapid.SliceOfN(rapid.IntRange(1, 3000), 1, 20).Draw(rt, "waits")
		var fault string
		synctest.Test(t, func(t *testing.T) { fault = model(t, steps, waits) })
		if fault != "" {
			rt.Fatal(fault)
		}
	})
}

// A seen is what the model knows of one file's state.
type seen struct {
	entry source.Entry
	since time.Time
	looks int
}

func model(t *testing.T, steps, waits []int) (fault string) {
	f := newFake(t, source.Rules{Settle: settle})
	known := map[string]seen{}
	look := func(name string) {
		e, ok := f.files[name]
		s := known[name]
		switch {
		case !ok:
			delete(known, name)
		case s.looks > 0 && s.entry.Same(&e):
			s.looks++
			known[name] = s
		default:
			known[name] = seen{e, time.Now(), 1}
		}
	}
	check := func() {
		for _, name := range f.tracker.Due() {
			look(name)
			if e, ok := f.files[name]; ok {
				f.tracker.Look(e)
			} else {
				f.tracker.Gone(name)
			}
		}
		for _, e := range f.tracker.Ripe() {
			s := known[e.Name]
			if !s.entry.Same(&e) || s.looks < 2 || time.Since(s.since) < settle {
				fault = fmt.Sprintf("%q is ripe after %d looks and %v", e.Name, s.looks, time.Since(s.since))
			}
			if size := f.files[e.Name].Size; size%3 == 0 { // some are taken, some are left
				f.tracker.Gone(e.Name)
				delete(f.files, e.Name)
				delete(known, e.Name)
			}
		}
	}
	for i, step := range steps {
		name := fmt.Sprint(step % 3)
		switch step {
		case 0, 1, 2:
			f.put(name, int64(i))
		case 3:
			delete(f.files, name)
		case 4, 5:
			look(name)
			if e, ok := f.files[name]; ok {
				f.tracker.Look(e)
			} else {
				f.tracker.Gone(name)
			}
		case 6:
			for n := range 3 {
				look(fmt.Sprint(n))
			}
			f.scan()
		default:
			time.Sleep(time.Duration(waits[i%len(waits)]) * time.Millisecond)
		}
		check()
	}
	f.scan()
	time.Sleep(settle)
	if got := f.ripe(); len(got) != len(f.files) {
		return fmt.Sprintf("%d of %d files are ripe at the end", len(got), len(f.files))
	}
	return fault
}
