package webhook

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// A door lets so many connections in, of one address and of all. Where there are
// as many, the one that has been quiet for longest makes way: who only sits
// there keeps nobody out. Where all are busy the door is shut.
type door struct {
	net.Listener
	most, each int
	trusted    []netip.Prefix

	mu     sync.Mutex
	tick   int64 // rises with each change
	guests map[*guest]struct{}
	of     map[netip.Addr]int
}

func newDoor(ln net.Listener, most, each int, proxies []netip.Prefix) *door {
	return &door{Listener: ln, most: most, each: each, trusted: proxies, guests: map[*guest]struct{}{}, of: map[netip.Addr]int{}}
}

// A guest is a connection that was let in.
type guest struct {
	net.Conn
	door  *door
	addr  netip.Addr // invalid: not counted by address
	quiet bool       // no request is under way
	fresh bool       // none ever was
	since int64      // the tick at which that began
}

// Accept waits for a connection that may come in.
func (d *door) Accept() (net.Conn, error) {
	for {
		c, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		g := &guest{Conn: c, door: d, quiet: true, fresh: true}
		if at, err := netip.ParseAddrPort(c.RemoteAddr().String()); err == nil && !trusted(d.trusted, at.Addr().Unmap()) {
			g.addr = at.Addr().Unmap()
		}
		if d.enter(g) {
			return g, nil
		}
		c.Close()
	}
}

func (d *door) enter(g *guest) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if g.addr.IsValid() && d.of[g.addr] >= d.each && !d.makeWay(func(other *guest) bool { return other.addr == g.addr }) {
		return false
	}
	if len(d.guests) >= d.most && !d.makeWay(func(*guest) bool { return true }) {
		return false
	}
	d.tick++
	g.since = d.tick
	d.guests[g] = struct{}{}
	if g.addr.IsValid() {
		d.of[g.addr]++
	}
	return true
}

// makeWay shows a quiet guest out. d.mu is held.
func (d *door) makeWay(may func(*guest) bool) bool {
	var out *guest
	for g := range d.guests {
		if g.quiet && may(g) && (out == nil || g.fresh && !out.fresh || g.fresh == out.fresh && g.since < out.since) {
			out = g
		}
	}
	if out == nil {
		return false
	}
	d.remove(out)
	out.Conn.Close()
	return true
}

func (d *door) remove(g *guest) {
	if _, in := d.guests[g]; !in {
		return
	}
	delete(d.guests, g)
	if g.addr.IsValid() {
		if d.of[g.addr]--; d.of[g.addr] == 0 {
			delete(d.of, g.addr)
		}
	}
}

// note is told what a connection does.
func (d *door) note(c net.Conn, state http.ConnState) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	g, ok := c.(*guest)
	if !ok || state != http.StateActive && state != http.StateIdle {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tick++
	g.quiet, g.fresh, g.since = state == http.StateIdle, false, d.tick
}

// hush shows those out that never asked for anything, which a server that stops
// would wait for.
func (d *door) hush() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for g := range d.guests {
		if g.fresh {
			d.remove(g)
			g.Conn.Close()
		}
	}
}

// Close lets the next one in.
func (g *guest) Close() error {
	g.door.mu.Lock()
	g.door.remove(g)
	g.door.mu.Unlock()
	return g.Conn.Close()
}
