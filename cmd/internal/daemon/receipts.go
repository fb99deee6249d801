package daemon

import (
	"context"
	"fmt"
	"io"
	"iter"
	"net/url"
	"path"

	"ingestd/config"
	"ingestd/formats"
	"ingestd/ingest"
	"ingestd/ingest/pipeline"
	"ingestd/ingest/receipt"
)

// receiptsOf is how the reports on a pipeline's arrivals are made; nil where it
// asks for none.
func (c *crew) receiptsOf(l *line) (*pipeline.Receipts, error) {
	if l.cfg.Receipt == nil {
		return nil, nil
	}
	to, ok := l.source.(ingest.Reporter)
	if !ok {
		return nil, fmt.Errorf("receipt: a source of type %s cannot put reports anywhere; take `receipt` out", l.cfg.Source.Type)
	}
	spec, err := formatSpec(l.cfg)
	if err != nil {
		return nil, err
	}
	m := &receiptMaker{d: c.d, spec: spec.spec, private: hosts(c.cfg, l.cfg)}
	return &pipeline.Receipts{To: to, Make: m.make}, nil
}

// hosts are those of a pipeline's targets, which its partner need not know.
func hosts(cfg *config.Config, p *config.Pipeline) (out []string) {
	for _, name := range p.Sinks {
		if s := cfg.Sink(name); s != nil && s.Type == "http" {
			if u, err := url.Parse(s.HTTP.URL); err == nil && u.Hostname() != "" {
				out = append(out, u.Host, u.Hostname())
			}
		}
	}
	return out
}

// A receiptMaker makes the files of a report of what the ledger says.
type receiptMaker struct {
	d       *Daemon
	spec    formats.Spec
	private []string
}

func (m *receiptMaker) make(ctx context.Context, a *ingest.Arrival, stem string) ([]pipeline.ReceiptFile, error) {
	details, err := m.d.ledger.Details(ctx, a.ID)
	if err != nil {
		return nil, err
	}
	some := false
	for range m.rejects(ctx, a.ID, 1) {
		some = true
	}
	rejected := pipeline.ReceiptFile{Name: stem + ".rejected" + formats.RejectExt(details.Format)}
	report := receipt.Arrival{Arrival: a, Private: m.private}
	if some {
		report.RejectedFile = path.Base(rejected.Name)
		rejected.Content = func(w io.Writer) error { return m.table(ctx, w, a.ID, details) }
	}
	return []pipeline.ReceiptFile{
		{Name: stem + ".receipt.json", Content: func(w io.Writer) error { return receipt.Write(w, report, m.rejects(ctx, a.ID, 0)) }},
		rejected,
	}, nil
}

// table writes the rejected records.
func (m *receiptMaker) table(ctx context.Context, w io.Writer, arrival int64, details ingest.Details) error {
	out, err := formats.NewRejects(w, m.spec, details)
	if err != nil {
		return err
	}
	for r, err := range m.rejects(ctx, arrival, 0) {
		if err == nil {
			err = out.Write(formats.Reject{Line: r.Line, Column: r.Column, Reason: r.Reason, Raw: r.Raw})
		}
		if err != nil {
			return err
		}
	}
	return out.Close()
}

func (m *receiptMaker) rejects(ctx context.Context, arrival int64, most int) iter.Seq2[receipt.Reject, error] {
	return receipt.Rejects(ctx, m.d.ledger.Letters(ctx, ingest.LetterFilter{Arrival: arrival, ByRecord: true, Limit: most}), m.private)
}
