package shape

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dchest/siphash"

	"ingestd/ingest"
)

// Keys are 128-bit SipHash-2-4 values. Why so:
//
// A false duplicate is a record that is never sent. With 64 bits and a hundred
// million remembered keys, one new key in 2^37 meets a stranger: over the years
// of a busy pipeline that is a lost record, and nobody would ever see it. With
// 128 bits it is one in 2^101. And the hash is keyed by a random seed that never
// leaves the ledger, for without one a partner could look for two records that
// collide and so have another's record dropped.
//
// What is hashed is the texts of the key's fields, each behind its length, so
// that ("ab", "c") and ("a", "bc") differ. Kinds are left out on purpose: "1"
// from a CSV is 1 from a workbook. For the whole record it is every name and
// text in the order of the names, so that two exports of one table with their
// columns swapped hold the same records, and null is the empty text, because a
// CSV has no other way to say it.
//
// These bytes are stored for as long as `keep` says: they never change.

// A hasher hashes the keys of one scope.
type hasher struct{ k0, k1 uint64 }

// newHasher derives the scope's own key from the ledger's seed, so that a
// record's hash does not pay for the scope's name. Named fields and whole
// records are different scopes.
func newHasher(seed [16]byte, scope string, whole bool) hasher {
	label := "fields\x00"
	if whole {
		label = "record\x00"
	}
	k0 := binary.LittleEndian.Uint64(seed[:8])
	k1 := binary.LittleEndian.Uint64(seed[8:])
	k0, k1 = siphash.Hash128(k0, k1, []byte(label+scope))
	return hasher{k0, k1}
}

func (h hasher) sum(b []byte) (k ingest.Key) {
	lo, hi := siphash.Hash128(h.k0, h.k1, b)
	if lo == 0 && hi == 0 {
		lo = 1 // the zero Key means none
	}
	binary.LittleEndian.PutUint64(k[:8], lo)
	binary.LittleEndian.PutUint64(k[8:], hi)
	return k
}

func appendText[T string | []byte](dst []byte, text T) []byte {
	if len(text) < 0x80 {
		dst = append(dst, byte(len(text)))
	} else {
		dst = binary.AppendUvarint(dst, uint64(len(text)))
	}
	return append(dst, text...)
}

// KeyOf is the key of a record whose key fields have these texts, for
// `forget field=value,…`. The values are named as the config names them; for
// the whole record they are all its fields.
func (s *Shape) KeyOf(seed [16]byte, scope string, values map[string]string) (ingest.Key, error) {
	if !s.Keyed() {
		return ingest.Key{}, errors.New("this pipeline has no key, so it remembers none")
	}
	h := newHasher(seed, scope, s.whole)
	var b []byte
	if s.whole {
		if len(values) == 0 {
			return ingest.Key{}, errors.New("the key is the whole record: give every field as name=value")
		}
		for _, n := range sortedNames(values) {
			b = appendText(appendText(b, n), values[n])
		}
		return h.sum(b), nil
	}
	known := make(map[string]bool, len(s.keys))
	for i := range s.keys {
		n := s.keys[i].text
		known[n] = true
		if values[n] == "" {
			return ingest.Key{}, fmt.Errorf("no value for the key field %s; the key is %s", n, s.keyNames())
		}
		b = appendText(b, values[n])
	}
	for _, n := range sortedNames(values) {
		if !known[n] {
			return ingest.Key{}, fmt.Errorf("%s is no key field; the key is %s", n, s.keyNames())
		}
	}
	return h.sum(b), nil
}

func (s *Shape) keyNames() string {
	names := make([]string, len(s.keys))
	for i := range s.keys {
		names[i] = s.keys[i].text
	}
	return strings.Join(names, ", ")
}

func sortedNames(values map[string]string) []string {
	names := make([]string, 0, len(values))
	for n := range values {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
