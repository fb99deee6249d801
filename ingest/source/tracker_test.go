package source_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"ingestd/ingest/source"
)

const settle = 2 * time.Second

// A fake is a folder in memory, its tracker, and what that told.
type fake struct {
	t        *testing.T
	files    map[string]source.Entry
	err      error // of the next listing, after half of it
	tracker  *source.Tracker
	problems []*source.Problem
}

func newFake(t *testing.T, r source.Rules) *fake {
	t.Helper()
	f := &fake{t: t, files: map[string]source.Entry{}}
	var err error
	f.tracker, err = source.NewTracker(r, func(p *source.Problem) { f.problems = append(f.problems, p) })
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fake) List(_ context.Context, yield func(source.Entry) error) error {
	n := 0
	for _, e := range f.files {
		if n++; f.err != nil && n > len(f.files)/2 {
			return f.err
		}
		if err := yield(e); err != nil {
			return err
		}
	}
	return nil
}

// put makes or changes a file.
func (f *fake) put(name string, size int64) {
	e := f.files[name]
	if e.Inode == 0 {
		e = source.Entry{Name: name, Inode: uint64(len(f.files) + 1), Device: 1, Links: 1}
	}
	e.Size, e.ModTime = size, time.Now()
	f.files[name] = e
}

func (f *fake) change(name string, change func(*source.Entry)) {
	e := f.files[name]
	change(&e)
	f.files[name] = e
}

func (f *fake) scan() {
	f.t.Helper()
	if err := f.tracker.Scan(context.Background(), f); err != nil {
		f.t.Fatal(err)
	}
}

// look answers what is due.
func (f *fake) look() {
	for _, name := range f.tracker.Due() {
		if e, ok := f.files[name]; ok {
			f.tracker.Look(e)
		} else {
			f.tracker.Gone(name)
		}
	}
}

// ripe is the names that may be taken now.
func (f *fake) ripe() []string {
	f.look()
	var names []string
	for _, e := range f.tracker.Ripe() {
		names = append(names, e.Name)
	}
	return names
}

func (f *fake) want(names ...string) {
	f.t.Helper()
	if got := f.ripe(); !slices.Equal(got, names) {
		f.t.Errorf("ripe %q, want %q", got, names)
	}
}

func (f *fake) problem(kinds ...source.Kind) {
	f.t.Helper()
	var got []source.Kind
	for _, p := range f.problems {
		got = append(got, p.Kind)
	}
	if !slices.Equal(got, kinds) {
		f.t.Errorf("problems %v, want %v", f.problems, kinds)
	}
	f.problems = nil
}

func bubble(t *testing.T, name string, r source.Rules, test func(*fake)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(newFake(t, r)) })
	})
}

