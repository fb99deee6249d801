// Package schedule knows calendars: which time of a day, on which days, in which
// zone. It computes; it starts nothing and waits for nothing.
//
// Days are those of the zone's wall clock. Where the clock is set forward, what
// falls into the skipped hour happens right after it; where it is set back, what
// falls into the doubled hour happens once, the first time.
package schedule
