package sftpdrop

import (
	"errors"
	"slices"
)

// maxPieces bounds the pieces of one upload that wait for what is before them.
const maxPieces = 4096

// ranges is what of an upload has been written. Writes come out of order, and
// what matters is how far there is no gap.
type ranges struct {
	front  int64   // [0, front) is written
	pieces []piece // beyond, sorted, apart
}

type piece struct{ from, to int64 }

var errScattered = errors.New("the pieces of the upload are too scattered")

// add notes that [from, to) is written.
func (r *ranges) add(from, to int64) error {
	if from <= r.front && len(r.pieces) == 0 { // in order, as mostly
		r.front = max(r.front, to)
		return nil
	}
	if from > r.front {
		i, _ := slices.BinarySearchFunc(r.pieces, from, func(p piece, at int64) int {
			switch {
			case p.to < at:
				return -1
			case p.to > at:
				return 1
			}
			return 0
		})
		// i is the first piece that ends at from or later.
		n := i
		for ; n < len(r.pieces) && r.pieces[n].from <= to; n++ {
			from, to = min(from, r.pieces[n].from), max(to, r.pieces[n].to)
		}
		if n == i && len(r.pieces) >= maxPieces {
			return errScattered
		}
		r.pieces = slices.Replace(r.pieces, i, n, piece{from, to})
		return nil
	}
	r.front = max(r.front, to)
	n := 0
	for ; n < len(r.pieces) && r.pieces[n].from <= r.front; n++ {
		r.front = max(r.front, r.pieces[n].to)
	}
	r.pieces = slices.Delete(r.pieces, 0, n)
	return nil
}

// end is where the last byte is.
func (r *ranges) end() int64 {
	if n := len(r.pieces); n > 0 {
		return r.pieces[n-1].to
	}
	return r.front
}

// whole reports whether there is no gap.
func (r *ranges) whole() bool { return len(r.pieces) == 0 }
