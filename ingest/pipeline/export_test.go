package pipeline

import "ingestd/ingest"

// Used is how many bytes are taken from the pool.
func (p *Pool) Used() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}

// LaneOf is the lane of a record with one field.
func LaneOf(s *SinkPlan, f ingest.Field) int { return s.laneOf(&item{fields: []ingest.Field{f}}) }

// Parked is how many loads of a sink's gave their room back.
func (e *Engine) Parked(sink string) int { return int(e.queue(sink).parked.Load()) }
