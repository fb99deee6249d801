package sftp

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"ingestd/ingest"
)

// idleFor is how long a connection that nobody uses is kept.
const idleFor = time.Minute

// A pool is the connections to one server, made when they are needed. After
// one could not be made, or broke, nobody tries before a pause is over: a server
// that is down, or that does not want us, is not stormed by all who wait.
type pool struct {
	dial    func(context.Context) (*conn, error)
	slots   chan struct{}
	idleFor time.Duration
	pause   func(err error, fails int) time.Duration

	mu     sync.Mutex
	idle   []*conn
	closed bool
	fails  int
	next   time.Time // no connection is made before
	last   error     // why
	ends   sync.WaitGroup
}

func newPool(dial func(context.Context) (*conn, error), most int) *pool {
	return &pool{dial: dial, slots: make(chan struct{}, most), idleFor: idleFor, pause: pause}
}

// A dialError says that there is no connection now.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// get gives out a connection; it is given back by put.
func (p *pool) get(ctx context.Context) (*conn, error) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	for {
		p.mu.Lock()
		n := len(p.idle)
		switch {
		case p.closed:
			p.mu.Unlock()
			<-p.slots
			return nil, errClosed
		case n == 0 && time.Now().Before(p.next):
			err := &dialError{p.last}
			p.mu.Unlock()
			<-p.slots
			return nil, err
		case n == 0:
			p.mu.Unlock()
			c, err := p.dial(ctx)
			if err != nil {
				if ctx.Err() == nil {
					p.failed(err)
				}
				<-p.slots
				return nil, &dialError{err}
			}
			return c, nil
		}
		c := p.idle[n-1]
		p.idle = p.idle[:n-1]
		// A timer that fires now finds the connection gone from the list.
		c.idle.Stop()
		p.mu.Unlock()
		if !c.dead() {
			return c, nil
		}
		c.end()
	}
}

// put takes a connection back. err is how its use ended; one that broke is not
// used again.
func (p *pool) put(c *conn, err error) {
	defer func() { <-p.slots }()
	if lost(err) || c.dead() {
		c.end()
		if lost(err) && !errors.Is(err, context.Canceled) {
			p.failed(err)
		}
		return
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		c.end()
		return
	}
	p.idle = append(p.idle, c)
	c.idle = time.AfterFunc(p.idleFor, func() { p.expire(c) })
	p.mu.Unlock()
}

// expire ends a connection that was idle for long.
func (p *pool) expire(c *conn) {
	p.mu.Lock()
	for i, o := range p.idle {
		if o == c {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
			p.ends.Add(1)
			p.mu.Unlock()
			c.end()
			p.ends.Done()
			return
		}
	}
	p.mu.Unlock()
}

// failed starts a pause, or makes it longer. Connections that break together
// count once.
func (p *pool) failed(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Now().Before(p.next) {
		return
	}
	p.fails++
	p.last = err
	p.next = time.Now().Add(p.pause(err, p.fails))
}

// worked says that something came through: the next failure is a first one.
func (p *pool) worked() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fails = 0
}

// forgive ends the pause.
func (p *pool) forgive() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = time.Time{}
}

// wait is how long the pause takes still.
func (p *pool) wait() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(0, time.Until(p.next))
}

// close ends all idle connections, and those in use when they are put back.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.drain()
}

// drain ends the connections that are idle now.
func (p *pool) drain() {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	for _, c := range idle {
		c.end()
	}
	p.ends.Wait()
}

// pause is how long nobody tries after the n-th failure in a row: seconds
// where the network may be to blame; minutes where the server does not want us,
// or is not the one that we want, since it will not change its mind by being
// asked.
func pause(err error, n int) time.Duration {
	first, most := time.Second, 5*time.Minute
	var login *LoginError
	var key *ingest.HostKeyError
	if errors.As(err, &login) || errors.As(err, &key) {
		first, most = 5*time.Minute, time.Hour
		if n == 1 && login != nil {
			first = 30 * time.Second
		}
	}
	d := min(most, first<<min(n-1, 20))
	return d*3/4 + rand.N(d/4+1)
}

// using gives f a connection.
func (p *pool) using(ctx context.Context, f func(c *conn) error) error {
	c, err := p.get(ctx)
	if err != nil {
		return err
	}
	err = f(c)
	p.put(c, err)
	return err
}