func TestSettle(t *testing.T) {
	rules := source.Rules{Settle: settle}
	bubble(t, "exactly settle after the last change", rules, func(f *fake) {
		f.put("a", 1)
		f.scan()
		f.want()
		if d, ok := f.tracker.Next(); d != settle || !ok {
			t.Errorf("next look in %v, %v", d, ok)
		}
		time.Sleep(settle - time.Nanosecond)
		f.want()
		time.Sleep(time.Nanosecond)
		f.want("a")
		f.want("a") // until its owner says what became of it
		f.tracker.Gone("a")
		f.want()
		if _, ok := f.tracker.Next(); ok {
			t.Error("something waits")
		}
	})
	bubble(t, "a growing file never is", rules, func(f *fake) {
		for i := range int64(100) {
			f.put("a", i)
			f.scan()
			f.want()
			time.Sleep(settle - time.Millisecond)
		}
		f.scan()
		f.want()
		time.Sleep(settle)
		f.want("a")
	})
	bubble(t, "found changed only when it is due", rules, func(f *fake) {
		f.put("a", 1)
		f.scan()
		time.Sleep(settle / 2)
		f.put("a", 2)
		time.Sleep(settle / 2)
		f.want()
		time.Sleep(settle - time.Nanosecond)
		f.want()
		time.Sleep(time.Nanosecond)
		f.want("a")
	})
	bubble(t, "same size, same time, another inode", rules, func(f *fake) {
		f.put("a", 1)
		f.scan()
		time.Sleep(settle)
		f.change("a", func(e *source.Entry) { e.Inode = 99 })
		f.want()
		time.Sleep(settle)
		f.want("a")
	})
	bubble(t, "an old mtime proves nothing", rules, func(f *fake) {
		f.put("a", 1)
		f.change("a", func(e *source.Entry) { e.ModTime = time.Unix(0, 0) })
		f.scan()
		f.scan()
		f.want()
		time.Sleep(settle)
		f.want("a")
	})
	bubble(t, "a future mtime is no hindrance", rules, func(f *fake) {
		f.put("a", 1)
		f.change("a", func(e *source.Entry) { e.ModTime = time.Now().AddDate(50, 0, 0) })
		f.scan()
		time.Sleep(settle)
		f.want("a")
	})
	bubble(t, "changed while ripe", rules, func(f *fake) {
		f.put("a", 1)
		f.scan()
		time.Sleep(settle)
		f.want("a")
		f.put("a", 2)
		f.tracker.Look(f.files["a"])
		f.want()
		time.Sleep(settle)
		f.want("a")
	})
	bubble(t, "deleted and uploaded again", rules, func(f *fake) {
		f.put("a", 1)
		f.scan()
		time.Sleep(settle / 2)
		e := f.files["a"]
		delete(f.files, "a")
		f.tracker.Gone("a")
		f.files["a"] = e // the very same state, but not all the time
		f.tracker.Look(e)
		time.Sleep(settle / 2)
		f.want()
		time.Sleep(settle / 2)
		f.want("a")
	})
	bubble(t, "zero takes at once", source.Rules{}, func(f *fake) {
		f.put("a", 1)
		f.tracker.Look(f.files["a"])
		f.want("a")
	})
	bubble(t, "by listing alone, two looks", rules, func(f *fake) {
		f.put("a", 1)
		f.scan()
		time.Sleep(10 * settle)
		f.scan()
		if es := f.tracker.Ripe(); len(es) != 1 {
			t.Errorf("ripe: %v", es)
		}
	})
	bubble(t, "no regular file", source.Rules{}, func(f *fake) {
		f.put("a", 1)
		f.change("a", func(e *source.Entry) { e.Mode = fs.ModeSymlink })
		f.scan()
		f.want()
	})
}

func TestDoneFile(t *testing.T) {
	rules := source.Rules{Settle: settle, DoneFile: "{name}.done"}
	bubble(t, "only with it, then at once", rules, func(f *fake) {
		f.put("a", 1)
		f.scan()
		time.Sleep(time.Hour)
		f.scan()
		f.want()
		if _, ok := f.tracker.Next(); ok || f.tracker.Pending() {
			t.Error("it waits for time")
		}
		f.put("a.done", 0)
		f.tracker.Look(f.files["a.done"])
		f.want("a")
	})
	bubble(t, "in any order", rules, func(f *fake) {
		f.put("a.done", 0)
		f.tracker.Look(f.files["a.done"])
		f.want()
		f.put("a", 1)
		f.tracker.Look(f.files["a"])
		f.want("a")
		f.tracker.Gone("a.done")
		f.want()
		f.scan()
		f.want("a")
		delete(f.files, "a.done")
		f.scan()
		f.want()
	})
	bubble(t, "it never is data itself", rules, func(f *fake) {
		f.put("a.done", 0)
		f.put("a.done.done", 0)
		f.scan()
		time.Sleep(settle)
		f.want()
	})
}

