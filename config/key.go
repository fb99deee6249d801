package config

// A key is one line of a block's table: the only place that says what may
// stand there.
type key struct {
	name     string
	to       target
	def      string // YAML: what is taken where the key is absent; "" = nothing
	defDoc   string // the default in words, where def cannot say it
	doc      string // what it means, one sentence or two
	required bool
	later    bool // parsed and checked, but this build does not act on it
}

// A target takes the value of a key.
type target interface {
	// decode reads n, the value at path, and reports what is wrong with it.
	decode(d *decoder, n *node, path string)
	// encode appends the value as JSON such that decode reads it back; false
	// where nothing is set.
	encode(dst []byte) ([]byte, bool)
	// typ is the type for the reference.
	typ() string
}

// A block is a map with known keys. keys points into the block, so that the
// same table reads, defaults, documents and writes it.
type block interface{ keys() []key }

// A variant is a block whose further keys depend on one of them.
type variant interface {
	block
	discriminator() string   // the key that they depend on
	chosen() string          // its value
	variants() []string      // its valid values
	variant(of string) []key // the keys of one, the discriminator included; of "", those that all have
}

// A shorthand is a block that may be written as a single value: that of one of
// its keys.
type shorthand interface {
	block
	short() string
}

// A checked block has rules that concern several of its keys. say reports a
// problem at one of them (or, with "", at the block), unless that key has one
// already.
type checked interface {
	check(say func(key, message, hint string))
}

// A sensitive block holds secrets: nothing in it that was not understood is
// shown.
type sensitive interface{ sensitive() }

func names(ks []key) []string {
	out := make([]string, len(ks))
	for i, k := range ks {
		out[i] = k.name
	}
	return out
}

func find(ks []key, name string) (key, bool) {
	for _, k := range ks {
		if k.name == name {
			return k, true
		}
	}
	return key{}, false
}

// everyKey is the keys of a block, those of all variants included, first come
// first.
func everyKey(b block) []key {
	v, ok := b.(variant)
	if !ok {
		return b.keys()
	}
	var all []key
	for _, of := range v.variants() {
		for _, k := range v.variant(of) {
			if _, have := find(all, k.name); !have {
				all = append(all, k)
			}
		}
	}
	return all
}

// hasBlock is a target that holds a block, for those who walk the table.
type hasBlock interface{ inner() block }

// below returns the name of a key of b under which name would be valid.
func below(b block, name string) string {
	for _, k := range everyKey(b) {
		if h, ok := k.to.(hasBlock); ok {
			if _, ok := find(everyKey(h.inner()), name); ok {
				return k.name
			}
		}
	}
	return ""
}
