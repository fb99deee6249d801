package sftpdrop

import (
	"sync"
	"time"
)

const (
	maxGhosts = 2048 // of a home; at most twice as many are remembered
	ghostLife = 10 * time.Minute
)

// Ghosts are files that were uploaded into a home and may have been taken up
// since: clients look at them once more, some over another connection of theirs.
// One that was made later sees nothing of them: to it the name is free.
type ghosts struct {
	mu         sync.Mutex
	young, old map[string]ghost
}

// A ghost is a file as it was uploaded.
type ghost struct {
	entry
	at time.Time
}

func (g *ghosts) add(name string, e entry, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.young == nil || len(g.young) >= maxGhosts {
		g.young, g.old = map[string]ghost{}, g.young
	}
	delete(g.old, name)
	g.young[name] = ghost{e, now}
}

// get is what a session that began at since sees of a name.
func (g *ghosts) get(name string, since, now time.Time) (entry, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	is, ok := g.young[name]
	if !ok {
		is, ok = g.old[name]
	}
	return is.entry, ok && since.Before(is.at) && now.Sub(is.at) < ghostLife
}

// lay ends what is remembered of a name that a client uses anew.
func (g *ghosts) lay(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.young, name)
	delete(g.old, name)
}
