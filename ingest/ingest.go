// Package ingest is the domain of ingestd: the words that every room uses and
// the interfaces that cross rooms. It imports the standard library only and
// does no I/O.
//
// Data flows one way:
//
//	source → arrival → format → record → ledger → sink → outcome → receipt
//
// A source notices that something arrived whole (an Arrival). A format reads
// its bytes as Records and Faults. The engine shapes each record, asks the
// Ledger which keys are new, and commits a Claim before any request is sent.
// A Sink delivers one Request and classifies its own failure: a plain error
// means "try again", RetryAfter, Reject and Halt are explicit verdicts. The
// outcome of every record is settled in the ledger before the source may move
// or delete anything.
package ingest
