package source_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"ingestd/ingest/source"
)

func TestSidecar(t *testing.T) {
	rules := source.Rules{Settle: settle, Sidecar: "{name}.sha256", Match: []string{"*.csv"}}
	doubt := errors.New("another sum")
	bubble(t, "only with it, and settled", rules, func(f *fake) {
		f.put("a.csv", 1)
		f.scan()
		time.Sleep(time.Hour)
		f.want()
		if f.tracker.Pending() {
			t.Error("a sweep would wait for it")
		}
		f.put("a.csv.sha256", 64)
		f.tracker.Look(f.files["a.csv.sha256"])
		f.want("a.csv")
		f.put("a.csv", 2)
		f.scan()
		f.want()
		time.Sleep(settle)
		f.want("a.csv")
		delete(f.files, "a.csv.sha256")
		f.scan()
		f.want()
	})
	bubble(t, "unproven until one of them changes", rules, func(f *fake) {
		f.put("a.csv", 1)
		f.put("a.csv.sha256", 64)
		f.scan()
		time.Sleep(settle)
		f.want("a.csv")
		if f.tracker.Unproven("a.csv", doubt) {
			t.Error("given up at once")
		}
		f.scan()
		f.want()
		f.put("a.csv.sha256", 65)
		f.scan()
		f.want("a.csv")
		f.tracker.Unproven("a.csv", doubt)
		f.want()
		f.put("a.csv", 2)
		f.scan()
		time.Sleep(settle)
		f.want("a.csv")
		f.problem()
	})
	bubble(t, "told after a minute, given up after ten", rules, func(f *fake) {
		f.put("a.csv", 1)
		f.scan()
		time.Sleep(time.Hour)
		f.put("a.csv.sha256", 64)
		f.scan()
		start, tries := time.Now(), 1
		f.want("a.csv")
		for !f.tracker.Unproven("a.csv", doubt) {
			d, ok := f.tracker.Next()
			if !ok || tries > 5 {
				t.Fatalf("next look in %v, %v, after %d tries", d, ok, tries)
			}
			time.Sleep(d)
			f.want("a.csv")
			tries++
		}
		if d := time.Since(start); d != source.ProofFor {
			t.Errorf("given up after %v", d)
		}
		f.problem(source.Unproven)
	})
	bubble(t, "left at the end of a sweep", rules, func(f *fake) {
		f.put("a.csv", 1)
		f.put("a.csv.sha256", 64)
		f.scan()
		time.Sleep(settle)
		f.want("a.csv")
		f.tracker.Unproven("a.csv", doubt)
		if f.tracker.Pending() {
			t.Error("a sweep would wait for it")
		}
		f.tracker.Leave()
		f.problem(source.Unproven)
	})
	bubble(t, "none at the end of a sweep", source.Rules{Settle: settle, Sidecar: "{name}.md5", DoneFile: "{name}.done"}, func(f *fake) {
		f.put("a", 1)
		f.put("b", 1)
		f.put("b.done", 0)
		f.scan()
		time.Sleep(settle)
		f.want()
		if f.tracker.Pending() {
			t.Error("a sweep would wait for them")
		}
		f.tracker.Leave()
		if len(f.problems) != 1 || !strings.Contains(f.problems[0].Error(), `"a": waits for "a.done"`) || !strings.Contains(f.problems[0].Error(), "1 more") {
			t.Errorf("%v", f.problems)
		}
		f.problem(source.Unmarked)
	})
	bubble(t, "with a done_file", source.Rules{Settle: settle, Sidecar: "{name}.md5", DoneFile: "{name}.done"}, func(f *fake) {
		f.put("a", 1)
		f.put("a.md5", 1)
		f.scan()
		time.Sleep(settle)
		f.want()
		f.put("a.done", 0)
		f.scan()
		f.want("a")
	})
}
