package ledger

import (
	"math/rand/v2"
	"testing"

	"ingestd/ingest"
	"pgregory.net/rapid"
)

// TestKeySet goes through random lives of a set beside a map.
func TestKeySet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var set keySet
		want := map[ingest.Key]uint8{}
		// Few shards and few places in them, so that keys meet.
		draw := rapid.Custom(func(t *rapid.T) (k ingest.Key) {
			k[0] = rapid.SampledFrom([]byte{0, 7, 255}).Draw(t, "shard")
			k[15] = byte(rapid.IntRange(0, 255).Draw(t, "place")) // the first byte of the number that places it
			k[1] = byte(rapid.IntRange(1, 4).Draw(t, "other"))
			return k
		})
		tag := rapid.Uint8Range(tagPending, 255)
		check := func(t *rapid.T, k ingest.Key) {
			if got := set.get(&k); got != want[k] {
				t.Fatalf("key %v has tag %d, want %d", k, got, want[k])
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				k, to := draw.Draw(t, "key"), tag.Draw(t, "tag")
				if was := set.put(&k, to); was != want[k] {
					t.Fatalf("put says %d, want %d", was, want[k])
				}
				want[k] = to
				check(t, k)
			},
			"add": func(t *rapid.T) {
				k, to := draw.Draw(t, "key"), tag.Draw(t, "tag")
				if was := set.add(&k, to); was != want[k] {
					t.Fatalf("add says %d, want %d", was, want[k])
				}
				if want[k] == tagFree {
					want[k] = to
				}
				check(t, k)
			},
			"add many": func(t *rapid.T) {
				var k ingest.Key
				k[0] = 7
				for i := range rapid.IntRange(0, 300).Draw(t, "keys") {
					k[2], k[3], k[15] = byte(i), byte(i>>8), byte(i*7)
					set.put(&k, 200)
					want[k] = 200
				}
			},
			"remove": func(t *rapid.T) {
				k := draw.Draw(t, "key")
				if was := set.remove(&k); was != want[k] {
					t.Fatalf("remove says %d, want %d", was, want[k])
				}
				delete(want, k)
				check(t, k)
			},
			"remove tag": func(t *rapid.T) {
				gone := tag.Draw(t, "tag")
				set.removeTag(gone)
				for k, tag := range want {
					if tag == gone {
						delete(want, k)
					}
				}
			},
			"expire": func(t *rapid.T) {
				var drop [256]bool
				from := int(tag.Draw(t, "from"))
				for i := from; i < 256; i++ {
					drop[i] = true
				}
				for i := range set.shards {
					set.expire(i, &drop)
				}
				for k, tag := range want {
					if drop[tag] {
						delete(want, k)
					}
				}
			},
			"": func(t *rapid.T) {
				if set.len() != len(want) {
					t.Fatalf("%d keys, want %d", set.len(), len(want))
				}
				for k := range want {
					check(t, k)
				}
				check(t, draw.Draw(t, "another"))
				for i := range set.shards {
					s := &set.shards[i]
					if n := len(s.tags); n > 0 && s.used >= n {
						t.Fatalf("shard %d has no free slot: a search would not end", i)
					}
				}
			},
		})
	})
}

// TestKeySetShrinks: expired keys give their memory back.
func TestKeySetShrinks(t *testing.T) {
	var set keySet
	rng := rand.NewChaCha8([32]byte{})
	for range 100_000 {
		var k ingest.Key
		rng.Read(k[:])
		set.put(&k, 100)
	}
	var drop [256]bool
	drop[100] = true
	slots := 0
	for i := range set.shards {
		set.expire(i, &drop)
		slots += len(set.shards[i].tags)
	}
	if set.len() != 0 || slots > 256*minShard {
		t.Errorf("%d keys in %d slots", set.len(), slots)
	}
}
