package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// admit lets senders in, until ctx ends.
func (d *Daemon) admit(ctx context.Context, wg *sync.WaitGroup, g *gate) {
	if g == nil {
		d.setHookAddr("")
		return
	}
	d.setHookAddr(g.addr())
	g.serve(ctx, wg, d)
	d.log.Info("webhooks are received", "listen", g.addr(), "tls", g.tls != nil)
}

func (d *Daemon) setHookAddr(addr string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hookAddr = addr
}

// nextGate is the listener for a new crew: the one that there is, where it stays
// where it is. On an error the crew is let go.
func (s *shift) nextGate(ctx context.Context, next *crew) (*gate, error) {
	w := &next.cfg.Webhooks
	if s.gate == nil || !next.cfg.Hooked() || s.gate.listen != w.Listen {
		g, err := s.d.openGate(ctx, next.cfg)
		if err != nil {
			return nil, errors.Join(err, next.close())
		}
		return g, nil
	}
	if (s.gate.tls != nil) != (w.TLS.CertFile != "") {
		return nil, errors.Join(fmt.Errorf("webhooks.tls cannot come or go while %s is listened on: restart for that", w.Listen), next.close())
	}
	if !sameListener(&s.d.current().cfg.Webhooks, w) {
		s.d.log.Warn("the limits and proxies of the webhooks' listener change with the next restart", "listen", w.Listen)
	}
	if s.gate.tls != nil {
		if err := s.gate.tls.Reload(); err != nil {
			return nil, errors.Join(err, next.close())
		}
	}
	return s.gate, nil
}

// swapGate gives the listener the new crew's hooks, and closes the old one where
// there is another. Nothing is received twice: journals are open once.
func (s *shift) swapGate(g *gate, next *crew) {
	d := s.d
	if err := d.route(s.ctx, g, next); err != nil {
		d.log.Error("webhooks are answered as the old config says", "error", err)
	}
	if g == s.gate {
		return
	}
	old := s.gate
	s.gate = g
	d.admit(s.ctx, s.side, g)
	old.close()
}
