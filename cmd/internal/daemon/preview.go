package daemon

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"unicode/utf8"

	"ingestd/config"
	"ingestd/formats"
	"ingestd/ingest"
	"ingestd/ingest/shape"
)

// What holds a file before anything is sent (contract.md, promise 6).
const (
	previewProbe = 1000
	previewBad   = 10
)

// A Preview shows what would be sent of one file. It opens no ledger, sends
// nothing and writes nothing.
type Preview struct {
	Path     string
	Config   *config.Config   // nil: the format is detected, records go as they came
	Pipeline *config.Pipeline // of Config
	Limit    int              // records and rejects; 0: all

	size    int64
	at      atomic.Int64
	records atomic.Int64
}

// A PreviewItem is a record that would be sent, or one that would not.
type PreviewItem struct {
	Record json.RawMessage `json:"record,omitempty"`
	Line   int64           `json:"line,omitempty"`
	Reject *PreviewReject  `json:"reject,omitempty"`
}

// A PreviewReject is a record that would be a dead letter.
type PreviewReject struct {
	Line      int64   `json:"line"`
	Column    int     `json:"column"`
	Reason    string  `json:"reason"`
	Raw       *string `json:"raw,omitempty"`
	RawBase64 *string `json:"raw_base64,omitempty"` // where the bytes are no UTF-8
}

// A PreviewSummary is the end of a preview.
type PreviewSummary struct {
	Status   string        `json:"status"` // "ok", "refused"
	Reason   string        `json:"reason"`
	Format   string        `json:"format"`
	Encoding string        `json:"encoding"`
	Header   []string      `json:"header"`
	Records  int64         `json:"records"`
	Rejects  int64         `json:"rejects"`
	Filtered int64         `json:"filtered"`
	Notes    []PreviewNote `json:"notes"`
}

// A PreviewNote is one thing that was detected, and why.
type PreviewNote struct {
	What  string `json:"what"`
	Value string `json:"value"`
	Why   string `json:"why"`
}

// Progress is how far Run is.
func (p *Preview) Progress() Progress {
	return Progress{Bytes: min(p.at.Load(), p.size), Total: p.size, Records: p.records.Load()}
}

// Run reads the file and gives every record and reject to emit, in order. An
// error is one of the machine, the config or emit; what is wrong with the file
// stands in the summary.
func (p *Preview) Run(ctx context.Context, emit func(PreviewItem) error) (*PreviewSummary, error) {
	f, err := os.Open(p.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", p.Path)
	}
	p.size = fi.Size()
	spec, record := reading{formats.Spec{Type: formats.Auto, Guess: true}}, config.Record{BadLimit: 100}
	if p.Pipeline != nil {
		record = p.Pipeline.Record
		if spec, err = formatSpec(p.Pipeline); err != nil {
			return nil, err
		}
	}
	sh, err := shape.Compile(shapeOptions(&record))
	if err != nil {
		return nil, err
	}
	s := &previewRun{p: p, emit: emit, shape: sh, bind: sh.Bind([16]byte{}, "preview"), limit: record.BadLimit / 100}
	s.sum.Status, s.sum.Header, s.sum.Notes = "ok", []string{}, []PreviewNote{}
	r, err := spec.open(ctx, ingest.Input{Name: filepath.Base(p.Path), Size: p.size, ReaderAt: previewInput{f, p}})
	if err == nil {
		err = s.read(ctx, r)
		s.held()
		s.details(r.Details())
		err = errors.Join(err, r.Close())
	}
	var re *ingest.ReadError
	if errors.As(err, &re) {
		s.refuse(re.Error())
		if s.sum.Format == "" {
			s.sum.Format = re.Format
		}
		err = nil
	}
	return &s.sum, err
}

// previewInput is the file, with a note of how far it was read.
type previewInput struct {
	io.ReaderAt
	p *Preview
}

func (in previewInput) ReadAt(b []byte, off int64) (int, error) {
	n, err := in.ReaderAt.ReadAt(b, off)
	if end := off + int64(n); end > in.p.at.Load() {
		in.p.at.Store(end)
	}
	return n, err
}

type previewRun struct {
	p     *Preview
	emit  func(PreviewItem) error
	shape *shape.Shape
	bind  *shape.Binding
	limit float64
	enc   ingest.Encoder
	json  []byte
	sum   PreviewSummary
	early int64  // rejects among the first previewProbe records
	first string // what is wrong with the first bad record
}

