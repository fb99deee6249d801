package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"

	"ingestd/ingest"
	"ingestd/ingest/shape"
)

const (
	probeRecords = 1000 // contract: "of whose first 1,000 records"
	probeBad     = 10   // "and at least 10"
)

// probe looks at the beginning of an arrival before anything of it is claimed:
// a header that lacks what is needed, or too many bad records, hold it. Where
// the plan asks for the whole, all of it is read. Under reject_file it is, too,
// and one bad record refuses it.
func (r *run) probe() (err error) {
	defer r.caught(&err)
	in, err := openInput(&r.a)
	if err != nil {
		return err
	}
	defer in.f.Close()
	reader, err := r.plan.open(r.ctx, &r.a, ingest.Input{Name: r.a.Name, Size: r.a.Size, ReaderAt: in})
	if err != nil {
		return err
	}
	defer reader.Close()
	bind := r.plan.Shape.Bind(r.e.seed(), r.plan.Scope)
	var (
		desk   = desks.Get().(*desk)
		c      = &desk.chunk
		block  = takeBlock()
		res    shape.Result
		n, bad int
		why    string
		worst  = func(pos ingest.Position, reason string) {
			if bad++; bad == 1 {
				why = fmt.Sprintf("line %d: %s", pos.Line, reason)
			}
		}
		checked bool
	)
	c.Buf = block.buf
	defer func() {
		block.buf, c.Buf = c.Buf, nil
		block.drop()
		desk.clear()
	}()
	all := r.plan.RejectFile || r.plan.Whole
	for all || n < probeRecords {
		err := reader.Read(r.ctx, c)
		if !checked {
			checked = true
			if h := r.plan.Shape.Check(reader.Details().Header); h != nil && !r.a.Released && !(err != nil && len(h.Header) == 0) {
				return r.e.hold(context.WithoutCancel(r.ctx), &r.a, h.Error())
			}
		}
		bind.Reset()
		i := 0
		for k := range c.Records {
			for ; i < len(c.Faults) && c.Faults[i].Pos.Record < c.Records[k].Pos.Record && n < r.probes(); i++ {
				n++
				worst(c.Faults[i].Pos, c.Faults[i].Reason)
			}
			if n >= r.probes() {
				break
			}
			n++
			if bind.Apply(&c.Records[k], &res); res.Fault != "" {
				worst(c.Records[k].Pos, res.Fault)
			}
		}
		for ; i < len(c.Faults) && n < r.probes(); i++ {
			n++
			worst(c.Faults[i].Pos, c.Faults[i].Reason)
		}
		if err == io.EOF {
			break
		}
		var re *ingest.ReadError
		if err != nil && (all || !errors.As(err, &re)) {
			return err // nothing of it was sent
		}
		if err != nil {
			break // the pass says it, after what is whole
		}
	}
	if r.plan.RejectFile && bad > 0 {
		return &rejectedError{bad: bad, first: why}
	}
	if !r.a.Released && bad >= probeBad && float64(bad) > r.plan.BadLimit*float64(n) {
		return r.e.hold(context.WithoutCancel(r.ctx), &r.a,
			fmt.Sprintf("%d of its first %d records are bad, the limit is %.4g %%; first %s", bad, n, 100*r.plan.BadLimit, why))
	}
	return nil
}

func (r *run) probes() int {
	if r.plan.RejectFile {
		return 1 << 62
	}
	return probeRecords
}

// A rejectedError says that a file was refused whole for its bad records.
type rejectedError struct {
	bad   int
	first string
}

func (e *rejectedError) Error() string {
	records := "records"
	if e.bad == 1 {
		records = "record"
	}
	return fmt.Sprintf("rejected whole: %d bad %s, first %s", e.bad, records, e.first)
}
