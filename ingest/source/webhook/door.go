package webhook

import (
	"net"
	"net/netip"
	"sync"
)

// A door lets so many connections of one address in, and shuts it in the face
// of more.
type door struct {
	net.Listener
	most    int
	trusted []netip.Prefix

	mu   sync.Mutex
	open map[netip.Addr]int
}

func newDoor(ln net.Listener, most int, proxies []netip.Prefix) *door {
	return &door{Listener: ln, most: most, trusted: proxies, open: map[netip.Addr]int{}}
}

// Accept waits for a connection that may come in.
func (d *door) Accept() (net.Conn, error) {
	for {
		c, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		at, err := netip.ParseAddrPort(c.RemoteAddr().String())
		if err != nil || trusted(d.trusted, at.Addr().Unmap()) {
			return c, nil
		}
		addr := at.Addr().Unmap()
		if d.enter(addr) {
			return &guest{Conn: c, leave: sync.OnceFunc(func() { d.leave(addr) })}, nil
		}
		c.Close()
	}
}

func (d *door) enter(addr netip.Addr) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open[addr] >= d.most {
		return false
	}
	d.open[addr]++
	return true
}

func (d *door) leave(addr netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open[addr]--; d.open[addr] <= 0 {
		delete(d.open, addr)
	}
}

// A guest leaves by the door it came in.
type guest struct {
	net.Conn
	leave func()
}

func (g *guest) Close() error {
	defer g.leave()
	return g.Conn.Close()
}
