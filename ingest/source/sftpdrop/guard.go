package sftpdrop

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

// A guard counts failed logins by address and says how long the answer to the
// next one waits. A count leaks away with time.
type guard struct {
	now   func() time.Time
	pause func(context.Context, time.Duration) error
	turns chan struct{}

	mu      sync.Mutex
	trouble map[netip.Prefix]trouble
	lines   tally
}

type trouble struct {
	level float64 // failures, leaking
	at    time.Time
}

const (
	firstDelay = 250 * time.Millisecond
	lastDelay  = 8 * time.Second
	leakEvery  = 10 * time.Second // one failure is forgotten
	barredAt   = 40               // failures, from which on an address is turned away
	maxTrouble = 4096             // addresses remembered
)

func newGuard(now func() time.Time) *guard {
	return &guard{now: now, pause: sleep, turns: make(chan struct{}, maxCompares), trouble: map[netip.Prefix]trouble{}}
}

// network is what an address is counted under: of IPv6 all that one customer
// has.
func network(host string) netip.Prefix {
	a, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Prefix{}
	}
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

// failed counts a failure and returns how long its answer has to wait.
func (g *guard) failed(host string) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := network(host)
	t := g.levelOf(p) + 1
	if _, known := g.trouble[p]; !known && len(g.trouble) >= maxTrouble {
		g.makeRoom()
	}
	g.trouble[p] = trouble{t, g.now()}
	d := firstDelay
	for n := 1; n < int(t) && d < lastDelay; n++ {
		d *= 2
	}
	return min(d, lastDelay)
}

// barred reports whether an address failed so often that it is turned away.
func (g *guard) barred(host string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.levelOf(network(host)) >= barredAt
}

func (g *guard) levelOf(p netip.Prefix) float64 {
	t := g.trouble[p]
	return max(0, t.level-g.now().Sub(t.at).Seconds()/leakEvery.Seconds())
}

// makeRoom forgets the addresses that failed least.
func (g *guard) makeRoom() {
	var least netip.Prefix
	low := -1.0
	for p := range g.trouble {
		l := g.levelOf(p)
		if l == 0 {
			delete(g.trouble, p)
		}
		if low < 0 || l < low {
			least, low = p, l
		}
	}
	delete(g.trouble, least)
}

// say reports whether a refusal is to be logged, and how many were not since
// the last one that was: a flood of logins is no flood of lines.
func (g *guard) say() (ok bool, skipped int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lines.say(g.now())
}

// A tally lets so many lines a minute through.
type tally struct {
	from    time.Time
	said    int
	skipped int
}

const linesPerMinute = 10

func (t *tally) say(now time.Time) (bool, int) {
	if now.Sub(t.from) >= time.Minute {
		t.from, t.said = now, 0
	}
	if t.said >= linesPerMinute {
		t.skipped++
		return false, 0
	}
	t.said++
	n := t.skipped
	t.skipped = 0
	return true, n
}
