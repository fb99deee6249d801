package ledger

import (
	"encoding/binary"
	"math/bits"

	"ingestd/ingest"
)

// Tags of a keySet's slots. A pending key's tag says which arrival leads it, by
// its slot in the scope; from tagEra on a tag is a key's era, the eighth of the
// memory's time in which it was last seen.
const (
	tagFree    = 0
	tagGone    = 1 // was removed; probing goes on
	tagPending = 2 // its claim is not settled; first of leaderSlots tags
	tagEra     = tagPending + leaderSlots
	eraTags    = 256 - tagEra

	leaderSlots = 64
)

func pending(tag uint8) bool { return tag >= tagPending && tag < tagEra }

func eraTag(era int64) uint8 { return uint8(tagEra + uint64(era)%eraTags) }

// A keySet remembers keys with a tag each: open addressing in shards, 17 bytes
// a slot, no pointers. Keys are uniformly random (a keyed hash), so their own
// bytes place them. Shards grow one by one, so growing never doubles the whole.
type keySet struct {
	shards [256]keyShard
}

type keyShard struct {
	tags []uint8
	keys []ingest.Key
	used int // slots not free, gone ones included
	live int
}

const minShard = 16

func (s *keyShard) slot(k *ingest.Key) int {
	hi, _ := bits.Mul64(binary.LittleEndian.Uint64(k[8:]), uint64(len(s.tags)))
	return int(hi)
}

// find returns k's slot, or the slot where it would go and false.
func (s *keyShard) find(k *ingest.Key) (int, bool) {
	at, gone := s.slot(k), -1
	for {
		switch t := s.tags[at]; {
		case t == tagFree:
			if gone >= 0 {
				at = gone
			}
			return at, false
		case t == tagGone:
			if gone < 0 {
				gone = at
			}
		case s.keys[at] == *k:
			return at, true
		}
		if at++; at == len(s.tags) {
			at = 0
		}
	}
}

// room makes sure that a free slot is left after one more key.
func (s *keyShard) room() {
	n := len(s.tags)
	if n > 0 && s.used+1 <= n-n/8 {
		return
	}
	s.rebuild(s.roomy(), nil)
}

// roomy is the number of slots that leaves a third of them for new keys.
func (s *keyShard) roomy() int { return max(minShard, s.live+s.live/2+8) }

// rebuild moves the live keys into size slots, leaving out tags in drop.
func (s *keyShard) rebuild(size int, drop *[256]bool) {
	old := *s
	*s = keyShard{tags: make([]uint8, size), keys: make([]ingest.Key, size)}
	for i, t := range old.tags {
		if t < tagPending || drop != nil && drop[t] {
			continue
		}
		at, _ := s.find(&old.keys[i])
		s.tags[at], s.keys[at] = t, old.keys[i]
		s.used++
		s.live++
	}
}

// get returns k's tag, tagFree where it is not known.
func (m *keySet) get(k *ingest.Key) uint8 {
	s := &m.shards[k[0]]
	if s.live == 0 {
		return tagFree
	}
	if at, ok := s.find(k); ok {
		return s.tags[at]
	}
	return tagFree
}

// put sets k's tag and returns the one it had.
func (m *keySet) put(k *ingest.Key, tag uint8) uint8 {
	s := &m.shards[k[0]]
	s.room()
	at, ok := s.find(k)
	was := s.tags[at]
	if ok {
		s.tags[at] = tag
		return was
	}
	if was == tagFree {
		s.used++
	}
	s.live++
	s.tags[at], s.keys[at] = tag, *k
	return tagFree
}

// add sets k's tag to tag unless k is known, and returns the tag it had.
func (m *keySet) add(k *ingest.Key, tag uint8) uint8 {
	s := &m.shards[k[0]]
	s.room()
	at, ok := s.find(k)
	if ok {
		return s.tags[at]
	}
	if s.tags[at] == tagFree {
		s.used++
	}
	s.live++
	s.tags[at], s.keys[at] = tag, *k
	return tagFree
}

// remove forgets k and returns the tag it had.
func (m *keySet) remove(k *ingest.Key) uint8 {
	s := &m.shards[k[0]]
	if s.live == 0 {
		return tagFree
	}
	at, ok := s.find(k)
	if !ok {
		return tagFree
	}
	was := s.tags[at]
	s.tags[at] = tagGone
	s.live--
	return was
}

// removeTag forgets all keys with this tag.
func (m *keySet) removeTag(tag uint8) {
	for i := range m.shards {
		s := &m.shards[i]
		for at, t := range s.tags {
			if t == tag {
				s.tags[at] = tagGone
				s.live--
			}
		}
	}
}

// expire forgets the keys of one shard whose tags are in drop, and gives memory
// back where few are left.
func (m *keySet) expire(shard int, drop *[256]bool) {
	s := &m.shards[shard]
	if s.live == 0 {
		return
	}
	s.rebuild(len(s.tags), drop)
	if s.live < len(s.tags)/4 {
		s.rebuild(s.roomy(), nil)
	}
}

func (m *keySet) len() (n int) {
	for i := range m.shards {
		n += m.shards[i].live
	}
	return n
}

// packKeys lays keys end to end.
func packKeys(keys []ingest.Key) []byte {
	b := make([]byte, 0, 16*len(keys))
	for i := range keys {
		b = append(b, keys[i][:]...)
	}
	return b
}

// toKey is a key as a column has it.
func toKey(b []byte) (k ingest.Key) {
	copy(k[:], b)
	return k
}

func unpackKeys(b []byte) []ingest.Key {
	keys := make([]ingest.Key, len(b)/16)
	for i := range keys {
		copy(keys[i][:], b[16*i:])
	}
	return keys
}
