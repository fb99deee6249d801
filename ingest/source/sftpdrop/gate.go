package sftpdrop

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"
)

// The types of packets that open something.
const (
	packetOpen    = 3
	packetOpendir = 11
)

var errFrame = errors.New("a packet without a type")

// A gate stands between a client and the library. The library numbers its
// handles from 1 and takes packets for a handle while it is still being made,
// on other goroutines and without a lock; a client that guesses the number could
// bring it down. So an open passes when all before it is answered, and all behind
// it when it is, which an honest client waits for anyway. The library answers each packet once, in
// order, so that counting them is enough.
type gate struct {
	ch io.ReadWriteCloser

	// Of the reader:
	head  [5]byte // length and type of the packet that passes now
	given int     // bytes of head that passed
	left  uint32  // bytes behind head
	shut  bool    // the packet that passed last opens something

	out frames // of the writer

	mu       sync.Mutex
	asked    int
	answered int
	moved    *sync.Cond // answered grew, or over
	over     bool
}

func newGate(ch io.ReadWriteCloser) *gate {
	g := &gate{ch: ch}
	g.given = len(g.head)
	g.moved = sync.NewCond(&g.mu)
	return g
}

func (g *gate) Read(p []byte) (int, error) {
	if g.given == len(g.head) && g.left == 0 {
		if err := g.next(); err != nil {
			return 0, err
		}
	}
	if g.given < len(g.head) {
		n := copy(p, g.head[g.given:])
		g.given += n
		return n, nil
	}
	n, err := g.ch.Read(p[:min(uint32(len(p)), g.left)])
	g.left -= uint32(n)
	return n, err
}

// next reads how the next packet begins, and waits until it may pass: with an
// open before it, or being one.
func (g *gate) next() error {
	if _, err := io.ReadFull(g.ch, g.head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(g.head[:])
	if n == 0 {
		return errFrame
	}
	opens := g.head[4] == packetOpen || g.head[4] == packetOpendir
	g.mu.Lock()
	defer g.mu.Unlock()
	for (g.shut || opens) && g.answered < g.asked && !g.over {
		g.moved.Wait()
	}
	if g.over {
		return io.EOF
	}
	g.asked++
	g.given, g.left, g.shut = 0, n-1, opens
	return nil
}

func (g *gate) Write(p []byte) (int, error) {
	n, err := g.ch.Write(p)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answered += g.out.ended(p[:n])
	g.over = g.over || err != nil
	g.moved.Broadcast()
	return n, err
}

func (g *gate) Close() error {
	g.mu.Lock()
	g.over = true
	g.moved.Broadcast()
	g.mu.Unlock()
	return g.ch.Close()
}

// frames counts packets in a stream of them.
type frames struct {
	size [4]byte
	have int    // bytes of size
	left uint32 // of the packet, once size is there
}

// ended takes the next bytes and returns how many packets came to their end.
func (f *frames) ended(p []byte) (n int) {
	for len(p) > 0 {
		if f.have < len(f.size) {
			c := copy(f.size[f.have:], p)
			f.have += c
			p = p[c:]
			if f.have < len(f.size) {
				return n
			}
			f.left = binary.BigEndian.Uint32(f.size[:])
		}
		c := min(uint32(len(p)), f.left)
		p, f.left = p[c:], f.left-c
		if f.left == 0 {
			f.have = 0
			n++
		}
	}
	return n
}
