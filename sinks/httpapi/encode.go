package httpapi

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxKept bounds the buffers that stay in a pool, in bytes.
const maxKept = 4 << 20

// An encoder makes of a body the bytes that go out.
type encoder interface {
	// header is the value of Content-Encoding; nil: none.
	header() []string
	// encode returns them in memory of its own; free gives that back.
	encode(src []byte) (out []byte, free func(), err error)
}

func newEncoder(name string) (encoder, error) {
	switch name {
	case "", CompressNone:
		return new(copyEncoder), nil
	case CompressGzip:
		return &gzipEncoder{name: []string{name}}, nil
	case CompressZstd:
		// One encoder serves all senders: EncodeAll keeps no state.
		w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(1<<20))
		if err != nil {
			return nil, fmt.Errorf("compress: %w", err)
		}
		return &zstdEncoder{name: []string{name}, w: w}, nil
	}
	return nil, fmt.Errorf("compress: %q is none of %s, %s, %s", name, CompressNone, CompressGzip, CompressZstd)
}

// copyEncoder sends bodies as they are.
type copyEncoder struct{ outs buffers }

func (e *copyEncoder) header() []string { return nil }

func (e *copyEncoder) encode(src []byte) ([]byte, func(), error) {
	buf := e.outs.get()
	*buf = append((*buf)[:0], src...)
	return *buf, func() { e.outs.put(buf) }, nil
}

// buffers is a pool of byte slices.
type buffers struct{ pool sync.Pool }

func (p *buffers) get() *[]byte {
	if b, _ := p.pool.Get().(*[]byte); b != nil {
		return b
	}
	return new([]byte)
}

func (p *buffers) put(b *[]byte) {
	if cap(*b) <= maxKept {
		p.pool.Put(b)
	}
}

// gzipEncoder compresses at level 1: higher ones cost more time than a fast
// network needs for the bytes they save.
type gzipEncoder struct {
	name []string
	jobs sync.Pool // of *gzipJob
}

type gzipJob struct {
	w   *gzip.Writer
	out bytes.Buffer
}

func (e *gzipEncoder) header() []string { return e.name }

func (e *gzipEncoder) encode(src []byte) ([]byte, func(), error) {
	j, _ := e.jobs.Get().(*gzipJob)
	if j == nil {
		w, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
		if err != nil {
			return nil, nil, err
		}
		j = &gzipJob{w: w}
	}
	j.out.Reset()
	j.w.Reset(&j.out)
	if _, err := j.w.Write(src); err != nil {
		return nil, nil, err
	}
	if err := j.w.Close(); err != nil {
		return nil, nil, err
	}
	return j.out.Bytes(), func() {
		if j.out.Cap() <= maxKept {
			e.jobs.Put(j)
		}
	}, nil
}

type zstdEncoder struct {
	name []string
	w    *zstd.Encoder
	outs buffers
}

func (e *zstdEncoder) header() []string { return e.name }

func (e *zstdEncoder) encode(src []byte) ([]byte, func(), error) {
	buf := e.outs.get()
	*buf = e.w.EncodeAll(src, (*buf)[:0])
	return *buf, func() { e.outs.put(buf) }, nil
}
