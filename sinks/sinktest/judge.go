package sinktest

import (
	"fmt"
	"os"
	"slices"
)

// maxNamed bounds how many offenders of a kind a Verdict names.
const maxNamed = 20

// Offenders are how many there are, and the first of them by name.
type Offenders struct {
	N     int      `json:"n"`
	Named []string `json:"named,omitempty"`
}

func (o *Offenders) add(name string) {
	o.N++
	if len(o.Named) < maxNamed {
		o.Named = append(o.Named, name)
	}
}

// A Verdict is what a target's book says about its sender.
type Verdict struct {
	Requests   int       `json:"requests"` // accepted, each key once
	IDs        int       `json:"ids"`      // accepted, each once
	Missing    Offenders `json:"missing"`  // expected, never accepted
	Unexpected Offenders `json:"unexpected"`
	TwoKeys    Offenders `json:"two_keys"`   // ids accepted under two keys
	Doubled    Offenders `json:"doubled"`    // ids twice in one body
	TwoBodies  Offenders `json:"two_bodies"` // keys that came with two bodies
	NoKey      int       `json:"no_key"`     // requests without Idempotency-Key
}

// OK reports whether nothing is wrong.
func (v Verdict) OK() bool {
	return v.Missing.N+v.Unexpected.N+v.TwoKeys.N+v.Doubled.N+v.TwoBodies.N+v.NoKey == 0
}

func (v Verdict) String() string {
	return fmt.Sprintf("%d requests, %d ids: %d missing %v, %d unexpected %v, %d under two keys %v, %d twice in a body %v, %d keys with two bodies %v, %d without key",
		v.Requests, v.IDs, v.Missing.N, v.Missing.Named, v.Unexpected.N, v.Unexpected.Named, v.TwoKeys.N, v.TwoKeys.Named,
		v.Doubled.N, v.Doubled.Named, v.TwoBodies.N, v.TwoBodies.Named, v.NoKey)
}

// Judge compares what was accepted with the ids expected; nil expects nothing in
// particular.
func (t *Target) Judge(expect []string) Verdict { return t.book.judge(expect) }

// JudgeJournal judges by a journal, while its target runs or after it was
// killed.
func JudgeJournal(path string, expect []string) (Verdict, error) {
	f, err := os.Open(path)
	if err != nil {
		return Verdict{}, err
	}
	defer f.Close()
	b := &book{keys: make(map[string]*entry)}
	if _, err := b.load(f); err != nil {
		return Verdict{}, fmt.Errorf("journal %s: %w", path, err)
	}
	return b.judge(expect), nil
}

// JournalIDs returns the ids that a journal says were accepted, in the order of
// their requests.
func JournalIDs(path string) (ids []string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := &book{keys: make(map[string]*entry)}
	if _, err := b.load(f); err != nil {
		return nil, fmt.Errorf("journal %s: %w", path, err)
	}
	for _, k := range b.order {
		ids = append(ids, splitIDs(b.keys[k].ids)...)
	}
	return ids, nil
}

func (b *book) judge(expect []string) Verdict {
	b.mu.Lock()
	defer b.mu.Unlock()
	v := Verdict{Requests: len(b.order), NoKey: b.noKey}
	if e := b.keys[""]; e != nil {
		v.NoKey = max(v.NoKey, 1) // a journal does not count them
	}
	under := make(map[string]int32) // id → number of its request
	for i, k := range b.order {
		for _, id := range splitIDs(b.keys[k].ids) {
			first, seen := under[id]
			switch {
			case !seen:
				under[id] = int32(i)
			case first == int32(i):
				v.Doubled.add(id)
			default:
				v.TwoKeys.add(id)
			}
		}
	}
	v.IDs = len(under)
	conflicts := slices.Clone(b.conflicts)
	slices.Sort(conflicts)
	for _, k := range slices.Compact(conflicts) {
		v.TwoBodies.add(k)
	}
	if expect == nil {
		return v
	}
	wanted := make(map[string]bool, len(expect))
	for _, id := range expect {
		wanted[id] = true
		if _, ok := under[id]; !ok {
			v.Missing.add(id)
		}
	}
	for _, k := range b.order {
		for _, id := range splitIDs(b.keys[k].ids) {
			if !wanted[id] {
				v.Unexpected.add(id)
			}
		}
	}
	return v
}
