package ledger

import (
	"slices"
	"time"

	"ingestd/ingest"
)

// A scope is one key memory: a pipeline's own, or one that pipelines share.
// The ledger's mutex guards it.
type scope struct {
	id   int64
	name string
	keep time.Duration // 0 = for ever
	keys keySet

	// leads says who leads the pending keys of each slot, and how many there
	// are. Slot 0 is shared by those that found no slot free: crowd has their
	// keys' leaders.
	leads [leaderSlots]lead
	crowd map[ingest.Key]int64

	// followers are the records of open claims that wait for a pending key,
	// waits the keys for which rows of waiting do.
	followers map[ingest.Key][]*follower
	waits     map[ingest.Key]struct{}

	// partial are keys that some sinks have and others refused: which, is in
	// lists, where the same sinks stand once.
	partial map[ingest.Key]int32
	lists   [][]string

	// renewed are keys seen again in a later era, for the next commit.
	renewed []ingest.Key
	// swept is the oldest era that may still have keys, unswept the time before
	// which rows are to be deleted.
	swept   int64
	unswept time.Time
	// late: rows had expired at the start that a follower of an open claim may
	// have waited for before.
	late bool
}

// A lead is an arrival and the number of pending keys that it leads.
type lead struct {
	arrival int64
	keys    int
}

func newScope(id int64, name string, keep time.Duration) *scope {
	return &scope{
		id: id, name: name, keep: keep,
		crowd: map[ingest.Key]int64{}, followers: map[ingest.Key][]*follower{},
		waits: map[ingest.Key]struct{}{}, partial: map[ingest.Key]int32{},
	}
}

// slot is where the arrival's pending keys are counted.
func (s *scope) slot(arrival int64) int {
	free := 0
	for i := 1; i < leaderSlots; i++ {
		if s.leads[i].arrival == arrival {
			return i
		}
		if free == 0 && s.leads[i].keys == 0 {
			free = i
		}
	}
	if free > 0 {
		s.leads[free] = lead{arrival: arrival}
	}
	return free
}

// lead makes k pending, led by the arrival whose slot this is, unless it is
// known. It returns the tag that k had.
func (s *scope) lead(arrival int64, slot int, k *ingest.Key) uint8 {
	tag := s.keys.add(k, tagPending+uint8(slot))
	if tag == tagFree {
		s.leads[slot].keys++
		if slot == 0 {
			s.crowd[*k] = arrival
		}
	}
	return tag
}

// leader is the arrival that leads a key with this tag; 0 where nobody does.
func (s *scope) leader(k *ingest.Key, tag uint8) int64 {
	switch {
	case !pending(tag):
		return 0
	case tag == tagPending:
		return s.crowd[*k]
	}
	return s.leads[tag-tagPending].arrival
}

// unlead notes that k, which had this tag, is not pending any more.
func (s *scope) unlead(k *ingest.Key, tag uint8) {
	if !pending(tag) {
		return
	}
	s.leads[tag-tagPending].keys--
	if tag == tagPending {
		delete(s.crowd, *k)
	}
}

// remember makes k known, last seen in the era of tag.
func (s *scope) remember(k *ingest.Key, tag uint8) { s.unlead(k, s.keys.put(k, tag)) }

// free takes back that the arrival leads k; a key that it does not lead stays
// as it is.
func (s *scope) free(arrival int64, k *ingest.Key) {
	if tag := s.keys.get(k); pending(tag) && s.leader(k, tag) == arrival {
		s.unlead(k, s.keys.remove(k))
	}
}

// disown frees all keys that the arrival leads, but for n that open claims
// have. It reports whether there were more: then none is led, and the caller
// leads those n again.
func (s *scope) disown(arrival int64, n int) bool {
	slot := slices.IndexFunc(s.leads[1:], func(l lead) bool { return l.arrival == arrival }) + 1
	led := 0
	if slot > 0 {
		led = s.leads[slot].keys
	}
	for _, id := range s.crowd {
		if id == arrival {
			led++
		}
	}
	if led <= n {
		return false
	}
	if slot > 0 {
		s.keys.removeTag(tagPending + uint8(slot))
		s.leads[slot].keys = 0
	}
	for k, id := range s.crowd {
		if id == arrival {
			s.unlead(&k, s.keys.remove(&k))
		}
	}
	return true
}

// have lists the sinks that had a key delivered while others had not.
func (s *scope) have(k *ingest.Key) []string {
	if len(s.partial) == 0 {
		return nil
	}
	i, ok := s.partial[*k]
	if !ok {
		return nil
	}
	return s.lists[i]
}

// setPartial notes which sinks have a key.
func (s *scope) setPartial(k ingest.Key, sinks []string) {
	i := slices.IndexFunc(s.lists, func(l []string) bool { return slices.Equal(l, sinks) })
	if i < 0 {
		i = len(s.lists)
		s.lists = append(s.lists, slices.Clone(sinks))
	}
	s.partial[k] = int32(i)
}

// unfollow takes a claim's followers off their keys' lists: their rows wait from
// now on, or the claim came to nothing.
func (s *scope) unfollow(c *claim, fs []*follower) {
	done := make(map[ingest.Key]bool, len(fs))
	for _, f := range fs {
		if done[f.Key] {
			continue
		}
		done[f.Key] = true
		left := slices.DeleteFunc(s.followers[f.Key], func(g *follower) bool { return g.claim == c })
		if len(left) == 0 {
			delete(s.followers, f.Key)
		} else {
			s.followers[f.Key] = left
		}
	}
}

func (s *scope) eraLen() time.Duration {
	if s.keep <= 0 {
		return 0
	}
	return max(s.keep/8, time.Microsecond)
}

// era is the eighth of keep that t falls in; always 0 where keys are kept for
// ever.
func (s *scope) era(t time.Time) int64 {
	n := s.eraLen()
	if n == 0 {
		return 0
	}
	return t.UnixMicro() / n.Microseconds()
}

// oldest is the first era whose keys are still remembered at t: a key lives
// for keep, and up to an eighth longer.
func (s *scope) oldest(t time.Time) int64 {
	if s.keep <= 0 {
		return 0
	}
	return s.era(t.Add(-s.keep))
}

// scopeOf returns the scope called name, making it where it is new: its row
// follows with the first commit that needs it. l.mu is held.
func (l *Ledger) scopeOf(name string) *scope {
	s, ok := l.scopes[name]
	if !ok {
		s = l.addScope(l.lastScope+1, name)
	}
	return s
}

// addScope makes a scope that has its number. l.mu is held.
func (l *Ledger) addScope(id int64, name string) *scope {
	s := newScope(id, name, l.opts.Keep(name))
	s.swept = s.oldest(l.clock.now())
	l.scopes[name], l.byID[id] = s, s
	l.lastScope = max(l.lastScope, id)
	return s
}

// storeScope makes sure that the scope's row exists.
func (l *Ledger) storeScope(t *tx, s *scope) error {
	_, err := t.exec("INSERT INTO scopes (id, name) VALUES (?, ?) ON CONFLICT DO NOTHING", s.id, s.name)
	return err
}
