package sftpdrop

import (
	"strconv"
	"testing"
	"time"
)

// What is remembered of uploads is bounded, and ends.
func TestGhosts(t *testing.T) {
	t.Parallel()
	var g ghosts
	now := time.Now()
	before, after := now.Add(-time.Second), now.Add(time.Second)
	if _, ok := g.get("a", before, now); ok {
		t.Error("a name that nobody uploaded")
	}
	for i := range 3*maxGhosts + 10 {
		g.add(strconv.Itoa(i), entry{size: int64(i)}, now)
	}
	if n := len(g.young) + len(g.old); n > 2*maxGhosts {
		t.Errorf("%d are remembered", n)
	}
	last := 3*maxGhosts + 9
	for _, i := range []int{last, last - maxGhosts} {
		if e, ok := g.get(strconv.Itoa(i), before, now); !ok || e.size != int64(i) {
			t.Errorf("upload %d is forgotten", i)
		}
	}
	name := strconv.Itoa(last)
	if _, ok := g.get(name, after, after); ok {
		t.Error("a session that began later sees it")
	}
	if _, ok := g.get(name, before, now.Add(ghostLife)); ok {
		t.Error("it is seen for ever")
	}
	g.lay(name)
	if _, ok := g.get(name, before, now); ok {
		t.Error("it is seen though its name was used anew")
	}
}
