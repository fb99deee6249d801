package sftpdrop

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestGuard(t *testing.T) {
	now := time.Unix(0, 0)
	g := newGuard(func() time.Time { return now })
	last := time.Duration(0)
	for i := range barredAt {
		if g.barred("10.0.0.1") {
			t.Fatalf("barred after %d", i)
		}
		d := g.failed("10.0.0.1")
		if d < last || d < firstDelay || d > lastDelay || last != 0 && last < lastDelay && d == last {
			t.Fatalf("failure %d waits %v after %v", i, d, last)
		}
		last = d
	}
	if last != lastDelay || !g.barred("10.0.0.1") || g.barred("10.0.0.2") {
		t.Errorf("after %d: %v, %v", barredAt, last, g.barred("10.0.0.1"))
	}
	now = now.Add(leakEvery)
	if g.barred("10.0.0.1") {
		t.Error("barred for ever")
	}
	now = now.Add(barredAt * leakEvery)
	if d := g.failed("10.0.0.1"); d != firstDelay {
		t.Errorf("forgotten, it waits %v", d)
	}
	if g.failed("2001:db8::1"); g.failed("2001:db8::2") == firstDelay {
		t.Error("addresses of one customer count apart")
	}
	for i := range maxTrouble + 20 {
		g.failed(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255))
	}
	if n := len(g.trouble); n > maxTrouble {
		t.Errorf("%d addresses remembered", n)
	}
	said, skipped := 0, 0
	for range 100 {
		if ok, n := g.say(); ok {
			said++
			skipped += n
		}
	}
	now = now.Add(time.Minute)
	if ok, n := g.say(); !ok || said != linesPerMinute || n != 100-linesPerMinute {
		t.Errorf("%d lines, then %v with %d", said, ok, n)
	}
}

// TestRanges writes pieces in any order, overlapping, and compares with a map
// of bytes.
func TestRanges(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		var r ranges
		var have [64]bool
		for range rnd.IntN(30) {
			from := rnd.IntN(60)
			to := from + rnd.IntN(10)%(64-from)
			if err := r.add(int64(from), int64(to)); err != nil {
				t.Fatal(err)
			}
			for i := from; i < to; i++ {
				have[i] = true
			}
			front, all, last := 0, 0, 0
			for front < len(have) && have[front] {
				front++
			}
			for i, h := range have {
				if h {
					all, last = all+1, i+1
				}
			}
			if r.front != int64(front) || last > 0 && r.end() < int64(last) || all > front && r.whole() {
				t.Fatalf("%+v: front %d, last %d of %v", r, front, last, have)
			}
			for i, p := range r.pieces {
				if p.from > p.to || p.from <= r.front && p.to > p.from || i > 0 && p.from <= r.pieces[i-1].to {
					t.Fatalf("pieces %+v behind %d", r.pieces, r.front)
				}
			}
		}
	}
	var r ranges
	for i := range int64(maxPieces) {
		if err := r.add(10+i*10, 11+i*10); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.add(5, 6); err == nil {
		t.Error("one piece more than allowed was taken")
	}
	if err := r.add(11, 20); err != nil {
		t.Errorf("a piece that joins two: %v", err)
	}
}

func FuzzJudge(f *testing.F) {
	for _, s := range []string{
		"", "/", "a", "/a/b", "../..", "a/../../b", "./.ingestd", ".INGESTD", "a/.ingestd2/x", "a\x00b", "a\nb", "\xff\xfe", "..\\..", "a//b/", "...", "%2e%2e/x", "\u202e",
		strings.Repeat("a/", 40), strings.Repeat("x", 300),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, p string) {
		name, err := judge(p)
		if err != nil {
			if answer(err) == nil {
				t.Error("a refusal that is no answer")
			}
			return
		}
		switch {
		case name == "." && strings.Trim(p, "/.") != "" && !strings.Contains(p, ".."):
			t.Errorf("%q is the home", p)
		case !filepath.IsLocal(name):
			t.Errorf("%q leads out: %q", p, name)
		case strings.ContainsAny(name, "\x00\n\r\x1b"):
			t.Errorf("%q holds control characters", name)
		case strings.Contains(strings.ToLower(name), "/.ingestd") || strings.HasPrefix(strings.ToLower(name), ".ingestd"):
			t.Errorf("%q is ours", name)
		case len(name) > maxPath || strings.Count(name, "/") >= maxDepth:
			t.Errorf("%q is too long", name)
		}
		if again, err := judge(name); err != nil || again != name {
			t.Errorf("%q is judged as %q, then %q, %v", p, name, again, err)
		}
	})
}
