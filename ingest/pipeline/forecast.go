package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"

	"ingestd/ingest"
	"ingestd/ingest/shape"
)

// A Forecast says what a replay of an arrival would do.
type Forecast struct {
	Records  int64  // read
	Send     int64  // would be sent
	Known    int64  // held back: delivered before
	Filtered int64  // left out by `where`, or not asked for
	Bad      int64  // would be dead letters
	Waiting  int64  // share a key with a record under way, which decides
	Held     string // why it would be held before anything is sent, or refused whole
	Error    string // why it cannot be read to its end
}

// maxForecastKeys bounds the keys of one arrival that are compared with each
// other, some 64 MiB of memory.
const maxForecastKeys = 1 << 20

// Forecast reads the content of an ended arrival under the settings of now and
// says what a replay would send, and what the ledger would hold back. It changes
// nothing and is in nobody's way.
func (e *Engine) Forecast(ctx context.Context, rp ingest.Replay) (f Forecast, err error) {
	a, err := e.o.Ledger.Find(ctx, rp.Of)
	if err != nil {
		return f, err
	}
	found, err := Content(a)
	if err != nil {
		return f, err
	}
	plan := e.o.Plan
	var given []ingest.Range
	if !rp.Force {
		if given, err = e.o.Ledger.Delivered(ctx, rp.Of); err != nil {
			return f, err
		}
	}
	again := &ingest.Arrival{ID: a.ID, Pipeline: a.Pipeline, Found: *found}
	again.Replay = &rp
	s := &seer{
		f: &f, e: e, plan: plan, bind: plan.Shape.Bind(e.seed(), plan.Scope), keys: map[ingest.Key]ingest.Verdict{},
		pass: pass{r: &run{e: e, a: *again, plan: plan}, given: given},
	}
	in, err := openInput(again)
	if err != nil {
		return f, err
	}
	defer in.f.Close()
	reader, err := plan.open(ctx, again, ingest.Input{Name: again.Name, Size: again.Size, ReaderAt: in})
	if err == nil {
		defer reader.Close()
		err = s.read(ctx, reader)
	}
	var re *ingest.ReadError
	if errors.As(err, &re) {
		f.Error, err = re.Error(), nil
	}
	switch {
	case err != nil || f.Held != "" || bundled(again):
	case plan.RejectFile && s.bad > 0:
		f.Held = fmt.Sprintf("refused whole: %d bad records, first %s", s.bad, s.first)
	case s.early >= probeBad && float64(s.early) > plan.BadLimit*float64(min(f.Records, probeRecords)):
		f.Held = fmt.Sprintf("%d of its first %d records are bad, first %s", s.early, min(f.Records, probeRecords), s.first)
	}
	return f, err
}

// A seer counts what would become of records.
type seer struct {
	pass // for what a replay leaves out
	f    *Forecast
	e    *Engine
	plan *Plan
	bind *shape.Binding
	keys map[ingest.Key]ingest.Verdict // of the arrival's own records

	bad, early int64 // bad by themselves, also outside of what was asked for
	first      string
}

func (s *seer) read(ctx context.Context, reader ingest.Reader) error {
	var c ingest.Chunk
	checked := false
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		ended := reader.Read(ctx, &c)
		if !checked {
			checked = true
			if h := s.plan.Shape.Check(reader.Details().Header); h != nil && !(ended != nil && len(h.Header) == 0) {
				s.f.Held = h.Error()
				return nil
			}
		}
		s.bind.Reset()
		s.chunk(&c)
		if ended == io.EOF {
			return nil
		}
		if ended != nil {
			return ended
		}
	}
}

// chunk judges one chunk in the order of the file.
func (s *seer) chunk(c *ingest.Chunk) {
	recs, faults := c.Records, c.Faults
	for len(recs)+len(faults) > 0 {
		if len(faults) == 0 || len(recs) > 0 && recs[0].Pos.Record < faults[0].Pos.Record {
			s.record(&recs[0])
			recs = recs[1:]
			continue
		}
		s.note(faults[0].Pos, faults[0].Reason)
		if s.r.outside(faults[0].Pos.Record) {
			s.f.Filtered++
		} else {
			s.f.Bad++
		}
		faults = faults[1:]
	}
}

// note counts a bad record for what would hold the arrival.
func (s *seer) note(pos ingest.Position, reason string) {
	s.f.Records++
	if s.bad++; s.bad == 1 {
		s.first = fmt.Sprintf("line %d: %s", pos.Line, reason)
	}
	if s.f.Records <= probeRecords {
		s.early = s.bad
	}
}

func (s *seer) record(rec *ingest.Record) {
	var res shape.Result
	s.bind.Apply(rec, &res)
	if res.Fault != "" {
		s.note(rec.Pos, res.Fault)
	} else {
		s.f.Records++
	}
	switch {
	case s.r.outside(rec.Pos.Record):
		s.f.Filtered++
	case s.skip(rec.Pos.Record):
		s.f.Known++
	case res.Fault != "":
		s.f.Bad++
		s.own(res.Key, ingest.Dead)
	case res.Filtered:
		s.f.Filtered++
	default:
		s.judge(rec.Pos, res.Key)
	}
}

// judge asks the key memory.
func (s *seer) judge(pos ingest.Position, key ingest.Key) {
	if !s.r.judges() || key == (ingest.Key{}) {
		s.f.Send++
		return
	}
	j := []ingest.Judged{{Pos: pos, Key: key}}
	s.e.o.Ledger.Peek(s.plan.Scope, j)
	v := j[0].Verdict
	if was, ok := s.keys[key]; ok && v == ingest.New {
		v = was
	}
	switch v {
	case ingest.New:
		s.f.Send++
		s.own(key, ingest.Duplicate) // the next one with it follows this one
	case ingest.Duplicate:
		s.f.Known++
	case ingest.Dead:
		s.f.Bad++
	default:
		s.f.Waiting++
	}
}

func (s *seer) own(key ingest.Key, v ingest.Verdict) {
	if _, ok := s.keys[key]; !ok && key != (ingest.Key{}) && len(s.keys) < maxForecastKeys {
		s.keys[key] = v
	}
}