func (s *previewRun) refuse(reason string) {
	if s.sum.Status == "ok" {
		s.sum.Status, s.sum.Reason = "refused", reason
	}
}

func (s *previewRun) details(d ingest.Details) {
	s.sum.Format, s.sum.Encoding = d.Format, d.Encoding
	if d.Header != nil {
		s.sum.Header = d.Header
	}
	for _, n := range d.Notes {
		s.sum.Notes = append(s.sum.Notes, PreviewNote(n))
	}
}

var errEnough = errors.New("enough was shown")

func (s *previewRun) read(ctx context.Context, r ingest.Reader) error {
	var c ingest.Chunk
	checked := false
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		ended := r.Read(ctx, &c)
		if !checked {
			checked = true
			if h := s.shape.Check(r.Details().Header); h != nil && (ended == nil || len(h.Header) > 0) {
				s.refuse(h.Error())
			}
		}
		s.bind.Reset()
		if err := s.chunk(&c); err != nil {
			if errors.Is(err, errEnough) {
				return nil
			}
			return err
		}
		if ended == io.EOF {
			return nil
		}
		if ended != nil {
			return ended
		}
	}
}

// chunk shows one chunk's records and faults in the order of the file.
func (s *previewRun) chunk(c *ingest.Chunk) error {
	faults := c.Faults
	for i := range c.Records {
		for len(faults) > 0 && faults[0].Pos.Record < c.Records[i].Pos.Record {
			if err := s.reject(faults[0].Pos, faults[0].Reason, faults[0].Raw); err != nil {
				return err
			}
			faults = faults[1:]
		}
		if err := s.record(&c.Records[i]); err != nil {
			return err
		}
	}
	for _, f := range faults {
		if err := s.reject(f.Pos, f.Reason, f.Raw); err != nil {
			return err
		}
	}
	return nil
}

func (s *previewRun) record(rec *ingest.Record) error {
	var res shape.Result
	s.bind.Apply(rec, &res)
	switch {
	case res.Fault != "":
		return s.reject(rec.Pos, res.Fault, rec.Raw)
	case res.Filtered:
		s.sum.Filtered++
		return nil
	}
	if err := s.room(); err != nil {
		return err
	}
	s.sum.Records++
	s.p.records.Add(1)
	s.json = s.enc.Append(s.json[:0], res.Fields)
	return s.emit(PreviewItem{Record: s.json, Line: rec.Pos.Line})
}

func (s *previewRun) reject(pos ingest.Position, reason string, raw []byte) error {
	if err := s.room(); err != nil {
		return err
	}
	s.sum.Rejects++
	s.p.records.Add(1)
	if s.first == "" {
		s.first = fmt.Sprintf("line %d: %s", pos.Line, reason)
	}
	if s.sum.Records+s.sum.Filtered+s.sum.Rejects <= previewProbe {
		s.early = s.sum.Rejects
	}
	v := &PreviewReject{Line: pos.Line, Column: pos.Column, Reason: reason}
	if text := string(raw); utf8.ValidString(text) {
		v.Raw = &text
	} else {
		b64 := base64.StdEncoding.EncodeToString(raw)
		v.RawBase64 = &b64
	}
	return s.emit(PreviewItem{Reject: v})
}

// held says where so many of the first records are bad that the file would be
// held.
func (s *previewRun) held() {
	n := min(s.sum.Records+s.sum.Filtered+s.sum.Rejects, previewProbe)
	if s.early >= previewBad && float64(s.early) > s.limit*float64(n) {
		s.refuse(fmt.Sprintf("it would be held: %d of its first %d records are bad, the limit is %.4g %%; first %s",
			s.early, n, 100*s.limit, s.first))
	}
}

func (s *previewRun) room() error {
	if s.p.Limit > 0 && s.sum.Records+s.sum.Rejects >= int64(s.p.Limit) {
		return errEnough
	}
	return nil
}

// Waiting lists the files that wait in a pipeline's folder, by name, at most
// most of them. It takes none of them up.
func Waiting(p *config.Pipeline, most int) ([]string, error) {
	d := folderOf(&p.Source)
	if d == nil {
		return nil, fmt.Errorf("the source of pipeline %s is no folder", p.Name)
	}
	return waiting(d, most)
}
