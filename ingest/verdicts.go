package ingest

import "encoding/binary"

// Verdicts is one verdict per ordinal, run-length coded: each run a varint of
// length<<3 | verdict. It is how a claim lists what it left out.
type Verdicts []byte

// A VerdictList builds Verdicts.
type VerdictList struct {
	buf Verdicts
	run uint64
	v   Verdict
	n   int64
}

// Add appends the next ordinal's verdict.
func (l *VerdictList) Add(v Verdict) {
	l.n++
	if l.run > 0 && v == l.v {
		l.run++
		return
	}
	l.flush()
	l.v, l.run = v, 1
}

// AddRun appends n ordinals with one verdict.
func (l *VerdictList) AddRun(v Verdict, n int64) {
	if n <= 0 {
		return
	}
	l.Add(v)
	l.run += uint64(n - 1)
	l.n += n - 1
}

func (l *VerdictList) flush() {
	if l.run > 0 {
		l.buf = binary.AppendUvarint(l.buf, l.run<<3|uint64(l.v))
		l.run = 0
	}
}

// Len is the number of ordinals added.
func (l *VerdictList) Len() int64 { return l.n }

// Take returns the list and starts a new one.
func (l *VerdictList) Take() Verdicts {
	l.flush()
	v := l.buf
	*l = VerdictList{}
	return v
}

// All yields runs: the offset of the first ordinal from the claim's first, how
// many, and their verdict. It stops at damage.
func (v Verdicts) All(yield func(at, n int64, v Verdict) bool) {
	var at int64
	for len(v) > 0 {
		x, n := binary.Uvarint(v)
		if n <= 0 {
			return
		}
		v = v[n:]
		run := int64(x >> 3)
		if !yield(at, run, Verdict(x&7)) {
			return
		}
		at += run
	}
}

// Len is the number of ordinals.
func (v Verdicts) Len() (n int64) {
	v.All(func(_, run int64, _ Verdict) bool {
		n += run
		return true
	})
	return n
}

// Rising returns what tells whether the ordinal so many after the first has
// verdict want. It is asked in rising order.
func (v Verdicts) Rising(want Verdict) func(offset int64) bool {
	var end int64 // of the runs that were read
	var got Verdict
	return func(offset int64) bool {
		for offset >= end {
			x, n := binary.Uvarint(v)
			if n <= 0 {
				return false
			}
			v, got = v[n:], Verdict(x&7)
			end += int64(x >> 3)
		}
		return got == want
	}
}

// Count returns how many ordinals have verdict want.
func (v Verdicts) Count(want Verdict) (n int64) {
	v.All(func(_, run int64, got Verdict) bool {
		if got == want {
			n += run
		}
		return true
	})
	return n
}
