package ledger

import (
	"fmt"

	"ingestd/ingest"
)

// successors are the batches that take a settled one's place.
func successors(s *ingest.Settlement) []*ingest.Batch {
	switch {
	case s.State == ingest.BatchSplit:
		return s.Halves[:]
	case s.State == ingest.BatchMixed && s.Rest != nil:
		return []*ingest.Batch{s.Rest}
	}
	return nil
}

// outcomes checks that each record of a batch that was answered record by
// record has one outcome: each dead one a letter, each that goes on its place in
// the rest.
func (c *claim) outcomes(s *ingest.Settlement) error {
	b := s.Batch
	if n := s.Outcomes.Len(); n != b.Last-b.First+1 {
		return fmt.Errorf("%d outcomes for records %d to %d", n, b.First, b.Last)
	}
	dead := make(map[int64]bool, len(s.Dead))
	for i := range s.Dead {
		dead[s.Dead[i].Pos.Record] = true
	}
	var err error
	var fates [ingest.Follow + 1]int
	fresh, holds, goesOn := c.verdicts.Rising(ingest.New), b.Holds(), func(int64) bool { return false }
	if s.Rest != nil {
		goesOn = s.Rest.Holds()
	}
	s.Outcomes.All(func(at, n int64, v ingest.Verdict) bool {
		for record := b.First + at; record < b.First+at+n && err == nil; record++ {
			switch {
			case v == ingest.Absent:
			case v > ingest.Follow || v == ingest.Filtered:
				err = fmt.Errorf("record %d has outcome %d", record, v)
			case !holds(record) || !fresh(record-c.first):
				err = fmt.Errorf("record %d is not in it", record)
			case v == ingest.Dead && !dead[record]:
				err = fmt.Errorf("record %d is dead without a letter", record)
			case v == ingest.Follow && !goesOn(record):
				err = fmt.Errorf("record %d goes on in no batch", record)
			}
			if err == nil {
				fates[v]++
			}
		}
		return err == nil
	})
	rest := 0
	if s.Rest != nil {
		rest = s.Rest.Records
	}
	switch n := fates[ingest.New] + fates[ingest.Duplicate] + fates[ingest.Dead] + fates[ingest.Follow]; {
	case err != nil:
		return err
	case n != b.Records:
		return fmt.Errorf("outcomes for %d of its %d records", n, b.Records)
	case len(s.Dead) != fates[ingest.Dead]:
		return fmt.Errorf("%d dead letters for %d dead records", len(s.Dead), fates[ingest.Dead])
	case rest != fates[ingest.Follow]:
		return fmt.Errorf("the rest holds %d of %d records that go on", rest, fates[ingest.Follow])
	}
	return nil
}

// stateRow is a batch's state as its column has it: one that was answered record
// by record is a split one with outcomes.
func stateRow(s ingest.BatchState) string {
	if s == ingest.BatchMixed {
		s = ingest.BatchSplit
	}
	return string(s)
}
