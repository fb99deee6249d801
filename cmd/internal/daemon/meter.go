package daemon

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"ingestd/ingest"
)

// A meter stands before the metrics and keeps what people want to see at a
// glance: how far the work is, and how fast each pipeline goes.
type meter struct {
	ingest.Observer

	mu      sync.Mutex
	total   int64 // bytes found
	done    int64 // bytes of arrivals that ended
	records int64 // that have an outcome
	reading map[*gauge]struct{}
	rates   map[string]*rates
}

func newMeter(next ingest.Observer) *meter {
	return &meter{Observer: next, reading: map[*gauge]struct{}{}, rates: map[string]*rates{}}
}

// Progress is how far the work is.
type Progress struct {
	Bytes, Total int64 // read, of what was found
	Records      int64 // that have an outcome
}

func (m *meter) progress() Progress {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := Progress{Bytes: m.done, Total: m.total, Records: m.records}
	for g := range m.reading {
		p.Bytes += min(g.at.Load(), g.size)
	}
	p.Bytes = min(p.Bytes, p.Total)
	return p
}

// ArrivalFound implements ingest.Observer.
func (m *meter) ArrivalFound(pipeline string, size int64) {
	m.expect(size)
	m.Observer.ArrivalFound(pipeline, size)
}

// expect counts bytes that are still to be read.
func (m *meter) expect(size int64) {
	m.mu.Lock()
	m.total += size
	m.mu.Unlock()
}

// ArrivalEnded implements ingest.Observer.
func (m *meter) ArrivalEnded(a *ingest.Arrival) {
	m.mu.Lock()
	m.done += a.Size
	m.mu.Unlock()
	m.Observer.ArrivalEnded(a)
}

// Settled implements ingest.Observer.
func (m *meter) Settled(pipeline, outcome string, records int64) {
	m.mu.Lock()
	m.records += records
	r := m.rates[pipeline]
	if r == nil {
		r = &rates{}
		m.rates[pipeline] = r
	}
	r.add(time.Now(), records)
	m.mu.Unlock()
	m.Observer.Settled(pipeline, outcome, records)
}

// rate is a pipeline's records a second, over the last minute.
func (m *meter) rate(pipeline string) float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.rates[pipeline]; r != nil {
		return r.perSecond(time.Now())
	}
	return 0
}

// rates counts records by second, for a minute.
type rates struct {
	first   int64 // second in which anything was counted first
	seconds [60]struct{ second, n int64 }
}

func (r *rates) add(now time.Time, n int64) {
	s := now.Unix()
	if r.first == 0 {
		r.first = s
	}
	slot := &r.seconds[s%60]
	if slot.second != s {
		slot.second, slot.n = s, 0
	}
	slot.n += n
}

func (r *rates) perSecond(now time.Time) float64 {
	s := now.Unix()
	var n int64
	for _, slot := range r.seconds {
		if s-slot.second < 60 {
			n += slot.n
		}
	}
	return float64(n) / float64(min(60, max(1, s-r.first+1)))
}

// A gauge follows the reading of one arrival.
type gauge struct {
	io.ReaderAt
	size int64
	at   atomic.Int64 // the farthest byte read
}

func (g *gauge) ReadAt(p []byte, off int64) (int, error) {
	n, err := g.ReaderAt.ReadAt(p, off)
	if end := off + int64(n); end > g.at.Load() {
		g.at.Store(end)
	}
	return n, err
}

// gauged is an open function whose reading the meter follows.
func (m *meter) gauged(open func(context.Context, ingest.Input) (ingest.Reader, error)) func(context.Context, ingest.Input) (ingest.Reader, error) {
	return func(ctx context.Context, in ingest.Input) (ingest.Reader, error) {
		g := &gauge{ReaderAt: in.ReaderAt, size: in.Size}
		in.ReaderAt = g
		r, err := open(ctx, in)
		if err != nil {
			return nil, err
		}
		m.mu.Lock()
		m.reading[g] = struct{}{}
		m.mu.Unlock()
		return &gaugedReader{Reader: r, m: m, g: g}, nil
	}
}

type gaugedReader struct {
	ingest.Reader
	m *meter
	g *gauge
}

func (r *gaugedReader) Close() error {
	r.m.mu.Lock()
	delete(r.m.reading, r.g)
	r.m.mu.Unlock()
	return r.Reader.Close()
}
