package ingest

import "encoding/hex"

// A Key is the 128-bit keyed hash of a record's key fields within a scope. It
// is never the zero Key.
type Key [16]byte

func (k Key) String() string { return hex.EncodeToString(k[:]) }

// A Verdict is the ledger's answer on one key.
type Verdict uint8

// The verdicts. They are stored in claims: numbers never change.
const (
	// Absent: the ordinal is no member of the claim (replays only).
	Absent Verdict = iota
	// New: nobody has sent it; the caller now leads for this key.
	New
	// Duplicate: it was delivered before, or the target had it.
	Duplicate
	// Filtered: left out by `where`.
	Filtered
	// Dead: bad by itself, or its leader in the same arrival died.
	Dead
	// Follow: a record with the same key is under way; wait for it.
	Follow
)
