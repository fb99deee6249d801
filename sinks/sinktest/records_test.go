package sinktest

import (
	"path/filepath"
	"testing"
)

// A target that answers record by record knows which ids it took, and answers a
// key as it did before.
func TestRecords(t *testing.T) {
	journal := filepath.Join(t.TempDir(), "journal")
	target := start(t, Options{Journal: journal, Script: Script{Records: &Records{
		By: map[string][]int{"b": {503, 422}, "d": {409}}, Silent: []string{"c"},
	}}})
	u := target.URL()
	same := func(key, body, text string) {
		t.Helper()
		if status, got, err := post(t, u, key, body); status != 207 || got != text || err != nil {
			t.Fatalf("%s: %d %s, %v; want %s", key, status, got, err, text)
		}
	}
	const body = `[{"id":"a"},{"id":"b"},{"id":"c"},{"id":"d"}]`
	const first = `{"results":[{"index":0,"id":"a","status":200},{"index":1,"id":"b","status":503,"message":"id b: 503"},{"index":3,"id":"d","status":409,"message":"id d: 409"}]}`
	same("k1", body, first)
	same("k1", body, first)
	same("k2", `[{"id":"b"}]`, `{"results":[{"index":0,"id":"b","status":422,"message":"id b: 422"}]}`)
	if err := target.Set(Script{Records: &Records{Reverse: true, Answer: 200}}); err != nil {
		t.Fatal(err)
	}
	want(t, u, "k3", `[{"id":"b"},{"id":"c"}]`, 200)
	for range 2 { // from memory, and from the journal of one that was killed
		v := target.Judge([]string{"a", "b", "c", "d"})
		if v.IDs != 3 || v.Missing.N != 1 || v.Missing.Named[0] != "d" || v.TwoKeys.N != 0 || v.TwoBodies.N != 0 {
			t.Errorf("%s", v)
		}
		target = start(t, Options{Journal: journal, Script: Script{Records: &Records{}}})
		u = target.URL()
		same("k1", body, `{"results":[{"index":0,"id":"a","status":200},{"index":1,"id":"b","status":503},{"index":2,"id":"c","status":503},{"index":3,"id":"d","status":503}]}`)
	}
	// What was taken under one key is taken under another: that is a fault of the sender.
	want(t, u, "k9", `[{"id":"a"}]`, 207)
	if v := target.Judge(nil); v.TwoKeys.N != 1 {
		t.Errorf("%s", v)
	}
	for _, bad := range []Records{{Answer: 503}, {Weather: []RecordChance{{P: 2, Status: 503}}}, {Weather: []RecordChance{{P: -1}}}} {
		if err := target.Set(Script{Records: &bad}); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

// Weather is the same for the same seed, id and time.
func TestRecordsWeather(t *testing.T) {
	r := &Records{Weather: []RecordChance{{P: 0.3, Status: 503}, {P: 0.1, Status: 422}}}
	n := map[int]int{}
	for i := range 1000 {
		st := r.status(7, string(rune('a'+i%26))+string(rune('a'+i/26)), i)
		if again := r.status(7, string(rune('a'+i%26))+string(rune('a'+i/26)), i); again != st {
			t.Fatalf("%d, then %d", st, again)
		}
		n[st]++
	}
	if n[503] < 200 || n[503] > 400 || n[422] < 50 || n[422] > 150 {
		t.Errorf("%v", n)
	}
}
