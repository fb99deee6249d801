package dir

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/fsnotify/fsnotify"
)

// Hints are bounded; past the bound, at an overflow of the kernel's queue and
// at any other error of the notifications, the whole folder is to be listed.
func TestHints(t *testing.T) {
	root := t.TempDir()
	w, err := newWatch(root)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	for i := range maxHints {
		w.hint(fmt.Sprint(i), false)
	}
	if names, all, _ := w.take(); len(names) != maxHints || all {
		t.Errorf("%d names, all %v", len(names), all)
	}
	if w.hinted() {
		t.Error("taken hints are there")
	}
	for i := range maxHints + 1 {
		w.hint(fmt.Sprint(i), false)
	}
	if names, all, _ := w.take(); len(names) != 0 || !all {
		t.Errorf("past the bound: %d names, all %v", len(names), all)
	}
	<-w.wake
	w.fs.Errors <- fsnotify.ErrEventOverflow
	<-w.wake
	if _, all, _ := w.take(); !all {
		t.Error("after an overflow the folder is not listed")
	}
	if w.fs.Events <- (fsnotify.Event{Name: root, Op: fsnotify.Remove}); true {
		<-w.wake
	}
	if _, all, _ := w.take(); !all {
		t.Error("after the folder went it is not looked for")
	}
	w.fs.Events <- fsnotify.Event{Name: filepath.Join(root, "a", "b.csv"), Op: fsnotify.Create}
	<-w.wake
	if names, all, _ := w.take(); all || len(names) != 1 {
		t.Errorf("one event: %v, all %v", names, all)
	} else if _, ok := names["a/b.csv"]; !ok {
		t.Errorf("one event: %v", names)
	}
	if w.add(filepath.Join(root, "none")); w.lost == nil {
		t.Error("a directory that cannot be watched is not noticed")
	}
}

func TestTokens(t *testing.T) {
	a, b := newToken("orders"), newToken("orders")
	if a == b || !isToken(a) || a[:8] != b[:8] || newToken("invoices")[:8] == a[:8] {
		t.Errorf("%s %s", a, b)
	}
	for _, s := range []string{"", a[1:], a + "0", "ABCDEF0123456789", "../../../../../..", "0123456789abcde/"} {
		if isToken(s) {
			t.Errorf("%q is a token", s)
		}
	}
}