func TestHardLinks(t *testing.T) {
	rules := source.Rules{Settle: settle}
	link := func(f *fake, n uint64) { f.change("a", func(e *source.Entry) { e.Links = n }) }
	bubble(t, "for a moment", rules, func(f *fake) {
		f.put("a", 1)
		link(f, 2)
		f.scan()
		time.Sleep(settle)
		f.want()
		link(f, 1)
		time.Sleep(settle)
		f.want("a")
		f.problem()
	})
	bubble(t, "a moment costs a moment", source.Rules{}, func(f *fake) {
		f.put("a", 1)
		link(f, 2)
		f.scan()
		f.want()
		link(f, 1)
		if d, _ := f.tracker.Next(); d > 20*time.Millisecond {
			t.Errorf("next look in %v", d)
		}
		time.Sleep(20 * time.Millisecond)
		f.want("a")
	})
	bubble(t, "for minutes", rules, func(f *fake) {
		f.put("a", 1)
		link(f, 2)
		f.scan()
		looks := 0
		for start := time.Now(); time.Since(start) < source.LinkedFor+time.Minute; looks++ {
			d, ok := f.tracker.Next()
			if !ok {
				t.Fatal("it is not looked at again")
			}
			time.Sleep(d)
			f.want()
		}
		f.problem(source.Linked)
		if looks > 400 {
			t.Errorf("%d looks", looks)
		}
		if f.tracker.Pending() {
			t.Error("a sweep would wait for it")
		}
		link(f, 1)
		time.Sleep(time.Minute)
		f.want("a")
	})
}

func TestRefused(t *testing.T) {
	rules := source.Rules{Settle: settle}
	bubble(t, "told once, tried with growing pauses", rules, func(f *fake) {
		f.put("a", 1)
		f.put("b", 1)
		f.scan()
		time.Sleep(settle)
		f.want("a", "b")
		f.tracker.Gone("b")
		delete(f.files, "b")
		last := time.Duration(0)
		for range 20 {
			f.tracker.Refuse("a", source.Unreadable, fs.ErrPermission)
			f.want()
			d, ok := f.tracker.Next()
			if !ok || d < last || d > 10*time.Minute {
				t.Fatalf("next try in %v after %v", d, last)
			}
			f.scan() // a listing does not bring it forward
			f.want()
			last = d
			time.Sleep(d)
			f.want("a")
		}
		f.problem(source.Unreadable)
		if f.tracker.Refuse("a", source.Unreadable, fs.ErrPermission); f.tracker.Pending() {
			t.Error("a sweep would wait for it")
		}
		f.change("a", func(e *source.Entry) { e.Mode = 0o644 }) // chmod
		f.tracker.Look(f.files["a"])
		f.want("a")
		f.tracker.Refuse("a", source.Unreadable, fs.ErrPermission)
		f.put("a", 2) // another version has its own say
		f.tracker.Look(f.files["a"])
		time.Sleep(settle)
		f.want("a")
		f.tracker.Refuse("a", source.Unreadable, fs.ErrPermission)
		f.problem(source.Unreadable)
	})
	bubble(t, "too large", source.Rules{Settle: settle, MaxSize: 10}, func(f *fake) {
		f.put("at", 10)
		f.put("over", 11)
		f.scan()
		time.Sleep(settle)
		f.want("at")
		for range 5 {
			f.scan()
		}
		f.problem(source.TooLarge)
		f.put("over", 9)
		f.scan()
		time.Sleep(settle)
		f.want("at", "over")
	})
	bubble(t, "still open", rules, func(f *fake) {
		f.put("a", 1)
		f.scan()
		time.Sleep(settle)
		f.want("a")
		start := time.Now()
		for !f.tracker.Busy("a") {
			f.want()
			d, ok := f.tracker.Next()
			if !ok || d > time.Second {
				t.Fatalf("next try in %v", d)
			}
			time.Sleep(d)
			f.want("a")
		}
		if d := time.Since(start); d < time.Minute || d > time.Minute+2*time.Second {
			t.Errorf("taken anyway after %v", d)
		}
		f.problem(source.StillOpen)
	})
	bubble(t, "changes with every try, settle zero", source.Rules{}, func(f *fake) {
		f.put("a", 0)
		f.scan()
		for i := range int64(20) {
			f.want("a")
			f.put("a", i)
			f.tracker.Again(f.files["a"])
			f.want()
			d, ok := f.tracker.Next()
			if !ok || d < 10*time.Millisecond || d > time.Second {
				t.Fatalf("next try in %v", d)
			}
			time.Sleep(d)
		}
	})
	bubble(t, "left at the end of a sweep", rules, func(f *fake) {
		f.put("a", 1)
		f.put("l", 1)
		f.change("l", func(e *source.Entry) { e.Links = 2 })
		f.scan()
		f.want()
		if !f.tracker.Pending() {
			t.Error("nothing to wait for")
		}
		f.tracker.Leave()
		slices.SortFunc(f.problems, func(a, b *source.Problem) int { return int(a.Kind) - int(b.Kind) })
		f.problem(source.Linked, source.Unsettled)
	})
}

