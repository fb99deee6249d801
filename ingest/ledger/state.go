package ledger

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"ingestd/ingest"
)

// An arrival is what memory holds of an arrival that was begun and has not
// ended, or of which dead letters are being replayed.
type arrival struct {
	id      int64
	counts  ingest.Counts // of settled claims
	open    int           // claims that are queued or not settled
	waiting int           // records of settled claims that wait for others
	number  int           // of the last batch
	first   bool          // no batch was settled since it was begun
	ended   bool          // reopened for a replay

	deaths map[ingest.Key]death // its dead keys, with why
	more   *keySet              // dead keys past maxDeaths: why, is on disk
}

// A death is why a record with a key died, for those that followed it.
type death struct {
	pos    ingest.Position
	stage  ingest.Stage
	sink   string
	reason string
}

// maxDeaths bounds the reasons that an arrival holds in memory.
const maxDeaths = 100_000

// died notes that a record with the key is dead. The first reason stays: later
// ones refer to it.
func (a *arrival) died(k ingest.Key, d death) {
	if k == (ingest.Key{}) || a.ended {
		return
	}
	if _, ok := a.deaths[k]; ok {
		return
	}
	switch {
	case len(a.deaths) >= maxDeaths:
		if a.more == nil {
			a.more = &keySet{}
		}
		a.more.put(&k, tagPending)
	case a.deaths == nil:
		a.deaths = map[ingest.Key]death{k: d}
	default:
		a.deaths[k] = d
	}
}

// A claim is what memory holds of a claim that is not settled.
type claim struct {
	id          int64
	arrival     int64
	scope       *scope
	first, last int64
	verdicts    ingest.Verdicts
	keys        []ingest.Key // nil: none, or parked
	parked      bool         // its keys are on disk alone
	seen        time.Time    // when its keys were
	sinks       []string
	uncut       []string // sinks of which no batches are queued or stored
	uncutRow    []string // the same as the claim's row has it; the writer's
	replay      bool
	letters     []int64
	counts      ingest.Counts // what is decided already: faults, duplicates, filtered
	had         map[string]int64
	batches     map[int64]*ingest.Batch // not settled
	dead        map[int64][]death       // by ordinal: one for each sink
	followers   []*follower             // rising
	leaders     []byte                  // of the followers whose bytes are not here since a restart
	unfed       int64                   // how many those are
	laned       bool                    // some of its sinks have lanes stored
}

func (c *claim) done() bool { return len(c.batches) == 0 && len(c.uncut) == 0 && c.unfed == 0 }

// died notes that a record is dead at a sink.
func (c *claim) died(record int64, d death) {
	if c.dead == nil {
		c.dead = map[int64][]death{}
	}
	c.dead[record] = append(c.dead[record], d)
}

func (c *claim) addHad(sink string, n int64) {
	if c.had == nil {
		c.had = map[string]int64{}
	}
	c.had[sink] += n
}

// each calls f for the ordinal and key (zero where there is none) of every new
// record. keys are the claim's, wherever they were.
func (c *claim) each(keys []ingest.Key, f func(record int64, k *ingest.Key)) {
	i := 0
	var none ingest.Key
	c.verdicts.All(func(at, n int64, v ingest.Verdict) bool {
		if v != ingest.New {
			return true
		}
		for r := c.first + at; r < c.first+at+n; r++ {
			k := &none
			if i < len(keys) {
				k = &keys[i]
			}
			f(r, k)
			i++
		}
		return true
	})
}

// verdict is that of one of its ordinals.
func (c *claim) verdict(record int64) (verdict ingest.Verdict) {
	c.verdicts.All(func(at, n int64, v ingest.Verdict) bool {
		if record >= c.first+at && record < c.first+at+n {
			verdict = v
			return false
		}
		return true
	})
	return verdict
}

// keysOf returns the keys of a claim's new records, from disk where they are
// there alone. Only the writer asks.
func (l *Ledger) keysOf(t *tx, c *claim) ([]ingest.Key, error) {
	if !c.parked {
		return c.keys, nil
	}
	var packed []byte
	if err := t.row("SELECT packed FROM keys WHERE claim = ?", []any{c.id}, &packed); err != nil {
		return nil, fmt.Errorf("read the keys of claim %d: %w", c.id, err)
	}
	return unpackKeys(packed), nil
}

// park leaves a claim's keys on disk: it waits for a sink that fell behind, and
// a large file has many such claims.
func (l *Ledger) park(c *claim) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(c.uncut) > 0 && len(c.keys) > 0 {
		c.keys, c.parked = nil, true
	}
}

// packLeaders lays out whom a claim's followers wait for.
func packLeaders(fs []*follower) []byte {
	var b []byte
	for _, f := range fs {
		b = binary.AppendUvarint(b, uint64(f.Leader))
	}
	return b
}

// leaderOf is whom a follower waits for that the claim has lost with a restart.
func (c *claim) leaderOf(record int64) (leader int64) {
	left := c.leaders
	c.verdicts.All(func(at, n int64, v ingest.Verdict) bool {
		if v != ingest.Follow {
			return true
		}
		for r := c.first + at; r < c.first+at+n && r <= record && len(left) > 0; r++ {
			id, k := binary.Uvarint(left)
			if k <= 0 {
				left = nil
				return false
			}
			if left = left[k:]; r == record {
				leader = int64(id)
				return false
			}
		}
		return c.first+at+n <= record
	})
	return leader
}

// names of sinks as their column has them.
func names(s []string) any {
	if len(s) == 0 {
		return nil
	}
	return packNames(s)
}

// without is list without one of its names.
func without(list []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == name })
}

// moved wakes those who wait for arrivals. l.mu is held.
func (l *Ledger) moved() {
	close(l.changed)
	l.changed = make(chan struct{})
}
