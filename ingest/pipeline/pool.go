package pipeline

import (
	"context"
	"sync"
)

// DefaultPool bounds the bytes of request bodies in memory, for all pipelines
// together.
const DefaultPool = 32 << 20

// A Pool bounds the memory of requests that are built and not settled. It is
// the back-pressure from targets to readers. A pipeline may always hold what it
// claims at once, so that none waits for another for ever, and at most a
// quarter of the pool beyond that, so that none starves the others.
//
// Nobody waits for bytes while he holds some that only he can give back: what
// is claimed together is taken together.
type Pool struct {
	size int64

	mu   sync.Mutex
	used int64
	by   map[string]int64
	free chan struct{} // closed and made anew when bytes come back
}

// NewPool makes a pool of size bytes; 0 means DefaultPool.
func NewPool(size int64) *Pool {
	if size <= 0 {
		size = DefaultPool
	}
	return &Pool{size: size, by: map[string]int64{}, free: make(chan struct{})}
}

// try takes n bytes for a pipeline where they are free, or says when to ask
// again.
func (p *Pool) try(pipeline string, n int64) (ok bool, free <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	mine := p.by[pipeline]
	if mine == 0 || p.used+n <= p.size && mine+n <= p.size/4 {
		p.used += n
		p.by[pipeline] = mine + n
		return true, nil
	}
	return false, p.free
}

// take waits for n bytes for a pipeline.
func (p *Pool) take(ctx context.Context, pipeline string, n int64) error {
	for {
		ok, free := p.try(pipeline, n)
		if ok {
			return nil
		}
		select {
		case <-free:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (p *Pool) give(pipeline string, n int64) {
	if n == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used -= n
	if p.by[pipeline] -= n; p.by[pipeline] <= 0 {
		delete(p.by, pipeline)
	}
	close(p.free)
	p.free = make(chan struct{})
}
