package httpapi

import (
	"bytes"
	"io"
	"net/http/httptrace"
	"sync/atomic"
)

// A payload is a request's body in memory of our own.
//
// net/http may go on reading a body after the answer has come (a target that
// answers early, a timeout), and it writes headers and body in one go only for
// readers that it knows, which no lock can stand before. So the caller's bytes
// are copied, and the copy goes back to its pool only where it is certain that
// nobody reads it any more: the connection was given back as idle, and no
// second body was asked for. Otherwise the garbage collector takes it.
type payload struct {
	b    []byte
	free func() // gives b back to its pool
	idle atomic.Bool
	more atomic.Bool
}

func (p *payload) reader() io.ReadCloser { return io.NopCloser(bytes.NewReader(p.b)) }

// again is the Request's GetBody.
func (p *payload) again() (io.ReadCloser, error) {
	p.more.Store(true)
	return p.reader(), nil
}

func (p *payload) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{PutIdleConn: func(err error) {
		if err == nil {
			p.idle.Store(true)
		}
	}}
}

func (p *payload) release() {
	if p.idle.Load() && !p.more.Load() {
		p.free()
	}
}