func TestOrder(t *testing.T) {
	at := func(f *fake, name string, sec int64) {
		f.put(name, 1)
		f.change(name, func(e *source.Entry) { e.ModTime = time.Unix(sec, 0) })
	}
	for order, want := range map[string][]string{
		"":               {"d", "c", "a", "b", "\xff"},
		source.ByModTime: {"d", "c", "a", "b", "\xff"},
		source.ByName:    {"a", "b", "c", "d", "\xff"},
	} {
		bubble(t, order, source.Rules{Order: order}, func(f *fake) {
			at(f, "b", 5)
			at(f, "a", 5)
			at(f, "c", 4)
			at(f, "d", -1)
			at(f, "\xff", 1<<40)
			f.scan()
			f.want(want...)
		})
	}
}

func TestKept(t *testing.T) {
	bubble(t, "until it changes", source.Rules{Settle: settle}, func(f *fake) {
		f.put("a", 1)
		f.scan()
		time.Sleep(settle)
		f.want("a")
		f.tracker.Taken(f.files["a"])
		for range 3 {
			f.scan()
			time.Sleep(settle)
			f.want()
		}
		f.put("a", 2)
		f.scan()
		time.Sleep(settle)
		f.want("a")
		f.tracker.Taken(f.files["a"])
		f.scan()
		old := f.files["a"]
		delete(f.files, "a")
		f.scan() // forgotten here
		f.files["a"] = old
		f.scan()
		time.Sleep(settle)
		f.want("a")
	})
}

func TestBrokenListing(t *testing.T) {
	bubble(t, "forgets nothing", source.Rules{Settle: settle}, func(f *fake) {
		for i := range 10 {
			f.put(fmt.Sprint(i), 1)
		}
		f.scan()
		time.Sleep(settle)
		f.err = errors.New("connection lost")
		if err := f.tracker.Scan(context.Background(), f); !errors.Is(err, f.err) {
			t.Errorf("got %v", err)
		}
		if got := f.ripe(); len(got) != 10 {
			t.Errorf("ripe: %q", got)
		}
	})
}

// Of more names than the limit the first in order are followed, and the rest
// comes once those are gone; it is told once.
func TestLimit(t *testing.T) {
	const limit, n = 100, 1000
	for _, order := range []string{source.ByName, source.ByModTime} {
		bubble(t, order, source.Rules{Limit: limit, Order: order}, func(f *fake) {
			for i := range n {
				name := fmt.Sprintf("%04d", i)
				f.put(name, 1)
				f.change(name, func(e *source.Entry) { e.ModTime = time.Unix(int64(i), 0) })
			}
			var all []string
			for range n / limit {
				f.scan()
				f.scan()
				got := f.ripe()
				if len(got) != limit {
					t.Fatalf("%d ripe", len(got))
				}
				if len(all)+len(got) < n != f.tracker.More() {
					t.Errorf("more: %v after %d", f.tracker.More(), len(all)+len(got))
				}
				for _, name := range got {
					f.tracker.Gone(name)
					delete(f.files, name)
				}
				all = append(all, got...)
			}
			if len(all) != n || !slices.IsSorted(all) {
				t.Errorf("%d taken, in order: %v", len(all), slices.IsSorted(all))
			}
			f.problem(source.TooMany)
		})
	}
}

func BenchmarkScan(b *testing.B) {
	f := &fake{files: map[string]source.Entry{}}
	f.tracker, _ = source.NewTracker(source.Rules{Settle: settle}, func(*source.Problem) {})
	for i := range 100_000 {
		f.put(fmt.Sprintf("orders-%06d.csv", i), 1)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := f.tracker.Scan(b.Context(), f); err != nil {
			b.Fatal(err)
		}
	}
}
