package sshdtest

import (
	"net"
	"sync"
	"testing"
)

// A Proxy stands between a client and a server and can fall silent.
type Proxy struct {
	Addr string

	to string
	ln net.Listener
	wg sync.WaitGroup

	mu    sync.Mutex
	gate  chan struct{} // closed: bytes of the server go through
	after int64         // bytes of the server until the gate shuts; <0: never
	conns map[net.Conn]bool
	bytes int64
	stood int // how often the gate shut
}

// NewProxy starts a proxy to addr and stops it when the test ends.
func NewProxy(t testing.TB, addr string) *Proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: ln.Addr().String(), to: addr, ln: ln, gate: make(chan struct{}), after: -1, conns: map[net.Conn]bool{}}
	close(p.gate)
	p.wg.Go(p.serve)
	t.Cleanup(func() {
		ln.Close()
		p.Resume()
		p.Cut()
		p.wg.Wait()
	})
	return p
}

// StallAfter lets n more bytes of the server through and then none, without
// closing anything.
func (p *Proxy) StallAfter(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.after = n
}

// Resume lets all bytes through again.
func (p *Proxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.after = -1
	select {
	case <-p.gate:
	default:
		close(p.gate)
	}
}

// Cut breaks all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

// Passed is how many bytes of the server went through.
func (p *Proxy) Passed() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bytes
}

// Stalled is how often the bytes of StallAfter were used up.
func (p *Proxy) Stalled() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stood
}

func (p *Proxy) serve() {
	for {
		in, err := p.ln.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.to)
		if err != nil {
			in.Close()
			continue
		}
		p.mu.Lock()
		p.conns[in], p.conns[out] = true, true
		p.mu.Unlock()
		p.wg.Go(func() { p.pump(out, in, false) })
		p.wg.Go(func() { p.pump(in, out, true) })
	}
}

func (p *Proxy) pump(to, from net.Conn, gated bool) {
	defer func() {
		to.Close()
		from.Close()
		p.mu.Lock()
		delete(p.conns, from)
		p.mu.Unlock()
	}()
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if gated {
			<-p.pass(int64(n))
		}
		if n > 0 {
			if _, werr := to.Write(buf[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass returns what is closed when n more bytes may go through.
func (p *Proxy) pass(n int64) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.after >= 0 {
		if p.after -= n; p.after < 0 {
			p.after = -1
			p.gate = make(chan struct{})
			p.stood++
		}
	}
	p.bytes += n
	return p.gate
}
